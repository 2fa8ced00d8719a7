"""E-mail through a real SMTP server on loopback: what is encrypted, what a refusal means, what a mail holds."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import strategies as st

from tests.notices import CASES, acted, fired, hostile, resolved
from tests.smtp_server import PASSWORD, Post, contexts, serving
from tests.test_notifiers import ATTACKS, notice
from tests.test_picture import decoded
from tests.test_receivers import evil, harmless
from tocsin import notifiers
from tocsin.connections.http import Http
from tocsin.core.message import Said
from tocsin.notifiers import email_smtp
from tocsin.notifiers.email_smtp import Server, Smtp, message

SENDER, TO = "tocsin@mail.example", ("oncall@ops.example", "team@ops.example")


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def bare(post: Post) -> Iterator[Controller]:
    yield from running(serving(post))


def running(server: Controller) -> Iterator[Controller]:
    server.start()
    yield server
    server.stop(no_assert=True)


def made(server: Controller, **options: str) -> notifiers.Notifier:
    given = {"host": "127.0.0.1", "port": str(server.port), "sender": SENDER, "to": ", ".join(TO), **options}
    return notifiers.make("email_smtp", given, {"PASSWORD": PASSWORD}.__getitem__, Http())


def test_every_kind_of_notice_arrives(post: Post, bare: Controller) -> None:
    for case in CASES.values():
        assert made(bare).deliver(case()).said is Said.ACCEPTED
    assert len(post.taken) == len(CASES)
    first = post.mails()[0]
    assert first["subject"] == "[P1 fired] 8.3% of the responses on sales-research fail (limit 5%)."
    assert (first["from"], first["to"]) == (f"Tocsin <{SENDER}>", ", ".join(TO))
    text, html = (first.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "KILLSWITCH_TOOLS=on" in text
    assert "KILLSWITCH_TOOLS=on" in html
    assert post.taken[0].rcpt_tos == [*TO]


def test_an_episode_is_one_conversation_and_a_copy_has_the_same_id(post: Post, bare: Controller) -> None:
    for each in (fired(), fired(), acted(), resolved()):
        made(bare).deliver(each)
    ids = [each["message-id"] for each in post.mails()]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert len({each["references"] for each in post.mails()} | {each["in-reply-to"] for each in post.mails()}) == 1


def test_the_html_shows_a_picture_that_is_in_the_mail(post: Post, bare: Controller) -> None:
    made(bare).deliver(fired())
    made(bare).deliver(replace(fired(), series=()))
    shown, worded = post.mails()
    related = shown.get_body(("related",))
    html, png = related.iter_parts()
    (cid,) = re.findall(r'<img src="cid:([^"]+)"', html.get_content())
    assert png["content-id"] == f"<{cid}>"
    assert (png.get_content_type(), png.get_content_disposition()) == ("image/png", "inline")
    assert decoded(png.get_content()).width == 480
    assert [part.get_content_type() for part in shown.iter_parts()] == ["text/plain", "multipart/related"]
    assert [part.get_content_type() for part in worded.iter_parts()] == ["text/plain", "text/html"]
    assert "<img" not in worded.get_body(("html",)).get_content()
    plain = [each.get_body(("plain",)).get_content() for each in (shown, worded)]
    assert plain[0] == plain[1]


# Encryption


def test_what_is_not_this_machine_gets_nothing_without_starttls(post: Post, bare: Controller) -> None:
    far = Smtp(Server("127.0.0.1", bare.port, "user", PASSWORD), SENDER, TO)
    outcome = far.deliver(fired())
    assert (outcome.said, post.taken) == (Said.REFUSED, [])
    assert "STARTTLS" in outcome.detail


def test_starttls_is_used_and_the_password_is_sent_inside_it(post: Post, tmp_path: Path) -> None:
    server_side, client_side = contexts(tmp_path)
    for server in running(serving(post, tls=server_side, password=True)):
        far = Smtp(Server("127.0.0.1", server.port, "user", PASSWORD, trusted=client_side), SENDER, TO)
        assert far.deliver(fired()).said is Said.ACCEPTED
        wrong = Smtp(replace(far.server, password="open barley"), SENDER, TO)
        assert (wrong.deliver(fired()).said, wrong.deliver(fired()).detail) == (Said.REFUSED, "535")
    assert len(post.taken) == 1


def test_a_certificate_nobody_vouches_for_is_not_trusted(post: Post, tmp_path: Path) -> None:
    server_side, _ = contexts(tmp_path)
    for server in running(serving(post, tls=server_side)):
        outcome = Smtp(Server("127.0.0.1", server.port), SENDER, TO).deliver(fired())
    assert (outcome.said, post.taken) == (Said.AGAIN, [])
    assert outcome.detail == "SSLCertVerificationError"


def test_only_this_machine_may_be_bare() -> None:
    given = {"sender": SENDER, "to": TO[0]}
    for host, bare in (
        ("127.0.0.1", True),
        ("localhost", True),
        ("mail.example", False),
        ("127.0.0.1.evil.com", False),
    ):
        smtp = notifiers.make("email_smtp", {"host": host, **given}, {}.__getitem__, Http())
        assert isinstance(smtp, Smtp)
        assert (smtp.server.bare, smtp.server.port) == (bare, 587)
    assert email_smtp._trusted(Server("mail.example")).verify_mode is ssl.CERT_REQUIRED


# What an answer means


@pytest.mark.parametrize(
    ("answer", "said", "detail"),
    [
        ("451 later", Said.AGAIN, "451"),
        ("452 full", Said.AGAIN, "452"),
        ("421 closing", Said.AGAIN, "421"),
        ("550 no", Said.REFUSED, "550"),
        ("554 looks like spam", Said.REFUSED, "554"),
    ],
)
def test_what_an_answer_means(post: Post, bare: Controller, answer: str, said: Said, detail: str) -> None:
    post.answers.append(answer)
    outcome = made(bare).deliver(fired())
    assert (outcome.said, outcome.detail) == (said, detail)
    assert made(bare).deliver(fired()).said is Said.ACCEPTED


def test_one_refused_address_keeps_the_mail_from_nobody_else(post: Post, bare: Controller) -> None:
    post.refuse[TO[0]] = "550 nobody of this name"
    outcome = made(bare).deliver(fired())
    assert (outcome.said, outcome.detail) == (Said.ACCEPTED, "250, refused for 1 of 2")
    post.refuse[TO[1]] = "450 greylisted"
    assert made(bare).deliver(fired()).said is Said.AGAIN
    post.refuse[TO[1]] = "550 nobody either"
    assert made(bare).deliver(fired()).said is Said.REFUSED


def test_nobody_there_is_worth_another_try_and_shows_no_secret() -> None:
    smtp = Smtp(Server("127.0.0.1", 1, "user", PASSWORD), SENDER, TO)
    outcome = smtp.deliver(fired())
    assert outcome.said is Said.AGAIN
    assert PASSWORD not in outcome.detail + repr(smtp) + repr(smtp.server)


def test_a_server_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        smtp = Smtp(Server("127.0.0.1", silent.getsockname()[1], bare=True), SENDER, TO, timeout=0.2)
        assert smtp.deliver(fired()).said is Said.AGAIN


def test_a_conversation_that_takes_too_long_is_left(
    post: Post, bare: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(email_smtp, "SPAN", -1.0)
    assert made(bare).deliver(fired()).said is Said.AGAIN
    assert post.taken == []


def test_how_they_part_does_not_matter(post: Post, bare: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_session: smtplib.SMTP) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(smtplib.SMTP, "quit", gone)
    assert made(bare).deliver(fired()).said is Said.ACCEPTED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "mail.example:25"}, "host"),
        ({"host": "mail.example\r\nX: y"}, "host"),
        ({"port": "0"}, "port"),
        ({"port": "smtp"}, "port"),
        ({"to": "a@b.example\r\nBcc: c@d.example"}, "e-mail"),
        ({"to": ""}, "e-mail"),
        ({"sender": "Tocsin <a@b.example>"}, "e-mail"),
        ({"user": "u"}, "go together"),
        ({"password_setting": "PASSWORD"}, "go together"),
    ],
)
def test_what_cannot_be_right_is_refused(change: dict[str, str], words: str) -> None:
    given = {"host": "mail.example", "sender": SENDER, "to": TO[0], **change}
    with pytest.raises(ValueError, match=words):
        notifiers.make("email_smtp", given, {"PASSWORD": PASSWORD}.__getitem__, Http())


# Hostile text and size


HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"]
BREAKS = st.sampled_from(["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\0"])
INJECTIONS = st.lists(st.one_of(ATTACKS, BREAKS, st.just("Bcc: x@y.example"), st.text(max_size=20)), max_size=8)


@given(INJECTIONS.map("".join))
def test_no_header_gets_in(text: str) -> None:
    raw = message(replace(evil(text), id=text, episode=text), SENDER, TO).as_bytes()
    read = message_from_bytes(raw, policy=policy.default)
    assert list(read.keys()) == [*HEADERS, "MIME-Version", "Content-Type"]
    assert harmless(str(read["subject"]))
    assert read.defects == []
    kinds = ["text/plain", "multipart/related", "text/html", "image/png"]
    assert [part.get_content_type() for part in read.walk()][1:] == kinds


@given(st.text(max_size=40), st.integers(1, 800))
@pytest.mark.slow
def test_a_mail_stays_small_and_in_lines_that_every_server_takes(text: str, times: int) -> None:
    raw = message(notice((text * times)[:30_000]), SENDER, TO).as_bytes()
    assert len(raw) < 1_000_000
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("sender", ["a@b.example", f"{'a' * 64}@{'d' * 60}.{'e' * 60}.example"])
def test_addresses_and_ids_come_out_as_they_went_in(sender: str) -> None:
    read = message_from_bytes(message(hostile(), sender, (sender, *TO)).as_bytes(), policy=policy.default)
    assert read["from"].addresses[0].addr_spec == sender
    assert [each.addr_spec for each in read["to"].addresses] == [sender, *TO]
    for name in ("Message-ID", "In-Reply-To", "References"):
        assert b"=?" not in message(hostile(), sender, TO).as_bytes().split(name.encode() + b": ")[1].split(b"\r\n")[0]
        assert str(read[name]).startswith("<")
