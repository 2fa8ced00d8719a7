"""Whatever several engines race for at once is done once: every action, on both stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import racing
from tests.amount import often
from tests.azurite.server import Azurite
from tocsin import actuators

ROUNDS = often(60, 10)


def test_every_action_there_is_takes_part() -> None:
    assert sorted(racing.ARGS) == sorted(actuators.known())


@pytest.mark.slow
@pytest.mark.parametrize("action", sorted(racing.ARGS))
def test_four_engines_on_one_file_do_it_once(action: str, tmp_path: Path) -> None:
    found = racing.raced(action, "sqlite", lambda: racing.on_sqlite(tmp_path), ROUNDS)
    assert (found.rounds, found.doubles) == (ROUNDS, 0)


def test_two_people_who_approve_at_once_have_it_done_once(tmp_path: Path) -> None:
    assert racing.Race("webhook.call", racing.on_sqlite(tmp_path), "asked", 5).run() == 0


@pytest.mark.parametrize("action", ["killswitch.engage", racing.RELEASE])
def test_people_at_the_command_line_and_ticks_change_a_switch_once(action: str, tmp_path: Path) -> None:
    race = racing.Race(action, racing.on_sqlite(tmp_path), "intended", 5, commands=True)
    assert race.run() == 0


@pytest.mark.slow
@pytest.mark.parametrize("action", ["killswitch.engage", "webhook.call"])
def test_four_engines_on_one_table_do_it_once(action: str, azurite: Azurite) -> None:
    found = racing.raced(action, "azurite", lambda: racing.on_tables(azurite.connection), 5)
    assert (found.rounds, found.doubles) == (5, 0)
