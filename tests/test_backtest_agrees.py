"""A backtest says what the live engine says of the same rows, slot by slot, when it ticks over them every minute."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.amount import often
from tests.history import MINUTE, T0, TARGET, exported, loaded, rows
from tests.queries import shipped
from tocsin import signals
from tocsin.backtest.history import FileHistory
from tocsin.backtest.recording import Recording
from tocsin.backtest.study import Studies
from tocsin.core.config import Config
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs
from tocsin.engine.tick import Engine
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.embedded import EmbeddedTelemetry
from tocsin.testing import Heard

CONFIG = Config.model_validate(
    {"targets": [TARGET], "routes": {"to": ["team"]}, "budgets": {"queries_per_minute": 10_000}}
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


class Changes(Heard):
    """Notes what became of alerts."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Any, str, str, float | None]] = []

    def info(self, event: str, /, **fields: Any) -> None:
        if event == "alert" and fields["rule"] in {each.id for each in RULES}:
            value = None if fields["value"] is None else float(f"{fields['value']:.9g}")
            self.seen.append((fields["rule"], fields["slot"], fields["change"], fields["state"], value))


def live(telemetry: EmbeddedTelemetry, length: timedelta) -> list[Any]:
    """Return what becomes of alerts when the engine ticks every minute."""
    log = Changes()
    project = Project(rules=RULES, config=CONFIG)
    parts: dict[str, Any] = {"configuration": None, "notifiers": {}, "actuators": {}, "owner": "test"}
    engine = Engine(project, signals.known(), SqliteStore(":memory:"), telemetry, log=log, **parts)
    for minute in range(int(length / MINUTE) + 1):
        engine.tick(T0 + minute * MINUTE)
    return sorted(log.seen, key=str)


def backtested(folder: Path, length: timedelta) -> tuple[Studies, list[Any]]:
    telemetry = EmbeddedTelemetry(recorded=Recording.of(folder).lay)
    studies = Studies(FileHistory(telemetry), signals.known(), T0 - MINUTE, T0 + length)
    study = studies.study(studies.watched(Project(rules=RULES, config=CONFIG)))
    assert study.unplayed == ()
    found = []
    for course in study.courses:
        for step in course.changes:
            alert, value = step.alert, step.alert.value
            spelled = None if value is None else float(f"{value:.9g}")
            found.append((alert.rule, alert.slot, step.change.value, alert.state.value, spelled))
    return studies, sorted(found, key=str)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_change_is_the_live_engines(seed: int, tmp_path: Path) -> None:
    length = timedelta(hours=often(2, 8))
    telemetry = loaded(rows(seed, length))
    _, found = backtested(exported(telemetry, tmp_path / "export"), length)
    expected = live(telemetry, length)
    assert len({each[0] for each in expected}) > 15
    assert found == expected
    telemetry.close()
