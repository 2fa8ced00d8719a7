"""Telemetry in this process: DuckDB holds the rows and duckdb-kql runs the KQL. For one machine and for tests.

It answers as a workspace would: rows are seen once they are ingested, and only within the question's bounds.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from tocsin.core.answer import MOST_ROWS, NoAnswer, Query, Rows, Why
from tocsin.core.compile import ARRIVED
from tocsin.core.config import Target
from tocsin.core.schema import TABLES
from tocsin.telemetry import landing
from tocsin.telemetry.values import bounds, plain

_BATCH = 10_000
_LET_TIME = re.compile(r"\s*let (\w+) = datetime\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)\);")
_NO_TABLE = re.compile(r"Table with name (\S+) does not exist|schema error for '([^']+)' \(unknown table")

_CLOSE_TRIES = 50


class Refused(Exception):
    """The query was not run. ``code`` is ``syntax``, ``semantic``, ``table`` or ``failed``."""

    def __init__(self, code: str, message: str, table: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.table = table


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found: column names, their KQL types, and the rows as the database gives them."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    """One more than are read at most, which says that there are more."""


class EmbeddedTelemetry:
    """A workspace in this process. Safe to use from several threads.

    Rows are seen from their ``_IngestedAt`` on, by ``now``; without ``now`` all are seen at once, and KQL's ``now()``
    is the end of the question's bounds. ``path`` keeps the rows in a file; without it they live as long as this object.
    """

    def __init__(
        self,
        now: Callable[[], datetime] | None = None,
        path: Path | None = None,
        recorded: Callable[[Any], Collection[str]] | None = None,
        resource: str = "",
    ) -> None:
        """Make the workspace; ``recorded`` lays tables of its own into the database and returns their names.

        ``resource`` is the component that rows are of which name none.
        """
        import duckdb_kql

        self.now, self._resource = now, resource
        # Without this a query could read any file of this machine by its name.
        config = {} if recorded else {"enable_external_access": "false"}
        self._database = duckdb_kql.connect(str(path) if path else ":memory:", config=config)
        self._loading = threading.RLock()
        self._waiting: dict[str, list[landing.Row]] = {}
        landing.prepare(self._database, recorded(self._database) if recorded else ())
        if recorded:
            self._database.execute("SET enable_external_access = false")

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:  # noqa: ARG002
        """Return the rows; BROKEN for a query that cannot run. Raises ValueError for empty or naive bounds."""
        try:
            found = self.find(query)
        except Refused as refused:
            return NoAnswer(Why.FAILED if refused.code == "failed" else Why.BROKEN, str(refused))
        read = found.rows[:MOST_ROWS]
        rows = (tuple(plain(kind, value) for kind, value in zip(found.types, row, strict=True)) for row in read)
        return Rows(found.columns, tuple(rows), cut=len(found.rows) > MOST_ROWS)

    def find(self, query: Query) -> Found:
        """Return what the query finds, with its types. Raises ``Refused``, or ValueError for empty or naive bounds."""
        start, end = bounds(query)
        now = self.now() if self.now else None
        text, times = _without_times(query.text)
        sql, slots, clock = _translated(text)
        bound = {slot: landing.naive(times[name]) for name, slot in slots.items()}
        if clock:
            bound[clock] = landing.naive(now or end)
        with self.session() as session:
            _set(session, asked_from=start, asked_to=end, asked_at=now or landing.EVER)
            return _run(session, sql, bound)

    def load(self, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Append rows and return how many. ``TimeGenerated`` is needed; ``_IngestedAt`` is the same unless given.

        Datetimes are zoned, ``Properties`` is a mapping, ``ItemCount`` is 1 and text is "" unless given. Raises
        ValueError for a table or column there is not, and for a naive or missing time.
        """
        landing.columns(table)
        pending, count = iter(rows), 0
        while batch := landing.ready(
            table, ({"_ResourceId": self._resource, **row} for row in islice(pending, _BATCH))
        ):
            count += len(batch)
            with self._loading:
                waiting = self._waiting.setdefault(table, [])
                waiting += batch
                if len(waiting) >= _BATCH:
                    self._land()
        return count

    def forget(self) -> None:
        """Forget every row; what was translated stays."""
        with self.session() as session:
            landing.empty(session)

    def _land(self) -> None:
        """Write the rows that wait. One statement takes milliseconds, and most loads are of a few rows."""
        with self._loading:
            waiting, self._waiting = self._waiting, {}
            if waiting:
                with self._cursor() as session:
                    for table, rows in waiting.items():
                        landing.insert(session, table, rows)

    def load_recorded(self, path: Path, at: datetime) -> int:
        """Append the message records of an Application Insights export, one JSON object a line, as emitted ``at``."""
        with path.open(encoding="utf-8") as lines:
            return self.load("AppTraces", [landing.recorded(json.loads(line), at) for line in lines if line.strip()])

    def close(self) -> None:
        """Let go of the rows, or of the file that holds them, once whoever still asks has been answered."""
        import duckdb

        self._land()
        for _ in range(_CLOSE_TRIES):
            try:
                return self._database.close()
            except duckdb.Error:  # a question is being answered in another thread
                time.sleep(0.1)
        return None

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Yield a session of the database, in UTC; what it sets and its temporary tables are its own."""
        self._land()
        with self._cursor() as session:
            yield session

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        session = self._database.cursor()
        try:
            # Each session starts with the machine's zone, which would shift every datetime.
            session.execute("SET TimeZone='UTC'")
            yield session
        finally:
            session.close()


_TRANSLATING = threading.Lock()


@lru_cache(maxsize=512)
def _translated(text: str) -> tuple[str, dict[str, str], str]:
    """Return the SQL of a query, the slot of each named time it uses, and the clock's slot if it has one."""
    import duckdb_kql
    from duckdb_kql.translate import CLOCK_SLOT

    schema = {table: list(landing.columns(table)) for table in TABLES}
    try:
        with _TRANSLATING:
            sql = duckdb_kql.to_sql(
                text.replace(ARRIVED, landing.INGESTED), schema=schema, allow_write=False, query_now=landing.EVER
            )
    except duckdb_kql.KqlError as error:
        syntax = isinstance(error, duckdb_kql.KqlSyntaxError)
        raise _refused("syntax" if syntax else "semantic", str(error)) from error
    except Exception as error:  # the translator is young, and the text may be anybody's
        raise Refused("semantic", f"cannot be translated: {type(error).__name__}: {error}"[:500]) from error
    slots = {each.name: each.slot for each in sql.declarations if each.slot in sql.slots}
    return str(sql), slots, CLOCK_SLOT if CLOCK_SLOT in sql.parameters else ""


def _without_times(text: str) -> tuple[str, dict[str, datetime]]:
    """Return the text with its leading ``let x = datetime(…);`` declared as parameters, and their values.

    So the same question asked every minute is one text, translated once.
    """
    times: dict[str, datetime] = {}
    position = 0
    while found := _LET_TIME.match(text, position):
        times[found[1]] = datetime.fromisoformat(found[2])
        position = found.end()
    if not times:
        return text, times
    declared = ", ".join(f"{name}:datetime" for name in times)
    lines = "\n" * text.count("\n", 0, position)  # so that an error still names the line its author wrote
    return f"declare query_parameters({declared});{lines}{text[position:]}", times


def _set(session: Any, **moments: datetime) -> None:
    """Set the variables that the views read; they are the session's own."""
    session.execute(";".join(f"SET VARIABLE {name} = TIMESTAMP '{landing.naive(at)}'" for name, at in moments.items()))


def _run(session: Any, sql: str, bound: Mapping[str, datetime]) -> Found:
    import duckdb

    try:
        session.execute(sql, bound or None)
        rows = session.fetchmany(MOST_ROWS + 1)
    except (duckdb.OperationalError, duckdb.InternalError) as error:
        raise Refused("failed", _first_line(error)) from error
    except duckdb.DataError as error:  # its words hold the value that did not fit, which may be a secret
        raise Refused("semantic", type(error).__name__) from error
    except duckdb.Error as error:
        raise _refused("semantic", _first_line(error)) from error
    names, types = zip(*((each[0], landing.kql_type(str(each[1]))) for each in session.description), strict=True)
    return Found(names, types, tuple(rows))


def _refused(code: str, message: str) -> Refused:
    found = _NO_TABLE.search(message)
    return Refused("table", message[:500], found[1] or found[2]) if found else Refused(code, message[:500])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
