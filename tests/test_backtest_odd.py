"""Odd and plausible history, files and commits: what a backtest and a plan make of them."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.history import T0, TARGET
from tests.reading_cases import SETTINGS, project
from tocsin.app import known
from tocsin.backtest import prose
from tocsin.backtest.grid import Grid, grid
from tocsin.backtest.pages import pages
from tocsin.backtest.plots import plotted
from tocsin.backtest.replay import Alive, Course, replayed
from tocsin.backtest.series import Recorded, Values
from tocsin.cli.commands import program
from tocsin.files import read_project

runner = CliRunner()
SHIPPED = read_project(ROOT, SETTINGS, known())
ROLE = "sales-api"


def committed(folder: Path) -> Path:
    """Commit everything in a folder, and return the folder."""
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A fork of the shipped files, under Git."""
    (tmp_path / "fork").mkdir()
    return committed(project(tmp_path / "fork"))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour in which half of the responses fail from the tenth to the fortieth minute."""
    return recorded(
        tmp_path_factory.mktemp("export"), [responses(minute, failing=10 <= minute < 40) for minute in range(60)]
    )


def responses(minute: int, *, failing: bool, role: str = ROLE) -> str:
    found = []
    for number in range(10):
        ok = "false" if failing and number % 2 else "true"
        properties = json.dumps({"event_name": "response.returned", "ok": ok}).replace('"', '""')
        found.append(f'2026-11-02T13:{minute:02}:{number:02}Z,{role},x,"{properties}"\n')
    return "".join(found)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def recorded(folder: Path, lines: list[str]) -> Path:
    (folder / "AppTraces.csv").write_text("TimeGenerated,AppRoleName,Message,Properties\n" + "".join(lines))
    return folder


def called(command: str, fork: Path, *arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, [command, "--root", str(fork), *arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout if not code else result.stderr


def backtest(fork: Path, history: Path, *arguments: str, code: int = 0) -> str:
    return called("backtest", fork, "--data", str(history), *arguments, code=code)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# What the base lacks, or has otherwise


def test_a_rule_that_is_new_is_compared_with_none(fork: Path, history: Path) -> None:
    (fork / "rules" / "new_one.yaml").write_text((fork / "rules" / "high_error_rate.yaml").read_text())
    found = json.loads(backtest(fork, history, "--base", "HEAD", "new_one", "-o", "json"))
    (difference,) = found["differences"]
    assert (difference["rule"], difference["base"], difference["head"]["episodes"]) == ("new_one", None, 1)


def test_a_base_without_targets_is_one_in_which_nothing_was_watched(fork: Path, history: Path) -> None:
    (fork / "kept.yaml").write_text((fork / "tocsin.yaml").read_text())
    (fork / "tocsin.yaml").unlink()
    committed(fork)
    (fork / "kept.yaml").rename(fork / "tocsin.yaml")
    found = json.loads(called("plan", fork, "--base", "HEAD", "--data", str(history), "-o", "json"))["backtest"]
    assert found["base"]["rules"] == []
    assert "high_error_rate" in {each["rule"] for each in found["differences"]}
    assert "absent → 1" in backtest(fork, history, "--base", "HEAD", "high_error_rate")


def test_a_folder_that_was_not_there_was_empty(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    committed(tmp_path)
    (tmp_path / "ops").mkdir()
    found = json.loads(called("plan", project(tmp_path / "ops"), "--base", "HEAD", "-o", "json"))
    assert {each["what"] for each in found["changes"] if each["kind"] == "rule"} == {"added"}


def test_a_target_that_names_another_role_is_not_judged_by_the_rows_of_the_old(fork: Path, tmp_path: Path) -> None:
    edited(fork / "tocsin.yaml", "role_name: ${WATCHED_ROLE_NAME}", f"role_name: {ROLE}")
    committed(fork)
    lines = [responses(m, failing=False) + responses(m, failing=True, role="other-api") for m in range(60)]
    edited(fork / "tocsin.yaml", f"role_name: {ROLE}", "role_name: other-api")
    found = json.loads(
        backtest(fork, recorded(made(tmp_path / "two"), lines), "--base", "HEAD", "high_error_rate", "-o", "json")
    )
    (difference,) = found["differences"]
    assert (difference["base"]["episodes"], difference["head"]["episodes"]) == (0, 1)


def test_what_policies_would_do_otherwise_is_a_difference(fork: Path, history: Path) -> None:
    edited(fork / "remediations" / "stop_on_error_storm.yaml", "mode: ask", "mode: act")
    for output in ("text", "markdown"):
        told = backtest(fork, history, "--base", "HEAD", "-o", output)
        assert "no difference" not in told
        assert "would have asked before killswitch.engage" in told
        assert "would have done killswitch.engage" in told
    found = json.loads(backtest(fork, history, "--base", "HEAD", "-o", "json"))["actions"]
    assert [found[side][0]["ruling"] for side in ("only_in_base", "only_in_head")] == ["ask", "permit"]
    assert "policies would have acted otherwise" in backtest(fork, history, "--base", "HEAD", "-o", "html")


def test_as_many_pages_to_others_are_a_difference(fork: Path, history: Path) -> None:
    edited(fork / "tocsin.yaml", "      to: [oncall, team]\n", "      to: [team]\n")
    committed(fork)
    edited(fork / "tocsin.yaml", "      to: [team]\n\n# What", "      to: [oncall]\n\n# What")
    told = backtest(fork, history, "--base", "HEAD", "high_error_rate")
    assert "team 1 → oncall 1" in told
    assert "pages others" in backtest(fork, history, "--base", "HEAD", "high_error_rate", "-o", "html")


def test_a_silence_that_stops_policies_stops_them_in_a_backtest(fork: Path, history: Path) -> None:
    asked = ("high_error_rate", "-o", "json")
    before = json.loads(backtest(fork, history, *asked))["actions"]
    silence = "{ match: { severity: P1 }, author: x, comment: y, ends: 2027-01-01, actions: too }"
    (fork / "tocsin.yaml").write_text((fork / "tocsin.yaml").read_text() + f"silences:\n  - {silence}\n")
    (after,) = json.loads(backtest(fork, history, *asked))["actions"]
    assert [each["ruling"] for each in before] == ["ask"]
    assert (after["ruling"], "actions too: y" in after["why"]) == ("refuse", True)


# Sweeps


@pytest.mark.parametrize(
    ("rule", "axes", "words"),
    [
        ("container_restarts", "threshold=1,3", "not replayed, no history of metrics"),
        ("high_error_rate", "over=0m,5m", "a window of no length"),
        ("slo_burn", "threshold=90%,100%", "more than 0% and less than 100%"),
        ("slo_burn", "over=5m,30m", "has no `over`"),
        ("high_error_rate", "minimum=2.5,5", "2.5 is no number of events"),
        ("high_error_rate", "threshold=1%,2% threshold=3%,4%", "threshold is there twice"),
        ("high_error_rate", "threshold=1%..2%/999999999", "in 2 to 400 steps"),
        ("high_error_rate", "threshold=1%,2% --base HEAD", "two questions"),
    ],
)
def test_settings_that_say_nothing_are_refused(rule: str, axes: str, words: str, fork: Path, history: Path) -> None:
    assert words in backtest(fork, history, rule, *axes.split(), code=2)


def test_of_equals_the_objective_nearest_to_the_rules_own_is_recommended(fork: Path, history: Path) -> None:
    found = json.loads(backtest(fork, history, "slo_burn", "threshold=98.9%,99%,99.1%", "-o", "json"))["sweep"]
    cells = {(each["episodes"], each["flaps"]) for each in found["cells"]}
    assert (cells, found["recommended"]) == ({(1, 0)}, {"threshold": "99%"})


# Odd rows, and what people see of them


def test_properties_that_were_cut_off_are_a_row_without_them(fork: Path, tmp_path: Path) -> None:
    import duckdb

    folder = made(tmp_path / "cut")
    rows = (
        "SELECT TIMESTAMP '2026-11-02 13:00:00' + INTERVAL (i) MINUTE AS \"TimeGenerated\", "
        f"'{ROLE}' AS \"AppRoleName\", ['', '{{\"a\":', NULL][i % 3 + 1] AS \"Properties\" FROM range(60) t(i)"
    )
    duckdb.execute(f"COPY ({rows}) TO '{folder / 'AppTraces.parquet'}' (FORMAT parquet)")
    assert backtest(fork, folder, "hitl_rejection_spike").count("100%") == 1


def test_a_denial_alone_is_no_judgement(fork: Path, history: Path) -> None:
    found = json.loads(backtest(fork, history, "api_down", "high_error_rate", "-o", "json"))
    assert [each["rule"] for each in found["not_replayed"]] == ["api_down"]
    assert [each["rule"] for each in found["rules"]] == ["high_error_rate"]


def test_a_query_whose_rows_cannot_be_told_apart_is_not_replayed(fork: Path, history: Path) -> None:
    rule = 'summary: x\nseverity: P2\nevery: 5m\nowner: x\nwhen:\n  over: 5m\n  above: 0\n  kql: "{query}"\n'
    query = "AppTraces | summarize value = count() by second = bin(TimeGenerated, 1m)"
    (fork / "rules" / "subject.yaml").write_text(rule.replace("{query}", query))
    assert "subject: not replayed, two rows for one instance" in backtest(fork, history, "subject", code=2)


def test_a_name_out_of_telemetry_moves_no_cursor(fork: Path, tmp_path: Path) -> None:
    lines = []
    for minute in range(40):
        for second in range(30):
            properties = {"event_name": "worker.completed", "ok": "false", "external_system": "\x1b[2J@all"}
            quoted = json.dumps(properties).replace('"', '""')
            lines.append(f'2026-11-02T13:{minute:02}:{second:02}Z,{ROLE},x,"{quoted}"\n')
    folder = recorded(made(tmp_path / "hostile"), lines)
    told = backtest(fork, folder, "worker_failures")
    assert "[2J@all" in told
    assert "\x1b" not in told
    assert "\x1b" not in backtest(fork, folder, "worker_failures", "-o", "markdown")


def test_a_receiver_that_takes_several_alerts_at_once_has_one_page_of_them(fork: Path, tmp_path: Path) -> None:
    lines = []
    for minute in range(40):
        for second in range(60):
            properties = {"event_name": "worker.completed", "ok": "false", "external_system": f"agent-{second % 3}"}
            quoted = json.dumps(properties).replace('"', '""')
            lines.append(f'2026-11-02T13:{minute:02}:{second:02}Z,{ROLE},x,"{quoted}"\n')
    folder = recorded(made(tmp_path / "several"), lines)
    found = json.loads(backtest(fork, folder, "worker_failures", "-o", "json"))
    assert (len(found["rules"][0]["episodes"]), found["pages_by_receiver"]) == (3, {"team": 1})


def test_points_of_a_slot_are_made_once_for_all_of_its_instances() -> None:
    slots = Grid(T0, timedelta(minutes=1), T0 + timedelta(minutes=1), timedelta(minutes=1), 2, ((1, 0),))
    source = Recorded(slots, {(): Values((np.asarray([1.0, 2.0]),), (np.asarray([1, 1]),))})
    assert source.at(slots.slot(0)) is source.at(slots.slot(0))
    assert [source.at(slots.slot(number))[()].value for number in (1, 0)] == [2.0, 1.0]


def test_a_mention_is_none_even_after_its_letters_are_read() -> None:
    from html import unescape

    assert "@team" not in unescape(prose.safe("@team"))
    assert "\u202e" not in prose.safe("a\u202eb")


def test_more_history_than_there_are_days_is_refused(fork: Path, history: Path) -> None:
    backtest(fork, history, "high_error_rate", "--days", "1000000", code=2)


def test_a_plot_shows_the_source_that_is_furthest_past_the_limit() -> None:
    slots = Grid(T0, timedelta(minutes=1), T0 + timedelta(minutes=1), timedelta(minutes=1), 2, ((1, 0),))
    target, (rule,) = TARGET, [each for each in SHIPPED.rules if each.id == "high_error_rate"]
    by_source = [([3.0, 0.0], False), ([np.nan, 5.0], False), ([9.0, 9.0], True)]
    sources = tuple(
        Recorded(slots, {(): Values((np.asarray(values),), (np.asarray([1, 1]),))}, denies)
        for values, denies in by_source
    )
    assert plotted(Course(rule, target, None, slots, sources))["lines"] == {"value": [3.0, 5.0]}


# What a plan warns of


def test_a_policy_that_is_new_and_acts_deserves_a_second_look(fork: Path) -> None:
    text = (fork / "remediations" / "stop_on_error_storm.yaml").read_text()
    (fork / "remediations" / "another.yaml").write_text(text.replace("mode: ask", "mode: act"))
    assert beware(fork, "another") == ["guard.mode: more is done without asking (off → act)"]


def test_a_switch_that_is_gone_stands_where_it_stands_unsaid(fork: Path) -> None:
    edited(fork / "tocsin.yaml", "    allow: [killswitch", "    automation: observe\n    allow: [killswitch")
    committed(fork)
    edited(fork / "tocsin.yaml", "    automation: observe\n", "")
    assert "more is done without asking (observe → act)" in beware(fork, "tocsin.yaml")[0]
    edited(fork / "tocsin.yaml", "automation: act", "automation: ${MODE}")
    committed(fork)
    edited(fork / "tocsin.yaml", "automation: ${MODE}", "automation: act")
    assert "more is done without asking" in beware(fork, "tocsin.yaml")[0]


def test_what_holds_a_policy_back_is_no_small_change(fork: Path) -> None:
    edited(fork / "remediations" / "stop_on_error_storm.yaml", "cooldown: 6h", "cooldown: 1m")
    assert beware(fork, "stop_on_error_storm") == ["guard.cooldown: what holds it back is another"]


def test_allowing_one_action_more_warns_of_that_one(fork: Path) -> None:
    edited(fork / "tocsin.yaml", "allow: [", "allow: [model.swap, ")
    assert beware(fork, "tocsin.yaml") == ["an action is allowed that was not: model.swap"]


def test_a_silence_that_grows_hides_alerts(fork: Path) -> None:
    silence = "{ match: { severity: P1, rule: slo_burn }, author: x, comment: y, ends: 2027-01-01 }"
    (fork / "tocsin.yaml").write_text((fork / "tocsin.yaml").read_text() + f"silences:\n  - {silence}\n")
    committed(fork)
    edited(fork / "tocsin.yaml", "severity: P1, rule: slo_burn", "severity: P1")
    assert beware(fork, "tocsin.yaml") == ["a silence hides alerts"]


def test_a_rule_that_sleeps_watches_nothing(fork: Path) -> None:
    path = fork / "rules" / "high_error_rate.yaml"
    path.write_text(path.read_text() + "snooze: { until: 2099-01-01, reason: too loud }\n")
    assert beware(fork, "high_error_rate") == ["nothing watches for it until 2099-01-01"]


def beware(fork: Path, name: str) -> list[str]:
    """Return what the plan wants looked at twice."""
    found = json.loads(called("plan", fork, "--base", "HEAD", "-o", "json"))["changes"]
    told: list[str] = next(each["beware"] for each in found if each["id"] == name)
    return told


def test_a_base_with_problems_is_replayed_as_far_as_it_can_be_read(fork: Path, history: Path) -> None:
    edited(fork / "rules" / "p95_latency.yaml", "severity: P1", "severity: P9")
    committed(fork)
    edited(fork / "rules" / "p95_latency.yaml", "severity: P9", "severity: P1")
    arguments = ["backtest", "--root", str(fork), "--data", str(history), "--base", "HEAD", "p95_latency"]
    result = runner.invoke(program, arguments)
    assert (result.exit_code, "1 problems are left out" in result.stderr) == (0, True)
    assert "absent → 0" in result.stdout


def test_reminders_come_when_they_are_due_whatever_else_is_told_meanwhile() -> None:
    length, minute = timedelta(hours=9), timedelta(minutes=1)
    alive = Alive.over([T0 + number * minute for number in range(int(length / minute))])
    courses = []
    for begin, name in ((0, "high_error_rate"), (3, "p95_latency")):
        rule = next(each for each in SHIPPED.rules if each.id == name)
        slots = grid(rule, TARGET.name, T0, T0 + length)
        assert slots is not None
        value = np.where(np.arange(slots.count) >= begin, 1e6, 0.0)
        source = Recorded(slots, {(): Values((value,), (np.full(slots.count, 100),))})
        courses.append(replayed(rule, TARGET, None, slots, [source], alive))
    told = [each for each in pages(courses, SHIPPED, T0 + length) if each.receiver == "team"]
    for name in ("high_error_rate", "p95_latency"):
        at = [each.at for each in told if each.rule == name]
        assert [later - earlier for earlier, later in pairwise(at)] == [timedelta(hours=4)] * 2
