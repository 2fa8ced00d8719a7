"""The configuration a target runs with, read from the platform itself: what telemetry may never tell."""

from __future__ import annotations

from dataclasses import dataclass, field

from tocsin.connections.arm import ContainerApps
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.ports import Configuration


@dataclass(frozen=True, slots=True)
class ContainerAppConfiguration:
    """Reads Container Apps with the reader's identity."""

    apps: ContainerApps

    def read(self, target: Target) -> App | NoAnswer:
        """Return the app with its revisions as they are now; MISSING for a target that names no app."""
        if not target.container_app:
            return NoAnswer(Why.MISSING, f"target {target.name} names no Container App")
        return self.apps.get(target)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Tells the region of a target's resources: as it is written, else where its Container App is, read once."""

    configuration: Configuration
    _known: dict[str, str] = field(default_factory=dict)

    def __call__(self, target: Target) -> str | NoAnswer:
        """Return the region, or why it is not known."""
        if target.region:
            return target.region
        if target.name not in self._known:
            app = self.configuration.read(target)
            if isinstance(app, NoAnswer):
                return app
            self._known[target.name] = app.location
        return self._known[target.name]
