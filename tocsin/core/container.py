"""A Container App as read from the platform, and what can be concluded from it."""

from __future__ import annotations

import copy
import itertools
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.config import Target

ENGAGED = frozenset({"1", "true", "on"})
"""What the accelerator's ``assert_enabled`` reads as engaged, in any case."""

SCOPES: Mapping[str, str] = {"tools": "KILLSWITCH_TOOLS", "workflow": "KILLSWITCH_WORKFLOW", "all": "KILLSWITCH"}
"""What a killswitch stops → the variable that stops it."""

DEPLOYING = frozenset({"InProgress", "Deleting"})
"""Provisioning states in which a change would be refused. A deployment that failed or was cancelled is none."""

SECRET = "\0(secret reference)"
"""Stands for the value of a variable that is a reference to a secret: it is set, and it is not ours to read.

No variable of a process can hold its first letter, so that none is taken for a secret.
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision. ``weight`` is its share of traffic in percent; ``env`` are its container's variables."""

    name: str
    active: bool
    weight: int
    running: bool
    env: Mapping[str, str]
    created: datetime | None = None
    state: str = ""
    """What the platform calls its state, and why, where it says so."""
    failed: bool = False
    """Whether the platform says that it failed to come up, or is unhealthy: never of one that is merely starting."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """What it was made from, as the platform's JSON."""
    replicas: int | None = None
    """How many replicas of it there are now; None where the platform does not say."""

    @property
    def serving(self) -> bool:
        """Whether requests can reach it."""
        return self.active and self.weight > 0


@dataclass(frozen=True, slots=True)
class App:
    """The app at one moment. ``template`` is the platform's JSON, whole; ``env`` what the watched container has.

    ``traffic`` is the platform's JSON of how requests are shared out; empty where requests do not come in at all.
    """

    id: str
    location: str
    template: Mapping[str, Any]
    env: Mapping[str, str]
    revisions: tuple[Revision, ...]
    multiple: bool = False
    provisioning: str = "Succeeded"
    latest: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    traffic: tuple[Mapping[str, Any], ...] = ()
    status: str = ""
    """What the platform calls the running status of the whole app: Running, Progressing, Stopped."""

    @property
    def stopped(self) -> bool:
        """Whether the whole app is stopped: none of its revisions works then, whatever it is set to."""
        return self.status == "Stopped"

    @property
    def serving(self) -> tuple[Revision, ...]:
        """The revisions that requests can reach."""
        return () if self.stopped else tuple(revision for revision in self.revisions if revision.serving)

    @property
    def silence(self) -> str:
        """Why nothing serves, in words, where nothing does."""
        return "the app is stopped" if self.stopped else "no revision serves"

    @property
    def follows(self) -> bool:
        """Whether some of the traffic goes to whichever revision is the newest."""
        return any(entry.get("latestRevision") for entry in self.traffic)

    @property
    def template_serves(self) -> bool:
        """Whether what the template says comes to serve by itself, as soon as its revision runs."""
        return not self.multiple or not self.traffic or self.follows

    @property
    def newest(self) -> Revision | None:
        """The revision that the platform made last, or None while it is not listed."""
        return next((revision for revision in self.revisions if revision.name == self.latest), None)


def environment(template: Mapping[str, Any], container: str) -> dict[str, str]:
    """Return the variables of the named container; a secret reference reads as ``SECRET``.

    One that is given twice is as the last entry says, which is the one that Kubernetes takes.
    """
    entries = container_of(template, container).get("env") or ()
    return {entry["name"]: SECRET if entry.get("secretRef") else str(entry.get("value") or "") for entry in entries}


def with_variable(template: Mapping[str, Any], container: str, name: str, value: str) -> dict[str, Any]:
    """Return ``template`` with one variable of one container set, and nothing else different.

    A ``revisionSuffix`` of the deployment's own is given up, so that the platform names the revision: one used twice is
    refused, or makes no revision at all while the change is reported as a success.
    Raises LookupError when the container is not in the template, ValueError when the variable is a secret reference.
    """
    changed = renamed(template)
    entries = entries_of(changed, container)
    own = [entry for entry in entries if entry["name"] == name]
    if any(entry.get("secretRef") for entry in own):
        raise ValueError(f"{name} is a reference to a secret; set its value there")
    for entry in own:  # all of them, where it is given twice: nobody need know which one counts
        entry["value"] = value
    if not own:
        entries.append({"name": name, "value": value})
    return changed


def renamed(template: Mapping[str, Any], suffix: str | None = None) -> dict[str, Any]:
    """Return a copy of ``template`` whose next revision is named by the platform, or ends with ``suffix``."""
    changed = copy.deepcopy(dict(template))
    if suffix or changed.get("revisionSuffix"):
        changed["revisionSuffix"] = suffix
    return changed


def entries_of(template: Mapping[str, Any], container: str) -> list[dict[str, Any]]:
    """Return the variables of the named container as they stand in ``template``, to be changed there.

    Raises LookupError when the container is not in the template.
    """
    found = container_of(template, container)
    if found.get("env") is None:
        found["env"] = []
    entries: list[dict[str, Any]] = found["env"]
    return entries


def what_runs(template: Mapping[str, Any], container: str, besides: Collection[str]) -> dict[str, Any]:
    """Return what decides what a template runs, by container: image, command and variables, ``besides`` some of them.

    Two templates with the same of these do the same, however the platform fills in the rest of what it tells; whether
    a start skips the bootstrap is none of it.
    """
    besides = {*besides, BOOTSTRAP, FOUND_BOOTSTRAP}
    found = {}
    for each in (*(template.get("initContainers") or ()), *(template.get("containers") or ())):
        left = [entry for entry in each.get("env") or () if each["name"] != container or entry["name"] not in besides]
        env = {entry["name"]: (entry.get("value") or "", entry.get("secretRef")) for entry in left}
        found[each["name"]] = (each.get("image"), each.get("command") or [], each.get("args") or [], env)
    return found


def container_of(template: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the named container of ``template``; raises LookupError, which names those there are, without it."""
    found: dict[str, Any] | None = next(
        (each for each in template.get("containers") or () if each["name"] == name), None
    )
    if found is None:
        names = ", ".join(each["name"] for each in template.get("containers") or ()) or "none"
        raise LookupError(f"no container '{name}' in the app; it has: {names}")
    return found


def engaged(value: str | None) -> bool:
    """Return whether the accelerator reads this value of a killswitch variable as engaged: no space is forgiven."""
    return (value or "").lower() in ENGAGED


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the serving revisions found: whether all are as wanted, and in words which are not."""

    holds: bool
    words: str
    starts: timedelta | None = None
    """How long what is wanted may take to serve since it was applied, while its revision only starts; else None."""


def verify(app: App, variable: str, on: bool) -> Look:
    """Return whether every revision that serves has the switch as wanted and runs; without any, nothing is proven."""
    if not app.serving:
        return Look(False, app.silence)
    hidden = [each.name for each in app.serving if each.env.get(variable) == SECRET]
    wrong = [each.name for each in app.serving if engaged(each.env.get(variable)) != on]
    down = [f"{each.name} ({each.state or 'state unknown'})" for each in app.serving if not each.running]
    if hidden:
        return Look(False, f"{variable} is a reference to a secret on {', '.join(hidden)}: it cannot be read")
    if wrong:
        words = f"{variable} is not {'on' if on else 'off'} on {', '.join(wrong)}"
        return Look(False, words + _coming(app, variable, on))
    if down:
        return Look(False, f"not running yet: {', '.join(down)}")
    if app.template_serves and app.env.get(variable) != SECRET and engaged(app.env.get(variable)) != on:
        return Look(False, f"{variable} is not {'on' if on else 'off'} in the template, which serves next")
    return Look(True, f"{variable} is {'on' if on else 'off'} on {', '.join(each.name for each in app.serving)}")


def _coming(app: App, variable: str, on: bool) -> str:
    """Return how far the newest revision has come when it has the switch as wanted and does not serve yet."""
    new = app.newest
    if new is None or new.serving or engaged(new.env.get(variable)) != on:
        return ""
    return f"; {new.name} has it and is {new.state or 'not serving'}"


BOOTSTRAP, FOUND_BOOTSTRAP = "BOOTSTRAP_SKIP", "BOOTSTRAP_SKIP_FOUND_BY_TOCSIN"
"""With ``1`` the accelerator starts without its bootstrap; the other is our note of what the first was found as."""

WHOLE = "app"
"""Stands, where a switch's scope stands, for the whole app being stopped."""


def turn_by_hand(target: Target, verb: str) -> str:
    """Return the command with which a person stops or starts the whole app, quoted for a POSIX shell."""
    url = shlex.quote(f"https://management.azure.com{target.app_id}/{verb}?api-version=2025-07-01")
    return f"az rest --method post --url {url}"


def manual(target: Target, variable: str, value: str, *without: str) -> str:
    """Return the command with which a person sets the variable, ``without`` others, quoted for a POSIX shell."""
    name, group = shlex.quote(target.container_app), shlex.quote(target.resource_group)
    subscription, setting = shlex.quote(target.subscription), shlex.quote(f"{variable}={value}")
    command = f"az containerapp update -n {name} -g {group} --subscription {subscription} --set-env-vars {setting}"
    return f"{command} --remove-env-vars {' '.join(without)}" if without else command


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in the configuration: in words, and which values of a signal's dimensions it has."""

    words: str
    labels: Mapping[str, str] = field(default_factory=dict)


DEV_MODE, NO_APPROVER = "dev-mode", "no-approver"
"""Signs in the configuration that no human approves: side effects run without one, or they are refused."""


def approver_findings(app: App, target: Target, at: datetime) -> list[Finding]:  # noqa: ARG001
    """Return what is wrong with the human approval of a production target, judged on the revisions that serve.

    A target whose labels say another ``env`` than ``prod`` has no findings, nor has one that declares no side-effect
    tools. An approver wins over dev mode, so that with one nothing is wrong.
    """
    return [_without(each) for each in _approving(app, target) if not _approver(each)]


def unused_dev_mode(app: App, target: Target, at: datetime) -> list[Finding]:  # noqa: ARG001
    """Return the serving revisions of a production target that have dev mode set beside an approver, which wins."""
    found = [each.name for each in _approving(app, target) if _approver(each) and engaged(each.env.get(_DEV_MODE))]
    return [Finding(f"{_DEV_MODE} is set beside {_APPROVER} on {name}: the approver is asked") for name in found]


_DEV_MODE, _APPROVER = "HITL_DEV_MODE", "HITL_APPROVER_ENDPOINT"


def _approving(app: App, target: Target) -> tuple[Revision, ...]:
    return app.serving if target.production and target.side_effect_tools else ()


def _approver(revision: Revision) -> bool:
    return bool(revision.env.get(_APPROVER, "").strip())


def _without(revision: Revision) -> Finding:
    """Return what a revision without an approver does with a call that needs approval."""
    if engaged(revision.env.get(_DEV_MODE)):
        words = f"{_APPROVER} is not set and {_DEV_MODE} approves by itself on {revision.name}: calls go through"
        return Finding(words, {"sign": DEV_MODE})
    return Finding(f"{_APPROVER} is not set on {revision.name}: calls are refused", {"sign": NO_APPROVER})


_BEGINNING = ("Processing", "Activating")


def revision_findings(app: App, target: Target, at: datetime) -> list[Finding]:  # noqa: ARG001
    """Return the active revisions that do not run, with the platform's reason; one that is just starting is none."""
    down = (each for each in app.revisions if each.active and not each.running)
    return [Finding(f"{each.name} is {each.state or 'down'}") for each in down if not each.state.startswith(_BEGINNING)]


_MODELS = ("AZURE_AI_FOUNDRY_MODEL", "AZURE_AI_FOUNDRY_MODEL_MAP")
_CHANGED_LATELY = timedelta(hours=1)


def model_findings(app: App, target: Target, at: datetime) -> list[Finding]:  # noqa: ARG001
    """Return the serving revisions, not an hour old, that name other models than the revision made just before them."""
    made = sorted(((each.created, each) for each in app.revisions if each.created), key=lambda pair: pair[0])
    return [
        Finding(f"{variable} changed on {new.name}")
        for (_, old), (created, new) in itertools.pairwise(made)
        if new.serving and at - created <= _CHANGED_LATELY
        for variable in _MODELS
        if new.env.get(variable) != old.env.get(variable)
    ]


FINDINGS: Mapping[str, Callable[[App, Target, datetime], list[Finding]]] = {
    "approver": approver_findings,
    "unused dev mode": unused_dev_mode,
    "revisions": revision_findings,
    "model": model_findings,
}
"""What a ``Configured`` signal source may name: what an app shows, at the instant it is judged for."""
