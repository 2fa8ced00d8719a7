"""The catalogues of what can be set, evaluated and called: ``docs/{rules,settings,commands}.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from tocsin.cli.commands import program
from tocsin.settings import KNOWN
from tools import runbooks

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- python -m tools.catalogue writes this page. -->\n"


def rules() -> str:
    """Return the page of the shipped rules and policies."""
    text = f"# Rules and policies\n\n{MADE}\n{_RULES}\n| rule | breached | for | every | policies | runbook |\n"
    text += "|---|---|---|---|---|---|\n" + "".join(map(_rule, runbooks.files("rules")))
    text += "\n## Policies\n\n| policy | what it does | answers | mode | actions |\n|---|---|---|---|---|\n"
    return text + "".join(map(_policy, runbooks.files("remediations")))


def _rule(name: str) -> str:
    rule = runbooks.files("rules")[name]
    place = rule["runbook"].removeprefix("docs/")
    cells = [
        f"[`{name}`](../rules/{name}.yaml) {rule['severity']}",
        runbooks.condition(rule["when"]),
        rule.get("for", "0s"),
        rule.get("every", "1m"),
        ", ".join(runbooks.answers(name)) or "none",
        f"[{place.partition('#')[2]}]({place})",
    ]
    return f"| {' | '.join(cells)} |\n"


def _policy(name: str) -> str:
    policy = runbooks.files("remediations")[name]
    on = policy["on"]
    labels = ", ".join(f"`{key}: {value}`" for key, value in on.get("labels", {}).items())
    meant = f"`{on['rule']}`" if "rule" in on else on.get("severity") or labels
    steps = ", ".join(f"[`{key}`](actions.md)" for step in policy["do"] for key in step if "." in key)
    mode = policy["guard"]["mode"] + (", off as shipped" if policy.get("enabled") == "false" else "")
    waits = f", firing for {on['firing_for']}" if "firing_for" in on else ""
    return f"| [`{name}`](../remediations/{name}.yaml) | {policy['summary']} | {meant}{waits} | {mode} | {steps} |\n"


def settings() -> str:
    """Return the page of app settings."""
    example = json.loads((ROOT / "local.settings.example.json").read_text(encoding="utf-8"))["Values"]
    text = f"# App settings\n\n{MADE}\n{_SETTINGS}\n## Read by Tocsin\n\n"
    text += "| setting | what it is | default |\n|---|---|---|\n"
    for name, known in KNOWN.items():
        text += f"| `{name}` | {known.meaning} | {f'`{known.default}`' if known.default else 'none'} |\n"
    text += "\n## Named by the files\n\n| setting | where | example |\n|---|---|---|\n"
    for name, where in sorted(named().items()):
        shown = f"`{example[name]}`" if example.get(name) else "none: a secret, or yours alone"
        text += f"| `{name}` | {', '.join(f'`{each}`' for each in where)} | {shown} |\n"
    text += f"\n## Read by infra/\n\n{_INFRA}\n| name | what it is | default |\n|---|---|---|\n"
    for name, (words, default) in provisioned().items():
        text += f"| `{name}` | {words} | {f'`{default}`' if default else 'none'} |\n"
    return text + _HOST


def provisioned() -> dict[str, tuple[str, str]]:
    """Return what ``azd env set`` can say of the infrastructure: each name with its meaning and its default."""
    bicep = (ROOT / "infra" / "main.bicep").read_text(encoding="utf-8")
    meant = {
        name: words.replace("\\'", "'")
        for words, name in re.findall(r"@description\('((?:[^'\\]|\\.)*)'\)\n(?:@.*\n)*param (\w+)", bicep)
    }
    given = json.loads((ROOT / "infra" / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    found = {}
    for parameter, value in given.items():
        if match := re.fullmatch(r"\$\{(\w+)(?:=(.*))?\}", str(value["value"])):
            found[match[1]] = (meant.get(parameter, ""), match[2] or "")
    return found


def named() -> dict[str, list[str]]:
    """Return the settings that files of operators name, ``${NAME}`` or ``…_setting: NAME``, and the files."""
    found: dict[str, list[str]] = {}
    for path in (ROOT / "tocsin.yaml", *sorted((ROOT / "remediations").glob("*.yaml"))):
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        names = re.findall(r"(?<!\$)\$\{(\w+)\}", text) + re.findall(r"_setting: *(\w+)", text)
        for name in dict.fromkeys(names):
            found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def commands() -> str:
    """Return the page of commands with their options."""
    text = f"# Commands\n\n{MADE}\n{_COMMANDS}"
    return text + "".join(_command(name, each) for name, each in every_command())


def every_command() -> Iterator[tuple[str, Any]]:
    """Yield each command by its full name."""
    root: Any = typer.main.get_command(program)
    ahead = [(name, command) for name, command in sorted(root.commands.items(), reverse=True)]
    while ahead:
        name, command = ahead.pop()
        if hasattr(command, "commands"):
            ahead += [(f"{name} {sub}", each) for sub, each in sorted(command.commands.items(), reverse=True)]
        else:
            yield name, command


def _command(name: str, command: Any) -> str:
    words = " ".join((command.help or "").split())
    text = f"\n## `tocsin {name}`\n\n{words}\n\n| | |\n|---|---|\n"
    return text + "".join(_parameter(each) for each in command.params if each.name != "help")


def _parameter(each: Any) -> str:
    if each.param_type_name == "argument":
        shown = f"`{(each.metavar or each.name or '').upper()}`" + ("" if each.required else " (optional)")
    else:
        shown = ", ".join(f"`{option}`" for option in (*each.opts, *each.secondary_opts))
        shown += " (needed)" if each.required else ""
    words = " ".join((each.help or "").split()).replace("|", "\\|")
    default = each.default if isinstance(each.default, str | int | float) and not isinstance(each.default, bool) else ""
    said = f"; default: `{default}`" if default != "" and "default" not in words.lower() else ""
    return f"| {shown} | {words.rstrip('.')}{said} |\n"


_RULES = """Every rule and policy that is shipped. A rule is a file under `rules/`, a policy one under
`remediations/`; their keys are in [files](files.md), what is measured in [signals](signals.md), what is
done in [actions](actions.md).
"""
_SETTINGS = """Set in the function app (`infra/` does, from `azd env set`; see [deploying](deploying.md)), and for the
command line in `local.settings.json` or the environment. Secrets are references to Key Vault there;
nothing in the files holds one.
"""
_INFRA = """Set by `azd env set NAME VALUE` before `azd up`. What is a list or an object (`moreTargets`,
`extraSettings`, `privateDnsZoneIds`) stands in `infra/main.parameters.json` itself.
"""
_HOST = """
## Read by the Functions host

`AzureWebJobsStorage` (or `AzureWebJobsStorage__…` with an identity) is where the host keeps its timer's
lease and its queues. `FUNCTIONS_WORKER_RUNTIME` is for this machine only: Flex Consumption refuses it.
`WEBSITE_AUTH_ENABLED` is set by App Service when its sign-in is on, and never by hand.
"""
_COMMANDS = """Every command with its options, as the program has them; [the command line](cli.md) says what they are
for. All take `--help`; exit codes are [there](cli.md#exit-codes).
"""
