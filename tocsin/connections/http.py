"""HTTP: the one module that knows which library sends it. Addresses are secrets and never stand in what is returned."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tocsin.connections.identity import loopback

if TYPE_CHECKING:
    import httpx

TIMEOUT = 10.0
"""Seconds for a whole request: shorter than a delivery is held against other writers."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Unreached:
    """No answer came. ``maybe`` says that the request may have arrived all the same."""

    reason: str
    maybe: bool


class Http:
    """Sends requests. Follows no redirect, and speaks plain HTTP with this machine only."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._mutex = threading.Lock()
        self._client: httpx.Client | None = None

    def post(
        self, url: str, *, json: Any = None, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply | Unreached:
        """Send one POST and return what came of it. Raises ValueError for an address that is not HTTPS or loopback."""
        if not (url.startswith("https://") or (url.startswith("http://") and loopback(url))):
            raise ValueError("the address must be https://, or http:// on loopback")
        import httpx

        try:
            reply = self._opened().post(url, json=json, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            return Unreached(type(error).__name__, maybe=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Unreached(type(error).__name__, maybe=True)
        return Reply(reply.status_code, dict(reply.headers), reply.text[:2000])

    def _opened(self) -> httpx.Client:
        import httpx

        with self._mutex:
            if self._client is None:
                self._client = httpx.Client(timeout=self._timeout, follow_redirects=False)
            return self._client
