"""The simulated accelerator says what a real one says, and obeys what a real one obeys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tocsin.local.accelerator import PLANTED, Accelerator, Weather
from tocsin.local.approver import ApproverStandIn, Question, RemoteApprover, Unanswered
from tocsin.local.load import Request, from_trace, seeded
from tocsin.local.serve import Served

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
APPROVED = {"HITL_APPROVER_ENDPOINT": "http://127.0.0.1:1/approve"}


class Life:
    """An accelerator, its variables, and the rows it emitted."""

    def __init__(self, env: Mapping[str, str] | None = None, approve: Any = None, **changes: Any) -> None:
        self.env: dict[str, str] = dict(APPROVED if env is None else env)
        self.rows: list[dict[str, Any]] = []
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[Question] = []
        load: Iterator[Request] = changes.pop("load", None) or seeded(3, T0, per_minute=120)
        self.accelerator = Accelerator(
            "sales-research-api", lambda: self.env, self._emit, load, approve or self._approve, **changes
        )

    def _emit(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.tables.setdefault(table, []).extend(rows)
        self.rows += rows if table == "AppTraces" else []

    def _approve(self, endpoint: str, question: Question) -> bool:
        self.asked.append(question)
        return question["tool"] != "nothing"

    def live(self, minutes: float = 10) -> Life:
        self.accelerator.advance(T0 + minutes * MINUTE)
        return self

    def events(self, name: str) -> list[dict[str, str]]:
        return [row["Properties"] for row in self.rows if row["Message"] == name]


def records(data: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (data / "accelerator-telemetry.jsonl").read_text().splitlines() if line.strip()
    ]


def test_every_event_that_was_recorded_has_the_same_keys_here(data: Path) -> None:
    lives = [
        Life(),
        Life(env={}),
        Life(env={"HITL_DEV_MODE": "true"}),
        Life(env={**APPROVED, "KILLSWITCH_TOOLS": "on"}),
    ]
    lives[0].accelerator.becomes(Weather(failing=0.5), T0)
    for life in lives:
        life.live(20)
    recorded = {record["properties"].get("event_name", record["message"][:13]): record for record in records(data)}
    for name, record in recorded.items():
        own = [row for life in lives for row in life.rows if row["Message"].startswith(name)]
        assert own, name
        shapes = {frozenset(row["Properties"]) for row in own}
        assert shape(record["properties"]) & {key for shape in shapes for key in shape} == shape(record["properties"])
        assert {row["SeverityLevel"] for row in own} == {record["severityLevel"]}
        assert all(isinstance(value, str) for row in own for value in row["Properties"].values())


def shape(properties: Mapping[str, str]) -> set[str]:
    """Return the keys, those of a tool's own arguments left out: they differ by tool."""
    return {key for key in properties if not key.startswith("args_redacted.")}


def test_a_thousand_tokens_in_and_two_hundred_out_cost_what_was_recorded(data: Path) -> None:
    (recorded,) = [each for each in records(data) if each["message"] == "cost.call"]
    properties = recorded["properties"]
    read, wrote = (int(properties[f"args_redacted.{kind}_tokens"]) for kind in ("input", "output"))
    life = Life(load=iter([Request(T0, 1000, 200)])).live()
    calls = life.events("cost.call")
    per_1k = (0.0005, 0.0015)
    for call in calls:
        own = [int(call[f"args_redacted.{kind}_tokens"]) for kind in ("input", "output")]
        usd = sum(count * price for count, price in zip(own, per_1k, strict=True)) / 1000
        assert float(call["value"]) == pytest.approx(usd)
    assert (read * per_1k[0] + wrote * per_1k[1]) / 1000 == pytest.approx(float(properties["value"]))


def test_the_same_seed_tells_the_same_story_whatever_the_steps() -> None:
    once, stepped = Life().live(10), Life()
    for second in range(1, 601):
        stepped.accelerator.advance(T0 + timedelta(seconds=second))
    assert stepped.rows == once.rows
    assert Life(seed=2).live(10).rows != once.rows


def test_without_an_approver_an_older_fork_says_so_and_the_flagship_says_nothing() -> None:
    older, flagship = Life(env={}).live(), Life(env={}, fork="flagship").live()
    assert older.events("tool.hitl_misconfigured")
    assert not any(each["external_system"] == "send_email" for each in older.events("tool.executed"))
    assert flagship.events("tool.hitl_misconfigured") == []
    assert [each for each in flagship.events("tool.executed") if each["external_system"] == "send_email"] == []
    assert {each["ok"] for each in older.events("tool.hitl_misconfigured")} == {"False"}
    assert {each["ok"] for each in flagship.events("tool.executed")} == {"true"}


@pytest.mark.parametrize("value", ["on", "ON", "true", "1"])
def test_an_engaged_switch_stops_side_effects_and_nothing_else(value: str) -> None:
    life = Life(env={**APPROVED, "KILLSWITCH_TOOLS": value}).live()
    assert {each["external_system"] for each in life.events("tool.executed")} == {"crm_read_account", "web_search"}
    assert {each["error"] for each in life.events("tool.failed")} == {"killswitch engaged: tools"}
    assert {each["ok"] for each in life.events("response.returned")} == {"True"}
    assert life.asked == []


@pytest.mark.parametrize("value", ["off", "", " on", "2", "engaged"])
def test_what_the_accelerator_does_not_read_as_on_stops_nothing(value: str) -> None:
    assert Life(env={**APPROVED, "KILLSWITCH_TOOLS": value}).live().events("tool.failed") == []


def test_the_workflow_switch_fails_every_request_before_it_is_received() -> None:
    life = Life(env={**APPROVED, "KILLSWITCH_WORKFLOW": "on"}).live()
    assert life.events("request.received") == []
    assert {each["ok"] for each in life.events("response.returned")} == {"False"}


def test_a_variable_takes_effect_for_requests_on_their_way() -> None:
    life = Life()
    life.live(5)
    before = len(life.events("tool.executed"))
    life.env["KILLSWITCH_TOOLS"] = "on"
    life.accelerator.advance(T0 + 10 * MINUTE)
    later = life.events("tool.executed")[before:]
    assert later
    assert {each["external_system"] for each in later} == {"crm_read_account", "web_search"}


def test_what_a_reviewer_denies_is_told_and_not_done() -> None:
    life = Life(approve=lambda _endpoint, _question: False).live()
    assert life.events("tool.hitl_rejected")
    assert not [each for each in life.events("tool.executed") if each["external_system"] == "send_email"]


def test_customers_travel_in_the_arguments_and_nowhere_else() -> None:
    life = Life().live()
    elsewhere = [
        {key: value for key, value in row["Properties"].items() if not key.startswith("args_redacted.")}
        | {"m": row["Message"]}
        for row in life.rows
    ]
    assert any(planted in repr(life.rows) for planted in PLANTED)
    assert not any(planted in repr(elsewhere) for planted in PLANTED)


def test_weather_changes_what_is_told() -> None:
    life = Life()
    life.accelerator.becomes(Weather(failing=1.0), T0 + 5 * MINUTE)
    life.live(10)
    at = {row["TimeGenerated"] < T0 + 5 * MINUTE: row for row in life.rows if row["Message"] == "response.returned"}
    assert at[True]["Properties"]["ok"] == "True"
    assert at[False]["Properties"]["ok"] == "False"


def test_sampling_keeps_few_rows_that_count_for_all() -> None:
    whole, sampled = Life().live(30), Life(sampled=10).live(30)
    assert len(sampled.rows) < len(whole.rows) / 5
    counted = sum(row["ItemCount"] for row in sampled.rows)
    assert 0.7 < counted / len(whole.rows) < 1.3


def test_nothing_arrives_before_it_happened() -> None:
    assert all(row["_IngestedAt"] > row["TimeGenerated"] for rows in Life().live().tables.values() for row in rows)


# The approver


@pytest.mark.parametrize("fault", ["error", "garbage", "disconnect", "forbidden"])
def test_no_decision_is_no_approval(fault: str) -> None:
    from starlette.applications import Starlette

    approver = ApproverStandIn(lambda: T0, rejects=0.0)
    with Served(Starlette(routes=approver.routes())) as served:
        ask, question = RemoteApprover(2), {"tool": "send_email", "args": {}, "context": {}}
        assert ask(f"{served.url}/approve", question) is True
        approver.faults.add(fault, times=1)
        with pytest.raises(Unanswered) as raised:
            ask(f"{served.url}/approve", question)
        assert served.url not in str(raised.value)
        approver.objects = lambda asked: asked["tool"] == "send_email"
        assert ask(f"{served.url}/approve", question) is False


# The load


def test_a_seeded_load_is_the_same_again_and_more_by_day() -> None:
    assert list(islice(seeded(1, T0), 50)) == list(islice(seeded(1, T0), 50))
    night = sum(1 for each in islice(seeded(1, T0), 5000) if each.at < T0 + timedelta(hours=1))
    noon = T0.replace(hour=15)
    day = sum(1 for each in islice(seeded(1, noon), 5000) if each.at < noon + timedelta(hours=1))
    assert day > 1.5 * night
    with pytest.raises(ValueError, match="more than 0"):
        next(seeded(1, T0, per_minute=0))


def test_a_recorded_trace_keeps_its_gaps_and_tokens(data: Path) -> None:
    first, second = islice(from_trace(data / "llm-inference-2023" / "code.csv", T0), 2)
    assert first == Request(T0, 4808, 10)
    assert second.at - first.at == timedelta(milliseconds=52)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "code.csv"),
        ("TIME,A,B\n", "TIMESTAMP"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nnever,1,2\n", ":2"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,many,2\n", ":2"),
    ],
)
def test_a_trace_that_is_none_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "code.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        list(from_trace(path, T0))
