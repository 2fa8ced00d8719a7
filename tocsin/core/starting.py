"""How long a new revision may take to start: by its own probes, within bounds.

A changed variable makes a new revision, and the accelerator's start runs a bootstrap of up to ten minutes. Until the
time of its probes is up, a revision that does not serve yet is starting, and nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from tocsin.core.container import App, Revision

LONGEST = timedelta(minutes=30)
"""The longest start that is waited for, whatever the probes allow: then somebody should look."""

AROUND = timedelta(minutes=5)
"""For what is not in the probes: finding a node, pulling the image, moving the traffic. An estimate of our own."""

UNREAD = timedelta(seconds=605) + AROUND
"""How long to wait while the app cannot be read: as the accelerator's own startup probe allows."""

_UNSAID = {"initialDelaySeconds": 0, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}
"""What the platform's API takes for a figure that a probe does not give."""

_DEFAULT = timedelta(seconds=1 + 240 * 1 + 3)
"""The startup probe that Container Apps adds where a container has none: every second, 240 times."""


def patience(template: Mapping[str, Any]) -> timedelta:
    """Return how long after a change a revision of ``template`` may take to serve, which has a bound."""
    return max(map(_of, template.get("containers") or ()), default=_DEFAULT) + AROUND


def starting(app: App, has: Callable[[Revision], bool]) -> timedelta | None:
    """Return how long what is wanted may take to serve since the change, while its new revision only starts.

    None when no revision with it is coming up: the newest lacks it, runs already, or failed by what the platform says.
    One that is not listed yet is coming up.
    """
    new = app.newest
    if new is None:
        return patience(app.template) if app.latest else None
    if not (new.active and has(new)) or new.running or new.failed:
        return None
    return patience(new.template or app.template)


def _of(container: Mapping[str, Any]) -> timedelta:
    """Return what a container's startup probe allows; without one the longest of its other probes decides."""
    probes = [each for each in container.get("probes") or () if isinstance(each, Mapping)]
    startup = [each for each in probes if each.get("type") == "Startup"]
    return max(map(_span, startup or probes), default=_DEFAULT)


def _span(probe: Mapping[str, Any]) -> timedelta:
    delay, period, timeout, failures = (_figure(probe.get(name), default) for name, default in _UNSAID.items())
    return timedelta(seconds=min(delay + failures * period + timeout, LONGEST.total_seconds()))


def _figure(given: Any, default: int) -> float:
    return given if isinstance(given, int | float) and not isinstance(given, bool) and given > 0 else default
