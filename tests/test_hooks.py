"""What azd runs after provisioning and after deploying: really run, beside an ``az`` that keeps what it was told."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tocsin.core.answer import Query, Rows
from tocsin.core.config import Target
from tocsin.telemetry.embedded import EmbeddedTelemetry

HOOKS = ROOT / "hooks"
NAMES = ("postprovision", "postdeploy")
AZ = '''#!{python} -IS
"""Stands in for Azure's command line: a folder is the subscription, and every call is written down."""
import json, pathlib, sys
home, words = pathlib.Path({home!r}), sys.argv[1:]
with (home / "calls").open("a") as calls:
    print(json.dumps(words), file=calls)
def option(name):
    return words[words.index(name) + 1]
command = " ".join(words).partition(" --")[0]
failing = json.loads((home / "failing.json").read_text())
if failing.get(command, 0) > 0:
    (home / "failing.json").write_text(json.dumps({{**failing, command: failing[command] - 1}}))
    sys.exit("ERROR: (Forbidden)")
if command == "keyvault secret list":
    print(*sorted(each.name for each in (home / "vault").iterdir()), sep="\\n")
elif command == "keyvault secret set":
    (home / "vault" / option("--name")).write_text(pathlib.Path(option("--file")).read_text())
elif command == "functionapp function list":
    print("func-x/health", "func-x/react", sep="\\r\\n")
elif command == "deployment group create":
    given = json.loads(pathlib.Path(option("--parameters").removeprefix("@")).read_text())
    values = {{name: each["value"] for name, each in given.items()}}
    (home / "deployments" / option("--name")).write_text(json.dumps(values))
elif command == "rest" and "loganalytics" in option("--url"):
    (home / "question").write_text(pathlib.Path(option("--body").removeprefix("@")).read_text())
    sys.stdout.write((home / "telemetry").read_text())
elif command not in ("rest", "account show"):
    sys.exit(f"no such command: {{command}}")
'''
COMPONENT = "/subscriptions/s-2/resourceGroups/rg-sales/providers/microsoft.insights/components/appi-Sales"
OTHER = "/subscriptions/s-2/resourcegroups/rg-sales/providers/microsoft.insights/components/appi-other"
TARGET = Target(name="sales", workspace="w", application_insights=COMPONENT)
TARGETS = [{"subscription": "s-2", "resourceGroup": "rg-sales", "containerApp": 'api\'s "own"', "topic": "evgt-1"}]
VALUES = {
    "AZURE_ENV_NAME": "prod",
    "AZURE_KEY_VAULT_NAME": "kv-x",
    "AZURE_RESOURCE_GROUP": "rg-tocsin",
    "AZURE_SUBSCRIPTION_ID": "s-1",
    "TOCSIN_FUNCTION_APP": "func-x",
    "TOCSIN_STORAGE_ACCOUNT": "stx",
    "TOCSIN_ALERTS_TO": "/subscriptions/s-1/resourceGroups/rg-tocsin/providers/Microsoft.Insights/actionGroups/ag",
    "TOCSIN_TARGETS": json.dumps(TARGETS),
    "TOCSIN_PUBLIC_URL": "https://func-x.example",
    "WATCHED_WORKSPACE": "11111111-2222-3333-4444-555555555555",
    "WATCHED_APPLICATION_INSIGHTS": COMPONENT,
    "TOCSIN_HOOK_PAUSE": "0",
    "TOCSIN_HOOK_TRIES": "3",
}


class Azure:
    """The folder that stands for a subscription."""

    def __init__(self, home: Path) -> None:
        self.home, self.tools, self.scratch = home, home / "bin", home / "tmp"
        for folder in (home / "vault", home / "deployments", self.tools, self.scratch):
            folder.mkdir()
        (self.tools / "az").write_text(AZ.format(python=sys.executable, home=str(home)))
        (self.tools / "az").chmod(0o755)
        self.fails({})
        self.telemetry((COMPONENT, "unknown_service:python"))

    def telemetry(self, *rows: tuple[str, str]) -> None:
        """Say what the workspace holds: components, as it writes them, and role names."""
        (self.home / "telemetry").write_text("".join(f"{each.lower()}\t{role}\r\n" for each, role in rows))

    def fails(self, times: dict[str, int]) -> None:
        (self.home / "failing.json").write_text(json.dumps(times))

    def run(self, hook: str, **other: str) -> subprocess.CompletedProcess[str]:
        (self.home / "calls").write_text("")
        values = VALUES | {"PATH": f"{self.tools}:{os.environ['PATH']}", "TMPDIR": str(self.scratch)} | other
        given = {name: value for name, value in values.items() if value != "unset"}
        return subprocess.run(
            [str(HOOKS / f"{hook}.sh")],
            cwd=self.home,
            env=given,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.home / "calls").read_text().splitlines()]

    def commands(self) -> list[str]:
        return [" ".join(words).partition(" --")[0] for words in self.calls()]

    def state(self) -> dict[str, str]:
        kept = [*(self.home / "vault").iterdir(), *(self.home / "deployments").iterdir()]
        return {path.name: path.read_text() for path in kept}


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    return Azure(tmp_path)


# ── After provisioning ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_secret_of_links_is_made_once_and_never_again(azure: Azure) -> None:
    first = azure.run("postprovision")
    made = azure.state()
    assert (first.returncode, set(made)) == (0, {"TOCSIN-LINK-SECRET"})
    assert re.fullmatch(r"[0-9a-f]{64}", made["TOCSIN-LINK-SECRET"])
    assert azure.run("postprovision").returncode == 0
    assert azure.state() == made
    assert "keyvault secret set" not in azure.commands()


def test_a_secret_is_never_an_argument_nor_printed_nor_left_behind(azure: Azure) -> None:
    said = azure.run("postprovision")
    secret = azure.state()["TOCSIN-LINK-SECRET"]
    assert not any(secret in word for words in azure.calls() for word in words)
    assert secret not in said.stdout + said.stderr
    assert list(azure.scratch.iterdir()) == []


def test_what_a_person_has_put_into_the_vault_stays_and_what_is_missing_is_named(azure: Azure) -> None:
    (azure.home / "vault" / "TOCSIN-LINK-SECRET").write_text("a person's own")
    (azure.home / "vault" / "TEAMS-WEBHOOK-URL").write_text("https://hook")
    said = azure.run("postprovision").stderr
    assert azure.state() == {"TOCSIN-LINK-SECRET": "a person's own", "TEAMS-WEBHOOK-URL": "https://hook"}
    assert "PAGERDUTY-ROUTING-KEY is missing" in said and "TEAMS" not in said


def test_without_links_no_secret_is_made_for_them(azure: Azure) -> None:
    assert azure.run("postprovision", TOCSIN_SECRET_SETTINGS="SLACK_URL, OTHER").stderr.count("is missing") == 2
    assert azure.state() == {}


def test_a_role_that_is_not_known_yet_is_waited_for(azure: Azure) -> None:
    azure.fails({"keyvault secret list": 2})
    assert azure.run("postprovision").returncode == 0
    assert azure.commands().count("keyvault secret list") == 3


def test_a_vault_that_never_answers_is_an_error_and_nothing_is_written(azure: Azure) -> None:
    """To make a secret because none could be listed would cut off every link that is out there."""
    azure.fails({"keyvault secret list": 9})
    said = azure.run("postprovision")
    assert (said.returncode, azure.state()) == (1, {})
    assert "Key Vault Secrets Officer" in said.stderr
    assert azure.commands()[1:] == ["keyvault secret list"] * 3


def test_a_vault_behind_a_private_network_is_left_to_who_is_inside(azure: Azure) -> None:
    said = azure.run("postprovision", TOCSIN_PRIVATE_NETWORK="true")
    assert (said.returncode, azure.commands()) == (0, ["account show"])
    (told,) = re.findall(r"Run this there: (\w+)=(\w+) azd hooks run postprovision", said.stderr)
    azure.run("postprovision", TOCSIN_PRIVATE_NETWORK="true", **dict([told]))
    assert set(azure.state()) == {"TOCSIN-LINK-SECRET"}


def test_the_app_looks_its_secrets_up_again_every_time(azure: Azure) -> None:
    for _ in range(2):
        azure.run("postprovision")
        (asked,) = [words[words.index("--url") + 1] for words in azure.calls() if words[0] == "rest"]
        assert asked.startswith(
            "/subscriptions/s-1/resourceGroups/rg-tocsin/providers/Microsoft.Web/sites/func-x/config/"
        )


# ── After deploying ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_events_are_subscribed_to_with_what_provisioning_gave_twice_the_same(azure: Azure) -> None:
    assert azure.run("postdeploy").returncode == 0
    made, calls = azure.state(), azure.commands()
    assert json.loads(made["tocsin-events"]) == {
        "envName": "prod",
        "functionAppName": "func-x",
        "storageAccountName": "stx",
        "alertsTo": VALUES["TOCSIN_ALERTS_TO"],
        "targets": TARGETS,
        "webhookObjectId": "",
        "webhookIdentifierUri": "",
    }
    assert azure.run("postdeploy").returncode == 0
    assert (azure.state(), azure.commands()) == (made, calls)
    assert list(azure.scratch.iterdir()) == []


def test_every_call_that_changes_something_names_the_subscription(azure: Azure) -> None:
    """What az is set to by itself may be another, and there would be an app of that name, too."""
    azure.run("postdeploy")
    for words in azure.calls():
        assert words[words.index("--subscription") + 1] == "s-1"


def test_nothing_is_subscribed_before_the_function_is_there(azure: Azure) -> None:
    said = azure.run("postdeploy", TOCSIN_FUNCTION_APP="func-y")
    assert (said.returncode, azure.state()) == (1, {})
    assert "has no function 'react'" in said.stderr


def test_a_deployment_that_fails_is_said_to_have_failed(azure: Azure) -> None:
    azure.fails({"deployment group create": 1})
    said = azure.run("postdeploy")
    assert said.returncode != 0 and "Whether it watches" not in said.stdout
    assert list(azure.scratch.iterdir()) == []


@pytest.mark.parametrize("hook", NAMES)
def test_without_what_provisioning_gives_or_a_sign_in_nothing_is_asked(azure: Azure, hook: str) -> None:
    said = azure.run(hook, TOCSIN_FUNCTION_APP="unset")
    assert said.returncode != 0 and "run azd provision" in said.stderr and azure.calls() == []
    azure.fails({"account show": 1})
    said = azure.run(hook)
    assert said.returncode == 1 and "az login" in said.stderr and azure.commands() == ["account show"]


def told(azure: Azure, **other: str) -> str:
    said = azure.run("postdeploy", **other)
    assert said.returncode == 0
    assert "Whether it watches" in said.stdout
    return said.stdout + said.stderr


def test_a_stock_app_is_found_by_its_component_and_nothing_has_to_be_added(azure: Azure) -> None:
    said = told(azure)
    assert "Telemetry is found: appi-Sales, which calls itself unknown_service:python" in said
    assert "azd env set" not in said


def test_in_a_shared_component_the_line_to_add_is_printed_for_each_app(azure: Azure) -> None:
    azure.telemetry((COMPONENT, "sales-api"), (COMPONENT, "web"), (OTHER, "other"))
    said = told(azure)
    assert "Several apps write to appi-Sales" in said
    assert re.findall(r"azd env set (\w+) \"(.+)\"", said) == [
        ("WATCHED_ROLE_NAME", each) for each in ("sales-api", "web")
    ]
    assert "calls itself web" in told(azure, WATCHED_ROLE_NAME="web")


def test_a_role_name_that_nobody_has_is_said_with_those_that_there_are(azure: Azure) -> None:
    said = told(azure, WATCHED_ROLE_NAME="sales-api")
    assert "No telemetry calls itself sales-api" in said
    assert '  azd env set WATCHED_ROLE_NAME "unknown_service:python"\n' in said


def test_a_component_without_rows_is_said_with_those_that_have_some(azure: Azure) -> None:
    azure.telemetry((OTHER, "a"), (OTHER, "b"))
    said = told(azure)
    assert "No telemetry of appi-Sales" in said
    assert "azd env set WATCHED_APPLICATION_INSIGHTS_NAME NAME\n  appi-other\n" in said


def test_no_telemetry_yet_and_no_answer_are_no_failure(azure: Azure) -> None:
    azure.telemetry()
    assert "There is no telemetry of the last 7 days yet" in told(azure)
    azure.fails({"rest": 1})
    assert "The workspace was not asked" in told(azure)
    assert list(azure.scratch.iterdir()) == []


def test_the_question_is_one_that_a_workspace_answers_and_shows_no_letter_that_a_shell_reads(azure: Azure) -> None:
    azure.run("postdeploy")
    asked = json.loads((azure.home / "question").read_text())["query"]
    now = datetime(2026, 11, 20, 3, tzinfo=UTC)
    telemetry = EmbeddedTelemetry(resource=COMPONENT)
    for role in ("sales-api", '$(rm -rf ~)"`x`\x1b[2J', ""):
        telemetry.load("AppTraces", [{"TimeGenerated": now, "AppRoleName": role}])
    found = telemetry.ask(Query(asked, now - timedelta(days=7), now + timedelta(minutes=1)), TARGET)
    assert isinstance(found, Rows)
    roles = {str(row["role"]) for row in found.dicts()}
    assert "sales-api" in roles and "?" in roles and len(roles) == 3
    assert not [each for role in roles for each in role if each in '$()`"\x1b~[']
    assert {row["component"] for row in found.dicts()} == {COMPONENT.lower()}


def test_both_shells_ask_the_same_question() -> None:
    asked = [
        re.findall(r'^\{ "query": .*$', (HOOKS / f"postdeploy.{kind}").read_text(), re.M) for kind in ("sh", "ps1")
    ]
    assert asked[0] == asked[1] != []


# ── Both shells, and who calls them ───────────────────────────────────────────────────────────────────────────────────


def calls(path: Path) -> list[str]:
    """Return the calls of az in a script, as written: both shells write variables and quotes alike."""
    text = re.sub(r"(?m)^\s*#.*$", "", path.read_text(encoding="utf-8"))
    return [
        re.split(r"\)+; do|\)$| \|", each)[0].strip() for each in re.findall(r"\b(az [a-z]+ .*)$", text, re.MULTILINE)
    ]


def plain(call: str) -> str:
    return re.split(r" \|\| ", call)[0].rstrip("); do").strip()


@pytest.mark.parametrize("hook", NAMES)
def test_both_shells_call_azure_with_the_same_words(hook: str) -> None:
    posix, windows = ([plain(each) for each in calls(HOOKS / f"{hook}.{kind}")] for kind in ("sh", "ps1"))
    assert len(posix) >= 3
    assert posix == windows


@pytest.mark.parametrize("hook", NAMES)
def test_both_shells_read_the_same_settings_and_say_the_same(hook: str) -> None:
    posix, windows = ((HOOKS / f"{hook}.{kind}").read_text(encoding="utf-8") for kind in ("sh", "ps1"))
    assert set(re.findall(r"\$\{([A-Z_]+):", posix)) == set(re.findall(r"(?:Need|Either) '([A-Z_]+)'", windows))
    assert posix.split("\n")[1:3] == windows.split("\n")[:2]


@pytest.mark.parametrize("hook", NAMES)
def test_powershell_looks_at_how_each_call_ended(hook: str) -> None:
    """PowerShell goes on after a program has failed."""
    lines = [line.strip() for line in (HOOKS / f"{hook}.ps1").read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if re.search(r"\baz [a-z]+ ", line) and "#" not in line:
            assert "$LASTEXITCODE" in lines[number + 1], line


@pytest.mark.parametrize("hook", NAMES)
def test_a_plain_posix_shell_reads_it(hook: str) -> None:
    subprocess.run(["sh", "-n", str(HOOKS / f"{hook}.sh")], check=True)
    assert os.access(HOOKS / f"{hook}.sh", os.X_OK)


@pytest.mark.parametrize("hook", NAMES)
def test_shellcheck_finds_nothing(hook: str) -> None:
    linter = shutil.which("shellcheck", path=sysconfig.get_path("scripts"))
    if linter is None:
        pytest.skip("shellcheck is not here: make setup")
    subprocess.run([linter, str(HOOKS / f"{hook}.sh")], check=True)


@pytest.mark.parametrize("hook", NAMES)
def test_powershell_has_no_error_of_syntax(hook: str) -> None:
    grammar = pytest.importorskip("tree_sitter_powershell")
    import tree_sitter

    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    source = (HOOKS / f"{hook}.ps1").read_bytes()
    assert not parser.parse(source).root_node.has_error
    assert parser.parse(source.replace(b"try {", b"try {{", 1)).root_node.has_error


def azd() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    return found


def test_azd_runs_what_is_there_in_both_shells() -> None:
    assert set(azd()["hooks"]) == set(NAMES) == {path.stem for path in HOOKS.iterdir()}
    for name, hook in azd()["hooks"].items():
        assert hook["posix"] == {"shell": "sh", "run": f"./hooks/{name}.sh"}
        assert hook["windows"] == {"shell": "pwsh", "run": f"./hooks/{name}.ps1"}


def test_azd_deploys_one_function_app_from_this_folder() -> None:
    service = azd()["services"]["tocsin"]
    assert service == {"project": ".", "language": "python", "host": "function", "remoteBuild": True}
    assert azd()["requiredVersions"] == {"azd": ">= 1.24.0"}, "the first that builds remotely for Flex Consumption"
    assert azd()["infra"] == {"provider": "bicep", "path": "infra", "module": "main"}


# ── What the templates give and take ──────────────────────────────────────────────────────────────────────────────────

with_templates = pytest.mark.skipif(not (ROOT / "infra").is_dir(), reason="the templates are not here: infra/")


def bicep(name: str, word: str) -> set[str]:
    return set(re.findall(rf"^{word} (\w+) ", (ROOT / "infra" / name).read_text(encoding="utf-8"), re.MULTILINE))


@with_templates
def test_every_template_and_service_that_is_named_is_there() -> None:
    assert (ROOT / "infra" / "events.bicep").is_file() and (ROOT / "infra" / "main.bicep").is_file()
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "infra").rglob("*.bicep"))
    assert re.search(r"'azd-service-name': 'tocsin'", written)


@with_templates
def test_the_hooks_give_the_events_template_exactly_what_it_takes() -> None:
    script = (HOOKS / "postdeploy.sh").read_text(encoding="utf-8")
    assert set(re.findall(r'^  "(\w+)":', script, re.MULTILINE)) == bicep("events.bicep", "param")
    windows = (HOOKS / "postdeploy.ps1").read_text(encoding="utf-8")
    assert set(re.findall(r"^        (\w+) += @\{", windows, re.MULTILINE)) == bicep("events.bicep", "param")


@with_templates
def test_what_the_hooks_await_of_provisioning_is_what_it_gives() -> None:
    for hook in NAMES:
        text = (HOOKS / f"{hook}.sh").read_text(encoding="utf-8")
        awaited = set(re.findall(r"\$\{(\w+):\?is an output", text))
        assert awaited and awaited <= bicep("main.bicep", "output")


@with_templates
@pytest.mark.parametrize(("workflow", "job"), [("deploy", "deploy"), ("infra", "preview")])
def test_what_is_provisioned_from_github_is_given_every_parameter(workflow: str, job: str) -> None:
    """One that is not passed on would be put back to its default in production, by the next push."""
    parameters = (ROOT / "infra" / "main.parameters.json").read_text(encoding="utf-8")
    found = YAML(typ="safe").load((ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8"))
    (step,) = [each for each in found["jobs"][job]["steps"] if each.get("run", "").startswith("azd provision")]
    given = found["jobs"][job]["env"] | step["env"]
    wanted = set(re.findall(r"\$\{(\w+)", parameters)) - {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}
    secret = {"TEAMS_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY", "TOCSIN_LINK_SECRET"}
    assert wanted - set(given) == (secret if workflow == "infra" else set()), "a pull request gets no secret"
    assert not [name for name in secret if "vars." in given.get(name, "")], "a variable is read by everybody"
    for name, value in given.items():
        assert value in (f"${{{{ vars.{name} }}}}", f"${{{{ secrets.{name} }}}}")
