"""An audit record says by which files and on what evidence something was decided, and holds nothing from telemetry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.stage import ERRORS, MINUTE, MISCONFIGURED, STOP, T0, TARGET, Stage
from tocsin import __version__, signals
from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.audit import Record, broken
from tocsin.core.evidence import decided, step
from tocsin.core.guard import Answer, Check, Ruling
from tocsin.core.notice import query_behind
from tocsin.core.remedy import Phase, begin
from tocsin.core.rule import Rule
from tocsin.engine.recalling import newest_first
from tocsin.stores.sqlite import SqliteStore

RULE = ERRORS.model_copy(update={"file": "rules/high_error_rate.yaml"})
POLICY = STOP.model_copy(update={"file": "remediations/stop_unsafe_tools.yaml"})
ALERT = Alert(
    "high_error_rate",
    "sales",
    (("agent", "someone@example.com"),),
    State.FIRING,
    T0,
    last=Verdict.BREACHED,
    fired=T0 - MINUTE,
    value=0.25,
    reason="someone@example.com asked",
    detail="args_redacted: someone@example.com",
)
ANSWER = Answer(Ruling.PERMIT, "every check passed", (Check("cooldown", None, "not cooling down"),))
DIGESTS = {RULE.file: "a" * 12, POLICY.file: "b" * 12}


def a_decision(phase: Phase = Phase.INTENDED, rule: Rule = RULE, alert: Alert = ALERT) -> Record:
    execution = begin(POLICY, alert, T0).moved(phase, "every check passed")
    signal = signals.known().get(rule.when.signal or "")
    return decided(execution, alert, ANSWER, POLICY, rule, TARGET, signal, DIGESTS, T0)


def test_a_decision_names_actor_files_with_versions_and_evidence() -> None:
    record = a_decision()
    assert (record.actor, record.event, record.target) == ("policy stop_unsafe_tools", "intended", "sales")
    assert record.subject == record.detail["correlation"] == f"stop_unsafe_tools/{ALERT.episode}"
    evidence = {name: record.detail[name] for name in ("rule file", "policy file", "signal", "window", "value")}
    assert evidence == {
        "rule file": f"rules/high_error_rate.yaml sha256:{'a' * 12}",
        "policy file": f"remediations/stop_unsafe_tools.yaml sha256:{'b' * 12}",
        "signal": "response_errors",
        "window": "2026-11-20T02:55:00+00:00/2026-11-20T03:00:00+00:00",
        "value": "0.25",
    }
    assert record.detail["threshold"] == "0.05"
    assert (record.detail["verdict"], record.detail["slot"]) == ("breached", T0.isoformat())
    assert record.detail["check.cooldown"] == "not cooling down"
    assert record.detail["tocsin"] == __version__


def test_the_query_is_named_by_the_hash_of_the_text_that_messages_show() -> None:
    query = query_behind(RULE, signals.known()["response_errors"], TARGET, T0)
    assert query is not None
    assert a_decision().detail["query"] == f"sha256:{hashlib.sha256(query.text.encode()).hexdigest()}"
    later = a_decision(alert=replace(ALERT, slot=T0 + MINUTE))
    assert later.detail["query"] != a_decision().detail["query"], "the window is part of it"


@pytest.mark.parametrize("phase", [Phase.REFUSED, Phase.ASKED, Phase.OBSERVED])
def test_what_was_not_done_is_recorded_as_such(phase: Phase) -> None:
    assert a_decision(phase).event == phase.value


def test_what_a_rule_does_not_have_is_left_out() -> None:
    plain = RULE.model_copy(update={"file": ""})
    record = a_decision(rule=plain, alert=replace(ALERT, value=None, slot=None))
    assert not {"value", "slot", "window", "query", "rule file"} & set(record.detail)


def test_a_step_has_what_was_before_and_after_and_the_version_it_was_saved_as() -> None:
    execution = begin(POLICY, ALERT, T0).moved(Phase.APPLIED, "engaged", before="r1", after="r2\u202e", operation="o")
    record = step("applied", execution, T0)
    assert record.detail | {"before": "r1", "after": "r2", "version": "1", "arg.scope": "tools"} == record.detail


def test_nothing_that_telemetry_holds_gets_into_a_record() -> None:
    """Not the redacted arguments, nor the values alerts are split by, nor what is safe to show in a message."""
    text = f"{a_decision()}"
    assert "someone@example.com" not in text
    hostile = 'args_redacted: {"to": "someone@example.com"}\u202e\n{"sequence": 7}'
    rule = MISCONFIGURED.model_copy(update={"when": MISCONFIGURED.when.model_copy(update={"by": ("tool",)})})
    stage = Stage(rule)
    for second in range(-300, 900, 20):
        at = T0 + timedelta(seconds=second)
        stage.trace(at, "tool.hitl_misconfigured", tool=hostile, args_redacted=hostile, agent=hostile)
    stage.platform.env.clear()
    stage.run(range(14))
    entries = stage.inner.audit()
    assert {"intended", "applied"} <= {entry["event"] for entry in entries}
    assert "example.com" not in json.dumps(entries)
    assert "args_redacted" not in json.dumps(entries)
    assert broken(entries) is None


def test_the_audit_is_read_back_from_its_newest_and_no_further_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.engine.recalling._PAGE", 10)
    store, asked = SqliteStore(":memory:"), []
    for number in range(95):
        store.record(None, [Record(T0 + timedelta(hours=number), "policy p", "x", "sales", f"{number}")])
    assert [entry["sequence"] for entry in newest_first(store)] == list(range(95, 0, -1))
    audit = SqliteStore.audit

    def noted(self: SqliteStore, since: int = 0, most: int | None = None) -> list[dict[str, object]]:
        asked.append((since, most))
        return audit(self, since, most)

    monkeypatch.setattr(SqliteStore, "audit", noted)
    found = list(newest_first(store, T0 + timedelta(hours=90)))
    assert found[-1]["sequence"] == 66
    assert asked == [(85, 10), (75, 10), (65, 10)]
