"""An hour of requests to two language-model services, with an incident that a seed places in it.

When a request came and its tokens are recorded; what it cost, how long it took and whether it failed is made of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.recorded.exported import DATA, Known, Row, backtested, minutes, project
from tocsin.backtest.outcome import Outcome
from tocsin.core.rule import Rule
from tocsin.local.load import Request, from_trace

START = datetime(2026, 11, 16, 18, 16, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SERVICES = ("code", "conv")
SEEDS = range(1, 11)
PRICE = (2.5e-6, 1e-5)
"""USD for a token read and for one written."""

DEARER, SLOWER, FAILING, USUALLY_FAILING = 3.0, 3.0, 0.25, 0.005
LEARNT = 10 * MINUTE
"""From how much of the recording the limits on time and cost are set: half as much again as it shows."""


@dataclass(frozen=True)
class Incident:
    """Ten minutes of dearer calls, and ten of slow and failing answers, in the hour of one service."""

    dear: datetime
    bad: datetime
    lasts: timedelta = 10 * MINUTE

    @classmethod
    def of(cls, seed: int) -> Incident:
        """Return the incident of a seed: neither lies in what limits are learnt from, and they may overlap."""
        chance = random.Random(seed)
        return cls(START + chance.uniform(12, 45) * MINUTE, START + chance.uniform(12, 45) * MINUTE)

    def known(self, service: str) -> list[Known]:
        """Return what is known to be wrong."""
        dear = Known(service, self.dear, self.dear + self.lasts, "calls cost three times as much")
        return [dear, Known(service, self.bad, self.bad + self.lasts, "slow, and a quarter fails")]


def rows(service: str, incident: Incident | None, seed: int) -> Iterator[Row]:
    """Yield a call's cost and an answer for each request."""
    chance = random.Random(f"{service} {seed}")
    for request in from_trace(DATA / "llm-inference-2023" / f"{service}.csv", START):
        since = {name: incident is not None and timedelta() <= request.at - begin < incident.lasts
                 for name, begin in (("dear", incident.dear), ("bad", incident.bad))} if incident else {}  # fmt: skip
        failed = chance.random() < (FAILING if since.get("bad") else USUALLY_FAILING)
        taken = _milliseconds(request, chance) * (SLOWER if since.get("bad") else 1)
        cost = _cost(request) * (DEARER if since.get("dear") else 1)
        ok = {"ok": "false" if failed else "true", "value": f"{taken:.1f}", "unit": "ms"}
        yield request.at, service, 1, {"event_name": "request.received"}
        yield request.at, service, 1, {"event_name": "cost.call", "value": f"{cost:.8f}", "unit": "usd"}
        yield request.at + taken * timedelta(milliseconds=1), service, 1, {"event_name": "response.returned", **ok}


def _cost(request: Request) -> float:
    return request.context_tokens * PRICE[0] + request.generated_tokens * PRICE[1]


def _milliseconds(request: Request, chance: random.Random) -> float:
    return (300 + 0.1 * request.context_tokens + 25 * request.generated_tokens) * chance.lognormvariate(0, 0.2)


def rules(service: str) -> list[Rule]:
    """Return the shipped rules on errors, time and cost; of the last two with limits and windows for this service."""
    first = [each for each in rows(service, None, 0) if each[0] < START + LEARNT]
    cost = sorted(float(own["value"]) for *_, own in first if own["event_name"] == "cost.call")
    time = sorted(float(own["value"]) for *_, own in first if own["event_name"] == "response.returned")
    slow, dear = 1.5 * time[int(0.95 * len(time))], 1.5 * sum(cost) / len(cost)
    short = {"for": "2m", "keep_firing_for": "5m"}
    errors = {"signal": "response_errors", "above": "5%", "over": "15m", "minimum": 20}
    latency = {"signal": "response_latency", "above": f"{slow:.0f}", "over": "5m", "minimum": 20}
    costs = {"signal": "cost_per_call", "above": f"{dear:.6f}", "over": "5m", "minimum": 20}
    given = (
        {"id": "high_error_rate", "severity": "P1", "when": errors, "for": "5m", "keep_firing_for": "10m"},
        {"id": "p95_latency", "severity": "P1", "when": latency, **short},
        {"id": "cost_per_call", "severity": "P2", "when": costs, **short},
    )
    return [Rule.model_validate({"summary": "{value} on {target}.", **each}) for each in given]


def backtest(service: str, incident: Incident | None, seed: int) -> Outcome:
    """Return what the rules came to over one hour of one service."""
    made = project(rules(service), [service])
    return backtested(rows(service, incident, seed), made, START, START + 75 * MINUTE)


def run() -> tuple[Outcome, list[Known], dict[str, Any]]:
    """Return the first seed's outcome on the first service, what was known of it, and the figures of all."""
    tallies = {name: _Tally([]) for name in ("high_error_rate", "p95_latency", "cost_per_call")}
    for service in SERVICES:
        for seed in SEEDS:
            incident = Incident.of(seed)
            found = backtest(service, incident, seed)
            for name, tally in tallies.items():
                tally.add(found, name, incident)
    clean = [backtest(service, None, 0) for service in SERVICES]
    figures = {
        "hours": len(SERVICES) * len(SEEDS),
        "rules": {name: tally.line() for name, tally in tallies.items()},
        "alarms_without_an_incident": sum(len(each.episodes) for each in clean),
    }
    shown = Incident.of(SEEDS[0])
    return backtest(SERVICES[1], shown, SEEDS[0]), shown.known(SERVICES[1]), figures


@dataclass
class _Tally:
    """What one rule made of all incidents."""

    waits: list[timedelta]
    incidents: int = 0
    late: int = 0
    false: int = 0

    def add(self, found: Outcome, rule: str, incident: Incident) -> None:
        """Count one hour. What fires while the window still holds the incident's rows is of the incident."""
        begin = incident.dear if rule == "cost_per_call" else incident.bad
        fired = [one.fired for one in found.episodes if one.rule == rule]
        hits = [at for at in fired if begin <= at <= begin + incident.lasts]
        self.incidents += 1
        self.waits += [hits[0] - begin] if hits else []
        late = begin + incident.lasts + 15 * MINUTE
        self.late += not hits and any(begin <= at <= late for at in fired)
        self.false += sum(not begin <= at <= late for at in fired)

    def line(self) -> dict[str, Any]:
        """Return the figures."""
        worst = max(self.waits, default=None)
        return {
            "incidents": self.incidents,
            "found_while_it_lasted": len(self.waits),
            "found_later": self.late,
            "minutes_to_find": minutes(self.waits),
            "minutes_at_most": minutes([worst]) if worst is not None else None,
            "false_alarms": self.false,
        }
