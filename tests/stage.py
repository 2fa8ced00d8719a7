"""A small stage for engine tests: real telemetry and store; receivers, app and switch that remember what was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from tocsin import actuators, signals
from tocsin.core.action import Order, Preview
from tocsin.core.answer import NoAnswer, Query, Rows, Why
from tocsin.core.audit import Author, Via
from tocsin.core.config import Config, Target
from tocsin.core.container import App, Revision, engaged
from tocsin.core.message import Notice, Outcome, Said
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Applied, Did
from tocsin.core.rule import Rule
from tocsin.engine.tick import Engine
from tocsin.ports import Actuator, Meter, Mirror, Store, WorkQueue
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.embedded import EmbeddedTelemetry
from tocsin.testing import Heard

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SWITCH = "KILLSWITCH_TOOLS"


def by(name: str) -> Author:
    """Return somebody who decides by a command."""
    return Author(name, Via.CLI)


TARGET = Target(
    name="sales",
    workspace="w",
    role_name="sales-api",
    subscription="s",
    resource_group="rg",
    container_app="sales-api",
    labels={"env": "prod"},
    allow=("killswitch.engage",),
    offset=timedelta(),
)
MISCONFIGURED = Rule.model_validate(
    {
        "id": "hitl_misconfigured",
        "summary": "{target} runs without an approver ({value} signs).",
        "severity": "P1",
        "when": {"signal": "hitl_misconfigured", "above": "0", "over": "5m"},
        "for": "1m",
        "keep_firing_for": "2m",
    }
)
ERRORS = Rule.model_validate(
    {
        "id": "high_error_rate",
        "summary": "{value} of the responses fail.",
        "severity": "P1",
        "when": {"signal": "response_errors", "above": "5%", "over": "5m", "minimum": "5"},
    }
)
STOP = Policy.model_validate(
    {
        "id": "stop_unsafe_tools",
        "summary": "Stop unsafe tools.",
        "on": {"rule": "hitl_misconfigured", "firing_for": "5m"},
        "do": [{"killswitch.engage": {"scope": "tools"}}],
        "verify": [
            {"container_env": SWITCH, "is": "on", "within": "10m"},
            {"signal": "side_effect_tools", "at_most": "0", "over": "2m", "within": "20m"},
        ],
        "guard": {"mode": "act"},
        "if_it_fails": {"escalate": "oncall"},
    }
)
CONFIG = Config.model_validate(
    {
        "automation": "act",
        "targets": [TARGET],
        "routes": {"to": ["oncall", "team"], "group_wait": "0s", "group_interval": "1s"},
        "fallback": "team",
    }
)


def project(*rules: Rule, **changes: Any) -> Project:
    """Return a project with these rules, the stop policy and one target."""
    return replace(Project(rules=rules or (MISCONFIGURED,), policies=(STOP,), config=CONFIG), **changes)


@dataclass
class Receiver:
    """Accepts everything, unless ``outcomes`` holds other answers to give first."""

    note: Callable[[str], None]
    got: list[Notice] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def deliver(self, notice: Notice) -> Outcome:
        self.note(f"told {notice.kind.value}")
        self.got.append(notice)
        return self.outcomes.pop(0) if self.outcomes else Outcome(Said.ACCEPTED)

    def kinds(self) -> list[str]:
        return [notice.kind.value for notice in self.got]


@dataclass
class Platform:
    """An app with one revision whose variables take effect at once; it is its own configuration reader and switch."""

    note: Callable[[str], None]
    env: dict[str, str] = field(default_factory=dict)
    changes: int = 0
    outcomes: list[Applied] = field(default_factory=list)
    unreadable: bool = False

    def read(self, target: Target) -> App | NoAnswer:
        if self.unreadable:
            return NoAnswer(Why.UNREACHABLE)
        serving = Revision("r1", active=True, weight=100, running=True, env=dict(self.env))
        return App("id", "westeurope", {}, dict(self.env), (serving,))

    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = True

    def preview(self, order: Order) -> Preview | NoAnswer:
        return Preview(() if engaged(self.env.get(SWITCH)) else (f"{SWITCH} → on",))

    def apply(self, order: Order) -> Applied:
        self.note("applied")
        if self.outcomes:
            return self.outcomes.pop(0)
        if engaged(self.env.get(SWITCH)):
            return Applied(Did.ALREADY, "already engaged")
        self.env[SWITCH] = "on"
        self.changes += 1
        return Applied(Did.DONE, "engaged", before="r0", after="r1")

    def holds(self, order: Order) -> bool | None:
        return None if self.unreadable else engaged(self.env.get(SWITCH))


class Noted:
    """A store that notes the name of every call that writes, and may fail at one of them."""

    def __init__(self, inner: Store, note: Callable[[str], None]) -> None:
        self._inner, self._note = inner, note

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in ("commit", "record", "claim", "settle", "beat", "save_mark", "enqueue", "keep"):
            return method

        def noted(*args: Any, **kwargs: Any) -> Any:
            self._note(self._named(name, args))
            return method(*args, **kwargs)

        return noted

    @staticmethod
    def _named(name: str, args: tuple[Any, ...]) -> str:
        return f"record {args[1][0].event}" if name == "record" else name


class Stage:
    """Everything one engine needs, small enough to look through."""

    def __init__(
        self, *rules: Rule, store: Store | None = None, telemetry: EmbeddedTelemetry | None = None, **changes: Any
    ) -> None:
        self.happened: list[str] = []
        self.telemetry = telemetry or EmbeddedTelemetry()
        self.answers: Callable[[Query], NoAnswer | None] = lambda query: None
        self.oncall, self.team = Receiver(self.note), Receiver(self.note)
        self.platform = Platform(self.note, {"HITL_APPROVER_ENDPOINT": "https://approver"})
        self.meters: dict[str, Meter] = {}
        self.actuators: dict[str, Actuator] = {
            "killswitch.engage": self.platform,
            "killswitch.release": self.platform,
        }
        self.queue: WorkQueue | None = None
        self.mirror: Mirror | None = None
        self.log = Heard()
        self.inner = store or SqliteStore(":memory:")
        self.project = project(*rules, **changes)

    def note(self, what: str) -> None:
        self.happened.append(what)

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        return self.answers(query) or self.telemetry.ask(query, target)

    @property
    def engine(self) -> Engine:
        return Engine(
            project=self.project,
            signals=signals.known(),
            store=Noted(self.inner, self.note),
            telemetry=self,
            configuration=self.platform,
            notifiers={"oncall": self.oncall, "team": self.team},
            actuators=self.actuators,
            log=self.log,
            owner="test",
            meters=self.meters,
            queue=self.queue,
            mirror=self.mirror,
            takes=actuators.known(),
        )

    def trace(self, at: datetime, name: str, **properties: str) -> None:
        """Emit one event of the accelerator."""
        row = {"TimeGenerated": at, "Message": name, "AppRoleName": "sales-api", "SeverityLevel": 1}
        self.telemetry.load("AppTraces", [{**row, "Properties": {"event_name": name, **properties}}])

    def busy(self, start: datetime, end: datetime) -> None:
        """Emit healthy responses, so that the target is alive."""
        at = start
        while at < end:
            self.trace(at, "response.returned", ok="true", value="900", unit="ms")
            at += timedelta(seconds=20)

    def run(self, minutes: range) -> None:
        """Tick once at each of these minutes after T0."""
        for minute in minutes:
            self.engine.tick(T0 + minute * MINUTE)
