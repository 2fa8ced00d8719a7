"""The configuration a target runs with, read from the platform itself: what telemetry may never tell."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.connections.arm import ContainerApps
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App


@dataclass(frozen=True, slots=True)
class ContainerAppConfiguration:
    """Reads Container Apps with the reader's identity."""

    apps: ContainerApps

    def read(self, target: Target) -> App | NoAnswer:
        """Return the app with its revisions as they are now; MISSING for a target that names no app."""
        if not target.container_app:
            return NoAnswer(Why.MISSING, f"target {target.name} names no Container App")
        return self.apps.get(target)
