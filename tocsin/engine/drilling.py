"""A drill of the killswitch: engage it on purpose, prove that it works and that people hear of it, and release it.

It releases what it engaged itself, whatever happens in between, and nothing else: a switch that was on before is
refused, and one that somebody else wants on by then stays on. Its records are called ``drill …``, so that its release
is not taken for a person's, who would hold off policies; and the store never learns that the switch was engaged, so
that nothing acts on its going.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from tocsin.core import container
from tocsin.core.answer import NoAnswer
from tocsin.core.container import DEPLOYING, SCOPES, SECRET, engaged
from tocsin.core.drill import Report, Result, Step
from tocsin.core.remedy import Did
from tocsin.core.starting import UNREAD, patience, starting
from tocsin.core.text import scrub
from tocsin.engine.announcing import Announcer, awaited_alert
from tocsin.engine.claiming import claims, so_far
from tocsin.engine.gripping import PATIENCE, Grip, Hands, Plan
from tocsin.engine.halting import Halting
from tocsin.engine.tick import Engine

_QUERY_EVERY = 15.0
"""Seconds between two looks into telemetry, which has a budget of queries."""

_RELEASES = 20
"""How often an interrupted release is begun again."""


class Refused(Exception):
    """The drill is not begun, and nothing was done; the text says why."""


class Unread(Exception):
    """The platform does not say how the switch stands, so that nothing was done."""


class Drill:
    """One drill, run once."""

    def __init__(self, engine: Engine, plan: Plan, hands: Hands) -> None:
        self.engine, self.plan, self.hands = engine, plan, hands
        self.target, self.variable = plan.target, SCOPES[plan.scope]
        self.manual = container.manual(plan.target, self.variable, "off")
        self.steps: list[Step] = []
        self.grip = Grip(engine, plan, hands)
        self._announcer = Announcer(engine, plan.target, plan.id, plan.by, plan.scope, plan.unusable)

    def run(self) -> Report:
        """Drill, and return what came of it.

        Raises ``Refused``, ``Unread`` or ``StoreUnavailable`` before anything is done.
        """
        began = self.hands.now()
        self._begin()
        try:
            self._through()
            self.hands.ending()
        except KeyboardInterrupt:
            self.hands.ending()
            self._note("interrupted", Result.UNPROVEN, "a person stopped the drill; what it engaged is released")
        except Exception as error:  # whatever it is: the switch must not stay on because of it
            self.hands.ending()
            self._note("broke off", Result.FAILED, f"{type(error).__name__}: {error}")
        finally:
            self._end()
        return self._report(began)

    def _report(self, began: datetime) -> Report:
        plan = self.plan
        return Report(
            plan.id,
            self.target.name,
            self.target.production,
            plan.scope,
            plan.by,
            began,
            self.hands.now(),
            tuple(self.steps),
            self.grip.maybe_on or bool(self.grip.foreign),
            self.grip.foreign,
            self.manual,
        )

    # Before

    def _begin(self) -> None:
        if not self.grip.hold():
            raise Refused(f"another drill of {self.target.name} is under way")
        try:
            self.grip.since = so_far(self.engine)
            wrong = self._unfit()
        except BaseException:
            self.grip.let_go()
            raise
        if wrong:
            self.grip.let_go()
            raise Refused(wrong)

    def _unfit(self) -> str:
        """Return why this is no time for a drill, or an empty text."""
        app = self.engine.configuration.read(self.target)
        if isinstance(app, NoAnswer):
            raise Unread(f"{self.target.name} could not be read: {app.why.value} {app.detail}")
        environments = [app.env, *(each.env for each in app.serving)]
        for variable in SCOPES.values():
            if any(engaged(env.get(variable)) for env in environments):
                return f"{variable} is on already: a drill never releases what others have engaged"
        if any(env.get(self.variable) == SECRET for env in environments):
            return f"{self.variable} is a reference to a secret, which no drill changes"
        if app.provisioning in DEPLOYING:
            return f"a deployment is in progress: {app.provisioning}"
        seen = container.verify(app, self.variable, False)
        if not seen.holds:
            return f"{self.target.name} is not sound as it is: {seen.words}"
        return self._busy()

    def _busy(self) -> str:
        mine = [each for each in self.engine.store.executions() if each.target == self.target.name]
        acting = [f"{each.id} is under way" for each in mine if each.phase.acting]
        wanted = acting or claims(self.engine, self.target, self.plan.scope, self.grip.since)
        return f"not while something is going on: {'; '.join(wanted)}" if wanted else ""

    # The drill

    def _through(self) -> None:
        if self._step("engage", self._engage) and self._step("serving", lambda: self._proof(on=True)):
            since = self.hands.now()
            self._step("receivers", self._tell)
            if self.plan.call:
                self._step("call", self._call)
            self._step("alert", self._alert)
            self._step("halted", lambda: self._halted(since))
            return
        for name in ("serving", "receivers", "alert", "halted")[len(self.steps) - 1 :]:
            self._note(name, Result.SKIPPED, "the switch was not proven to be on")

    def _engage(self) -> tuple[Result, str]:
        self.grip.record("engage intended", {"release by hand": self.manual})
        outcome = self.grip.patiently("engage")
        good = outcome.did in (Did.DONE, Did.ALREADY) and not self.grip.foreign
        return Result.PROVEN if good else Result.FAILED, "; ".join(filter(None, (outcome.detail, self.grip.foreign)))

    def _proof(self, *, on: bool) -> tuple[Result, str]:
        result, words = self._until(max(PATIENCE, self._start()), lambda: self._seen(on=on))
        if result is Result.PROVEN:
            self.grip.record(f"{'engage' if on else 'release'} verified", {"detail": words})
        return result, words

    def _start(self) -> timedelta:
        """Return how long a new revision of the app may take to serve."""
        app = self.engine.configuration.read(self.target)
        return UNREAD if isinstance(app, NoAnswer) else patience(app.template)

    def _seen(self, *, on: bool) -> tuple[Result, str]:
        """Look at what serves. Where traffic is shared out, the platform has to be told once more to move it."""
        app = self.engine.configuration.read(self.target)
        if isinstance(app, NoAnswer):
            return Result.UNPROVEN, f"the app could not be read: {app.why.value}"
        seen, written = container.verify(app, self.variable, on), engaged(app.env.get(self.variable)) == on
        if seen.holds and (written or not app.template_serves):
            return Result.PROVEN, seen.words
        if written and app.multiple:
            self.grip.once("engage" if on else "release")
        if starting(app, lambda each: engaged(each.env.get(self.variable)) == on):
            return Result.UNPROVEN, f"still starting: {seen.words}"
        return Result.UNPROVEN, seen.words if not seen.holds else f"{seen.words}, and the next revision differs"

    def _tell(self) -> tuple[Result, str]:
        answers = self._announcer.begin(self.hands.now())
        self.grip.record("receivers", dict(answers.said))
        return answers.result, answers.words

    def _call(self) -> tuple[Result, str]:
        assert self.plan.call is not None
        answered, words = self.plan.call()
        return Result.NONE if answered else Result.UNPROVEN, words

    def _alert(self) -> tuple[Result, str]:
        before, scope = self.grip.since.episodes, self.plan.scope
        return self._until(PATIENCE, lambda: awaited_alert(self.engine, self.target, scope, before, self.hands.now()))

    def _halted(self, since: datetime) -> tuple[Result, str]:
        lag = self.engine.store.mark(self.target.name).lag
        target = self.target if lag is None else self.target.model_copy(update={"lag": lag})
        halting = Halting(self.engine.telemetry, target, self.plan.scope, since, self.plan.watch)
        result, words = self._until(self.plan.watch + PATIENCE, lambda: halting.look(self.hands.now()), _QUERY_EVERY)
        self.grip.record("halted", {"result": result.value, "detail": words})
        return result, words

    # After

    def _end(self) -> None:
        """Release what was engaged, tell those who heard of the drill, and record how it ended."""
        if self.grip.maybe_on:
            self._release()
        for last in (self._announce_end, self._record_end, self.grip.let_go):
            try:
                last()
            except (Exception, KeyboardInterrupt) as error:  # each of them, whatever became of the others
                self._note("ending", Result.UNPROVEN, f"{last.__name__.strip('_')}: {type(error).__name__}: {error}")

    def _release(self) -> None:
        """Release it to the end: an interruption that comes through all the same begins the release once more."""
        for _ in range(_RELEASES):
            try:
                if self._step("release", self._take_back):
                    self.grip.maybe_on = not self._step("released", lambda: self._proof(on=False))
                    self._step("undisturbed", self._undisturbed)
                return
            except KeyboardInterrupt:
                self._note("interrupted", Result.UNPROVEN, "somebody interrupted the release; it goes on")
            except Exception as error:
                self._note("broke off", Result.FAILED, f"{type(error).__name__}: {error}")
                return

    def _take_back(self) -> tuple[Result, str]:
        outcome = self.grip.patiently("release")
        good = outcome.did in (Did.DONE, Did.ALREADY)
        return Result.PROVEN if good else Result.FAILED, outcome.detail

    def _undisturbed(self) -> tuple[Result, str]:
        """Whoever engaged in the very moment of the release must hear of it: to them it was engaged already."""
        found = claims(self.engine, self.target, self.plan.scope, self.grip.since)
        if not found:
            return Result.PROVEN, "nobody engaged the switch while the drill released it"
        how = f"engage it again: {container.manual(self.target, self.variable, 'on')}"
        return Result.FAILED, f"{'; '.join(found)}, while the drill released it; {how}"

    def _announce_end(self) -> None:
        if self._announcer.told:
            self._step("receivers, at the end", self._told_end)

    def _told_end(self) -> tuple[Result, str]:
        stays = (
            f"{self.variable} may still be on; {self.grip.foreign}" if self.grip.maybe_on or self.grip.foreign else ""
        )
        answers = self._announcer.end(
            self.hands.now(), stays, self.manual, alarm=self.grip.maybe_on and not self.grip.foreign
        )
        return answers.result, answers.words

    def _record_end(self) -> None:
        if not self.steps:
            return
        results = {f"step {number:02} {step.name}": step.result.value for number, step in enumerate(self.steps, 1)}
        self.grip.record("ended", {**results, "left on": str(self.grip.maybe_on).lower()})

    # How it is noted

    def _step(self, name: str, do: Callable[[], tuple[Result, str]]) -> bool:
        """Do one step and note what it proved; return whether it proved what it had to."""
        with suppress(Exception):  # a terminal that is gone keeps no switch on
            self.hands.begins(name)
        began = self.hands.now()
        try:
            result, words = do()
        except KeyboardInterrupt:
            self._note(name, Result.UNPROVEN, "interrupted", began)
            raise
        except Exception as error:
            result, words = Result.FAILED, f"{type(error).__name__}: {error}"
        self._note(name, result, words, began)
        return result.good

    def _note(self, name: str, result: Result, words: str, began: datetime | None = None) -> None:
        now = self.hands.now()
        step = Step(name, began or now, now, result, scrub(words, 2_000))
        self.steps.append(step)
        with suppress(Exception):
            self.hands.ended(step)

    def _until(
        self, within: timedelta, look: Callable[[], tuple[Result, str]], every: float = 5.0
    ) -> tuple[Result, str]:
        """Look until something is proven or refuted, or the time for it is up."""
        until = self.hands.now() + within
        while True:
            result, words = look()
            if result is not Result.UNPROVEN or self.hands.now() >= until:
                return result, words
            self.grip.wait(every)
