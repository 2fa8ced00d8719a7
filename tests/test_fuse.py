"""Fused and unfused give the same rows, whatever the rules, slots and telemetry; one part's fault is its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.amount import often
from tests.kql.binder import Binder
from tests.queries import OWN, shipped
from tocsin import signals
from tocsin.core.answer import Rows
from tocsin.core.compile import Ask, compile_logs, windows
from tocsin.core.config import Target
from tocsin.core.fuse import LONGEST, Fused, fuse, halves
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs
from tocsin.telemetry.embedded import EmbeddedTelemetry

AT = datetime(2026, 11, 20, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TARGET = Target(name="sales", workspace="w", role_name="sales-api")
NAMES = ("tool.hitl_misconfigured", "tool.hitl_rejected", "tool.executed", "response.returned", "cost.call", "other")

ASKED = sorted(name for name, signal in signals.known().items() if any(isinstance(s, Logs) for s in signal.sources))
"""The signals that are measured by a query."""


def rule(name: str, **when: Any) -> Rule:
    return Rule.model_validate({"id": name, "summary": "x", "severity": "P2", "when": {"above": "1", **when}})


def asks_of(rule: Rule, *slots: datetime) -> list[Ask]:
    signal = signals.known().get(rule.when.signal or "")
    sources = [each for each in signal.sources if isinstance(each, Logs)] if signal else [None]
    return [ask for source in sources for ask in compile_logs(rule, signal, source, TARGET, windows(rule, slots))]


def numbered(*rules: Rule, slots: tuple[datetime, ...] = (AT,)) -> dict[int, Ask]:
    return dict(enumerate(ask for each in rules for ask in asks_of(each, *slots)))


def answered(telemetry: EmbeddedTelemetry, queries: list[Fused]) -> dict[int, Rows]:
    found: dict[int, Rows] = {}
    for fused in queries:
        answer = telemetry.ask(fused.query, TARGET)
        assert isinstance(answer, Rows), (answer, fused.query.text)
        found |= fused.rows(answer)
    return found


def facts(ask: Ask, rows: Rows) -> set[tuple[Any, ...]]:
    """Return what an evaluation reads of rows: per window and instance, value, events and detail."""
    found = set()
    for row in rows.dicts():
        by = tuple(str(row.get(name) or "") for name, _ in ask.part.by)
        value = None if row["value"] is None else f"{row['value']:.6f}"
        found.add((int(row["_window"]), by, value, row.get("events"), row.get("detail") or ""))
    return found


# Random rules over random rows


RAW = (
    "AppTraces | summarize value = count()",
    "let n = 2;\nAppTraces // ; not an end\n| where Message != ';' | summarize value = n * sum(ItemCount) by tool",
    "AppTraces | where Message == 'AppTraces' | summarize value = dcount(Message), events = sum(ItemCount)",
    "let some = AppTraces | where ItemCount > 1;\nsome | summarize value = sum(ItemCount) by tool",
    "union AppTraces, AppRequests | summarize value = count()",
    "AppRequests | summarize value = avg(DurationMs), events = count()",
)


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    found = []
    for number in range(draw(st.integers(1, 9))):
        over = draw(st.sampled_from(["1m", "5m", "15m", "1h", "1d"]))
        if draw(st.booleans()):
            text = draw(st.sampled_from(RAW)).replace("by tool", "by tool = tostring(Properties.external_system)")
            by = ["tool"] if "by tool" in text else []
            found.append(rule(f"r{number}", kql=text, over=over, by=by))
        else:
            name = draw(st.sampled_from(ASKED))
            known = sorted(signals.known()[name].dimensions)
            by = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
            versus = {"change": {"more_than": "20%", "versus": draw(st.sampled_from(["1h", "7d"]))}}
            changed = draw(st.booleans())
            made = {"signal": name, "over": over, "by": by, **(versus if changed else {})}
            when = made if changed else {"above": "1", **made}
            found.append(Rule.model_validate({"id": f"r{number}", "summary": "x", "severity": "P2", "when": when}))
    return found


def rows(seed: int, count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    for _ in range(count):
        back = timedelta(seconds=chance.choice([chance.uniform(0, 3600), chance.uniform(0, 9 * 86_400), 900, 60]))
        name = chance.choice(NAMES)
        properties = {
            "event_name": name,
            "ok": chance.choice(["true", "False", "", "maybe"]),
            "value": chance.choice(["1.5", "200", "NaN", ""]),
            "external_system": chance.choice(["send_email", "crm_write_contact", ""]),
            "args_redacted.agent": chance.choice(["a", "b"]),
            "args_redacted.model": "m",
            "logger_name": chance.choice(["accelerator.hitl", "accelerator.telemetry"]),
        }
        yield {
            "TimeGenerated": AT - back,
            "AppRoleName": chance.choice(["sales-api", "sales-api", "other-api"]),
            "Message": chance.choice([name, "HITL_DEV_MODE x", "AppTraces"]),
            "ItemCount": chance.choice([1, 1, 3]),
            "Properties": properties,
        }


@pytest.fixture(scope="module")
def telemetry() -> Iterator[EmbeddedTelemetry]:
    telemetry = EmbeddedTelemetry()
    telemetry.load("AppTraces", rows(1, 4000))
    telemetry.load("AppRequests", ({**each, "DurationMs": 12.5, "Name": "x"} for each in _requests()))
    yield telemetry
    telemetry.close()


def _requests() -> Iterator[dict[str, Any]]:
    for each in rows(2, 300):
        yield {key: each[key] for key in ("TimeGenerated", "AppRoleName", "ItemCount")}


@given(rules(), st.integers(1, 4), st.integers(0, 3))
@settings(max_examples=often(60, 3), suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.slow
def test_fused_and_unfused_say_the_same(
    telemetry: EmbeddedTelemetry, binder: Binder, some: list[Rule], count: int, jitter: int
) -> None:
    slots = tuple(AT - MINUTE * back for back in reversed(range(count)))
    asks: dict[int, Ask] = {}
    for number, each in enumerate(some):
        own = tuple(slot - timedelta(seconds=17 * jitter * (number % 2)) for slot in slots)
        for ask in asks_of(each, *own):
            asks[len(asks)] = ask
    queries = fuse(asks, TARGET)
    fused = answered(telemetry, queries)
    assert fused.keys() == asks.keys()
    for number, ask in asks.items():
        alone = telemetry.ask(ask.query, TARGET)
        assert isinstance(alone, Rows)
        assert facts(ask, fused[number]) == facts(ask, alone), (ask.query.text, [each.query.text for each in queries])
    for each in queries:
        assert binder.bind(each.query.text).errors == (), each.query.text


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    binder = Binder()
    yield binder
    binder.close()


# How few


def test_the_shipped_rules_are_a_query_for_each_table_and_one_for_each_stretch_far_back() -> None:
    queries = fuse(numbered(*shipped().values(), OWN), TARGET)
    assert sorted(len(each.shares) for each in queries) == [1, 1, 1, 1, 1, 2, 2, 3, 4, 19]


def test_the_shipped_rules_of_every_minute_are_a_query_for_each_table_and_one_for_arrivals() -> None:
    every_minute = [each for each in shipped().values() if each.every <= MINUTE]
    queries = fuse(numbered(*every_minute), TARGET)
    assert sorted(each.query.end - each.query.start for each in queries)[-1] == timedelta(days=3, minutes=10)
    assert len(queries) == 3


def test_rules_that_measure_the_same_share_one_part() -> None:
    same = [rule(f"r{n}", signal="response_errors", over="15m", above=str(n)) for n in range(50)]
    (query,) = fuse(numbered(*same), TARGET)
    assert len(query.shares) == 1
    assert query.alone


def test_a_text_is_never_longer_than_allowed_and_nothing_is_left_out() -> None:
    many = [
        rule(f"r{n}", kql=f"AppTraces | where Message == '{n}' | summarize value = count()", over="5m")
        for n in range(900)
    ]
    asks = numbered(*many)
    queries = fuse(asks, TARGET)
    assert max(len(each.query.text) for each in queries) <= LONGEST
    assert sorted(number for each in queries for number in each.asks) == sorted(asks)
    assert len(queries) <= 8


# What stands alone


@pytest.mark.parametrize(
    "text",
    [
        "union AppTraces, AppRequests | summarize value = count()",
        "print value = 1",
        "AppTraces | summarize value = count() by (",
        "AppTraces | summarize value = count()) , (AppTraces | summarize value = count()",
        "union withsource=T AppTraces | summarize value = count()",
        "let f = (x: long) { x };\nAppTraces | summarize value = count();\nprint 1",
    ],
)
def test_what_cannot_stand_beside_others_is_asked_by_itself(text: str) -> None:
    asks = numbered(rule("odd", kql=text, over="5m"), *shipped().values())
    (alone,) = [each for each in fuse(asks, TARGET) if 0 in each.asks]
    assert alone.query == asks[0].query
    assert alone.asks.keys() == {0}


def test_windows_that_reach_back_a_week_do_not_make_the_others_read_it() -> None:
    asks = numbered(*shipped().values())
    spans = sorted(each.query.end - each.query.start for each in fuse(asks, TARGET))
    # Near ones of four tables; six hours, a day and three for a budget that burns, the day for tokens too; arrivals,
    # which may have been emitted long before; and the week that costs are compared over, with the days before it.
    near = [timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=15), timedelta(hours=2)]
    far = [timedelta(hours=6), timedelta(days=1), timedelta(days=3), timedelta(days=3), timedelta(days=3, hours=1)]
    assert spans == [*near, *far, timedelta(days=8)]


# The guilty part


def test_halving_finds_the_one_part_that_fails(telemetry: EmbeddedTelemetry) -> None:
    good = [
        rule(f"g{n}", kql=f"AppTraces | where ItemCount > {n} | summarize value = count()", over="5m") for n in range(9)
    ]
    bad = rule("bad", kql="AppTraces | summarize value = count(NoSuchColumn)", over="5m")
    asks = numbered(*good[:4], bad, *good[4:])
    guilty, found, asked = set(), dict[int, Rows](), 0
    left = fuse(asks, TARGET)
    while left:
        fused = left.pop()
        asked += 1
        answer = telemetry.ask(fused.query, TARGET)
        if isinstance(answer, Rows):
            found |= fused.rows(answer)
        elif fused.alone:
            guilty |= set(fused.asks)
        else:
            left += halves(fused, TARGET)
    assert guilty == {4}
    assert found.keys() == asks.keys() - {4}
    assert asked <= 9
    (first, second) = sorted(fuse(asks, TARGET, apart={asks[4].part}), key=lambda each: len(each.asks))
    assert set(first.asks) == {4}
    assert isinstance(telemetry.ask(second.query, TARGET), Rows)


# Too many rows


@pytest.mark.parametrize(
    ("compared", "kept"), [("above", ["a2", "a1"]), ("at_most", ["a0", "a1"])], ids=["the highest", "the lowest"]
)
@pytest.mark.parametrize("raw", [False, True])
def test_a_part_with_too_many_rows_keeps_its_worst_and_cuts_no_other(
    monkeypatch: pytest.MonkeyPatch, compared: str, kept: list[str], raw: bool
) -> None:
    for module in ("compile", "fuse"):
        monkeypatch.setattr(f"tocsin.core.{module}.MOST_IN_PART", 1)
    flooded = EmbeddedTelemetry()
    flooded.load("AppDependencies", [each for at in range(3) for each in _calls(f"a{at}", failed=1 + at)])
    text = "AppDependencies | summarize value = countif(Success == false) by host = Target"
    many = {"kql": text} if raw else {"signal": "dependency_failures"}
    when = {"over": "5m", "by": ["host"], compared: "1", **many}
    flood = Rule.model_validate({"id": "flood", "summary": "x", "severity": "P2", "when": when})
    other = rule("other", kql="AppDependencies | summarize value = count()", over="5m")
    asks = numbered(flood, other)
    fused = fuse(asks, TARGET)
    assert len(fused) == 1
    found = answered(flooded, fused)
    assert [found[number].cut for number in sorted(found)] == [True, False]
    assert [row["host"] for row in found[0].dicts()] == kept
    assert [row["value"] for row in found[1].dicts()] == [12.0]
    (alone,) = fuse({0: asks[0]}, TARGET)
    assert answered(flooded, [alone])[0].cut, "asked by itself, too"
    flooded.close()


def _calls(host: str, failed: int) -> list[dict[str, Any]]:
    """Four calls, of which so many failed."""
    row = {"TimeGenerated": AT - MINUTE, "AppRoleName": "sales-api", "Target": host}
    return [{**row, "Success": number >= failed} for number in range(4)]
