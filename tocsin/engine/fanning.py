"""A fleet that outgrows one instance: the tick hands targets out over a queue, and whoever takes one evaluates it.

The same engine runs inline and handed out. What nobody evaluates in time the tick evaluates itself: a queue that
stands still must not make the watcher blind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from tocsin.core import body as bodies
from tocsin.core.config import Target
from tocsin.core.failing import Subject
from tocsin.core.read import Project
from tocsin.core.schedule import delay, selects
from tocsin.core.sight import SIGHT
from tocsin.engine.failing import Failures
from tocsin.ports import Log, Store, Unsent, WorkQueue

LEFT_BEHIND = timedelta(minutes=5)
"""How old a target's newest slot may be before the tick does not wait for others any more."""


def plan_size(project: Project, targets: Sequence[Target]) -> int:
    """Return how many evaluations one round over these targets is: a rule on a target each."""
    return sum(selects(rule, target) for rule in project.rules for target in targets)


def work(target: str, now: datetime) -> str:
    """Return the message that asks for one target's evaluation."""
    return json.dumps({"target": target, "asked": now.isoformat()})


_LONGEST = 64 * 1024
"""Bytes of a message: as many as a Storage queue takes."""


def named(message: str) -> str:
    """Return the target that a message is about. Raises ValueError for one that no tick wrote."""
    try:
        found = bodies.parsed(message.encode("utf-8", "replace"), _LONGEST)["target"]
    except (ValueError, TypeError, LookupError):
        found = None
    if not isinstance(found, str):
        raise ValueError("not a request to evaluate a target")
    return found


def is_about(message: str, target: Target) -> bool:
    """Return whether a message, whoever wrote it, asks for this target's evaluation."""
    try:
        return named(message) == target.name
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class FanOut:
    """Hands targets out when there are more evaluations than one instance is to do."""

    project: Project
    store: Store
    queue: WorkQueue | None
    log: Log
    failures: Failures = field(default_factory=Failures)

    def inline(self, targets: Sequence[Target], now: datetime) -> list[Target]:
        """Hand out what others are to evaluate; return what is left to this tick."""
        most = self.project.config.budgets.evaluations_inline
        if plan_size(self.project, targets) <= most:
            return list(targets)
        if self.queue is None:
            self.log.warning("outgrown", evaluations=plan_size(self.project, targets), most=most, why="no work queue")
            return list(targets)
        behind = self.failures.each(targets, _subject, lambda target: self._left_behind(target, now), True)
        left = [target for target, is_ in zip(targets, behind, strict=True) if is_]
        others = [target for target in targets if target not in left]
        return [*left, *self._not_handed_out(others, self.queue, now)]

    def _left_behind(self, target: Target, now: datetime) -> bool:
        """Whether nobody has evaluated the target for too long, or ever: then this tick does not wait for others."""
        mark = self.store.mark(target.name)
        newest = mark.slots.get(SIGHT.id)
        lagging = target if mark.lag is None else target.model_copy(update={"lag": mark.lag})
        if newest is not None and now - delay(SIGHT, lagging) - newest <= LEFT_BEHIND:
            return False
        self.log.error("left behind", target=target.name, newest=newest)
        return True

    def _not_handed_out(self, targets: Sequence[Target], queue: WorkQueue, now: datetime) -> Sequence[Target]:
        """Hand the targets out; return those that the queue did not take, all the rest once it fails."""
        left: list[Target] = []
        for number, target in enumerate(targets):
            refused = self.failures.attempt(_subject(target), partial(_refused, queue, target, now), True)
            if isinstance(refused, Unsent):
                self.log.error("not handed out", targets=len(targets) - number, why=str(refused))
                return [*left, *targets[number:]]
            left += [target] if refused else []
        return left


def _refused(queue: WorkQueue, target: Target, now: datetime) -> Unsent | None:
    try:
        queue.send(work(target.name, now))
    except Unsent as error:
        return error
    return None


def _subject(target: Target) -> Subject:
    return Subject("handing out", target=target.name)
