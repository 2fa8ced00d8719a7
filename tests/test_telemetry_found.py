"""Which telemetry is a target's: by its component and its role name, wherever it is asked, whatever it calls itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from rich.console import Console

from tests.history import T0
from tests.kql.binder import Binder
from tests.reading_cases import SETTINGS, project
from tests.test_backtest_odd import backtest, committed, edited
from tocsin import files
from tocsin.app import known
from tocsin.backtest.history import App, FileHistory
from tocsin.backtest.recording import NoRecording, Recording
from tocsin.cli.replaying import fitted
from tocsin.core.answer import Query, Rows
from tocsin.core.compile import freshness, let, own, owns
from tocsin.core.config import Config, Target
from tocsin.core.read import Project
from tocsin.core.schedule import selects
from tocsin.diagnosing import naming
from tocsin.diagnosing.wiring import table_query
from tocsin.porting import queries
from tocsin.telemetry.embedded import EmbeddedTelemetry

MINUTE = timedelta(minutes=1)
COMPONENT = "/subscriptions/S-1/resourceGroups/rg-Sales/providers/Microsoft.Insights/components/appi-Sales"
OTHER = COMPONENT.replace("appi-Sales", "appi-other")
STOCK = "unknown_service:python"
HOSTILE = COMPONENT.replace("appi-Sales", "a' or true | take 10 \\")
ROWS = (
    (COMPONENT.lower(), STOCK),
    (COMPONENT.lower(), "web"),
    (COMPONENT.upper(), STOCK),
    (OTHER.lower(), STOCK),
    (OTHER.lower(), "web"),
    (HOSTILE.lower(), "web"),
    ("", STOCK),
    ("", ""),
)


def target(component: str = "", role: str = "") -> Target:
    return Target(name="sales", workspace="w", application_insights=component, role_name=role)


TARGETS = [target(*each) for each in product((COMPONENT, OTHER, HOSTILE, ""), (STOCK, "web", "' or '' == '", ""))]


@pytest.fixture(scope="module")
def telemetry() -> Iterator[EmbeddedTelemetry]:
    made = EmbeddedTelemetry()
    at = {"TimeGenerated": T0}
    made.load("AppTraces", [{**at, "_ResourceId": each, "AppRoleName": role, "Message": role} for each, role in ROWS])
    yield made
    made.close()


def found(telemetry: EmbeddedTelemetry, whose: Target) -> list[tuple[str, str]]:
    start, end = T0 - MINUTE, T0 + MINUTE
    text = f"{let(start, end)}AppTraces | where {own(whose)} | project r = _ResourceId, n = AppRoleName"
    answer = telemetry.ask(Query(text, start, end), whose)
    assert isinstance(answer, Rows)
    return sorted(answer.rows)  # type: ignore[arg-type]


def test_a_stock_app_is_found_by_its_component_in_whatever_letters(telemetry: EmbeddedTelemetry) -> None:
    assert found(telemetry, target(COMPONENT)) == sorted(ROWS[:3])
    assert (
        found(telemetry, target(COMPONENT.lower())) == found(telemetry, target(COMPONENT.upper())) == sorted(ROWS[:3])
    )


def test_in_a_shared_component_the_role_name_says_which_rows(telemetry: EmbeddedTelemetry) -> None:
    assert found(telemetry, target(COMPONENT, "web")) == [ROWS[1]]


def test_without_a_component_it_is_found_by_the_role_name_alone(telemetry: EmbeddedTelemetry) -> None:
    assert found(telemetry, target("", STOCK)) == sorted([ROWS[0], ROWS[2], ROWS[3], ROWS[6]])


def test_with_neither_no_row_is_the_targets(telemetry: EmbeddedTelemetry) -> None:
    assert found(telemetry, target()) == []


@pytest.mark.parametrize("whose", TARGETS, ids=lambda each: f"{each.application_insights[-12:]}|{each.role_name}")
def test_what_is_asked_and_what_is_told_apart_here_agree(telemetry: EmbeddedTelemetry, whose: Target) -> None:
    assert found(telemetry, whose) == sorted(row for row in ROWS if owns(whose, *row))


def test_microsofts_parser_binds_what_is_asked_of_any_target() -> None:
    binder = Binder()
    try:
        for whose in TARGETS:
            bound = binder.bind(f"AppTraces | where {own(whose)}")
            assert bound.errors == ()
            assert set(bound.texts) == {each for each in (whose.application_insights, whose.role_name) if each}
    finally:
        binder.close()


def test_whether_a_target_is_alive_is_asked_of_its_own_rows(telemetry: EmbeddedTelemetry) -> None:
    alive = {}
    for component in (COMPONENT, COMPONENT.replace("appi-Sales", "appi-nobody")):
        answer = telemetry.ask(freshness(target(component), T0 - MINUTE, T0 + MINUTE), target(component))
        assert isinstance(answer, Rows)
        alive[component[-6:]] = [row["events"] for row in answer.dicts()]
    assert alive == {"-Sales": [3], "nobody": []}


@pytest.mark.parametrize("whose", [target(COMPONENT), target("", "web"), target(COMPONENT, "it's")])
def test_an_exported_query_is_read_again_without_what_bound_it_to_one_app(whose: Target) -> None:
    asked = queries.read(f"let AppExceptions = AppExceptions | where {own(whose)};\nAppExceptions\n| count")
    assert (asked.text, asked.freed) == ("AppExceptions\n| count", True)


# What doctor says


def told(telemetry: EmbeddedTelemetry, whose: Target) -> tuple[str, str, str]:
    answer = telemetry.ask(table_query("AppTraces", T0 + MINUTE), whose)
    assert isinstance(answer, Rows)
    finding = naming.trouble(whose, "sales: AppTraces", answer)
    return (finding.id, finding.seen, finding.do) if finding else ("", "", "")


def holding(*rows: tuple[str, str, int]) -> EmbeddedTelemetry:
    """Return a workspace with rows of these components and role names, emitted so many hours ago."""
    made = EmbeddedTelemetry()
    for component, role, ago in rows:
        at = T0 - timedelta(hours=ago)
        made.load("AppTraces", [{"TimeGenerated": at, "_ResourceId": component.lower(), "AppRoleName": role}])
    return made


def test_what_is_found_and_is_nobody_elses_is_no_trouble() -> None:
    held = holding((COMPONENT, STOCK, 0), (OTHER, "web", 0))
    for whose in (target(COMPONENT), target(COMPONENT, STOCK), target("", STOCK)):
        assert told(held, whose) == ("", "", "")


def test_a_shared_component_needs_a_role_name_and_those_there_are_are_listed() -> None:
    name, seen, do = told(holding((COMPONENT, STOCK, 0), (COMPONENT, "web", 2)), target(COMPONENT))
    assert name == "shared-telemetry"
    assert "several apps write to appi-sales: unknown_service:python, web" in seen
    assert f'one of `role_name: "{STOCK}"` or `role_name: "web"`' in do


def test_an_app_that_has_changed_its_name_is_no_second_one() -> None:
    assert told(holding((COMPONENT, STOCK, 25), (COMPONENT, "sales-api", 0)), target(COMPONENT)) == ("", "", "")


def test_a_role_name_that_several_components_hold_needs_a_component() -> None:
    name, _, do = told(holding((COMPONENT, STOCK, 0), (OTHER, STOCK, 0)), target("", STOCK))
    assert name == "shared-telemetry"
    assert f'`application_insights: "{COMPONENT.lower()}"`' in do


def test_another_component_and_another_role_are_said_with_the_line_to_add() -> None:
    held = holding((OTHER, "web", 0))
    name, seen, do = told(held, target(COMPONENT))
    assert (name, f'`application_insights: "{OTHER.lower()}"`' in do) == ("component-name", True)
    assert "no row of appi-sales in 30 days; its rows are of appi-other (web)" in seen
    assert [told(held, each)[0] for each in (target(OTHER, "api"), target("", "api"), target())] == [
        "role-name", "role-name", "component-name",
    ]  # fmt: skip
    assert 'Add to the target in tocsin.yaml `role_name: "web"`.' in told(held, target(OTHER, "api"))[2]


def test_a_workspace_without_a_row_is_not_a_matter_of_names() -> None:
    assert told(holding(), target(COMPONENT))[0] == "table-missing"


def test_a_name_out_of_telemetry_moves_no_terminal_and_is_one_value_in_yaml() -> None:
    _, seen, do = told(holding((COMPONENT, 'a"\n- x: \x1b[2J', 0)), target(COMPONENT, "web"))
    assert "\x1b" not in seen + do
    assert "\n" not in do


# Recordings


def history(folder: Path, *rows: tuple[str, str], column: bool = True) -> FileHistory:
    """Return an export of one row each; without the ``column``, as people export who did not ask for it."""
    head = "TimeGenerated,AppRoleName,Message" + (",_ResourceId" if column else "")
    lines = [f"{T0.isoformat()},{role},x" + (f",{component}" if column else "") for component, role in rows]
    folder.mkdir(exist_ok=True)
    (folder / "AppTraces.csv").write_text("\n".join([head, *lines]))
    return FileHistory(EmbeddedTelemetry(recorded=Recording.of(folder).lay))


def one(*targets: Target) -> Project:
    return Project(config=Config(targets=targets))


def found_by(made: Project) -> list[tuple[str, str]]:
    return [(each.application_insights, each.role_name) for each in made.config.targets]


def test_exported_rows_are_found_as_those_of_a_workspace(tmp_path: Path) -> None:
    kept = history(tmp_path, (COMPONENT.lower(), STOCK), (COMPONENT.upper(), "web"), (OTHER, STOCK))
    assert kept.apps() == [App(OTHER.lower(), STOCK), App(COMPONENT.lower(), STOCK), App(COMPONENT.lower(), "web")]
    spans = (T0 - MINUTE, T0 + MINUTE)
    counts = [len(kept.minutes(each, *spans)) for each in (target(COMPONENT), target(OTHER, "web"), target())]
    assert counts == [1, 0, 0]
    kept.close()


def test_a_recording_that_has_the_targets_component_is_judged_by_it() -> None:
    apps = [App(COMPONENT.lower(), STOCK), App(COMPONENT.lower(), "web")]
    assert found_by(fitted(one(target(COMPONENT)), apps, Console(quiet=True))) == [(COMPONENT, "")]


def test_a_recording_without_resource_ids_is_judged_by_role_names() -> None:
    apps = [App("", STOCK), App("", "web")]
    assert found_by(fitted(one(target(COMPONENT, "web")), apps, Console(quiet=True))) == [("", "web")]
    assert found_by(fitted(one(target(COMPONENT)), apps[:1], Console(quiet=True))) == [("", STOCK)]
    with pytest.raises(NoRecording, match="what has: unknown_service:python, web"):
        fitted(one(target(COMPONENT)), apps, Console(quiet=True))


def test_one_table_without_resource_ids_is_not_left_out_beside_others_that_have_them() -> None:
    apps = [App("", STOCK), App(COMPONENT.lower(), STOCK)]
    assert found_by(fitted(one(target(COMPONENT)), apps, Console(quiet=True))) == [("", STOCK)]


def test_the_only_app_of_a_recording_is_taken_for_the_only_target() -> None:
    apps = [App(OTHER.lower(), STOCK)]
    for whose in (target(COMPONENT), target("", "sales-api"), target()):
        assert found_by(fitted(one(whose), apps, Console(quiet=True))) == [(OTHER.lower(), STOCK)]


def test_of_several_apps_the_one_of_the_targets_role_name_is_taken() -> None:
    apps = [App(OTHER.lower(), STOCK), App(OTHER.lower(), "web")]
    assert found_by(fitted(one(target(COMPONENT, "web")), apps, Console(quiet=True))) == [(OTHER.lower(), "web")]
    with pytest.raises(NoRecording, match="what has: unknown_service:python of appi-other, web of appi-other"):
        fitted(one(target(COMPONENT)), apps, Console(quiet=True))


def test_a_backtest_of_a_stock_app_finds_its_episode_by_the_component(tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    fork.mkdir()
    project(fork)
    edited(fork / "tocsin.yaml", "${WATCHED_APPLICATION_INSIGHTS}", COMPONENT)
    edited(fork / "tocsin.yaml", "role_name: ${WATCHED_ROLE_NAME}", 'role_name: ""')
    committed(fork)
    folder, lines = tmp_path / "export", ["TimeGenerated,AppRoleName,Message,_ResourceId,Properties"]
    for minute, number, (component, failing) in product(range(60), range(10), ((COMPONENT.lower(), 1), (OTHER, 0))):
        ok = "false" if failing and 10 <= minute < 40 and number % 2 else "true"
        properties = json.dumps({"event_name": "response.returned", "ok": ok}).replace('"', '""')
        lines.append(f'2026-11-02T13:{minute:02}:{number:02}Z,{STOCK},x,{component},"{properties}"')
    folder.mkdir()
    (folder / "AppTraces.csv").write_text("\n".join(lines))
    found = json.loads(backtest(fork, folder, "high_error_rate", "-o", "json"))
    (rule,) = found["rules"]
    assert len(rule["episodes"]) == 1


# A target that is not labelled


def test_a_target_that_names_no_env_is_production() -> None:
    assert target().labels == {"env": "prod"}
    assert target().production
    labelled = Target(name="a", workspace="w", role_name="r", labels={"customer": "x"})
    assert labelled.labels == {"env": "prod", "customer": "x"}
    test = Target(name="a", workspace="w", role_name="r", labels={"env": "test"})
    assert (test.labels, test.production) == ({"env": "test"}, False)


def test_no_shipped_rule_overlooks_a_target_whose_labels_somebody_forgot(tmp_path: Path) -> None:
    root = project(tmp_path)
    edited(root / "tocsin.yaml", "    labels: { env: prod }\n", "")
    made = files.read_project(root, SETTINGS, known())
    (watched,) = made.config.targets
    assert [rule.id for rule in made.rules if not selects(rule, watched)] == []
