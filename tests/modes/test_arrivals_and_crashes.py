"""What comes twice, at once, late, forged, or ends in the middle: one page, one change, whatever happens around it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tests.modes.place import MINUTE, RULE, RULES, Place
from tocsin.stores.sqlite import SqliteStore

pytestmark = pytest.mark.slow


def test_01_one_event_ten_times_and_out_of_order_acts_once(place: Place) -> None:
    place.misconfigure()
    others = [place.process() for _ in range(3)]
    for minute in range(5):
        place.wait(MINUTE)
        at = place.world.clock.now()
        for number in (minute + 1, minute, minute + 1):
            for app in others[:2] if minute % 2 else others:
                answered = place.event(number, app, eventTime=(at - number * timedelta(seconds=20)).isoformat())
                assert answered.status == 200
    place.run(2)
    place.right()


def at_once(*steps: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(len(steps)) as pool:
        for done in [pool.submit(step) for step in steps]:
            done.result()


def test_02_two_timers_that_tick_at_the_same_moments_act_once(place: Place) -> None:
    place.misconfigure()
    one, two = place.process(), place.process()
    for _ in range(6):
        place.wait(MINUTE)
        at_once(one.tick, two.tick)
    place.right()


def test_03_a_timer_and_an_event_at_the_same_moment_act_once(place: Place) -> None:
    place.misconfigure()
    one, two = place.process(), place.process()
    for minute in range(6):
        place.wait(MINUTE)
        at_once(one.tick, lambda minute=minute: place.event(minute, two))
    place.right()


class Died(BaseException):
    """The process ends here."""


class Dying(SqliteStore):
    """A store whose process dies right before or right after it records something for the first time."""

    event, before = "", True

    def record(self, execution: Any, entries: Any, deliveries: Any = ()) -> None:
        """Record it, and die."""
        found = bool(self.event) and any(entry.event == self.event for entry in entries)
        if found and self.before:
            raise Died
        super().record(execution, entries, deliveries)
        if found:
            raise Died


@pytest.mark.parametrize(
    ("event", "before"),
    [
        pytest.param("intended", True, id="before intent"),
        pytest.param("intended", False, id="after intent"),
        pytest.param("applied", True, id="after apply"),
        pytest.param("applied", False, id="after apply was recorded"),
        pytest.param("verified", True, id="after verify"),
        pytest.param("verified", False, id="after verify was recorded"),
    ],
)
def test_04_a_process_that_dies_in_between_is_gone_on_from_by_the_next(place: Place, event: str, before: bool) -> None:
    place.misconfigure()
    dying = Dying(place.root / ".tocsin" / "state.sqlite")
    dying.event, dying.before = event, before
    doomed = place.process(store=dying)
    with pytest.raises(Died):
        for _ in range(10):
            place.wait(MINUTE)
            doomed.tick()
    assert place.patches == (0 if event == "intended" else 1)
    place.run(6)
    place.right()
    assert place.audited().count("intended") == 1


def test_21_events_from_before_are_not_looked_at_again(place: Place) -> None:
    place.misconfigure()
    app = place.process()
    old = (place.world.clock.now() - timedelta(hours=2)).isoformat()
    asked = len(place.world.workspace.asked)
    assert [place.event(number, app, eventTime=old).body for number in range(20)] == ['{"taken": 0, "ignored": 1}'] * 20
    assert len(place.world.workspace.asked) == asked
    place.until("verified")
    replayed = (place.world.clock.now() - 3 * MINUTE).isoformat()
    for number in range(5):
        place.event(number, eventTime=replayed)
    place.right()


def test_22_forged_events_cause_a_look_and_nothing_else(place: Place) -> None:
    app = place.process()
    engage = {"operationName": "killswitch.engage", "alert": RULE, "status": "firing", "scope": "tools"}
    for number in range(5):
        place.wait(MINUTE)
        assert place.event(number, app, data=engage).body == '{"taken": 1, "ignored": 0}'
        assert place.event(10 + number, app, data=engage, eventType="Tocsin.Engage").body.endswith('"ignored": 1}')
        assert place.event(20 + number, app, subject="/subscriptions/x/everything").body.endswith('"ignored": 1}')
    assert (place.patches, place.phases(), place.alerts(), place.pages()) == (0, [], {}, 0)
    assert place.store.last_beat() is None, "nobody who sends events makes the timer look alive"


@pytest.mark.parametrize("ahead", [timedelta(minutes=-4), timedelta(minutes=4)], ids=["behind", "ahead"])
def test_20_a_clock_that_is_minutes_off_acts_once_and_proves_it(place: Place, ahead: timedelta) -> None:
    # What is fresh is so by the watcher's clock: the quarter of an hour that a target has by itself allows for minutes.
    place.targets = place.targets.replace("fresh_within: 5m", "fresh_within: 15m")
    place.misconfigure()
    place.one = place.process(ahead)
    place.run(12)
    place.right()
    place.mend()
    place.run(6)
    assert RULE not in place.alerts()
    assert place.patches == 1


def test_20_two_clocks_that_differ_by_minutes_act_once(place: Place) -> None:
    place.misconfigure()
    place.one, other = place.process(timedelta(minutes=3)), place.process(timedelta(minutes=-2))
    place.run(12, other)
    place.right()


def test_15_an_alert_that_flaps_does_not_make_the_switch_flap(place: Place) -> None:
    place.rules[RULE] = (
        RULES[RULE].replace("over: 5m", "over: 1m").replace("keep_firing_for: 3m", "keep_firing_for: 0s")
    )
    for _ in range(3):
        place.misconfigure()
        place.run(3)
        place.mend()
        place.run(2)
    assert place.pages() == 3, "it did flap"
    assert place.patches == 1, "what is in force already is proven again, and not changed"
    assert [each.phase.value for each in place.executions()] == ["verified"] * 3
    assert place.switch == "on"


def test_34_a_record_that_was_tampered_with_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    from typer.testing import CliRunner

    from tocsin.cli.commands import program

    place.misconfigure()
    place.until("verified")
    for name, value in {**place.world.settings(), "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)

    def verified() -> tuple[int, str]:
        found = CliRunner().invoke(program, ["audit", "verify", "--root", str(place.root)])
        return found.exit_code, found.stdout

    assert verified()[0] == 0
    (number,) = [entry["sequence"] for entry in place.store.audit() if entry["event"] == "intended"]
    with sqlite3.connect(place.root / ".tocsin" / "state.sqlite") as db:
        db.execute("UPDATE audit SET body = replace(body, 'stop_tools', 'person ada') WHERE sequence = ?", (number,))
    code, words = verified()
    assert code == 1
    assert f"record {number}" in words, words
