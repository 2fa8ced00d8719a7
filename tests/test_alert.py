"""The alert state machine, by its table, its vectors, and what it owes to Prometheus."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tocsin.core.alert import (
    Alert,
    Change,
    Seen,
    State,
    Timing,
    Verdict,
    by_hash,
    instance,
    missed,
    resolved,
    rule_changed,
    signature,
    transition,
)
from tocsin.core.rule import OutOf, Rule
from tocsin.stores.codec import dump, load

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SEEN = {
    "B": Seen(Verdict.BREACHED, 9.0, "condition holds", "detail"),
    "C": Seen(Verdict.CLEAR, 1.0, "condition does not hold"),
    "U": Seen(Verdict.UNKNOWN, reason="time-out"),
}
LETTER = {State.INACTIVE: "I", State.PENDING: "P", State.FIRING: "F", State.RECOVERING: "R"}
TOLD = {Change.FIRED: "fired", Change.RESOLVED: "resolved", Change.BLIND: "blind"}


@dataclass(frozen=True)
class Run:
    states: str
    told: str
    alert: Alert


def play(timing: Timing, seen: str, *, stored: bool = False) -> Run:
    """Step an alert through one slot a minute; with ``stored`` it is saved and read again before each."""
    alert, states, told = Alert("r", "t"), [], []
    for slot, letter in enumerate(seen.split()):
        before = load(Alert, dump(alert)) if stored else alert
        alert, change = transition(before, SEEN[letter], timing, T0 + slot * MINUTE)
        states.append(LETTER[alert.state])
        if change in TOLD:
            told.append(f"{TOLD[change]} t{slot}")
    return Run(" ".join(states), ", ".join(told), alert)


TWO = 2 * MINUTE
VECTORS = [
    (Timing(), "C B C C", "I F I I", "fired t1, resolved t2"),
    (Timing(TWO), "B B B B C", "P P F F I", "fired t2, resolved t4"),
    (Timing(TWO), "B B C B B B", "P P I P P F", "fired t5"),
    (Timing(keep_firing_for=TWO), "B C C C", "F R R I", "fired t0, resolved t3"),
    (Timing(keep_firing_for=TWO), "B C B C C C", "F R F R R I", "fired t0, resolved t5"),
    (Timing(TWO), "B U U B B B", "P P P P P F", "fired t5"),
    (Timing(), "B U U U U U B C", "F F F F F F F I", "fired t0, blind t5, resolved t7"),
    (Timing(out_of=OutOf(hits=3, slots=5)), "B C B C B", "I I I I F", "fired t4"),
    # Beyond the specification's eight: what the table says of cells that no vector passes through.
    (Timing(keep_firing_for=TWO), "B C U U C C", "F R R R R R", "fired t0"),
    (Timing(keep_firing_for=TWO), "B C U U C C C", "F R R R R R I", "fired t0, resolved t6"),
    (Timing(TWO), "B U C B", "P P I P", ""),
    (Timing(), "U U B", "I I F", "fired t2"),
    (Timing(), "B U U U U U U U U U U U U", " ".join("F" * 13), "fired t0, blind t5"),
    (Timing(blind_after=TWO), "B U U C B U U", "F F F I F F F", "fired t0, blind t2, resolved t3, fired t4, blind t6"),
    (Timing(keep_firing_for=TWO), "B C U U U U U", "F R R R R R R", "fired t0, blind t6"),
    (Timing(out_of=OutOf(hits=2, slots=3)), "B U U B", "I I I I", ""),
    (
        Timing(out_of=OutOf(hits=2, slots=3)),
        "B B C B C C C B",
        "I F I F I I I I",
        "fired t1, resolved t2, fired t3, resolved t4",
    ),
    (Timing(out_of=OutOf(hits=2, slots=3)), "B U B C C", "I I F I I", "fired t2, resolved t3"),
    (Timing(blind_after=TWO), "B U B U U", "F F F F F", "fired t0, blind t4"),
    (Timing(MINUTE), "B B B", "P F F", "fired t1"),
]


@pytest.mark.parametrize(("timing", "seen", "states", "told"), VECTORS)
def test_the_vectors(timing: Timing, seen: str, states: str, told: str) -> None:
    run = play(timing, seen)
    assert (run.states, run.told) == (states, told)


@pytest.mark.parametrize(("timing", "seen", "states", "told"), VECTORS)
def test_a_restart_before_every_slot_changes_nothing(timing: Timing, seen: str, states: str, told: str) -> None:
    assert play(timing, seen, stored=True) == play(timing, seen)


def test_a_slot_seen_before_changes_nothing() -> None:
    alert, _ = transition(Alert("r", "t"), SEEN["B"], Timing(), T0)
    for slot in (T0, T0 - MINUTE):
        assert transition(alert, SEEN["C"], Timing(), slot) == (alert, Change.OLD_SLOT)


def test_the_value_is_that_of_the_newest_known_slot() -> None:
    run = play(Timing(), "B U")
    assert (run.alert.value, run.alert.reason, run.alert.detail) == (9.0, "time-out", "detail")


def test_breached_time_since_it_fired_counts_known_time_only() -> None:
    assert play(Timing(TWO), "B B B").alert.held == timedelta()
    assert play(Timing(TWO), "B B B B B").alert.held == TWO
    assert play(Timing(TWO), "B B B B U U B B").alert.held == TWO
    assert play(Timing(keep_firing_for=TWO), "B B C B B").alert.held == TWO


def test_an_episode_is_named_by_its_first_firing_slot_and_keeps_its_name() -> None:
    run = play(Timing(keep_firing_for=TWO), "C B C B U B")
    assert run.alert.episode == "r/t/all/20261120T030100Z"
    assert Alert("r", "t").episode == ""


def test_each_instance_has_its_own_name() -> None:
    one, two = instance({"b": "1", "a": "2"}), instance({"b": "2", "a": "2"})
    assert one == (("a", "2"), ("b", "1"))
    assert len({by_hash(one), by_hash(two), by_hash(())}) == 3


def test_the_signature_is_what_is_measured_and_by_what_never_how_much_or_how_long() -> None:
    def made(**changes: object) -> Rule:
        when = {"signal": "cost", "above": "1", "over": "5m", "by": ["agent"], **changes}
        return Rule.model_validate({"id": "r", "summary": "s", "severity": "P1", "when": when})

    same = signature(made())
    assert signature(made(above="9", over="1h")) == same
    assert signature(made(by=["model"])) != same
    assert signature(made(signal="cost_per_call")) != same


def test_a_rule_that_changed_ends_its_alerts_and_tells_only_of_those_that_fired() -> None:
    timing = Timing(out_of=OutOf(hits=1, slots=3))
    firing, pending = play(timing, "B").alert, play(Timing(TWO), "B").alert
    ended, change = rule_changed(firing, T0 + MINUTE)
    assert (ended.state, change, ended.episode) == (State.INACTIVE, Change.RULE_CHANGED, firing.episode)
    assert ended.idle
    assert rule_changed(pending, T0 + MINUTE)[1] is Change.DROPPED


@pytest.mark.parametrize("count", [1, 3, 1_000_000])
def test_missed_slots_count_as_unknown(count: int) -> None:
    newest = T0 + count * MINUTE
    pending, _ = missed(play(Timing(TWO), "B").alert, count, newest, Timing(TWO))
    assert (pending.state, pending.held, pending.slot) == (State.PENDING, timedelta(), newest)
    timing = Timing(out_of=OutOf(hits=2, slots=3))
    shifted, _ = missed(play(timing, "B").alert, count, newest, timing)
    assert shifted.history == (True, *(False,) * count)[-3:]


def test_missed_slots_of_a_firing_alert_make_it_blind() -> None:
    _, change = missed(play(Timing(), "B").alert, 20, T0 + 20 * MINUTE, Timing())
    assert change is Change.BLIND


def test_resolving_keeps_the_name_and_forgets_the_rest() -> None:
    alert, change = resolved(play(Timing(), "B").alert, T0 + MINUTE)
    assert change is Change.RESOLVED
    assert alert.idle
    assert alert.episode


def prometheus(sequence: list[bool], hold: int, keep: int) -> list[str]:
    """Prometheus' own rule (rules/alerting.go, Eval), re-stated over one slot a minute."""
    states, state, active, keeping = [], "I", 0, None
    for now, breached in enumerate(sequence):
        if breached:
            if state == "I":
                state, active = "P", now
            keeping = None
        elif state == "P":
            state = "I"
        elif state == "F":
            keeping = now if keeping is None else keeping
            if now - keeping >= keep:
                state, keeping = "I", None
        if state == "P" and now - active >= hold:
            state = "F"
        states.append(state)
    return states


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 5), st.integers(0, 5))
def test_without_unknown_slots_the_outcome_is_prometheus_own(sequence: list[bool], hold: int, keep: int) -> None:
    ours = play(Timing(hold * MINUTE, keep * MINUTE), " ".join("B" if each else "C" for each in sequence)).states
    assert ours.replace("R", "F").split() == prometheus(sequence, hold, keep)


class AlertMachine(RuleBasedStateMachine):
    """Any sequence of verdicts, gaps and restarts keeps what is promised."""

    def __init__(self) -> None:
        super().__init__()
        self.timing = Timing(TWO, TWO)
        self.alert, self.slot = Alert("r", "t"), T0
        self.open = self.blind = False
        self.breached_run = timedelta()
        self.episode = ""

    def step(self, letter: str, gap: int = 1) -> None:
        before, self.slot = self.alert, self.slot + gap * MINUTE
        self.alert, change = transition(before, SEEN[letter], self.timing, self.slot)
        self.count(letter, before, gap)
        self.check(letter, before, change)

    def count(self, letter: str, before: Alert, gap: int) -> None:
        if letter == "C":
            self.breached_run = timedelta()
        elif letter == "B" and before.last is Verdict.BREACHED:
            self.breached_run += gap * MINUTE

    def check(self, letter: str, before: Alert, change: Change) -> None:
        if change is Change.FIRED:
            assert not self.open
            assert letter == "B"
            assert self.breached_run >= self.timing.for_
            self.open, self.blind, self.episode = True, False, self.alert.episode
        if change is Change.RESOLVED:
            assert self.open
            assert letter == "C"
            self.open = False
        if change is Change.BLIND:
            assert self.open
            assert letter == "U"
            assert not self.blind
            self.blind = True
        if letter == "U":
            assert self.alert.state is before.state
            assert (self.alert.held, self.alert.clear_for) == (before.held, before.clear_for)

    @rule()
    def breached(self) -> None:
        self.step("B")

    @rule()
    def clear(self) -> None:
        self.step("C")

    @rule()
    def unknown(self) -> None:
        self.step("U")

    @rule(gap=st.integers(2, 30), letter=st.sampled_from("BCU"))
    def later(self, gap: int, letter: str) -> None:
        """Slots were missed, and counted as unknown, before this one."""
        newest = self.slot + (gap - 1) * MINUTE
        before = self.alert
        self.alert, change = missed(before, gap - 1, newest, self.timing)
        self.check("U", before, change)
        self.slot = newest
        self.step(letter)

    @rule()
    def restart(self) -> None:
        self.alert = load(Alert, dump(self.alert))

    @rule(letter=st.sampled_from("BCU"))
    def again(self, letter: str) -> None:
        if self.alert.slot is not None:
            assert transition(self.alert, SEEN[letter], self.timing, self.slot) == (self.alert, Change.OLD_SLOT)

    @invariant()
    def an_episode_is_open_exactly_between_firing_and_resolving(self) -> None:
        assert self.alert.open == self.open

    @invariant()
    def a_trail_is_short_and_in_order(self) -> None:
        slots = [at for at, _ in self.alert.trail]
        assert len(slots) <= 30
        assert slots == sorted(set(slots))
        assert not slots or (self.alert.slot is not None and slots[-1] <= self.alert.slot)

    @precondition(lambda self: self.open)
    @invariant()
    def an_episode_keeps_its_name(self) -> None:
        assert self.alert.episode == self.episode


TestAlertMachine = AlertMachine.TestCase


def test_an_idle_alert_is_one_that_can_be_forgotten() -> None:
    assert Alert("r", "t").idle
    assert not replace(Alert("r", "t"), history=(True, False)).idle
    assert not play(Timing(TWO), "B").alert.idle


# The trail


def values(alert: Alert) -> list[float]:
    return [value for _, value in alert.trail]


def test_the_trail_is_every_known_value_of_the_episode_and_its_end() -> None:
    run = play(Timing(TWO, TWO), "C B B U B B C C C")
    assert run.alert.state is State.INACTIVE
    assert values(run.alert) == [9.0, 9.0, 9.0, 9.0, 1.0, 1.0, 1.0]
    assert [at for at, _ in run.alert.trail] == [T0 + number * MINUTE for number in (1, 2, 4, 5, 6, 7, 8)]


def test_the_next_wait_begins_a_trail_of_its_own() -> None:
    assert values(play(Timing(), "B C C B").alert) == [9.0]
    assert values(play(Timing(TWO), "B C C").alert) == [1.0]


def test_a_trail_holds_the_newest_thirty_finite_values() -> None:
    assert values(play(Timing(), "B " + "B C " * 30).alert) == [9.0, 1.0]
    alert = play(Timing(keep_firing_for=TWO), "B B C " * 20).alert
    assert len(alert.trail) == 30
    assert alert.trail[-1] == (T0 + 59 * MINUTE, 1.0)
    for odd in (None, float("nan"), float("inf")):
        after, _ = transition(alert, Seen(Verdict.BREACHED, odd), Timing(), T0 + 60 * MINUTE)
        assert after.trail == alert.trail


def test_a_trail_written_by_a_clock_that_was_ahead_is_put_right() -> None:
    ahead = replace(play(Timing(), "B B B").alert, slot=None)
    after, _ = transition(ahead, SEEN["B"], Timing(), T0 + MINUTE)
    assert [at for at, _ in after.trail] == [T0, T0 + MINUTE]


def test_an_alert_stored_before_there_were_trails_has_none() -> None:
    alert = play(Timing(), "B B").alert
    older = json.loads(dump(alert))
    del older["trail"]
    assert load(Alert, json.dumps(older)) == replace(alert, trail=())
