"""Telemetry from a Log Analytics workspace, through its query API. Every answer is classified; none is guessed."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from tocsin.connections.bounded import TooMuch, transport
from tocsin.connections.bucket import Bucket
from tocsin.connections.identity import refuse_leak, request_options
from tocsin.connections.refusal import unsigned, words
from tocsin.core.answer import MOST_ROWS, NoAnswer, Query, Rows, Why
from tocsin.core.compile import tables
from tocsin.core.config import Target
from tocsin.core.text import scrub
from tocsin.telemetry.values import bounds, plain

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.monitor.query import LogsQueryClient

ENDPOINT = "https://api.loganalytics.io"

_STATUS: Mapping[int, Why] = {
    400: Why.BROKEN,
    401: Why.FORBIDDEN,
    403: Why.FORBIDDEN,
    404: Why.MISSING,
    408: Why.TIMEOUT,
    413: Why.BROKEN,
    414: Why.BROKEN,
    429: Why.THROTTLED,
    504: Why.TIMEOUT,
}
"""What a status means; any other that is not 200 is FAILED."""

_AGAIN = frozenset({Why.FAILED, Why.UNREACHABLE})
"""What one quick second try may cure."""

_QUICK = 5.0
_PAUSE = 0.2
_CONNECT_WITHIN = 10
LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes of an answer that are read: ``MOST_ROWS`` rows of 335. The service itself would send a hundred million."""
_UNRESOLVED = re.compile(r"Failed to resolve table or column expression named '(\w+)'")
_ADDRESS = re.compile(r"(https?://[^/\s'\"?#]+)[^\s'\"]*")
_NO_ROWS = Rows((), ())


class LogAnalyticsTelemetry:
    """The workspaces an identity may read. Safe to use from several threads.

    At most ``at_once`` queries run and ``per_minute`` leave; a target's workspace is its id, or a resource id (``/…``).

    The service gets ``server_timeout`` seconds (30 at most), the answer ``grace`` seconds more. A failure that came
    quickly is tried once again. Raises ValueError for a static token that would leave this machine.
    """

    def __init__(
        self,
        credential: TokenCredential,
        endpoint: str | None = None,
        server_timeout: int = 30,
        grace: float = 5,
        at_once: int = 4,
        per_minute: float = 300,
    ) -> None:
        if not 1 <= server_timeout <= 30:
            raise ValueError("server_timeout is 1 to 30 seconds")
        self._endpoint = (endpoint or ENDPOINT).rstrip("/")
        refuse_leak(credential, self._endpoint)
        self._credential = credential
        self._server_timeout = server_timeout
        self._grace = grace
        self._gate = threading.BoundedSemaphore(at_once)
        self._bucket = Bucket(per_minute)
        self._client: LogsQueryClient | None = None
        self._opening = threading.Lock()

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        """Return the rows of the target's workspace, or why not. Raises ValueError for empty or naive bounds."""
        span = bounds(query)
        if not self._gate.acquire(timeout=self._server_timeout):
            return NoAnswer(Why.THROTTLED, "too many queries are waiting here", float(self._server_timeout))
        try:
            if not self._bucket.take(self._server_timeout):
                return NoAnswer(Why.THROTTLED, "this minute's queries are used up here", float(self._server_timeout))
            return self._twice(query.text, span, target.workspace)
        finally:
            self._gate.release()

    def close(self) -> None:
        """Close the connections."""
        with self._opening:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _twice(self, text: str, span: tuple[datetime, datetime], workspace: str) -> Rows | NoAnswer:
        began = time.monotonic()
        answer = self._once(text, span, workspace)
        if isinstance(answer, Rows) or answer.why not in _AGAIN or time.monotonic() - began > _QUICK:
            return answer
        time.sleep(_PAUSE)
        return self._once(text, span, workspace)

    def _once(self, text: str, span: tuple[datetime, datetime], workspace: str) -> Rows | NoAnswer:
        from azure.core.exceptions import AzureError

        heard: list[Any] = []
        try:
            client = self._opened()
            query = client.query_resource if workspace.startswith("/") else client.query_workspace
            result = query(
                workspace,
                text,
                timespan=span,
                server_timeout=self._server_timeout,
                include_statistics=True,
                read_timeout=self._server_timeout + self._grace,
                raw_response_hook=lambda response: heard.append(response.http_response),
                **request_options(self._endpoint),
            )
            return _read(result)
        except TooMuch as error:
            return NoAnswer(Why.PARTIAL, str(error))
        except (AzureError, ValueError, TypeError, LookupError, AttributeError) as error:
            if heard:
                return _answered(heard[-1], error, text)
            if isinstance(error, AzureError):
                return _unanswered(_original(error))
            raise

    def _opened(self) -> LogsQueryClient:
        from azure.monitor.query import LogsQueryClient

        with self._opening:
            if self._client is None:
                # The SDK's own retries outlast the tick, and a redirect would take the token along.
                self._client = LogsQueryClient(
                    self._credential,
                    endpoint=self._endpoint,
                    retry_total=0,
                    permit_redirects=False,
                    connection_timeout=_CONNECT_WITHIN,
                    transport=transport(LARGEST_ANSWER, self._server_timeout + self._grace),
                )
            return self._client


def _read(result: Any) -> Rows | NoAnswer:
    """Return a result's rows. A partial one is no answer, whatever rows it holds."""
    from azure.monitor.query import LogsQueryStatus

    if result.status != LogsQueryStatus.SUCCESS:
        error = getattr(result, "partial_error", None)
        return NoAnswer(Why.PARTIAL, _safe(f"{error.code}: {error.message}" if error else "no reason given"))
    if not result.tables:
        return _NO_ROWS
    used = getattr(result, "statistics", None)
    table = result.tables[0]
    kinds = tuple(table.columns_types)
    read = table.rows[:MOST_ROWS]
    rows = tuple(tuple(plain(kind, value) for kind, value in zip(kinds, row, strict=True)) for row in read)
    return Rows(tuple(table.columns), rows, used if isinstance(used, dict) else {}, len(table.rows) > MOST_ROWS)


def _answered(response: Any, error: Exception, text: str) -> Rows | NoAnswer:
    """Classify what the service said, by its status alone: the SDK fails on bodies that are not JSON."""
    status = response.status_code
    if status == 204:
        return _NO_ROWS
    if status == 200:
        return NoAnswer(Why.FAILED, f"the answer cannot be read: {type(error).__name__}")
    body = response.text()
    if status == 400 and _absent_table(body, text):
        return _NO_ROWS
    return NoAnswer(_STATUS.get(status, Why.FAILED), f"HTTP {status} {_reason(body)}".strip(), _retry_after(response))


def _absent_table(body: str, text: str) -> bool:
    """Return whether all a query reads is a table we know without a row in 30 days: the workspace forgets it.

    A name we do not know is a mistake in the query, and a silent rule would be worse than a broken one; so would one
    that reads another table besides, whose rows nobody looked at.
    """
    found = _UNRESOLVED.search(body)
    return found is not None and tables(text) == [found[1]]


def _original(error: Exception) -> Exception:
    """Return the error the SDK wrapped: it turns every failure of the pipeline into a bare ``HttpResponseError``."""
    from azure.core.exceptions import AzureError, HttpResponseError

    inner = error.__context__
    return inner if type(error) is HttpResponseError and isinstance(inner, AzureError) else error


def _unanswered(error: Exception) -> NoAnswer:
    """Classify a request without an answer. Only the kind of failure is told: its words may hold a secret."""
    from azure.core.exceptions import ClientAuthenticationError, ServiceResponseTimeoutError

    if isinstance(error, ClientAuthenticationError):
        return NoAnswer(Why.FORBIDDEN, f"no token: {_safe(unsigned(error))}")
    if isinstance(error, ServiceResponseTimeoutError):
        return NoAnswer(Why.TIMEOUT, "no answer in time")
    return NoAnswer(Why.UNREACHABLE, type(error.__cause__ or error).__name__)


def _reason(body: str) -> str:
    """Return the innermost code and message of an error body."""
    try:
        error = json.loads(body)["error"]
        while isinstance(error.get("innererror"), dict):
            error = error["innererror"]
        return _safe(f"{error.get('code', '')}: {error.get('message', '')}")
    except (ValueError, TypeError, LookupError, AttributeError):
        return ""


def _safe(text: str) -> str:
    """Return text fit for a log: one line, 300 characters, no tokens, and of addresses the host alone."""
    return scrub(words(_ADDRESS.sub(r"\1/…", text[:10_000])), 300)


def _retry_after(response: Any) -> float | None:
    """Return the seconds the service asks to wait, from a number or from a date relative to the answer's own."""
    asked = response.headers.get("Retry-After")
    if not asked:
        return None
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        waiting = parsedate_to_datetime(asked) - parsedate_to_datetime(response.headers.get("Date") or "")
    except (ValueError, TypeError):
        return None
    return max(0.0, waiting.total_seconds())
