"""A simulated accelerator: emits exactly the records a real one does, and obeys the variables of its serving revision.

Where nobody approves, older forks emit ``tool.hitl_misconfigured``; the flagship only proposes the action and emits
nothing, which is why its configuration must be watched. In both, a tool called elsewhere passes the checkpoint by.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.core.container import ENGAGED
from tocsin.local.approver import Approve, Unanswered
from tocsin.local.load import Request

Emit = Callable[[str, list[dict[str, Any]]], object]
"""Takes rows of one table."""

SIDE_EFFECTS = ("crm_write_contact", "send_email")

UNCHECKED = frozenset({"crm_write_contact"})
"""Tools that a fork calls without the checkpoint."""

_PEOPLE = (
    ("Ottoline", "Quartermain", "ottoline.quartermain@brackwater-robotics.example", "Brackwater Robotics"),
    ("Zebulon", "Featherstonehaugh", "z.featherstonehaugh@tidewrack.example", "Tidewrack Shipping"),
    ("Wilhelmina", "Vandersloot", "wilhelmina@vandersloot-dairy.example", "Vandersloot Dairy"),
    ("Ignatius", "Okonkwo-Byrne", "ignatius.ob@halcyon-press.example", "Halcyon Press"),
)
_SUBJECT = "Your renewal of 14,200 EUR"
_BODY = "the offer we spoke about on the phone"

PLANTED = (*(word for person in _PEOPLE for word in person), _SUBJECT, _BODY)
"""Names, addresses and words of customers that travel in ``args_redacted``. None may ever leave the telemetry."""

_STAGES = (
    ("accel-account-planner",),
    ("accel-icp-fit-analyst", "accel-competitive-context"),
    ("accel-outreach-personalizer",),
)
_OPTIONAL = "accel-competitive-context"
_SUPERVISOR = "accel-supervisor"
_CALLS = sum(map(len, _STAGES)) + 1

_MODEL = "gpt-5-mini"
_FOUNDRY = "sales-research.services.ai.azure.com"
_USD_PER_1K = (0.0005, 0.0015)

_ACTS = 0.2
"""The share of requests at whose end a given side-effect tool is called."""

_DELAY = (5.0, 45.0)
"""Seconds from a record to its arrival in the workspace. Nothing arrives sooner than the world's longest step."""


class Stopped(Exception):
    """A tool, or the whole workflow, goes no further. The words are the accelerator's own."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What goes wrong by itself: shares of the requests, factors, and how much later than usual records arrive."""

    failing: float = 0.0
    """The model does not answer, and the request fails."""
    flaky: float = 0.0
    """An optional worker fails, and the one that needs it is skipped."""
    ungrounded: float = 0.0
    """Retrieval fails; the request goes on without."""
    slower: float = 1.0
    dearer: float = 1.0
    later: timedelta = timedelta()


class Accelerator:
    """One API. ``serving_env`` reads the variables as they serve, ``approve`` asks at an address, ``load`` feeds it.

    ``fork`` is ``older`` (which writes ``ok`` as ``True``) or ``flagship``. Tools in ``bypass`` are called without the
    checkpoint. Of ``sampled`` requests one is kept, and its rows count for all. The same seed, load and variables give
    the same rows. One that is not ``priced`` emits no ``cost.call``: none does before a partner has wired it.
    """

    def __init__(
        self,
        role_name: str,
        serving_env: Callable[[], Mapping[str, str]],
        emit: Emit,
        load: Iterator[Request],
        approve: Approve,
        *,
        seed: int = 0,
        fork: str = "older",
        bypass: frozenset[str] = UNCHECKED,
        sampled: int = 1,
        priced: bool = True,
    ) -> None:
        if fork not in ("older", "flagship"):
            raise ValueError(f"no fork {fork!r}; there are older and flagship")
        self.role_name, self.env, self.approve = role_name, serving_env, approve
        self.fork, self.bypass, self.sampled, self.priced = fork, bypass, sampled, priced
        self.weather = Weather()
        self.at = datetime.min.replace(tzinfo=UTC)
        """The instant that is being lived."""
        self._emit, self._load, self._seed = emit, load, seed
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._forecast: list[tuple[datetime, Weather]] = []
        self._flows: list[tuple[datetime, int, Iterator[datetime]]] = []
        self._next = next(load, None)
        self._count = 0

    def becomes(self, weather: Weather, at: datetime) -> None:
        """Change the weather from ``at`` on."""
        self._forecast = sorted([*self._forecast, (at, weather)], key=lambda planned: planned[0])

    def advance(self, until: datetime, reached: Callable[[datetime], object] = id) -> int:
        """Live up to ``until`` and emit the records of it; return how many requests came.

        ``reached`` is told each instant before it is lived, so that the variables read in it are those of then.
        """
        before = self._count
        while (due := self._due()) is not None and due <= until:
            reached(due)
            self.at = due
            self._live()
        for table, rows in self._rows.items():
            self._emit(table, rows)
        self._rows = {}
        return self._count - before

    def row(self, table: str, columns: Mapping[str, Any]) -> None:
        """Keep a row until it is emitted."""
        self._rows.setdefault(table, []).append({"AppRoleName": self.role_name, **columns})

    def _due(self) -> datetime | None:
        """Return the instant at which something happens next, or None when nothing will."""
        moments = [self._flows[0][0]] if self._flows else []
        return min([*moments, self._next.at] if self._next else moments, default=None)

    def _live(self) -> None:
        """Let what is due next happen: a request comes, or one that is being answered goes on."""
        while self._forecast and self._forecast[0][0] <= self.at:
            self.weather = self._forecast.pop(0)[1]
        if self._next is not None and self._next.at <= self.at:
            self._count += 1
            number, request, self._next = self._count, self._next, next(self._load, None)
            flow = _Answering(self, request, random.Random(f"{self._seed}/{number}")).flow()
        else:
            _, number, flow = heapq.heappop(self._flows)
        if (again := next(flow, None)) is not None:
            heapq.heappush(self._flows, (again, number, flow))


class _Answering:
    """One request on its way. A ``flow`` yields the instant at which it is to go on."""

    def __init__(self, owner: Accelerator, request: Request, chance: random.Random) -> None:
        self.owner, self.request, self.chance = owner, request, chance
        seconds = 1.2 + request.context_tokens / 4_000 + request.generated_tokens / 60
        self.lasts = timedelta(seconds=seconds * owner.weather.slower)
        self.operation = f"{chance.getrandbits(128):032x}"
        self.kept = chance.random() * owner.sampled < 1
        self.person = chance.choice(_PEOPLE)

    def flow(self) -> Iterator[datetime]:
        error = None
        call = {"Success": True, "ResultCode": "200", "DurationMs": round(self.chance.uniform(4, 30), 1)}
        self._row("AppRequests", Name="POST /api/research/stream", **call)
        try:
            self._assert_enabled("workflow")
            self._event("request.received", args={"company": self.person[3]})
            yield from self._work()
        except Stopped as stopped:
            error = str(stopped)
        took = (self.owner.at - self.request.at) / timedelta(milliseconds=1) + self.chance.uniform(0.4, 3)
        self._event("response.returned", ok=error is None, error=error, value=round(took, 1), unit="ms")

    def _work(self) -> Iterator[datetime]:
        workers, stages = sum(map(len, _STAGES)), [list(stage) for stage in _STAGES]
        route = {"route_json": json.dumps(stages), "worker_count": workers, "stage_count": len(stages)}
        self._event("supervisor.routed", args=route)
        yield self._after(0.05)
        self._event("retrieval.query", args={"index": "accounts", "query_len": len(self.person[3]), "top": 5})
        yield self._after(0.12)
        self._retrieved()
        for share, stage in zip((0.4, 0.65, 0.8), _STAGES, strict=True):
            yield self._after(share)
            done = [self._worker(agent) for agent in stage]  # one that fails stops none beside it
            if not all(done):
                break
        yield self._after(0.88)
        self._model(_SUPERVISOR)
        for share, tool in zip((0.92, 0.96), SIDE_EFFECTS, strict=True):
            yield self._after(share)
            if self.chance.random() < _ACTS:
                self._side_effect(tool)
        yield self._after(1)

    def _after(self, share: float) -> datetime:
        return max(self.owner.at, self.request.at + share * self.lasts)

    # Reading and inference, which every switch but that of the workflow lets go on

    def _retrieved(self) -> None:
        if self.chance.random() < self.owner.weather.ungrounded:
            self._event("retrieval.returned", ok=False, error="Name or service not known")
        else:
            self._event("retrieval.returned", value=float(self.chance.randint(2, 5)), unit="chunks")
        account = f"001{self.chance.getrandbits(40):010x}"
        self._event("tool.executed", ok=True, system="crm_read_account", args={"account_id": account})
        self._event("tool.executed", ok=True, system="web_search", args={"query_len": len(self.person[3]) + 12})

    def _worker(self, agent: str) -> bool:
        """Return whether the worker was successful. Raises ``Stopped`` when the request cannot do without it."""
        weather = self.owner.weather
        if agent == _OPTIONAL and self.chance.random() < weather.flaky:
            self._event("worker.completed", ok=False, error=f"{agent}: no sources", system=agent)
            why = {"reason": "optional upstream competitive_context failed", "triggered_by": "competitive_context"}
            self._event("worker.skipped", system=_STAGES[-1][0], args=why)
            return False
        if agent == _STAGES[0][0] and self.chance.random() < weather.failing:
            self._dependency(503)
            self._event("worker.completed", ok=False, error="Foundry: 503", system=agent)
            raise Stopped("Foundry: 503")
        self._model(agent)
        self._event("worker.completed", ok=True, system=agent)
        return True

    def _model(self, agent: str) -> None:
        """One call of the model, with its share of the request's tokens."""
        self._dependency(200)
        read, wrote = self.request.context_tokens // _CALLS + 1, self.request.generated_tokens // _CALLS + 1
        if not self.owner.priced:
            return
        usd = (read * _USD_PER_1K[0] + wrote * _USD_PER_1K[1]) / 1_000 * self.owner.weather.dearer
        args = {"agent": agent, "model": _MODEL, "input_tokens": read, "output_tokens": wrote}
        self._event("cost.call", ok=True, value=round(usd, 9), unit="usd", args=args)

    def _dependency(self, status: int) -> None:
        took = round(self.lasts / timedelta(milliseconds=1) / _CALLS, 1)
        call = {"Success": status < 400, "ResultCode": str(status), "DurationMs": took}
        self._row("AppDependencies", DependencyType="HTTP", Target=_FOUNDRY, Name=f"chat {_MODEL}", **call)

    # The checkpoint and the switch

    def _side_effect(self, tool: str) -> None:
        args = self._arguments(tool)
        try:
            if self._proposes_only(tool):
                return
            self._assert_enabled("tools")
            if tool not in self.owner.bypass:
                self._checkpoint(tool, args)
        except (Stopped, Unanswered) as stopped:
            self._event("tool.failed", ok=False, error=str(stopped), args={"tool": tool})
        else:
            told = {"to_count": len(args["to"])} if tool == "send_email" else args
            self._event("tool.executed", ok=True, system=tool, args=told)

    def _arguments(self, tool: str) -> dict[str, Any]:
        first, last, address, company = self.person
        if tool == "send_email":
            return {"to": [address], "subject": _SUBJECT, "body_markdown": f"Dear {first} {last}, {_BODY} …"}
        name = {"first_name": first, "last_name": last, "email": address}
        return {"account_id": company.lower().replace(" ", "-"), **name, "source": "research briefing"}

    def _proposes_only(self, tool: str) -> bool:
        env = self.owner.env()
        asks = bool(env.get("HITL_APPROVER_ENDPOINT")) or _on(env, "HITL_DEV_MODE")
        return self.owner.fork == "flagship" and tool not in self.owner.bypass and not asks

    def _assert_enabled(self, scope: str) -> None:
        name = f"KILLSWITCH_{scope.upper()}"
        if _on(self.owner.env(), name):
            self._line(f"Kill switch engaged: {name}", 4, "accelerator.killswitch")
            raise Stopped(f"killswitch engaged: {scope}")

    def _checkpoint(self, tool: str, args: dict[str, Any]) -> None:
        """Return when the action is approved. Raises ``Stopped`` or ``Unanswered`` otherwise."""
        env = self.owner.env()
        if endpoint := env.get("HITL_APPROVER_ENDPOINT"):
            approved = self.owner.approve(endpoint, {"tool": tool, "args": args, "context": {}})
        elif approved := _on(env, "HITL_DEV_MODE"):
            self._line(f"HITL_DEV_MODE console review — tool={tool} args={json.dumps(args)}", 2, "accelerator.hitl")
        else:
            error = "no approver and not dev mode"
            self._event("tool.hitl_misconfigured", ok=False, error=error, system=tool, args=args)
            raise Stopped(f"HITL required for tool={tool} but no approver is set. Refusing to execute side-effect.")
        if not approved:
            self._event("tool.hitl_rejected", ok=False, error="reviewer_denied", system=tool, args=args)
            raise Stopped(f"Reviewer denied tool={tool}")
        self._event("tool.hitl_approved", ok=True, system=tool, args=args)

    # How it is written down

    def _event(
        self,
        name: str,
        *,
        ok: bool | None = None,
        error: str | None = None,
        value: float | None = None,
        unit: str | None = None,
        system: str | None = None,
        args: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one event: flat, every value as text, and what is absent left out."""
        said = None if ok is None else str(ok) if self.owner.fork == "older" else str(ok).lower()
        flat = {f"args_redacted.{key}": given for key, given in (args or {}).items()}
        flat |= {"external_system": system, "ok": said, "error": error, "value": value, "unit": unit}
        properties = {key: str(given) for key, given in flat.items() if given is not None}
        self._trace(name, 1, {**properties, "event_name": name, "logger_name": "accelerator.telemetry"})

    def _line(self, message: str, severity: int, logger: str) -> None:
        self._trace(message, severity, {"logger_name": logger})

    def _trace(self, message: str, severity: int, properties: dict[str, str]) -> None:
        self._row("AppTraces", Message=message, SeverityLevel=severity, Properties=properties)

    def _row(self, table: str, **columns: Any) -> None:
        late = timedelta(seconds=self.chance.uniform(*_DELAY)) + self.owner.weather.later
        if self.kept:
            at = self.owner.at
            when = {"TimeGenerated": at, "_IngestedAt": at + late}
            self.owner.row(table, {**when, "OperationId": self.operation, "ItemCount": self.owner.sampled, **columns})


def _on(env: Mapping[str, str], name: str) -> bool:
    """Return whether the accelerator reads the variable as on: in any case, but not with spaces around it."""
    return env.get(name, "").lower() in ENGAGED
