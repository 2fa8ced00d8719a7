"""What the shipped rules ask and cost, for ``docs/costs.md``: queries from the rules themselves, beside native alerts.

Nothing here is guessed: queries are compiled and fused as the engine does; prices stand in ``tools/prices.yaml`` with
their sources; what is not known is named as such on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from tocsin import signals
from tocsin.app import known
from tocsin.core.compile import Ask, compile_logs, windows
from tocsin.core.config import Target
from tocsin.core.fuse import fuse
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.schedule import jitter, newest_slot, selects
from tocsin.core.signal import Configured, Gauge, Logs
from tocsin.files import read_project
from tools.runbooks import written

ROOT = Path(__file__).resolve().parent.parent
FLEETS = (1, 10, 100)
MINUTE = timedelta(minutes=1)
HOURS_A_MONTH = 730
TICKS = HOURS_A_MONTH * 60
_A_MINUTE = 400
"""Queries that Log Analytics takes of one identity in a minute: 200 in 30 seconds."""
_AT = datetime(2026, 11, 20, 6, tzinfo=UTC)
_UNSET = "WATCHED_WORKSPACE WATCHED_ROLE_NAME WATCHED_SUBSCRIPTION WATCHED_RESOURCE_GROUP WATCHED_CONTAINER_APP"


@cache
def shipped() -> Project:
    """Return the project as it is shipped."""
    settings = {**dict.fromkeys(_UNSET.split(), "x"), "PAGERDUTY_ENDPOINT": "https://events.pagerduty.com"}
    return read_project(ROOT, settings, known())


def fleet(count: int) -> list[Target]:
    """Return as many targets like the shipped one, each with a name of its own, by which its slots are shifted."""
    (target,) = shipped().config.targets
    return [target.model_copy(update={"name": f"target-{number:03}"}) for number in range(count)]


def due(rule: Rule, target: Target, now: datetime) -> list[datetime]:
    """Return the slot of a rule that falls into the minute that ends now, if one does."""
    slot = newest_slot(rule.every, jitter(rule.id, target.name, rule.every), now)
    return [slot] if slot > now - MINUTE else []


def _asks(rule: Rule, target: Target, slots: list[datetime]) -> Iterator[Ask]:
    signal = signals.known()[rule.when.signal or ""]
    for source in signal.asked(rule.when.only):
        if isinstance(source, Logs) and slots:
            yield from compile_logs(rule, signal, source, target, windows(rule, slots))


@dataclass(frozen=True, slots=True)
class Load:
    """What a target's rules come to on average: questions to the workspace and evaluations a minute."""

    queries: float
    evaluations: float


@cache
def load(minutes: int = 60) -> Load:
    """Return the load of one target, over an hour and three targets whose slots are shifted differently."""
    targets, queries, evaluations = fleet(3), 0, 0
    for target in targets:
        rules = [rule for rule in shipped().rules if rule.enabled and selects(rule, target)]
        for minute in range(minutes):
            slots = {rule.id: due(rule, target, _AT + minute * MINUTE) for rule in rules}
            asks = [ask for rule in rules for ask in _asks(rule, target, slots[rule.id])]
            queries += len(fuse(dict(enumerate(asks)), target)) + 1  # and whether anything arrives at all
            evaluations += sum(map(len, slots.values()))
    return Load(queries / minutes / len(targets), evaluations / minutes / len(targets))


def unfused() -> float:
    """Return how many queries a minute a target would take if each rule and source were asked by itself."""
    (target,) = fleet(1)
    rules = [rule for rule in shipped().rules if selects(rule, target)]
    return sum(len(list(_asks(rule, target, [_AT]))) * (MINUTE / rule.every) for rule in rules)


@dataclass(frozen=True, slots=True)
class Native:
    """The shipped rules as alerts of Azure Monitor's own, of one target."""

    quick: int
    """Log alert rules that are looked at every five minutes or more often."""
    slow: int
    """Log alert rules that are looked at every quarter of an hour."""
    metrics: int
    """Metric alerts: what the platform measures."""
    none: int
    """Rules about configuration, switches, queues or probes, which no alert on logs or metrics can be about."""

    @property
    def usd(self) -> float:
        """What they cost a month, without the free time series."""
        price = prices()
        return self.quick * price["log_alert_5m"] + self.slow * price["log_alert_15m"]


def native() -> Native:
    """Return what the shipped rules would be as native alerts, by what each measures and how often."""
    quick = slow = metrics = none = 0
    for rule in shipped().rules:
        sources = signals.known()[rule.when.signal or ""].sources
        if all(isinstance(each, Logs) for each in sources):
            quick, slow = (quick + 1, slow) if rule.every <= timedelta(minutes=5) else (quick, slow + 1)
        elif any(isinstance(each, Gauge) and each.meter == "metrics" for each in sources):
            metrics += 1
        else:
            assert any(isinstance(each, Configured | Gauge) for each in sources)
            none += 1
    return Native(quick, slow, metrics, none)


@cache
def figures() -> Mapping[str, Any]:
    """Return ``tools/prices.yaml``."""
    found: Mapping[str, Any] = written(ROOT / "tools" / "prices.yaml")
    return found


def prices() -> dict[str, float]:
    """Return each price in USD by its name."""
    return {name: float(each["usd"]) for name, each in figures()["prices"].items()}


def requests(targets: int) -> float:
    """Return the requests to Table storage of a month."""
    measured = {name: float(value) for name, value in figures()["measured"].items()}
    return TICKS * (measured["requests_a_tick"] + targets * measured["requests_a_target"])


def executions(targets: int) -> int:
    """Return the executions of a month: the timer's, and one a target and minute where the fleet is handed out."""
    handed_out = load().evaluations * targets > shipped().config.budgets.evaluations_inline
    return TICKS * (1 + (targets if handed_out else 0))


def compute(targets: int, seconds: float, gigabytes: float = 2.0) -> float:
    """Return what a month costs where an execution takes so many seconds on instances of this size, in USD."""
    free = {name: float(value) for name, value in figures()["free"].items()}
    ran = executions(targets)
    spent = max(0.0, ran * max(1.0, seconds) * gigabytes - free["gb_seconds"]) * prices()["gb_second"]
    return spent + max(0.0, ran - free["executions"]) / 1e6 * prices()["execution_million"]


def page() -> str:
    """Return ``docs/costs.md``."""
    kinds, one = native(), load()
    rows = "".join(_row(count) for count in FLEETS)
    beside = "".join(_beside(count, kinds) for count in FLEETS)
    listed = "".join(
        f"| {each['what']} | ${each['usd']} | {each['source']} |\n" for each in figures()["prices"].values()
    )
    return (
        (ROOT / "tools" / "pages" / "costs.md")
        .read_text(encoding="utf-8")
        .format(
            rules=len(shipped().rules),
            evaluations=one.evaluations,
            queries=one.queries,
            alone=unfused(),
            rows=rows,
            beside=beside,
            listed=listed,
            **{name: getattr(kinds, name) for name in ("quick", "slow", "metrics", "none")},
            wide=int(shipped().config.budgets.queries_per_minute / one.queries) + 1,
            limit=int(_A_MINUTE / one.queries),
            budget=shipped().config.budgets.queries_per_minute,
            kilobytes=figures()["measured"]["kilobytes_a_target"],
            inline=shipped().config.budgets.evaluations_inline,
        )
    )


def _row(count: int) -> str:
    asked, table = load().queries * count, requests(count)
    kept = count * float(figures()["measured"]["kilobytes_a_target"]) / 1e6
    cost = table / 10_000 * prices()["table_operations_10k"] + kept * prices()["table_gb_month"]
    spent = [f"${compute(count, seconds):,.2f}" for seconds in (1, 5, 20)]
    cells = [f"{asked:,.0f}", f"{asked * TICKS / 1e6:,.1f} M", f"{executions(count):,}", f"{table / 1e6:,.1f} M"]
    return f"| {count} | {' | '.join(cells)} | ${cost:,.2f} | {' | '.join(spent)} |\n"


def _beside(count: int, kinds: Native) -> str:
    series = max(0, count * kinds.metrics - int(figures()["free"]["metric_series"])) * prices()["metric_alert"]
    logs = count * (kinds.quick + kinds.slow)
    return f"| {count} | {logs:,} | ${count * kinds.usd:,.2f} | ${series:,.2f} | {count * kinds.none:,} |\n"
