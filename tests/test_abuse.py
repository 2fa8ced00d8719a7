"""A small part of ``make abuse``, and that its judgement can fail: what is late, lost or raised is called so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.abuse import run
from tests.abuse.abuses import AGENTS, BY_AGENT, abuses
from tests.abuse.stage import Abuse, Figures, play

MINUTE = timedelta(minutes=1)
CONTROL = Figures("nothing", "SQLite", notified=2 * MINUTE, engaged=7 * MINUTE)
"""What the story comes to without abuse."""


ON_AZURITE = pytest.param("Azurite", marks=pytest.mark.long)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["SQLite", ON_AZURITE])
def test_under_a_little_of_everything_somebody_is_notified_and_the_switch_engaged(state: str) -> None:
    assert run.wrong(play(abuses()["everything"], state, 0.01), CONTROL) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(CONTROL), []),
        (replace(CONTROL, notified=4 * MINUTE, engaged=9 * MINUTE), []),
        (replace(CONTROL, notified=4 * MINUTE + timedelta(seconds=1)), ["notified 2:01 later than without abuse"]),
        (replace(CONTROL, engaged=None), ["never engaged"]),
        (replace(CONTROL, failed=["ValueError: too large"] * 2), ["a tick raised ValueError: too large"]),
    ],
)
def test_what_is_late_lost_or_raised_is_called_wrong(found: Figures, words: list[str]) -> None:
    assert run.wrong(found, CONTROL) == words


def test_a_story_in_which_nothing_is_seen_ends_with_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blinded = Abuse("blinded", "no rule is left", {AGENTS: BY_AGENT})
    monkeypatch.setattr(run, "abuses", lambda: {"blinded": blinded})
    monkeypatch.setattr(
        run, "play", lambda abuse, state, share=1: CONTROL if abuse is not blinded else Figures("b", state)
    )
    page = tmp_path / "page.md"
    page.write_text(f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n")
    assert run.main([], ["SQLite"], 1.0, page) == 1
    assert "never notified; never engaged" in capsys.readouterr().out
    assert "old" not in page.read_text()
    assert page.read_text().endswith("after\n")
