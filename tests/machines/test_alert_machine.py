"""Whatever is seen, missed, stored, forgotten or edited, an alert does what a recount of its whole past says it should.

The machine under test keeps a few timers; the oracle here keeps every slot and counts anew each time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tocsin.core.alert import Alert, Change, Seen, State, Timing, Verdict, missed, rule_changed, transition
from tocsin.core.rule import OutOf
from tocsin.stores.codec import dump, load

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BY = (("agent", "sales"), ("model", "é\n'"))
VERDICTS = st.sampled_from(list(Verdict))
TIMERS = {"for_": st.integers(0, 4), "keep_firing_for": st.integers(0, 4), "blind_after": st.integers(1, 6)}


@st.composite
def waits(draw: st.DrawFn) -> Timing:
    """A timing with ``for``."""
    return Timing(**{name: draw(minutes) * MINUTE for name, minutes in TIMERS.items()})


@st.composite
def ratios(draw: st.DrawFn) -> Timing:
    """A timing with ``in: M of N``."""
    slots = draw(st.integers(1, 6))
    keep = draw(st.integers(0, 3)) * MINUTE
    return Timing(keep_firing_for=keep, out_of=OutOf(hits=draw(st.integers(1, slots)), slots=slots))


class AlertMachine(RuleBasedStateMachine):
    """One alert, and the past it had: every slot since its measure began, with its verdict."""

    timing: Timing

    def __init__(self) -> None:
        super().__init__()
        self.past: list[tuple[datetime, Verdict]] = []
        self.alert, self.slot = Alert("r", "t", BY, signature="m0"), T0
        self.episode, self.told_blind, self.measures = "", False, 0
        self.fired_at = T0

    @initialize(timing=waits() | ratios())
    def starts(self, timing: Timing) -> None:
        self.timing = timing

    # The oracle: what the past says

    def time_of(self, verdict: Verdict, since: datetime) -> timedelta:
        """Return the time between slots on end that both had ``verdict``, from ``since`` on."""
        recent = [each for each in self.past if each[0] >= since]
        return sum((b[0] - a[0] for a, b in pairwise(recent) if a[1] is b[1] is verdict), timedelta())

    def newest(self, *verdicts: Verdict) -> datetime:
        return max((slot for slot, verdict in self.past if verdict in verdicts), default=T0 - MINUTE)

    def should_fire(self) -> bool:
        if self.timing.out_of:
            recent = self.past[-self.timing.out_of.slots :]
            return sum(verdict is Verdict.BREACHED for _, verdict in recent) >= self.timing.out_of.hits
        return self.time_of(Verdict.BREACHED, self.newest(Verdict.CLEAR)) >= self.timing.for_

    def expected(self, verdict: Verdict, was_open: bool, known: datetime) -> Change | None:
        """Return the change that somebody is told of, or None."""
        if verdict is Verdict.BREACHED and not was_open and self.should_fire():
            return Change.FIRED
        waited = self.time_of(Verdict.CLEAR, self.newest(Verdict.BREACHED)) >= self.timing.keep_firing_for
        if verdict is Verdict.CLEAR and was_open and waited:
            return Change.RESOLVED
        blind = was_open and not self.told_blind and self.slot - known >= self.timing.blind_after
        return Change.BLIND if verdict is Verdict.UNKNOWN and blind else None

    # What may happen

    def compare(self, verdict: Verdict, before: Alert, change: Change, known: datetime) -> None:
        told = change if change in (Change.FIRED, Change.RESOLVED, Change.BLIND) else None
        assert told is self.expected(verdict, bool(self.episode), known)
        if told is Change.FIRED:
            self.episode, self.told_blind, self.fired_at = self.alert.episode, False, self.slot
        if told is Change.RESOLVED:
            assert self.alert.episode == self.episode, "a resolution names what it resolves"
            self.episode = ""
        self.told_blind |= told is Change.BLIND
        if verdict is Verdict.UNKNOWN:
            timers = [(each.state, each.held, each.clear_for, each.since, each.value) for each in (before, self.alert)]
            assert timers[0] == timers[1], "unknown moved something"

    @rule(verdict=VERDICTS, gap=st.integers(1, 3))
    def a_slot_is_seen(self, verdict: Verdict, gap: int) -> None:
        """Slots are a minute apart, or more after an edit of ``every``."""
        before, known = self.alert, self.newest(Verdict.BREACHED, Verdict.CLEAR)
        self.slot += gap * MINUTE
        self.past.append((self.slot, verdict))
        seen = Seen(verdict, 1.5, "why", "evidence")
        self.alert, change = transition(before, seen, self.timing, self.slot)
        self.compare(verdict, before, change, known)

    @rule(verdict=VERDICTS, times=st.integers(2, 8))
    def the_same_is_seen_for_a_while(self, verdict: Verdict, times: int) -> None:
        for _ in range(times):
            self.a_slot_is_seen(verdict, 1)

    @rule(count=st.integers(1, 30))
    def slots_are_missed(self, count: int) -> None:
        before, known = self.alert, self.newest(Verdict.BREACHED, Verdict.CLEAR)
        for _ in range(count):
            self.slot += MINUTE
            self.past.append((self.slot, Verdict.UNKNOWN))
        self.alert, change = missed(before, count, self.slot, self.timing)
        self.compare(Verdict.UNKNOWN, before, change, known)
        assert missed(self.alert, count, self.slot, self.timing) == (self.alert, Change.OLD_SLOT)

    @precondition(lambda self: self.alert.slot is not None)
    @rule(verdict=VERDICTS, ago=st.integers(0, 5))
    def an_old_slot_comes_again(self, verdict: Verdict, ago: int) -> None:
        again = transition(self.alert, Seen(verdict, 9.0), self.timing, self.slot - ago * MINUTE)
        assert again == (self.alert, Change.OLD_SLOT)

    @rule()
    def the_process_restarts(self) -> None:
        stored = dump(self.alert)
        self.alert, before = load(Alert, stored), self.alert
        assert self.alert == before
        assert dump(self.alert) == stored

    @precondition(lambda self: self.alert.idle)
    @rule()
    def the_store_forgets_an_idle_alert(self) -> None:
        """The oracle keeps its past: if forgetting lost anything, they would part ways."""
        self.alert = Alert("r", "t", BY, signature=self.alert.signature)

    @precondition(lambda self: not self.timing.out_of)
    @rule(timing=waits())
    def the_timing_is_edited(self, timing: Timing) -> None:
        """The state is kept; what was waited so far counts against the new wait."""
        self.timing = timing

    @rule()
    def the_measure_is_edited(self) -> None:
        self.measures += 1
        was_open = bool(self.episode)
        self.alert, change = rule_changed(self.alert, self.slot, f"m{self.measures}")
        assert change is (Change.RULE_CHANGED if was_open else Change.DROPPED)
        assert self.alert.episode == self.episode or not was_open
        assert (self.alert.signature, self.alert.idle) == (f"m{self.measures}", True)
        self.episode, self.past = "", []

    # What always holds

    @invariant()
    def it_is_open_exactly_between_firing_and_resolving(self) -> None:
        assert self.alert.open == bool(self.episode)

    @invariant()
    def an_open_episode_keeps_its_name_and_is_told_blind_at_most_once(self) -> None:
        if self.episode:
            assert self.alert.episode == self.episode
            assert self.alert.blind == self.told_blind

    @invariant()
    def its_timers_are_the_recount(self) -> None:
        if self.alert.state is State.PENDING:
            assert self.alert.episode == ""
            assert self.alert.held == self.time_of(Verdict.BREACHED, self.newest(Verdict.CLEAR))
        if self.alert.open:
            assert self.alert.held == self.time_of(Verdict.BREACHED, self.fired_at)
        if self.alert.state is State.RECOVERING:
            assert self.alert.clear_for == self.time_of(Verdict.CLEAR, self.newest(Verdict.BREACHED))

    @invariant()
    def what_is_stored_does_not_grow(self) -> None:
        out_of = getattr(self, "timing", Timing()).out_of
        assert len(self.alert.history) <= (out_of.slots if out_of else 0)


TestAlertMachine = AlertMachine.TestCase
