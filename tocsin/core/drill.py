"""A drill of the killswitch: its steps, what each proved, and the report that is kept of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from tocsin import __version__
from tocsin.core.container import SCOPES
from tocsin.core.text import scrub


class Result(StrEnum):
    """What came of a step."""

    PROVEN = "proven"
    FAILED = "FAILED"
    UNPROVEN = "not proven"
    UNTRIED = "not tried"
    SKIPPED = "not reached"
    NONE = "nothing to prove"

    @property
    def good(self) -> bool:
        """Whether it leaves nothing open."""
        return self in (Result.PROVEN, Result.NONE)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a drill. ``evidence`` holds no text from telemetry."""

    name: str
    began: datetime
    ended: datetime
    result: Result
    evidence: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        took = (self.ended - self.began).total_seconds()
        began = self.began.isoformat(timespec="milliseconds")
        return {
            "step": self.name,
            "began": began,
            "seconds": took,
            "result": self.result.value,
            "evidence": self.evidence,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A whole drill.

    ``left_on`` says that the switch may still be on, ``kept_for`` for whom; ``manual`` is the command that releases it.
    """

    id: str
    target: str
    production: bool
    scope: str
    by: str
    began: datetime
    ended: datetime
    steps: tuple[Step, ...]
    left_on: bool
    kept_for: str
    manual: str

    @property
    def good(self) -> bool:
        """Whether every step proved what it had to."""
        return bool(self.steps) and all(step.result.good for step in self.steps) and not self.left_on

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "drill": self.id,
            "tocsin": __version__,
            "target": self.target,
            "production": self.production,
            "switch": SCOPES[self.scope],
            "scope": self.scope,
            "by": self.by,
            "began": self.began.isoformat(timespec="milliseconds"),
            "ended": self.ended.isoformat(timespec="milliseconds"),
            "seconds": (self.ended - self.began).total_seconds(),
            "proven": self.good,
            "left_on": self.left_on,
            "kept_for": self.kept_for,
            "release_by_hand": self.manual,
            "steps": [step.as_dict() for step in self.steps],
        }

    @property
    def _end(self) -> str:
        if self.kept_for:
            return f"on, and not the drill's to release: {_cell(self.kept_for)}"
        return "possibly still on" if self.left_on else "off"

    def markdown(self) -> str:
        """Return it as a page for people, to be kept with the handover checklist."""
        env = "production" if self.production else "not production"
        head = [
            f"# Killswitch drill of {self.target}: {'proven' if self.good else 'NOT PROVEN'}",
            "",
            f"- Drill `{self.id}`, by {_cell(self.by)}, with Tocsin {__version__}",
            f"- Target `{self.target}` ({env}), switch `{SCOPES[self.scope]}` (scope `{self.scope}`)",
            f"- From {_moment(self.began)} to {_moment(self.ended)}, {_seconds(self.ended - self.began)}",
            f"- At the end the switch is **{self._end}**",
            "",
        ]
        open_ = [f"`{step.name}` is {step.result.value}" for step in self.steps if not step.result.good]
        found = ["Left open: " + "; ".join(open_) + ".", ""] if open_ else []
        by_hand = ["Release it by hand:", "", f"    {self.manual}", ""] if self.left_on else []
        return "\n".join([*head, *found, *by_hand, *_rows(self.steps)]) + "\n"


def _rows(steps: Iterable[Step]) -> list[str]:
    lines = ["| step | began (UTC) | took | result | evidence |", "|---|---|---|---|---|"]
    for step in steps:
        took = _seconds(step.ended - step.began)
        at = f"{step.began.astimezone(UTC):%H:%M:%S}"
        lines.append(f"| {step.name} | {at} | {took} | {step.result.value} | {_cell(step.evidence)} |")
    return lines


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _seconds(length: timedelta) -> str:
    return f"{length.total_seconds():.1f} s"


def _cell(text: str) -> str:
    """Return text that stays in its cell and is nothing but text, whatever a service has said."""
    for letter in "\\`*_[]<>|":
        text = text.replace(letter, f"\\{letter}")
    return scrub(text, 2_000)
