"""The links in messages: whose they are, how long and how often they work, and that nothing else opens anything."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.notices import ALERT, FIRED, HOSTILE, MINUTE, RULE, TARGET, blind, fired, resolved
from tests.stage import Stage, project
from tocsin.app import App
from tocsin.core.ack import Acknowledgement, Used
from tocsin.core.alert import State
from tocsin.core.group import Group
from tocsin.core.message import NEWS, Kind, Notice, outbox
from tocsin.core.mute import Silence
from tocsin.engine import personal
from tocsin.engine.notifying import Courier
from tocsin.engine.telling import Teller
from tocsin.links import answer
from tocsin.pages import HEADERS
from tocsin.ports import Store, StoreUnavailable
from tocsin.stores.sqlite import SqliteStore
from tocsin.tokens import LASTS, Claim, Does, Signed
from tocsin.webhook import Answer

SIGNED = Signed("a secret of the tests, 32 letters", "https://tocsin.example/")
FIRES = replace(fired(), since=FIRED)
OURS = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Hand:
    """A clock that is set by hand."""

    at: datetime = FIRED

    def now(self) -> datetime:
        return self.at


@dataclass
class Desk:
    """A store with one open alert that was told, and the app that answers its links."""

    path: Path
    clock: Hand = field(default_factory=Hand)

    def __post_init__(self) -> None:
        self.stage = Stage(RULE, store=SqliteStore(self.path), config=project().config)
        self.store: Store = self.stage.inner
        self.store.commit(RULE.id, TARGET.name, [ALERT], outbox(FIRES, [NEWS], FIRED), None)
        self.tell()

    @property
    def app(self) -> App:
        return App(replace(self.stage.engine, links=SIGNED), self.clock, (), SIGNED)

    def tell(self) -> None:
        notifiers: dict[str, Any] = {"oncall": self.stage.oncall, "team": self.stage.team}
        Teller(self.stage.project, self.store, notifiers, self.stage.log, SIGNED).tell(self.clock.at)
        Courier(self.store, notifiers, self.stage.project.config, self.stage.log).deliver(self.clock.at)

    def links(self) -> dict[str, str]:
        return {name: token(url) for name, url in self.stage.oncall.got[0].links if SIGNED.base in url}

    def get(self, given: str) -> Answer:
        return answer("GET", {"token": given}, b"", self.app)

    def post(self, given: str, name: str = "kim", app: App | None = None) -> Answer:
        return answer("POST", {}, urlencode({"token": given, "name": name}).encode(), app or self.app, OURS)

    def dump(self) -> list[str]:
        with sqlite3.connect(self.path) as db:
            return list(db.iterdump())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "state.sqlite")


def token(url: str) -> str:
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "tocsin.example", "/api/link")
    return parse_qs(parts.query)["token"][0]


ACK, MUTE = "Acknowledge for 4h", "Silence for 2h"


# Where they are


def test_a_message_about_one_open_alert_has_both_links_and_its_end_has_none(desk: Desk) -> None:
    assert set(desk.links()) == {ACK, MUTE}
    desk.clock.at += MINUTE
    desk.store.enqueue(outbox(blind(), [NEWS], desk.clock.at))
    desk.tell()
    desk.clock.at += MINUTE
    desk.store.enqueue(outbox(resolved(), [NEWS], desk.clock.at))
    desk.tell()
    told = {each.kind: [name for name, url in each.links if SIGNED.base in url] for each in desk.stage.oncall.got}
    assert told == {Kind.FIRED: [ACK, MUTE], Kind.BLIND: [ACK, MUTE], Kind.RESOLVED: []}


def test_a_reminder_has_links_of_its_own_and_the_episode_they_are_for_is_the_alerts(desk: Desk) -> None:
    desk.clock.at += timedelta(hours=4, minutes=1)
    desk.tell()
    again = desk.stage.oncall.got[-1]
    assert again.title.startswith("Still: ")
    claims = [SIGNED.read(token(url), desk.clock.at) for name, url in again.links if SIGNED.base in url]
    assert [each.does for each in claims] == [Does.ACKNOWLEDGE, Does.SILENCE]
    assert claims[0].episode == ALERT.episode
    assert claims[0].id != SIGNED.read(desk.links()[ACK], FIRED).id


def test_without_a_secret_there_are_none(tmp_path: Path) -> None:
    from tests.conftest import ROOT
    from tocsin.app import compose
    from tocsin.settings import Settings

    def made(**values: str) -> App:
        return compose(Settings(ROOT, {"TOCSIN_STATE": str(tmp_path / "s"), **values}))

    secret, base = "0123456789abcdef" * 2, "https://tocsin.example"
    assert made().links is None
    assert answer("GET", {"token": "x"}, b"", made()).status == 404
    assert made(TOCSIN_LINK_SECRET=secret, TOCSIN_PUBLIC_URL=base).links is not None
    for values in (
        {"TOCSIN_LINK_SECRET": secret},
        {"TOCSIN_PUBLIC_URL": base},
        {"TOCSIN_LINK_SECRET": "short", "TOCSIN_PUBLIC_URL": base},
        {"TOCSIN_LINK_SECRET": "x" * 64, "TOCSIN_PUBLIC_URL": base},
        {"TOCSIN_LINK_SECRET": "ab" * 32, "TOCSIN_PUBLIC_URL": base},
        {"TOCSIN_LINK_SECRET": secret, "TOCSIN_PUBLIC_URL": "http://tocsin.example"},
    ):
        app = made(**values)
        assert app.links is None
        assert {"weak-secret", "half-a-link", "bad-endpoint"} & {each.id for each in app.problems}, values
    assert secret not in repr(made(TOCSIN_LINK_SECRET=secret, TOCSIN_PUBLIC_URL=base))


# What they do


def test_opening_says_what_would_happen_and_the_button_does_it_once(desk: Desk) -> None:
    link, desk.clock.at = desk.links()[ACK], FIRED + timedelta(minutes=30)
    page = desk.get(link)
    assert (page.status, page.kind) == (200, "text/html")
    assert "Acknowledge high_error_rate on sales-research?" in page.body
    assert '<form method="post">' in page.body
    done = desk.post(link)
    assert done.status == 200
    assert "is with kim until 2026-11-20 07:35 UTC" in done.body
    (kept,) = [each.value for each in desk.store.kept(Acknowledgement).values()]
    assert (kept.episode, kept.by, kept.until - kept.at) == (ALERT.episode, "kim", timedelta(hours=4))
    for again in (desk.post(link), desk.get(link)):
        assert again.status == 410
        assert "used" in again.body
    desk.clock.at += MINUTE
    desk.tell()
    assert desk.stage.oncall.kinds() == ["fired", "acknowledged"]
    assert desk.stage.oncall.got[1].title.startswith("kim has taken this on: ")
    desk.clock.at = FIRED + timedelta(hours=4, minutes=4)
    desk.tell()
    assert desk.stage.oncall.kinds() == ["fired", "acknowledged"]  # nobody is reminded


def test_a_silence_is_of_that_rule_on_that_target_and_nothing_else(desk: Desk) -> None:
    assert desk.post(desk.links()[MUTE], name="").status == 200
    (made,) = [each.value for each in desk.store.kept(Silence).values()]
    assert [str(each) for each in made.matchers] == ["rule=high_error_rate", "target=sales-research"]
    assert (made.author, made.ends - made.starts) == ("somebody with the link", timedelta(hours=2))
    assert desk.store.kept(Acknowledgement) == {}
    assert desk.get(desk.links()[ACK]).status == 200  # the other link is another purpose


def test_whoever_pressed_is_in_the_audit_and_that_nothing_vouches_for_a_typed_name(desk: Desk) -> None:
    for link in (ACK, MUTE):
        desk.post(desk.links()[link], "kim\u202e")
    entries = desk.store.audit()
    assert [each["event"] for each in entries] == ["acknowledged", "silenced"]
    assert {each["actor"] for each in entries} == {"person kim"}
    assert {(each["detail"]["via"], each["detail"]["identity"]) for each in entries} == {("link", "not signed in")}


@given(st.text(max_size=50) | st.sampled_from(["", ACK, MUTE]), st.dictionaries(st.text(), st.text(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_opening_changes_nothing_whatever_is_opened(given_: str, more: dict[str, str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder) / "state.sqlite")
        links = desk.links()
        before = desk.dump()
        for method in ("GET", "HEAD", "OPTIONS"):
            opened = answer(
                method, {**more, "token": links.get(given_, given_)}, b"token=" + links[ACK].encode(), desk.app
            )
            assert opened.status == (200 if given_ in links else 400)
        assert desk.dump() == before


def test_it_works_for_a_day_by_the_clock(desk: Desk) -> None:
    link = desk.links()[ACK]
    desk.clock.at = FIRED + LASTS
    assert desk.get(link).status == 200
    desk.clock.at += timedelta(seconds=1)
    for late in (desk.get(link), desk.post(link)):
        assert late.status == 410
        assert "expired" in late.body
    assert desk.store.kept(Acknowledgement) == desk.store.kept(Used) == {}


def test_of_two_at_once_one_does_it(desk: Desk) -> None:
    for link in desk.links().values():
        apps = []
        for _ in range(2):
            engine = replace(desk.app.engine, store=SqliteStore(desk.path))
            apps.append(App(engine, desk.clock, (), SIGNED))
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(lambda app, link=link: desk.post(link, app=app).status, apps))
        assert sorted(said) == [200, 410]
    assert len(desk.store.kept(Acknowledgement)) == len(desk.store.kept(Silence)) == 1
    assert len([each for each in desk.store.deliveries() if each.notice.kind is Kind.ACKNOWLEDGED]) == 1


def test_every_message_of_one_notice_has_the_same_link(desk: Desk) -> None:
    other = {name: token(url) for name, url in desk.stage.team.got[0].links if SIGNED.base in url}
    assert desk.post(desk.links()[ACK]).status == 200
    assert desk.post(other[ACK]).status == 410


def test_what_has_ended_cannot_be_acknowledged(desk: Desk) -> None:
    link, loaded = desk.links()[ACK], desk.store.load(RULE.id, TARGET.name)
    desk.store.commit(RULE.id, TARGET.name, [replace(ALERT, state=State.INACTIVE)], [], loaded.etag)
    for over in (desk.get(link), desk.post(link)):
        assert over.status == 410
        assert "has ended" in over.body
    assert desk.store.kept(Acknowledgement) == {}


class Failing:
    """A store that does not answer when an acknowledgement is kept."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def keep(self, kind: type[Any], *given: Any) -> None:
        if kind is Acknowledgement:
            raise StoreUnavailable("gone")
        self.inner.keep(kind, *given)


def test_what_could_not_be_done_leaves_the_link_as_it_was(desk: Desk) -> None:
    link = desk.links()[ACK]
    engine = replace(desk.app.engine, store=Failing(desk.store))  # type: ignore[arg-type]
    assert desk.post(link, app=App(engine, desk.clock, (), SIGNED)).status == 503
    assert desk.post(link).status == 200


def test_what_was_kept_before_the_store_went_away_is_not_done_twice(desk: Desk) -> None:
    link = desk.links()[MUTE]
    claim = SIGNED.read(link, FIRED)
    assert desk.post(link).status == 200
    (before,) = desk.store.kept(Silence).values()
    personal.unuse(desk.store, claim.id)  # as when the answer to its keeping was lost
    desk.clock.at += MINUTE
    assert "until 2026-11-20 05:05" in desk.post(link, name="lee").body
    assert [each.value for each in desk.store.kept(Silence).values()] == [before.value]


@pytest.mark.parametrize(
    "more", [b"&name=" + b"x" * 10_000, b"&a=1" * 20, b"&" * 9_000 + b"a=1"], ids=["long", "many fields", "separators"]
)
def test_a_form_that_is_too_long_or_has_too_many_fields_does_nothing(desk: Desk, more: bytes) -> None:
    given = desk.links()[ACK]
    before = desk.dump()
    assert answer("POST", {}, b"token=" + given.encode() + more, desk.app, OURS).status == 400
    assert desk.dump() == before
    assert desk.post(given).status == 200, "the link still works"


def test_what_is_long_over_is_forgotten(desk: Desk) -> None:
    old = FIRED - timedelta(days=31)
    desk.store.keep(Used, "old", Used("old", old), None)
    desk.store.keep(Silence, "old", Silence("old", (), "a", "c", old, old), None)
    desk.store.keep(Acknowledgement, "old", Acknowledgement("old", "a", old, old), None)
    assert [desk.post(link).status for link in desk.links().values()] == [200, 200]
    for kind in (Used, Silence, Acknowledgement):
        assert "old" not in desk.store.kept(kind)


# Who may not


def test_what_was_changed_cut_or_signed_by_another_is_refused(desk: Desk) -> None:
    link, before = desk.links()[ACK], desk.dump()
    foreign = Signed("another secret of 32 letters, too", SIGNED.base)
    claim = SIGNED.read(link, FIRED)
    wrong = [
        link[:number] + ("A" if link[number] != "A" else "B") + link[number + 1 :] for number in range(len(link) - 1)
    ]
    wrong += [link[:-5], link + "x", foreign.token(claim, FIRED), "", "a.b.c", "x" * 5_000, link.replace(".", "..")]
    for each in wrong:
        assert desk.post(each).status in (400, 410), each
    assert desk.dump() == before


def test_a_link_for_one_thing_is_no_link_for_another(desk: Desk) -> None:
    signer = SIGNED._signer(FIRED)
    for shape in (
        ["ack"],
        {"id": "x", "do": "engage", "rule": "r", "target": "t", "episode": ""},
        {"id": 1},
        "x",
        None,
    ):
        assert desk.post(str(signer.dumps(shape))).status == 400
    assert desk.post("", name="x" * 20_000).status == 400


# The page


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))


def tags(page: Answer) -> set[tuple[str, tuple[str, ...]]]:
    parser = Tags()
    parser.feed(page.body)
    return set(parser.found)


@given(
    st.text(max_size=60) | st.just(HOSTILE) | st.just('"><script>alert(1)</script><form action="https://evil.example">')
)
@settings(max_examples=40, deadline=None)
def test_hostile_names_are_shown_and_do_nothing(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder) / "state.sqlite")
        plain = tags(desk.get(desk.links()[MUTE]))
        link = SIGNED.token(Claim("x", Does.SILENCE, text, text), FIRED)
        page = desk.get(link)
        assert tags(page) == plain
        assert not {tag for tag, _ in plain} & {"script", "img", "iframe", "a", "link", "object"}
        assert tags(desk.post(link, name=text)) <= plain


def test_the_page_runs_nothing_is_kept_nowhere_and_sends_its_address_to_nobody(desk: Desk) -> None:
    pages = [desk.get(desk.links()[ACK]), desk.get("wrong"), desk.post(desk.links()[MUTE])]
    for page in pages:
        assert page.headers == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (HEADERS["Cache-Control"], HEADERS["Referrer-Policy"]) == ("no-store", "same-origin")


def test_no_group_holds_a_link(desk: Desk) -> None:
    """They are made with the message: what is stored longer than a day would hold dead ones."""
    held: list[Notice] = [
        member.notice for each in desk.store.kept(Group).values() for member in each.value.members.values()
    ]
    assert held
    assert all(each.links == FIRES.links for each in held)
