"""Releasing a killswitch by the command line, in the local world: with evals that allow it, or by an override."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.reading_cases import project
from tocsin.cli.commands import program
from tocsin.connections.github import GitHub
from tocsin.connections.http import Http
from tocsin.core import audit
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App, Revision
from tocsin.core.message import OVERRIDE
from tocsin.core.mute import Silence
from tocsin.engine.recalling import released
from tocsin.engine.releasing import engaged, weak
from tocsin.local.evals import evals, events, good, packed, safe
from tocsin.local.github import TOKEN
from tocsin.local.world import World
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing import FrozenClock

pytestmark = pytest.mark.slow

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
NAME, REPO = "sales-research", "contoso/sales-research"
FILES = "evals: { files: evals }"
GITHUB = f"evals: {{ github: {REPO}, token_setting: GITHUB_TOKEN }}"
EVENTS = "evals: { events: true }"
REASON = "the approver is back and was tried"
runner = CliRunner()


@dataclass
class Desk:
    """A person's desk: a folder with the shipped files, a world that they describe, and the command line."""

    world: World
    root: Path
    monkeypatch: pytest.MonkeyPatch

    def evals(self, line: str, *more: str) -> None:
        """Let these lines stand where ``evals`` does."""
        text = (self.root / "tocsin.yaml").read_text()
        lines = "".join(f"    {each}\n" for each in (line, *more))
        changed, count = re.subn(r"(?m)^    evals: .*\n", lambda _: lines, text)
        assert count == 1
        (self.root / "tocsin.yaml").write_text(changed)

    def run(self, verb: str, *options: str, code: int = 0) -> Any:
        arguments = ["killswitch", verb, "-t", NAME, *options, "--output", "json", "--root", str(self.root)]
        result = runner.invoke(program, arguments)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if result.stdout else result.stderr

    def engage(self, *options: str) -> datetime:
        self.run("engage", "--reason", "something burns", *options)
        return datetime.now(UTC)

    def release(self, *options: str, code: int = 0) -> Any:
        return self.run("release", "--reason", REASON, *options, code=code)

    def failing(self, code: int = 1) -> list[str]:
        checks = self.run("gate", code=code)["gate"]["checks"]
        return [each["name"] for each in checks if not each["passed"]]

    def words(self) -> str:
        return " | ".join(each["words"] for each in self.run("gate", code=1)["gate"]["checks"])

    def write(self, found: dict[str, bytes]) -> None:
        for name, data in found.items():
            path = self.root / "evals" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def deploy(self, at: datetime) -> None:
        """Deploy another version that keeps the switch."""
        self.world.clock.advance_to(at)
        self.world.deploy(f"{at:%H%M%S}")

    def store(self) -> SqliteStore:
        return SqliteStore(self.root / "state.sqlite")

    def on(self) -> bool:
        return self.world.template_env().get("KILLSWITCH_TOOLS") == "on"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with World(T0, seed=1) as world:
        world.arm.ready_after = timedelta()
        root = project(tmp_path)
        for name, value in {**world.settings(), "TOCSIN_STATE": str(tmp_path / "state.sqlite")}.items():
            monkeypatch.setenv(name, value)
        yield Desk(world, root, monkeypatch)


def soon(seconds: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


# Refused


def test_without_any_result_a_release_is_refused_and_says_what_to_do(desk: Desk) -> None:
    desk.engage()
    said = desk.release(code=1)
    assert (said["outcome"], said["gate"]["green"]) == ("refused", False)
    assert "there is no folder evals: run the evals and put their results there" in said["gate"]["checks"][0]["words"]
    assert desk.on()


def test_red_results_refuse_with_every_check_told_and_nothing_done(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon(), good(20, score=0.7, cost_usd=0.9), safe(10, failing=1)))
    patches = len(desk.world.arm.patches)
    said = desk.release(code=1)
    names = [each["name"] for each in said["gate"]["checks"] if not each["passed"]]
    assert names == ["mean score", "mean cost in USD", "red team"]
    assert (desk.on(), len(desk.world.arm.patches)) == (True, patches)
    newest = desk.store().audit()[-1]
    assert newest["event"] == "refused to release"
    assert newest["detail"]["check.red team"] == "FAILED: 1 of 10 failed"
    assert newest["detail"]["check.quality cases"] == "20"


def test_in_text_the_checks_are_a_table_and_the_way_out_is_told(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon(), redteam=safe(10, failing=2)))
    result = runner.invoke(program, ["killswitch", "release", "-t", NAME, "--reason", REASON, "--root", str(desk.root)])
    assert result.exit_code == 1
    assert "the gate is RED" in result.stdout
    assert "2 of 10 failed" in result.stdout
    assert "--override" in result.stderr


def test_results_from_before_the_engage_are_refused(desk: Desk) -> None:
    desk.evals(FILES)
    desk.write(evals(NAME, soon()))
    at = desk.engage()
    desk.write(evals(NAME, at - timedelta(minutes=1)))
    assert desk.failing() == ["newer than the engage"]
    desk.release(code=1)
    assert desk.on()


def test_results_of_another_target_are_refused(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals("marketing", soon()))
    assert desk.failing() == ["target"]
    desk.release(code=1)


def test_a_line_that_cannot_be_read_refuses_though_all_others_are_good(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    made = evals(NAME, soon())
    made["quality/results.jsonl"] += b"{oops\n"
    desk.write(made)
    assert desk.failing() == ["readable"]
    assert "evals/quality/results.jsonl:21: not JSON" in desk.words()


def test_what_the_accelerators_file_asks_is_what_counts(desk: Desk) -> None:
    desk.evals(FILES, "accelerator: accelerator.yaml")
    limits = "p95_latency_ms: 90000, cost_per_call_usd: 0.40"
    (desk.root / "accelerator.yaml").write_text(f"acceptance: {{ quality_threshold: 0.95, {limits} }}\n")
    desk.engage()
    desk.write(evals(NAME, soon()))
    assert desk.failing() == ["mean score"]
    (desk.root / "accelerator.yaml").write_text(f"acceptance: {{ quality_threshold: lots, {limits} }}\n")
    assert desk.failing() == ["acceptance"]
    (desk.root / "accelerator.yaml").write_text(f"acceptance: {{ quality_threshold: 0.9, {limits} }}\n")
    assert desk.failing(code=0) == []


# Allowed


def test_green_results_release_and_the_audit_keeps_the_evidence(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon()))
    said = desk.release()
    assert (said["outcome"], said["verified"], said["overridden"], desk.on()) == ("done", True, False, False)
    entries = desk.store().audit()
    assert [each["event"] for each in entries[-3:]] == ["release intended", "release done", "release verified"]
    kept = entries[-3]["detail"]
    assert kept["gate"] == "green"
    assert kept["source"] == "files in evals"
    assert kept["check.mean score"] == "0.9, at least 0.75 is asked"
    assert "engaged since" in kept["check.newer than the engage"]
    assert audit.broken(entries) is None
    assert not desk.store().deliveries(), "nobody is paged for a release that the evals allow"


def test_a_policy_knows_a_release_and_not_a_refusal(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.release(code=1)
    assert released(desk.store(), NAME, None) is None
    desk.write(evals(NAME, soon()))
    desk.release()
    assert released(desk.store(), NAME, None) is not None


def test_looking_at_the_gate_changes_and_records_nothing(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon()))
    before, patches = len(desk.store().audit()), len(desk.world.arm.patches)
    said = desk.run("gate")
    assert said["gate"]["green"] is True
    assert (len(desk.store().audit()), len(desk.world.arm.patches), desk.on()) == (before, patches, True)


# Override


def test_an_override_releases_is_audited_with_what_it_overrules_and_pages(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon(), redteam=safe(10, failing=1)))
    said = desk.release("--override")
    assert (said["outcome"], said["overridden"], desk.on()) == ("done", True, False)
    entries = desk.store().audit()
    names = [each["event"] for each in entries[-4:]]
    assert names == ["release overrides the gate", "release intended", "release done", "release verified"]
    assert entries[-4]["detail"]["check.red team"] == "FAILED: 1 of 10 failed"
    assert entries[-4]["detail"]["reason"] == REASON
    result = runner.invoke(program, ["tick", "--once", "--root", str(desk.root)])
    assert result.exit_code == 0, result.output
    (incident,) = [each for each in desk.world.pagerduty.incidents if OVERRIDE in each.key]
    assert "though its evals do not allow it" in json.dumps(incident.events)
    assert incident.resolved is None, "it pages: it is no mere note"
    assert any("though its evals do not allow it" in json.dumps(card) for _, card in desk.world.teams.cards)


def test_no_silence_hides_an_override(desk: Desk) -> None:
    desk.engage()
    silence = [
        "silence",
        "add",
        "--match",
        f"target={NAME}",
        "--comment",
        "deploying",
        "--yes",
        "--root",
        str(desk.root),
    ]
    assert runner.invoke(program, silence).exit_code == 0
    assert desk.store().kept(Silence)
    desk.release("--override")
    runner.invoke(program, ["tick", "--once", "--root", str(desk.root)])
    assert any("though its evals do not allow it" in json.dumps(card) for _, card in desk.world.teams.cards)


def test_an_override_needs_a_reason_that_others_can_read(desk: Desk) -> None:
    desk.engage()
    for reason in ("because", "I say", "1 2 3", "..."):
        assert "reason of 3 words" in desk.run("release", "--reason", reason, "--override", code=2)
        assert weak(reason)
    assert desk.on()
    assert not weak(REASON)


def test_an_override_that_was_not_needed_is_an_ordinary_release(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon()))
    assert desk.release("--override")["overridden"] is False
    assert not desk.store().deliveries()


# Since when


def test_an_app_that_cannot_be_read_refuses_even_good_results(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon()))
    desk.world.arm.faults.add("forbidden", matching="GET")
    assert desk.failing() == ["engaged since"]


def test_a_switch_that_is_on_nowhere_and_was_never_engaged_refuses(desk: Desk) -> None:
    desk.evals(FILES)
    desk.write(evals(NAME, soon()))
    assert desk.failing() == ["engaged since"]


TARGET = Target(name=NAME, workspace="w", role_name="r")


def app(*created: datetime | None, on: str = "on") -> App:
    env = {"KILLSWITCH_TOOLS": on}
    serving = tuple(
        Revision(f"r{number}", active=True, weight=50, running=True, env=env, created=at)
        for number, at in enumerate(created)
    )
    return App("id", "westeurope", {}, env, serving)


def entry(event: str, at: datetime, actor: str = "person ann", target: str = NAME, **detail: str) -> dict[str, Any]:
    return {"at": at.isoformat(), "actor": actor, "event": event, "target": target, "detail": detail}


def test_the_engage_is_the_later_of_the_audits_and_the_oldest_revision_that_serves_it() -> None:
    hour = timedelta(hours=1)
    by_person = [entry("engage done", T0 - hour, scope="tools"), entry("engage verified", T0, scope="tools")]
    assert engaged(TARGET, "tools", app(T0 - 9 * hour), by_person).at == T0
    assert engaged(TARGET, "tools", app(T0 + hour, T0 + 2 * hour), by_person).at == T0 + hour
    assert engaged(TARGET, "tools", app(None), by_person).at == T0
    assert engaged(TARGET, "tools", app(T0 - hour), []).at == T0 - hour
    assert engaged(TARGET, "tools", app(T0 + hour, on="off"), by_person).at == T0
    by_policy = {"actor": "policy stop", "action": "killswitch.engage", "arg.scope": "tools"}
    assert engaged(TARGET, "tools", app(on="off"), [entry("applied", T0, **by_policy)]).at == T0


def test_nothing_else_in_the_audit_is_an_engage() -> None:
    policy = {"actor": "policy stop", "action": "killswitch.engage", "arg.scope": "tools"}
    others = [
        entry("engage done", T0, scope="workflow"),
        entry("engage done", T0, target="marketing", scope="tools"),
        entry("release done", T0, scope="tools"),
        entry("refused", T0, **policy),
        entry("applied", T0, **{**policy, "arg.scope": "all"}),
        entry("applied", T0, **{**policy, "action": "container_app.restart"}),
    ]
    for each in others:
        assert engaged(TARGET, "tools", app(on="off"), [each]).at is None
    assert engaged(TARGET, "tools", app(None), others).at is None
    assert engaged(TARGET, "tools", app(T0, None), others).at is None
    assert (
        engaged(TARGET, "tools", NoAnswer(Why.FORBIDDEN, "403"), [entry("engage done", T0, scope="tools")]).at is None
    )


# GitHub


def github(desk: Desk, *changes: str) -> None:
    desk.evals(GITHUB, *changes)
    desk.engage()


def test_the_artifact_of_a_run_after_the_engage_releases_and_the_run_stands_in_the_audit(desk: Desk) -> None:
    github(desk)
    number = desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2)))})
    said = desk.release()
    assert said["outcome"] == "done"
    intended = next(each for each in desk.store().audit() if each["event"] == "release intended")
    assert intended["detail"]["run"] == f"https://github.com/{REPO}/actions/runs/{number}"
    assert desk.world.github.leaks == [], "the token went no further than the API"


def test_a_run_that_began_before_the_engage_is_not_looked_at(desk: Desk) -> None:
    desk.evals(GITHUB)
    desk.world.github.ran(datetime.now(UTC) - timedelta(minutes=5), {"evals": packed(evals(NAME, soon(60)))})
    desk.engage()
    assert "no run of contoso/sales-research evals.yml since the engage" in desk.words()


def test_old_results_in_a_new_artifact_are_old(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, T0))})
    assert desk.failing() == ["newer than the engage"]


def test_a_red_run_is_followed_by_a_green_one_only_once_something_was_deployed(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2)))})
    desk.world.github.ran(soon(3), {"evals": packed(evals(NAME, soon(3), redteam=safe(failing=1)))})
    assert desk.failing() == ["red team"]
    desk.world.github.ran(soon(4), {"evals": packed(evals(NAME, soon(4)))})
    assert desk.failing() == ["red runs"]
    assert "was red (red team), and nothing was deployed since" in desk.words()
    desk.deploy(soon(5))
    assert "no run of" in desk.words()
    desk.world.github.ran(soon(6), {"evals": packed(evals(NAME, soon(6)))})
    assert desk.failing(code=0) == []


def test_a_run_needs_as_many_cases_as_the_accepted_one_before_it_or_minimum_cases(desk: Desk) -> None:
    desk.evals(GITHUB)
    before = datetime.now(UTC) - timedelta(days=3)
    desk.world.github.ran(before, {"evals": packed(evals(NAME, before))})
    desk.engage()
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2), good(19), safe(10)))})
    assert desk.failing() == ["enough cases"]
    assert "19 quality and 10 red-team; the runs before had 20 and 10: run all cases again" in desk.words()
    desk.evals(GITHUB.replace(" }", ", minimum_cases: 10 }"))
    assert desk.failing(code=0) == []
    desk.evals(GITHUB.replace(" }", ", minimum_cases: 11 }"))
    assert "minimum_cases asks for 11 and 11" in desk.words()


def test_an_earlier_try_of_the_same_run_is_an_earlier_run(desk: Desk) -> None:
    github(desk)
    number = desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2), redteam=safe(failing=1)))})
    desk.world.github.ran_again(number, "evals", packed(evals(NAME, soon(3))))
    assert desk.failing() == ["red runs"]


def test_an_earlier_run_that_cannot_be_downloaded_now_is_not_taken_for_a_good_one(desk: Desk) -> None:
    github(desk)
    red = desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2), redteam=safe(failing=1)))})
    desk.world.github.ran(soon(3), {"evals": packed(evals(NAME, soon(3)))})
    desk.world.github.faults.add("error", matching=f"/runs/{red}/artifacts")
    assert desk.failing() == ["results"]


def test_results_in_a_folder_that_were_refused_are_remembered_when_others_take_their_place(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon(), redteam=safe(failing=1)))
    desk.release(code=1)
    desk.write(evals(NAME, soon(2), good(5)))
    assert desk.failing() == ["enough cases", "red runs"]
    desk.deploy(soon(3))
    desk.write(evals(NAME, soon(4)))
    assert desk.failing(code=0) == []


def test_the_cases_of_a_release_are_the_measure_of_the_next_one(desk: Desk) -> None:
    desk.evals(FILES)
    desk.engage()
    desk.write(evals(NAME, soon()))
    desk.release()
    desk.engage()
    desk.write(evals(NAME, soon(1), good(20), safe(9)))
    assert desk.failing() == ["enough cases"]


def test_a_run_that_broke_off_refuses_whether_or_not_it_left_results(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2)))})
    desk.world.github.ran(soon(3), conclusion="cancelled")
    assert "ended as cancelled and left no artifact" in desk.words()
    desk.world.github.ran(soon(4), {"evals": packed(evals(NAME, soon(4)))}, conclusion="failure")
    assert desk.failing() == ["readable"]


def test_runs_of_something_else_are_passed_over(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2)))})
    desk.world.github.ran(soon(3), {"evals-marketing": b"not ours"})
    desk.world.github.ran(soon(4), {"evals": packed(evals(NAME, soon(4), redteam=()))}, conclusion=None)
    desk.world.github.ran(soon(5), {"evals": packed(evals(NAME, soon(5)))}, workflow="other.yml")
    assert desk.failing(code=0) == []


def test_a_fork_cannot_release_production(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2)))}, fork=True)
    assert "no run of" in desk.words()


def test_where_a_branch_is_named_no_other_can_release_production(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2)))}, branch="mine")
    assert desk.failing(code=0) == []
    desk.evals(GITHUB.replace(" }", ", branch: main }"))
    assert "no run of" in desk.words()
    desk.world.github.ran(soon(3), {"evals": packed(evals(NAME, soon(3)))})
    assert desk.failing(code=0) == []


def test_an_artifact_that_is_called_after_the_target_says_which_it_is_of(desk: Desk) -> None:
    desk.evals(GITHUB.replace("token_setting", f"artifact: evals-{NAME}, token_setting"))
    desk.engage()
    made = evals(NAME, soon(2))
    del made["run.json"]
    desk.world.github.ran(soon(2), {f"evals-{NAME}": packed(made)})
    assert desk.failing(code=0) == []


def test_an_artifact_without_a_run_and_without_the_targets_name_is_of_no_known_target(desk: Desk) -> None:
    github(desk)
    made = evals(NAME, soon(2))
    del made["run.json"]
    desk.world.github.ran(soon(2), {"evals": packed(made)})
    assert desk.failing() == ["target"]


HUGE = packed({"quality/results.jsonl": b"\n" * 9_000_000})


def test_an_artifact_that_no_run_would_leave_refuses(desk: Desk) -> None:
    github(desk)
    for number, data in enumerate((b"garbage", packed({"../x": b""}), HUGE)):
        desk.world.github.ran(soon(2 + number), {"evals": data})
        assert desk.failing() == ["results"]


def test_an_expired_or_oversized_artifact_refuses(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": b"x"}, expired=True)
    assert "has expired" in desk.words()
    desk.world.github.ran(soon(3), {"evals": b"x" * (20 * 1024 * 1024 + 1)})
    assert "bytes" in desk.words()


def test_whatever_goes_wrong_on_the_way_refuses_and_raises_nothing(desk: Desk) -> None:
    github(desk)
    desk.world.github.ran(soon(2), {"evals": packed(evals(NAME, soon(2)))})
    for place in ("/runs", "/artifacts", "/zip", "/storage"):
        for kind in ("forbidden", "throttled", "error", "disconnect", "garbage", "nothing", "empty"):
            desk.world.github.faults.clear()
            desk.world.github.faults.add(kind, matching=place)
            assert desk.failing() == ["results"], (place, kind)
    desk.world.github.faults.clear()
    assert desk.failing(code=0) == []


def test_a_token_that_is_not_set_or_not_accepted_is_named_and_never_shown(desk: Desk) -> None:
    github(desk)
    desk.monkeypatch.setenv("GITHUB_TOKEN", "another-secret")
    assert "401: Bad credentials" in desk.words()
    assert "another-secret" not in desk.words()
    desk.monkeypatch.setenv("GITHUB_TOKEN", "")
    assert "the app setting GITHUB_TOKEN is not set" in desk.words()


def client(world: World, token: str = TOKEN) -> GitHub:
    return GitHub(Http(), token, f"{world.url}/github")


def test_a_dispatch_says_which_run_it_started_and_runs_finds_it(desk: Desk) -> None:
    api, world = client(desk.world), desk.world
    started = api.dispatch(REPO, "rollback.yml", "main", {"target": NAME})
    assert not isinstance(started, NoAnswer)
    assert world.github.dispatched == [{"workflow": "rollback.yml", "ref": "main", "inputs": {"target": NAME}}]
    found = api.runs(REPO, "rollback.yml", world.clock.now() - timedelta(minutes=1))
    assert not isinstance(found, NoAnswer)
    assert [(each.id, each.status) for each in found] == [(started.run, "in_progress")]
    assert api.run(REPO, started.run or 0) == found[0]
    old = api.dispatch(REPO, "rollback.yml", "main", details=False)
    assert not isinstance(old, NoAnswer) and old.run is None


def test_a_dispatch_that_is_refused_says_why_and_one_without_an_answer_may_have_begun(desk: Desk) -> None:
    kinds = {
        "unauthorized": Why.FORBIDDEN,
        "forbidden": Why.FORBIDDEN,
        "missing": Why.MISSING,
        "throttled": Why.THROTTLED,
        "error": Why.FAILED,
        "disconnect": Why.BUSY,
    }
    for kind, why in kinds.items():
        desk.world.github.faults.clear()
        desk.world.github.faults.add(kind, **({"retry_after": 7} if kind == "throttled" else {}))
        said = client(desk.world).dispatch(REPO, "evals.yml", "main")
        assert isinstance(said, NoAnswer)
        assert (said.why, said.retry_after) == (why, 7.0 if kind == "throttled" else None)
    assert desk.world.github.dispatched == []


def test_a_token_or_an_endpoint_that_could_leak_is_never_used(desk: Desk) -> None:
    for token in ("", "a b", "ä", "a\nb"):
        with pytest.raises(ValueError, match="token"):
            client(desk.world, token)
    with pytest.raises(ValueError, match="https"):
        GitHub(Http(), TOKEN, "http://github.example")
    assert TOKEN not in repr(client(desk.world))
    for repo in ("nobody", "a/b/c", "../x", "a/..", "a/b?x"):
        with pytest.raises(ValueError, match="OWNER/NAME"):
            client(desk.world).runs(repo, "evals.yml")


def test_the_token_goes_to_no_other_host_and_no_request_is_led_to_this_machine(desk: Desk) -> None:
    outside = GitHub(Http(), TOKEN, "https://api.github.com")
    assert outside._may_follow("https://storage.example/x")
    assert not outside._may_follow(f"{desk.world.url}/x")
    assert not outside._may_follow("file:///etc/passwd")
    assert not outside._may_follow("")


# Telemetry


@pytest.fixture
def told(desk: Desk) -> Iterator[Callable[..., None]]:
    """Let cases be told an hour ago, after an engage that the platform knows and at which the audit was not there."""
    desk.evals(EVENTS)
    desk.world.telemetry.now = FrozenClock(datetime.now(UTC)).now
    template = desk.world.template_env()
    desk.world.arm.provision(desk.world.target(), {**template, "KILLSWITCH_TOOLS": "on"})
    desk.world.advance(T0 + timedelta(minutes=5))

    def tell(cases: list[dict[str, Any]], at: datetime | None = None, **more: Any) -> None:
        when = at or datetime.now(UTC) - timedelta(hours=1)
        desk.world.telemetry.load("AppTraces", events(desk.world.target().role_name, when, cases, **more))

    yield tell


def test_events_of_the_target_after_the_engage_release(desk: Desk, told: Callable[..., None]) -> None:
    told([*good(), *safe()])
    said = desk.release()
    assert (said["outcome"], said["gate"]["source"]) == ("done", "eval.result events of sales-research")


def test_a_failed_red_team_event_refuses_even_when_a_later_one_of_the_case_passed(
    desk: Desk, told: Callable[..., None]
) -> None:
    told([*good(), *safe(5, failing=1)])
    told(safe(5), datetime.now(UTC) - timedelta(minutes=40))
    assert desk.failing() == ["red team"]


def test_where_runs_are_named_the_newest_one_is_judged_and_hides_no_red_one(
    desk: Desk, told: Callable[..., None]
) -> None:
    told([*good(3), *safe(5, failing=2)], datetime.now(UTC) - timedelta(hours=30), run_id="of yesterday")
    told([*good(), *safe(5)], run_id="1")
    assert desk.failing(code=0) == []
    told([*good(), *safe(5, failing=1)], datetime.now(UTC) - timedelta(minutes=40), run_id="2")
    assert desk.failing() == ["red team"]
    told([*good(), *safe(5)], datetime.now(UTC) - timedelta(minutes=20), run_id="3")
    assert desk.failing() == ["red runs"]


def test_two_good_cases_under_a_new_run_id_release_nothing_after_an_honest_red_run(
    desk: Desk, told: Callable[..., None]
) -> None:
    told([*good(40), *safe(20, failing=15)], datetime.now(UTC) - timedelta(hours=2), run_id="honest")
    told([*good(1, score=1.0), *safe(1)], run_id="newer")
    assert desk.failing() == ["enough cases", "red runs"]
    assert "1 quality and 1 red-team; the runs before had 40 and 20" in desk.words()


def test_one_case_told_again_and_again_is_one(desk: Desk, told: Callable[..., None]) -> None:
    told([*good(), *safe()], datetime.now(UTC) - timedelta(hours=2), run_id="1")
    told([*good(1) * 40, *safe(1) * 40], run_id="2")
    assert desk.failing() == ["enough cases"]


def test_a_run_that_began_before_the_engage_and_went_on_after_it_is_too_old(
    desk: Desk, told: Callable[..., None]
) -> None:
    told([*good(), *safe(40)], T0 - timedelta(seconds=30), run_id="1")
    told(safe(1), datetime.now(UTC) - timedelta(hours=1), run_id="1")
    assert desk.failing() == ["newer than the engage"]


def test_sampled_events_refuse(desk: Desk, told: Callable[..., None]) -> None:
    told([*good(), *safe()], sampled=4)
    assert desk.failing() == ["readable"]
    assert "sampled" in desk.words()


def test_a_run_that_may_be_under_way_refuses(desk: Desk, told: Callable[..., None]) -> None:
    told([*good(), *safe()], datetime.now(UTC) - timedelta(minutes=3))
    assert desk.failing() == ["readable"]
    assert "look again in" in desk.words()


def test_an_event_of_no_known_suite_or_with_a_bad_figure_refuses(desk: Desk, told: Callable[..., None]) -> None:
    told([*good(), *safe(), {"case_id": "x", "suite": "tone", "passed": True}, *good(1, score="high")])
    words = desk.words()
    assert "of no known suite" in words
    assert "'score' is not a number" in words


def test_no_events_no_release_and_telemetry_that_does_not_answer_neither(desk: Desk, told: Callable[..., None]) -> None:
    assert "no eval.result event since the engage" in desk.words()
    told([*good(), *safe()])
    assert desk.failing(code=0) == []
    desk.world.break_telemetry("partial")
    assert desk.failing() == ["results"]
