"""``tocsin doctor`` over the local world: what is planted is found and named, and what is well is not complained of."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.notices import fired
from tests.reading_cases import project
from tests.stage import CONFIG
from tocsin.app import App, Parts, compose
from tocsin.cli import doctoring
from tocsin.cli.commands import program
from tocsin.cli.examining import Place, _store, _tokens, _tried, examine
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.heartbeat import Ailing
from tocsin.core.message import Settled, outbox
from tocsin.core.ncrontab import timetable
from tocsin.core.permission import Permission, allowed
from tocsin.diagnosing import running
from tocsin.diagnosing.finding import ADVICE, Finding, State
from tocsin.diagnosing.wiring import EVENTS, Sighted, blind, events_of, evidence
from tocsin.local.roles import GIVEN
from tocsin.local.world import World
from tocsin.settings import Settings
from tocsin.signals import known
from tocsin.stores.sqlite import SqliteStore

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
NAME, MINUTE = "sales-research", timedelta(minutes=1)
runner = CliRunner()


@dataclass
class Practice:
    """A watcher that watches the local world, and the doctor who looks it over."""

    world: World
    root: Path
    more: dict[str, str]

    def given(self) -> Settings:
        values = {**self.world.settings(), "TOCSIN_STATE": str(self.root / "state.sqlite"), **self.more}
        return Settings(self.root, {name: value for name, value in values.items() if value})

    def app(self, _root: Path | None = None) -> tuple[App, Settings]:
        given = self.given()
        return compose(given, Parts(clock=self.world.clock)), given

    def tick(self, minutes: int = 1) -> None:
        for _ in range(minutes):
            self.app()[0].tick()
            self.world.advance(self.world.clock.now() + MINUTE)

    def look(self) -> list[Finding]:
        app, given = self.app()
        return examine(Place(app, given, app.engine.project.config.targets))

    def found(self, check: str, about: str = "") -> list[Finding]:
        return [each for each in self.look() if each.check == check and about in each.about]

    def one(self, check: str, about: str = "") -> Finding:
        (found,) = self.found(check, about)
        return found

    def edit(self, old: str, new: str) -> None:
        text = (self.root / "tocsin.yaml").read_text()
        assert old in text
        (self.root / "tocsin.yaml").write_text(text.replace(old, new))

    def run(self, *options: str, code: int) -> Any:
        result = runner.invoke(program, ["doctor", "--root", str(self.root), *options])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "json" in options else result.stdout + result.stderr


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    """One world for all: what a test plants it takes out again."""
    with World(T0, seed=1) as world:
        yield world


@pytest.fixture(scope="module")
def ticked(served: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state after one tick, which every test has a copy of."""
    root = project(tmp_path_factory.mktemp("ticked"))
    app, _ = Practice(served, root, {}).app()
    app.tick()
    app.engine.store.close()  # type: ignore[attr-defined]
    return root / "state.sqlite"


@pytest.fixture
def practice(served: World, ticked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Practice]:
    made = Practice(served, project(tmp_path), {})
    shutil.copy(ticked, tmp_path)
    monkeypatch.setattr(doctoring, "composed", made.app)
    yield made
    served.workspace.faults.clear()
    served.arm.faults.clear()
    served.roles.faults.clear()
    served.pagerduty.faults.clear()
    served.roles.actions = [f"Microsoft.App/containerApps/{each}" for each in GIVEN]
    served.skew = timedelta()


@pytest.fixture
def probed(practice: Practice) -> Practice:
    """As shipped, with what its rules of P0 and P1 need besides."""
    probe = f"probes: [{{ name: api, url: {practice.world.url}/app/healthz }}]"
    practice.edit("    labels: { env: prod }\n", f"    labels: {{ env: prod }}\n    {probe}\n")
    return practice


# As it is


def test_a_last_resort_that_the_identity_may_not_take_is_named(practice: Practice) -> None:
    practice.world.roles.actions = [f"Microsoft.App/containerApps/{each}" for each in GIVEN[:3]]
    (found,) = [each for each in practice.run("-o", "json", code=1)["findings"] if each["id"] == "no-write-permission"]
    lacks = [f"Microsoft.App/containerApps/{verb}/action" for verb in ("start", "stop")]
    assert found["seen"] == f"the identity that acts lacks {', '.join(lacks)}"


def test_a_watcher_that_is_well_has_no_error_and_exits_with_zero(probed: Practice) -> None:
    probed.app()[0].tick()
    report = probed.run("-o", "json", code=0)
    errors = [each for each in report["findings"] if each["state"] in ("error", "unknown")]
    assert errors == []
    assert report["counts"]["ok"] >= 18
    assert {each["check"] for each in report["findings"]} >= {
        "settings", "identity", "workspace", "tables", "rules", "app", "permissions", "approver", "meters", "store",
        "audit", "receivers", "schedule", "clock",
    }  # fmt: skip


def test_as_shipped_the_p0_rule_without_a_probe_is_an_error_and_says_how_to_wire_it(practice: Practice) -> None:
    out = " ".join(practice.run(code=1).split())
    assert "api_down: it (P0) can never fire: the target names no probe" in out
    assert "To wire it: the target's `probes` in tocsin.yaml" in out
    assert "[rule-cannot-fire]" in out


def test_what_is_shown_holds_no_secret(practice: Practice) -> None:
    practice.more = {"TEAMS_WEBHOOK_URL": f"{practice.world.url}/teams/workflows/sesame"}
    out = practice.run("-o", "json", code=1)
    secrets = [practice.given().values[name] for name in ("PAGERDUTY_ROUTING_KEY", "TOCSIN_LINK_SECRET")]
    assert not [each for each in (*secrets, "sesame") if each in json.dumps(out)]
    assert "PAGERDUTY_ROUTING_KEY" in json.dumps(out)


def test_only_the_named_target_is_looked_at_and_one_there_is_not_is_a_wrong_call(practice: Practice) -> None:
    assert "known: sales-research" in practice.run("--target", "nobody", code=2)
    assert practice.run("--target", NAME, "-o", "json", code=1)["findings"]


def test_nothing_is_left_behind_in_the_store_and_nothing_is_changed_in_production(practice: Practice) -> None:
    from tocsin.cli.examining import Trial

    patches = len(practice.world.arm.patches)
    assert practice.one("store").state is State.OK
    assert practice.app()[0].engine.store.kept(Trial) == {}
    assert len(practice.world.arm.patches) == patches


# Settings and identities


def test_a_setting_that_is_missing_and_one_that_is_malformed_are_named(practice: Practice) -> None:
    practice.more = {"PAGERDUTY_ROUTING_KEY": "", "TOCSIN_GITHUB_ENDPOINT": "ftp://x", "TICK_SCHEDULE": "* * * * *"}
    found = {each.about: each for each in practice.found("settings")}
    assert found["PAGERDUTY_ROUTING_KEY"].id == "setting-missing"
    assert "a secret" in found["PAGERDUTY_ROUTING_KEY"].seen
    assert found["bad-endpoint"].id == "setting-malformed"
    assert "six fields" in found["TICK_SCHEDULE"].seen
    assert practice.one("receivers", "oncall").id == "receiver-unusable"


def test_an_app_that_cannot_even_be_composed_says_by_which_setting(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for name, value in {**practice.given().values, "TOCSIN_ARM_ENDPOINT": "https://arm.example"}.items():
        monkeypatch.setenv(name, value)
    out = " ".join(practice.run(code=1).split())
    assert "the app cannot be composed: ValueError: a static token is for a stand-in on loopback only" in out
    assert "[setting-malformed]" in out


def test_a_rule_with_a_problem_is_said_to_be_left_out(practice: Practice) -> None:
    (practice.root / "rules" / "cost_jump.yaml").write_text("severity: P9\n")
    found = practice.one("files")
    assert (found.state, found.id) == (State.ERROR, "files-have-problems")
    assert "rules/cost_jump.yaml" in found.seen


def test_without_a_target_nothing_is_watched(practice: Practice) -> None:
    (practice.root / "tocsin.yaml").write_text("automation: observe\n")
    assert practice.one("files", "targets").id == "nothing-watched"


def test_an_identity_that_gets_no_token_is_named_with_the_service(
    httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real SDK, against the App Service's own identity endpoint as it refuses."""
    httpserver.expect_request("/msi/token").respond_with_json({"message": "no such identity"}, status=400)
    monkeypatch.setenv("IDENTITY_ENDPOINT", httpserver.url_for("/msi/token"))
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    ids = {"TOCSIN_READER_CLIENT_ID": "reader", "TOCSIN_ACTUATOR_CLIENT_ID": "actuator"}
    found = list(_tokens(Settings(tmp_path, ids)))
    assert [(each.about, each.state, each.id) for each in found] == [
        ("the reader", State.ERROR, "no-token"),
        ("the reader", State.ERROR, "no-token"),
        ("the actuator", State.ERROR, "no-token"),
    ]
    assert "https://api.loganalytics.io" in found[0].seen
    assert "up to an hour" in found[0].do


def test_without_a_token_no_role_is_asked_for(practice: Practice) -> None:
    """What the SDK says when nobody gives a token is a refusal, too, and another one than a service's."""
    from tocsin.diagnosing import access

    target = practice.app()[0].engine.project.config.targets[0]
    nobody = NoAnswer(Why.FORBIDDEN, "DefaultAzureCredential failed to retrieve a token")
    assert access.workspace(target, nobody).id == "no-token"
    assert [each.id for each in access.app(target, nobody)] == ["no-token"]
    assert access.gauge(target, "metrics", nobody).id == "no-token"
    assert access.gauge(target, "metrics", NoAnswer(Why.FORBIDDEN, "403: no")).id == "gauge-unreadable"


# Telemetry


def test_a_query_that_is_refused_says_which_role_and_that_it_takes_an_hour(practice: Practice) -> None:
    practice.world.workspace.faults.add("forbidden")
    found = practice.one("workspace")
    assert (found.state, found.id) == (State.ERROR, "query-forbidden")
    assert "InsufficientAccessError" in found.seen
    assert "Log Analytics Reader" in found.do
    assert "up to an hour" in found.do
    assert {each.state for each in practice.found("rules")} <= {State.UNKNOWN, State.WARNING, State.ERROR}
    assert practice.one("rules", "high_error_rate").state is State.UNKNOWN


def test_what_could_not_be_looked_at_is_an_exit_status_of_its_own(probed: Practice) -> None:
    probed.app()[0].tick()
    probed.world.roles.faults.add("forbidden")
    report = probed.run("-o", "json", code=3)
    assert (report["counts"]["error"], report["counts"]["unknown"] > 0) == (0, True)


def test_a_workspace_that_does_not_answer_is_unknown_and_never_well(practice: Practice) -> None:
    practice.world.workspace.faults.add("partial")
    assert practice.one("workspace").state is State.UNKNOWN
    assert all(each.state is not State.OK for each in practice.found("rules"))


def test_a_workspace_there_is_not_is_named(practice: Practice) -> None:
    practice.more = {"WATCHED_WORKSPACE": "99999999-0000-0000-0000-000000000000"}
    assert practice.one("workspace").id == "workspace-missing"


def test_a_table_the_workspace_does_not_know_is_named_with_the_rules_that_are_lost_by_it(practice: Practice) -> None:
    practice.world.workspace.faults.add("bad_request", matching="AppDependencies", table="AppDependencies")
    found = practice.one("tables", "AppDependencies")
    assert (found.state, found.id) == (State.WARNING, "table-missing")
    lost = practice.one("rules", "dependency_failures")
    assert "AppDependencies has no row" in lost.seen
    assert practice.found("rules", "private_endpoint_dns") == []


def test_a_role_name_nobody_has_is_told_apart_from_a_silent_app(practice: Practice) -> None:
    practice.more = {"WATCHED_ROLE_NAME": "sales-api"}
    found = practice.one("tables", "AppTraces")
    assert (found.state, found.id) == (State.ERROR, "role-name")
    assert "its rows are of unknown_service:python" in found.seen
    assert '`role_name: "unknown_service:python"`' in found.do


def test_a_component_that_nobody_writes_to_is_said_with_the_line_to_add(practice: Practice) -> None:
    own = practice.world.target().application_insights
    practice.more = {"WATCHED_APPLICATION_INSIGHTS": own.replace("appi-sales", "appi-nobody")}
    found = practice.one("tables", "AppTraces")
    assert (found.state, found.id) == (State.ERROR, "component-name")
    assert f'`application_insights: "{own.lower()}"`' in found.do


def test_rules_and_policies_that_leave_a_target_out_are_named_with_the_label(practice: Practice) -> None:
    assert practice.found("rules", "left out") == []
    policy = practice.root / "remediations" / "stop_unsafe_tools.yaml"
    policy.write_text(policy.read_text().replace("on: { ", "on: { labels: { env: prod }, "))
    production = "  - { name: support, workspace: w, role_name: support-api }\n"
    practice.edit("    labels: { env: prod }\n", "    labels: { env: test }\n")
    practice.edit("\ntargets:\n", f"\ntargets:\n{production}")
    found = practice.one("rules", "left out")
    assert found.state is State.OK
    assert "by its labels (env: test)" in found.seen
    assert "hitl_misconfigured (env: prod)" in found.seen
    assert "stop_unsafe_tools (env: prod)" in found.seen


def test_telemetry_that_comes_later_than_windows_wait_is_named(practice: Practice) -> None:
    practice.edit("    labels: { env: prod }\n", "    labels: { env: prod }\n    offset: 10s\n")
    found = practice.one("tables", "AppTraces")
    assert (found.state, found.id) == (State.WARNING, "late-telemetry")
    assert "windows wait 10s" in found.seen


def test_an_event_never_seen_names_its_rules_and_how_to_wire_it(practice: Practice) -> None:
    lost = practice.one("rules", "quality_drop")
    assert (lost.state, lost.id) == (State.WARNING, "rule-cannot-fire")
    assert "`eval.result` was not seen in 30 days" in lost.seen
    assert "let the eval runner emit one event a case" in lost.do


def test_an_event_that_only_comes_in_trouble_is_not_missed_where_its_place_was_seen() -> None:
    rejected, rule = known()["hitl_rejections"], _rule("hitl_rejection_spike")
    target, tables = _target(), {"AppTraces": 9}
    assert blind(rule, rejected, target, Sighted({"tool.hitl_approved": 3}, tables)) is None
    lost = blind(rule, rejected, target, Sighted({"response.returned": 3}, tables))
    assert lost is not None
    assert "tool.hitl_rejected" in lost.why


def test_a_rule_with_several_sources_can_fire_by_any_of_them() -> None:
    """The current flagship never emits the event: the look at the app is what sees it."""
    signal, rule = known()["hitl_misconfigured"], _rule("hitl_misconfigured")
    assert blind(rule, signal, _target(), Sighted({}, {"AppTraces": 9})) is None
    bare = _target().model_copy(update={"container_app": ""})
    assert blind(rule, signal, bare, Sighted({}, {"AppTraces": 9})) is not None


def test_a_rule_that_a_gauge_has_to_confirm_can_never_fire_without_it() -> None:
    received = Sighted({"request.received": 9}, {"AppTraces": 9})
    bare = _target().model_copy(update={"container_app": ""})
    found = blind(_rule("no_output"), known()["lost_requests"], bare, received)
    assert found is not None
    assert "names no Container App" in found.why
    assert blind(_rule("abandoned_requests"), known()["unanswered_requests"], bare, received) is None


def test_an_unread_table_makes_a_rule_unknown_and_never_lost() -> None:
    lost = blind(_rule("high_error_rate"), known()["response_errors"], _target(), Sighted({}, {}))
    assert lost is not None
    assert not lost.known
    unread = blind(_rule("high_error_rate"), known()["response_errors"], _target(), Sighted(unread="throttled"))
    assert unread is not None
    assert not unread.known


def test_every_event_that_a_signal_waits_for_has_words_on_how_to_wire_it() -> None:
    names = {name for signal in known().values() for source in signal.sources for name in events_of(source)}
    assert len(names) > 8
    assert names <= EVENTS.keys()


# The app, and what may be done to it


def test_an_app_that_may_not_be_read_is_named(practice: Practice) -> None:
    message = "does not have authorization to perform action 'Microsoft.App/containerApps/read' over scope x"
    practice.world.arm.faults.add("forbidden", message=message)
    found = practice.one("app")
    assert (found.state, found.id) == (State.ERROR, "app-forbidden")
    assert "lacks Microsoft.App/containerApps/read" in found.seen
    assert practice.one("approver", NAME).state is State.UNKNOWN


def test_an_actuator_that_may_not_write_is_an_error_and_nothing_is_written_to_find_out(practice: Practice) -> None:
    practice.world.roles.actions = ["*/read"]
    found = practice.one("permissions")
    assert (found.state, found.id) == (State.ERROR, "no-write-permission")
    assert "Microsoft.App/containerApps/write" in found.seen
    assert "Microsoft.App/containerApps/read" not in found.seen
    assert "up to an hour" in found.do


def test_permissions_that_may_not_be_read_are_unknown(practice: Practice) -> None:
    practice.world.roles.faults.add("forbidden")
    found = practice.one("permissions")
    assert (found.state, found.id) == (State.UNKNOWN, "permissions-unread")
    assert "tocsin drill killswitch" in found.do


@pytest.mark.parametrize(
    ("actions", "but_not", "given"),
    [
        (("*",), (), True),
        (("microsoft.app/containerapps/*",), (), True),
        (("Microsoft.App/containerApps/write",), (), True),
        (("*/read",), (), False),
        (("*",), ("Microsoft.App/*/write",), False),
        (("Microsoft.App/containerApps/write/x",), (), False),
        (("Microsoft.App/containerAppsXwrite",), (), False),
    ],
)
def test_wildcards_give_and_take_as_azure_reads_them(actions: Any, but_not: Any, given: bool) -> None:
    assert allowed([Permission(actions, but_not)], "Microsoft.App/containerApps/write") is given


def test_what_one_role_takes_out_another_may_give() -> None:
    without = Permission(("*",), ("*/write",))
    assert allowed([without, Permission(("Microsoft.App/containerApps/write",))], "Microsoft.App/containerApps/write")


# People


def test_a_production_target_without_an_approver_is_an_error(tmp_path: Path) -> None:
    with World(T0, seed=1) as world:
        practice = Practice(world, project(tmp_path), {})
        world.unset_approver()
        world.advance(T0 + 3 * MINUTE)
        found = practice.one("approver", NAME)
    assert (found.state, found.id) == (State.ERROR, "no-approver")
    assert "HITL_APPROVER_ENDPOINT is not set on sales-research-api--0000002" in found.seen


def test_policies_that_ask_whom_nobody_may_answer_are_named(practice: Practice) -> None:
    practice.more = {"TOCSIN_APPROVERS": ""}
    found = practice.one("approver", "policies")
    assert (found.state, found.id) == (State.WARNING, "nobody-may-approve")
    assert "roll_back_crashing_revision" in found.seen


def test_a_receiver_that_takes_nothing_is_an_error_with_its_own_words(practice: Practice) -> None:
    practice.world.pagerduty.faults.add("unavailable")
    practice.edit("watchdog: 1d", "watchdog: 1m")
    practice.tick(3)
    found = practice.one("receivers", "oncall")
    assert (found.state, found.id) == (State.ERROR, "receiver-failing")
    assert "503" in found.seen
    assert practice.one("receivers", "team").state is State.OK


def test_a_receiver_whose_heartbeat_stopped_and_one_that_was_never_proven_differ(practice: Practice) -> None:
    config, now = practice.app()[0].engine.project.config, practice.world.clock.now()
    history = practice.app()[0].engine.store.deliveries(100)
    quiet = {each.about: each.id for each in running.receivers(config, {}, history, {}, now + timedelta(days=3))}
    never = {each.about: each.id for each in running.receivers(config, {}, [], {}, now)}
    assert quiet == {"oncall": "receiver-quiet", "team": "receiver-quiet"}
    assert never == {"oncall": "receiver-unproven", "team": "receiver-unproven"}
    ailing = {"team": Ailing("team", now - MINUTE, "HTTP 500")}
    failing = {each.about: each.id for each in running.receivers(config, {}, history, ailing, now)}
    assert failing == {"oncall": "", "team": "receiver-failing"}


def test_a_store_that_does_not_answer_is_an_error_and_who_was_told_is_unknown(practice: Practice) -> None:
    (practice.root / "state.sqlite").write_bytes(b"this is no database" * 1000)
    report = practice.run("-o", "json", code=1)
    found = {each["check"]: each for each in report["findings"] if each["check"] in ("store", "receivers", "schedule")}
    assert (found["store"]["state"], found["store"]["id"]) == ("error", "store-unavailable")
    assert found["receivers"]["state"] == "unknown"
    assert found["schedule"]["state"] == "unknown"


@pytest.mark.slow
def test_table_storage_queues_and_the_copy_are_tried_for_real(practice: Practice, tmp_path: Path) -> None:
    """Against Azurite. The queue that nobody made is named; what a killed service leaves is an error, and soon."""
    from azure.storage.queue import QueueClient

    from tests.azurite.server import Azurite
    from tocsin.connections.queues import WORK

    azurite = Azurite(tmp_path, "table", "queue")
    try:
        practice.more = dict.fromkeys(("TOCSIN_TABLES", "TOCSIN_QUEUES"), azurite.connection)
        practice.more["TOCSIN_AUDIT"] = str(tmp_path / "audit.jsonl")
        place = Place(*practice.app(), ())
        found = {each.check: each for each in _store(place)}
        assert (found["store"].state, found["store"].about) == (State.OK, "Table storage")
        assert found["audit"].state is State.OK
        assert (found["queues"].state, found["queues"].id) == (State.ERROR, "queue-unreadable")
        QueueClient.from_connection_string(azurite.connection, WORK).create_queue()
        assert [each.seen for each in _store(place) if each.check == "queues"] == ["0 messages wait"]
    finally:
        azurite.stop()
    trouble = _tried(place)
    assert trouble.startswith("StoreUnavailable: ")
    assert azurite.connection not in trouble


# Time


@pytest.mark.parametrize(
    ("schedule", "after", "state", "name"),
    [
        ("0 * * * * *", 90, State.OK, ""),
        ("0 * * * * *", 181, State.WARNING, "tick-late"),
        ("0 * * * * *", 481, State.ERROR, "tick-late"),
        ("0 */15 * * * *", 481, State.OK, ""),
        ("0 0 9 * * mon-fri", 6 * 3600, State.OK, ""),
        ("0 * * * * *", -120, State.ERROR, "beat-ahead"),
    ],
)
def test_a_tick_is_late_by_its_own_schedule(schedule: str, after: int, state: State, name: str) -> None:
    found = running.ticking(schedule, T0, T0 + timedelta(seconds=after))
    assert (found.state, found.id) == (state, name)


def test_a_watcher_whose_ticks_stopped_and_one_that_never_ticked_are_errors(practice: Practice) -> None:
    late = practice.world.clock.now() + 9 * MINUTE
    practice.world.advance(late)
    found = practice.one("schedule")
    assert (found.state, found.id) == (State.ERROR, "tick-late")
    assert re.search(r"the last tick ended \d+m", found.seen)
    (practice.root / "state.sqlite").unlink()
    assert practice.one("schedule").id == "never-ticked"


def test_what_the_last_tick_failed_at_is_an_error_of_its_own(practice: Practice) -> None:
    store = SqliteStore(practice.root / "state.sqlite")
    store.beat(practice.world.clock.now(), ("rule a on sales: ValueError",))
    store.close()
    (found,) = [each for each in practice.found("schedule") if each.id == "tick-failed"]
    assert found.seen == "the last tick failed at rule a on sales: ValueError"


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, State.OK), (-15, State.OK), (45, State.WARNING), (-300, State.ERROR)]
)
def test_a_clock_is_held_against_the_head_of_a_services_answer(practice: Practice, seconds: int, state: State) -> None:
    practice.world.skew = timedelta(seconds=seconds)
    found = practice.one("clock")
    assert (found.state, found.id) == (state, "" if state is State.OK else "clock-skew")
    if seconds:
        assert ("behind" if seconds > 0 else "ahead of") in found.seen


def test_a_service_that_cannot_be_reached_leaves_the_clock_unknown(practice: Practice) -> None:
    practice.more = {"TOCSIN_LOG_ANALYTICS_ENDPOINT": "http://127.0.0.1:9/log-analytics"}
    assert practice.one("clock").id == "clock-unknown"


@pytest.mark.parametrize(
    ("expression", "after", "wanted"),
    [
        ("0 * * * * *", "2026-11-20T03:00:00", "2026-11-20T03:01:00"),
        ("*/20 * * * * *", "2026-11-20T03:00:41", "2026-11-20T03:01:00"),
        ("0 0 0 1 jan *", "2026-11-20T03:00:00", "2027-01-01T00:00:00"),
        ("0 30 9 * * 1-5", "2026-11-20T09:30:00", "2026-11-23T09:30:00"),
        ("0 0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 5/20 * * * *", "2026-11-20T03:26:00", "2026-11-20T03:45:00"),
        ("0 0 12 * * 7", "2026-11-20T03:00:00", "2026-11-22T12:00:00"),
    ],
)
def test_a_schedule_is_read_as_the_host_reads_it(expression: str, after: str, wanted: str) -> None:
    found = timetable(expression).after(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found.replace(tzinfo=None).isoformat() == wanted


@pytest.mark.parametrize(
    "expression", ["", "* * * * *", "60 * * * * *", "x * * * * *", "*/0 * * * * *", "0 5-2 * * * *"]
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"six fields|is no "):
        timetable(expression)


# The page


def test_every_finding_has_its_section_and_every_section_its_finding() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    assert set(re.findall(r"^### `([\w-]+)`$", page, re.MULTILINE)) == set(ADVICE)


def test_what_breaks_in_one_look_is_unknown_and_hides_nothing_else(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.cli.examining._clock", lambda place: 1 / 0)
    assert [each.state for each in practice.found("clock")] == [State.UNKNOWN]
    assert practice.one("store").state is State.OK


def _rule(name: str) -> Any:
    return next(each for each in _shipped().rules if each.id == name)


def _target() -> Any:
    return _shipped().config.targets[0]


def _shipped() -> Any:
    from tests.reading_cases import SETTINGS
    from tocsin.app import known as names
    from tocsin.files import read_project

    return read_project(ROOT, SETTINGS, names())


def test_no_answer_is_never_a_token() -> None:
    from tocsin.diagnosing.access import token

    assert token("the reader", "x", NoAnswer(Why.FORBIDDEN, "no token")).state is State.ERROR


def test_explain_says_of_a_calm_rule_that_it_can_never_fire_and_how_to_wire_it(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.cli import explaining

    monkeypatch.setattr(explaining, "load_app", lambda root: practice.app()[0])

    def told(rule: str) -> str:
        result = runner.invoke(program, ["explain", rule, "--root", str(practice.root)])
        assert result.exit_code == 0, result.output
        return " ".join(result.stdout.split())

    assert "it can never fire: `eval.result` was not seen in 30 days; to wire it: `eval.result`" in told("quality_drop")
    assert "can never fire" not in told("high_error_rate")
    assert "what it needs was seen within 30 days" in told("high_error_rate")
    assert "it reads switches, which answers" in told("killswitch_engaged")
    practice.world.arm.faults.add("forbidden")
    assert "not known: switches could not be read: no permission" in told("killswitch_engaged")
    practice.world.workspace.faults.add("forbidden")
    assert "whether it can ever fire is not known: which events come is not known: no permission" in told("cost_jump")


def test_a_rule_that_nothing_was_asked_about_is_not_said_to_see_what_it_needs() -> None:
    rule, signal = _rule("high_error_rate"), known()["response_errors"]
    waits = rule.model_copy(update={"when": rule.when.model_copy(update={"absent_for": 15 * MINUTE})})
    assert "which no telemetry can show" in evidence(waits, signal, _target(), Sighted({}, {"AppTraces": 9}))
    unanswered = Sighted({}, {}, unanswered={"switches": "throttled"})
    lost = blind(_rule("killswitch_engaged"), known()["killswitch_engaged"], _target(), unanswered)
    assert lost is not None
    assert (lost.known, lost.why) == (False, "switches could not be read: throttled")


def test_a_receiver_whose_messages_are_too_many_to_look_through_is_unknown() -> None:
    config = CONFIG.model_copy(update={"receivers": dict.fromkeys(("oncall", "team"))})
    (delivery,) = outbox(fired(), ["oncall"], T0)
    history = [replace(delivery, state=Settled.DELIVERED, settled=T0)] * running.MOST
    found = {each.about: each for each in running.receivers(config, {}, history, {}, T0)}
    assert found["oncall"].state is State.OK
    assert (found["team"].state, "could not be read" in found["team"].seen) == (State.UNKNOWN, True)
