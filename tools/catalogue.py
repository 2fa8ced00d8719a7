"""Write the catalogues under ``docs/`` and ``schemas/`` from what the code and the shipped files say of themselves.

python -m tools.catalogue
"""

from __future__ import annotations

import importlib
from pathlib import Path

from tocsin import actuators, notifiers, signals
from tocsin.app import known
from tocsin.authoring.schema import schemas
from tocsin.core.action import Arg, Takes
from tocsin.core.signal import Configured, Gauge, Signal
from tocsin.scenarios import schema as scenarios
from tools import costs, coverage, listings, runbooks

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_MADE = "<!-- python -m tools.catalogue writes this page. -->\n"


def pages() -> dict[str, str]:
    """Return each page's text by its file name."""
    return {
        "signals.md": _signals(),
        "receivers.md": _receivers(),
        "actions.md": _actions(),
        "rules.md": listings.rules(),
        "settings.md": listings.settings(),
        "commands.md": listings.commands(),
        "coverage.md": coverage.page(),
        "costs.md": costs.page(),
        "operations.md": runbooks.filled((DOCS / "operations.md").read_text(encoding="utf-8")),
    }


def _signals() -> str:
    text = f"# Signals\n\n{_MADE}\nWhat a rule can measure with `signal:`, and which telemetry each one needs.\n"
    return text + "".join(map(_signal, signals.known().values()))


def _signal(signal: Signal) -> str:
    by = ", ".join(f"`{name}`" for name in signal.dimensions) or "nothing"
    text = f"\n## `{signal.name}`\n\n{signal.summary}\n\n- unit: {signal.unit}\n- `by`: {by}\n- needs: {signal.needs}\n"
    for source in signal.sources:
        if isinstance(source, Configured):
            text += "- also looks at the app's configuration, as the platform has it\n"
        elif isinstance(source, Gauge):
            text += f"- reads {source.meter}: {source.reading} ({source.fold})\n"
        else:
            text += f"\n```kusto\n{source.table}\n| where {source.where}\n| summarize {source.value}\n```\n"
    return text


def _receivers() -> str:
    text = f"# Receivers\n\n{_MADE}\nWho can be told: a `type` under `receivers` in `tocsin.yaml`, with its options.\n"
    for kind in notifiers.known():
        module = importlib.import_module(f"tocsin.notifiers.{kind}")
        options = "".join(f"- `{name}`{'' if needed else ' (optional)'}\n" for name, needed in module.OPTIONS.items())
        text += f"\n## `{kind}`\n\n{(module.__doc__ or '').strip()}\n\n" + (options or "- no options\n")
        text += _TEAMS if kind == "teams" else ""
    return text


def _actions() -> str:
    text = (
        f"# Actions\n\n{_MADE}\nWhat a policy can do with `do:`, where its target allows it, and what that changes.\n"
    )
    return text + _ROLE + "".join(_action(name, takes) for name, takes in sorted(actuators.known().items()))


def _action(name: str, takes: Takes) -> str:
    args = "".join(f"- `{each}`{_optional(arg, each, takes)}: {_taken(arg)}\n" for each, arg in takes.args.items())
    undone = "it can be taken back" if takes.undone else "it cannot be taken back"
    needs = ", ".join(f"`{each}`" for each in takes.needs)
    rest = f"- {undone}\n" + (f"- its identity needs {needs}\n" if needs else "")
    return f"\n## `{name}`\n\n{takes.changes}\n\n{args}{rest}"


def _optional(arg: Arg, name: str, takes: Takes) -> str:
    if name in takes.one_of:
        return f" (at least one of {', '.join(f'`{each}`' for each in takes.one_of)})"
    return "" if arg.needed else " (optional)"


def _taken(arg: Arg) -> str:
    return ", ".join(f"`{each}`" for each in arg.choices) or arg.says


_ROLE = """
Each is idempotent: the same order applied twice is applied once. Nothing is written unless the app was read twice
alike; what refuses says so in the platform's words. Give the identity that acts a custom role with the permissions
named here and nothing more, at the one app; the one that only reads is another. No action reads a secret's value.
Figures are absolute: a step up or down could not be told from its own repetition.
"""

_TEAMS = """
Fired, acted and resolved, as `make pictures` draws them from samples of a shipped rule (`tocsin render`). The renderer
is Microsoft's `adaptivecards`, which knows no `Chart.Line` and shows its fallback, the line of bars, as Teams on iOS
does; elsewhere Teams draws the value and its limit as two lines.

![A card of an alert that fired](cards/fired.png)
![A card of a killswitch that was engaged and proven](cards/acted.png)
![A card of an alert that ended while the killswitch is still on](cards/resolved.png)
"""


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")
    for name, text in {**schemas(known()), scenarios.NAME: scenarios.schema(known())}.items():
        (ROOT / "schemas" / name).write_text(text, encoding="utf-8")
        print(f"schemas/{name}")


if __name__ == "__main__":
    main()
