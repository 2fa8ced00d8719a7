"""What Container Apps do: deploy meanwhile, refuse, never end, go away. Nothing of others' is overwritten or lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.modes.place import MINUTE, SWITCH, Meanwhile, Place
from tests.test_killswitch import difference
from tocsin.core.config import Target

pytestmark = pytest.mark.slow

NEWER = "registry.example/sales-research-api:2026.12"


def deploys(place: Place) -> None:
    """Let somebody else deploy a newer image."""
    template = place.world.arm.template(place.target)
    template["containers"][0]["image"] = NEWER
    place.world.arm.set_template(place.target, template)


# Of the tick that acts, the seventh and eighth are the reads that go before the PATCH; the others measure and judge.
STRIKES = [
    pytest.param("GET", 3, True, id="while it is judged"),
    pytest.param("GET", 7, True, id="before the first read"),
    pytest.param("GET", 8, True, id="between two reads"),
    pytest.param("GET", 7, False, id="under way at the first read"),
    pytest.param("GET", 8, False, id="under way at the second read"),
    pytest.param("PATCH", 1, False, id="under way at the change"),
]


@pytest.mark.parametrize(("method", "nth", "ended"), STRIKES)
def test_05_a_deployment_meanwhile_is_never_overwritten(place: Place, method: str, nth: int, ended: bool) -> None:
    place.misconfigure()
    place.run(1)
    struck = []
    place.world.arm.faults = Meanwhile(method, lambda: struck.append(deploys(place)), nth)
    if ended:
        place.world.arm.ready_after = timedelta()
    place.run(1)
    assert struck, "the deployment came in the tick that acts"
    place.until("verified")
    assert place.world.arm.template(place.target)["containers"][0]["image"] == NEWER
    assert place.switch == "on"
    assert place.audited().count("applied") == 1


def test_06_every_revision_with_traffic_gets_the_switch(place: Place) -> None:
    arm, target = place.world.arm, place.target
    arm.create(target, {"A": "1"}, multiple=True)
    arm.set_template(target, {**arm.template(target), "terminationGracePeriodSeconds": 31})
    one, two = "sales-research-api--0000001", "sales-research-api--0000002"
    place.wait(2 * MINUTE)
    arm.set_traffic(target, [{"revisionName": one, "weight": 80}, {"revisionName": two, "weight": 20}])
    place.until("verified")
    assert arm.serving(target) == [("sales-research-api--0000003", 100)]
    assert place.switch == "on"
    assert [set(each.body["properties"]) for each in arm.patches] == [{"template"}, {"configuration"}]
    assert place.told("NOT proven") == 0


def unproven(place: Place) -> None:
    """The switch was sent once, never proven, and a person is called by whoever the policy names."""
    place.run(12)
    assert (place.phases(), place.told("NOT proven")) == (["applied"], 0), "it is starting"
    assert place.told("Starting, proof follows") == 1
    place.run(10)
    assert place.phases() == ["unverified"]
    assert place.patches == 1
    assert place.switch is None
    assert place.told("Done but NOT proven") == 1
    assert any("Done but NOT proven" in each for each in place.paged())
    assert any(f"{SWITCH}=on" in each for each in place.cards()), "the command that works without Tocsin"
    place.run(5)
    assert (place.patches, place.told("Done but NOT proven")) == (1, 1)


def test_07_a_revision_that_never_becomes_ready_is_called_unproven(place: Place) -> None:
    place.misconfigure()
    place.world.arm.never_ready = True
    unproven(place)


def test_08_an_operation_that_never_ends_is_called_unproven(place: Place) -> None:
    place.misconfigure()
    place.world.arm.stuck = True
    unproven(place)


def failed_at_once(place: Place, *words: str) -> None:
    place.run(4)
    assert place.phases() == ["failed"]
    assert place.audited()[-2:] == ["intended", "failed"]
    assert place.told("Could NOT be done", *words) == 1, place.executions()[0].reason
    assert any(all(each in page for each in words) for page in place.paged())


def test_09_a_missing_permission_is_named_and_nothing_is_tried_again(place: Place) -> None:
    place.misconfigure()
    action = "Microsoft.App/containerApps/write"
    said = f"The client does not have authorization to perform action '{action}' over scope 'x'"
    place.world.arm.faults.add("forbidden", matching="PATCH", message=said)
    failed_at_once(place, "lacks Microsoft[.]App/containerApps/write")
    assert place.patches == 0


def test_10_an_app_that_is_deleted_in_between_ends_the_execution(place: Place) -> None:
    place.misconfigure()
    place.run(1)
    place.world.arm.faults = Meanwhile("PATCH", place.delete)
    failed_at_once(place, "was not found")
    assert place.patches == 0


def test_10_an_app_that_is_gone_is_not_acted_on_and_somebody_is_told(place: Place) -> None:
    place.misconfigure()
    place.run(1)
    place.delete()
    place.run(12)
    assert place.patches == 0
    assert place.phases() == ["failed"]
    assert place.told("Could NOT be done", "was not found") == 1
    assert place.told("Blind: nothing is known any more") == 1, "what cannot be seen has not ended"


def busy_for_a_while(place: Place) -> None:
    """The change arrives once, as soon as the platform takes it."""
    place.run(2)
    assert place.phases() == ["intended"]
    assert "busy" in place.audited()
    place.until("verified")
    place.right()


def test_11_another_operation_in_progress_is_waited_for(place: Place) -> None:
    place.misconfigure()
    place.world.arm.faults.add("conflict", matching="PATCH", times=2)
    busy_for_a_while(place)


def test_11_a_platform_that_is_busy_for_ever_is_told_of(place: Place) -> None:
    place.misconfigure()
    place.world.arm.faults.add("conflict", matching="PATCH")
    place.run(19)
    assert place.phases() == ["failed"]
    assert place.told("Could NOT be done", "not applied within 15 minutes") == 1


@pytest.mark.parametrize(
    ("kind", "more"),
    [("throttled", {"retry_after": 3600}), ("error", {}), ("disconnect", {})],
)
def test_12_a_platform_that_throttles_or_fails_is_asked_again_by_a_later_tick(
    place: Place, kind: str, more: dict[str, Any]
) -> None:
    place.misconfigure()
    place.world.arm.faults.add(kind, matching="PATCH", times=2, **more)
    busy_for_a_while(place)


def test_12_a_change_whose_answer_was_lost_is_not_sent_twice(place: Place) -> None:
    place.misconfigure()
    place.world.arm.lose_answers = 1
    place.until("verified")
    place.right()


def changed(place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all there is of the app before and after the switch was engaged."""
    before = place.world.arm.state(place.target)
    place.until("verified")
    place.right()
    return before, place.world.arm.state(place.target)


def test_30_secrets_and_registries_are_neither_sent_nor_lost(place: Place) -> None:
    place.misconfigure()
    before, after = changed(place)
    assert before["configuration"] == after["configuration"]
    assert after["configuration"]["secrets"] == [{"name": "appinsights", "value": "never returned"}]
    assert after["configuration"]["registries"]
    (patch,) = place.world.arm.patches
    assert set(patch.body["properties"]) == {"template"}
    everything = [*place.cards(), *place.paged(), repr(place.store.audit()), repr(place.log.events)]
    assert not any("never returned" in each for each in everything)


def test_31_sidecars_and_init_containers_are_kept_and_one_variable_differs(place: Place) -> None:
    place.misconfigure()
    arm, target = place.world.arm, place.target
    template = arm.template(target)
    template["containers"].insert(0, {"name": "otel", "image": "otel:1", "env": [{"name": SWITCH, "value": "off"}]})
    template["containers"].append({"name": "cache", "image": "cache:1", "args": ["-m", "64"]})
    template["initContainers"] = [{"name": "migrate", "image": "m:1", "env": [{"name": "DSN", "secretRef": "dsn"}]}]
    with place.at_once():
        arm.set_template(target, template)
    before, after = changed(place)
    variables = len(before["template"]["containers"][1]["env"])
    assert difference(before["template"], after["template"]) == [f".containers[1].env[{variables}]"]


def test_32_a_switch_that_refers_to_a_secret_is_left_alone_and_a_person_is_called(place: Place) -> None:
    place.misconfigure()
    template = place.world.arm.template(place.target)
    template["containers"][0]["env"].append({"name": SWITCH, "secretRef": "switch"})
    with place.at_once():
        place.world.arm.set_template(place.target, template)
    failed_at_once(place, "reference to a secret")
    assert place.patches == 0


def test_33_an_app_of_the_same_name_in_another_subscription_is_never_touched(place: Place) -> None:
    namesake = Target.model_validate({**place.target.model_dump(), "subscription": "another-subscription"})
    place.world.arm.create(namesake, {})
    before = place.world.arm.state(namesake)
    place.wait(MINUTE)
    assert place.event(1, subject=namesake.app_id).body == '{"taken": 0, "ignored": 1}'
    there = f"/subscriptions/{namesake.subscription}"
    assert place.event(2, topic=there, subject=namesake.app_id).body == '{"taken": 0, "ignored": 1}'
    place.run(2)
    assert place.alerts() == {}, "the namesake runs without an approver, the target does not"
    place.misconfigure()
    place.until("verified")
    place.right()
    after = place.world.arm.state(namesake)
    assert before["template"] == after["template"]
    assert before["revisions"] == after["revisions"]
