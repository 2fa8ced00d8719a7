"""GitHub's workflows: what they may do, what they trust, that what they call exists; and their scripts, run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tocsin.cli.commands import program
from tools.package import ZIP

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
DIGEST = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")
WRITES = {
    ("pull-request.yml", "comment", "pull-requests"),
    ("deploy.yml", "deploy", "id-token"),
    ("infra.yml", "preview", "id-token"),
    ("drill.yml", "killswitch", "id-token"),
}
"""Every right to write that any job has."""

every = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    """Return a workflow as YAML 1.2 reads it, where ``on`` is a word."""
    found: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return found


def steps(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in load(path)["jobs"].items():
        for step in job.get("steps", ()):
            yield name, step


def scripts(path: Path) -> str:
    return "\n".join(step["run"] for _, step in steps(path) if "run" in step)


def test_the_workflows_are_those_that_are_wanted() -> None:
    assert [path.stem for path in FILES] == ["deploy", "drill", "infra", "pull-request", "security", "test"]


@every
def test_every_action_is_pinned_by_a_commit_and_says_its_version(path: Path) -> None:
    named = [line.split("uses:")[1].strip() for line in path.read_text().splitlines() if "uses:" in line]
    for each in named:
        if each.startswith("./"):
            assert (ROOT / each).is_file(), each
        else:
            action, _, version = each.partition(" # ")
            assert DIGEST.fullmatch(action), each
            assert re.fullmatch(r"v\d+\.\d+\.\d+", version), each


def test_one_action_has_one_digest() -> None:
    pinned = set(re.findall(r"uses: ([\w-]+/[\w-]+)@(\w+)", "".join(path.read_text() for path in FILES)))
    assert len({name for name, _ in pinned}) == len(pinned)


@every
def test_a_workflow_has_no_right_and_a_job_only_its_own(path: Path) -> None:
    flow = load(path)
    assert flow["permissions"] == {}
    for name, job in flow["jobs"].items():
        for right, extent in job["permissions"].items():
            assert extent == "read" or (path.name, name, right) in WRITES, f"{name}: {right}: {extent}"
        called = "uses" in job  # what calls another workflow cannot have a limit of its own
        assert called or job["timeout-minutes"] <= 60


@every
def test_what_a_fork_sends_is_never_run_with_rights_or_secrets(path: Path) -> None:
    flow, text = load(path), path.read_text()
    assert "pull_request_target" not in flow["on"] and "workflow_run" not in flow["on"]
    for name, job in flow["jobs"].items():
        if "pull_request" in flow["on"] and any(extent == "write" for extent in job["permissions"].values()):
            assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"], name
    if "pull_request" in flow["on"]:
        assert "${{ secrets." not in text


@every
def test_no_expression_is_pasted_into_a_script_and_no_token_is_left_behind(path: Path) -> None:
    assert "${{" not in scripts(path)
    for _, step in steps(path):
        if str(step.get("uses", "")).startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
    assert load(path)["defaults"]["run"]["shell"] == "bash", "a pipe that fails in the middle has to fail"


def test_zizmor_finds_nothing_that_has_let_others_in() -> None:
    reader = shutil.which("zizmor", path=sysconfig.get_path("scripts"))
    if reader is None:
        pytest.skip("zizmor is not here: make setup")
    call = [reader, "--offline", "--quiet", "--min-severity", "medium", str(ROOT / ".github")]
    said = subprocess.run(call, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_what_writes_the_comment_runs_nothing_of_the_change() -> None:
    for name, step in steps(FOLDER / "pull-request.yml"):
        if name == "comment":
            assert "checkout" not in step.get("uses", "")
            assert not re.search(r"make |tocsin (?!plan -->)|python", step.get("run", ""))


def _options(command: str, argument: list[str]) -> set[str]:
    found: Any = typer.main.get_command(program)
    for word in [command, *argument]:
        if word.startswith("-") or word not in getattr(found, "commands", {}):
            break
        found = found.commands[word]
    return {name for parameter in found.params for name in parameter.opts}


def called() -> list[tuple[str, list[str]]]:
    found = re.findall(r"\.venv/bin/tocsin +([^\n|>]+)", "\n".join(scripts(path) for path in FILES))
    return [(words[0], words[1:]) for words in (each.split() for each in found)]


@pytest.mark.parametrize("command", sorted({name for name, _ in called()}))
def test_every_command_of_tocsin_that_is_called_exists_with_its_options(command: str) -> None:
    known: Any = typer.main.get_command(program)
    if command == "plan" and command not in known.commands:
        pytest.xfail("not here yet")
    assert command in known.commands
    for name, words in called():
        if name == command:
            assert {word for word in words if word.startswith("--")} <= _options(name, words)


def test_only_what_is_on_main_is_deployed_also_by_hand() -> None:
    assert "github.ref == 'refs/heads/main'" in load(FOLDER / "deploy.yml")["jobs"]["deploy"]["if"]


INSTALLS = re.compile(r"make (?!-n)|pip |npm |uv |\.venv/|python", re.IGNORECASE)


def test_what_deploys_installs_nothing_and_what_installs_can_sign_in_nowhere() -> None:
    """A package that turned bad would find the token of the job that installs it."""
    jobs = load(FOLDER / "deploy.yml")["jobs"]
    assert jobs["package"]["permissions"] == {"contents": "read"}
    assert "environment" not in jobs["package"], "whose secrets it would get"
    assert jobs["deploy"]["needs"] == "package"
    for name, step in steps(FOLDER / "deploy.yml"):
        if name == "deploy":
            assert not INSTALLS.search(step.get("run", "")), step["run"]
            assert not str(step.get("uses", "")).startswith("actions/setup-python")


def test_what_is_deployed_is_the_zip_that_ran() -> None:
    done = [(name, step) for name, step in steps(FOLDER / "deploy.yml")]
    (kept,) = [step["with"] for _, step in done if str(step.get("uses", "")).startswith("actions/upload-artifact")]
    (had,) = [step["with"] for _, step in done if str(step.get("uses", "")).startswith("actions/download-artifact")]
    assert kept["name"] == had["name"]
    assert kept["path"] == ZIP.relative_to(ROOT).as_posix()
    (deployed,) = [step["run"] for _, step in done if step.get("run", "").startswith("azd deploy")]
    assert f"--from-package {had['path']}/{ZIP.name} " in deployed
    services = YAML(typ="safe").load((ROOT / "azure.yaml").read_text(encoding="utf-8"))["services"]
    assert deployed.split()[2] in services


@every
def test_no_secret_is_in_the_environment_of_a_job_that_installs_packages(path: Path) -> None:
    for name, job in load(path)["jobs"].items():
        installs = any(INSTALLS.search(step.get("run", "")) for step in job.get("steps", ()))
        assert not installs or "secrets." not in str(job.get("env")), name


def test_the_vault_is_asked_for_its_token_while_the_sign_in_is_young() -> None:
    """GitHub's token ends after minutes, and the hook that needs the vault runs when all is provisioned."""
    done = [
        str(step.get("uses", step.get("run", ""))) for name, step in steps(FOLDER / "deploy.yml") if name == "deploy"
    ]
    order = [
        next(number for number, each in enumerate(done) if each.startswith(begins))
        for begins in ("azure/login", "az account get-access-token --resource https://vault.azure.net", "azd provision")
    ]
    assert order == sorted(order)
    assert "--output none" in done[order[1]], "a token is never printed"


@every
def test_every_environment_that_signs_in_is_named_where_its_credential_is_explained(path: Path) -> None:
    explained = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    for name, job in load(path)["jobs"].items():
        if "id-token" in job["permissions"]:
            assert f"`{job['environment']}`" in explained, name


def test_the_drill_is_called_with_options_it_has_and_never_in_production() -> None:
    script = scripts(FOLDER / "drill.yml")
    options = set(re.findall(r"(--[a-z-]+)", script))
    assert options == {"--target", "--report", "--watch", "--call", "--body"}
    assert options <= _options("drill", ["killswitch"])
    assert "--yes-production" not in script


@every
def test_every_target_of_make_that_is_called_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in re.findall(r"^ *make ([^\n|]+)", scripts(path), re.MULTILINE):
        for word in (word for word in line.split() if "=" not in word):
            assert re.search(rf"^([\w-]+ )*{word}( [\w-]+)*:", makefile, re.MULTILINE), word


def test_a_file_that_is_named_is_there() -> None:
    for path in FILES:
        for name in re.findall(r"(\.github/[\w.-]+\.(?:txt|baseline)|requirements\.txt|hooks/)", scripts(path)):
            assert (ROOT / name).exists(), name


def test_the_tools_of_the_workflows_are_locked_with_hashes() -> None:
    wanted = re.findall(r"^([a-z][a-z0-9-]+)", (ROOT / ".github" / "tools.in").read_text(), re.MULTILINE)
    locked = (ROOT / ".github" / "tools.txt").read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", locked):
        assert "==" not in entry or "--hash=sha256:" in entry
    assert set(wanted) <= set(re.findall(r"^([a-z0-9-]+)==", locked, re.MULTILINE))
    assert len(wanted) == 5


# ── The one comment ───────────────────────────────────────────────────────────────────────────────────────────────────

GH = '''#!{python}
"""Stands in for GitHub's command line: comments live in a file; `--field body=@FILE` says where a body is."""
import json, pathlib, re, subprocess, sys
kept = pathlib.Path({kept!r})
comments = json.loads(kept.read_text())
words = sys.argv[2:]
body = next((word.partition("@")[2] for word in words if word.startswith("body=@")), None)
if "PATCH" in words:
    number = int(next(word for word in words if word.startswith("repos/")).rpartition("/")[2])
    next(each for each in comments if each["id"] == number)["body"] = pathlib.Path(body).read_text()
elif "POST" in words:
    bot = {{"login": "github-actions[bot]"}}
    comments.append({{"id": 100 + len(comments), "user": bot, "body": pathlib.Path(body).read_text()}})
else:
    query = words[words.index("--jq") + 1]
    login, marker = re.search(r'login == "(.+?)" and .+startswith\\("(.+?)"\\)', query).groups()
    for each in comments:
        if each["user"]["login"] == login and each["body"].startswith(marker):
            print(each["id"])
kept.write_text(json.dumps(comments))
'''


@pytest.fixture
def comments(tmp_path: Path) -> Path:
    """A pull request on which a person has quoted the marker already; ``gh`` on the PATH acts on it."""
    kept = tmp_path / "comments.json"
    person = {"id": 1, "user": {"login": "ada"}, "body": "<!-- tocsin plan -->\nlook at what it does"}
    kept.write_text(json.dumps([person]))
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "gh"
    tool.write_text(GH.format(python=sys.executable, kept=str(kept)))
    tool.chmod(0o755)
    return kept


def say(folder: Path, plan: str) -> None:
    (folder / "plan.md").write_text(plan, encoding="utf-8")
    (script,) = [
        step["run"] for name, step in steps(FOLDER / "pull-request.yml") if name == "comment" and "run" in step
    ]
    variables = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "REPOSITORY": "o/r",
        "NUMBER": "7",
        "RUN": "https://run",
    }
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=folder, env=variables, check=True
    )


def test_a_change_has_one_comment_which_is_renewed(comments: Path, tmp_path: Path) -> None:
    say(tmp_path, "first")
    say(tmp_path, "second")
    found = json.loads(comments.read_text())
    assert [each["body"] for each in found if each["user"]["login"] != "ada"] == ["<!-- tocsin plan -->\nsecond"]
    assert found[0]["body"].endswith("look at what it does")


def test_a_plan_longer_than_a_comment_may_be_is_cut_between_letters(comments: Path, tmp_path: Path) -> None:
    say(tmp_path, "x" + "é" * 40_000)
    body = json.loads(comments.read_text())[-1]["body"]
    assert len(body.encode()) < 65_536
    assert body.endswith("éé\n\n…cut here: [the whole plan](https://run)\n")
