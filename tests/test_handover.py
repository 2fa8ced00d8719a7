"""``tocsin handover check``: from a deployment nobody may take over to one that both sides have signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.reading_cases import forget, project
from tests.test_drill import NAME, T0, Range
from tocsin.app import App, Parts, compose
from tocsin.cli import doctoring, drilling
from tocsin.cli.commands import program
from tocsin.core.audit import Damage, Harm, digest
from tocsin.core.fields import Severity
from tocsin.core.message import Kind, Notice, Settled, outbox
from tocsin.diagnosing import checklist
from tocsin.diagnosing.checklist import Evidence
from tocsin.diagnosing.handover import ACCEPTANCE, QUARTER, Line, Signature, Status, signed
from tocsin.local.evals import evals
from tocsin.local.world import World
from tocsin.settings import Settings

runner = CliRunner()
HOUR = timedelta(hours=1)


class Desk(Range):
    """Where a handover is checked and signed: a drill's range, with its doctor."""

    def values(self) -> dict[str, str]:
        return {
            **self.world.settings(),
            "TOCSIN_STATE": str(self.root / "state.sqlite"),
            "TOCSIN_AUDIT": str(self.root / "audit.jsonl"),
        }

    def app(self, _root: Path | None = None) -> App:
        return self.composed()[0]

    def composed(self, _root: Path | None = None) -> tuple[App, Settings]:
        given = Settings(self.root, self.values())
        return compose(given, Parts(clock=self.world.clock)), given

    def check(self, *options: str, code: int) -> Any:
        arguments = ["handover", "check", "--root", str(self.root), *options]
        result = runner.invoke(program, arguments)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "json" in options else result.stdout + result.stderr

    def lines(self, *options: str, code: int = 1) -> dict[str, Any]:
        return {each["line"]: each for each in self.check(*options, "-o", "json", code=code)["lines"]}

    def sign(self, name: str, *lines: str, code: int = 1) -> str:
        named = [part for each in lines for part in ("--line", each)]
        return str(self.check("--sign", name, "--note", f"seen by {name}", *named, code=code))

    def load(self, rows: list[dict[str, Any]]) -> None:
        self.world.telemetry.load("AppTraces", rows)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("COLUMNS", "200")
    with World(T0, seed=1) as world:
        made = Desk(world, project(tmp_path), monkeypatch)
        forget(tmp_path, "killswitch_engaged")
        (tmp_path / "rules" / "killswitch_engaged.yaml").unlink()  # no watcher ticks while the drill waits
        shutil.copytree(ROOT / "tests" / "rules", tmp_path / "tests" / "rules")
        for name in ("shipped", "shipped_required", "approval_required"):
            shutil.copy(ROOT / "tests" / f"{name}.yaml", tmp_path / "tests")
        probe = f"probes: [{{ name: api, url: {world.url}/app/healthz }}]"
        made.edit("    labels: { env: prod }\n", f"    labels: {{ env: prod }}\n    {probe}\n")
        monkeypatch.setattr(drilling, "load_app", made.app)
        monkeypatch.setattr(drilling, "pause", made.pause)
        monkeypatch.setattr(doctoring, "composed", made.composed)
        yield made


def decided(world: World, name: str) -> dict[str, Any]:
    at = world.clock.now() - HOUR
    properties = {"event_name": name, "external_system": "send_email"}
    row = {"TimeGenerated": at, "AppRoleName": world.target().role_name, "Message": name, "Properties": properties}
    return {**row, "_IngestedAt": at}


@pytest.mark.long
def test_a_deployment_goes_from_refused_to_signed_by_what_is_really_done(desk: Desk) -> None:
    """Nothing here is entered by hand: each line is closed by what was done, or by who says so."""
    desk.app().tick()
    before = desk.lines()
    assert {name for name, line in before.items() if line["status"] == "done"} == {
        "doctor", "rule-tests", "receivers", "watchdog", f"alerts/{NAME}", "audit",
    }  # fmt: skip
    assert before[f"killswitch/{NAME}"]["open"] == ["never drilled"]
    assert before[f"evals/{NAME}"]["open"] == ["no results in 30 days"]
    assert before[f"approver-drill/{NAME}"]["open"] == ["no tool.hitl_rejected in 30 days"]
    assert "not signed" in desk.sign("Ada")

    assert desk.drill()["proven"]
    desk.load([decided(desk.world, "tool.hitl_rejected")])
    for name, data in evals(NAME, desk.world.clock.now() - HOUR).items():
        (desk.root / "evals" / name).parent.mkdir(parents=True, exist_ok=True)
        (desk.root / "evals" / name).write_bytes(data)
    desk.app().tick()
    proven = desk.lines()
    assert "9 steps; last verified release" in proven[f"killswitch/{NAME}"]["evidence"]
    assert "files in evals: readable: every line was read" in proven[f"evals/{NAME}"]["evidence"]
    assert {name for name, line in proven.items() if line["status"] == "open"} == {
        f"approver/{NAME}", "runbook", ACCEPTANCE,
    }  # fmt: skip

    desk.sign("Grace", f"approver/{NAME}", "runbook")
    assert "(1 of 2)" in desk.sign("Ada Lovelace")
    assert "(1 of 2)" in desk.sign("ada lovelace")  # nobody signs for both sides
    out = desk.sign("Grace Hopper", code=0)
    assert "nothing is open" in out
    page = desk.check("--report", str(desk.root / "handover"), code=0)
    assert "handover.md" in page
    assert (desk.root / "handover.md").read_text().startswith(f"# Handover of {NAME}: accepted\n")
    kept = json.loads((desk.root / "handover.json").read_text())
    assert kept["complete"]
    assert kept["hash"] == digest(kept)
    record = next(each for each in desk.store().audit() if each["event"] == "handover signed")
    assert record["detail"]["signed by"] == "Grace"
    assert record["actor"].startswith("person ")
    assert len(record["detail"]["report"]) == 64

    # What burns later opens the line again, whoever has signed.
    desk.world.unset_approver()
    desk.world.advance(desk.world.clock.now() + timedelta(minutes=3))
    desk.app().tick()
    after = desk.lines()
    assert after[f"approver/{NAME}"]["status"] == "open"
    assert after["doctor"]["open"] == [f"approver {NAME}: no-approver"]


def test_a_wrong_call_says_what_would_be_right_and_signs_nothing(desk: Desk) -> None:
    assert "--sign and --note belong together" in desk.check("--sign", "Ada", code=2)
    assert "--line is for --sign" in desk.check("--line", "runbook", code=2)
    assert "known: sales-research" in desk.check("--target", "nobody", code=2)
    assert "known: doctor, rule-tests" in desk.check("--sign", "Ada", "--note", "x", "--line", "run-book", code=2)
    assert desk.events() == []


def test_a_store_that_does_not_answer_signs_nothing(desk: Desk) -> None:
    (desk.root / "state.sqlite").write_bytes(b"this is no database" * 1000)
    assert "nothing was signed" in desk.check("--sign", "Ada", "--note", "x", "--line", "runbook", code=3)


# What is not evidence


def evidence(tmp_path: Path, **changes: Any) -> Evidence:
    from tests.reading_cases import SETTINGS
    from tocsin.app import known
    from tocsin.files import read_project

    read = read_project(ROOT, SETTINGS, known())
    reach = {(name, NAME): ("oncall",) for name in checklist.ALERTS}
    given = {"findings": (), "tested": (), "history": (), "audit": (), "reach": reach, **changes}
    return Evidence(now=T0, config=read.config, rules=read.rules, **given)


def line(found: Evidence, name: str) -> Line:
    return next(each for each in checklist.lines(found, found.config.targets) if each.id.partition("/")[0] == name)


def drill(at: datetime, **detail: str) -> dict[str, Any]:
    given = {"drill": "q4", "scope": "tools", "left on": "false", "step 01 engage": "proven", **detail}
    return {"at": at.isoformat(), "actor": "person ada", "event": "drill ended", "target": NAME, "detail": given}


@pytest.mark.parametrize(
    ("record", "open_"),
    [
        (drill(T0), ()),
        (drill(T0 - QUARTER - HOUR), ("not drilled within a quarter",)),
        (drill(T0, **{"step 05 halted": "not tried"}), ("halted is not tried",)),
        (drill(T0, **{"left on": "true"}), ("it left the switch on",)),
        (drill(T0, scope="workflow"), ("never drilled",)),
        ({**drill(T0), "target": "another"}, ("never drilled",)),
    ],
)
def test_only_a_whole_drill_of_the_tools_within_a_quarter_counts(
    tmp_path: Path, record: dict[str, Any], open_: tuple[str, ...]
) -> None:
    assert line(evidence(tmp_path, audit=[record]), "killswitch").open == open_


def test_the_newest_drill_counts_and_not_the_best(tmp_path: Path) -> None:
    later = drill(T0, **{"step 05 halted": "FAILED"})
    assert line(evidence(tmp_path, audit=[drill(T0 - HOUR), later]), "killswitch").open == ("halted is FAILED",)


def test_an_alert_that_is_off_or_reaches_nobody_is_not_wired(tmp_path: Path) -> None:
    found = evidence(tmp_path, reach={("p95_latency", NAME): ("oncall",)})
    off = [each.model_copy(update={"enabled": False}) if each.id == "cost_jump" else each for each in found.rules]
    open_ = line(Evidence(found.now, found.config, tuple(off), (), (), (), (), reach=found.reach), "alerts").open
    assert "cost_jump: disabled in its file" in open_
    assert "high_error_rate: reaches nobody who was seen to take a message" in open_
    assert not [each for each in open_ if each.startswith("p95_latency")]


def test_a_rule_without_scenarios_and_an_audit_that_was_changed_are_named(tmp_path: Path) -> None:
    found = evidence(tmp_path, tested={"cost_jump"}, damage=Damage(Harm.CHANGED, 3, 3, "record 3 was changed"))
    assert "cost_jump" not in line(found, "rule-tests").open
    assert "p95_latency" in line(found, "rule-tests").open
    assert line(found, "audit").open == ("record 3 was changed",)


def test_a_watchdog_counts_by_what_receivers_took(tmp_path: Path) -> None:
    beat = Notice("w", Kind.WATCHDOG, "watchdog/oncall", "watchdog", "tocsin", Severity.P3, T0, "well")
    (sent,) = outbox(beat, ["oncall"], T0)
    from dataclasses import replace

    took = replace(sent, state=Settled.DELIVERED, settled=T0)
    assert line(evidence(tmp_path, history=[took]), "watchdog").open == ("team",)
    assert line(evidence(tmp_path, history=[sent]), "watchdog").open == ("oncall", "team")


# Signatures


def word(name: str, items: tuple[str, ...] = (), at: datetime = T0) -> Signature:
    return Signature(name, "seen", at, "person x", 1, {"evals/x": items})


@pytest.mark.parametrize(
    ("open_", "people", "given", "status"),
    [
        ((), 0, [], Status.DONE),
        (("a",), 0, [], Status.OPEN),
        (("a",), 0, [word("ada", ("a",))], Status.ACCEPTED),
        (("a", "b"), 0, [word("ada", ("a",))], Status.OPEN),
        (("a", "b"), 0, [word("ada", ("a",)), word("bob", ("b",))], Status.ACCEPTED),
        (("b",), 0, [word("ada", ("a",))], Status.OPEN),
        ((), 2, [word("Ada"), word("ada")], Status.OPEN),
        ((), 2, [word("ada"), word("bob")], Status.DONE),
        (("a",), 1, [word("ada")], Status.OPEN),
    ],
)
def test_a_signature_covers_what_was_open_when_it_was_given_and_nothing_later(
    open_: tuple[str, ...], people: int, given: list[Signature], status: Status
) -> None:
    (found,) = signed([Line("evals/x", "asks", "seen", open_, people)], given)
    assert found.status is status


def test_a_word_ends_with_the_quarter_and_counts_for_its_own_targets_alone() -> None:
    from tocsin.diagnosing.handover import SIGNED, signatures, signing

    lines = [Line("runbook", "", ""), Line("evals/a", "", "", ("x",))]
    detail = signing("Ada", "read", lines, "0" * 64)
    entry = {
        "at": T0.isoformat(),
        "actor": "person ada",
        "event": SIGNED,
        "target": "a",
        "detail": detail,
        "sequence": 4,
    }
    (found,) = signatures([entry], ["a"], T0)
    assert found.lines == {"runbook": (), "evals/a": ("x",)}
    (elsewhere,) = signatures([entry], ["a", "b"], T0)
    assert elsewhere.lines == {"evals/a": ("x",)}
    assert signatures([entry], ["a"], T0 + QUARTER + HOUR) == []


def test_what_people_wrote_stays_text_in_the_page(desk: Desk) -> None:
    desk.sign("Ada | <b>", "runbook")
    desk.check("--report", str(desk.root / "h"), code=1)
    page = (desk.root / "h.md").read_text()
    assert r"Ada \| \<b\>" in page
    assert "lines OPEN" in page
