"""What every action on a Container App must do: the same against the local platform for all, whatever they change.

A test class that inherits ``ActuatorContract`` gives ``case`` as a fixture: one action, an order, and its world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from tocsin import actuators
from tocsin.actuators.connections import Connections
from tocsin.connections.arm import ContainerApps
from tocsin.core.action import Order, Preview
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.remedy import Applied, Did
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.testing import FrozenClock

_STEPS = 12
_LACKS = "The client 'c' does not have authorization to perform action 'Microsoft.App/containerApps/x' over '/s'."


@dataclass
class Case:
    """One action on one app of the local platform. ``bystander`` is another app there, which nobody may touch."""

    action: str
    args: Mapping[str, str]
    clock: FrozenClock
    arm: ContainerAppsStandIn
    apps: ContainerApps
    target: Target
    bystander: Target
    orders: int = field(default=0)

    @property
    def order(self) -> Order:
        """The order of the action, the same whenever it is asked for."""
        return Order("policy/episode", self.target, self.args, since=self._since)

    def __post_init__(self) -> None:
        self.intend()

    def intend(self) -> None:
        """Let the order be intended now."""
        self._since = self.clock.now()

    @property
    def writes(self) -> int:
        """How often something was changed through the platform's interface."""
        return len(self.arm.patches) + len(self.arm.acts)

    def apply(self, order: Order | None = None, action: str = "") -> Applied:
        """Apply the order once, with connections as the function app makes them."""
        return actuators.made(Connections(self.apps))[action or self.action].apply(order or self.order)

    def preview(self) -> Preview | NoAnswer:
        """Preview the order."""
        return actuators.made(Connections(self.apps))[self.action].preview(self.order)

    def holds(self) -> bool | None:
        """Read whether the world is as the order wants it."""
        return actuators.made(Connections(self.apps))[self.action].holds(self.order)

    def wait(self, seconds: int = 200) -> None:
        """Let the platform finish what it began."""
        self.clock.advance(timedelta(seconds=seconds))

    def finish(self, order: Order | None = None, action: str = "") -> list[Applied]:
        """Apply tick by tick until nothing is left to do; return every outcome."""
        found = []
        for _ in range(_STEPS):
            found.append(self.apply(order, action))
            self.wait()
            if found[-1].did in (Did.ALREADY, Did.FAILED):
                break
        return found

    def things(self) -> dict[str, Any]:
        """Return everything there is of the app, a thing a key; names of revisions made meanwhile are left out."""
        state = self.arm.state(self.target)
        return dict(_things(state))


def _things(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    template, configuration = state["template"], state["configuration"]
    for part in ("initContainers", "containers"):
        for each in template.get(part) or ():
            yield from ((f"{each['name']}.{key}", value) for key, value in each.items() if key != "env")
            yield from ((f"{each['name']}.env.{entry['name']}", entry) for entry in each.get("env") or ())
    yield from ((f"scale.{key}", value) for key, value in (template.get("scale") or {}).items())
    yield from ((key, value) for key, value in template.items() if key not in _APART)
    yield from ((f"configuration.{key}", value) for key, value in configuration.items() if key != "ingress")
    ingress = configuration["ingress"]
    yield from ((f"ingress.{key}", value) for key, value in ingress.items())
    yield "runs", _weights(state)
    for name, each in state["revisions"].items():
        yield f"revision {name}", (each["active"], each["replicas"])


_APART = ("initContainers", "containers", "scale", "revisionSuffix")


def _weights(state: Mapping[str, Any]) -> list[int]:
    return sorted(each["weight"] for each in state["revisions"].values() if each["weight"])


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the things that differ, of those that stay comparable: what a revision made meanwhile is is none."""
    return [
        key
        for key in {**before, **after}
        if before.get(key) != after.get(key) and (not key.startswith("revision ") or key in before)
    ]


class ActuatorContract:
    """Inherit from it, and give ``case``."""

    @pytest.fixture
    def case(self) -> Case:
        """Return the case; a subclass gives its own."""
        raise NotImplementedError

    def test_a_preview_writes_nothing(self, case: Case) -> None:
        before = case.things()
        found = case.preview()
        assert isinstance(found, Preview), found
        assert found.changes, "something is left to do"
        assert (case.writes, case.things()) == (0, before)

    def test_applying_does_it_and_is_read_back(self, case: Case) -> None:
        assert case.holds() is False
        outcomes = case.finish()
        assert Did.DONE in [each.did for each in outcomes], outcomes
        assert outcomes[-1].did is Did.ALREADY
        assert case.holds() is True

    def test_applying_twice_at_once_equals_applying_once(self, case: Case) -> None:
        case.apply()
        writes, things = case.writes, case.things()
        assert case.apply().did in (Did.ALREADY, Did.BUSY)
        assert (case.writes, case.things()) == (writes, things)

    def test_applying_on_and_on_changes_nothing_more(self, case: Case) -> None:
        case.finish()
        writes, things = case.writes, case.things()
        assert [each.did for each in case.finish()] == [Did.ALREADY]
        assert (case.writes, case.things()) == (writes, things)
        assert case.preview() == Preview(())

    def test_the_preview_names_every_thing_that_is_touched_and_no_other(self, case: Case) -> None:
        before, found = case.things(), case.preview()
        assert isinstance(found, Preview)
        case.finish()
        in_words = [each for each in changed(before, case.things()) if not _by_itself(each, case)]
        assert len(found.changes) == len(in_words), (found.changes, in_words)

    def test_the_undo_brings_everything_back(self, case: Case) -> None:
        before = case.things()
        outcomes = case.finish()
        undo = next((each.undo for each in outcomes if each.undo), None)
        takes = actuators.known()[case.action]
        assert (undo is not None) == takes.undone
        if undo is None:
            return
        args = actuators.known()[undo.action].args
        assert all(args[name].takes(value) for name, value in undo.args.items()), "a policy could say it"
        assert case.finish(Order("undo", case.target, undo.args, since=case.clock.now()), undo.action)
        left = [each for each in changed(before, case.things()) if not each.startswith("revision ")]
        assert [each for each in left if not _renamed(each, before, case.things())] == []

    def test_the_undo_of_the_preview_is_the_undo_of_the_deed(self, case: Case) -> None:
        found = case.preview()
        assert isinstance(found, Preview)
        assert found.undo == next((each.undo for each in case.finish() if each.undo), None)

    def test_other_apps_are_left_alone(self, case: Case) -> None:
        before = case.arm.state(case.bystander)["template"], case.arm.configuration(case.bystander)
        case.finish()
        assert (case.arm.state(case.bystander)["template"], case.arm.configuration(case.bystander)) == before

    def test_secrets_registries_identity_sidecars_and_init_containers_stay(self, case: Case) -> None:
        before = case.things()
        case.finish()
        kept = ("configuration.", "otel.", "migrate.", "volumes", "aFieldOfTomorrow")
        assert [each for each in changed(before, case.things()) if each.startswith(kept)] == []
        assert any(each.startswith("otel.env") for each in before), "there is a sidecar with variables"
        assert all("configuration" not in each.body["properties"] or _only_traffic(each) for each in case.arm.patches)


class ActuatorRefusals:
    """What an action makes of a platform that refuses, loses answers or changes meanwhile; inherit as above."""

    @pytest.fixture
    def case(self) -> Case:
        """Return the case; a subclass gives its own."""
        raise NotImplementedError

    @pytest.mark.parametrize(
        ("fault", "did"),
        [
            ("forbidden", Did.FAILED),
            ("missing", Did.FAILED),
            ("conflict", Did.BUSY),
            ("throttled", Did.BUSY),
            ("error", Did.BUSY),
            ("disconnect", Did.BUSY),
            ("timeout", Did.BUSY),
        ],
    )
    def test_a_refused_change_is_an_outcome_in_the_platforms_words(self, case: Case, fault: str, did: Did) -> None:
        before = case.things()
        for verb in ("PATCH", "POST"):
            case.arm.faults.add(fault, matching=verb, message=_LACKS, retry_after=7)
        applied = case.apply()
        assert applied.did is did
        assert fault == "disconnect" or "does not have authorization" in applied.detail
        assert fault != "forbidden" or "the identity lacks Microsoft.App/containerApps/x" in applied.detail
        assert (case.writes, case.things()) == (0, before)

    @pytest.mark.parametrize(("fault", "did"), [("forbidden", Did.FAILED), ("throttled", Did.BUSY)])
    def test_an_app_that_cannot_be_read_is_not_changed(self, case: Case, fault: str, did: Did) -> None:
        case.arm.faults.add(fault, matching="GET", message=_LACKS)
        applied = case.apply()
        assert (applied.did, case.writes) == (did, 0)
        assert "does not have authorization" in applied.detail
        assert isinstance(case.preview(), NoAnswer)
        assert case.holds() is None

    def test_a_change_that_was_accepted_and_never_answered_is_not_made_again(self, case: Case) -> None:
        once = replace(case)
        case.arm.lose_answers = 1
        lost = case.apply()
        assert (lost.did, "is unknown until" in lost.detail) == (Did.BUSY, True)
        assert once.apply().did in (Did.ALREADY, Did.BUSY)
        assert case.writes == 1
        case.wait()
        assert case.finish()[-1].did is Did.ALREADY
        assert case.holds() is True

    def test_a_deployment_between_the_two_reads_is_not_overwritten(self, case: Case) -> None:
        racing(case, deploying(case))
        assert case.apply().did is Did.BUSY
        assert case.writes == 0

    def test_an_app_that_changes_each_time_it_is_read_is_left_alone(self, case: Case) -> None:
        case.arm.ready_after = timedelta()
        racing(case, deploying(case), times=10)
        applied = case.apply()
        assert (applied.did, "a deployment is in progress" in applied.detail, case.writes) == (Did.BUSY, True, 0)

    def test_an_app_that_is_gone_ends_it(self, case: Case) -> None:
        case.arm.delete(case.target)
        assert case.apply().did is Did.FAILED


def _only_traffic(patch: Any) -> bool:
    return list(patch.body["properties"]["configuration"]) == ["ingress"]


def _by_itself(thing: str, case: Case) -> bool:
    """Whether it follows from another thing that is touched: old revisions stop, weights follow from the traffic."""
    if thing == "runs":
        return True
    return thing.startswith("revision ") and not case.arm.acts


def _renamed(thing: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether only the name of a revision differs: where traffic is pinned, the change made another one."""
    if thing != "ingress.traffic":
        return False
    return [{**each, "revisionName": ""} for each in before[thing]] == [
        {**each, "revisionName": ""} for each in after[thing]
    ]


def deploying(case: Case) -> Callable[[], None]:
    """Return what lets somebody else deploy another image."""

    def deploy() -> None:
        newer = case.arm.template(case.target)
        newer["containers"][-1]["image"] += "1"
        case.arm.set_template(case.target, newer)

    return deploy


def racing(case: Case, happens: Callable[[], None], times: int = 1) -> None:
    """Let something happen right after the app is read, the first ``times``."""

    class Racing(ContainerApps):
        left = times

        def get(self, target: Target) -> App | NoAnswer:
            found = super().get(target)
            if Racing.left:
                Racing.left -= 1
                happens()
            return found

    case.apps.__class__ = Racing
