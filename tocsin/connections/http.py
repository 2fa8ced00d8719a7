"""HTTP: the one module that knows which library sends it. Addresses are secrets and never stand in what is returned."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tocsin.connections.identity import loopback

if TYPE_CHECKING:
    import httpx

TIMEOUT = 10.0
"""Seconds that connecting, sending and waiting for the answer may each take; three are less than a delivery's hold."""

LONGEST_BODY = 64 * 1024
"""Bytes of an answer that are read; no receiver needs more to say what it thinks of a message."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; header names are in lower case, ``text`` is cut to 2,000 characters."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Unreached:
    """No answer came. ``maybe`` says that the request may have arrived all the same."""

    reason: str
    maybe: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered, with its body as it came. A body that is longer than was asked for is not ``whole``."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = True


def checked(url: str) -> str:
    """Return ``url`` when a request may go there. Raises ValueError, without naming it, when it may not.

    That is HTTPS to a named host, or plain HTTP to this machine; all of it printable ASCII, and no user or password.
    """
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        named = False
    if not named or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the address is not a URL with a host")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback(url)):
        raise ValueError("the address must be https://, or http:// on loopback")
    return url


_GRACE = 0.5
"""Seconds that a look may take beyond its own time-out."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at an address found. Without an answer ``status`` is 0 and ``failure`` says why, without the address.

    ``seconds`` is how long the beginning of the answer took, with connecting; ``expired`` speaks of the certificate.
    """

    status: int = 0
    seconds: float = 0.0
    failure: str = ""
    certificate_ends: datetime | None = None
    expired: bool = False


def look(url: str, within: float) -> Looked:
    """Ask an address with a GET, over a connection of its own, and read nothing of the answer but its beginning.

    No redirect is followed and nothing secret is sent, so any address will do. ``within`` is in seconds.
    """
    found: list[Looked] = []
    # Its own time-outs are between two bytes: one that drips them would keep the whole tick.
    looking = threading.Thread(target=lambda: found.append(_look(url, within)), name="tocsin-look", daemon=True)
    looking.start()
    looking.join(within + _GRACE)
    return found[0] if found else Looked(failure=f"no answer within {within:g} s")


def _look(url: str, within: float) -> Looked:
    import httpx

    began = time.monotonic()
    try:
        with _client(within) as client, client.stream("GET", url) as answer:
            tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
            ends = _ends(tls.getpeercert() if tls else None)
            return Looked(answer.status_code, time.monotonic() - began, certificate_ends=ends)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        refused = _certificate_refusal(error)
        expired = refused is not None and refused.verify_code == _EXPIRED
        words = f"the certificate is refused: {refused.verify_message}" if refused else type(error).__name__
        return Looked(failure="the certificate has expired" if expired else words, expired=expired)


_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED."""


def _certificate_refusal(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _ends(certificate: Any) -> datetime | None:
    text = certificate.get("notAfter") if certificate else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC) if text else None


class Http:
    """Sends requests. Follows no redirect, verifies certificates, and speaks plain HTTP with this machine only."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self._mutex = threading.Lock()
        self._client: httpx.Client | None = None

    def post(
        self, url: str, *, json: Any = None, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply | Unreached:
        """Send one POST and return what came of it. Raises ValueError for an address that is not ``checked``."""
        checked(url)
        import httpx

        try:
            with self._opened().stream("POST", url, json=json, content=content, headers=headers) as answer:
                return Reply(answer.status_code, dict(answer.headers), self._text(answer))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Unreached(type(error).__name__, maybe=False)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.ProxyError) as error:
            return Unreached(type(error).__name__, maybe=False)
        except httpx.HTTPError as error:
            return Unreached(type(error).__name__, maybe=True)

    def fetch(
        self,
        method: str,
        url: str,
        *,
        largest: int,
        within: float,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched | Unreached:
        """Send one request and return the answer with its body, of ``largest`` bytes and ``within`` seconds at most.

        Raises ValueError for an address that is not ``checked``.
        """
        checked(url)
        import httpx

        try:
            with self._opened().stream(method, url, json=json, headers=headers) as answer:
                body = _whole(answer, largest, time.monotonic() + within)
                if body is None:
                    return Unreached(f"the answer took longer than {within:g} s", maybe=True)
                status, named = answer.status_code, dict(answer.headers)
                return Fetched(status, named, body[:largest], len(body) <= largest)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Unreached(type(error).__name__, maybe=False)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.ProxyError) as error:
            return Unreached(type(error).__name__, maybe=False)
        except httpx.HTTPError as error:
            return Unreached(type(error).__name__, maybe=True)

    def close(self) -> None:
        """Give back the connections; a later request opens new ones."""
        with self._mutex:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _text(self, answer: httpx.Response) -> str:
        """Return the beginning of the body. The status already says what came of it: a body that fails is no failure.

        It is read as it came, never unpacked, and for as long as one wait may take: an endless answer delays nobody.
        """
        import httpx

        until, body = time.monotonic() + self.timeout, b""
        try:
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) >= LONGEST_BODY or time.monotonic() >= until:
                    break
        except httpx.HTTPError:
            pass
        return body.decode("utf-8", "replace")[:2000]

    def _opened(self) -> httpx.Client:
        with self._mutex:
            if self._client is None:
                self._client = _client(self.timeout)
            return self._client


def _whole(answer: httpx.Response, largest: int, until: float) -> bytes | None:
    """Return the body, or just more than ``largest`` bytes of it; None when it does not end in time."""
    body = bytearray()
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > largest:
            break
        if time.monotonic() >= until:
            return None
    return bytes(body)


def _client(timeout: float) -> httpx.Client:
    import httpx

    # httpx logs the address of every request, and here addresses are secrets.
    logging.getLogger("httpx").addFilter(_nothing)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    direct: dict[str, httpx.BaseTransport | None] = {f"all://{host}": None for host in ("127.0.0.1", "localhost")}
    return httpx.Client(
        verify=_trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
        timeout=timeout,
        follow_redirects=False,
        mounts=direct,
        headers={"accept-encoding": "identity"},
    )


@lru_cache(maxsize=4)
def _trust(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Return whom to trust, by the two settings that httpx reads: it takes 50 ms, and every receiver has a client."""
    import httpx

    return httpx.create_ssl_context()


def _nothing(_record: logging.LogRecord) -> bool:
    return False
