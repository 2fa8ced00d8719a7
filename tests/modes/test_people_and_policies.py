"""People and files: who decides by hand wins, what was edited meanwhile changes no plan, and many at once are asked."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.modes.place import HOLD, POLICIES, POLICY, RULE, SWITCH, Place
from tocsin.core.config import Target
from tocsin.links import answer
from tocsin.webhook import Answer


def engaged(place: Place, **policies: str) -> None:
    """Engage by the policy, with these policies beside it."""
    place.policies |= policies
    place.misconfigure()
    place.until("verified")
    assert place.switch == "on"


def test_17_provisioning_that_clears_the_switch_is_paged_and_engaged_again(place: Place) -> None:
    engaged(place, hold=HOLD)
    place.provision(**{SWITCH: None})
    place.run(4)
    assert place.pages("killswitch_drift") == 1
    assert (place.patches, place.switch) == (2, "on")
    assert place.phases() == ["verified", "verified"]
    place.run(2)
    assert "killswitch_drift" not in place.alerts()


def test_17_without_a_policy_that_holds_it_a_switch_that_is_cleared_is_paged(place: Place) -> None:
    engaged(place)
    place.provision(**{SWITCH: None})
    place.event()
    place.run(3)
    assert place.pages("killswitch_drift") == 1
    assert (place.patches, place.switch) == (1, None)


def test_18_a_person_who_releases_while_it_fires_is_not_overruled(place: Place) -> None:
    engaged(place, hold=HOLD)
    place.provision(**{SWITCH: "off"})
    place.run(6)
    assert RULE in place.alerts(), "it fires on"
    assert (place.patches, place.switch) == (1, "off")
    assert place.pages("killswitch_drift") == 0
    assert "release seen" in place.audited()


def test_19_a_switch_that_a_person_engaged_before_is_left_as_it_is(place: Place) -> None:
    place.misconfigure()
    place.provision(**{SWITCH: "TRUE"})
    place.until("verified")
    assert (place.patches, place.switch) == (0, "TRUE")
    assert place.told("Done and proven") == 1


WRONG = {
    "no_such_rule": POLICIES[POLICY].replace(RULE, "hitl_misconfigurd"),
    "no_such_action": POLICIES[POLICY].replace("killswitch.engage", "killswitch.enrage"),
    "no_such_target": POLICIES[POLICY].replace(f"rule: {RULE}", "labels: { target: sales-reserch }"),
    "no_such_receiver": POLICIES[POLICY].replace("escalate: oncall", "escalate: nobody"),
}
NOT_ALLOWED = POLICIES[POLICY].replace("killswitch.engage: { scope: tools }", "container_app.restart: {}")


def test_23_a_policy_that_names_what_is_not_there_is_named_itself_and_the_others_act(place: Place) -> None:
    place.policies |= {**WRONG, "not_allowed": NOT_ALLOWED}
    place.misconfigure()
    place.run(6)
    problems = " ".join(place.app.health()["problems"])
    assert [name for name in WRONG if f"remediations/{name}.yaml:" not in problems] == [], problems
    assert [(each.policy, each.phase.value) for each in place.executions() if each.intended] == [(POLICY, "verified")]
    assert (place.patches, place.switch) == (1, "on")
    assert place.told("not_allowed does nothing: sales-research does not allow container_app") >= 1


def under_way(place: Place) -> None:
    """An intent is recorded, and the platform does not take the change yet."""
    place.misconfigure()
    place.world.arm.faults.add("conflict", matching="PATCH", times=1)
    place.run(2)
    assert place.phases() == ["intended"]


def test_24_a_policy_edited_while_its_execution_runs_changes_nothing_of_the_plan(place: Place) -> None:
    under_way(place)
    place.edit(old="scope: tools", new="scope: all")
    place.until("verified")
    assert place.switch == "on"
    assert "KILLSWITCH" not in place.world.template_env()
    place.right()


def test_24_a_policy_removed_before_its_change_is_sent_is_stood_down(place: Place) -> None:
    under_way(place)
    place.deploy(policies={})
    place.run(4)
    assert (place.phases(), place.patches) == (["stood down"], 0)


def test_24_a_policy_removed_after_its_change_was_sent_is_proven_all_the_same(place: Place) -> None:
    place.misconfigure()
    place.until("applied")
    place.deploy(policies={})
    place.until("verified")
    place.right()


def fleet(place: Place, count: int) -> list[Target]:
    """Watch so many apps, all without an approver, each alive."""
    names = [f"shop-{number}" for number in range(count)]
    apps = [Target.model_validate({**place.target.model_dump(), "name": each, "container_app": each}) for each in names]
    for app in apps:
        place.world.arm.create(app, {})
    place.targets = "".join(place.described(each, each) for each in names)
    now = place.world.clock.now()
    alive = {"Message": "response.returned", "SeverityLevel": 1, "Properties": {"event_name": "response.returned"}}
    rows = [
        {"TimeGenerated": now + second * timedelta(seconds=30), "AppRoleName": each, **alive}
        for each in names
        for second in range(-4, 20)
    ]
    place.world.telemetry.load("AppTraces", rows)
    return apps


def test_25_alerts_on_every_target_at_once_are_asked_and_one_page_says_why(place: Place) -> None:
    apps = fleet(place, 5)
    place.run(6)
    assert sorted({each.phase.value for each in place.executions()}) == ["asked"]
    assert len(place.executions()) == len(apps)
    assert place.patches == 0
    assert sum(each.key.startswith("storm/") for each in place.world.pagerduty.incidents) == 1
    assert place.told("Nothing is done by itself now", "5 actions are wanted at once") == 1


def test_28_the_global_switch_thrown_mid_way_stops_what_was_not_sent(place: Place) -> None:
    under_way(place)
    place.deploy(automation="off")
    place.run(4)
    assert (place.phases(), place.patches) == (["stood down"], 0)
    assert "the global switch says off" in place.executions()[0].reason


def test_28_the_global_switch_thrown_after_the_change_leaves_it_to_be_proven(place: Place) -> None:
    place.misconfigure()
    place.until("applied")
    place.deploy(automation="off")
    place.until("verified")
    place.right()


# 29: a link that approves

ENTRA = {"X-MS-CLIENT-PRINCIPAL-IDP": "aad", "Sec-Fetch-Site": "same-origin"}
SIGNED_IN = {"X-MS-CLIENT-PRINCIPAL-NAME": "ada@ops.example", "X-MS-CLIENT-PRINCIPAL-ID": "ada-id"} | ENTRA

EVE = {"X-MS-CLIENT-PRINCIPAL-NAME": "eve@ops.example", "X-MS-CLIENT-PRINCIPAL-ID": "eve-id"} | ENTRA


def asked(place: Place) -> str:
    """Let the policy ask, and return the token of the link that the card has."""
    place.settings["TOCSIN_PUBLIC_URL"] = "https://tocsin.example"
    place.misconfigure()
    place.edit(old="mode: act", new="mode: ask")
    place.until("asked")
    place.run(1)
    (card,) = [each for each in place.cards() if "Approve or decline" in each]
    (url,) = set(re.findall(r'"title": "Approve or decline", "url": "([^"]+)"', card))
    return parse_qs(urlsplit(url).query)["token"][0]


def opened(place: Place, token: str, headers: Any = ()) -> Answer:
    return answer("GET", {"token": token}, b"", place.app, dict(headers))


def pressed(place: Place, token: str, headers: Any = SIGNED_IN) -> Answer:
    return answer("POST", {}, urlencode({"token": token, "press": "approve"}).encode(), place.app, dict(headers))


def test_29_an_approval_link_acts_once_when_a_person_presses_the_button(place: Place) -> None:
    token = asked(place)
    assert pressed(place, token).status == 200
    assert pressed(place, token).status == 410, "used twice"
    place.until("verified")
    assert pressed(place, token).status == 410
    place.run(3)
    place.right()
    assert any(entry["actor"] == "person ada@ops.example" for entry in place.store.audit())


def test_29_a_scanner_that_opens_a_link_or_presses_its_button_approves_nothing(place: Place) -> None:
    token = asked(place)
    for _ in range(5):
        assert opened(place, token).status == 401
        assert opened(place, token, SIGNED_IN).status == 200
        assert pressed(place, token, ()).status == 401
    assert pressed(place, token, EVE).status == 403
    place.run(3)
    assert (place.phases(), place.patches) == (["asked"], 0)


def test_29_an_approval_link_pressed_late_approves_nothing(place: Place) -> None:
    token = asked(place)
    place.wait(timedelta(minutes=61))
    assert pressed(place, token).status == 410
    place.run(3)
    assert place.patches == 0
    assert "intended" not in place.audited()


def test_29_an_approval_of_what_has_resolved_does_nothing(place: Place) -> None:
    token = asked(place)
    place.mend()
    place.run(10)
    assert RULE not in place.alerts()
    assert pressed(place, token).status == 410
    place.run(2)
    assert (place.patches, "intended" in place.audited()) == (0, False)


def test_29_an_approval_of_what_is_found_to_have_ended_does_nothing(place: Place) -> None:
    token = asked(place)
    place.mend()
    place.wait(timedelta(minutes=6))
    assert pressed(place, token).status == 200, "no tick has seen yet that it ended"
    place.run(3)
    assert (place.patches, "intended" in place.audited()) == (0, False)
