"""The golden files: queries as they stand, what they find in rows counted by hand, what Microsoft's parser says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kql.binder import Binder
from tests.queries import AT, MINUTE, TARGET, cases, compiled, shipped
from tocsin import signals
from tocsin.core.answer import Query, Rows
from tocsin.core.config import Target
from tocsin.core.signal import Logs
from tocsin.telemetry.embedded import EmbeddedTelemetry
from tools.golden import GOLDEN, rendered

DAY = timedelta(days=1)
RENDERED = rendered()
"""Rendered once: it takes longer than all that is compared with it."""


@pytest.mark.parametrize("name", sorted(RENDERED))
def test_the_golden_file_is_what_is_made_today(name: str) -> None:
    path = GOLDEN / name
    assert path.is_file(), "python -m tools.golden writes it"
    assert path.read_text(encoding="utf-8") == RENDERED[name], "python -m tools.golden writes it anew; read the diff"


def test_no_golden_file_is_left_of_a_case_that_is_gone() -> None:
    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.*")} == set(RENDERED)


# What they find


def event(name: str, at: datetime, count: int = 1, role: str = TARGET.role_name, **told: Any) -> dict[str, Any]:
    flat = {key.replace("__", "."): str(value) for key, value in told.items()}
    properties = {"event_name": name, "logger_name": "accelerator.telemetry", **flat}
    return {"TimeGenerated": at, "AppRoleName": role, "Message": name, "ItemCount": count, "Properties": properties}


def line(logger: str, message: str, at: datetime, count: int = 1) -> dict[str, Any]:
    row = event("", at, count)
    return {**row, "Message": message, "Properties": {"logger_name": logger}}


def minutes(count: float) -> datetime:
    """Return the instant so many minutes before the slot."""
    return AT - count * MINUTE


def traces() -> Iterator[dict[str, Any]]:
    # Responses, of which each window's edges and other roles, events and unreadable words do not count.
    for at, ok, count in (
        (minutes(15), "False", 1),
        (minutes(10), "false", 1),
        (minutes(8), "True", 1),
        (minutes(7), "true", 1),
        (minutes(0.5), "true", 4),
        (minutes(5), "perhaps", 100),
        (minutes(15) - timedelta(microseconds=1), "false", 100),
        (AT, "false", 100),
    ):
        yield event("response.returned", at, count, ok=ok)
    yield event("response.returned", minutes(5), 100, role="other-api", ok="false", value=1e6)
    yield event("worker.completed", minutes(5), 100, ok="false", value=1e6)
    for number in range(1, 21):
        yield event("response.returned", minutes(50), ok="true", value=float(number * 100))
    yield event("response.returned", minutes(50), value="NaN")
    # Approval.
    yield event("tool.hitl_misconfigured", minutes(3), ok="false")
    yield event("tool.hitl_skipped", minutes(8), 2, external_system="send_email")
    yield line("accelerator.hitl", "HITL_DEV_MODE console review — tool=send_email args={}", minutes(2), 2)
    yield line("accelerator.other", "HITL_DEV_MODE is a word", minutes(2), 100)
    yield line("accelerator.hitl", "something else", minutes(2), 100)
    for at in (minutes(60), minutes(30), minutes(1), minutes(61), AT):
        yield event("tool.hitl_rejected", at)
    # Side effects.
    yield event("tool.executed", minutes(2), external_system="crm_write_contact")
    yield event("tool.executed", minutes(0.01), external_system="send_email")
    yield event("tool.executed", minutes(1), external_system="web_search")
    yield event("tool.executed", minutes(3), external_system="send_email")
    # Cost.
    agents = {"args_redacted__agent": "planner", "args_redacted__model": "gpt"}
    agents |= {"args_redacted__input_tokens": 100, "args_redacted__output_tokens": 20}
    yield event("cost.call", minutes(30), value=0.3, **agents)
    yield event("cost.call", minutes(20), 2, value=0.2, **{**agents, "args_redacted__agent": "writer"})
    yield event("cost.call", AT - 7 * DAY - MINUTE, value=0.5)
    yield event("cost.call", AT - 3 * DAY, value=9.0)
    yield event("cost.call", AT - 8 * DAY - MINUTE, value=9.0)
    yield event("cost.call", AT - 7 * DAY, value=9.0)
    free = {"args_redacted__agent": "writer", "args_redacted__model": "gpt-new", "args_redacted__input_tokens": 5}
    yield event("cost.call", minutes(10), 2, value=0.0, **free)
    # What the shipped rules count besides.
    for at, count, error in ((9, 3, "Foundry: 503"), (11, 50, "Foundry: 503"), (9, 4, "KeyError")):
        yield event("worker.completed", minutes(at), count, ok="False", error=error, external_system="planner")
    yield event("worker.completed", minutes(9), 3, ok="True", external_system="planner")
    yield event("tool.failed", minutes(14), ok="false", error="TimeoutError")
    yield event("tool.failed", minutes(14), 50, ok="false", error="killswitch engaged: tools")
    yield event("tool.failed", minutes(14), 50, ok="false", error="Reviewer denied tool=send_email")
    yield event("retrieval.returned", minutes(14), 3, value=4, unit="chunks")
    yield event("retrieval.returned", minutes(14), ok="false", error="HTTP 403")
    yield event("retrieval.returned", minutes(4.5), 2, ok="false", error="[Errno -2] Name or service not known")
    yield event("eval.result", minutes(600), args_redacted__score=1, args_redacted__groundedness=0.9)
    yield event("eval.result", minutes(600), 3, args_redacted__score=0, args_redacted__groundedness="")
    told = {"args_redacted__score": 0, "args_redacted__groundedness": 0}
    yield event("eval.result", minutes(30), 2, args_redacted__suite="Red-Team", args_redacted__passed="False", **told)
    yield event("eval.result", minutes(30), 9, args_redacted__suite="redteam", args_redacted__passed="True")
    yield event("agent.version_lookup_failed", minutes(14), 4, error="Error code: 404")
    yield event("request.received", minutes(55), 458)


def other_tables() -> Iterator[tuple[str, dict[str, Any]]]:
    def row(table: str, at: float, **columns: Any) -> tuple[str, dict[str, Any]]:
        return table, {"TimeGenerated": minutes(at), "AppRoleName": TARGET.role_name, **columns}

    for name, success, code, count in (
        ("POST /api/x", True, "200", 3),
        ("POST /api/x", False, "500", 1),
        ("GET /nowhere", False, "404", 1),
        ("GET /healthz", True, "200", 100),
    ):
        yield row("AppRequests", 12, Name=name, Success=success, ResultCode=code, ItemCount=count)
    for at, kind, host, code, count in (
        (10, "HTTP", "search", "503", 1),
        (10, "HTTP", "search", "404", 10),
        (10, "InProc", "search", "0", 100),
        (4.5, "HTTP", "foundry", "0", 2),
        (4.5, "SQL", "database", "0", 7),
    ):
        told = {"DependencyType": kind, "Target": host, "ResultCode": code, "ItemCount": count}
        yield row("AppDependencies", at, Success=False, **told)
    yield row("AppDependencies", 10, Success=True, DependencyType="HTTP", Target="search", ResultCode="200")
    yield row("AppExceptions", 4.5, ExceptionType="socket.gaierror", ItemCount=2)
    yield row("AppExceptions", 4.5, ExceptionType="OSError", OuterMessage="Cannot connect to host x:443")


def exception(kind: str, role: str, count: int, at: datetime) -> dict[str, Any]:
    return {"TimeGenerated": at, "AppRoleName": role, "ExceptionType": kind, "ItemCount": count}


@pytest.fixture(scope="module")
def telemetry() -> Iterator[EmbeddedTelemetry]:
    telemetry = EmbeddedTelemetry()
    telemetry.load("AppTraces", traces())
    for table, row in other_tables():
        telemetry.load(table, [row])
    telemetry.load("AppRequests", [{"TimeGenerated": minutes(3.5), "AppRoleName": TARGET.role_name}])
    role = TARGET.role_name
    telemetry.load("AppExceptions", [exception("ValueError", role, 3, minutes(60)), exception("KeyError", role, 1, AT)])
    telemetry.load("AppExceptions", [exception("ValueError", role, 1, minutes(1))])
    telemetry.load("AppExceptions", [exception("ValueError", "other-api", 9, minutes(1))])
    yield telemetry
    telemetry.close()


def one(value: float, events: int, **more: Any) -> list[dict[str, Any]]:
    return [{"_window": 0, "value": value, "events": events, **more}]


BURNING = one(102 / 128, 128)
OWN = [each for each in traces() if each["AppRoleName"] == TARGET.role_name]
RECENT = sum(each["ItemCount"] for each in OWN if minutes(30) <= each["TimeGenerated"] < AT)

BY_HAND: dict[str, list[dict[str, Any]]] = {
    "api_down": one(4, 4),
    "abandoned_requests": one(0.5, 458),
    "content_filtered": one(0.0, 128 + 160),
    "cost_per_call": one(0.7 / 458, 5),
    "model_misconfigured": one(0.0, 117),
    "model_unreachable": one(0.0, 117),
    "model_without_price": [{"_window": 0, "model": "gpt-new", "value": 2.0, "events": 2}],
    "redteam_failures": [{"_window": 172_800, "value": 2.0, "events": 2}],
    "version_lookup_failures": one(4.0, 4),
    "dependency_failures": [
        {"_window": 0, "host": "database", "value": 1.0, "events": 7},
        {"_window": 0, "host": "foundry", "value": 1.0, "events": 2},
        {"_window": 0, "host": "search", "value": 1 / 12, "events": 12},
    ],
    "error_rate_elevated": BURNING,
    "groundedness_drop": one(0.9, 1),
    "ingestion_lag": one(0.0, RECENT),
    "model_outage": one(3 / 117, 117),
    "no_output": one(0.5, 458),
    "p95_latency_elevated": [],
    "private_endpoint_dns": one(2, 2, detail="errors of the app"),
    "private_endpoint_dns_2": one(2, 2, detail="calls without an answer"),
    "private_endpoint_dns_3": one(3, 3, detail="exceptions"),
    "quality_drop": one(0.25, 4),
    "retrieval_failures": one(0.5, 6),
    "slo_burn": BURNING,
    "slo_burn_2": one(0.0, 4),
    "slo_burn_3": BURNING,
    "slo_burn_4": one(102 / 108, 108),
    **dict.fromkeys(("slo_burn_slow", "slo_burn_slow_2", "slo_burn_slow_3", "slo_burn_slow_4"), BURNING),
    "success_rate_low": one(4 / 6, 6),
    "success_rate_low_2": one(0.0, 108),
    "token_budget": one(370, 5),
    "token_budget_spent": one(370, 5),
    "tool_failures": one(0.2, 5),
    "worker_failures": [
        {"_window": 0, "agent": "", "value": 1.0, "events": 100},
        {"_window": 0, "agent": "planner", "value": 57 / 60, "events": 60},
    ],
    "high_error_rate": [{"_window": 0, "value": 0.25, "events": 8}],
    "catch_up": [
        {"_window": 0, "value": 102 / 104, "events": 104},
        {"_window": 60, "value": 102 / 104, "events": 104},
        {"_window": 120, "value": 0.25, "events": 8},
    ],
    "p95_latency": [{"_window": 0, "value": 1900.0, "events": 20}],
    "hitl_misconfigured": [
        {
            "_window": 172_800,
            "sign": "refused",
            "value": 1.0,
            "events": 1,
            "detail": "refused: the event tool.hitl_misconfigured",
        },
        {
            "_window": 172_800,
            "sign": "self-approved",
            "value": 2.0,
            "events": 2,
            "detail": "self-approved: the log line HITL_DEV_MODE, and calls went through",
        },
    ],
    "hitl_skipped": [{"_window": 172_800, "tool": "send_email", "value": 2.0, "events": 2}],
    "hitl_rejection_spike": [{"_window": 0, "value": 3.0, "events": 3}],
    "cost_jump": [{"_window": 0, "value": 0.5, "events": 1}, {"_window": 604800, "value": 0.7, "events": 5}],
    # What is there from before the earlier window.
    "cost_jump_2": one(9.0, 1),
    "dear_calls": [
        {"_window": 0, "agent": "planner", "model": "gpt", "value": 0.3, "events": 1},
        {"_window": 0, "agent": "writer", "model": "gpt", "value": 0.4, "events": 2},
        {"_window": 0, "agent": "writer", "model": "gpt-new", "value": 0.0, "events": 2},
    ],
    "own_kql": [
        {"_window": 0, "exception": "OSError", "value": 1.0},
        {"_window": 0, "exception": "ValueError", "value": 4.0},
        {"_window": 0, "exception": "socket.gaierror", "value": 2.0},
    ],
    "side_effect_tools": [{"_window": 0, "value": 2.0, "events": 2}],
    "beginning": [{"began": AT - 8 * DAY - MINUTE}],
    "freshness": [
        {"minute": minutes(4), "events": 1, "lag": 0.0},
        {"minute": minutes(3), "events": 2, "lag": 0.0},
        {"minute": minutes(2), "events": 4, "lag": 0.0},
        {"minute": minutes(1), "events": 4, "lag": 0.0},
    ],
}


def found(telemetry: EmbeddedTelemetry, query: Query, target: Target = TARGET) -> list[dict[str, Any]]:
    answer = telemetry.ask(query, target)
    assert isinstance(answer, Rows), answer
    return sorted(answer.dicts(), key=repr)


@pytest.mark.parametrize("name", sorted(cases()))
def test_the_query_finds_what_was_counted_by_hand(telemetry: EmbeddedTelemetry, name: str) -> None:
    rows = found(telemetry, cases()[name])
    expected = sorted(BY_HAND[name], key=repr)
    for row, by_hand in zip(sorted(rows, key=order), sorted(expected, key=order), strict=True):
        assert row == {key: pytest.approx(value) if key == "value" else value for key, value in by_hand.items()}


def order(row: dict[str, Any]) -> str:
    return repr((row.get("_window"), row.get("minute"), *map(row.get, ("agent", "host", "exception", "sign"))))


def test_a_window_without_events_has_no_row(telemetry: EmbeddedTelemetry) -> None:
    quiet = compiled(shipped()["high_error_rate"], AT - 3 * DAY)
    assert found(telemetry, quiet) == []


# What Microsoft's parser says


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    binder = Binder()
    yield binder
    binder.close()


SHAPE = {"_window": "long", "value": "real", "events": "long", "detail": "string"}


@pytest.mark.parametrize("name", sorted(cases()))
def test_microsofts_parser_binds_every_name_and_type(binder: Binder, name: str) -> None:
    bound = binder.bind(cases()[name].text)
    assert bound.errors == ()
    if name not in ("freshness", "beginning"):
        assert {"_window", "value"} <= bound.columns.keys()
        assert all(kind == SHAPE.get(column, "string") for column, kind in bound.columns.items())


def test_every_signal_binds_with_every_dimension(binder: Binder) -> None:
    from tocsin.core.compile import compile_logs, windows
    from tocsin.core.rule import Rule

    for name, signal in signals.known().items():
        when = {"signal": name, "above": "1", "over": "5m", "by": list(signal.dimensions)}
        rule = Rule.model_validate({"id": name, "summary": "x", "severity": "P3", "when": when})
        for source in signal.sources:
            if isinstance(source, Logs):
                (ask,) = compile_logs(rule, signal, source, TARGET, windows(rule, (AT,)))
                bound = binder.bind(ask.query.text)
                assert bound.errors == (), name
                assert set(signal.dimensions) <= bound.columns.keys()


@pytest.mark.parametrize(
    ("was", "planted", "says"),
    [
        ("ItemCount", "ItemsCount", "ItemsCount"),
        ("AppTraces", "AppTrace", "AppTrace"),
        ("tobool(", "toboolean_(", "toboolean_"),
        ("isnotnull(tobool(tostring(Properties.ok)))", "Message > 5m", "operator"),
    ],
)
def test_what_is_planted_is_found(binder: Binder, was: str, planted: str, says: str) -> None:
    text = cases()["high_error_rate"].text
    assert was in text
    (first, *_) = binder.bind(text.replace(was, planted)).errors
    assert says.lower() in first.lower()


# What no query may hold


@pytest.mark.parametrize("path", sorted((GOLDEN / "kql").glob("*.kql")), ids=lambda path: path.stem)
def test_no_query_reads_a_wall_clock_or_another_target(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\b(ago|now)\s*\(", text)
    tables = len(re.findall(r"\bApp(Traces|Requests|Dependencies)\b(?! *=)", text)) or 1
    assert text.count("AppRoleName == 'sales-research-api'") == tables
    assert text.count("TimeGenerated >= _from and TimeGenerated < _to") == tables


def test_a_role_name_is_text_and_nothing_more(telemetry: EmbeddedTelemetry) -> None:
    from tocsin.core.compile import freshness

    evil = TARGET.model_copy(update={"role_name": "x' or true or AppRoleName == '"})
    assert found(telemetry, freshness(evil, minutes(60), AT), evil) == []


# The accelerator's own records


def test_the_accelerators_own_records_give_what_they_say(data: Path) -> None:
    telemetry = EmbeddedTelemetry()
    assert telemetry.load_recorded(data / "accelerator-telemetry.jsonl", minutes(1)) == 7
    rules = shipped()
    (errors,) = found(telemetry, compiled(rules["high_error_rate"], AT))
    assert (errors["value"], errors["events"]) == (1.0, 1)
    (latency,) = found(telemetry, compiled(rules["p95_latency"], AT))
    assert (latency["value"], latency["events"]) == (1234.5, 1)
    (call,) = found(telemetry, cases()["dear_calls"])
    assert (call["value"], call["events"]) == (pytest.approx(0.0008), 1)
    signs = found(telemetry, compiled(rules["hitl_misconfigured"], AT))
    assert {each["sign"]: each["events"] for each in signs} == {"refused": 1, "self-approved": 1}


@pytest.mark.parametrize(
    ("only", "detail"),
    [
        ("tool.hitl_misconfigured", "refused: the event tool.hitl_misconfigured"),
        ("HITL_DEV_MODE", "self-approved: the log line HITL_DEV_MODE, and calls went through"),
    ],
)
def test_the_event_and_the_dev_mode_line_each_breach_alone(data: Path, tmp_path: Path, only: str, detail: str) -> None:
    lines = (data / "accelerator-telemetry.jsonl").read_text(encoding="utf-8").splitlines()
    (kept,) = [line for line in lines if f'"message": "{only}' in line]
    (tmp_path / "one.jsonl").write_text(kept + "\n", encoding="utf-8")
    telemetry = EmbeddedTelemetry()
    telemetry.load_recorded(tmp_path / "one.jsonl", minutes(1))
    (sign,) = found(telemetry, compiled(shipped()["hitl_misconfigured"], AT))
    assert (sign["value"], sign["detail"]) == (1.0, detail)
