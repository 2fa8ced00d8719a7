"""An actor on a stage whose alert fires for as long as a test says: without telemetry a minute takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from tests.stage import CONFIG, MINUTE, MISCONFIGURED, T0, TARGET, Stage
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.config import Config, Target
from tocsin.core.message import NEWS, Notice
from tocsin.core.policy import Policy
from tocsin.core.remedy import Applied, Did, Execution
from tocsin.ports import Store

ALLOWED = ("killswitch.engage", "killswitch.release", "first.do", "second.do", "first.undo", "second.undo")
WIDE = TARGET.model_copy(update={"allow": ALLOWED})
WIDER = CONFIG.model_copy(update={"targets": (WIDE,)})


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Lever:
    """Something that is done or not. ``outcomes`` are given first, instead of doing it."""

    name: str
    note: Callable[[str], None]
    done: dict[str, bool]
    outcomes: list[Applied] = field(default_factory=list)
    value: bool = True
    undo: bool = True
    hidden: bool = False
    orders: list[str] = field(default_factory=list)
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview:
        return Preview((f"{self.name} is pulled on {order.target.name}",), Undo(f"{self.name}.undo", {}))

    def apply(self, order: Order) -> Applied:
        self.note(f"apply {order.id.split('/')[0]} {self.name}")
        self.orders.append(order.id)
        if self.outcomes:
            return self.outcomes.pop(0)
        if self.done.get(self._place(order), False) is self.value:
            return Applied(Did.ALREADY, "it is so already")
        self.done[self._place(order)] = self.value
        self.note(f"changed {self.name} {self.value}")
        return Applied(Did.DONE, f"{self.name} done", undo=Undo(f"{self.name}.undo", {}) if self.undo else None)

    def _place(self, order: Order) -> str:
        """Return what stands in ``done`` for the order's target: the name alone for that of most tests."""
        return self.name if order.target.name == TARGET.name else f"{self.name} on {order.target.name}"

    def holds(self, order: Order) -> bool | None:
        return None if self.hidden else self.done.get(self._place(order), False) is self.value


def policy(*do: dict[str, Any], mode: str = "act", **changes: Any) -> Policy:
    """Return the two-step policy of these tests, with changes."""
    given = {
        "id": "in_order",
        "summary": "First the one, then the other.",
        "on": {"rule": MISCONFIGURED.id, "firing_for": "5m"},
        "do": do or ({"first.do": {}, "id": "one"}, {"second.do": {}, "id": "two"}),
        "guard": {"mode": mode, "cooldown": "0s", **changes.pop("guard", {})},
        **changes,
    }
    return Policy.model_validate(given)


class Bench(Stage):
    """A stage on which one alert fires from ``T0`` on."""

    def __init__(self, *policies: Policy, config: Config = WIDER, store: Store | None = None) -> None:
        super().__init__(store=store, policies=policies or (policy(),), config=config)
        self.done: dict[str, bool] = {}
        self.first, self.second = (Lever(name, self.note, self.done) for name in ("first", "second"))
        self.backs = {name: Lever(name, self.note, self.done, value=False) for name in ("first", "second")}
        self.actuators |= {"first.do": self.first, "second.do": self.second}
        self.actuators |= {f"{name}.undo": lever for name, lever in self.backs.items()}
        self.kill_at = 0
        self.points = 0
        self.alert = Alert(
            MISCONFIGURED.id, "sales", state=State.FIRING, since=T0, fired=T0, held=6 * MINUTE, last=Verdict.BREACHED
        )

    def note(self, what: str) -> None:
        super().note(what)
        if what.startswith(("record", "keep", "apply", "changed")):
            self.points += 1
            if self.points == self.kill_at:
                raise Killed(what)

    def enter(self, at: datetime, *alerts: Alert) -> None:
        """Keep these alerts, or the one that fires, as of ``at``."""
        given = alerts or (replace(self.alert, slot=at),)
        for target in {each.target for each in given}:
            mine = [each for each in given if each.target == target]
            etag = self.inner.load(MISCONFIGURED.id, target).etag
            self.inner.commit(MISCONFIGURED.id, target, mine, [], etag)

    def act(self, minute: float, *alerts: Alert, targets: tuple[Target, ...] | None = None) -> int:
        """Let the actor act at this minute after T0, on an alert as fresh."""
        now = T0 + minute * MINUTE
        self.enter(now, *alerts)
        return self.engine._actor(timedelta).act(now, targets or self.project.config.targets)

    def acts(self, minutes: range) -> None:
        for minute in minutes:
            self.act(minute)

    @property
    def execution(self) -> Execution:
        """The one execution there is."""
        (found,) = self.inner.executions()
        return found

    def told(self) -> list[Notice]:
        """What was handed to the outbox, oldest first, without what goes to the one who is called besides."""
        found = [each.notice for each in self.inner.deliveries(1000) if each.receiver == NEWS]
        return sorted({each.id: each for each in found}.values(), key=lambda each: (each.at, each.id))

    def titles(self) -> list[str]:
        return [each.title.split(":")[0] for each in self.told()]

    def words(self) -> str:
        return " | ".join(fact.value for each in self.told() for fact in each.facts)

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.inner.audit()]
