"""A simulated accelerator: emits exactly the records a real one does, and obeys the variables of its serving revision.

Older forks emit ``tool.hitl_misconfigured`` when nobody approves, and call some side-effect tools past the checkpoint;
the flagship proposes the action instead and emits nothing — which is why its configuration must be watched.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.container import engaged
from tocsin.local.load import Request

Emit = Callable[[str, list[dict[str, Any]]], object]
Approve = Callable[[dict[str, Any]], bool]

PLANTED = ("ada.lovelace@example.org", "Grace Hopper", "Contoso Robotics", "Your renewal of 14,200 EUR", "Dear Ada")
"""Names, addresses and words of customers that travel in ``args_redacted``. None may ever leave the telemetry."""

SIDE_EFFECTS = ("crm_write_contact", "send_email")
_AGENTS = ("planner", "researcher", "writer")
_MODEL = "gpt-5-mini"
_USD_PER_TOKEN = (0.25e-6, 2.0e-6)
_DELAY = (5.0, 45.0)


class KillSwitchEngaged(Exception):
    """Raised where the real accelerator's ``assert_enabled`` raises it."""


@dataclass(slots=True)
class Weather:
    """What goes wrong by itself: the share of failing responses, and factors on latency and cost."""

    failing: float = 0.0
    slower: float = 1.0
    dearer: float = 1.0


class Accelerator:
    """One API. ``advance`` handles the requests that have come; ``emit`` takes rows table by table."""

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
    ) -> None:
        self.role_name = role_name
        self.weather = Weather()
        self._env, self._emit, self._load, self._approve = serving_env, emit, load, approve
        self._chance = random.Random(seed)
        self._fork = fork
        self._next: Request | None = next(load, None)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._count = 0

    def advance(self, until: datetime) -> int:
        """Handle every request up to ``until`` and emit its records; return how many there were."""
        handled = 0
        while self._next is not None and self._next.at <= until:
            self._handle(self._next)
            self._next = next(self._load, None)
            handled += 1
        for table, rows in self._rows.items():
            self._emit(table, rows)
        self._rows = {}
        return handled

    # One request

    def _handle(self, request: Request) -> None:
        self._count += 1
        env, at, operation = self._env(), request.at, f"op{self._count:08}"
        say = _Voice(self, operation)
        say.event("request.received", at, args={"company": PLANTED[2]})
        latency = self._latency(request)
        error = self._outcome(env)
        if error is None:
            self._work(say, env, at, request)
        done = at + timedelta(milliseconds=latency)
        say.event("response.returned", done, ok=error is None, error=error, value=f"{latency:.1f}", unit="ms")
        self._row(
            "AppRequests", at, operation, Name="POST /research/stream", Success=True, ResultCode="200", DurationMs=12.0
        )

    def _latency(self, request: Request) -> float:
        seconds = 1.2 + request.context_tokens / 4_000 + request.generated_tokens / 60
        return 1_000 * seconds * self.weather.slower

    def _outcome(self, env: Mapping[str, str]) -> str | None:
        if engaged(env.get("KILLSWITCH_WORKFLOW")):
            return "killswitch engaged: workflow"
        return "Foundry: 503" if self._chance.random() < self.weather.failing else None

    def _work(self, say: _Voice, env: Mapping[str, str], at: datetime, request: Request) -> None:
        say.event("supervisor.routed", at, args={"worker_count": "3", "stage_count": "2"})
        say.event("retrieval.returned", at, ok=True, value="6", unit="chunks")
        self._row(
            "AppDependencies", at, say.operation, DependencyType="LLM", Target=_MODEL, Success=True, DurationMs=800.0
        )
        for agent in _AGENTS:
            self._call_model(say, agent, at, request)
            say.event("worker.completed", at, ok=True, system=agent)
        say.event("tool.executed", at, ok=True, system="web_search")
        if self._count % 4 == 0:
            self._side_effect(say, env, at, SIDE_EFFECTS[self._count // 4 % 2])

    def _call_model(self, say: _Voice, agent: str, at: datetime, request: Request) -> None:
        read, wrote = request.context_tokens // 3 + 1, request.generated_tokens // 3 + 1
        cost = (read * _USD_PER_TOKEN[0] + wrote * _USD_PER_TOKEN[1]) * self.weather.dearer
        tokens = {"input_tokens": str(read), "output_tokens": str(wrote)}
        args = {"agent": agent, "model": _MODEL, **tokens}
        say.event("cost.call", at, ok=True, value=f"{cost:.6f}", unit="usd", args=args)

    # The checkpoint and the switch

    def _side_effect(self, say: _Voice, env: Mapping[str, str], at: datetime, tool: str) -> None:
        args = {"to": f"['{PLANTED[0]}']", "subject": PLANTED[3], "body_markdown": f"{PLANTED[4]}, {PLANTED[1]}"}
        if self._fork == "flagship" and not env.get("HITL_APPROVER_ENDPOINT"):
            return  # it proposes the action and calls no tool
        try:
            self._assert_enabled(say, env, at)
            if self._bypasses(env, tool) or self._approved(say, env, at, tool, args):
                say.event("tool.executed", at, ok=True, system=tool, args={"to_count": "1"})
        except KillSwitchEngaged as halted:
            say.event("tool.failed", at, ok=False, error=str(halted), system=tool, args={"tool": tool})

    def _bypasses(self, env: Mapping[str, str], tool: str) -> bool:
        """Older forks call one tool from a second place that has no checkpoint; every other call comes from there."""
        second_place = self._fork == "older" and tool == "crm_write_contact" and self._count % 16 == 4
        return second_place and not env.get("HITL_APPROVER_ENDPOINT")

    def _assert_enabled(self, say: _Voice, env: Mapping[str, str], at: datetime) -> None:
        if engaged(env.get("KILLSWITCH_TOOLS")):
            say.line("Kill switch engaged: KILLSWITCH_TOOLS", at, 4, "accelerator.killswitch")
            raise KillSwitchEngaged("killswitch engaged: tools")

    def _approved(self, say: _Voice, env: Mapping[str, str], at: datetime, tool: str, args: dict[str, str]) -> bool:
        if env.get("HITL_APPROVER_ENDPOINT"):
            approved = self._approve({"tool": tool, "args": args, "context": {"operation": say.operation}})
            name, error = ("tool.hitl_approved", None) if approved else ("tool.hitl_rejected", "reviewer_denied")
            say.event(name, at, ok=approved, error=error, system=tool, args=args)
            return approved
        if engaged(env.get("HITL_DEV_MODE")):
            say.line(f"HITL_DEV_MODE console review — tool={tool} args={args}", at, 2, "accelerator.hitl")
            say.event("tool.hitl_approved", at, ok=True, system=tool, args=args)
            return True
        error = "no approver and not dev mode"
        say.event("tool.hitl_misconfigured", at, ok=False, error=error, system=tool, args=args)
        return False

    def _row(self, table: str, at: datetime, operation: str, **columns: Any) -> None:
        late = timedelta(seconds=self._chance.uniform(*_DELAY))
        common = {
            "TimeGenerated": at,
            "AppRoleName": self.role_name,
            "OperationId": operation,
            "_IngestedAt": at + late,
        }
        self._rows.setdefault(table, []).append({**common, **columns})


@dataclass(frozen=True, slots=True)
class _Voice:
    """Writes the log records of one request as the accelerator's telemetry module does."""

    owner: Accelerator
    operation: str

    def event(
        self,
        name: str,
        at: datetime,
        *,
        ok: bool | None = None,
        error: str | None = None,
        value: str | None = None,
        unit: str | None = None,
        system: str | None = None,
        args: Mapping[str, str] | None = None,
    ) -> None:
        """Write one event; what is absent is left out, and every value is text."""
        said = {"ok": None if ok is None else str(ok).lower(), "error": error, "value": value, "unit": unit}
        properties = {f"args_redacted.{key}": text for key, text in (args or {}).items()}
        properties |= {key: text for key, text in {"external_system": system, **said}.items() if text is not None}
        self._write(name, at, 1, {**properties, "event_name": name, "logger_name": "accelerator.telemetry"})

    def line(self, message: str, at: datetime, severity: int, logger: str) -> None:
        """Write a plain log line."""
        self._write(message, at, severity, {"logger_name": logger})

    def _write(self, message: str, at: datetime, severity: int, properties: Mapping[str, str]) -> None:
        self.owner._row("AppTraces", at, self.operation, Message=message, SeverityLevel=severity, Properties=properties)
