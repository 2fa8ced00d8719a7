"""Whether what a switch is for has stopped, by the target's own telemetry: what ran all the same, what was refused.

Belongs here: the questions for each scope, and what their answers prove. Does not belong here: how long to go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.core.answer import NoAnswer, Rows
from tocsin.core.compile import compile_signal, freshness
from tocsin.core.config import Target
from tocsin.core.drill import Result
from tocsin.core.schedule import settled
from tocsin.core.signal import TOOLS, Logs
from tocsin.core.units import spell
from tocsin.ports import Telemetry

LEAST = timedelta(minutes=1)
"""No shorter stretch of telemetry proves that something has stopped."""

_EVENT = "tostring(Properties.event_name)"
_ERROR = "tostring(Properties.error)"
_SUM = "sum(ItemCount)"


def _logs(event: str, *more: str) -> Logs:
    return Logs("AppTraces", " and ".join((f"{_EVENT} == '{event}'", *more)), _SUM)


_TOOLS_RAN = _logs("tool.executed", f"tostring(Properties.external_system) in {TOOLS}")
# A request that came before the switch may end well after it: its length is in the answer's own record.
_ANSWERED = _logs(
    "response.returned",
    "tobool(tostring(Properties.ok))",
    "TimeGenerated - todouble(tostring(Properties.value)) * 1ms >= _from",
)
_TOOL_STOPPED = _logs("tool.failed", f"{_ERROR} startswith 'killswitch engaged'")
_REQUEST_STOPPED = _logs("response.returned", f"{_ERROR} startswith 'killswitch engaged'")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one scope asks telemetry: what must not happen, what shows that it was tried, and what it means if not."""

    ran: Mapping[str, Logs]
    stopped: Mapping[str, Logs]
    ignored: str


_QUESTIONS: Mapping[str, Asked] = {
    "tools": Asked(
        {"side-effect tools ran": _TOOLS_RAN},
        {"tool calls were refused by the switch": _TOOL_STOPPED},
        "the app does not obey the switch",
    ),
    "workflow": Asked(
        {"requests were answered": _ANSWERED},
        {"requests were refused by the switch": _REQUEST_STOPPED},
        "the app does not obey the switch",
    ),
    "all": Asked(
        {"side-effect tools ran": _TOOLS_RAN, "requests were answered": _ANSWERED},
        {"tool calls were refused": _TOOL_STOPPED, "requests were refused": _REQUEST_STOPPED},
        "KILLSWITCH stops nothing in this app, and no 503 comes of it: KILLSWITCH_TOOLS and KILLSWITCH_WORKFLOW do",
    ),
}


@dataclass(frozen=True, slots=True)
class Halting:
    """Looks at what happened since a switch was seen to serve, for as long as ``watch``."""

    telemetry: Telemetry
    target: Target
    scope: str
    since: datetime
    watch: timedelta
    questions: Mapping[str, Asked] = field(default_factory=lambda: _QUESTIONS)

    def look(self, now: datetime) -> tuple[Result, str]:
        """Return what is proven at ``now``: ``UNPROVEN`` while that may still change, ``UNTRIED`` when nobody tried."""
        end = min(now - settled(self.target, self.target.offset), self.since + self.watch)
        if end - self.since < min(LEAST, self.watch):
            return Result.UNPROVEN, f"waiting for telemetry from after {self.since:%H:%M:%S}"
        asked = self.questions[self.scope]
        ran, stopped = self._counted(asked.ran, end), self._counted(asked.stopped, end)
        alive = self.telemetry.ask(freshness(self.target, self.since, end), self.target)
        refused = next((each for each in (ran, stopped, alive) if isinstance(each, NoAnswer)), None)
        if refused or isinstance(ran, NoAnswer) or isinstance(stopped, NoAnswer):
            return Result.UNPROVEN, f"telemetry did not answer: {refused.why.value if refused else ''}"
        found = f"{_spelled({**ran, **stopped})} from {self.since:%H:%M:%S} to {end:%H:%M:%S}"
        if any(ran.values()):
            return Result.FAILED, f"{found}: {asked.ignored}"
        if not isinstance(alive, Rows) or not alive.rows:
            return Result.UNPROVEN, f"the target sent no telemetry at all in {spell(end - self.since)}"
        if any(stopped.values()):
            return Result.PROVEN, found
        if end < self.since + self.watch:
            return Result.UNPROVEN, found
        return Result.UNTRIED, f"{found}: nobody tried anything that the switch would stop; --call sends a request"

    def _counted(self, sources: Mapping[str, Logs], end: datetime) -> dict[str, float] | NoAnswer:
        found: dict[str, float] = {}
        for words, source in sources.items():
            answer = self.telemetry.ask(compile_signal(source, self.target, self.since, end), self.target)
            if isinstance(answer, NoAnswer):
                return answer
            found[words] = sum(float(row.get("value") or 0) for row in answer.dicts())
        return found


def _spelled(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} {words}" for words, count in counts.items())
