"""Azure on one machine: every stand-in on one loopback server, a simulated accelerator, and a clock for the story.

The production adapters run against it unchanged, over HTTP; ``settings`` says where they find it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from tocsin.core.config import Probe, Queue, Target
from tocsin.local.accelerator import SIDE_EFFECTS, UNCHECKED, Accelerator, Weather
from tocsin.local.approver import ApproverStandIn, RemoteApprover
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.local.dated import Dated
from tocsin.local.front import FrontDoor
from tocsin.local.github import TOKEN, GitHubStandIn
from tocsin.local.load import from_trace, seeded
from tocsin.local.metrics import MetricsStandIn
from tocsin.local.pagerduty import PagerDutyStandIn
from tocsin.local.queues import QueuesStandIn
from tocsin.local.roles import RolesStandIn
from tocsin.local.serve import Served
from tocsin.local.teams import TeamsStandIn
from tocsin.local.webhooks import SECRET, WebhookStandIn
from tocsin.local.workspace import Workspace
from tocsin.telemetry.embedded import EmbeddedTelemetry

_STEP = timedelta(seconds=5)
"""The world moves in steps no longer than this, so that a variable takes effect when its revision serves."""

_WARM_UP = timedelta(minutes=10)
"""How much healthy history a world has before its story begins."""

_REVISION = "sales-research-api--0000001"
_LEVELS = {"CpuPercentage": 35.0, "MemoryPercentage": 50.0, "RestartCount": 0.0, "Replicas": 1.0}
"""What the platform measures of a healthy app."""

QUEUE = "work"
"""The queue that this world's accelerator works off."""

_WATCHED = {
    "WATCHED_WORKSPACE": "11111111-2222-3333-4444-555555555555",
    "WATCHED_SUBSCRIPTION": "66666666-7777-8888-9999-000000000000",
    "WATCHED_RESOURCE_GROUP": "rg-sales-research",
    "WATCHED_CONTAINER_APP": "sales-research-api",
    "WATCHED_APPLICATION_INSIGHTS": "/subscriptions/66666666-7777-8888-9999-000000000000/resourceGroups/"
    "rg-sales-research/providers/Microsoft.Insights/components/appi-sales-research",
}

ROLE = "unknown_service:python"
"""What the telemetry of a stock accelerator calls itself: nothing sets ``OTEL_SERVICE_NAME`` in a Container App."""


class _Part(Protocol):
    """A stand-in that can be mounted."""

    def routes(self) -> list[Route]:
        """Return its routes, relative to where it is mounted."""


class StoryClock:
    """A clock that stands where the story has come to."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Return the story's instant."""
        return self._at

    def advance_to(self, at: datetime) -> None:
        """Move forward; a story never goes back."""
        self._at = max(self._at, at)


class World:
    """The stand-ins, served while the ``with`` block runs. ``fork`` is ``older`` or ``flagship``.

    A ``stock`` world holds an accelerator as its template deploys it: the flagship, no approver, and nothing wired.
    ``skew`` is how far the clock of its services is ahead of the story's.
    """

    def __init__(
        self,
        start: datetime,
        seed: int = 7,
        trace: Path | None = None,
        fork: str = "older",
        port: int = 0,
        *,
        stock: bool = False,
    ) -> None:
        self.stock = stock
        self.clock = StoryClock(start - _WARM_UP)
        now = self.clock.now
        # Small letters, as the service writes them, whatever the portal and templates do.
        self.telemetry = EmbeddedTelemetry(now, resource=_WATCHED["WATCHED_APPLICATION_INSIGHTS"].lower())
        self.workspace = Workspace(self.telemetry, [_WATCHED["WATCHED_WORKSPACE"]])
        self.arm, self.teams, self.pagerduty = ContainerAppsStandIn(now), TeamsStandIn(now), PagerDutyStandIn(now)
        self.webhooks, self.approver = WebhookStandIn(now), ApproverStandIn(now, seed)
        self.metrics, self.queues = MetricsStandIn(now), QueuesStandIn(now)
        self.github, self.roles = GitHubStandIn(now), RolesStandIn(now)
        self.skew = timedelta()
        self.front = FrontDoor(now, lambda: bool(self.arm.serving_env(self.target())))
        self._served = Served(self._app(), port)
        self._mutex = threading.Lock()
        self._start = start
        begun = start - _WARM_UP
        load = from_trace(trace, begun) if trace else seeded(seed, begun)
        self.accelerator = Accelerator(
            ROLE,
            self.serving_env,
            self._emit,
            load,
            RemoteApprover(),
            seed=seed,
            fork="flagship" if stock else fork,
            priced=not stock,
            bypass=frozenset() if stock else UNCHECKED,
        )

    def _app(self) -> Dated:
        parts: dict[str, _Part] = {
            "/log-analytics": self.workspace,
            "/teams": self.teams,
            "/pagerduty": self.pagerduty,
            "/webhooks": self.webhooks,
            "/approver": self.approver,
            "/queues": self.queues,
            "/github": self.github,
            "/app": self.front,
        }
        arm = Mount("/arm", routes=[*self.roles.routes(), *self.metrics.routes(), *self.arm.routes()])
        mounted = [Mount(path, routes=part.routes()) for path, part in parts.items()]
        return Dated(Starlette(routes=[arm, *mounted]), lambda: self.clock.now() + self.skew)

    def __enter__(self) -> World:
        self._served.start()
        self.arm.create(self.target(), self._deployed())
        for metric, level in _LEVELS.items():
            self.metrics.set(metric, level, self.clock.now(), revisionName=_REVISION, podName=f"{_REVISION}-0")
        self.queues.put(QUEUE, 0)
        self.advance(self._start)
        return self

    def _emit(self, table: str, rows: list[dict[str, Any]]) -> None:
        if not self.arm.down(self.target()):  # of an app that is stopped nothing runs that could say anything
            self.telemetry.load(table, rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._served.stop()
        self.telemetry.close()

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._served.url

    def settings(self) -> dict[str, str]:
        """Return the app settings that point Tocsin at this world."""
        return {
            **_WATCHED,
            "TOCSIN_LOG_ANALYTICS_ENDPOINT": f"{self.url}/log-analytics",
            "TOCSIN_ARM_ENDPOINT": f"{self.url}/arm",
            "TOCSIN_GITHUB_ENDPOINT": f"{self.url}/github",
            "TOCSIN_STATIC_TOKEN": "local",
            "TOCSIN_LINK_SECRET": "what signs the links of the local world",
            "TOCSIN_PUBLIC_URL": self.url,
            "TOCSIN_APPROVERS": "ada@ops.example",
            "TOCSIN_AUTOMATION": "act",
            "WEBSITE_AUTH_ENABLED": "True",
            "GITHUB_TOKEN": TOKEN,
            "TEAMS_WEBHOOK_URL": f"{self.url}/teams/workflows/team",
            "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
            "PAGERDUTY_ENDPOINT": f"{self.url}/pagerduty",
            "WEBHOOK_URL": f"{self.url}/webhooks/hook",
            "WEBHOOK_SECRET": SECRET,
        }

    def target(self) -> Target:
        """Return the one target this world holds."""
        return Target(
            name="sales-research",
            workspace=_WATCHED["WATCHED_WORKSPACE"],
            application_insights=_WATCHED["WATCHED_APPLICATION_INSIGHTS"],
            subscription=_WATCHED["WATCHED_SUBSCRIPTION"],
            resource_group=_WATCHED["WATCHED_RESOURCE_GROUP"],
            container_app=_WATCHED["WATCHED_CONTAINER_APP"],
            side_effect_tools=SIDE_EFFECTS,
            labels={"env": "prod"},
            queues=(Queue(queue=QUEUE, storage=f"{self.url}/queues"),),
            probes=(Probe(name="api", url=f"{self.url}/app/healthz"),),
        )

    def advance(self, until: datetime) -> None:
        """Move the story to ``until``, the accelerator with it."""
        with self._mutex:
            while self.clock.now() < until:
                step = min(until, self.clock.now() + _STEP)
                self.accelerator.advance(step, self.clock.advance_to)
                self.clock.advance_to(step)

    def serving_env(self) -> dict[str, str]:
        """Return the variables of the revision that serves now."""
        return self.arm.serving_env(self.target())

    def template_env(self) -> dict[str, str]:
        """Return the variables of the app's template."""
        return self.arm.template_env(self.target())

    # What people and outages do

    def unset_approver(self) -> None:
        """Deploy without ``HITL_APPROVER_ENDPOINT``: calls are refused."""
        self._deploy({name: value for name, value in self._deployed().items() if name != "HITL_APPROVER_ENDPOINT"})

    def bypass_approver(self) -> None:
        """Deploy without ``HITL_APPROVER_ENDPOINT`` and with ``HITL_DEV_MODE``: the app approves by itself."""
        deployed = {name: value for name, value in self._deployed().items() if name != "HITL_APPROVER_ENDPOINT"}
        self._deploy({**deployed, "HITL_DEV_MODE": "1"})

    def provision(self) -> None:
        """Deploy the template as it was written: what was set by hand is gone."""
        self._deploy(self._deployed())

    def deploy(self, version: str) -> None:
        """Deploy another version of the app's code, and leave every variable as it is."""
        self.arm.deploy(self.target(), f"registry.example/sales-research-api:{version}")

    def set_approver(self) -> None:
        """Set ``HITL_APPROVER_ENDPOINT`` again, and leave every other variable as it is."""
        self._deploy({**self.template_env(), **self._deployed()})

    def lose_foundry(self) -> None:
        """Let Foundry be down: most requests fail, and a new revision never gets through its bootstrap."""
        self.arm.bootstrap_fails = True
        self.accelerator.becomes(Weather(failing=0.6), self.clock.now())

    def break_telemetry(self, kind: str) -> None:
        """Answer every query with this fault from now on."""
        self.workspace.faults.clear()
        self.workspace.faults.add(kind)

    def mend_telemetry(self) -> None:
        """Answer queries again."""
        self.workspace.faults.clear()

    def _deploy(self, env: dict[str, str]) -> None:
        self.arm.provision(self.target(), {name: value for name, value in env.items() if not value.startswith("(")})

    def _deployed(self) -> dict[str, str]:
        approver = {} if self.stock else {"HITL_APPROVER_ENDPOINT": f"{self.url}/approver/approve"}
        return {
            "AZURE_CLIENT_ID": "99999999-0000-0000-0000-000000000000",
            "AZURE_AI_FOUNDRY_MODEL": "gpt-5-mini",
            **approver,
        }


CLOCK = "PRACTICE_CLOCK"
"""The setting by which a second process reads the clock of a world that runs in another; only the command line does."""


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """A clock that runs ``speed`` times as fast as the machine's, from ``start``, at which it was ``begun`` (epoch)."""

    start: datetime
    speed: float
    begun: float = field(default_factory=time.time)

    def now(self) -> datetime:
        """Return the instant this clock has come to."""
        return self.start + timedelta(seconds=(time.time() - self.begun) * self.speed)

    @property
    def setting(self) -> str:
        """Return it as a setting, for another process on this machine."""
        return f"{self.start.isoformat()} {self.speed:g} {self.begun:.3f}"


def read_clock(setting: str) -> ScaledClock:
    """Return the clock of a setting. Raises ValueError when that is not like ``setting`` of a clock."""
    start, speed, begun = setting.split()
    return ScaledClock(datetime.fromisoformat(start), float(speed), float(begun))


@contextmanager
def live(world: World, speed: float) -> Iterator[ScaledClock]:
    """Let the world run by itself in a thread while the block runs, ``speed`` times as fast as the clock."""
    clock, over = ScaledClock(world.clock.now(), speed), threading.Event()

    def run() -> None:
        while not over.wait(0.2):
            world.advance(clock.now())

    thread = threading.Thread(target=run, name="tocsin-world", daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        over.set()
        thread.join(10)


def describe(world: World) -> str:
    """Return the world's settings as JSON, for a process that is to use them."""
    return json.dumps(world.settings())
