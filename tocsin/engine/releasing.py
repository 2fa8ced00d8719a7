"""Releasing a killswitch: what a person has to pass, since when the switch is engaged, and who hears of an override.

Belongs here: gathering what the gate is judged by. Does not belong here: the judgement (``core.evals``), or the change
itself, which an actuator makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tocsin import __version__
from tocsin.core import container
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.evals import (
    FAILED,
    FIGURES,
    NOT_SAID,
    Asked,
    Earlier,
    Engaged,
    Terms,
    Verdict,
    accepted,
    refused,
)
from tocsin.core.fields import Severity
from tocsin.core.message import OVERRIDE, Fact, Kind, Notice
from tocsin.core.read import Project
from tocsin.core.text import scrub
from tocsin.ports import Configuration, Evaluations, Store

_BY_POLICY = frozenset({"applied", "verified"})
_WORDS_OF_A_REASON = 3


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands between a person and the release of a switch."""

    project: Project
    store: Store
    configuration: Configuration
    evaluations: Evaluations

    def look(self, target: Target, scope: str, now: datetime) -> Verdict:
        """Return the verdict on releasing ``scope`` of ``target`` now. Raises ``StoreUnavailable``, changes nothing."""
        audit = self.store.audit()
        since = engaged(target, scope, self.configuration.read(target), audit)
        if since.at is None:
            return refused("engaged since", since.words)
        found = self.evaluations.results(target, since.at, now)
        if isinstance(found, NoAnswer):
            return refused("results", f"{found.why.value}: {found.detail}; {since.words}")
        return accepted(found, asked(self.project, target, since, audit), now)


def asked(project: Project, target: Target, since: Engaged, audit: Sequence[Mapping[str, Any]]) -> Asked:
    """Return what results of a target are judged by."""
    terms = project.terms.get(target.name, Terms())
    minimum = target.evals.minimum_cases if target.evals else 0
    return Asked(target.name, since, terms, minimum, judged(target.name, audit))


def judged(target: str, audit: Sequence[Mapping[str, Any]]) -> tuple[Earlier, ...]:
    """Return the runs by which somebody wanted to release a switch of the target, as the audit has them."""
    found = [entry["detail"] for entry in audit if entry["target"] == target]
    return tuple(_run(detail) for detail in found if "gate" in detail and "results from" in detail)


def _run(detail: Mapping[str, str]) -> Earlier:
    counts = [detail.get(f"check.{suite} cases", "") for suite in ("quality", "red-team")]
    quality, redteam = [int(each) if each.isdigit() else 0 for each in counts]
    figures = {name: detail.get(f"check.{name}", "") for name in FIGURES}
    red = tuple(name for name, words in figures.items() if words.startswith(FAILED) and NOT_SAID not in words)
    at = datetime.fromisoformat(detail["results from"])
    green = detail["gate"] == "green"
    return Earlier(detail.get("run", ""), at, quality, redteam, red, good=green, released=green)


def engaged(target: Target, scope: str, app: App | NoAnswer, audit: Sequence[Mapping[str, Any]]) -> Engaged:
    """Return since when the switch is engaged, as the later of what the audit and what the platform know.

    The platform knows when the oldest serving revision that has it on was made: a switch that was set by hand is in no
    audit, and results from before what serves now say nothing about it.
    """
    if isinstance(app, NoAnswer):
        return Engaged(None, f"the app could not be read, so that nothing is known: {app.why.value} {app.detail}")
    if scope == container.WHOLE:
        return _stopped(target, app, audit)
    variable = container.SCOPES[scope]
    on = [each for each in app.serving if container.engaged(each.env.get(variable))]
    made = [each.created for each in on if each.created is not None]
    recorded = _recorded(target.name, scope, audit)
    if on and len(made) < len(on) and recorded is None:
        return Engaged(None, f"since when {variable} is on is not known: the platform does not say, nor does the audit")
    known = [*([(recorded, "by the audit")] if recorded else []), *([(min(made), "by its revision")] if made else [])]
    serving = min(made) if made and len(made) == len(on) else None
    if not known:
        return Engaged(None, f"{variable} is on nowhere and its engage in no audit: since when is not known")
    at, by = max(known)
    return Engaged(at, f"engaged since {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC {by}", serving)


def _stopped(target: Target, app: App, audit: Sequence[Mapping[str, Any]]) -> Engaged:
    """Return since when the whole app is stopped, as the audit has it: the platform does not say."""
    if not app.stopped:
        return Engaged(None, f"it is not stopped: the platform calls it {app.status or 'running'}")
    at = _recorded(target.name, container.WHOLE, audit)
    if at is None:
        return Engaged(None, "since when it is stopped is not known: the audit does not say")
    return Engaged(at, f"stopped since {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC by the audit")


def _recorded(target: str, scope: str, audit: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Return when the switch was last engaged, by a policy or by a person, as the audit has it."""
    found = [
        datetime.fromisoformat(entry["at"]) for entry in audit if entry["target"] == target and _engages(entry, scope)
    ]
    return max(found, default=None)


def _engages(entry: Mapping[str, Any], scope: str) -> bool:
    detail = entry["detail"]
    if entry["actor"].startswith("person "):
        # Even one that failed may have been engaged all the same; the latest of them all asks the most of results.
        verb = "stop " if scope == container.WHOLE else "engage "
        return bool(entry["event"].startswith(verb) and detail.get("scope") == scope)
    if scope == container.WHOLE:
        return detail.get("action") == "container_app.stop" and entry["event"] in _BY_POLICY
    by_policy = detail.get("action") == "killswitch.engage" and detail.get("arg.scope", "tools") == scope
    return bool(by_policy and entry["event"] in _BY_POLICY)


def _back(target: Target, scope: str) -> str:
    if scope == container.WHOLE:
        return container.turn_by_hand(target, "stop")
    return container.manual(target, container.SCOPES[scope], "on")


def weak(reason: str) -> str:
    """Return what is wrong with the reason for an override, or an empty text."""
    enough = len([word for word in reason.split() if any(letter.isalpha() for letter in word)]) >= _WORDS_OF_A_REASON
    return "" if enough else f"an override needs a reason of {_WORDS_OF_A_REASON} words or more: others will read it"


def overridden(target: Target, scope: str, who: str, reason: str, verdict: Verdict, now: datetime) -> Notice:
    """Return what people are told when somebody releases a switch though the gate is red.

    It has an episode of its own, so that it pages whatever else is open, and no silence hides it.
    """
    variable = container.SCOPES.get(scope, "the whole app, which was stopped,")
    episode = f"{OVERRIDE}/{target.name}/{scope}/{now:%Y%m%dT%H%M%S.%fZ}"
    failing = [Fact(f"Red: {check.name}", scrub(check.words, 500)) for check in verdict.failing]
    return Notice(
        id=f"{episode}/acted",
        kind=Kind.ACTED,
        episode=episode,
        rule=OVERRIDE,
        target=target.name,
        severity=Severity.P1,
        at=now,
        title=scrub(f"{who} releases {variable} on {target.name} though its evals do not allow it.", 300),
        text=scrub(reason),
        facts=(
            Fact("State", "overridden: it is released now, whatever the gate says"),
            Fact("By", scrub(who, 60)),
            Fact("Reason", scrub(reason)),
            Fact("Target", target.name),
            Fact("Killswitch", f"{variable} is being released"),
            *failing,
        ),
        first_step="Open the runbook: docs/operations.md#releasing-the-killswitch",
        manual=_back(target, scope),
        manual_does="Stop it again by hand" if scope == container.WHOLE else "Engage it again by hand",
        labels=dict(target.labels),
        provenance=f"tocsin killswitch release --override · tocsin {__version__}",
    )
