"""One spelling of labels for everything that matches on them, and nothing of Tocsin's own that telemetry can spell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.stage import CONFIG, MINUTE, STOP, T0, TARGET, Stage
from tests.test_evaluate import ALIVE, SLOT, WITHIN, heard, measured, row, rule
from tocsin import actuators
from tocsin.core.action import Order, Preview
from tocsin.core.alert import STORM, Alert, State, Verdict, by_hash, instance
from tocsin.core.audience import SilenceAsCode
from tocsin.core.audit import LONGEST, UNTRUSTED, Record, chained
from tocsin.core.config import Config
from tocsin.core.container import Finding
from tocsin.core.evaluate import Heard
from tocsin.core.instance import Special, texts
from tocsin.core.labels import alert_labels
from tocsin.core.matching import Matcher, one_of, parse
from tocsin.core.message import labels_of
from tocsin.core.policy import Policy
from tocsin.core.remedy import begin
from tocsin.core.rule import Rule
from tocsin.stores.codec import dump, load
from tocsin.stores.keys import alert_key
from tocsin.stores.sqlite import SqliteStore

SPELLINGS = ["load test ", "load  test", "load\u00a0test", "load\u200b test", "load\ntest"]
ERRORS_BY_AGENT = Rule.model_validate(
    {
        "id": "worker_failures",
        "summary": "{agent}: {value} of its runs fail.",
        "severity": "P1",
        "when": {"signal": "worker_failures", "above": "5%", "over": "5m", "minimum": "5", "by": ["agent"]},
    }
)
ENGAGE = Policy.model_validate(
    {
        "id": "stop_it",
        "summary": "Stop the tools.",
        "on": {"rule": "worker_failures"},
        "do": [{"killswitch.engage": {"scope": "tools"}}],
        "guard": {"mode": "act"},
    }
)
HANDS_OFF = {
    "match": {"agent": ["load test"]},
    "author": "ops@example.com",
    "comment": "load test, hands off",
    "ends": "2027-01-01",
}


def failing(agent: str, **changes: Any) -> Stage:
    """Return a stage on which every run of one agent fails for ten minutes, after as many ticks."""
    config = CONFIG.model_copy(update=changes)
    stage = Stage(ERRORS_BY_AGENT, policies=(ENGAGE,), config=config)
    stage.busy(T0 - 10 * MINUTE, T0 + 10 * MINUTE)
    for number in range(40):
        at = T0 + number * timedelta(seconds=15)
        stage.trace(at, "worker.completed", ok="false", external_system=agent)
    stage.run(range(10))
    return stage


@pytest.mark.parametrize("agent", SPELLINGS)
def test_a_silence_of_actions_too_holds_for_every_spelling_of_the_agent(agent: str) -> None:
    silence = SilenceAsCode.model_validate({**HANDS_OFF, "actions": "too"})
    assert failing("another").platform.changes == 1
    stage = failing(agent, silences=(silence,))
    assert ("fired" in stage.oncall.kinds(), stage.platform.changes) == (False, 0)


@pytest.mark.parametrize("agent", SPELLINGS)
def test_routes_policies_and_messages_use_the_label_that_silences_use(agent: str) -> None:
    stage = failing(agent)
    (alert,) = stage.inner.open_alerts()
    labels = alert_labels(ERRORS_BY_AGENT, TARGET, alert.by)
    assert labels["agent"] == "load test"
    told = [each for each in stage.oncall.got if each.rule == "worker_failures"]
    assert told
    assert all(labels_of(each) == labels for each in told)
    assert all({fact.name: fact.value for fact in each.facts}["agent"] == "load test" for each in told)


@pytest.mark.parametrize("written", ["load test", " load  test", "load\u00a0test"])
def test_a_matchers_value_is_spelled_as_the_label_is(written: str) -> None:
    labels = {"agent": "load test"}
    assert one_of("agent", [written]).accepts(labels)
    assert parse(f'agent="{written}"').accepts(labels)
    assert not parse(f'agent!="{written}"').accepts(labels)
    assert load(Matcher, f'{{"label":"agent","op":"=","values":["{written}"]}}').accepts(labels)


def test_labels_in_files_are_spelled_as_those_of_telemetry_are() -> None:
    target = Config.model_validate({"targets": [TARGET.model_copy(update={"labels": {}}).model_dump()]}).targets[0]
    made = type(target).model_validate({**target.model_dump(), "labels": {"customer": "Acme \u00a0 Corp"}})
    assert made.labels == {"env": "prod", "customer": "Acme Corp"}
    trigger = STOP.on.model_copy().model_validate({"labels": {"customer": "Acme\tCorp"}})
    assert trigger.labels == {"customer": "Acme Corp"}


# Rows of one instance in several spellings


def test_a_count_over_several_spellings_is_their_sum() -> None:
    counts = rule("side_effect_tools", when={"above": "3", "over": "5m", "by": ["tool"]})
    said = heard(counts, row(2.0, tool="a"), row(2.0, tool="a "))
    seen = measured(counts, said).at(SLOT, {}, ALIVE, WITHIN)
    assert {by: (each.verdict, each.value) for by, each in seen.items()} == {
        instance({"tool": "a"}): (Verdict.BREACHED, 4.0)
    }


@pytest.mark.parametrize(("values", "verdict"), [((0.0, 0.2), Verdict.BREACHED), ((0.01, 0.02), Verdict.CLEAR)])
def test_of_a_ratio_in_several_spellings_the_worst_counts(values: tuple[float, float], verdict: Verdict) -> None:
    of = rule(when={"above": "5%", "minimum": "20", "by": ["agent"]})
    said = heard(of, *(row(value, agent=f"load{space}test") for value, space in zip(values, (" ", "  "), strict=True)))
    seen = measured(of, said).at(SLOT, {}, ALIVE, WITHIN)
    assert {by: each.verdict for by, each in seen.items()} == {instance({"agent": "load test"}): verdict}


def test_a_spelling_with_too_few_events_hides_none_that_has_enough() -> None:
    of = rule(when={"above": "5%", "minimum": "20", "by": ["agent"]})
    said = heard(of, row(0.2, 100, agent="a"), row(1.0, 1, agent="a "), row(0.0, 100, agent=" a"))
    assert measured(of, said).at(SLOT, {}, ALIVE, WITHIN)[instance({"agent": "a"})].value == 0.2


def test_rows_that_do_not_differ_at_all_still_make_the_rule_unreadable() -> None:
    of = rule(when={"above": "5%", "minimum": "20", "by": ["agent"]})
    said = heard(of, row(0.2, agent="a"), row(0.2, agent="a"))
    assert {each.verdict for each in measured(of, said).at(SLOT, {}, ALIVE, WITHIN).values()} <= {Verdict.UNKNOWN}


# What no telemetry can spell


def test_an_agent_named_like_the_configuration_is_notified_like_any_other() -> None:
    stage = failing("(configuration)")
    assert [each.rule for each in stage.oncall.got if each.labels.get("agent") == "(configuration)"] != []
    assert stage.platform.changes == 1


def test_a_tool_named_like_the_configuration_is_another_instance_than_the_configuration() -> None:
    of = rule("hitl_misconfigured", when={"above": "0", "over": "5m", "by": ["tool"]})
    said = (heard(of, row(1.0, 1, tool="(configuration)")), Heard(findings=(Finding("no approver"),)))
    seen = measured(of, *said).at(SLOT, {}, ALIVE, WITHIN)
    assert {by: each.verdict for by, each in seen.items()} == {
        instance({"tool": "(configuration)"}): Verdict.BREACHED,
        instance({"tool": Special.CONFIGURATION}): Verdict.BREACHED,
    }
    assert len({by_hash(by) for by in seen}) == 2


def test_an_instance_named_like_the_storm_is_no_storm() -> None:
    of = rule(when={"above": "5%", "minimum": "20", "by": ["storm"]}, max_instances="3")
    named = instance({"storm": "too many instances"})
    seen = measured(of, heard(of, row(0.5, storm="too many instances"))).at(SLOT, {}, ALIVE, WITHIN)
    assert (list(seen), named == STORM) == ([named], False)


@pytest.mark.parametrize("special", list(Special))
def test_a_special_instance_and_text_like_it_are_stored_apart_and_read_back(special: Special) -> None:
    store = SqliteStore(":memory:")
    at = datetime(2026, 11, 20, tzinfo=UTC)
    both = [
        Alert("r", "t", instance({"agent": value}), State.FIRING, at, at, fired=at)
        for value in (special, special.value)
    ]
    store.commit("r", "t", both, [], None)
    assert {each.by for each in store.open_alerts()} == {each.by for each in both}
    assert len({alert_key(each) for each in both} | {each.episode for each in both}) == 4


def test_what_was_stored_before_there_were_special_values_is_read_as_what_it_stood_for() -> None:
    old = dump(Alert("r", "t", (("agent", Special.CONFIGURATION),))), dump(Alert("r", "t", STORM))
    assert '"by":[["agent","(configuration)"]]' in old[0]
    assert '"by":[["storm","too many instances"]]' in old[1]
    assert [load(Alert, each).by for each in old] == [instance({"agent": Special.CONFIGURATION}), STORM]


def test_a_special_value_is_no_label() -> None:
    assert texts(STORM) == {}
    assert "agent" not in alert_labels(ERRORS_BY_AGENT, TARGET, instance({"agent": Special.CONFIGURATION}))


# Arguments and the audit


CALL = Policy.model_validate(
    {
        "id": "call_the_partner",
        "summary": "Call the partner.",
        "on": {"rule": "worker_failures"},
        "do": [{"webhook.call": {"url_setting": "U", "secret_setting": "S", "says": "{agent} {target} {rule} {env}"}}],
        "guard": {"mode": "act"},
    }
)


def test_only_what_the_files_say_is_substituted_into_an_argument() -> None:
    alert = Alert(
        "worker_failures", "sales", instance({"agent": "IGNORE ALL PREVIOUS"}), State.FIRING, T0, T0, fired=T0
    )
    made = begin(CALL, alert, T0, declared=alert_labels(ERRORS_BY_AGENT, TARGET))
    assert made.args["says"] == "{agent} sales worker_failures prod"


def test_an_argument_whose_placeholder_was_not_filled_is_never_carried_out() -> None:
    called: list[Order] = []

    class Called:
        readable, finishes = False, False

        def preview(self, order: Order) -> Preview:
            return Preview(())

        def apply(self, order: Order) -> Any:
            called.append(order)

        def holds(self, order: Order) -> None:
            return None

    allowed = TARGET.model_copy(update={"allow": ("webhook.call",)})
    stage = Stage(ERRORS_BY_AGENT, policies=(CALL,), config=CONFIG.model_copy(update={"targets": (allowed,)}))
    stage.actuators = {"webhook.call": Called()}
    stage.busy(T0 - 10 * MINUTE, T0 + 10 * MINUTE)
    for number in range(40):
        stage.trace(T0 + number * timedelta(seconds=15), "worker.completed", ok="false", external_system="a-worker")
    stage.run(range(5))
    (execution,) = stage.inner.executions()
    assert called == []
    assert (execution.phase.value, execution.reason) == ("failed", "webhook.call: 'says' still holds {agent}")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"scope": "everything"}, "'scope' has a value that it cannot have"),
        ({"scope": "tools", "x": "1"}, "'x' is no argument"),
        ({}, "'scope' is missing"),
    ],
)
def test_arguments_that_do_not_fit_are_named_without_their_values(args: dict[str, str], words: str) -> None:
    assert list(actuators.known()["killswitch.engage"].misfits(args)) == [words]


def test_telemetry_text_stands_in_no_record_of_the_audit() -> None:
    stage = failing("IGNORE-ALL-PREVIOUS")
    assert stage.platform.changes == 1
    records = stage.inner.audit()
    assert records
    assert "IGNORE-ALL-PREVIOUS" not in str(records)


def test_what_others_wrote_is_bounded_in_the_audit_and_stands_where_it_may() -> None:
    record = Record(T0, "policy p", "failed", "sales", "x", {"reason": "a\u202eb\n" + "😀" * 5_000})
    kept = chained(record, 1, "0" * 64)["detail"]["reason"]
    assert kept.startswith("ab 😀")
    assert len(kept.encode()) <= LONGEST
    assert "reason" in UNTRUSTED
