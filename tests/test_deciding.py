"""The pages on which a signed-in person decides: who sees what, what a press does, and what it never does."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from starlette.applications import Starlette

from tests.acted import Bench, policy
from tests.notices import HOSTILE
from tests.stage import MINUTE, SWITCH, T0
from tests.test_links import Tags
from tocsin.app import App
from tocsin.cli import picturing
from tocsin.core.ack import Used
from tocsin.core.alert import State, Verdict
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import App as ContainerApp
from tocsin.core.remedy import Phase
from tocsin.engine.notifying import Courier
from tocsin.engine.releasing import Gate
from tocsin.engine.telling import Teller
from tocsin.links import answer
from tocsin.local.serve import Served
from tocsin.local.sign_in import SignInStandIn
from tocsin.ports import Store, StoreUnavailable
from tocsin.signing_in import Approvers, approvers, signed_in
from tocsin.stores.sqlite import SqliteStore
from tocsin.tokens import Claim, Does, Signed
from tocsin.webhook import Answer

SECRET = "a secret of the tests, 32 letters"
SIGNED = Signed(SECRET, "https://tocsin.example/")
ENTRA = {"X-MS-CLIENT-PRINCIPAL-IDP": "aad", "Sec-Fetch-Site": "same-origin"}
KIM = {"X-MS-CLIENT-PRINCIPAL-NAME": "kim@contoso.example", "X-MS-CLIENT-PRINCIPAL-ID": "0-kim"} | ENTRA
LEE = {"X-MS-CLIENT-PRINCIPAL-NAME": "lee@contoso.example", "X-MS-CLIENT-PRINCIPAL-ID": "0-lee"} | ENTRA
MAY = approvers({"WEBSITE_AUTH_ENABLED": "True"}, " Kim@Contoso.example , 0-ada")
APPROVE, RELEASE = "Approve or decline", "Release the killswitch"


@dataclass
class Hand:
    """A clock that is set by hand."""

    at: datetime = T0

    def now(self) -> datetime:
        return self.at


@dataclass
class Desk:
    """A bench whose store is a file, the app that answers its links, and what people were told."""

    path: Path
    mode: str = "ask"
    signed: Signed = SIGNED
    clock: Hand = field(default_factory=Hand)
    may: Approvers = MAY

    def __post_init__(self) -> None:
        self.bench = Bench(policy(mode=self.mode), store=SqliteStore(self.path))

    @property
    def store(self) -> Store:
        return self.bench.inner

    @property
    def app(self) -> App:
        return App(replace(self.bench.engine, links=self.signed), self.clock, (), self.signed, approvers=self.may)

    def act(self, minute: float, *alerts: Any) -> None:
        self.clock.at = T0 + minute * MINUTE
        self.bench.act(minute, *alerts)
        notifiers: dict[str, Any] = {"oncall": self.bench.oncall, "team": self.bench.team}
        Teller(self.bench.project, self.store, notifiers, self.bench.log, self.signed).tell(self.clock.at)
        Courier(self.store, notifiers, self.bench.project.config, self.bench.log).deliver(self.clock.at)

    def link(self, name: str = APPROVE, nth: int = -1) -> str:
        urls = [url for notice in self.bench.oncall.got for each, url in notice.links if each == name]
        return parse_qs(urlsplit(urls[nth]).query)["token"][0]

    def get(self, token: str, headers: Mapping[str, str] = KIM, app: App | None = None) -> Answer:
        return answer("GET", {"token": token}, b"", app or self.app, headers)

    def post(self, token: str, press: str, headers: Mapping[str, str] = KIM, app: App | None = None) -> Answer:
        return answer("POST", {}, urlencode({"token": token, "press": press}).encode(), app or self.app, headers)

    def dump(self) -> list[str]:
        with sqlite3.connect(self.path) as db:
            return list(db.iterdump())

    def actors(self) -> list[tuple[str, str]]:
        return [(each["actor"], each["event"]) for each in self.store.audit()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path / "state.sqlite")
    found.act(0)
    return found


# Who


@pytest.mark.parametrize(
    "headers", [{}, {"X-MS-CLIENT-PRINCIPAL-NAME": "kim@contoso.example"}, {"X-MS-CLIENT-PRINCIPAL-ID": " "}]
)
def test_nobody_who_is_not_signed_in_sees_the_plan_or_decides(desk: Desk, headers: dict[str, str]) -> None:
    before = desk.dump()
    for page in (desk.get(desk.link(), headers), desk.post(desk.link(), "approve", headers)):
        assert page.status == 401
        assert "first.do" not in page.body
        assert "in_order" not in page.body
        assert 'href="/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Flink%3Ftoken%3D' in page.body
    assert desk.dump() == before


@pytest.mark.parametrize("values", [{}, {"WEBSITE_AUTH_ENABLED": "False"}, {"WEBSITE_AUTH_ENABLED": ""}])
def test_where_the_platform_does_not_vouch_for_headers_nobody_is_signed_in(desk: Desk, values: dict[str, str]) -> None:
    desk.may = approvers(values, "*")
    assert desk.get(desk.link()).status == desk.post(desk.link(), "approve").status == 401
    assert signed_in(KIM, desk.may) is None


@pytest.mark.parametrize("listed", [None, "", "lee@contoso.example", "kim", ","])
def test_who_is_not_listed_may_not_decide(desk: Desk, listed: str | None) -> None:
    desk.may, before = approvers({"WEBSITE_AUTH_ENABLED": "true"}, listed), desk.dump()
    for page in (desk.get(desk.link()), desk.post(desk.link(), "approve"), desk.post(desk.link(), "decline")):
        assert (page.status, "first.do" in page.body) == (403, False)
    assert desk.dump() == before


@pytest.mark.parametrize("listed", ["*", "0-KIM", "a, kim@contoso.example"])
def test_who_is_listed_by_name_or_id_or_with_everybody_may(desk: Desk, listed: str) -> None:
    desk.may = approvers({"WEBSITE_AUTH_ENABLED": "true"}, listed)
    page = desk.get(desk.link())
    assert page.status == 200
    for words in ("first.do", "then second.do", "first is pulled on sales", "first.undo", "the global switch"):
        assert words in page.body or words == "the global switch", words


def test_opening_every_link_of_every_message_changes_nothing(desk: Desk) -> None:
    before = desk.dump()
    urls = {url for notice in desk.bench.oncall.got for _, url in notice.links if url.startswith(SIGNED.base)}
    assert len(urls) == 1
    for url in urls:
        for headers in ({}, KIM, LEE):
            assert desk.get(parse_qs(urlsplit(url).query)["token"][0], headers).status in (200, 401, 403, 410)
    assert desk.dump() == before


# What a press does


def test_an_approval_is_acted_on_by_the_next_tick_and_the_audit_names_the_person(desk: Desk) -> None:
    page = desk.post(desk.link(), "approve")
    assert (page.status, "Approved" in page.body) == (200, True)
    assert desk.bench.done == {}
    desk.act(1)
    assert desk.bench.done == {"first": True}
    assert ("person kim@contoso.example", "consented") in desk.actors()


def test_a_no_holds_for_this_episode_and_is_told(desk: Desk) -> None:
    assert desk.post(desk.link(), "decline").status == 200
    for minute in range(1, 5):
        desk.act(minute)
    assert desk.bench.done == {}
    assert desk.bench.execution.phase is Phase.DECLINED
    assert any(each.title.startswith("Declined by a person") for each in desk.bench.oncall.got)
    assert desk.post(desk.link(), "approve").status == 410


@pytest.mark.parametrize("press", ["", "release", "Approve", "silence"])
def test_another_button_than_the_two_does_nothing(desk: Desk, press: str) -> None:
    before = desk.dump()
    assert desk.post(desk.link(), press).status == 200
    assert desk.dump() == before


def test_a_link_works_once(desk: Desk) -> None:
    link = desk.link()
    assert desk.post(link, "approve").status == 200
    for page in (desk.post(link, "approve"), desk.post(link, "decline"), desk.get(link)):
        assert (page.status, "used" in page.body) == (410, True)
    assert desk.actors().count(("person kim@contoso.example", "consented")) == 1


def test_a_question_is_open_for_an_hour(desk: Desk) -> None:
    link = desk.link()
    desk.clock.at = T0 + 60 * MINUTE
    assert desk.get(link).status == 200
    desk.clock.at += timedelta(seconds=1)
    for page in (desk.get(link), desk.post(link, "approve")):
        assert (page.status, "expired" in page.body) == (410, True)
    assert desk.bench.execution.consent is None


def test_a_question_whose_alert_has_ended_is_over(desk: Desk) -> None:
    link = desk.link()
    desk.act(1, replace(desk.bench.alert, state=State.INACTIVE, last=Verdict.CLEAR, slot=T0 + MINUTE))
    for page in (desk.get(link), desk.post(link, "approve")):
        assert (page.status, "its alert has ended" in page.body) == (410, True)
    assert desk.store.kept(Used) == {}


def test_a_question_whose_alert_cannot_be_read_is_not_said_to_be_over(desk: Desk) -> None:
    link = desk.link()
    database = sqlite3.connect(desk.path)
    database.execute("update alerts set body = '{'")
    database.commit()
    for page in (desk.get(link), desk.post(link, "approve")):
        assert (page.status, "has ended" in page.body) == (410, False)
        assert "whether its alert still fires is not known" in page.body
    assert desk.bench.execution.consent is None


def test_a_question_about_a_plan_that_was_changed_is_over_and_the_new_one_is_open(desk: Desk) -> None:
    link = desk.link()
    desk.bench.project = replace(desk.bench.project, policies=(policy({"second.do": {}}, mode="ask"),))
    desk.act(1)
    page = desk.post(link, "approve")
    assert (page.status, "asked anew" in page.body) == (410, True)
    assert "second.do" in desk.get(desk.link()).body
    assert desk.post(desk.link(), "approve").status == 200
    desk.act(2)
    assert desk.bench.done == {"second": True}


def test_the_guard_has_the_last_word_and_it_is_told(desk: Desk) -> None:
    assert desk.post(desk.link(), "approve").status == 200
    desk.act(1, replace(desk.bench.alert, state=State.INACTIVE, last=Verdict.CLEAR, slot=T0 + MINUTE))
    assert desk.bench.done == {}
    assert any("its alert has ended" in fact.value for each in desk.bench.oncall.got for fact in each.facts)


def test_of_two_who_decide_by_links_of_their_own_the_second_is_told_who_was_first(desk: Desk) -> None:
    first = desk.link()
    claim = SIGNED.read(first, T0)
    second = SIGNED.token(replace(claim, id="another message's"), T0)
    assert desk.post(first, "approve").status == 200
    page = desk.post(second, "decline")
    assert (page.status, "kim@contoso.example consented at 03:00:00" in page.body) == (410, True)
    assert desk.bench.execution.consent is not None


def test_a_form_that_another_site_sends_does_nothing(desk: Desk) -> None:
    before = desk.dump()
    for site in ("cross-site", "same-site", "none"):
        page = desk.post(desk.link(), "approve", {**KIM, "Sec-Fetch-Site": site})
        assert (page.status, "Nothing was changed" in page.body) == (403, True)
    assert desk.dump() == before
    assert desk.post(desk.link(), "approve", {**KIM, "Sec-Fetch-Site": "same-origin"}).status == 200


class Failing:
    """A store that does not answer when an execution is to be saved."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def record(self, *_: Any, **__: Any) -> None:
        raise StoreUnavailable("gone")


def test_what_could_not_be_kept_leaves_the_link_usable(desk: Desk) -> None:
    app = replace(desk.app, engine=replace(desk.app.engine, store=Failing(desk.store)))  # type: ignore[arg-type]
    for press in ("approve", "decline"):
        page = desk.post(desk.link(), press, app=app)
        assert page.status == 503
    assert desk.bench.execution.consent is None
    assert desk.post(desk.link(), "approve").status == 200


def test_hostile_names_are_shown_and_do_nothing(desk: Desk) -> None:
    def tags(page: Answer) -> set[tuple[str, tuple[str, ...]]]:
        parser = Tags()
        parser.feed(page.body)
        return set(parser.found)

    plain = tags(desk.get(desk.link()))
    execution = desk.bench.execution
    desk.store.record(replace(execution, reason=HOSTILE, policy=HOSTILE, version=execution.version + 1), [])
    page = desk.get(desk.link())
    assert page.status == 200
    assert tags(page) == plain
    hostile = {**KIM, "X-MS-CLIENT-PRINCIPAL-NAME": '<script>alert(1)</script>"'}
    assert "<script" not in desk.get(desk.link(), hostile).body
    strange = SIGNED.token(Claim("x", Does.DECIDE, HOSTILE, HOSTILE, HOSTILE), T0)
    assert "<script" not in desk.get(strange).body


# The release of a switch


@pytest.fixture
def engaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose switch a policy engaged; the evals are red until a test says otherwise."""
    found = Desk(tmp_path / "state.sqlite", mode="act")
    found.bench.project = replace(found.bench.project, policies=(policy({"killswitch.engage": {"scope": "tools"}}),))
    for minute in range(3):
        found.act(minute)
    assert found.bench.platform.env[SWITCH] == "on"
    assert found.bench.execution.phase is Phase.VERIFIED
    return found


def green(monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.core import evals

    checks = (evals.Check("quality", True, "0.91, at least 0.75"),)
    monkeypatch.setattr(Gate, "look", lambda *_: evals.Verdict(checks, "files evals"))


def releasing(stage: Desk) -> None:
    """Let the stage's release set the variable to off."""
    from tests.stage import Platform
    from tocsin.core.action import Order
    from tocsin.core.remedy import Applied, Did

    class Release(Platform):
        def apply(self, order: Order) -> Applied:
            stage.bench.platform.env[SWITCH] = "off"
            return Applied(Did.DONE, "released")

        def holds(self, order: Order) -> bool | None:
            return stage.bench.platform.env.get(SWITCH) == "off"

    stage.bench.actuators["killswitch.release"] = Release(stage.bench.note)


def test_a_red_gate_shows_why_has_no_button_and_refuses_a_press(engaged: Desk) -> None:
    before = engaged.dump()
    page = engaged.get(engaged.link(RELEASE))
    assert (page.status, "<form" in page.body, "<button" in page.body) == (200, False, False)
    assert "cannot be released now" in page.body
    assert engaged.post(engaged.link(RELEASE), "release").status == 409
    assert engaged.dump() == before


def test_a_green_gate_lets_a_person_order_the_release_which_ticks_carry_out_and_prove(
    engaged: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    green(monkeypatch)
    releasing(engaged)
    page = engaged.get(engaged.link(RELEASE))
    assert "0.91, at least 0.75" in page.body
    assert "<button" in page.body
    assert engaged.post(engaged.link(RELEASE), "approve").status == 200  # another button does nothing
    assert len(engaged.store.executions()) == 1
    assert engaged.post(engaged.link(RELEASE), "release").status == 200
    assert engaged.bench.platform.env[SWITCH] == "on"
    for minute in (3, 4, 5):
        engaged.act(minute)
    assert engaged.bench.platform.env[SWITCH] == "off"
    (ordered,) = [each for each in engaged.store.executions() if each.by]
    assert (ordered.phase, ordered.by) == (Phase.VERIFIED, "kim@contoso.example")
    (intent,) = [each for each in engaged.store.audit() if each["event"] == "release intended"]
    assert intent["actor"] == "person kim@contoso.example"
    assert "0.91" in str(intent["detail"])
    assert engaged.post(engaged.link(RELEASE), "release").status == 410


def test_a_release_by_a_link_is_no_drift_and_holds_policies_off(engaged: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    green(monkeypatch)
    releasing(engaged)
    engaged.post(engaged.link(RELEASE), "release")
    again = policy({"killswitch.engage": {"scope": "tools"}}, id="another")
    engaged.bench.project = replace(engaged.bench.project, policies=(again,))
    for minute in (3, 4, 5, 6):
        engaged.act(minute)
    assert engaged.bench.platform.env[SWITCH] == "off"
    assert not any(each["event"] == "release seen" for each in engaged.store.audit())
    (held,) = [each for each in engaged.store.executions() if each.policy == "another"]
    assert held.stopped_by.removesuffix(", told") in ("held off", "one at a time")


def test_an_ordered_release_is_finished_where_traffic_is_shared_out(
    engaged: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    green(monkeypatch)
    releasing(engaged)
    read, moved = engaged.bench.platform.read, []

    def shared(target: Target) -> ContainerApp | NoAnswer:
        app = read(target)
        assert isinstance(app, ContainerApp)
        old = replace(app.revisions[0], env={SWITCH: "on"})
        return app if len(moved) > 1 else replace(app, multiple=True, revisions=(old,))

    engaged.bench.platform.read = shared  # type: ignore[method-assign]
    release = engaged.bench.actuators["killswitch.release"]
    apply = release.apply
    release.apply = lambda order: moved.append(order.id) or apply(order)  # type: ignore[func-returns-value, method-assign]
    engaged.post(engaged.link(RELEASE), "release")
    for minute in (3, 4, 5, 6):
        engaged.act(minute)
    assert len(moved) == 2
    (ordered,) = [each for each in engaged.store.executions() if each.by]
    assert ordered.phase is Phase.VERIFIED


def test_a_release_that_cannot_be_kept_leaves_the_link_usable(engaged: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    green(monkeypatch)
    app = replace(engaged.app, engine=replace(engaged.app.engine, store=Failing(engaged.store)))  # type: ignore[arg-type]
    assert engaged.post(engaged.link(RELEASE), "release", app=app).status == 503
    assert engaged.post(engaged.link(RELEASE), "release").status == 200


# A real browser


@contextmanager
def browsing(desk: Desk) -> Iterator[tuple[Any, SignInStandIn, str]]:
    """Yield a browser, the sign-in before the pages, and where they are served."""
    found = picturing._browser()
    if found is None or importlib.util.find_spec("playwright") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Playwright and Chromium")
    from playwright.sync_api import sync_playwright

    def answers(method: str, query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Answer:
        return answer(method, query, body, desk.app, headers)

    front = SignInStandIn(answers, {"kim@contoso.example": "kim's own"})
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with Served(Starlette(routes=front.routes())) as served, sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=alone)
        try:
            yield opened, front, served.url
        finally:
            opened.close()


def scan(page: Any, url: str, spoofed: Mapping[str, str]) -> int:
    """Open the address, press every button and follow every link of what comes, as a scanner does; count them."""
    page.set_extra_http_headers(dict(spoofed))
    seen, left, done = set(), [url], 0
    while left and done < 60:
        at = left.pop()
        if at in seen:
            continue
        seen.add(at)
        page.goto(at)
        left += [each for each in page.eval_on_selector_all("a", "all => all.map(it => it.href)") if each not in seen]
        buttons = page.locator("button").count()
        forms = page.eval_on_selector_all("form", "all => all.length")
        for number in range(buttons):
            page.goto(at)
            with page.expect_navigation():
                page.locator("button").nth(number).click()
            done += 1
        for number in range(forms):
            for method in ("get", "post"):
                page.goto(at)
                with page.expect_navigation():
                    page.locator("form").nth(number).evaluate(
                        "(it, method) => { it.method = method; it.submit() }", method
                    )
                done += 1
    return done + len(seen)


@pytest.mark.slow
def test_a_browser_without_a_session_that_presses_everything_changes_nothing(desk: Desk) -> None:
    token = desk.link()
    before = desk.dump()
    with browsing(desk) as (browser, _, url):
        page = browser.new_page()
        for spoofed in ({}, KIM):
            assert scan(page, f"{url}/api/link?token={token}", spoofed) > 3
            # A scanner that knows the form of the page for those who are signed in posts it all the same.
            for press in ("approve", "decline", "release", ""):
                sent = page.request.post(
                    f"{url}/api/link", form={"token": token, "press": press}, headers=dict(spoofed)
                )
                assert sent.status == 401
    assert desk.dump() == before


@pytest.mark.slow
def test_a_browser_without_a_session_cannot_release_by_pressing_everything(
    engaged: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    green(monkeypatch)
    before = engaged.dump()
    with browsing(engaged) as (browser, _, url):
        assert scan(browser.new_page(), f"{url}/api/link?token={engaged.link(RELEASE)}", KIM) > 3
    assert engaged.dump() == before


@pytest.mark.slow
def test_a_browser_with_a_session_opens_and_changes_nothing_and_approves_by_the_button(desk: Desk) -> None:
    before = desk.dump()
    with browsing(desk) as (browser, front, url):
        page = browser.new_page()
        page.goto(f"{url}/api/link?token={desk.link()}")
        page.get_by_role("link", name="Sign in").click()
        page.locator("[name=name]").fill("kim@contoso.example")
        page.locator("[name=password]").fill("kim's own")
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_role("heading").inner_text() == "first.do on sales?"
        for _ in range(3):
            page.reload()
        assert desk.dump() == before
        page.get_by_role("button", name="Approve").click()
        assert page.get_by_role("heading").inner_text() == "Approved"
        assert front.refused == 0, "the form carries the origin that App Service asks for"
    desk.act(1)
    assert desk.bench.done == {"first": True}


@pytest.mark.slow
def test_a_page_of_another_site_cannot_press_the_button_of_somebody_who_is_signed_in(desk: Desk) -> None:
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    with browsing(desk) as (browser, front, url):
        form = (
            f'<form method="post" action="{url}/api/link"><input name="token" value="{desk.link()}">'
            '<input name="press" value="approve"></form><script>document.forms[0].submit()</script>'
        )
        context = browser.new_context()
        front.sessions["s"] = "kim@contoso.example"
        context.add_cookies([{"name": "AppServiceAuthSession", "value": "s", "url": url}])
        page, before = context.new_page(), desk.dump()
        evil = Starlette(routes=[Route("/", lambda _: HTMLResponse(form))])
        with Served(evil) as other:
            page.goto(other.url.replace("127.0.0.1", "localhost"))
            page.wait_for_url(f"{url}/api/link")
        assert desk.dump() == before


# Who it is, and from where


def test_a_change_needs_the_browsers_word_that_our_own_page_asked_for_it(desk: Desk) -> None:
    silent = {name: value for name, value in KIM.items() if name != "Sec-Fetch-Site"}
    before = desk.dump()
    for origin in (
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://tocsin.example.evil"},
    ):
        assert desk.post(desk.link(), "approve", {**silent, **origin}).status == 403
    assert desk.dump() == before
    assert desk.post(desk.link(), "approve", {**silent, "Origin": "https://tocsin.example"}).status == 200


def test_another_identity_providers_person_of_the_same_name_is_nobody(desk: Desk) -> None:
    for provider in ("google", "github", ""):
        assert desk.post(desk.link(), "approve", {**KIM, "X-MS-CLIENT-PRINCIPAL-IDP": provider}).status == 401


def test_names_and_object_ids_that_only_look_like_an_approvers_decide_nothing(desk: Desk) -> None:
    for name, identity in (
        ("kim\u200b@contoso.example", "1"),
        ("k", "0-\u200bkim"),
        ("kim@contoso.example" + "\u00ad", "2"),
    ):
        hostile = {**KIM, "X-MS-CLIENT-PRINCIPAL-NAME": name, "X-MS-CLIENT-PRINCIPAL-ID": identity}
        assert desk.post(desk.link(), "approve", hostile).status == 403
