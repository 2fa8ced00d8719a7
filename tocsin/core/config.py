"""``tocsin.yaml``: what is watched, who is told, and the one switch above every policy."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tocsin.core.audience import Escalation, Inhibition, QuietHours, Receiver, Route, SilenceAsCode, receiver
from tocsin.core.fields import Automation, Count, Duration, Flag, Labels, Model, Offset, Some, Wait

PRODUCTION = ("env", "prod")
"""The label of a target that is production, as every target is whose labels say no other ``env``."""

APP_KEYS = ("subscription", "resource_group", "container_app")
"""The keys of a target that name its Container App, together or not at all."""


_NAMESPACE = (
    r"(?i)^(/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/Microsoft\.ServiceBus/namespaces/[^/\s]+)?$"
)
_PART = r"[^/\x00-\x1f\x7f]+"
_COMPONENT = re.compile(
    rf"(?i)/subscriptions/{_PART}/resourceGroups/{_PART}/providers/microsoft\.insights/components/{_PART}"
)


def _component(resource: str) -> str:
    if resource and not _COMPONENT.fullmatch(resource):
        words = "'{given}' is no Application Insights component's resource id: {begins}/NAME"
        begins = "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Insights/components"
        raise PydanticCustomError("bad-component", words, {"given": resource, "begins": begins})
    return resource


class Queue(Model):
    """One queue that a target works off.

    ``storage`` is a Queue service's address (``https://NAME.queue.core.windows.net``); ``service_bus`` a namespace's
    resource id.
    """

    queue: str = Field(min_length=1, max_length=260)
    """Its name."""
    storage: str = Field(default="", pattern=r"^(https://[^/\s]+|http://(127\.0\.0\.1|localhost)[:/]\S+)?/?$")
    """A Queue service's address."""
    service_bus: str = Field(default="", pattern=_NAMESPACE)
    """A Service Bus namespace's resource id."""

    @model_validator(mode="after")
    def _one_service(self) -> Queue:
        if bool(self.storage) == bool(self.service_bus):
            raise PydanticCustomError("no-queue-service", "say where the queue is: either `storage:` or `service_bus:`")
        return self


def _soon(within: timedelta) -> timedelta:
    if within > timedelta(seconds=30):
        raise PydanticCustomError("too-long", "a probe waits for 30s at most: the other rules wait with it")
    return within


class Probe(Model):
    """One address that is asked every time a rule wants to know. ``status`` is what a good answer has."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """What alerts call it."""
    url: str = Field(pattern=r"^https?://[^\s@/]+(/\S*)?$")
    """What is asked."""
    status: Some = 200
    """What a good answer has."""
    within: Annotated[Duration, AfterValidator(_soon)] = timedelta(seconds=10)
    """How long an answer may take."""


def _repository(name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", name, re.ASCII):
        raise PydanticCustomError("bad-repository", "'{given}' is not a repository: write OWNER/NAME", {"given": name})
    return name


def _workflow(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", name, re.ASCII):
        words = "'{given}' is not a workflow: write its file's name, like evals.yml"
        raise PydanticCustomError("bad-repository", words, {"given": name})
    return name


_ONE_SOURCE = "results come from one place: one of `files`, `github`, `events: true`"


class Evals(Model):
    """Where a target's eval results are: a folder, an artifact of a GitHub workflow, or its own telemetry.

    ``token_setting`` names the app setting with a token that may read the repository's actions.
    """

    files: str = ""
    """A folder with the results."""
    github: Annotated[str, AfterValidator(_repository)] = ""
    """The repository whose workflow leaves them: ``OWNER/NAME``."""
    workflow: Annotated[str, AfterValidator(_workflow)] = "evals.yml"
    """The workflow's file."""
    artifact: str = Field(default="evals", min_length=1, max_length=200)
    """The artifact's name."""
    branch: str = Field(default="", max_length=200)
    """The branch whose runs count. Empty is any: then everybody who may push a branch can change what a run says."""
    token_setting: str = ""
    """The app setting that holds a token."""
    events: Flag = False
    """Whether they are in the target's telemetry, where anybody who controls the target can make them up."""
    minimum_cases: Count = 0
    """How many quality and how many red-team cases a run needs; 0 is as many as the accepted run before it had."""

    @model_validator(mode="after")
    def _one_source(self) -> Evals:
        if [bool(self.files), bool(self.github), self.events].count(True) != 1:
            raise PydanticCustomError("one-source", _ONE_SOURCE)
        if bool(self.github) != bool(self.token_setting):
            raise PydanticCustomError("one-source", "`github` and `token_setting` belong together")
        return self


class Target(Model):
    """One watched system: its telemetry, its Container App, and what may be done to it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """What alerts, routes and commands call it."""
    workspace: str
    """The Log Analytics workspace's id."""
    workspace_resource: str = Field(
        default="", pattern=r"^(/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/\S+)?$"
    )
    """The workspace's whole resource id; with it, messages link to the query behind a value."""
    application_insights: Annotated[str, AfterValidator(_component)] = ""
    """The resource id of its Application Insights component, by which its telemetry is found."""
    role_name: str = ""
    """The role name its telemetry carries: where other apps write to the component, or the component is not named."""
    subscription: str = ""
    """Its Container App's subscription."""
    resource_group: str = ""
    """Its Container App's resource group."""
    container_app: str = ""
    """Its Container App's name."""
    container: str = "api"
    """The container whose variables count."""
    queues: tuple[Queue, ...] = ()
    """The queues it works off."""
    probes: tuple[Probe, ...] = ()
    """Addresses that are asked whether it is there."""
    side_effect_tools: tuple[str, ...] = ("crm_write_contact", "send_email")
    """Its tools that change something outside."""
    accelerator: str = ""
    """Where its ``accelerator.yaml`` is, relative to the folder of ``tocsin.yaml``."""
    evals: Evals | None = None
    """Where the results are that allow a release of its killswitch; without them there is none but by override."""
    labels: Labels = {PRODUCTION[0]: PRODUCTION[1]}
    """Labels of its alerts. A target that names no ``env`` is ``env: prod``."""
    allow: tuple[str, ...] = ()
    """Actions that policies may do to it; anything else is refused."""
    automation: Automation = Automation.ACT
    """How far Tocsin may go on it; lower than elsewhere, never higher."""
    offset: Offset = timedelta(minutes=2)
    """How long windows are waited for; ``auto`` follows how late telemetry arrives."""
    lag: Wait = timedelta(minutes=2)
    """How long telemetry takes to arrive, as ``offset: auto`` takes it until it has been measured."""
    fresh_within: Duration = timedelta(minutes=15)
    """How old its newest telemetry may be before it counts as silent."""

    @field_validator("queues", "probes")
    @classmethod
    def _told_apart(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [each.queue if isinstance(each, Queue) else each.name for each in value]
        if len(set(names)) < len(names):
            raise PydanticCustomError("same-name", "two of them have one name")
        return value

    @field_validator("labels")
    @classmethod
    def _production_unless_said(cls, value: dict[str, str]) -> dict[str, str]:
        """Rules and policies for production miss no target because a label was forgotten."""
        return {PRODUCTION[0]: PRODUCTION[1], **value}

    @model_validator(mode="after")
    def _whole_address(self) -> Target:
        parts = [getattr(self, key) for key in APP_KEYS]
        if any(parts) and not all(parts):
            raise PydanticCustomError(
                "half-an-app", "a Container App is named by subscription, resource_group and container_app together"
            )
        return self

    @property
    def app_id(self) -> str:
        """The resource id of its Container App."""
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/Microsoft.App/containerApps/{self.container_app}"

    @property
    def production(self) -> bool:
        """Whether the target is ``env: prod``."""
        return PRODUCTION in self.labels.items()


class Budgets(Model):
    """Upper bounds on what the watcher itself may use."""

    queries_at_once: Some = 4
    """Queries under way at the same time."""
    queries_per_minute: Some = 300
    """Three quarters of what the service takes from one identity: 200 requests in 30 seconds."""
    actions_per_hour: Count = 6
    """Actions in an hour, over all policies."""
    actions_at_once: Some = 3
    """When policies want to do more than so much at once, none of it is done before a person has said so."""
    evaluations_inline: Some = 2_000
    """Above so many a tick (a rule on a target each) they are handed out over the work queue."""


class Config(Model):
    """The whole of ``tocsin.yaml``."""

    automation: Automation = Automation.OBSERVE
    """The one switch above every policy."""
    targets: tuple[Target, ...] = ()
    """What is watched."""
    receivers: dict[str, Annotated[Receiver, BeforeValidator(receiver)]] = {}
    """Who can be told: a ``type`` with its options; secrets by the names of app settings."""
    routes: Route = Route()
    """Which alerts go to whom."""
    budgets: Budgets = Budgets()
    """What the watcher itself may use."""
    tuning: dict[str, dict[str, Any]] = {}
    """Changes to shipped rules, by rule."""
    catch_up: Duration = timedelta(minutes=15)
    """How far missed looks are made up for."""
    give_up_after: Duration = timedelta(hours=1)
    """How long a message is tried."""
    fallback: str = ""
    """The receiver that hears what another did not take."""
    inhibit: tuple[Inhibition, ...] = ()
    """Alerts that are not told while others fire."""
    quiet_hours: tuple[QuietHours, ...] = ()
    """Hours in which some alerts are not told."""
    silences: tuple[SilenceAsCode, ...] = ()
    """What is not told until a day."""
    escalate: tuple[Escalation, ...] = ()
    """Who else is told of what nobody acknowledges."""
    watchdog: Duration | None = None
    """How often every receiver is sent a heartbeat."""
    storm: Some = 30
    """More messages than so many to one receiver in one tick become a digest."""

    @property
    def queries_a_tick(self) -> int:
        """How many queries one tick may ask of one target."""
        return max(2, self.budgets.queries_per_minute // max(1, len(self.targets)))
