"""What the accelerator says under each condition raises the rules that docs/conditions.md names, and no others."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.amount import CI
from tests.conftest import ROOT
from tests.made_conditions import MADE, RECORDED, Row, recorded
from tests.reading_cases import SETTINGS
from tests.stage import MINUTE, Stage
from tests.stage import T0 as BEGIN
from tocsin.app import known
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.gauge import Reading
from tocsin.files import read_project
from tocsin.telemetry.embedded import EmbeddedTelemetry

PROJECT = read_project(ROOT, SETTINGS, known())
# A condition lasts longer than any rule waits before it fires: so none has to be waited for.
RULES = {rule.id: rule.model_copy(update={"for_": timedelta()}) for rule in PROJECT.rules}
TARGET = PROJECT.config.targets[0]
PAGE = ROOT / "docs" / "conditions.md"
EACH = timedelta(seconds=25)
"""How long one request comes after the other."""

LASTS = timedelta(minutes=65)
"""For how long the app has been in the condition."""

APPROVER = {"HITL_APPROVER_ENDPOINT": "https://approver"}
ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    "dev_mode": {"HITL_DEV_MODE": "1"},
    "dev_mode_and_approver": {**APPROVER, "HITL_DEV_MODE": "1"},
    "hitl_none_older_fork": {},
    "no_approver_newest_flagship": {},
    "killswitch_tools_on": {**APPROVER, "KILLSWITCH_TOOLS": "1"},
    "killswitch_workflow_on": {**APPROVER, "KILLSWITCH_WORKFLOW": "1"},
    "killswitch_both_on": {**APPROVER, "KILLSWITCH_TOOLS": "1", "KILLSWITCH_WORKFLOW": "1"},
}
"""What the app is set to where it is not as it should be."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A row of the page: whether it was recorded, which rules are raised, and whether somebody is paged."""

    name: str
    recorded: bool
    raises: frozenset[str]
    pages: bool


def told() -> dict[str, Condition]:
    """Return what the page says of every condition."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"`\w+`", cells[0]):
            name, kind, _, rules, pages = cells
            raises = frozenset(re.findall(r"\[`(\w+)`\]", rules))
            found[name.strip("`")] = Condition(name.strip("`"), kind == "recorded", raises, pages == "yes")
    return found


CONDITIONS = told()


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads of the crash one restart an hour ago, and of the approver whether it answers; of all else nothing."""

    condition: str

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading] | NoAnswer:
        if reading == "restarts":
            last = 1.0 if self.condition == "crash" else 0.0
            at = {BEGIN - 50 * MINUTE: 0.0, BEGIN - 20 * MINUTE: last, BEGIN - 5 * MINUTE: last}
            return [Reading(reading, value, {}, moment) for moment, value in at.items() if start <= moment < end]
        if reading == "unreachable" and self.condition == "approver_unreachable":
            return [Reading(reading, 1.0, {"revision": "r1"})]
        return ()


@dataclass
class Played:
    """The engine with the shipped rules beside an app, whose rows are those of one condition for an hour."""

    telemetry: EmbeddedTelemetry

    def through(self, condition: str, requests: Sequence[Sequence[Row]]) -> tuple[set[str], bool]:
        """Return which rules are raised, and whether anybody is paged."""
        self.telemetry.forget()
        self.telemetry.load("AppTraces", self._rows(requests))
        stage = Stage(telemetry=self.telemetry)
        config = PROJECT.config.model_copy(update={"watchdog": None})
        stage.project = replace(PROJECT, rules=tuple(RULES.values()), config=config)
        stage.platform.env = dict(ENVIRONMENTS.get(condition, APPROVER))
        stage.meters = dict.fromkeys(("metrics", "queues", "probes", "approver"), Meter(condition))
        stage.engine.tick(BEGIN)
        raised = {alert.rule for alert in stage.inner.open_alerts() if alert.open and alert.rule in RULES}
        return raised, bool(stage.oncall.got)

    def _rows(self, requests: Sequence[Sequence[Row]]) -> Iterator[dict[str, Any]]:
        """Yield the rows of request after request in the hour before the tick."""
        numbered = enumerate(itertools.cycle(requests))
        for number, rows in itertools.takewhile(lambda each: each[0] * EACH < LASTS, numbered):
            begin = BEGIN - LASTS + number * EACH
            for row in rows:
                own = {name: row[name] for name in ("Message", "SeverityLevel", "ItemCount", "Properties")}
                at = begin + timedelta(seconds=row["after_s"])
                yield {"TimeGenerated": at, "AppRoleName": TARGET.role_name, "OperationId": f"{number:032x}", **own}


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    telemetry = EmbeddedTelemetry()
    yield Played(telemetry)
    telemetry.close()


def one_request(name: str) -> list[list[Row]]:
    return [recorded(name) if CONDITIONS[name].recorded else MADE[name]()]


ALIKE = ("role_lost", "unauthorized", "prompt_too_long", "foundry_503", "model_time_out", "private_endpoint_bypassed")
"""Conditions that differ from another in an error's text alone: tests/test_causes.py tells those apart, in CI alone."""


@pytest.mark.parametrize("name", [name for name in sorted(CONDITIONS) if not (CI and name in ALIKE)])
def test_a_condition_raises_exactly_the_rules_that_the_page_names(played: Played, name: str) -> None:
    raised, paged = played.through(name, one_request(name))
    assert raised == CONDITIONS[name].raises
    assert paged == CONDITIONS[name].pages


def test_the_page_names_every_condition_that_was_recorded_or_made() -> None:
    recordings = {path.stem for path in RECORDED.glob("*.jsonl")}
    assert {name for name, each in CONDITIONS.items() if each.recorded} == recordings
    assert {name for name, each in CONDITIONS.items() if not each.recorded} == set(MADE)


def test_what_pages_nobody_is_said_so() -> None:
    quiet = ("normal", "killswitch_tools_on", "killswitch_workflow_on", "redteam_run", "client_disconnects")
    assert not any(CONDITIONS[name].pages for name in quiet)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.jsonl")))
def test_the_copies_are_of_the_recordings(data: Path, name: str) -> None:
    lines = (data / "accelerator-conditions" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert [row for row in map(json.loads, lines) if row["request"] == 0] == recorded(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, each in sorted(CONDITIONS.items()) if each.recorded])
def test_the_whole_recording_raises_the_same(played: Played, data: Path, name: str) -> None:
    lines = (data / "accelerator-conditions" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    requests = [list(own) for _, own in itertools.groupby(rows, key=lambda row: row["request"])]
    assert len(requests) == 12
    assert played.through(name, requests) == (set(CONDITIONS[name].raises), CONDITIONS[name].pages)
