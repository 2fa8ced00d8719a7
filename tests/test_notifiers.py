"""Every receiver: what an HTTP answer means, what is sent again, what hostile text never becomes, how large it is."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.notices import (
    ALERT,
    APP,
    CASES,
    HOSTILE,
    RULE,
    TARGET,
    TRAIL,
    acknowledged,
    acted,
    acted_late,
    blind,
    failed,
    fired,
    hostile,
    resolved,
)
from tocsin import notifiers
from tocsin.connections.http import Http
from tocsin.core.alert import Change
from tocsin.core.message import Fact, Kind, Notice, Said
from tocsin.core.notice import compose
from tocsin.local.accelerator import PLANTED
from tocsin.local.faults import Faults
from tocsin.local.pagerduty import PagerDutyStandIn, change_refusals, refusals
from tocsin.local.serve import Served
from tocsin.local.stories import leaked
from tocsin.local.teams import LIMIT, TeamsStandIn, refusal
from tocsin.local.webhooks import SECRET, WebhookStandIn
from tocsin.notifiers import pagerduty, plain, teams
from tocsin.notifiers.stdout import Stdout
from tocsin.ports import Notifier

NOW = datetime(2026, 11, 20, 3, 6, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef"
OVER_HTTP = ["teams", "pagerduty", "webhook"]


@dataclass
class Receivers:
    """Each receiver's notifier, its stand-in's faults, and how many messages the stand-in holds."""

    made: dict[str, Notifier]
    faults: dict[str, Faults]
    held: dict[str, Callable[[], int]]
    account: PagerDutyStandIn
    hooks: WebhookStandIn


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    channel, account, hooks = (kind(lambda: NOW) for kind in (TeamsStandIn, PagerDutyStandIn, WebhookStandIn))
    parts = {"/teams": channel, "/pagerduty": account, "/webhooks": hooks}
    http = Http(timeout=1.0)
    with Served(Starlette(routes=[Mount(path, routes=part.routes()) for path, part in parts.items()])) as served:
        settings = {
            "TEAMS": f"{served.url}/teams/workflows/x",
            "KEY": KEY,
            "URL": f"{served.url}/webhooks/hook",
            "SECRET": SECRET,
        }
        options = {
            "teams": {"url_setting": "TEAMS"},
            "pagerduty": {"key_setting": "KEY", "endpoint": f"{served.url}/pagerduty"},
            "webhook": {"url_setting": "URL", "secret_setting": "SECRET"},
        }
        yield Receivers(
            {kind: notifiers.make(kind, given, settings.__getitem__, http) for kind, given in options.items()},
            {"teams": channel.faults, "pagerduty": account.faults, "webhook": hooks.faults},
            {
                "teams": lambda: len(channel.cards),
                "pagerduty": lambda: len(account.received),
                "webhook": lambda: len(hooks.received),
            },
            account,
            hooks,
        )
        http.close()


def test_each_receiver_takes_every_kind_of_notice(receivers: Receivers) -> None:
    for kind in OVER_HTTP:
        for case in CASES.values():
            assert receivers.made[kind].deliver(case()).said is Said.ACCEPTED, (kind, case)


def test_the_options_of_every_type_are_known() -> None:
    every = ("alertmanager", "alertmanager_api", "email_acs", "email_smtp", "event_grid", "jira_service_management")
    assert notifiers.known() == (*every, "pagerduty", "slack", "stdout", "teams", "webhook")
    assert {kind: dict(notifiers.options(kind)) for kind in OVER_HTTP} == {
        "teams": {"url_setting": True},
        "pagerduty": {"key_setting": True, "endpoint": False},
        "webhook": {"url_setting": True, "secret_setting": True},
    }


# The contract: what an answer means


CONTRACT = [
    ("bad_request", {}, Said.REFUSED, None),
    ("unauthorized", {}, Said.REFUSED, None),
    ("forbidden", {}, Said.REFUSED, None),
    ("missing", {}, Said.REFUSED, None),
    ("conflict", {}, Said.REFUSED, None),
    ("throttled", {}, Said.AGAIN, None),
    ("throttled", {"retry_after": 30}, Said.AGAIN, timedelta(seconds=30)),
    ("throttled", {"retry_after": 999_999}, Said.AGAIN, timedelta(hours=1)),
    ("throttled", {"retry_after": "soon"}, Said.AGAIN, None),
    ("error", {}, Said.AGAIN, None),
    ("bad_gateway", {}, Said.AGAIN, None),
    ("unavailable", {"retry_after": 5}, Said.AGAIN, timedelta(seconds=5)),
    ("timeout", {}, Said.AGAIN, None),
    ("disconnect", {}, Said.AGAIN, None),
    ("slow", {"seconds": 2.5}, Said.AGAIN, None),
]


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize(("fault", "args", "said", "wait"), CONTRACT, ids=lambda value: str(value))
def test_what_an_answer_means(
    receivers: Receivers, kind: str, fault: str, args: dict[str, Any], said: Said, wait: timedelta | None
) -> None:
    receivers.faults[kind].add(fault, times=1, **args)
    outcome = receivers.made[kind].deliver(fired())
    assert (outcome.said, outcome.retry_after) == (said, wait)
    assert receivers.held[kind]() == (1 if fault == "slow" else 0)
    assert receivers.made[kind].deliver(fired()).said is Said.ACCEPTED


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_nobody_there_is_worth_another_try_and_names_no_address(kind: str) -> None:
    address = "http://127.0.0.1:1/very-secret"
    given = {"U": address, "K": KEY, "S": SECRET}
    options = {
        "teams": {"url_setting": "U"},
        "pagerduty": {"key_setting": "K", "endpoint": address},
        "webhook": {"url_setting": "U", "secret_setting": "S"},
    }[kind]
    made = notifiers.make(kind, options, given.__getitem__, Http(0.5))
    outcome = made.deliver(fired())
    assert outcome.said is Said.AGAIN
    assert "very-secret" not in outcome.detail + repr(made)
    assert KEY not in repr(made)


@pytest.mark.parametrize(
    ("kind", "options", "given", "words"),
    [
        ("teams", {"url_setting": "U"}, {"U": "http://hooks.example/x"}, "https"),
        ("teams", {"url_setting": "U"}, {"U": "https://user:pass@hooks.example/x"}, "not a URL"),
        ("pagerduty", {"key_setting": "K"}, {"K": "short"}, "routing key"),
        (
            "webhook",
            {"url_setting": "U", "secret_setting": "S"},
            {"U": "https://x.example", "S": "whsec_YQ=="},
            "24 to 64",
        ),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused_without_showing_it(
    kind: str, options: dict[str, str], given: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        notifiers.make(kind, options, given.__getitem__, Http())
    assert not any(value in str(raised.value) for value in given.values())


# Sent twice, told once


def test_the_same_notice_twice_is_one_incident_and_one_webhook(receivers: Receivers) -> None:
    for _ in range(3):
        receivers.made["pagerduty"].deliver(fired())
        receivers.made["webhook"].deliver(fired())
    assert len(receivers.account.incidents) == 1
    assert len(receivers.hooks.received) == 1


def test_an_incident_is_opened_added_to_and_closed_under_one_key(receivers: Receivers) -> None:
    for notice in (fired(), acted(), resolved()):
        receivers.made["pagerduty"].deliver(notice)
    (incident,) = receivers.account.incidents
    assert incident.key == ALERT.episode
    assert [event["event_action"] for event in incident.events] == ["trigger", "trigger", "resolve"]
    assert receivers.account.open() == []


def test_an_acknowledgement_acknowledges_the_incident_and_opens_none(receivers: Receivers) -> None:
    receivers.made["pagerduty"].deliver(acknowledged())
    assert receivers.account.incidents == []
    for notice in (fired(), acknowledged()):
        receivers.made["pagerduty"].deliver(notice)
    (incident,) = receivers.account.open()
    assert [event["event_action"] for event in incident.events] == ["trigger", "acknowledge"]


def test_a_failed_action_pages_again_and_ends_with_its_episode(receivers: Receivers) -> None:
    for notice in (fired(), failed()):
        receivers.made["pagerduty"].deliver(notice)
    assert len(receivers.account.open()) == 2
    receivers.made["pagerduty"].deliver(resolved())
    assert receivers.account.open() == []


def test_what_was_done_after_the_end_opens_no_incident(receivers: Receivers) -> None:
    receivers.made["pagerduty"].deliver(acted_late())
    assert receivers.account.incidents == []
    assert len(receivers.account.changes) == 1


def test_a_key_too_long_is_hashed_alike_for_firing_and_resolved() -> None:
    long = "x" * 300
    (key,) = pagerduty.dedup_keys(replace(fired(), episode=long))
    assert len(key) <= 255
    assert pagerduty.dedup_keys(replace(resolved(), episode=long))[0] == key


# Limits


def test_the_stand_ins_own_rules_accept_every_golden_payload() -> None:
    for case in CASES.values():
        assert refusal(json.dumps(teams.envelope(case())).encode()) == ""
        for path, body in pagerduty.events(case(), KEY):
            judge = change_refusals if "change" in path else refusals
            assert judge(json.dumps(body).encode()) == []


def notice(text: str) -> Notice:
    """Return a notice that holds ``text`` wherever telemetry or a rule's author can put it."""
    facts = tuple(Fact(text[:80] or "x", text) for _ in range(60))
    links = tuple((text[:50], f"https://ok.example/{n}") for n in range(9))
    made = replace(fired(), title=text, text=text, facts=facts, first_step=text, query=text, links=links)
    series = tuple((NOW + timedelta(seconds=7 * n), 1.7e308 * (-1) ** n / (n + 1)) for n in range(30))
    return replace(made, labels={"k": text}, provenance=text, series=series)


@pytest.mark.parametrize("kind", notifiers.known())
def test_the_demo_finds_what_leaks_into_a_message_of_any_receiver_though_addresses_are_unlinked(kind: str) -> None:
    for planted in PLANTED:
        assert planted in leaked(repr(notifiers.payload(kind, replace(fired(), title=planted))))
    assert leaked(repr(notifiers.payload(kind, fired()))) == []


@given(st.text(max_size=40), st.integers(1, 800))
@pytest.mark.slow
def test_a_card_stays_below_its_limit_whatever_it_holds(text: str, times: int) -> None:
    envelope = teams.envelope(notice((text * times)[:30_000]))
    assert teams.weight(envelope) <= teams.LIMIT
    assert len(json.dumps(envelope, ensure_ascii=False).encode("utf-8", "surrogatepass")) <= teams.LIMIT < LIMIT


@given(st.text(max_size=40), st.integers(1, 800))
def test_an_event_keeps_pagerdutys_limits_whatever_it_holds(text: str, times: int) -> None:
    for _, body in pagerduty.events(notice((text * times)[:30_000]), KEY):
        assert refusals(json.dumps(body).encode()) == []


def test_a_card_that_is_too_long_keeps_what_is_wrong_and_the_command() -> None:
    long = replace(hostile(), manual="tocsin killswitch engage sales-research", manual_does="By hand")
    text = json.dumps(teams.envelope(long), ensure_ascii=False)
    assert "P2 fired" in text
    assert "tocsin killswitch engage sales-research" in text


def test_the_chart_goes_before_anything_else_does() -> None:
    def shown(count: int) -> str:
        long = replace(fired(), facts=tuple(Fact(f"Fact {n}", "x" * 1_000) for n in range(count)))
        return json.dumps(teams.envelope(long), ensure_ascii=False)

    first = next(count for count in range(20) if "Chart.Line" not in shown(count))
    assert shown(first).count("x" * 1_000) == first > 5
    assert "▁▃▂▅▇█ 5.2% → 8.3% (limit 5%)" in shown(first)


# The course of the value


def test_a_chart_shows_the_value_and_its_limit_and_has_a_line_for_those_who_cannot_draw_it() -> None:
    (chart,) = (part for part in body(fired()) if part["type"] == "Chart.Line")
    value, limit = chart["data"]
    assert [(point["x"], point["y"]) for point in value["values"]] == [
        (-5, 5.2),
        (-4, 6.0),
        (-3, 5.8),
        (-2, 7.1),
        (-1, 7.9),
        (0, 8.3),
    ]
    assert [(point["x"], point["y"]) for point in limit["values"]] == [(-5, 5), (0, 5)]
    assert (chart["xAxisTitle"], chart["yAxisTitle"]) == ("minutes; 0 is 03:05 UTC", "%")
    assert words(chart["fallback"]) == "▁▃▂▅▇█ 5.2% → 8.3% (limit 5%)"


@pytest.mark.parametrize("count", range(5))
def test_less_than_three_values_are_no_course(count: int) -> None:
    made = replace(fired(), series=TRAIL[:count])
    assert any(part["type"] == "Chart.Line" for part in body(made)) == (count >= 3)
    assert bool(plain.trend(made)) == (count >= 3)
    assert ("Trend" in dict(plain.details(made))) == (count >= 3)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=30))
@example([1.7e308, -1.7e308, 0.0])
def test_any_finite_values_have_a_course(values: list[float]) -> None:
    series = tuple((NOW + timedelta(minutes=n), value) for n, value in enumerate(values))
    made = replace(fired(), series=series)
    bars = plain.trend(made).split(" ")[0]
    assert len(bars) == len(values)
    assert set(bars) <= set("▁▂▃▄▅▆▇█")
    if max(values) > min(values):
        assert bars[values.index(max(values))] == "█"
        assert bars[values.index(min(values))] == "▁"
    (chart,) = (part for part in body(made) if part["type"] == "Chart.Line")
    assert all(math.isfinite(point["y"]) for line in chart["data"] for point in line["values"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0.01, 0.05, 0.12), "1% → 12%"),
        ((0.01, 0.12, 0.02), "1% → 12% → 2%"),
        ((0.9, 0.2, 0.95), "90% → 20% → 95%"),
        ((0.01, 0.12, 0.118), "1% → 11.8%"),
        ((0.05, 0.05, 0.05), "5% → 5%"),
    ],
)
def test_a_course_names_its_ends_and_how_far_it_went_between(values: tuple[float, ...], said: str) -> None:
    series = tuple((NOW + timedelta(minutes=n), value) for n, value in enumerate(values))
    assert plain.trend(replace(fired(), series=series, threshold=None)).split(" ", 1)[1] == said


def test_a_rule_without_a_limit_has_one_line() -> None:
    (chart,) = (part for part in body(replace(fired(), threshold=None)) if part["type"] == "Chart.Line")
    assert [line["legend"] for line in chart["data"]] == ["value"]
    assert "limit" not in words(chart["fallback"])


# The order of a glance


def body(made: Notice) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = teams.envelope(made)["attachments"][0]["content"]["body"]
    return found


def words(part: dict[str, Any]) -> str:
    return "".join(run["text"] for run in part.get("inlines", ())) or part["type"]


def test_a_card_says_things_in_the_order_of_a_glance() -> None:
    shown = [words(part).split(": ")[0] for part in body(fired())]
    title, text = fired().title, fired().text.split(": ")[0]
    about = ["P1 fired", title, "Chart.Line", "Why", "Value", "For", "Target", "Tocsin", "Killswitch", text]
    last = ["Stop its tools by hand", "ActionSet", fired().provenance]
    assert shown == [*about, "Open the runbook", *last]


def test_what_was_done_says_first_what_it_was_done_for() -> None:
    shown = [words(part).split(": ")[0] for part in body(acted())]
    assert shown[2:6] == ["Chart.Line", "State", "Alert", "For"]
    assert shown.index("Target") < shown.index("Action") < shown.index("Killswitch") < shown.index("Undo")
    assert facts(acted())["Alert"] == fired().title
    assert facts(acted())["For"] == "11m, since 2026-11-20 03:05 UTC"


def test_every_message_names_the_state_of_the_killswitch() -> None:
    for case in CASES.values():
        assert any(words(part).startswith("Killswitch: ") for part in body(case())), case


def test_a_resolution_says_that_the_killswitch_is_still_on_and_how_it_is_released() -> None:
    said = facts(resolved())["Killswitch"]
    assert said.startswith("KILLSWITCH_TOOLS engaged, and stays so until a person releases it: ")
    assert "tocsin killswitch release --target sales-research --scope tools --reason" in said
    off = compose(ALERT, Change.RESOLVED, Kind.RESOLVED, RULE, TARGET, None, will="", app=APP)
    assert facts(off)["Killswitch"] == "not engaged"


# Hostile text


PIECES = (
    "https://evil.example/x [a](https://evil.example) <at>all</at> @channel www.evil.com evil.com/x mailto:a@b.c "
    "javascript:x() <script> **b** \u202e \0 &lt; ht\u200btps://e.io tel:112 <!channel> ![i](http://e.io/i.png) "
    "{value} |a| #h hxxp://e.io data:text/html,x \n"
)
ATTACKS = st.lists(st.sampled_from([*PIECES.split(" "), " "]), min_size=1, max_size=12).map("".join)


def texts(part: Any) -> Iterator[str]:
    """Yield every text of a payload that a person reads."""
    if isinstance(part, str):
        yield part
    for key, each in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if key not in ("url", "href", "type", "contentType"):
            yield from texts(each)


LINK = re.compile(r"(?i)\b(https?|ftp|mailto|javascript|tel|data):\S|\bwww\.\w|\w\.(com|io)\b")


@given(ATTACKS)
def test_no_text_of_an_attackers_is_a_link_a_mention_or_markup(text: str) -> None:
    evil = replace(fired(), title=text, text=text, facts=(Fact("Host", text),), first_step=text, links=(), query="")
    evil = replace(evil, manual="", provenance="", labels={})
    for shown in texts(teams.envelope(evil)["attachments"][0]["content"]["body"]):
        assert not LINK.search(shown), shown
        assert not set("<>@\u202e\0\n") & set(shown)
    for _, body in pagerduty.events(evil, KEY):
        for shown in texts(body["payload"]):
            assert not LINK.search(shown), shown
            assert not set("\u202e\0\n") & set(shown)


def test_a_card_holds_no_element_that_reads_markdown() -> None:
    kinds = set(re.findall(r'"type": "(\w+(?:\.\w+)?)"', json.dumps(teams.envelope(hostile()))))
    ours = {"message", "AdaptiveCard", "RichTextBlock", "TextRun", "ActionSet", "Action.OpenUrl"}
    assert kinds <= ours | {"Chart.Line", "LineChartData", "LineChartValue"}


def test_only_https_becomes_a_link() -> None:
    bad = (
        ("a", "http://x.example"),
        ("b", "javascript:alert(1)"),
        ("c", "https://x.example/\u202e"),
        ("d", "https://x y"),
    )
    good = (("ok", "https://x.example/?q=1#2"),)
    assert plain.links(replace(fired(), links=(*bad, *good))) == [*good]


def test_telemetry_cannot_fill_a_placeholder_of_the_rule() -> None:
    alert = replace(ALERT, detail="{target} {secret} {{7*7}}", value=0.083)
    made = compose(alert, Change.FIRED, Kind.FIRED, RULE, TARGET, None, will="", app=APP)
    assert any("{target} {secret} {{7*7}}" in fact.value for fact in made.facts)


def test_standard_output_is_one_line_of_ascii_a_notice() -> None:
    stream = io.StringIO()
    assert Stdout(stream).deliver(hostile()).said is Said.ACCEPTED
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written.isascii()
    assert json.loads(written)["data"]["rule"] == "model_calls_fail"
    stream.close()
    assert Stdout(stream).deliver(fired()).said is Said.AGAIN


def test_the_hostile_example_is_hostile() -> None:
    assert LINK.search(HOSTILE)
    assert len(json.dumps(plain.document(hostile()))) > 20_000 or "evil" in json.dumps(plain.document(hostile()))


# What a message says


def facts(made: Notice) -> dict[str, str]:
    return {fact.name: fact.value for fact in made.facts}


def test_a_page_says_what_is_wrong_by_how_much_where_and_what_will_be_done() -> None:
    made = fired()
    assert made.title == "8.3% of the responses on sales-research fail (limit 5%)."
    assert made.severity.value == "P1"
    said = json.dumps(facts(made))
    for words in ("sales-research", "stop_unsafe_tools"):
        assert words in said + made.text + made.title
    assert made.first_step or made.text
    assert "rules/high_error_rate.yaml" in made.provenance
    assert dict(made.links)["Runbook"] == "https://runbooks.example/high-error-rate"
    assert "KILLSWITCH_TOOLS=on" in made.manual


def test_a_blind_note_asks_nobody_to_look_at_the_system() -> None:
    made = blind()
    assert made.kind is Kind.BLIND
    assert made.title.startswith("Blind: ")


def test_what_was_done_says_how_it_is_taken_back() -> None:
    assert "KILLSWITCH_TOOLS=off" in acted().manual
    assert "no permission" in json.dumps(facts(failed()))
