"""Lines of eval results, as a run writes them or telemetry tells them: read strictly, each problem with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tocsin.core.evals import Case, Results
from tocsin.core.text import scrub

QUALITY, REDTEAM, RUN = "quality/results.jsonl", "redteam/results.jsonl", "run.json"
"""The files of one run, relative to its folder."""

_SUITES = {"quality": QUALITY, "redteam": REDTEAM}
_MOST_LINES = 100_000
_MOST = 20
"""How many lines of one file are said to be bad; one is enough to refuse."""


@dataclass(frozen=True, slots=True)
class Run:
    """What ``run.json`` says: which target the results are of, when the run ended, and perhaps its name."""

    target: str
    finished: datetime
    name: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """The cases that could be read, and every line that could not."""

    cases: tuple[Case, ...]
    problems: tuple[str, ...] = ()


def results(source: str, files: Mapping[str, bytes], place: str = "") -> tuple[Results, Run | None]:
    """Return what a run's files hold, without a time yet, and what its ``run.json`` says. A file may be absent."""
    run, problems = read_run(files[RUN], place + RUN) if RUN in files else (None, ())
    found = {suite: read(files.get(path, b""), suite, place + path) for suite, path in _SUITES.items()}
    bad = (*problems, *found["quality"].problems, *found["redteam"].problems)
    made = Results(
        source,
        run=run.name if run else "",
        target=run.target if run else "",
        quality=found["quality"].cases,
        redteam=found["redteam"].cases,
        problems=bad,
    )
    return made, run


def read(data: bytes, suite: str, place: str) -> Lines:
    """Return the cases of one file of JSON lines. Never raises: a bad line is a problem with its number."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Lines((), (f"{place}:{data[: error.start].count(10) + 1}: not UTF-8",))
    cases, problems = [], []
    # As the accelerator does. A line that it breaks in the middle of a text is bad to both.
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if number > _MOST_LINES:
            problems.append(f"{place}:{number}: more than {_MOST_LINES} lines, none of the rest is read")
            break
        try:
            cases.append(case(_object(line), suite))
        except ValueError as error:
            problems.append(f"{place}:{number}: {scrub(str(error), 200)}")
        if len(problems) >= _MOST:
            break
    return Lines(tuple(cases), tuple(problems))


def read_run(data: bytes, place: str) -> tuple[Run | None, tuple[str, ...]]:
    """Return what ``run.json`` says, or why it cannot be read. Never raises."""
    try:
        found = _object(data.decode("utf-8-sig"))
        target, finished, name = found.get("target"), found.get("finished_at"), found.get("run", "")
        if not isinstance(target, str) or not target:
            raise ValueError("'target' is not the name of a target")
        if not isinstance(finished, str):
            raise ValueError("'finished_at' is not a time")
        return Run(target[:100], _instant(finished), scrub(str(name), 200)), ()
    except UnicodeDecodeError:
        return None, (f"{place}: not UTF-8",)
    except ValueError as error:
        return None, (f"{place}: {scrub(str(error), 200)}",)


def case(line: Mapping[str, Any], suite: str) -> Case:
    """Return the case of one line. Raises ValueError for what a case cannot be without, or cannot be."""
    said = line.get("suite")
    if isinstance(said, str) and (of := suite_of(said)) and of != suite:
        raise ValueError(f"a case of the suite '{said}' among those of {suite}")
    found = Case(
        case_id=_name(line.get("case_id")),
        passed=_passed(line.get("passed")),
        score=_figure(line, "score", 1.0),
        groundedness=_figure(line, "groundedness", 1.0),
        latency_ms=_figure(line, "latency_ms"),
        cost_usd=_figure(line, "cost_usd"),
    )
    if suite == "redteam" and found.passed is None:
        raise ValueError("a red-team case that does not say whether it passed")
    return found


def suite_of(name: str) -> str:
    """Return ``quality`` or ``redteam``, however it is written, or an empty text for any other suite."""
    plain = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    return plain if plain in _SUITES else ""


def telemetry(rows: Sequence[Mapping[str, Any]]) -> tuple[Lines, Lines]:
    """Return the quality and red-team cases of ``eval.result`` rows, whose values are texts; an empty one is none."""
    found: dict[str, list[Case]] = {suite: [] for suite in _SUITES}
    bad: list[str] = []
    for row in rows:
        said = {key: _typed(key, value) for key, value in row.items() if value not in (None, "")}
        suite = suite_of(str(said.get("suite", "")))
        try:
            if not suite:
                raise ValueError("it is of no known suite")
            found[suite].append(case(said, suite))
        except ValueError as error:
            at, which = row.get("TimeGenerated"), scrub(str(row.get("case_id") or "?"), 60)
            bad.append(f"eval.result of case {which} at {at:%H:%M:%S}: {scrub(str(error), 200)}")
    return Lines(tuple(found["quality"]), tuple(bad[:_MOST])), Lines(tuple(found["redteam"]))


def _typed(key: str, value: Any) -> Any:
    """Turn a text of telemetry into what JSON would hold; what is none stays a text, and is refused as such."""
    if key == "passed":
        return {"true": True, "false": False}.get(str(value).lower(), value)
    if key in ("score", "groundedness", "latency_ms", "cost_usd"):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _name(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError("a case without a 'case_id'")
    return str(value)


def _passed(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ValueError("'passed' is neither true nor false")


def _figure(line: Mapping[str, Any], name: str, most: float = math.inf) -> float | None:
    """Return a figure of at least 0. A score of 4 out of 5 is no score out of 1, and would pass anything."""
    value = line.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"'{name}' is not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not (math.isfinite(found) and 0 <= found <= most):
        raise ValueError(f"'{name}' is {found:g}, which is not {'from 0 to 1' if most == 1 else '0 or more'}")
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key given twice could say passed and failed: the last one would win unseen."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("'finished_at' is not a time like 2026-12-01T08:00:00Z") from None
    if at.tzinfo is None:
        raise ValueError("'finished_at' does not say its zone: write it like 2026-12-01T08:00:00Z")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("'finished_at' is at the end of time") from None
