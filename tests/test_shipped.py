"""Every shipped rule fires on its number and not just below it, and is quiet where there is nothing to watch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.queries import AT, TARGET
from tests.reading_cases import SETTINGS
from tests.stage import CONFIG, MINUTE, T0, Stage
from tocsin import app as composed
from tocsin import signals
from tocsin.core.alert import Verdict
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import FINDINGS, App, Revision
from tocsin.core.fields import Automation
from tocsin.core.gauge import Reading
from tocsin.core.schedule import Due
from tocsin.core.signal import Configured, Gauge
from tocsin.engine.asking import Asker
from tocsin.engine.measuring import Measurer, World
from tocsin.files import read_project
from tocsin.ports import Meter, Telemetry
from tocsin.telemetry.embedded import EmbeddedTelemetry
from tocsin.telemetry.metrics import ContainerAppMetrics
from tocsin.telemetry.probes import ApproverProbe, HttpProbes
from tocsin.telemetry.queues import QueueDepths
from tocsin.testing import Heard as Log

SIGNALS = signals.known()
B, C, U = Verdict.BREACHED, Verdict.CLEAR, Verdict.UNKNOWN
PROJECT = read_project(ROOT, SETTINGS, composed.known())
RULES = {rule.id: rule for rule in PROJECT.rules}
APP = TARGET.model_copy(update={"labels": {"env": "prod"}, "container_app": "sales-research-api"})

Row = tuple[str, timedelta, Mapping[str, Any]]
"""A table, how long before the slot, and the columns."""


def trace(name: str, count: int, ago: float = 2, **told: Any) -> Row:
    """``count`` events of one kind, so many minutes ago."""
    properties = {"event_name": name, **{key.replace("__", "."): str(value) for key, value in told.items()}}
    return "AppTraces", ago * MINUTE, {"Message": name, "ItemCount": count, "Properties": properties}


def responses(good: int, bad: int, ago: float = 2, **told: Any) -> list[Row]:
    """Responses of which ``bad`` failed."""
    counts = ((good, "true"), (bad, "False"))
    return [trace("response.returned", count, ago, ok=ok, **told) for count, ok in counts if count]


def slow(ms: float) -> list[Row]:
    """Twenty rows of which two took so long: percentiles do not weigh rows by their count."""
    return [trace("response.returned", 1, ok="true", value=ms if number < 2 else 900) for number in range(20)]


def table(name: str, count: int, **columns: Any) -> Row:
    return name, 2 * MINUTE, {"ItemCount": count, **columns}


def calls(good: int, bad: int, **columns: Any) -> list[Row]:
    told = {"DependencyType": "HTTP", "Target": "search", **columns}
    codes = ((good, True, "200"), (bad, False, "503"))
    return [
        table("AppDependencies", count, **{"Success": fine, "ResultCode": code, **told}) for count, fine, code in codes
    ]


def gauged(name: str, value: float, **labels: str) -> Reading:
    """Something that is read now."""
    return Reading(name, value, labels)


def measured(name: str, value: float) -> list[Reading]:
    """A metric of the platform, by the minute."""
    return [Reading(name, value, {"replica": "a"}, AT - ago * MINUTE) for ago in (4, 3, 2)]


def rising(total: float) -> list[Reading]:
    return [Reading("restarts", value, {"replica": "a"}, AT - ago * MINUTE) for ago, value in ((8, 0.0), (2, total))]


def models(old: str, new: str, age: float) -> App:
    def revision(name: str, model: str, created: float, weight: int) -> Revision:
        env = {"AZURE_AI_FOUNDRY_MODEL": model}
        return Revision(name, active=bool(weight), weight=weight, running=True, env=env, created=AT - created * MINUTE)

    revisions = (revision("r2", new, age, 100), revision("r1", old, 5000, 0))
    return App("id", "westeurope", {}, {}, revisions)


def state(running: bool) -> App:
    return App("id", "w", {}, {}, (Revision("r1", active=True, weight=100, running=running, env={}, state="Failed"),))


def approving(**env: str) -> App:
    return App("id", "w", {}, {}, (Revision("r1", active=True, weight=100, running=True, env=env),))


def lagging(seconds: int) -> list[Row]:
    late = {"_IngestedAt": AT - 10 * MINUTE + timedelta(seconds=seconds), "Message": "x"}
    return [("AppTraces", 10 * MINUTE, {"ItemCount": 30, **late})]


PROBE, QUEUE = {"probe": "home"}, {"queue": "work"}
DOWN = [gauged("failures", 1.0, **PROBE)]
DNS = "[Errno -2] Name or service not known"
FOUNDRY = "Foundry: 503"

LAST_WEEK = [trace("cost.call", 1, 8 * 1440 + 60, value=1)]
"""What proves that last week's day is whole."""

Given = Sequence[Row | Reading] | App

CASES: dict[str, tuple[Given, Given]] = {
    "error_rate_elevated": (responses(98, 2), responses(99, 1)),
    "high_error_rate": (responses(94, 6), responses(95, 5)),
    "p95_latency": (slow(180_001), slow(180_000)),
    "p95_latency_elevated": (slow(90_001), slow(90_000)),
    "hitl_misconfigured": ([trace("tool.hitl_misconfigured", 1)], [trace("tool.hitl_rejected", 1)]),
    "hitl_skipped": ([trace("tool.hitl_skipped", 1)], [trace("tool.hitl_approved", 1)]),
    "approver_missing": (approving(), approving(HITL_DEV_MODE="1")),
    "dev_mode_beside_approver": (
        approving(HITL_APPROVER_ENDPOINT="https://a", HITL_DEV_MODE="1"),
        approving(HITL_DEV_MODE="1"),
    ),
    "hitl_rejection_spike": ([trace("tool.hitl_rejected", 11, 50)], [trace("tool.hitl_rejected", 10, 50)]),
    "cost_jump": (
        [trace("cost.call", 50, value=1.21), trace("cost.call", 50, 7 * 1440 + 60, value=1), *LAST_WEEK],
        [trace("cost.call", 50, value=1.2), trace("cost.call", 50, 7 * 1440 + 60, value=1), *LAST_WEEK],
    ),
    # Two calls a request.
    "cost_per_call": (
        [trace("cost.call", 20, value=0.28), trace("request.received", 10)],
        [trace("cost.call", 20, value=0.275), trace("request.received", 10)],
    ),
    "model_without_price": (
        [trace("cost.call", 1, value="0.0", args_redacted__input_tokens=1, args_redacted__model="m")],
        [trace("cost.call", 9, value="0.0001", args_redacted__input_tokens=1), trace("cost.call", 9, value="0.0")],
    ),
    **{
        name: (
            [trace("cost.call", 1000, 1000, args_redacted__input_tokens=tokens, args_redacted__output_tokens=1001)],
            [trace("cost.call", 1000, 1000, args_redacted__input_tokens=tokens, args_redacted__output_tokens=1000)],
        )
        for name, tokens in (("token_budget", 7_000), ("token_budget_spent", 9_000))
    },
    "model_outage": (
        [*responses(0, 21, error=FOUNDRY), *responses(79, 0), *responses(0, 4, error="KeyError")],
        [*responses(0, 20, error=FOUNDRY), *responses(79, 0), *responses(0, 4, error="KeyError")],
    ),
    "model_misconfigured": (
        [*responses(0, 21, error="Foundry: Error code: 404"), *responses(79, 0)],
        [*responses(0, 20, error="Foundry: Error code: 404"), *responses(79, 1), *responses(0, 9, error=FOUNDRY)],
    ),
    "model_unreachable": (
        [*responses(0, 21, error="Connection error."), *responses(79, 0)],
        [*responses(0, 20, error="Connection error."), *responses(79, 1)],
    ),
    "content_filtered": (
        [*responses(0, 21, error="Error code: 400 content_filter"), *responses(79, 0)],
        [*responses(0, 20, error="Error code: 400 content_filter"), *responses(79, 1)],
    ),
    "version_lookup_failures": (
        [trace("agent.version_lookup_failed", 3)],
        [trace("agent.version_lookup_failed", 2)],
    ),
    "private_endpoint_dns": (
        [trace("retrieval.returned", 21, ok="false", error=DNS)],
        [trace("retrieval.returned", 20, ok="false", error=DNS), trace("tool.failed", 90, error="HTTP 403")],
    ),
    "tool_failures": (
        [trace("tool.executed", 89), trace("tool.failed", 11, error="TimeoutError")],
        [trace("tool.executed", 90), trace("tool.failed", 10), trace("tool.failed", 99, error="killswitch engaged: x")],
    ),
    "retrieval_failures": (
        [trace("retrieval.returned", 89, value=3), trace("retrieval.returned", 11, ok="False", error="HTTP 403")],
        [trace("retrieval.returned", 90, value=3), trace("retrieval.returned", 10, ok="False", error="HTTP 403")],
    ),
    "groundedness_drop": (
        [trace("eval.result", 10, 900, args_redacted__groundedness=0.84)],
        [trace("eval.result", 10, 900, args_redacted__groundedness=0.85)],
    ),
    "quality_drop": (
        [trace("eval.result", 10, 900, args_redacted__score=0.74)],
        [trace("eval.result", 10, 900, args_redacted__score=0.75)],
    ),
    "redteam_failures": (
        [trace("eval.result", 1, args_redacted__suite="red_team", args_redacted__passed="False")],
        [
            trace("eval.result", 9, args_redacted__suite="redteam", args_redacted__passed="True"),
            trace("eval.result", 9, args_redacted__suite="quality", args_redacted__passed="False"),
        ],
    ),
    "container_restarts": (rising(4), rising(3)),
    "resource_pressure_cpu": (measured("cpu", 85.1), measured("cpu", 85)),
    "resource_pressure_memory": (measured("memory", 90.1), measured("memory", 90)),
    "queue_depth": ([gauged("depth", 1001, **QUEUE)], [gauged("depth", 1000, **QUEUE)]),
    "queue_depth_elevated": ([gauged("depth", 101, **QUEUE)], [gauged("depth", 100, **QUEUE)]),
    "queue_lag": ([gauged("lag", 301, **QUEUE)], [gauged("lag", 300, **QUEUE)]),
    "queue_lag_elevated": ([gauged("lag", 61, **QUEUE)], [gauged("lag", 60, **QUEUE)]),
    "dead_letters": ([gauged("dead", 1, **QUEUE)], [gauged("dead", 0, **QUEUE)]),
    "approver_unreachable": ([gauged("unreachable", 1, revision="r")], [gauged("unreachable", 0, revision="r")]),
    "api_down": ([*DOWN, *responses(9, 0, 4), *responses(0, 9, 1)], [*DOWN, *responses(1, 0)]),
    "probe_failing": (DOWN, [gauged("failures", 0.0, **PROBE)]),
    "certificate_expiry": (
        [gauged("certificate_days", 13.9, **PROBE)],
        [gauged("certificate_days", 14, **PROBE)],
    ),
    "success_rate_low": (
        [table("AppRequests", 94, Success=True), table("AppRequests", 6, Success=False, ResultCode="500")],
        [
            table("AppRequests", 94, Success=True),
            table("AppRequests", 1, Success=False, ResultCode="404"),
            table("AppRequests", 5, Success=False, ResultCode="500"),
        ],
    ),
    "worker_down": (state(running=False), state(running=True)),
    "worker_failures": (
        [trace("worker.completed", n, ok=ok, external_system="planner") for n, ok in ((89, "true"), (11, "false"))],
        [trace("worker.completed", n, ok=ok, external_system="planner") for n, ok in ((90, "true"), (10, "false"))],
    ),
    "no_output": (
        [trace("request.received", 100, 20), *responses(80, 9, 10), *rising(1)],
        [trace("request.received", 100, 20), *responses(80, 9, 10), *rising(0)],
    ),
    "abandoned_requests": (
        [trace("request.received", 100, 20), *responses(40, 9, 10)],
        [trace("request.received", 100, 20), *responses(40, 10, 10)],
    ),
    "dependency_failures": (calls(89, 11), calls(90, 10)),
    "killswitch_engaged": ([gauged("engaged", 1, scope="tools")], []),
    "killswitch_drift": ([gauged("drifted", 1, scope="tools")], [gauged("engaged", 1, scope="tools")]),
    "ingestion_lag": (lagging(301), lagging(300)),
    "slo_burn": ([*responses(85, 15), *responses(9000, 0, 300)], [*responses(86, 14), *responses(9000, 0, 300)]),
    "slo_burn_slow": (
        [*responses(96, 4, 60), *responses(9000, 0, 2000)],
        [*responses(97, 3, 60), *responses(9000, 0, 2000)],
    ),
    "model_changed": (models("gpt-5-mini", "gpt-5", 59), models("gpt-5-mini", "gpt-5", 61)),
}
"""Rule → what makes it fire, and what just does not."""


@dataclass
class Reads:
    """A meter that says what a case gives it."""

    readings: Sequence[Reading] = ()

    def read(self, *_: object) -> Sequence[Reading]:
        return self.readings


@dataclass
class Platform:
    """The app as a case has it; one that says nothing of it has one that nobody can read."""

    app: App | None

    def read(self, _: Target) -> App | NoAnswer:
        return self.app or NoAnswer(Why.MISSING)


def later(given: Given, by: timedelta) -> tuple[list[Row], list[Reading], App | None]:
    """Return a case's rows, its readings and its app, as they are so much later."""
    if isinstance(given, App):
        revisions = (replace(each, created=each.created and each.created + by) for each in given.revisions)
        return [], [], replace(given, revisions=tuple(revisions))
    readings = [replace(each, at=each.at and each.at + by) for each in given if isinstance(each, Reading)]
    return [each for each in given if not isinstance(each, Reading)], readings, None


@dataclass
class Bench:
    """One telemetry for all cases, each in days of its own: what was asked once is translated once."""

    rows: EmbeddedTelemetry
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def judged(self, name: str, given: Given, telemetry: Telemetry | None = None) -> set[Verdict]:
        """Return what the rule sees in its slot, asking another ``telemetry`` if one is given."""
        shift = next(self.numbers) * timedelta(days=40)
        slot, (rows, readings, app) = AT + shift, later(given, shift)
        for kind, ago, columns in [*rows, ("AppTraces", MINUTE, {"Message": "the target is alive"})]:
            at = {"TimeGenerated": slot - ago, "AppRoleName": TARGET.role_name}
            late = {"_IngestedAt": columns["_IngestedAt"] + shift} if "_IngestedAt" in columns else {}
            self.rows.load(kind, [{**at, **columns, **late}])
        asked = telemetry or self.rows
        measurer = Measurer(signals.known(), asked, Asker(asked, Log()), Log())
        meters = dict.fromkeys(("metrics", "queues", "probes", "approver", "switches"), Reads(readings))
        world = World(APP, Platform(app), meters)
        prepared = measurer.prepared(RULES[name], Due((slot,)), APP, None, slot)
        (found,) = measurer.measured([prepared], (), world)
        return {seen.verdict for seen in found.at(slot, {}, world.fresh, APP.fresh_within).values()}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    telemetry = EmbeddedTelemetry()
    yield Bench(telemetry)
    telemetry.close()


def test_every_shipped_rule_has_its_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_rule_fires_on_its_number_and_not_just_below_it(bench: Bench, name: str) -> None:
    fires, misses = CASES[name]
    assert B in bench.judged(name, fires)
    assert B not in bench.judged(name, misses)


@pytest.mark.parametrize(
    "rows",
    [
        calls(0, 21, ResultCode="0"),
        [table("AppExceptions", 21, ExceptionType="azure.core.exceptions.ServiceRequestError")],
        [table("AppExceptions", 21, ExceptionType="OSError", OuterMessage="Cannot connect to host x:443 ssl:default")],
        [trace("worker.completed", 21, ok="false", error="403: Public access is disabled. Configure private endpoint")],
    ],
)
def test_each_place_where_a_broken_connection_shows_is_enough(bench: Bench, rows: list[Row]) -> None:
    assert bench.judged("private_endpoint_dns", rows) == {B}


def test_calls_that_were_answered_badly_are_no_transport_errors(bench: Bench) -> None:
    assert bench.judged("private_endpoint_dns", calls(0, 99)) == {C}
    assert bench.judged("private_endpoint_dns", calls(0, 99, ResultCode="0", DependencyType="InProc")) == {C}


class Nobody:
    """A workspace that does not answer."""

    def ask(self, *_: object) -> NoAnswer:
        return NoAnswer(Why.UNREACHABLE)


def test_a_probe_that_fails_is_believed_where_telemetry_cannot_say_otherwise(bench: Bench) -> None:
    assert bench.judged("api_down", [*DOWN, *responses(99, 0)]) == {C}
    assert bench.judged("api_down", [*DOWN, *responses(99, 0)], Nobody()) == {B}


def test_a_probe_that_succeeds_is_believed_though_nobody_is_answered(bench: Bench) -> None:
    assert bench.judged("api_down", [gauged("failures", 0.0, **PROBE)]) == {C}


def test_a_share_of_too_few_proves_nothing(bench: Bench) -> None:
    assert bench.judged("high_error_rate", responses(0, 19)) == {U}
    assert bench.judged("worker_failures", [trace("worker.completed", 9, ok="false", external_system="a")]) == {U}


def meters() -> dict[str, Meter]:
    """The real meters; each would fail if it asked anybody."""
    nobody: Any = None
    return {
        "metrics": ContainerAppMetrics(nobody),
        "queues": QueueDepths(nobody, nobody),
        "probes": HttpProbes(),
        "approver": ApproverProbe(nobody),
    }


def test_a_target_that_has_and_emits_next_to_nothing_hears_nothing() -> None:
    """No queues, probes or app, no cost and no evals: unknown is neither bad news nor blindness."""
    bare = Target(name="sales", workspace="w", role_name="sales-api", labels={"env": "prod"}, offset=timedelta())
    stage = Stage(*PROJECT.rules, config=CONFIG.model_copy(update={"targets": (bare,)}))
    stage.meters = meters()
    stage.busy(T0 - 30 * MINUTE, T0 + 25 * MINUTE)
    stage.run(range(0, 25, 3))
    assert stage.team.got == stage.oncall.got == []
    assert stage.log.named("stretched") == []


# Policies


def test_a_policy_that_is_on_does_what_the_sample_target_allows_and_one_that_needs_values_is_off() -> None:
    (target,) = PROJECT.config.targets
    needing = ("github_workflow.run", "webhook.call", "model.swap", "container_app.scale")
    for policy in PROJECT.policies:
        actions = {step.action for step in policy.do}
        assert policy.enabled != any(action in needing for action in actions), policy.id
        assert not policy.enabled or actions <= set(target.allow), policy.id


def test_only_stopping_unsafe_tools_and_holding_a_switch_are_done_without_a_person() -> None:
    acting = {each.id for each in PROJECT.policies if each.enabled and each.guard.mode is Automation.ACT}
    assert acting == {"stop_unsafe_tools", "hold_killswitch"}


def test_every_policy_answers_some_shipped_rule() -> None:
    for policy in PROJECT.policies:
        on = policy.on
        assert any(
            on.rule in (None, rule.id)
            and on.severity in (None, rule.severity)
            and on.labels.items() <= rule.labels.items()
            for rule in PROJECT.rules
        ), policy.id


def declared(name: str) -> dict[str, set[str]]:
    """Return the values of dimensions that a signal's sources say they can have."""
    found: dict[str, set[str]] = {}
    for source in SIGNALS[name].sources:
        for dimension, values in (source.says if not isinstance(source, Gauge) else {}).items():
            found.setdefault(dimension, set()).update(values)
    return found


@pytest.mark.parametrize("name", [name for name in SIGNALS if declared(name)])
def test_every_value_that_a_signal_can_say_is_watched_by_a_shipped_rule(name: str) -> None:
    rules = [rule for rule in PROJECT.rules if rule.when.signal == name and rule.enabled]
    for dimension, values in declared(name).items():
        watched = [set(rule.when.only.get(dimension, values)) for rule in rules]
        assert set().union(*watched) == values, "a sign that no rule chooses is seen by nobody"


def test_a_finding_has_no_value_that_its_signal_does_not_declare() -> None:
    """A source is asked only where it declares the value: a finding with another would never be looked for."""
    switches = itertools.product(("", "https://a"), ("", "1", "off"))
    apps = [approving(HITL_APPROVER_ENDPOINT=address, HITL_DEV_MODE=mode) for address, mode in switches]
    for signal in SIGNALS.values():
        for source in signal.sources:
            for app in apps if isinstance(source, Configured) else ():
                for finding in FINDINGS[source.finding](app, APP, AT):
                    assert all(value in source.says[key] for key, value in finding.labels.items())
