"""Eval results in a folder: ``quality/results.jsonl``, ``redteam/results.jsonl``, and ``run.json`` to speak for them.

A file's own time proves nothing: a checkout makes old results young. So a folder without ``run.json`` is of no known
target and no known time.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tocsin.core.answer import NoAnswer, Why
from tocsin.core.evallines import QUALITY, REDTEAM, RUN
from tocsin.core.evallines import results as read
from tocsin.core.evals import Results

LARGEST = 8 * 1024 * 1024
"""Bytes of one file that are read."""


def results(folder: Path, shown: str) -> Results | NoAnswer:
    """Return what the folder holds. ``shown`` is how an operator calls it; a file that is not there is empty."""
    if not folder.is_dir():
        return NoAnswer(Why.MISSING, f"there is no folder {shown}: run the evals and put their results there")
    found, problems = {}, []
    for name in (QUALITY, REDTEAM, RUN):
        data = _content(folder / name)
        if isinstance(data, bytes):
            found[name] = data
        elif data:
            problems.append(f"{shown}/{name}: {data}")
    made, run = read(f"files in {shown}", found, f"{shown}/")
    return replace(made, at=run.finished if run else None, problems=(*problems, *made.problems))


def _content(path: Path) -> bytes | str:
    """Return the file's bytes, why it cannot be read, or an empty text when there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return data if len(data) <= LARGEST else f"larger than {LARGEST // 1024 // 1024} MiB"
