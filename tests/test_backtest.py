"""What a backtest is made of: aggregates taken apart, windows of bins, recordings, sweeps, and its command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.history import T0, exported, loaded, rows
from tests.reading_cases import project
from tocsin import signals
from tocsin.backtest import prose, sweep
from tocsin.backtest.aggregates import Ranked, Sum, apart
from tocsin.backtest.grid import Grid, grid
from tocsin.backtest.recording import NoRecording, Recording
from tocsin.backtest.series import Bins, values, windowed
from tocsin.backtest.workspace import WorkspaceHistory
from tocsin.cli import replaying
from tocsin.cli.commands import program
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs
from tocsin.telemetry.embedded import EmbeddedTelemetry

runner = CliRunner()


# Taken apart


def test_every_aggregate_of_a_signal_can_be_taken_apart() -> None:
    for name, signal in signals.known().items():
        for source in signal.sources:
            if isinstance(source, Logs):
                assert apart(source.value) is not None, name
                assert isinstance(apart(source.events), Sum), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(a)", 6.0),
        ("todouble(sum(a)) / sum(b)", 1.5),
        ("sum(a) / sum(b)", 1.0),
        ("-(sum(a) - 2 * sum(b)) + 0.5", 2.5),
        ("todouble(sum(a) - sum(b)) / sum(a)", 1 / 3),
        ("sum(b) / sum(c)", None),
        ("todouble(sum(b)) / sum(c)", None),
    ],
)
def test_arithmetic_over_aggregates_is_that_of_kql(text: str, expected: float | None) -> None:
    made = apart(text)
    assert isinstance(made, Sum)
    columns = {"sum(a)": np.asarray([6]), "sum(b)": np.asarray([4]), "sum(c)": np.asarray([0])}
    (found,) = np.asarray(made.of(columns), dtype=float)
    assert (found == pytest.approx(expected)) if expected is not None else not np.isfinite(found)


@pytest.mark.parametrize(
    "text",
    ["dcount(a)", "stdev(a)", "iff(sum(a) > 1, 1, 0)", "sum(a) % 2", "max(sum(a)", "1 + 1", "percentile(a, 95) / 2",
     "__import__('os')", "sum(a) if 1 else 2"],
)  # fmt: skip
def test_what_is_not_understood_is_asked_window_by_window(text: str) -> None:
    assert apart(text) is None


def test_words_in_a_text_are_no_aggregates() -> None:
    made = apart("sumif(ItemCount, Name == 'max(') / sum(ItemCount)")
    assert isinstance(made, Sum)
    assert [each.text for each in made.partials] == ["sumif(ItemCount, Name == 'max(')", "sum(ItemCount)"]


# Windows


SPANS = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3)).map(lambda s: (s[0] + s[2], s[2], s[1]))


@given(
    st.lists(st.integers(0, 9), min_size=12, max_size=30), SPANS, st.sampled_from(["sum", "min", "max"]), st.booleans()
)
def test_a_window_is_the_fold_of_its_bins(
    amounts: list[int], span: tuple[int, int, int], fold: Any, whole: bool
) -> None:
    back, until, stride = span
    width = timedelta(minutes=1)
    count = (len(amounts) - back) // stride
    made = Grid(T0, width, T0 + back * width, stride * width, count, ((back, until),))
    given_ = np.asarray(amounts[: made.bins], dtype=np.int64 if whole else float)
    places = np.flatnonzero(given_)
    found = windowed(places, given_[places], fold, made, back, until)
    for number in range(count):
        end = back + number * stride
        window = [each for each in amounts[end - back : end - until] if each]
        expected = {"sum": sum, "min": min, "max": max}[fold](window) if window else (0 if fold == "sum" else None)
        assert found[number] == expected if expected is not None else np.isnan(found[number])


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40), st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.01]))
def test_a_percentile_is_the_engines(numbers: list[float], share: float) -> None:
    found = _percentile(numbers, share)
    with EmbeddedTelemetry().session() as session:
        (expected,) = session.execute(f"SELECT quantile_disc(x, {share * 100} / 100.0) FROM (SELECT unnest(?) x)",
                                      [numbers]).fetchone()  # fmt: skip
    assert found == expected


def _percentile(numbers: list[float], share: float) -> float:
    one = Grid(T0, timedelta(minutes=1), T0 + timedelta(minutes=1), timedelta(minutes=1), 1, ((1, 0),))
    bins = Bins(
        np.asarray([0]), {"n": np.asarray([len(numbers)])}, np.asarray(numbers), np.zeros(len(numbers), dtype=int)
    )
    events = apart("sum(n)")
    assert isinstance(events, Sum)
    partials = {events.partials[0].text: np.asarray([len(numbers)])}
    made = values(Bins(bins.bins, partials, bins.numbers, bins.ranks), Ranked("x", share), events, one)
    return float(made.value[0][0])


def test_a_grid_holds_every_window_of_a_rule_that_runs_seldom() -> None:
    when = {"signal": "cost", "over": "20m", "change": {"more_than": "5%", "versus": "1h"}}
    rule = Rule.model_validate({"id": "x", "summary": "x", "severity": "P2", "every": "7m", "when": when})
    made = grid(rule, "sales", T0, T0 + timedelta(hours=5))
    assert made is not None
    assert made.width == timedelta(minutes=1)
    before = (140, 80)  # an hour before the earlier window: whether that one is whole
    assert made.windows == ((20, 0), (80, 60), before)
    assert made.slot(0) > T0 >= made.slot(0) - rule.every
    assert T0 + timedelta(hours=5) >= made.slot(made.count - 1) > T0 + timedelta(hours=5) - rule.every
    assert made.end == made.slot(made.count - 1)


# Recordings


def test_files_belong_to_the_table_they_are_named_after(tmp_path: Path) -> None:
    for name in ("AppTraces-2026.csv", "apprequests/part-0.csv", "AppDependencies.csv.gz", "notes.csv", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("TimeGenerated\n")
    found = Recording.of(tmp_path)
    assert sorted(found.files) == ["AppDependencies", "AppRequests", "AppTraces"]
    assert [each.name for each in found.others] == ["notes.csv"]


def test_the_portals_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "AppTraces.csv").write_text(
        '"TimeGenerated [UTC]",AppRoleName,Message,Properties\n'
        '"11/2/2026, 1:02:03.456 PM",sales-api,x,"{""event_name"": ""cost.call""}"\n'
        '"2026-11-02T13:03:00Z",sales-api,x,\n'
    )
    telemetry = EmbeddedTelemetry(recorded=Recording.of(tmp_path).lay)
    with telemetry.session() as session:
        found = session.execute('SELECT "TimeGenerated", "ItemCount", "Properties" FROM landed."AppTraces"').fetchall()
    assert [(each[0], each[1]) for each in found] == [
        (datetime(2026, 11, 2, 13, 2, 3, 456000), 1),  # noqa: DTZ001  as the database keeps it
        (datetime(2026, 11, 2, 13, 3), 1),  # noqa: DTZ001
    ]
    assert json.loads(found[0][2]) == {"event_name": "cost.call"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "is named after a table"),
        ({"AppTraces.csv": "When,What\n1,2\n"}, "a column TimeGenerated is needed"),
        ({"AppTraces.json": "[{"}, "AppTraces.json: "),
        ({"AppTraces.parquet": "no parquet"}, "AppTraces.parquet: "),
    ],
)
def test_what_cannot_be_read_says_why(files: dict[str, str], words: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(NoRecording, match=words):
        EmbeddedTelemetry(recorded=Recording.of(tmp_path).lay)


def test_a_recording_lets_no_query_read_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "AppTraces.csv").write_text("TimeGenerated\n2026-11-02T13:03:00Z\n")
    telemetry = EmbeddedTelemetry(recorded=Recording.of(tmp_path / "export").lay)
    with telemetry.session() as session, pytest.raises(Exception, match=r"disabled|not allowed|Permission"):
        session.execute(f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')").fetchall()


# Sweeps


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("threshold=1%..10%", ("1%", "2.8%", "4.6%", "6.4%", "8.2%", "10%")),
        ("for=0m..10m/3", ("0m", "5m", "10m")),
        ("minimum=5,20", ("5", "20")),
        ("over=5m..15m/3", ("5m", "10m", "15m")),
    ],
)
def test_an_axis_is_written_as_an_operator_writes(text: str, words: tuple[str, ...]) -> None:
    assert sweep.axis(text).words == words


@pytest.mark.parametrize("text", ["threshold", "colour=1..2", "for=10m..1m", "for=1..x", "threshold=1%..2%/1"])
def test_an_axis_that_is_none_says_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"threshold|smaller|value"):
        sweep.axis(text)


# The command


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    telemetry = loaded(rows(5, timedelta(hours=10), every=25))
    yield exported(telemetry, tmp_path_factory.mktemp("export"))
    telemetry.close()


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A fork of the shipped files, under Git."""
    project(tmp_path)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def backtest(fork: Path, history: Path, *arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, ["backtest", "--root", str(fork), "--data", str(history), *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if not code else result.stderr


def test_every_shape_tells_the_same_episodes(fork: Path, history: Path, tmp_path: Path) -> None:
    document = json.loads(backtest(fork, history, "high_error_rate", "hitl_misconfigured", "--output", "json"))
    found = {each["rule"]: len(each["episodes"]) for each in document["rules"]}
    assert found["high_error_rate"] >= 2
    assert sum(document["pages_by_receiver"].values()) == len(document["pages"])
    assert [each["rule"] for each in document["partly_replayed"]] == ["hitl_misconfigured"]
    acting = {"stop_unsafe_tools", "stop_on_error_storm", "notify_partner"}
    assert {each["policy"] for each in document["actions"]} <= acting
    text = backtest(fork, history, "high_error_rate", "hitl_misconfigured")
    markdown = backtest(fork, history, "high_error_rate", "hitl_misconfigured", "-o", "markdown")
    for name, count in found.items():
        if count:
            line = next(each for each in text.splitlines() if each.startswith(name))
            assert line.split()[2] == str(count)
            assert f"| {name} | sales-research | P1 | {count} |" in markdown
    report = tmp_path / "report.html"
    assert (
        backtest(fork, history, "rules/high_error_rate.yaml", "--html", str(report))
        .splitlines()[1]
        .startswith("1 rule on")
    )
    assert report.read_text().lstrip().lower().startswith("<!doctype html>")


def test_a_change_is_held_against_the_commit_before_it(fork: Path, history: Path) -> None:
    assert "makes no difference" in backtest(fork, history, "--base", "HEAD", "high_error_rate")
    rule = fork / "rules" / "high_error_rate.yaml"
    rule.write_text(rule.read_text().replace("5%", "99%"))
    document = json.loads(backtest(fork, history, "--base", "HEAD", "-o", "json"))
    (difference,) = [each for each in document["differences"] if each["rule"] == "high_error_rate"]
    assert difference["head"]["episodes"] < difference["base"]["episodes"]
    assert len(difference["only_in_base"]) == difference["base"]["episodes"] - difference["head"]["episodes"]
    assert "no longer: " in backtest(fork, history, "--base", "HEAD")


def test_a_sweep_recommends_what_finds_all_that_most_agree_on(fork: Path, history: Path) -> None:
    asked = ("high_error_rate", "--sweep", "threshold=5%,20%,60%", "for=1m,5m")
    document = json.loads(backtest(fork, history, *asked, "-o", "json"))["sweep"]
    assert [len(each["values"]) for each in document["axes"]] == [3, 2]
    assert len(document["cells"]) == 6
    by_setting = {tuple(each["settings"].values()): each["episodes"] for each in document["cells"]}
    assert by_setting[("5%", "1m")] >= by_setting[("60%", "1m")]
    text = backtest(fork, history, *asked)
    assert sum("← recommended" in line for line in text.splitlines()) == 1
    assert f"recommended: threshold {document['recommended']['threshold']}" in text
    assert "**Sweep of high_error_rate**" in backtest(fork, history, *asked, "-o", "markdown")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["high_eror_rate"], "did you mean 'high_error_rate'?"),
        (["--sweep", "for=1m..5m"], "--sweep is of one rule: name it"),
        (["high_error_rate", "--sweep", "colour=1..2"], "what can be swept: threshold, for"),
        (["high_error_rate", "--sweep", "threshold=1%..9%/99", "for=1m..60m/60"], "5940 choices are too many"),
        (["--base", "nonsense"], "--base nonsense:"),
        (["--until", "2020-01-01"], "the recording goes from 2026-11-02"),
        (["--workspace"], "--workspace, and not both"),
        (["worker_down"], "nothing was replayed\nworker_down: not replayed, no history of the app's configuration"),
        (["worker_down", "--sweep", "threshold=1,2"], "nothing was replayed"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(arguments: list[str], words: str, fork: Path, history: Path) -> None:
    assert words in backtest(fork, history, *arguments, code=2)


def test_where_no_setting_finds_anything_none_is_recommended(fork: Path, history: Path) -> None:
    asked = ("cost_jump", "--sweep", "threshold=100,200")
    assert json.loads(backtest(fork, history, *asked, "-o", "json"))["sweep"]["recommended"] is None
    text = backtest(fork, history, *asked)
    assert "nothing is recommended: none of these settings finds anything" in text
    assert "← recommended" not in text
    assert "Nothing is recommended." in backtest(fork, history, *asked, "-o", "html")


def test_a_workspace_that_does_not_answer_is_no_calm(fork: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def ask(self, *_: object) -> NoAnswer:
            return NoAnswer(Why.FORBIDDEN, "no token")

    monkeypatch.setattr(replaying, "_asked", lambda _: WorkspaceHistory(Silent()))  # type: ignore[arg-type]
    asked = ["backtest", "--root", str(fork), "--workspace", "--days", "1", "high_error_rate"]
    for more in ([], ["--base", "HEAD"], ["--sweep", "for=1m,2m"]):
        result = runner.invoke(program, [*asked, *more])
        assert result.exit_code == 3, result.output
        assert "nothing was replayed" in result.output
        assert "no token" in result.output
        assert "nobody would have been told" not in result.output
        assert "makes no difference" not in result.output


def test_names_of_rules_are_whole_at_eighty_columns(fork: Path, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = backtest(fork, history).splitlines()
    begun = next(number for number, line in enumerate(lines) if line.startswith("fired (UTC)"))
    rules = {line.split()[3] for line in lines[begun + 1 :] if line.startswith("11-0") and ":" in line.split()[1]}
    assert {"high_error_rate", "worker_failures"} <= rules
    assert max(map(len, lines[: begun + 3])) <= 80


def test_a_recording_of_other_roles_names_them(fork: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    lines = "".join(f"2026-11-02T13:0{number}:00Z,role-{number}\n" for number in range(3))
    (folder / "AppTraces.csv").write_text("TimeGenerated,AppRoleName\n" + lines)
    assert "what has: role-0, role-1, role-2" in backtest(fork, folder, code=2)


def test_texts_out_of_telemetry_are_no_markup_in_a_comment() -> None:
    hostile = "a|b @team https://x.example www.x.example <img> [l](x) `c` _e_ snake_case 12:30"
    safe = prose.safe(hostile)
    assert not set("|@<>[]()`") & set(safe)
    assert "https:" not in safe
    assert "www." not in safe
    assert "snake_case 12:30" in safe
