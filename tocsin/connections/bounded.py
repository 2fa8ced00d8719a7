"""How much of an answer an Azure SDK reads: so many bytes, as unpacked, for so long. By itself it knows no limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport


class TooMuch(ValueError):
    """The answer is longer than is read, in bytes or in seconds. Asking again would bring no less."""


def transport(largest: int, within: float) -> RequestsTransport:
    """Return a transport for one client: it reads ``largest`` bytes of a body and ``within`` seconds at most.

    Requests that are sent by it raise ``TooMuch``. Packed bodies count as what they unpack to.
    """
    import requests
    from azure.core.pipeline.transport import RequestsTransport

    def bounded(answer: Any, **_: Any) -> None:
        answer.raw = _Bounded(answer.raw, largest, within)

    session = requests.Session()
    session.hooks["response"].append(bounded)
    return RequestsTransport(session=session)


def cut(largest: int, within: float) -> dict[str, Any]:
    """Return the hooks of one request of which the beginning of the answer is enough: it ends where it is over a limit.

    The body is read as it came, never unpacked, and one that fails on its way ends there.
    """

    def shortened(answer: Any, **_: Any) -> None:
        answer.raw = _Cut(answer.raw, largest, within)

    return {"response": shortened}


class _Bounded:
    """A body as urllib3 streams it, up to a limit. All else is the body's own."""

    def __init__(self, raw: Any, largest: int, within: float) -> None:
        self._raw, self._largest, self._within = raw, largest, within

    def stream(self, amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
        """Yield the body in pieces. Raises ``TooMuch``, and closes the connection, where it is over the limit."""
        until, read = time.monotonic() + self._within, 0
        # ``read1`` returns what there is; ``stream`` would wait for a whole piece, for hours if the body drips.
        while piece := self._raw.read1(amount, decode_content=decode_content):
            read += len(piece)
            if read > self._largest:
                self._refuse(f"more than {self._largest} bytes")
            if time.monotonic() > until:
                self._refuse(f"longer than {self._within:g} s")
            yield piece

    def _refuse(self, why: str) -> None:
        self._raw.close()
        raise TooMuch(f"the answer is {why}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class _Cut(_Bounded):
    """A body of which no more than its beginning is read."""

    def stream(self, amount: int, decode_content: bool | None = None) -> Iterator[bytes]:  # noqa: ARG002
        """Yield the beginning of the body in pieces, as they come."""
        from urllib3.exceptions import HTTPError

        try:
            yield from super().stream(amount, decode_content=False)
        except (TooMuch, HTTPError, OSError):
            return
