"""Rows of telemetry as an export would leave them, and a backtest over them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from tocsin import signals
from tocsin.backtest.history import FileHistory
from tocsin.backtest.outcome import Outcome, outcome
from tocsin.backtest.recording import Recording
from tocsin.backtest.study import Studies
from tocsin.core.config import Config
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.signal import Signal
from tocsin.telemetry.embedded import EmbeddedTelemetry

DATA = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "data"

Row = tuple[datetime, str, int, dict[str, str]]
"""When, of which target, for how many events it stands, and its properties."""


@dataclass(frozen=True)
class Known:
    """A stretch in which something is known to have been wrong with a target, or with all where none is named."""

    target: str
    begin: datetime
    end: datetime
    what: str

    def document(self) -> dict[str, object]:
        """Return it as a report draws it."""
        return {"target": self.target, "from": self.begin.isoformat(), "to": self.end.isoformat(), "text": self.what}


def project(rules: Iterable[Rule], targets: Iterable[str]) -> Project:
    """Return a project that watches targets of these names; P1 goes to whoever is on call, the rest to the team."""
    watched = [{"name": name, "workspace": "w", "role_name": name, "offset": "0s"} for name in targets]
    routes = {"to": ["team"], "routes": [{"match": {"severity": ["P0", "P1"]}, "to": ["oncall"]}]}
    receivers = {name: {"type": "stdout"} for name in ("team", "oncall")}
    config = Config.model_validate({"targets": watched, "routes": routes, "receivers": receivers})
    return Project(rules=tuple(rules), config=config)


@contextmanager
def recorded(rows: Iterable[Row]) -> Iterator[Path]:
    """Yield a folder that holds the rows as Parquet, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as place:
        columns = list(zip(*((at.replace(tzinfo=None), role, count, json.dumps(properties))
                             for at, role, count, properties in rows), strict=True))  # fmt: skip
        names = ("TimeGenerated", "AppRoleName", "ItemCount", "Properties")
        taken = ", ".join(f'unnest(?) AS "{name}"' for name in names)
        path = Path(place) / "AppTraces.parquet"
        connection = duckdb.connect()
        connection.execute(f"CREATE TABLE t AS SELECT {taken}", [list(column) for column in columns])
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        connection.close()
        yield Path(place)


def backtested(rows: Iterable[Row], made: Project, start: datetime, end: datetime, *more: Signal) -> Outcome:
    """Return what the project's rules would have come to over the rows. Raises when a rule could not be replayed.

    ``more`` are signals besides the shipped ones.
    """
    with recorded(rows) as folder:
        history = FileHistory(EmbeddedTelemetry(recorded=Recording.of(folder).lay))
        studies = Studies(history, {**signals.known(), **{each.name: each for each in more}}, start, end)
        found = studies.study(studies.watched(made))
        history.close()
    assert not found.unplayed, found.unplayed
    return outcome(found, made)


def minutes(lengths: Sequence[timedelta]) -> float | None:
    """Return the median of lengths in minutes; None for none."""
    if not lengths:
        return None
    ordered = sorted(lengths)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return round(middle / timedelta(minutes=1), 1)
