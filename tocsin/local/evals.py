"""What a run of the accelerator's evals leaves behind: files, a zip of them, or events in telemetry."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.evallines import QUALITY, REDTEAM, RUN

_GOOD: Mapping[str, Any] = {"passed": True, "score": 0.9, "groundedness": 0.95, "latency_ms": 9_000, "cost_usd": 0.08}


def good(count: int = 20, **changes: Any) -> list[dict[str, Any]]:
    """Return quality cases that an accelerator's own limits accept, all alike but for their ids."""
    return [{"case_id": f"q-{number}", "suite": "quality", **_GOOD, **changes} for number in range(count)]


def safe(count: int = 10, failing: int = 0) -> list[dict[str, Any]]:
    """Return red-team cases, the first few of which failed."""
    return [
        {"case_id": f"r-{number}", "suite": "redteam", "passed": number >= failing, "reason": "refused"}
        for number in range(count)
    ]


def evals(
    target: str,
    finished: datetime,
    quality: Sequence[Mapping[str, Any]] | None = None,
    redteam: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, bytes]:
    """Return the files of one run of evals, by their names within its folder."""
    run = {"target": target, "finished_at": finished.isoformat()}
    lines = {QUALITY: good() if quality is None else quality, REDTEAM: safe() if redteam is None else redteam}
    found = {name: "".join(f"{json.dumps(case)}\n" for case in cases).encode() for name, cases in lines.items()}
    return {**found, RUN: json.dumps(run).encode()}


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return the files as a zip."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def events(
    role_name: str, at: datetime, cases: Sequence[Mapping[str, Any]], run_id: str = "", sampled: int = 1
) -> list[dict[str, Any]]:
    """Return the rows of ``AppTraces`` that tell of these cases, one a second from ``at`` on, every value as text."""
    rows = []
    for number, case in enumerate(cases):
        said = {**case, **({"run_id": run_id} if run_id else {})}
        args = {f"args_redacted.{key}": str(value) for key, value in said.items()}
        properties = {"event_name": "eval.result", "logger_name": "accelerator.telemetry", **args}
        when = at + timedelta(seconds=number)
        rows.append(
            {
                "TimeGenerated": when,
                "_IngestedAt": when,
                "AppRoleName": role_name,
                "Message": "eval.result",
                "SeverityLevel": 1,
                "ItemCount": sampled,
                "Properties": properties,
            }
        )
    return rows
