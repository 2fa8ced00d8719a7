"""E-mail through any SMTP server, encrypted by STARTTLS (on port 465 from the first byte) unless it is this machine.

``Message-ID`` comes from the notice, so a copy sent twice can be recognised; every mail of an episode refers to the
same root, so that they stand together as one conversation. Nothing is sent, and no password, before the server's
certificate has been verified.

The course of the value is a picture inside the HTML, with its limit and with words for whom it is not shown; plain text
has the words of the notice alone. Where a mail would become too long, the picture goes first.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, ClassVar

from tocsin.connections.http import Http
from tocsin.connections.identity import loopback
from tocsin.core.message import Notice, Outcome, Said
from tocsin.notifiers.mail import EXAMPLE, Picture, address, addresses, mail

if TYPE_CHECKING:
    import smtplib
    import ssl
    from email.message import EmailMessage

OPTIONS: Mapping[str, bool] = {
    "host": True,
    "port": False,
    "sender": True,
    "to": True,
    "user": False,
    "password_setting": False,
}
"""``to`` may be several, with commas; ``password_setting`` names the app setting with the password of ``user``."""

TIMEOUT = 5.0
"""Seconds that connecting and one answer may each take."""

SPAN = 25.0
"""Seconds for the whole conversation: it has ten answers and more, and a delivery is held for 45 seconds."""

_SUBMISSION, _TLS_FROM_THE_START = 587, 465
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed in. ``bare`` is allowed for this machine only."""

    host: str
    port: int = _SUBMISSION
    user: str = ""
    password: str = field(default="", repr=False)
    bare: bool = False
    trusted: ssl.SSLContext | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Smtp:
    """Sends mail from one address to the same people."""

    together: ClassVar[bool] = True
    server: Server = field(repr=False)
    sender: str
    to: tuple[str, ...]
    timeout: float = TIMEOUT

    def deliver(self, notice: Notice) -> Outcome:
        """Hand one mail in. A refusal for good (5xx) is final; anything else is worth another try."""
        import smtplib

        try:
            refused = self._send(message(notice, self.sender, self.to))
        except smtplib.SMTPRecipientsRefused as error:
            return _refused([code for code, _ in error.recipients.values()])
        except smtplib.SMTPResponseException as error:
            return _refused([error.smtp_code])
        except smtplib.SMTPNotSupportedError:
            return Outcome(Said.REFUSED, "the server offers no STARTTLS, or no way to log in")
        except OSError as error:  # SMTPException is one
            return Outcome(Said.AGAIN, type(error).__name__ + _maybe(error))
        return Outcome(Said.ACCEPTED, f"250, refused for {refused} of {len(self.to)}" if refused else "250")

    def _send(self, written: EmailMessage) -> int:
        """Return for how many people it was refused; not for all, or smtplib raises."""
        session = _opened(self.server, self.timeout)
        try:
            refused = session.send_message(written, self.sender, list(self.to))
            with suppress(OSError):  # the mail is taken: how they part does not matter
                session.quit()
        finally:
            session.close()
        return len(refused)


def payload(notice: Notice) -> dict[str, Any]:
    """Return the mail as a person reads it, between addresses of nobody: its headers, and its parts line by line."""
    mail = message(notice, *EXAMPLE)
    parts = {part.get_content_type(): _read(part) for part in mail.walk() if not part.is_multipart()}
    return {"headers": dict(mail.items()), **parts}


def _read(part: EmailMessage) -> Any:
    content = part.get_content()
    if isinstance(content, str):
        return content.splitlines()
    return {"Content-ID": part["Content-ID"], "base64": base64.b64encode(content).decode()}


def make(options: Mapping[str, str], secret: Callable[[str], str], _http: Http) -> Smtp:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    host, port = options["host"], options.get("port") or str(_SUBMISSION)
    if not _HOST.fullmatch(host):
        raise ValueError("host must be the name of a mail server")
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError("port must be a number from 1 to 65535")
    if bool(options.get("user")) != bool(options.get("password_setting")):
        raise ValueError("user and password_setting go together")
    password = secret(options["password_setting"]) if options.get("password_setting") else ""
    server = Server(host, int(port), options.get("user", ""), password, bare=loopback(f"smtp://{host}"))
    return Smtp(server, address(options["sender"]), addresses(options["to"]))


def message(notice: Notice, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """Return the notice as a MIME message. Each header is checked for line breaks when it is set: none gets in."""
    from email.headerregistry import Address
    from email.message import EmailMessage
    from email.policy import SMTP

    made, written = EmailMessage(policy=SMTP), mail(notice, sender)
    made["From"] = Address("Tocsin", addr_spec=sender)
    made["To"] = [Address(addr_spec=each) for each in to]
    made["Subject"] = written.subject
    made["Date"] = format_datetime(notice.at)
    made["Message-ID"] = written.id
    made["In-Reply-To"] = made["References"] = written.conversation
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(written.text, cte="quoted-printable")
    made.add_alternative(written.html, subtype="html", cte="quoted-printable")
    if written.picture:
        _illustrate(made, written.picture)
    made.set_boundary(f"tocsin-{written.id[1:33]}")
    return made


def _illustrate(made: EmailMessage, shown: Picture) -> None:
    """Put the picture beside the HTML, so that the two are one alternative to the plain text."""
    html = list(made.iter_parts())[-1]
    html.add_related(shown.png, "image", "png", cid=f"<{shown.id}>", filename=shown.name, disposition="inline")
    html.set_boundary(f"tocsin-{shown.id}")


def _opened(server: Server, timeout: float) -> smtplib.SMTP:
    """Return a session that may send. Raises what smtplib raises, and closes what it opened."""
    import smtplib

    session: smtplib.SMTP
    if server.port == _TLS_FROM_THE_START and not server.bare:
        session = smtplib.SMTP_SSL(server.host, server.port, timeout=timeout, context=_trusted(server))
    else:
        session = smtplib.SMTP(server.host, server.port, timeout=timeout)
    try:
        _bounded(session, timeout, time.monotonic() + SPAN)
        _introduced(session, server)
    except BaseException:
        session.close()
        raise
    return session


def _bounded(session: smtplib.SMTP, timeout: float, until: float) -> None:
    """Make every answer come within ``timeout``, and all of them before ``until``, or raise as when the server left."""
    answer = session.getreply

    def timely() -> tuple[int, bytes]:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if session.sock is not None:
            session.sock.settimeout(min(timeout, left))
        return answer()

    session.getreply = timely  # type: ignore[method-assign]


def _introduced(session: smtplib.SMTP, server: Server) -> None:
    session.ehlo()
    if not server.bare and server.port != _TLS_FROM_THE_START:
        session.starttls(context=_trusted(server))
        session.ehlo()
    if server.user:
        session.login(server.user, server.password)


def _trusted(server: Server) -> ssl.SSLContext:
    import ssl

    return server.trusted or ssl.create_default_context()


def _maybe(error: OSError) -> str:
    import socket
    import ssl

    never = isinstance(error, ConnectionRefusedError | ssl.SSLError | socket.gaierror)
    return "" if never else " (it may have arrived)"


def _refused(codes: list[int]) -> Outcome:
    """Return what refusals mean; the server's words are left out, for they may repeat what it was told."""
    said = Said.REFUSED if all(code >= 500 for code in codes) else Said.AGAIN
    return Outcome(said, ", ".join(str(code) for code in sorted(set(codes))))
