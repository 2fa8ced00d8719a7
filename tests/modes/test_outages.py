"""What cannot be seen, kept or told: silence proves nothing, half an answer starts nothing, nobody is waited for."""

from __future__ import annotations

import pytest

from tests.modes.place import ERRORS, MINUTE, POLICY, RULE, Place
from tocsin.local.accelerator import Weather
from tocsin.ports import StoreUnavailable

pytestmark = pytest.mark.slow

FAILING = "high_error_rate"
NOWHERE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm9ib2R5IGxpc3RlbnMgaGVyZQ==;"
    "TableEndpoint=http://127.0.0.1:9/devstoreaccount1;"
)


def failing(place: Place) -> None:
    """Let every request fail, and a policy answer that."""
    place.rules[FAILING] = ERRORS
    place.policies[POLICY] = place.policies[POLICY].replace(RULE, FAILING)
    place.world.accelerator.becomes(Weather(failing=1.0), place.world.clock.now())


def test_13_telemetry_that_goes_silent_resolves_nothing(place: Place) -> None:
    failing(place)
    place.policies.clear()
    place.run(6)
    assert FAILING in place.alerts()
    place.silent = True
    place.run(14)
    assert place.told("resolved", FAILING) == 0
    assert FAILING in place.alerts()
    assert place.told("Tocsin cannot see sales-research") == 1


def test_13_telemetry_that_goes_silent_proves_nothing(place: Place) -> None:
    place.misconfigure()
    check = "  - { signal: side_effect_tools, at_most: 0, over: 2m, within: 8m }\nguard:"
    place.edit(old="guard:", new=check)
    place.until("applied")
    place.silent = True
    place.run(12)
    assert (place.phases(), place.patches, place.switch) == (["unverified"], 1, "on")
    assert place.told("Done but NOT proven") == 1


@pytest.mark.parametrize("kind", ["partial", "error", "garbage"])
def test_14_telemetry_that_does_not_answer_whole_pages_for_no_rule_and_starts_nothing(place: Place, kind: str) -> None:
    place.world.break_telemetry(kind)
    failing(place)
    place.run(8)
    assert (place.pages(FAILING), place.patches, place.phases()) == (0, 0, [])
    assert place.told("Tocsin cannot see sales-research") == 1


def test_14_what_is_unknown_by_then_is_not_acted_on(place: Place) -> None:
    failing(place)
    place.policies[POLICY] = place.policies[POLICY].replace("firing_for: 1m", "firing_for: 4m")
    place.run(1)
    while FAILING not in place.alerts():
        place.run(1)
    place.world.break_telemetry("error")
    place.run(8)
    assert place.patches == 0
    assert "intended" not in place.audited()


def test_16_an_alert_that_resolves_before_the_change_is_sent_lets_it_go(place: Place) -> None:
    place.misconfigure()
    place.world.arm.faults.add("conflict", matching="PATCH")
    place.run(2)
    assert place.phases() == ["intended"]
    place.mend()
    place.run(6)
    assert (place.phases(), place.patches, place.switch) == (["stood down"], 0, None)


def test_16_an_alert_that_resolves_after_the_change_was_sent_leaves_the_switch_to_a_person(place: Place) -> None:
    place.misconfigure()
    place.until("applied")
    place.wait(2 * MINUTE)
    place.mend()
    place.run(12)
    assert RULE not in place.alerts()
    place.right()


def down(place: Place, minutes: int) -> None:
    for _ in range(minutes):
        place.wait(MINUTE)
        with pytest.raises(StoreUnavailable):
            place.app.tick()


def test_26_without_state_nothing_is_done_and_the_fallback_is_told(place: Place) -> None:
    place.misconfigure()
    place.settings["TOCSIN_TABLES"] = NOWHERE
    down(place, 20)
    assert place.patches == 0
    assert place.told("Tocsin watches nothing") == 1, "once in half an hour"
    assert place.paged() == []
    assert place.app.health()["status"] == "broken"
    assert place.event().status == 503, "whoever sends events tries again"
    down(place, 14)
    assert place.told("Tocsin watches nothing") == 2


def test_26_when_the_store_answers_again_it_is_told_and_gone_on_with(place: Place) -> None:
    place.misconfigure()
    state = place.root / ".tocsin" / "state.sqlite"
    state.mkdir()
    place.world.teams.faults.add("error")
    down(place, 2)
    assert (place.cards(), place.paged()) == ([], []), "a moment's failure calls nobody"
    down(place, 2)
    assert (place.pages("state_unavailable"), len(place.world.pagerduty.open())) == (0, 1)
    assert "Tocsin watches nothing" in place.paged()[0], "the fallback did not take it, so the others are told"
    place.world.teams.faults.clear()
    state.rmdir()
    place.until("verified")
    assert place.told("Tocsin watches again") == 1
    place.right()


@pytest.mark.parametrize("kind", ["unavailable", "forbidden"])
def test_27_receivers_that_do_not_answer_hold_nothing_up(place: Place, kind: str) -> None:
    place.misconfigure()
    for receiver in (place.world.pagerduty, place.world.teams):
        receiver.faults.add(kind)
    place.run(6)
    assert (place.phases(), place.patches, place.switch) == (["verified"], 1, "on")
    assert (place.cards(), place.paged()) == ([], [])
    for receiver in (place.world.pagerduty, place.world.teams):
        receiver.faults.clear()
    place.run(12)
    assert place.told("runs without an approver") >= 1, "and who could not be told is told later"
    assert place.told("Done and proven") == 1


def test_27_one_receiver_that_does_not_answer_keeps_nothing_from_the_other(place: Place) -> None:
    place.misconfigure()
    place.world.pagerduty.faults.add("unavailable")
    place.until("verified")
    assert place.told("runs without an approver") >= 1
    assert place.told("Done and proven") == 1
    place.world.pagerduty.faults.clear()
    place.run(12)
    place.right()
