"""Whether a policy may act now: permit, ask, only observe, or refuse — always with the reason, every check recorded.

A refusal by any check outranks every other answer, so nobody is asked about an action that would be refused anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.config import Target
from tocsin.core.fields import Automation
from tocsin.core.policy import Policy
from tocsin.core.remedy import LAST_RESORT, Consent, Execution, Phase, identity, is_last_resort
from tocsin.core.rule import Rule
from tocsin.core.schedule import delay
from tocsin.core.units import spell


class Ruling(StrEnum):
    """What the guard answers."""

    PERMIT = "permit"
    ASK = "ask"
    OBSERVE = "observe"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the guard: None when it does not stand in the way, else the ruling and why."""

    name: str
    ruling: Ruling | None
    words: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The guard's answer. ``check`` names the one that decided, empty for a permit; ``checks`` holds every one."""

    ruling: Ruling
    reason: str
    checks: tuple[Check, ...]
    check: str = ""

    def passed(self, *names: str) -> bool:
        """Return whether none of the named checks stands in the way."""
        return all(check.ruling is None for check in self.checks if check.name in names)


@dataclass(frozen=True, slots=True)
class World:
    """What was read of the target just now; None is what cannot be known."""

    already: bool | None
    """Whether the first step's wanted state is there."""
    deploying: str | None = ""
    """What is being deployed, in the platform's word; empty when nothing is."""
    beware: str = ""
    """Why the cost of the model that would be swapped to may not be seen; empty where it would be."""
    stopped: bool = False
    """Whether the whole app is stopped."""
    serves: str = ""
    """Which switch is on everything that serves by now, though it failed or was not proven; empty when none is."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything the guard looks at. ``history`` holds every execution known, of all policies and targets."""

    policy: Policy
    rule: Rule
    alert: Alert
    target: Target
    automation: Automation
    history: Sequence[Execution]
    actions_per_hour: int
    now: datetime
    released: datetime | None = None
    """When a person last released a switch of this target, or set out to."""
    silenced: str = ""
    """Why a silence that says `actions: too` is in force for the alert."""
    targets: int = 1
    """How many targets there are."""
    wanting: int = 0
    """How many actions are wanted at this time, this one among them."""
    actions_at_once: int = 3
    stored: Execution | None = None
    """The execution as it stands, with a person's consent where one was given."""
    world: World | None = None
    """None before anybody looked: the two checks that need it then stand in nobody's way."""

    @property
    def consent(self) -> Consent | None:
        """The consent that still holds."""
        given = self.stored.consent if self.stored else None
        return given if given and given.at <= self.now and not given.lapsed(self.now) else None


def permit(case: Case) -> Answer:
    """Return whether the policy may act on this alert now; the strictest check in the way decides."""
    checks = (*_last_resort(case), *_stopped(case), *(check(case) for check in _CHECKS))
    if _nothing_left(case):
        so = "it is in force already, so that this limit does not count"
        checks = tuple(
            Check(each.name, None, f"{each.words}; {so}") if each.name in LIMITS else each for each in checks
        )
    consent = case.consent
    if consent:
        given = f"{consent.by} consented at {consent.at:%H:%M:%S}"
        checks = tuple(
            Check(each.name, None, f"{each.words}; {given}") if each.ruling is Ruling.ASK else each for each in checks
        )
    for ruling in (Ruling.REFUSE, Ruling.OBSERVE, Ruling.ASK):
        stopped = next((check for check in checks if check.ruling is ruling), None)
        if stopped:
            return Answer(ruling, stopped.words, checks, stopped.name)
    return Answer(Ruling.PERMIT, "every check passed", checks)


def _automation(case: Case) -> Check:
    """The lowest of the switch above all, the target's and the policy's own mode decides."""
    switches = {"the global switch": case.automation, f"target {case.target.name}": case.target.automation}
    lowest = min(switches, key=lambda name: _RANK[switches[name]])
    return _mode("automation", switches[lowest], lowest)


def mode_of(policy: Policy, target: Target, automation: Automation) -> Automation:
    """Return how far the policy may go on the target: the lowest of the three switches; a last resort asks at most."""
    most = Automation.ASK if is_last_resort(policy) else Automation.ACT
    return min((automation, target.automation, policy.guard.mode, most), key=lambda mode: _RANK[mode])


def _own_mode(case: Case) -> Check:
    last, mode = _last(case), case.policy.guard.mode
    if last and mode is Automation.ACT:
        return _mode("mode", Automation.ASK, f"{last} is always asked: policy {case.policy.id}")
    return _mode("mode", mode, f"policy {case.policy.id}")


_RANK = {Automation.OFF: 0, Automation.OBSERVE: 1, Automation.ASK: 2, Automation.ACT: 3}
_MODE_RULING = {Automation.OFF: Ruling.REFUSE, Automation.OBSERVE: Ruling.OBSERVE, Automation.ASK: Ruling.ASK}


def _mode(name: str, mode: Automation, whose: str) -> Check:
    return Check(name, _MODE_RULING.get(mode), f"{whose} says {mode.value}")


def _actions(case: Case) -> list[str]:
    return case.stored.actions if case.stored else [step.action for step in case.policy.do]


def _last(case: Case) -> str:
    """Return the last resort among the actions, if there is one."""
    return next((action for action in _actions(case) if action in LAST_RESORT), "")


def failed_engage(history: Sequence[Execution], episode: str) -> Execution | None:
    """Return the newest attempt to engage a switch in an episode, if it failed or was not proven within its time."""
    tried = [each for each in history if each.episode == episode and each.action == "killswitch.engage"]
    begun = [(each.begun, each.id, each) for each in tried if not each.phase.waiting and each.begun is not None]
    newest = max(begun)[-1] if begun else None
    return newest if newest and newest.phase in (Phase.FAILED, Phase.UNVERIFIED) else None


def _last_resort(case: Case) -> Iterator[Check]:
    """A last resort is for when a switch was to be engaged in this episode, and does not serve."""
    if not _last(case):
        return
    failed = failed_engage(case.history, case.alert.episode)
    if failed is None:
        words = "no killswitch.engage of this episode has failed or stayed unproven"
    elif case.world and case.world.serves:
        words = f"{case.world.serves} is on everything that serves by now"
    else:
        yield Check(NOT_DUE, None, f"{failed.id} is {failed.phase.value}: {failed.reason}")
        return
    yield Check(NOT_DUE, Ruling.REFUSE, words)


def _stopped(case: Case) -> Iterator[Check]:
    """Nothing of a stopped app runs that a switch could stop, and no proof of one could come."""
    if case.world and case.world.stopped and not _last(case):
        yield Check("app runs", Ruling.REFUSE, "the whole app is stopped, until a person starts it")


def _allowed(case: Case) -> Check:
    actions = _actions(case)
    forbidden = [action for action in actions if action not in case.target.allow or action in FOR_A_PERSON]
    if forbidden:
        whose = "no policy does" if forbidden[0] in FOR_A_PERSON else f"{case.target.name} does not allow"
        return Check("allowed", Ruling.REFUSE, f"{whose} {forbidden[0]}")
    return Check("allowed", None, f"{case.target.name} allows {', '.join(actions)}")


FOR_A_PERSON = frozenset({"killswitch.release", "container_app.start"})
"""Actions that a person takes, and never a policy."""

NOT_DUE = "last resort"
"""The check of a last resort. Until it is due nothing is refused, and nothing is recorded of it."""


def _still_firing(case: Case) -> Check:
    return still_firing(case.alert, case.rule, case.target, case.now)


def still_firing(alert: Alert, rule: Rule, target: Target, now: datetime) -> Check:
    """The alert fires, its newest verdict is a breach, and that verdict is recent: never on an unknown one."""
    if alert.state is not State.FIRING:
        return Check("still firing", Ruling.REFUSE, f"the alert is {alert.state.value}, not firing")
    if alert.last is not Verdict.BREACHED:
        return Check("still firing", Ruling.REFUSE, f"the newest verdict is {alert.last.value}")
    oldest = now - stale_after(rule, target)
    if alert.slot is None or alert.slot < oldest:
        return Check("still firing", Ruling.REFUSE, "the newest verdict is too old to act on")
    if alert.slot > now:
        return Check("still firing", Ruling.REFUSE, "the newest verdict lies in the future: the clock was set back")
    return Check("still firing", None, "firing, and the newest verdict is a breach")


def stale_after(rule: Rule, target: Target) -> timedelta:
    """Return how old a verdict may be and still be acted on: the rule's own delay and two of its slots."""
    return delay(rule, target) + 2 * rule.every


def _long_enough(case: Case) -> Check:
    wanted, held = case.policy.on.firing_for, case.alert.held
    if held < wanted:
        return Check(
            "firing long enough", Ruling.REFUSE, f"breached for {spell(held)} since it fired, needs {spell(wanted)}"
        )
    return Check("firing long enough", None, f"breached for {spell(held)} since it fired")


def _held_off(case: Case) -> Check:
    """A person who released the switch while the alert fires knows more than the policy, for this episode."""
    since = case.alert.fired
    if case.released is not None and since is not None and case.released >= since:
        return Check("held off", Ruling.REFUSE, f"a person released the switch at {case.released:%H:%M:%S}")
    return Check("held off", None, "no person released the switch since it fired")


def _silenced(case: Case) -> Check:
    """A silence mutes the telling alone, unless it says that policies are not to act either."""
    return Check(SILENCED, Ruling.REFUSE if case.silenced else None, case.silenced or "no silence stops actions")


def _hours(case: Case) -> Check:
    hours = case.policy.guard.hours
    if hours is None or hours.open(case.now):
        return Check("hours", None, "at any hour" if hours is None else "within its hours")
    return Check("hours", Ruling.ASK, f"outside the hours of policy {case.policy.id}: a person decides")


def _in_force(case: Case) -> Check:
    """What is so already is not asked for; done once more, it changes nothing."""
    if case.world is None or not case.world.already:
        return Check("already in force", None, "not in force" if case.world else "nobody looked yet")
    ruling = None if mode_of(case.policy, case.target, case.automation) is Automation.ACT else Ruling.REFUSE
    return Check("already in force", ruling, "already in force: there is nothing left to change")


DEPLOYING = "deployment in progress"


def _deployment(case: Case) -> Check:
    found = case.world.deploying if case.world else ""
    if found == "":
        return Check(DEPLOYING, None, "none in progress" if case.world else "nobody looked yet")
    waits = "no deployment in progress" in case.policy.guard.needs
    words = "whether one is in progress cannot be read" if found is None else f"a deployment is in progress: {found}"
    return Check(DEPLOYING, Ruling.REFUSE if waits else None, words)


def _blast_radius(case: Case) -> Check:
    radius, own = case.policy.guard.blast_radius, case.target.name
    of_policy = [each for each in case.history if each.policy == case.policy.id]
    touched = {each.target for each in of_policy if _within(each, radius.per, case.now)}
    most = radius.most(case.targets)
    words = f"{len(touched | {own})} of {case.targets} targets within {spell(radius.per)}, at most {most}"
    return Check("blast radius", Ruling.REFUSE if len(touched | {own}) > most else None, words)


STORM = "storm"


def _storm(case: Case) -> Check:
    """What was asked for in a storm stays a question: as the storm thins out, none of it is done unasked."""
    words = f"{case.wanting} actions are wanted at once, at most {case.actions_at_once} go unasked"
    before = case.stored is not None and case.stored.stormy
    return Check(STORM, Ruling.ASK if before or case.wanting > case.actions_at_once else None, words)


def in_storm(answer: Answer) -> bool:
    """Return whether it is asked, and too much was wanted at once."""
    return answer.ruling is Ruling.ASK and not answer.passed(STORM)


def _cooldown(case: Case) -> Check:
    cooldown, own = case.policy.guard.cooldown, _own_acts(case)
    newest = min((age for age in (_age(each, case.now) for each in own) if age is not None), default=None)
    if newest is not None and newest < cooldown:
        left = cooldown - newest
        return Check("cooldown", Ruling.REFUSE, f"acted on {case.target.name} already; cooling down for {spell(left)}")
    return Check("cooldown", None, "not cooling down")


def _at_most(case: Case) -> Check:
    rate = case.policy.guard.at_most
    recent = sum(_within(each, rate.per, case.now) for each in _own_acts(case))
    if recent >= rate.count:
        return Check("at most", Ruling.REFUSE, f"acted {recent} times within {spell(rate.per)}, at most {rate.count}")
    return Check("at most", None, f"acted {recent} times within {spell(rate.per)}")


def _own_acts(case: Case) -> list[Execution]:
    own, this = (case.policy.id, case.target.name), _this(case)
    return [each for each in case.history if (each.policy, each.target) == own and each.id != this]


def _this(case: Case) -> str:
    return case.stored.id if case.stored else identity(case.policy, case.alert)


def _budget(case: Case) -> Check:
    others = [each for each in case.history if each.id != _this(case) and not each.by]
    recent = sum(_within(each, timedelta(hours=1), case.now) for each in others)
    if recent >= case.actions_per_hour:
        return Check(
            "budget", Ruling.REFUSE, f"{recent} actions within the hour, the budget is {case.actions_per_hour}"
        )
    return Check("budget", None, f"{recent} actions within the hour")


def limited(answer: Answer) -> bool:
    """Return whether only limits refuse it: they do not count where nothing has to be changed."""
    refused = {check.name for check in answer.checks if check.ruling is Ruling.REFUSE}
    return bool(refused) and refused <= LIMITS


def _nothing_left(case: Case) -> bool:
    """Return whether the desired state is there already. Of several steps only the first is checked, so never then."""
    steps = len(case.stored.plan if case.stored else case.policy.do)
    return steps == 1 and case.world is not None and bool(case.world.already)


def _within(execution: Execution, per: timedelta, now: datetime) -> bool:
    """Return whether an execution first set out to change something within ``per``."""
    age = _age(execution, now)
    return age is not None and age < per


def _age(execution: Execution, now: datetime) -> timedelta | None:
    """Return how long ago an execution first set out to change something; None when it has not, or changed nothing.

    One that cannot be judged counts as begun now: a limit may hold back one action too many, and never one too few.
    The engine notifies somebody of it.
    """
    with suppress(Exception):
        begun = execution.first_intended
        return None if begun is None or execution.found_so else now - begun
    return timedelta()


def _one_at_a_time(case: Case) -> Check:
    busy = [each.id for each in case.history if each.target == case.target.name and each.phase.acting]
    others = [each for each in busy if each != _this(case)]
    if _last(case):
        stopping = [each for each in case.history if each.action in LAST_RESORT and each.phase.acting]
        others += [f"{each.id} on {each.target}" for each in stopping if each.target != case.target.name]
    if others:
        return Check("one at a time", Ruling.REFUSE, f"{others[0]} is still under way on {case.target.name}")
    return Check("one at a time", None, "nothing else is under way")


PRICE = "price"


def _price(case: Case) -> Check:
    """It comes first, so that whoever is asked reads it: that the policy asks is plain from being asked."""
    words = case.world.beware if case.world else ""
    return Check(PRICE, Ruling.ASK if words else None, words or "nothing is known against its price")


_CHECKS: tuple[Callable[[Case], Check], ...] = (
    _price,
    _automation,
    _own_mode,
    _allowed,
    _still_firing,
    _long_enough,
    _held_off,
    _silenced,
    _hours,
    _in_force,
    _deployment,
    _one_at_a_time,
    _cooldown,
    _at_most,
    _blast_radius,
    _storm,
    _budget,
)

DUE = ("still firing", "firing long enough")
"""The checks that tell whether the moment has come; until then nothing is refused that was promised."""

LIMITS = frozenset({"cooldown", "at most", "blast radius", STORM, "budget"})
"""Checks of how much is changed. They do not count for what is in force already: nothing is changed."""

BREAKS_A_PROMISE = frozenset({"held off", "cooldown", "at most", "blast radius", "budget"})
"""Checks that a message written when the alert fired could not foresee. A silence of actions is a person's own word."""

SILENCED = "silenced"

PASSING = frozenset({DEPLOYING, "one at a time"})
"""Checks that stand in the way for minutes at most: what a person consented to waits for them, and is not refused."""
