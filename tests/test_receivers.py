"""The receivers that take JSON over HTTP besides Teams, PagerDuty and webhooks: contract, limits, hostile text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.notices import CASES, acknowledged, acted, acted_late, blind, failed, fired, hostile, resolved
from tests.test_notifiers import ATTACKS, CONTRACT, LINK, notice, texts
from tocsin import notifiers
from tocsin.connections.http import Http
from tocsin.core.message import Fact, Notice, Said
from tocsin.local.inbox import Inbox, Taken
from tocsin.local.judges import GENIE_KEY, JUDGES, KEY
from tocsin.local.serve import Served
from tocsin.notifiers import alertmanager, alertmanager_api, email_acs, event_grid, jira_service_management, mail, slack
from tocsin.ports import Notifier

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 20, 3, 6, tzinfo=UTC)
MAIL = ("tocsin@mail.example", ("oncall@ops.example",))
KINDS = sorted(JUDGES)

OPTIONS: dict[str, dict[str, str]] = {
    "slack": {"url_setting": "URL"},
    "email_acs": {"connection_setting": "CONNECTION", "sender": MAIL[0], "to": MAIL[1][0]},
    "alertmanager": {"url_setting": "URL", "authorization_setting": "BEARER"},
    "alertmanager_api": {"url_setting": "URL"},
    "jira_service_management": {"key_setting": "GENIE", "endpoint": "{address}"},
    "event_grid": {"endpoint": "{address}", "key_setting": "KEY"},
}
BODIES: dict[str, Callable[[Notice], list[tuple[str, Any]]]] = {
    "slack": lambda each: [("/x", slack.message(each))],
    "email_acs": lambda each: [(email_acs.PATH, email_acs.request(each, *MAIL))],
    "alertmanager": lambda each: [("/x", alertmanager.webhook(each))],
    "alertmanager_api": lambda each: [(alertmanager_api.PATH, alertmanager_api.alerts(each))],
    "jira_service_management": jira_service_management.requests,
    "event_grid": lambda each: [("/x?api-version=2018-01-01", event_grid.payload(each))],
}
"""Type of receiver → the requests a notice makes: path and body."""


def made(kind: str, address: str, http: Http) -> Notifier:
    """Return the notifier of a type that talks to ``address``."""
    given = {"URL": address, "KEY": KEY, "GENIE": GENIE_KEY, "BEARER": "Bearer very-secret-token"}
    given["CONNECTION"] = f"endpoint={address}/;accesskey={KEY}"
    options = {name: value.format(address=address) for name, value in OPTIONS[kind].items()}
    return notifiers.make(kind, options, given.__getitem__, http)


@dataclass
class One:
    """One receiver: its notifier and its stand-in."""

    notifier: Notifier
    inbox: Inbox


@pytest.fixture(params=KINDS)
def one(request: pytest.FixtureRequest) -> Iterator[One]:
    with standing_in(request.param) as found:
        yield found


class standing_in:  # noqa: N801
    """Serves a receiver's stand-in for as long as the block lasts."""

    def __init__(self, kind: str) -> None:
        judge, status = JUDGES[kind]
        self.kind, self.inbox, self.http = kind, Inbox(lambda: NOW, judge, status), Http(timeout=1.0)
        self.served = Served(Starlette(routes=self.inbox.routes()))

    def __enter__(self) -> One:
        self.served.start()
        return One(made(self.kind, self.served.url, self.http), self.inbox)

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.served.stop()


# The contract


def test_it_takes_every_kind_of_notice(one: One) -> None:
    for name, case in CASES.items():
        outcome = one.notifier.deliver(case())
        assert outcome.said is Said.ACCEPTED, (name, outcome)


@pytest.mark.parametrize(("fault", "args", "said", "wait"), CONTRACT, ids=lambda value: str(value))
def test_what_an_answer_means(one: One, fault: str, args: dict[str, Any], said: Said, wait: timedelta | None) -> None:
    # A repeated request that the mail service still works on is answered with 409; asked again, it says more.
    if fault == "conflict" and isinstance(one.notifier, email_acs.Acs):
        said = Said.AGAIN
    # What it refuses is sent once more without its picture.
    if fault == "bad_request" and isinstance(one.notifier, email_acs.Acs):
        one.inbox.faults.add(fault, times=1)
    one.inbox.faults.add(fault, times=1, **args)
    outcome = one.notifier.deliver(fired())
    assert (outcome.said, outcome.retry_after) == (said, wait)
    assert len(one.inbox.received) == (1 if fault == "slow" else 0)
    assert one.notifier.deliver(fired()).said is Said.ACCEPTED


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there_is_worth_another_try_and_nothing_shows_a_secret(kind: str) -> None:
    address = "http://127.0.0.1:1" if kind == "email_acs" else "http://127.0.0.1:1/very-secret"
    notifier = made(kind, address, Http(0.5))
    outcome = notifier.deliver(fired())
    assert outcome.said is Said.AGAIN
    shown = outcome.detail + repr(notifier) + str(notifier)
    assert not [each for each in ("very-secret", KEY, GENIE_KEY, "127.0.0.1") if each in shown]


def test_a_server_that_repeats_the_secrets_does_not_get_them_shown() -> None:
    for kind in KINDS:
        echo = Inbox(lambda: NOW, lambda made: f"{made.headers} {made.path} {made.raw!r}")
        with Served(Starlette(routes=[Mount("/very-secret", routes=echo.routes()), *echo.routes()])) as served:
            path = "" if kind == "email_acs" else "/very-secret"
            outcome = made(kind, served.url + path, Http(1.0)).deliver(fired())
        assert outcome.said is Said.REFUSED
        assert not [each for each in ("very-secret", KEY, GENIE_KEY) if each in outcome.detail], kind


@pytest.mark.parametrize(
    ("kind", "change", "given", "words"),
    [
        ("slack", {}, {"URL": "http://hooks.example/x"}, "https"),
        ("email_acs", {}, {"CONNECTION": "endpoint=http://x.example/;accesskey=YQ=="}, "endpoint=https"),
        ("email_acs", {}, {"CONNECTION": "endpoint=https://x.example/;accesskey=%%%"}, "endpoint=https"),
        ("email_acs", {}, {"CONNECTION": "nothing of the kind"}, "endpoint=https"),
        (
            "email_acs",
            {"to": "a@b.example\nBcc: c@d.example"},
            {"CONNECTION": "endpoint=https://x.example;accesskey=YQ=="},
            "e-mail",
        ),
        (
            "email_acs",
            {"sender": "a@b.example,c@d.example"},
            {"CONNECTION": "endpoint=https://x.example;accesskey=YQ=="},
            "sender",
        ),
        ("alertmanager", {}, {"URL": "https://ok.example", "BEARER": "Bearer a\nb"}, "one line"),
        ("jira_service_management", {"endpoint": "https://ok.example"}, {"GENIE": "no key\r\n"}, "API key"),
        ("jira_service_management", {"endpoint": "http://x.example"}, {"GENIE": GENIE_KEY}, "https"),
        ("event_grid", {"endpoint": "https://ok.example/api/events"}, {"KEY": "not\nprintable"}, "access keys"),
    ],
)
def test_what_cannot_be_right_is_refused_without_showing_it(
    kind: str, change: dict[str, str], given: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        notifiers.make(kind, {**OPTIONS[kind], **change}, given.__getitem__, Http())
    assert not any(value in str(raised.value) for value in given.values())


# What each makes of an episode


def test_an_alert_of_jiras_is_opened_added_to_and_closed_under_one_alias() -> None:
    with standing_in("jira_service_management") as one:
        for each in (fired(), blind(), acted(), resolved()):
            one.notifier.deliver(each)
    opened = [taken.body for taken in one.inbox.received if taken.path == "/v2/alerts"]
    (alias,) = {body["alias"] for body in opened}
    actions = [taken.path for taken in one.inbox.received if alias in taken.path]
    assert [re.sub(r".*/(\w+)\?.*", r"\1", path) for path in actions] == ["notes", "notes", "close"]


def test_an_acknowledgement_acknowledges_jiras_alert_and_needs_none_to_be_open() -> None:
    with standing_in("jira_service_management") as one:
        one.notifier.deliver(acknowledged())
        (taken,) = one.inbox.received
        assert re.sub(r".*/(\w+)\?.*", r"\1", taken.path) == "acknowledge"
        assert "kim has taken this on" in taken.body["note"]
        one.inbox.faults.add("missing", times=1)
        assert one.notifier.deliver(acknowledged()).said is Said.ACCEPTED


def test_a_link_that_does_something_is_no_place_where_a_value_is_seen() -> None:
    only = replace(fired(), links=(("Acknowledge for 4h", "https://tocsin.example/api/link?token=x"),))
    assert "generatorURL" not in alertmanager_api.alerts(only)[0]
    assert (
        alertmanager_api.alerts(replace(only, links=(*only.links, *fired().links)))[0]["generatorURL"]
        == (alertmanager_api.alerts(fired())[0]["generatorURL"])
    )


def test_a_failed_action_is_an_alert_of_jiras_own_and_is_closed_with_its_episode() -> None:
    (path, body), *more = jira_service_management.requests(failed())
    assert (path, more) == ("/v2/alerts", [])
    assert f"/v2/alerts/{body['alias']}/close?identifierType=alias" in dict(
        jira_service_management.requests(resolved())
    )
    assert [path.split("?")[0][-6:] for path, _ in jira_service_management.requests(acted_late())] == ["/notes"]


def test_closing_what_jira_does_not_know_is_no_failure() -> None:
    with standing_in("jira_service_management") as one:
        one.inbox.faults.add("missing", times=2)
        assert one.notifier.deliver(resolved()).said is Said.ACCEPTED
        one.inbox.faults.add("missing", times=1)
        assert one.notifier.deliver(fired()).said is Said.REFUSED


def test_alertmanager_ends_the_very_alerts_that_it_was_given() -> None:
    def labelled(each: Notice) -> list[dict[str, str]]:
        return [alert["labels"] for alert in alertmanager_api.alerts(each)]

    assert labelled(fired()) == labelled(blind())
    assert labelled(resolved()) == [*labelled(fired()), *labelled(failed())]
    began, ended = alertmanager_api.alerts(fired())[0], alertmanager_api.alerts(resolved())[0]
    assert began["startsAt"] == ended["startsAt"] < ended["endsAt"] < began["endsAt"]
    assert alertmanager_api.alerts(acted())[0]["labels"] not in (labelled(fired()) + labelled(failed()))


def test_a_webhook_of_alertmanagers_keeps_its_fingerprint() -> None:
    prints = [
        [each["fingerprint"] for each in alertmanager.webhook(case())["alerts"]] for case in (fired, acted, failed)
    ]
    assert prints[0] == prints[1] != prints[2]
    ended = alertmanager.webhook(resolved())
    assert [each["fingerprint"] for each in ended["alerts"]] == prints[0] + prints[2]
    assert (ended["status"], alertmanager.webhook(acted_late())["status"]) == ("resolved", "resolved")


def test_the_authorization_header_is_sent_where_one_is_set() -> None:
    with standing_in("alertmanager") as one:
        one.notifier.deliver(fired())
    assert one.inbox.received[0].headers["authorization"] == "Bearer very-secret-token"


def test_an_event_has_the_same_id_at_every_attempt() -> None:
    assert event_grid.event(fired())["id"] == fired().id != resolved().id
    assert event_grid.event(failed())["type"] == "tocsin.alert.action_failed"


def test_what_is_published_is_what_render_shows() -> None:
    with standing_in("event_grid") as one:
        one.notifier.deliver(fired())
    (taken,) = one.inbox.received
    assert taken.body == event_grid.payload(fired())
    assert (taken.path, taken.headers["aeg-sas-key"]) == ("/?api-version=2018-01-01", KEY)


def test_what_is_wrong_comes_before_where_before_what_was_done_before_what_to_do() -> None:
    said = mail.mail(fired(), MAIL[0]).text
    order = ["P1 fired", "8.3% of", "Value:", "For:", "Target:", "Tocsin:", "Killswitch:", "First:", "az ", "https://"]
    places = [said.index(words) for words in order] + [said.index("rules/high_error_rate.yaml")]
    assert places == sorted(places)


# The mail service


def test_the_signature_is_that_of_microsofts_own_library() -> None:
    """The expected value is what azure-communication-email 1.1.0 makes of the same request."""
    at = datetime(2026, 11, 20, 3, 6, tzinfo=UTC)
    key = "a2V5IG9mIHRoZSBsb2NhbCB3b3JsZCwgMzIgYnl0ZXM="
    headers = email_acs.signed("https://contoso.communication.azure.com", b'{"a":"b"}', key, at)
    assert headers["x-ms-content-sha256"] == "20p+yxFLxmxiOgbE/2/o2qL0nMJw6796H4HiKrBhyDc="
    assert headers["authorization"].endswith("&Signature=t9jbvDrZtUO8tZW8c3l2FWrTrNlCuqeld3YlOiH6H8M=")


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(hours=2)))
def test_an_attempt_soon_after_is_the_same_request_and_never_an_old_one(late: timedelta) -> None:
    now = fired().at + late
    headers = email_acs.repeatable(fired(), now)
    sent = datetime.strptime(headers["Repeatability-First-Sent"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert timedelta() <= now - sent < timedelta(minutes=4, seconds=1)
    assert email_acs.repeatable(fired(), sent) == headers
    assert email_acs.repeatable(resolved(), now)["Operation-Id"] != headers["Operation-Id"]


@pytest.mark.parametrize("fault", ["bad_request", "too_large"])
def test_a_mail_refused_with_its_picture_is_sent_without_as_another_request(fault: str) -> None:
    with standing_in("email_acs") as one:
        one.inbox.faults.add(fault, times=1)
        assert one.notifier.deliver(fired()).said is Said.ACCEPTED
        assert one.notifier.deliver(fired()).said is Said.ACCEPTED
        words, whole = one.inbox.received
    assert "attachments" not in words.body
    assert "<img" not in words.body["content"]["html"]
    assert words.body["content"]["plainText"] == whole.body["content"]["plainText"]
    assert words.body["headers"] == whole.body["headers"]
    assert words.headers["repeatability-request-id"] != whole.headers["repeatability-request-id"]
    assert whole.body["attachments"][0]["contentId"] in whole.body["content"]["html"]


def test_a_mail_without_a_picture_is_refused_once() -> None:
    with standing_in("email_acs") as one:
        one.inbox.faults.add("bad_request", times=1)
        assert one.notifier.deliver(replace(fired(), series=())).said is Said.REFUSED
        assert one.inbox.received == []


# Limits


def problems(kind: str, each: Notice) -> list[str]:
    """Return what the stand-in has against the requests a notice makes; what is about who asks, it is told."""
    found = []
    for path, body in BODIES[kind](each):
        raw = json.dumps(body).encode()
        headers = {"authorization": f"GenieKey {GENIE_KEY}", "aeg-sas-key": KEY}
        headers["content-type"] = "application/cloudevents-batch+json"
        if kind == "email_acs":
            headers = {"host": "x.example", **email_acs.signed("https://x.example", raw, KEY, NOW)}
            headers |= {name.lower(): value for name, value in email_acs.repeatable(each, NOW).items()}
        found.append(JUDGES[kind][0](Taken(path, headers, raw)))
    return [problem for problem in found if problem]


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=40), times=st.integers(1, 800))
def test_it_keeps_the_receivers_limits_whatever_it_holds(kind: str, text: str, times: int) -> None:
    assert problems(kind, notice((text * times)[:30_000])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_stand_ins_own_rules_accept_every_golden_payload(kind: str) -> None:
    assert [problem for case in CASES.values() for problem in problems(kind, case())] == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_long_keeps_how_bad_it_is_and_the_command(kind: str) -> None:
    long = replace(hostile(), manual="tocsin killswitch engage sales-research", manual_does="By hand")
    text = json.dumps([body for _, body in BODIES[kind](long)], ensure_ascii=False)
    assert "P2" in text
    assert "fired" in text
    assert "tocsin killswitch engage sales-research" in text


# Hostile text


def evil(text: str) -> Notice:
    """Return a notice without links and commands of its own, in which everything else is an attacker's."""
    made = replace(fired(), title=text, text=text, facts=(Fact("Host", text), Fact(text, "x")), first_step=text)
    return replace(made, links=(), query="", manual="", provenance=text, labels={"host": text, text: "x"})


def harmless(shown: str) -> bool:
    return not LINK.search(shown) and not set("<>@\u202e\0") & set(shown)


@given(ATTACKS)
def test_nothing_of_an_attackers_is_a_link_or_a_mention_for_alertmanager_and_jira(text: str) -> None:
    for shown in [*texts(alertmanager.webhook(evil(text))), *texts(alertmanager_api.alerts(evil(text)))]:
        assert harmless(shown), shown
    for _, body in jira_service_management.requests(evil(text)):
        for shown in texts({**body, "alias": ""}):
            assert harmless(shown), shown


SLACKS_OWN = "* _ ~ ` ``` & &lt; > | < ! # :fire: :+1: <@U1> <#C1> <!here> <!date^1^x|y>"
SLACK_ATTACKS = st.lists(
    st.one_of(ATTACKS, st.sampled_from(SLACKS_OWN.split(" "))),
    max_size=12,
).map(" ".join) | st.text(alphabet="*_~`&<>|:!@#ab 1-+'\n", max_size=60)


@given(SLACK_ATTACKS)
def test_nothing_of_an_attackers_is_markup_for_slack(text: str) -> None:
    message = slack.message(evil(text))
    assert [block["type"] for block in message["blocks"][:1]] == ["header"]
    for block in message["blocks"][1:]:
        assert block["text"]["verbatim"] is True
        for line in block["text"]["text"].split("\n"):
            # Our own bold: a name at the beginning, or the title.
            shown = re.sub(r"^\*([^*]*)\*", r"\1", line)
            assert harmless(shown), shown
            assert not set("*~`|") & set(shown), shown
            assert not re.search(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:[\w+'-]+:|&(?!amp;)", shown), shown


def test_slack_shows_a_command_as_it_is_and_a_link_as_a_link() -> None:
    given = replace(fired(), manual="a && b <c>", links=(("Run|book>", "https://x.example/?a=1&b=<2|3>"),))
    shown = json.dumps(slack.message(given), ensure_ascii=False)
    assert "```a &amp;&amp; b &lt;c&gt;```" in shown
    assert "<https://x.example/?a=1&amp;b=%3C2%7C3%3E|Run¦book›>" in shown
    fenced = json.dumps(slack.message(replace(given, manual="a ``` b")), ensure_ascii=False)
    assert "a ``` b" not in fenced


class Reader(HTMLParser):
    """Collects what a mail program would show, and with which tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[tuple[str, tuple[str, ...]]] = set()
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


@given(ATTACKS)
def test_nothing_of_an_attackers_is_markup_in_a_mail(text: str) -> None:
    written, reader = mail.mail(evil(text), MAIL[0]), Reader()
    reader.feed(written.html)
    image = ("img", ("src", "alt", "width", "height", "style"))
    assert reader.tags <= {image, *((tag, ()) for tag in ("html", "body", "p", "b", "h2", "small"))}
    for shown in ["".join(reader.shown), written.text, written.subject]:
        assert harmless(shown), shown
    assert "\n" not in written.subject


def test_a_mail_links_only_what_the_notice_links() -> None:
    given = replace(fired(), links=(("Run<b>", 'https://x.example/"onclick="a()'), ("bad", "http://x.example")))
    html = mail.mail(given, MAIL[0]).html
    assert re.findall(r'<a href="([^"]*)"', html) == ["https://x.example/&quot;onclick=&quot;a()"]
    assert "<b>Run" not in html
