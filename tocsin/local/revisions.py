"""How one Container App behaves over time: a changed template makes a revision, which takes a while to serve.

Belongs here: the app's state, worked out from the instant somebody looks at it, and its JSON as the platform writes it.
Does not belong here: requests and responses, faults, or more than one app.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.config import Target

LOCATION = "westeurope"


class Refused(Exception):
    """A change the platform does not accept; the text is what it says."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How the next revision goes: ``ready_after`` None: never; ``failed``: why it fails; ``stuck``: never decided."""

    ready_after: timedelta | None
    operation_after: timedelta
    failed: str = ""
    stuck: bool = False


@dataclass(slots=True)
class Revision:
    """One revision. ``ready`` is when it serves; None for one that never will."""

    name: str
    template: dict[str, Any]
    created: datetime
    ready: datetime | None
    failed: str = ""
    failed_at: datetime | None = None
    active: bool = True
    weight: int = 0
    unhealthy: bool = False
    started: datetime | None = None
    """When it was last activated; None when it never was, beyond being made."""
    stopped: datetime | None = None
    restarted: tuple[datetime, datetime] | None = None
    """When it was last restarted, and when its new replicas are up and the old ones gone."""

    @property
    def begun(self) -> datetime:
        """Return since when it is meant to work."""
        return self.started or self.created

    def activate(self, now: datetime, ready_after: timedelta) -> None:
        """Work again; it takes as long as a new one until it serves, and one that never could still cannot."""
        if not self.active:
            self.active, self.started, self.restarted = True, now, None
            self.ready = now + ready_after if self.ready is not None else None

    def deactivate(self, now: datetime) -> None:
        """Stop working; what was shared out to it by name stays so."""
        if self.active:
            self.active, self.stopped, self.weight = False, now, 0

    def restart(self, now: datetime, ready_after: timedelta) -> None:
        """Make new replicas; the old ones go when those are up."""
        self.restarted = (now, now + ready_after)

    def replicas(self, now: datetime) -> list[datetime]:
        """Return when each replica was created: as many as the scale asks for at least, one where it asks for none."""
        if not self.active or (self.failed_at is not None and self.failed_at <= now):
            return []
        number = max(1, (self.template.get("scale") or {}).get("minReplicas") or 0)
        old, new = [self.begun] * number, [self.restarted[0]] * number if self.restarted else []
        return new if self.restarted and self.restarted[1] <= now else [*old, *new]

    def is_ready(self, now: datetime) -> bool:
        """Return whether it can serve."""
        return self.ready is not None and self.ready <= now

    def state(self, now: datetime) -> str:
        """Return its running state, as the platform calls it."""
        if not self.active:
            return "Stopped"
        if self.failed_at is not None and self.failed_at <= now:
            return "Failed"
        return "Running" if self.is_ready(now) else "Processing"


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running change. ``ends`` None: it never does."""

    name: str
    ends: datetime | None
    failed: str = ""

    def status(self, now: datetime) -> str:
        """Return how it stands at ``now``."""
        if self.ends is None or now < self.ends:
            return "InProgress"
        return "Failed" if self.failed else "Succeeded"


@dataclass(slots=True)
class LocalApp:
    """One app. ``operation`` is the newest change of its template, or None before there was any."""

    target: Target
    template: dict[str, Any]
    configuration: dict[str, Any]
    revisions: list[Revision] = field(default_factory=list)
    operation: Operation | None = None
    turned: tuple[str, datetime] | None = None
    """Whether the whole app was last stopped or started (``stop``, ``start``), and when that is done."""

    @property
    def multiple(self) -> bool:
        """Whether several revisions may be active."""
        return bool(self.configuration["activeRevisionsMode"] == "Multiple")

    def begin(self, now: datetime) -> None:
        """Make the first revision, which serves at once."""
        self.revisions.append(Revision(self.name(1), copy.deepcopy(self.template), now, now, weight=100))

    def name(self, number: int) -> str:
        """Return what the platform calls the ``number``-th revision."""
        return f"{self.target.container_app}--{number:07}"

    def change(self, template: dict[str, Any], now: datetime, rollout: Rollout, operation: str) -> bool:
        """Take a new template; return whether that made a revision, which one that does not differ never does.

        Raises Refused for a revision suffix that was used before.
        """
        if template == self.template:
            return False
        suffix = template.get("revisionSuffix")
        name = f"{self.target.container_app}--{suffix}" if suffix else self.name(len(self.revisions) + 1)
        if any(each.name == name for each in self.revisions):
            raise Refused("Field 'template.revisionsuffix' is invalid: revision with suffix already exists")
        self.template = template
        ends = None if rollout.stuck else now + rollout.operation_after
        never = rollout.ready_after is None or rollout.failed or rollout.stuck
        ready = None if never or rollout.ready_after is None else now + rollout.ready_after
        failed_at = ends if rollout.failed else None
        self.revisions.append(Revision(name, copy.deepcopy(template), now, ready, rollout.failed, failed_at))
        self.operation = Operation(operation, ends, rollout.failed)
        return True

    def settle(self, now: datetime) -> None:
        """Share out traffic as it is at ``now``: in ``Single`` mode the newest ready revision has it all."""
        ready = [each for each in self.revisions if each.is_ready(now) and each.active]
        if self.multiple:
            for each in self.revisions:
                each.weight = self._weight(each, ready[-1] if ready else None)
            return
        serving = max(reversed(ready), key=lambda each: each.begun, default=None)
        for each in self.revisions:
            if serving is not None and each is not serving and (each in ready or each.begun < serving.begun):
                each.deactivate(now)
        if serving is not None:
            serving.weight = 100

    def _weight(self, revision: Revision, newest: Revision | None) -> int:
        shares = self.configuration["ingress"].get("traffic") or []
        return sum(
            entry.get("weight") or 0
            for entry in shares
            if entry.get("revisionName") == revision.name or (entry.get("latestRevision") and revision is newest)
        )

    def provisioning(self, now: datetime) -> str:
        """Return the app's provisioning state."""
        if self.status(now) == "Progressing":
            return "InProgress"
        return self.operation.status(now) if self.operation else "Succeeded"

    def status(self, now: datetime) -> str:
        """Return the running status of the whole app."""
        verb, done = self.turned or ("start", now)
        return "Progressing" if now < done else "Stopped" if verb == "stop" else "Running"

    def down(self, now: datetime) -> bool:
        """Return whether none of its revisions works, whatever they are set to."""
        verb, done = self.turned or ("start", now)
        return (now < done) == (verb == "start") and self.turned is not None

    def replicas(self, revision: Revision, now: datetime) -> list[datetime]:
        """Return when each replica of a revision was created."""
        return [] if self.down(now) else revision.replicas(now)

    # As the platform writes it

    def document(self, now: datetime) -> dict[str, Any]:
        """Return the app's JSON; of a secret only its name."""
        ready = [each for each in self.revisions if each.is_ready(now)]
        secrets = [{"name": secret["name"]} for secret in self.configuration["secrets"]]
        target = self.target
        return {
            "id": f"/subscriptions/{target.subscription}/resourceGroups/{target.resource_group}"
            f"/providers/Microsoft.App/containerApps/{target.container_app}",
            "name": target.container_app,
            "type": "Microsoft.App/containerApps",
            "location": LOCATION,
            "tags": {"azd-env-name": "prod", "workload": "sales-research-accelerator"},
            "identity": {"type": "UserAssigned"},
            "properties": {
                "provisioningState": self.provisioning(now),
                "runningStatus": self.status(now),
                "latestRevisionName": self.revisions[-1].name,
                "latestReadyRevisionName": ready[-1].name if ready else "",
                "configuration": {**copy.deepcopy(self.configuration), "secrets": secrets},
                "template": self.template,
            },
        }

    def revision(self, revision: Revision, now: datetime) -> dict[str, Any]:
        """Return a revision's JSON."""
        state = "Stopped" if self.down(now) else revision.state(now)
        up = state == "Running"
        failed = revision.failed_at is not None and revision.failed_at <= now
        provisioning = "Failed" if failed else {"Processing": "Provisioning"}.get(state, "Provisioned")
        health = {"Running": "Unhealthy" if revision.unhealthy else "Healthy", "Failed": "Unhealthy"}
        return {
            "id": f"{self.target.container_app}/revisions/{revision.name}",
            "name": revision.name,
            "type": "Microsoft.App/containerApps/revisions",
            "properties": {
                "active": revision.active,
                "trafficWeight": revision.weight,
                "createdTime": revision.created.isoformat(),
                "lastActiveTime": revision.stopped.isoformat() if revision.stopped and not revision.active else None,
                "replicas": len(revision.replicas(now)) if up else 0,
                "provisioningState": provisioning,
                "provisioningError": revision.failed if state == "Failed" else None,
                "healthState": health.get(state, "None"),
                "runningState": state,
                "template": revision.template,
            },
        }


def replica(revision: Revision, number: int, created: datetime, now: datetime) -> dict[str, Any]:
    """Return a replica's JSON; the platform tells whole seconds."""
    up = revision.is_ready(now) and (not revision.restarted or created != revision.restarted[0])
    up = up or bool(revision.restarted and revision.restarted[1] <= now)
    return {
        "id": f"{revision.name}/replicas/{number}",
        "name": f"{revision.name}-{number:05}",
        "type": "Microsoft.App/containerApps/revisions/replicas",
        "properties": {
            "createdTime": created.replace(microsecond=0).isoformat(),
            "runningState": "Running" if up else "NotRunning",
            "containers": [{"name": each["name"], "ready": up} for each in revision.template["containers"]],
        },
    }


def first_template(container: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return a template as the accelerator's, with parts that an older SDK does not know."""
    asked = {"httpGet": {"path": "/healthz", "port": 8000}, "timeoutSeconds": 5}
    probes = [
        {"type": "Startup", **asked, "periodSeconds": 10, "failureThreshold": 60},
        {"type": "Liveness", **asked, "periodSeconds": 30, "failureThreshold": 3},
    ]
    api: dict[str, Any] = {
        "name": container,
        "image": "registry.example/sales-research-api:2026.11",
        "resources": {"cpu": 1.0, "memory": "2Gi", "ephemeralStorage": "4Gi"},
        "probes": probes,
        "env": [{"name": "APPLICATIONINSIGHTS_CONNECTION_STRING", "secretRef": "appinsights"}],
    }
    template = {
        "containers": [api],
        "scale": {"minReplicas": 1, "maxReplicas": 3, "rules": None, "pollingInterval": 30},
        "aFieldOfTomorrow": {"kept": ["as", "it", "is"]},
    }
    set_environment(template, container, env)
    return template


def set_environment(template: dict[str, Any], container: str, env: Mapping[str, str]) -> None:
    """Write these variables into the template, over those that are there; references to secrets stay."""
    watched = next(each for each in template["containers"] if each["name"] == container)
    references = [entry for entry in watched["env"] if "secretRef" in entry]
    watched["env"] = [*references, *({"name": name, "value": value} for name, value in env.items())]


def first_configuration(pinned: str) -> dict[str, Any]:
    """Return a configuration in ``Single`` mode, or in ``Multiple`` mode with all traffic pinned to one revision."""
    traffic = {"revisionName": pinned} if pinned else {"latestRevision": True}
    return {
        "activeRevisionsMode": "Multiple" if pinned else "Single",
        "ingress": {"external": True, "targetPort": 8000, "traffic": [{**traffic, "weight": 100}]},
        "registries": [{"server": "registry.example", "identity": "system"}],
        "secrets": [{"name": "appinsights", "value": "never returned"}],
    }
