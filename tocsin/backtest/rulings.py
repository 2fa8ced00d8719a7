"""What policies would have done: the live guard over a backtest's episodes, one minute after another.

What an action does to the world is not in the history: the alert goes on as it was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tocsin.backtest.replay import Course
from tocsin.core.alert import Alert
from tocsin.core.guard import DUE, Answer, Case, Ruling, permit
from tocsin.core.labels import alert_labels
from tocsin.core.mute import silencer
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Execution, Phase, answers, begin, identity, is_last_resort, spelled
from tocsin.core.schedule import delay


@dataclass(frozen=True, slots=True)
class Deed:
    """What one policy would have done about one episode: the guard's ruling, what it is about, and why."""

    at: datetime
    policy: str
    rule: str
    target: str
    action: str
    ruling: str
    why: str
    episode: str


@dataclass(frozen=True, slots=True)
class _Chance:
    """One slot of one episode in which one policy may act."""

    at: datetime
    policy: Policy
    course: Course
    alert: Alert


def deeds(courses: Sequence[Course], project: Project) -> list[Deed]:
    """Return one deed for each policy and episode that it answers, oldest first.

    Where the guard refuses, the policy tries again while the alert burns, as it does live; the deed is what it came to
    in the end. Consent is never given.
    """
    history: list[Execution] = []
    found: dict[str, Deed] = {}
    early: set[str] = set()
    for chance in sorted(_chances(courses, project), key=lambda each: (each.at, each.policy.id)):
        name = identity(chance.policy, chance.alert)
        known = found.get(name)
        if known is not None and known.ruling != Ruling.REFUSE.value:
            continue
        answer = permit(_case(chance, project, history))
        if known is None or answer.ruling is not Ruling.REFUSE or (name in early and answer.passed(*DUE)):
            found[name] = _deed(chance, answer)
        # That its time had not come is no answer to what would have been done when it had.
        (early.discard if answer.passed(*DUE) else early.add)(name)
        if answer.ruling is Ruling.PERMIT:
            done = begin(chance.policy, chance.alert, chance.at)
            history.append(replace(done, phase=Phase.VERIFIED, intended=chance.at, ended=chance.at))
    return list(found.values())


def _chances(courses: Iterable[Course], project: Project) -> Iterator[_Chance]:
    for course in courses:
        for alerts in course.open.values():
            labels = alert_labels(course.rule, course.target, alerts[0].by)
            for policy in project.policies:
                if answers(policy, course.rule, alerts[0], labels) and not is_last_resort(
                    policy
                ):  # nothing fails in a replay
                    yield from _own(policy, course, alerts)


def _own(policy: Policy, course: Course, alerts: Sequence[Alert]) -> Iterator[_Chance]:
    wait = delay(course.rule, course.target)
    for alert in alerts:
        long_enough = alert.fired and alert.slot and alert.slot + wait - alert.fired >= policy.on.firing_for
        if alert.open and alert.slot and long_enough:
            yield _Chance(alert.slot + wait, policy, course, alert)


def _case(chance: _Chance, project: Project, history: Sequence[Execution]) -> Case:
    config = project.config
    return Case(
        chance.policy,
        chance.course.rule,
        chance.alert,
        chance.course.target,
        config.automation,
        history,
        config.budgets.actions_per_hour,
        chance.at,
        silenced=_silenced(chance, project),
        targets=len(config.targets),
        wanting=1,
        actions_at_once=config.budgets.actions_at_once,
    )


def _silenced(chance: _Chance, project: Project) -> str:
    """Return why a silence of the file keeps policies from acting; those of a store are in no history."""
    silences = [made for number, each in enumerate(project.config.silences) if (made := each.silence(number)).actions]
    if not silences:
        return ""
    found = silencer(silences, alert_labels(chance.course.rule, chance.course.target, chance.alert.by), chance.at)
    return f"silenced by {found.author}, actions too: {found.comment}" if found else ""


def _deed(chance: _Chance, answer: Answer) -> Deed:
    action = ", then ".join(spelled(step.action, step.args) for step in chance.policy.do)
    rule, target = chance.course.rule.id, chance.course.target.name
    return Deed(chance.at, chance.policy.id, rule, target, action, answer.ruling.value, answer.reason,
                chance.alert.episode)  # fmt: skip
