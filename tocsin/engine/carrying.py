"""Carrying out what was intended: apply, read back, go on to the next step, or take back what was done.

A crash between any two writes leaves an execution that says how far it came; the next tick reads the world and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin.core import guard, lost, remedy
from tocsin.core.action import Takes, Undo
from tocsin.core.config import Target
from tocsin.core.container import SCOPES
from tocsin.core.evidence import step
from tocsin.core.fields import Automation
from tocsin.core.guard import Answer, Ruling
from tocsin.core.message import Kind
from tocsin.core.remedy import Applied, Did, Done, Execution, Phase
from tocsin.engine import locking, storms, switches
from tocsin.engine.recalling import released
from tocsin.engine.reporting import Reporter
from tocsin.engine.verifying import Found, Verifier
from tocsin.ports import Actuator, Conflict, Store

_DECIDED_FOR = timedelta(minutes=5)
"""How long after a tick began it may still change something; the host lets none run longer (``host.json``)."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Carries out intended steps. ``owner`` names this process for the locks."""

    store: Store
    actuators: Mapping[str, Actuator]
    verifier: Verifier
    reporter: Reporter
    owner: str
    elapsed: Callable[[], timedelta] = timedelta
    """How much later than ``now`` it has become: locks are held by the clock, whatever the tick's instant is."""
    takes: Mapping[str, Takes] = field(default_factory=dict)
    """What each action takes: arguments are looked at once more when their placeholders are filled."""

    def alone(self, what: str, now: datetime) -> AbstractContextManager[bool]:
        """Hold a lock while the block runs, or say that another does."""
        return locking.alone(self.store, what, self.owner, now + self.elapsed())

    @contextmanager
    def holding(self, execution: Execution, now: datetime) -> Iterator[bool]:
        """Hold the target's lock while the block runs; say whether it is held and the execution is still the newest.

        Whoever decides about an intent, carries it out and saves the outcome does all of it in here: an outcome that is
        saved after the lock is free is not known to the next who gets the lock, and is done again.
        """
        with self.alone(execution.target, now) as mine:
            yield mine and self.elapsed() <= _DECIDED_FOR and self._newest(execution)

    def apply(self, execution: Execution, target: Target, now: datetime) -> int:
        """Do what is intended, unless something else is being done to the target, or another has done it meanwhile."""
        with self.holding(execution, now) as mine:
            return self.attempt(execution, target, now) if mine else 0

    def attempt(self, execution: Execution, target: Target, now: datetime, *, resumed: bool = False) -> int:
        """Do it and save what came of it. The caller holds the lock."""
        if misfit := self._misfit(execution):
            return self.give_up(execution, misfit, target, now)
        actuator = self.actuators[execution.action]
        if not actuator.readable:
            execution = self._sending(execution, now)
        outcome = actuator.apply(remedy.order(execution, target))
        attempted = replace(execution, sending=None)
        try:
            if resumed and outcome.did is Did.ALREADY:
                return self._found_applied(attempted, outcome.detail, now, outcome.starts)
            return self._outcome(attempted, outcome, target, now)
        except Conflict:  # the lock ran out, and somebody decided without knowing of this
            said = attempted.moved(attempted.phase, outcome.detail, before=outcome.before, after=outcome.after)
            self.store.record(None, [step(f"{outcome.did.value}, after another had decided", said, now)])
            raise

    def _sending(self, execution: Execution, now: datetime) -> Execution:
        """Save that an attempt begins whose outcome nobody can read: should this process die, nobody repeats it."""
        sending = execution.moved(execution.phase, execution.reason, sending=now)
        self.store.record(sending, [step("sending", sending, now)])
        return sending

    def _misfit(self, execution: Execution) -> str:
        """Return why some step's arguments cannot be carried out: nothing is begun that could not be gone on with."""
        steps = [each for each in execution.plan or (execution.planned,) if each.action in self.takes]
        found = (f"{each.action}: {why}" for each in steps for why in self.takes[each.action].misfits(each.args))
        return "; ".join(found)

    def _newest(self, execution: Execution) -> bool:
        stored = self.store.execution(execution.id)
        return stored is not None and stored.version == execution.version

    def _outcome(self, execution: Execution, outcome: Applied, target: Target, now: datetime) -> int:
        if outcome.did is Did.FAILED:
            return self.give_up(execution, outcome.detail, target, now)
        if outcome.did is Did.BUSY:
            waiting = execution.moved(Phase.INTENDED, outcome.detail, attempts=execution.attempts + 1)
            return self.reporter.saved(waiting, "busy", now)
        done = (*execution.done, Done(execution.planned.name, now, outcome.undo))
        starts_by = now + outcome.starts if outcome.starts else None
        applied = execution.moved(
            Phase.APPLIED,
            outcome.detail + _until(starts_by),
            applied=now,
            starts_by=starts_by,
            before=outcome.before,
            after=outcome.after,
            operation=outcome.operation,
            done=done if outcome.did is Did.DONE else execution.done,
        )
        return self.reporter.saved(applied, "applied", now, Kind.ACTED)

    def too_late(self, execution: Execution, target: Target, now: datetime) -> int:
        """Call a person, unless the change had been sent before a crash: then it stands and is verified."""
        holds = self._holds(execution, target)
        if holds:
            return self._found_applied(execution, "found applied after a restart", now)
        unsure = "" if holds is False else "; whether it was made cannot be read now"
        reason = f"not applied within {execution.planned.within.total_seconds() / 60:g} minutes{unsure}"
        return self.give_up(execution, reason, target, now)

    def let_go(self, execution: Execution, target: Target, answer: Answer, now: datetime) -> int:
        """It is not permitted any more: but if the change had been sent before a crash, it stands and is verified.

        What a person may decide is asked; what was promised and is let go while the alert fires is told.
        """
        readable = self.actuators[execution.action].readable
        holds = self._holds(execution, target) if readable else False
        if holds is None:
            return 0
        if holds:
            return self._found_applied(execution, "found applied after a restart", now)
        if answer.ruling is Ruling.ASK and readable and not execution.step:
            return self._ask(execution, answer, now)
        unsure = "" if readable else "; whether it had been sent before cannot be read"
        stopped = execution.moved(Phase.STOOD_DOWN, answer.reason + unsure, ended=now)
        firing = bool(answer.checks) and answer.passed("still firing") and answer.check != guard.SILENCED
        kind = Kind.FAILED if firing else Kind.ACTED if unsure or execution.consent or execution.step else None
        return self.reporter.saved(stopped, "stood down", now, kind)

    def _ask(self, execution: Execution, answer: Answer, now: datetime) -> int:
        """Nothing was changed yet, so that a person can still decide it."""
        stormy = execution.stormy or guard.in_storm(answer)
        asked = execution.moved(Phase.ASKED, answer.reason, intended=None, attempts=0, consent=None, stormy=stormy)
        self.reporter.saved(replace(asked, stopped_by=answer.check, stopped=now), "asked", now, Kind.ACTED)
        if answer.check == guard.STORM:
            storms.page(self.store, asked, answer.reason, now)
        return 1

    def _holds(self, execution: Execution, target: Target) -> bool | None:
        return self.actuators[execution.action].holds(remedy.order(execution, target))

    def _found_applied(self, execution: Execution, words: str, now: datetime, starts: timedelta | None = None) -> int:
        """What is so by now may be this execution's own doing, of which nothing is known that takes it back."""
        done, starts_by = (*execution.done, Done(execution.planned.name, now)), now + starts if starts else None
        words += _until(starts_by)
        applied = execution.moved(Phase.APPLIED, words, applied=now, done=done, starts_by=starts_by)
        return self.reporter.saved(applied, "applied", now, Kind.ACTED)

    def look(self, execution: Execution, target: Target, now: datetime) -> Found:
        """Return how far the proof of what was applied has come; the policy's own checks follow its last step."""
        policy = self.reporter.policy(execution.policy)
        checks = policy.verify if policy and execution.last_step else ()
        found = self.verifier.look(execution, checks, target, now, self.actuators.get(execution.action))
        if found.again:
            self._finish(execution, target, now)
        self._remember(execution, found, target, now)
        return found

    def unproven(self, execution: Execution, found: Found, target: Target, now: datetime) -> int:
        """Note what has been proven so far, or that the time for it is up."""
        if found.late:
            ended = execution.moved(Phase.UNVERIFIED, found.words, ended=now, passed=found.passed)
            return self._ended_badly(ended, "unverified", target, now)
        if found.starts_by is None and execution.starting:
            failed = execution.moved(Phase.APPLIED, found.words, starts_by=None, passed=found.passed)
            return self.reporter.saved(failed, "not starting", now)
        if found.starts_by and found.starts_by > max(filter(None, (execution.starts_by, execution.applied))):
            words = f"{found.words}{_until(found.starts_by)}"
            starts = execution.moved(Phase.APPLIED, words, starts_by=found.starts_by, passed=found.passed)
            return self.reporter.saved(starts, "starting", now)
        if found.passed == execution.passed:
            return 0
        further = execution.moved(Phase.APPLIED, found.words, passed=found.passed)
        return self.reporter.saved(further, "check passed", now)

    def verified(self, execution: Execution, found: Found, now: datetime) -> int:
        """Say that the last step is proven, and with it the whole."""
        done = execution.moved(Phase.VERIFIED, found.words, ended=now, passed=found.passed)
        return self.reporter.saved(done, "verified", now, Kind.ACTED)

    def _remember(self, execution: Execution, found: Found, target: Target, now: datetime) -> None:
        """From when a switch was first seen on all that serves, or an app stopped, that is missed when it ends."""
        who = execution.by or f"policy {execution.policy}"
        if execution.action in remedy.LAST_RESORT and found.missing is None:
            switches.stopped(self.store, target, who, now)
        scope = execution.args.get("scope", "")
        if execution.action != "killswitch.engage" or scope not in SCOPES or execution.check_passed(SCOPES[scope]):
            return
        if SCOPES[scope] in dict(found.passed):
            switches.engaged(self.store, self.verifier.configuration, target, scope, who, now)

    def _may(self, execution: Execution, target: Target) -> bool:
        """Return whether automation is still on for what was begun; a person's order needs none."""
        if execution.by:
            return True
        policy = self.reporter.policy(execution.policy) or lost.lost_policy(execution)
        mode = guard.mode_of(policy, target, self.reporter.project.config.automation)
        return mode is Automation.ACT or (mode is Automation.ASK and execution.consent is not None)

    def _finish(self, execution: Execution, target: Target, now: datetime) -> None:
        """Apply once more what the platform has not finished by itself, unless a person has switched that off."""
        if self._taken_back(execution, target) or not self._burns(execution, target, now):
            return
        if not (self._may(execution, target) and (execution.by or execution.action in target.allow)):
            return
        with self.holding(execution, now) as mine:
            if not mine:
                return
            self.store.record(None, [step("finishing", execution, now)])
            outcome = self.actuators[execution.action].apply(remedy.order(execution, target))
            if outcome.did is not Did.ALREADY:
                said = execution.moved(execution.phase, outcome.detail)
                self.store.record(None, [step(f"finishing {outcome.did.value}", said, now)])

    def _burns(self, execution: Execution, target: Target, now: datetime) -> bool:
        """Return whether what it is about is known to be so now, and not only some time ago: the rest is a person's."""
        if execution.by:
            return True
        alert = self.reporter.alert(execution)
        rule = self.reporter.rule(alert.rule) if alert else None
        return bool(alert and rule and guard.still_firing(alert, rule, target, now).ruling is None)

    def _taken_back(self, execution: Execution, target: Target) -> bool:
        """Whether a person has released the switch since it was to be engaged: what is on its way is left where it is.

        A release finds nothing to change while the old revisions serve, so that the template still says otherwise.
        """
        since = execution.intended
        if execution.action != "killswitch.engage" or since is None:
            return False
        by_person = released(self.store, target.name, since)
        return by_person is not None and by_person >= since

    # When it goes wrong

    def give_up(self, execution: Execution, reason: str, target: Target, now: datetime) -> int:
        """Call a person; first take back what says so."""
        return self._ended_badly(execution.moved(Phase.FAILED, reason, ended=now), "failed", target, now)

    def _ended_badly(self, ended: Execution, event: str, target: Target, now: datetime) -> int:
        if not ended.to_undo():
            return self.reporter.saved(ended, event, now, Kind.FAILED)
        undoing = replace(ended, phase=Phase.UNDOING, ended=None)
        self.reporter.saved(undoing, f"{event}, taking back", now)
        return 1 + self.undo(undoing, target, now)

    def undo(self, execution: Execution, target: Target, now: datetime) -> int:
        """Take back the newest step that has to be; the intent to do so was recorded before."""
        left = execution.to_undo()
        if not left:
            return self._undone(execution, "", now)
        newest = left[0]
        undo, barred = newest.undo, self._barred(execution, newest.undo, target)
        if undo is None or barred:
            return self._undone(execution, barred, now)
        with self.holding(execution, now) as mine:
            if not mine:
                return 0
            order, back = remedy.order_to_undo(execution, newest, target), self.actuators[undo.action]
            changed = None if back.holds(order) else self._changed_since(execution, newest, target)
            return self._undo_outcome(execution, newest, changed or back.apply(order), now)

    def _changed_since(self, execution: Execution, done: Done, target: Target) -> Applied | None:
        """Return why a step is not taken back, since it was changed meanwhile; None if it is as the step left it."""
        step = next((each for each in execution.plan if each.name == done.name), None)
        actuator = self.actuators.get(step.action) if step else None
        if step is None or actuator is None or not actuator.readable:
            return None
        stands = actuator.holds(remedy.order_of(execution, step, target))
        if stands is None:
            return Applied(Did.BUSY, f"whether it still is as {step.action} left it cannot be read")
        return None if stands else Applied(Did.FAILED, f"it is not as {step.action} left it: it was changed since")

    def _barred(self, execution: Execution, undo: Undo | None, target: Target) -> str:
        """Return why a step may not be taken back, or an empty text."""
        if undo is None:
            return "nothing is known that takes it back"
        if undo.action in guard.FOR_A_PERSON:
            return f"{undo.action} is for a person"
        if undo.action not in self.actuators or undo.action not in target.allow:
            return f"{target.name} does not allow {undo.action}"
        return "" if self._may(execution, target) else "automation is not on any more"

    def _undo_outcome(self, execution: Execution, newest: Done, outcome: Applied, now: datetime) -> int:
        if outcome.did is Did.FAILED:
            return self._undone(execution, outcome.detail, now)
        if outcome.did is Did.BUSY and execution.attempts < _MOST_TRIES:
            waiting = execution.moved(Phase.UNDOING, execution.reason, attempts=execution.attempts + 1)
            return self.reporter.saved(waiting, "taking back busy", now)
        if outcome.did is Did.BUSY:
            return self._undone(execution, outcome.detail, now)
        done = tuple(each for each in execution.done if each is not newest)
        less = execution.moved(
            Phase.UNDOING, f"{execution.reason}; {newest.name} was taken back", done=done, attempts=0
        )
        self.reporter.saved(less, "taken back", now)
        return 1 + (self._undone(less, "", now) if not less.to_undo() else 0)

    def _undone(self, execution: Execution, why: str, now: datetime) -> int:
        """Say that it is over. ``why`` tells why what is left is not taken back, all of which is named."""
        left = ", ".join(each.name for each in execution.to_undo())
        reason = f"{execution.reason}; NOT taken back: {left}: {why}" if left else execution.reason
        return self.reporter.saved(execution.moved(Phase.FAILED, reason, ended=now), "failed", now, Kind.FAILED)


def _until(starts_by: datetime | None) -> str:
    return f"; starting: it may take until {starts_by:%H:%M:%S} UTC, by the app's own probes" if starts_by else ""


_MOST_TRIES = 15
"""Ticks for which a busy platform is asked to take something back."""
