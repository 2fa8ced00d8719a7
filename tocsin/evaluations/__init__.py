"""Where eval results come from: one module a source, each of which says what is there and when it is from.

Belongs here: finding a run's files, artifact or events, and what makes them doubtful. Does not belong here: reading a
line, or whether results are good enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tocsin.connections.github import ENDPOINT, GitHub
from tocsin.connections.http import Http
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.evals import Results
from tocsin.evaluations import artifact, events, files
from tocsin.ports import Telemetry

_NONE = "the target names no source of eval results: `evals:` in tocsin.yaml (docs/files.md)"


@dataclass(frozen=True, slots=True)
class Sources:
    """The source that each target names. ``secret`` returns an app setting's value, or raises LookupError."""

    root: Path
    http: Http
    secret: Callable[[str], str]
    telemetry: Telemetry
    github: str | None = None
    """Another endpoint of GitHub's API."""

    def _github(self, token_setting: str) -> GitHub:
        return GitHub(self.http, self.secret(token_setting), self.github or ENDPOINT)

    def results(self, target: Target, since: datetime, now: datetime) -> Results | NoAnswer:
        """Return the results of the target's source, or why there are none. Never raises for what it holds."""
        evals = target.evals
        if evals is None:
            return NoAnswer(Why.MISSING, _NONE)
        if evals.files:
            return files.results(self.root / evals.files, evals.files)
        if evals.events:
            return events.results(self.telemetry, target, since, now)
        return artifact.results(self._github, target, evals, since, now)
