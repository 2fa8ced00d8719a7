"""The peer of ``bench-backtest`` is asked the same question as Tocsin, and an answer that failed is none."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench import vmalert
from bench.vmalert import MINUTE, Points, ThresholdRule, replay
from tests.amount import CI
from tocsin.core.alert import Alert, Seen, State, Timing, Verdict, transition

pytestmark = pytest.mark.slow

START = datetime(2026, 10, 1, tzinfo=UTC)
SLOTS = 1500
END = START + (SLOTS - 1) * MINUTE


@pytest.fixture(autouse=True)
def _here() -> None:
    if any(vmalert.shutil.which(name) is None for name in vmalert.PROGRAMS):
        (pytest.fail if CI else pytest.skip)("vmalert is not here: apt-get install victoria-metrics")


def wandering(seed: int) -> Points:
    """Return a point a minute that often crosses what is near to nought."""
    chance, value, points = random.Random(seed), 0.0, []
    for slot in range(SLOTS):
        value = 0.9 * value + chance.gauss(0, 1)
        points.append((START + slot * MINUTE, value))
    return points


def ours(points: Points, rule: ThresholdRule) -> list[tuple[datetime, str]]:
    """Return the slots in which the alert is pending or firing."""
    alert, found = Alert(rule.name, "t"), []
    for slot, value in points:
        verdict = Verdict.BREACHED if value > rule.above else Verdict.CLEAR
        alert, _ = transition(alert, Seen(verdict, value), Timing(rule.for_), slot)
        if alert.state is not State.INACTIVE:
            found.append((slot, str(alert.state)))
    return found


def test_a_replay_gives_the_states_that_the_state_machine_gives_in_every_slot() -> None:
    series = {f"series {number}": wandering(number) for number in range(4)}
    rules = [
        ThresholdRule(f"rule {number}", name, above, number * MINUTE)
        for number, (name, above) in enumerate(zip(series, (-1.0, 0.5, 1.5, 90.0), strict=True))
    ]
    peer = replay(series, rules, START, END)
    assert peer.alerts == {rule.name: ours(series[rule.series], rule) for rule in rules}
    assert [len(peer.alerts[rule.name]) > 50 for rule in rules] == [True, True, True, False]
    assert peer.cpu_seconds > 0
    assert 0 < peer.seconds < 60


def test_a_replay_that_fails_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text('{"groups": [{"name": "g", "rules": [{"alert": "a", "expr": "seen > 1"}]}]}')
    with pytest.raises(RuntimeError, match="vmalert failed"):
        vmalert._run(tmp_path, "http://127.0.0.1:9", START, END, MINUTE)


def test_what_its_vmalert_cannot_state_is_refused() -> None:
    kept = ThresholdRule("kept", "s", 1.0, keep_firing_for=MINUTE)
    with pytest.raises(ValueError, match="keep_firing_for"):
        replay({"s": wandering(1)}, [kept], START, END)
    with pytest.raises(ValueError, match="multiples"):
        replay({"s": wandering(1)}, [], START + timedelta(seconds=1), END)
