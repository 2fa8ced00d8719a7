"""A notice in Prometheus' terms: labels that say which alert it is, annotations that say what is known of it.

Labels make the identity, so a notice of the same alert has the same ones: nothing that changes stands in them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from tocsin.core.fields import Severity
from tocsin.core.message import Notice
from tocsin.core.text import scrub
from tocsin.notifiers.plain import links
from tocsin.notifiers.prose import Room, fitting, head, safe, summary

_SEVERITY = {Severity.P0: "critical", Severity.P1: "critical", Severity.P2: "warning", Severity.P3: "info"}
_STARTED = re.compile(r"(?<![0-9])(\d{8}T\d{6})Z$")
_LONGEST_LABEL, _MOST_LABELS, _LONGEST_TEXT, _LONGEST_LINK = 200, 30, 8_000, 2_000
_ROOM = Room(300, 20, 1_000)


FAILED_ACTION = "failed_action"
"""What a failed action's alert is ``about``: it is an alert of its own, and ends with its episode."""


def labels(notice: Notice, about: str = "") -> dict[str, str]:
    """Return the labels of the notice's alert, or of another of its episode; its own labels never replace these."""
    given = {_name(name): safe(value, _LONGEST_LABEL) for name, value in list(notice.labels.items())[:_MOST_LABELS]}
    own = {
        "alertname": safe(notice.rule, _LONGEST_LABEL),
        "target": safe(notice.target, _LONGEST_LABEL),
        "severity": _SEVERITY[notice.severity],
        "priority": notice.severity.value,
        "episode": fingerprint(notice.episode),
        "about": about,
    }
    return {name: value for name, value in {**given, **own}.items() if value}


def remarks(notice: Notice) -> dict[str, str]:
    """Return what is told: the summary, the whole text, and the facts that templates like to have by name."""
    found = {
        "summary": summary(notice, 300),
        "description": fitting(notice, _LONGEST_TEXT),
        "state": head(notice),
        "first_step": safe(notice.first_step, _ROOM.text),
        "runbook_url": dict(links(notice, _LONGEST_LINK)).get("Runbook", ""),
        "value": "" if notice.value is None else f"{notice.value:g}",
    }
    return {name: value for name, value in found.items() if value}


def fingerprint(identity: str) -> str:
    """Return sixteen hexadecimal digits that stand for an alert."""
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


_PLACES = ("Query", "Runbook", "Container App")
"""Links that lead to where something can be seen; others do something."""


def source(notice: Notice) -> str:
    """Return where the value can be looked up, or an empty text."""
    found = dict(links(notice, _LONGEST_LINK))
    return next((found[name] for name in _PLACES if name in found), "")


def started(notice: Notice) -> datetime:
    """Return when the episode began, which its key ends with; the notice's own time when it does not say."""
    said = _STARTED.search(notice.episode)
    try:
        began = datetime.strptime(said[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if said else notice.at
    except ValueError:
        began = notice.at
    return min(began, notice.at)


def authorization(options: Mapping[str, str], secret: Callable[[str], str]) -> str:
    """Return the ``Authorization`` header that is to be sent, or an empty text. Raises ValueError for a bad one."""
    named = options.get("authorization_setting")
    given = secret(named).strip() if named else ""
    if not given.isascii() or (given and not given.isprintable()):
        raise ValueError(f"{named} must hold a header's value on one line, like Bearer …")
    return given


def _name(name: str) -> str:
    """Return ``name`` with only what Prometheus allows in one."""
    allowed = re.sub(r"[^A-Za-z0-9_]", "_", scrub(name, 60))
    return allowed if allowed and not allowed[0].isdigit() else f"_{allowed}"
