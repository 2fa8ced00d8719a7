"""A backtest says what the live engine says of the same rows, slot by slot, when it ticks over them every minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.amount import often
from tests.history import MINUTE, T0, TARGET, exported, loaded, rows
from tests.queries import shipped
from tocsin import signals
from tocsin.backtest.history import FileHistory
from tocsin.backtest.pages import pages
from tocsin.backtest.recording import Recording
from tocsin.backtest.study import Studies, Study
from tocsin.backtest.workspace import WorkspaceHistory
from tocsin.core.config import Config
from tocsin.core.message import Notice, Outcome, Said
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs
from tocsin.engine.tick import Engine
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.embedded import EmbeddedTelemetry
from tocsin.testing import Heard

CONFIG = Config.model_validate(
    {
        "targets": [TARGET],
        "routes": {"to": ["team"], "group_by": ["rule", "target"]},
        "budgets": {"queries_per_minute": 10_000},
    }
)


def rule(name: str, signal: str, **given: Any) -> Rule:
    own = {key: given.pop(key) for key in list(given) if key in Rule.model_fields or key in ("for", "in")}
    when = {"signal": signal, "over": "5m", **given}
    return Rule.model_validate({"id": name, "summary": "x", "severity": "P2", "when": when, **own})


OWN = (
    rule("by_agent", "worker_failures", above="20%", by=["agent"], minimum=3, keep_firing_for="3m", over="10m"),
    rule("out_of", "response_errors", above="10%", **{"in": "3 of 5"}),
    rule("held", "response_latency", above="1500", resolve={"above": "900"}, **{"for": "2m"}),
    rule("seldom", "cost", above="0.02", every="7m", over="21m"),
    rule("rises", "cost", change={"more_than": "50%", "versus": "1h"}, over="30m", minimum=5),
    rule("odd", "response_latency", unusual={"score": "4", "baseline": "2h", "seasonal": "none"}, over="5m"),
    rule("odd_count", "cost", unusual={"score": "4", "baseline": "3h", "seasonal": "none"}, over="10m", by=["agent"]),
    rule("gone", "side_effect_tools", absent_for="10m", keep_firing_for="1m"),
    rule("few", "side_effect_tools", below="2", over="4m"),
    rule("loud", "response_errors", above="5%", on_silence="fire", blind_after="3m"),
    rule("quiet_clear", "response_errors", above="5%", on_silence="clear", keep_firing_for="4m"),
    rule("burns", "response_errors", burn_rate={"objective": "99%"}),
    rule("storm", "cost", above="0", by=["agent"], max_instances=2, over="2m"),
    rule("arrives", "hitl_rejections", above="0", counting="arrivals", over="1m", keep_firing_for="5m"),
    Rule.model_validate(
        {"id": "raw", "summary": "x", "severity": "P3", "every": "3m",
         "when": {"kql": "AppRequests | summarize value = todouble(countif(Success == false)), events = count()",
                  "above": "2", "over": "3m"}}
    ),
)  # fmt: skip


def of_logs(each: Rule) -> bool:
    signal = signals.known().get(each.when.signal or "")
    return signal is None or all(isinstance(source, Logs) for source in signal.sources)


RULES = tuple(each for each in (*shipped().values(), *OWN) if of_logs(each) and each.enabled)


SAMPLES = [RULES[part::3] for part in range(3)]


class Changes(Heard):
    """Notes what became of alerts."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names
        self.seen: list[tuple[Any, ...]] = []

    def info(self, event: str, /, **fields: Any) -> None:
        if event == "alert" and fields["rule"] in self.names:
            self.seen.append(
                (fields["rule"], fields["slot"], fields["change"], fields["state"], rounded(fields["value"]))
            )


class Team:
    """Notes what it is told of the rules, and when."""

    together = False

    def __init__(self, names: set[str]) -> None:
        self.names, self.now = names, T0
        self.got: list[tuple[Any, ...]] = []

    def deliver(self, notice: Notice) -> Outcome:
        if notice.rule in self.names:
            self.got.append((self.now, notice.kind.value, notice.rule, notice.title))
        return Outcome(Said.ACCEPTED)


def rounded(value: float | None) -> float | None:
    """Return a value to nine digits: a sum depends on the order of what is added."""
    return None if value is None else float(f"{value:.9g}")


def project(rules: Sequence[Rule]) -> Project:
    return Project(rules=tuple(rules), config=CONFIG)


def live(telemetry: EmbeddedTelemetry, rules: Sequence[Rule], length: timedelta) -> tuple[list[Any], list[Any]]:
    """Return what becomes of alerts, and who is told, when the engine ticks every minute."""
    names = {each.id for each in rules}
    log, team = Changes(names), Team(names)
    parts: dict[str, Any] = {"configuration": None, "notifiers": {"team": team}, "actuators": {}, "owner": "test"}
    engine = Engine(project(rules), signals.known(), SqliteStore(":memory:"), telemetry, log=log, **parts)
    for minute in range(int(length / MINUTE) + 1):
        team.now = T0 + minute * MINUTE
        engine.tick(team.now)
    return sorted(log.seen, key=str), sorted(team.got, key=str)


def studied(folder: Path, rules: Sequence[Rule], length: timedelta) -> Study:
    telemetry = EmbeddedTelemetry(recorded=Recording.of(folder).lay)
    history = FileHistory(telemetry)
    studies = Studies(history, signals.known(), T0 - MINUTE, T0 + length)
    study = studies.study(studies.watched(project(rules)))
    history.close()
    assert study.unplayed == ()
    return study


def backtested(folder: Path, rules: Sequence[Rule], length: timedelta) -> tuple[list[Any], list[Any]]:
    """Return the same of a backtest over the rows as they were exported."""
    study = studied(folder, rules, length)
    changes = [
        (step.alert.rule, step.alert.slot, step.change.value, step.alert.state.value, rounded(step.alert.value))
        for course in study.courses
        for step in course.changes
    ]
    told = [(each.at, each.kind, each.rule, each.title) for each in pages(study.courses, project(rules), T0 + length)]
    return sorted(changes, key=str), sorted(told, key=str)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, often(3, 1) + 1))
def test_every_change_and_every_message_is_the_live_engines(seed: int, tmp_path: Path) -> None:
    length, rules = timedelta(hours=often(12, 0.8)), SAMPLES[seed - 1]
    telemetry = loaded(rows(seed, length))
    changes, told = backtested(exported(telemetry, tmp_path / "export"), rules, length)
    expected, heard = live(telemetry, rules, length)
    telemetry.close()
    assert len({each[0] for each in expected}) >= 3
    assert changes == expected
    # What is told in the very last minute is told after the history ends.
    assert told == [each for each in heard if each[0] < T0 + length]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_whatever_it_was_exported_as_the_history_is_the_same(kind: str, tmp_path: Path) -> None:
    length, rules = (
        timedelta(hours=3),
        [each for each in RULES if each.id in ("high_error_rate", "odd", "by_agent", "raw")],
    )
    telemetry = loaded(rows(4, length, every=20))
    changes, told = backtested(exported(telemetry, tmp_path / "parquet"), rules, length)
    assert len(changes) > 10
    assert backtested(exported(telemetry, tmp_path / kind, kind), rules, length) == (changes, told)
    telemetry.close()


def test_a_workspace_that_is_asked_in_bins_says_what_its_export_says(tmp_path: Path) -> None:
    length = timedelta(hours=3)
    rules = [each for each in RULES if each.id in ("high_error_rate", "p95_latency", "by_agent", "raw", "rises")]
    telemetry = loaded(rows(5, length, every=20))
    studies = Studies(WorkspaceHistory(telemetry), signals.known(), T0 - MINUTE, T0 + length)
    asked = studies.study(studies.watched(project(rules)))
    assert asked.unplayed == ()
    filed = studied(exported(telemetry, tmp_path / "export"), rules, length)
    assert [[(step.alert.slot, step.change) for step in each.changes] for each in asked.courses] == [
        [(step.alert.slot, step.change) for step in each.changes] for each in filed.courses
    ]
    telemetry.close()
