"""``docs/coverage.md``: everything the runbooks ask for, and the rule, scenario, policy and runbook that answer it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tools import runbooks

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("from", "asked", "severity", "told")


@cache
def data() -> Mapping[str, Any]:
    """Return ``tools/coverage.yaml``."""
    found: Mapping[str, Any] = runbooks.written(ROOT / "tools" / "coverage.yaml")
    return found


def asked_in(text: str) -> list[tuple[str, ...]]:
    """Return the rows of the runbooks' table in a page; one without a source has that of the row above it."""
    table = text.partition("| from | signal and threshold |")[2].splitlines()[2:]
    rows, source = [], ""
    for line in table:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        source = cells[0] or source
        rows.append((source, *cells[1:]))
    return rows


def rows() -> list[tuple[str, ...]]:
    """Return what is asked for, as the runbooks' table has it."""
    return [tuple(row[column] for column in COLUMNS) for row in data()["rows"]]


def lines() -> Iterator[tuple[str, ...]]:
    """Yield each line of the page: source, what is asked, severity, what answers it, its proof, policy and runbook."""
    for row in data()["rows"]:
        begins = (row["from"], row["asked"], row["severity"])
        for name in row.get("rules", ()):
            yield (*begins, *_rule(name))
        for other in row.get("instead", ()):
            test = f"[{Path(other['proof']).name}](../{other['proof']})"
            place = other["runbook"]
            yield (*begins, other["what"], test, other["policy"], f"[{place.partition('#')[2]}]({place})")


def _rule(name: str) -> tuple[str, ...]:
    rule = runbooks.files("rules")[name]
    cases = len(runbooks.files("tests/rules")[name]["cases"])
    policies = ", ".join(runbooks.answers(name))
    own = [each for each in runbooks.answers(name) if "`notify_partner`" not in each]
    why = "" if own else data()["without"][name]
    told = "; ".join(filter(None, [why and f"none acts: {why}", policies]))
    place = rule["runbook"].removeprefix("docs/")
    return (
        f"[`{name}`](../rules/{name}.yaml) ({rule['severity']})",
        f"[{cases} scenarios](../tests/rules/{name}.yaml)",
        told,
        f"[{place.partition('#')[2]}]({place})",
    )


def page() -> str:
    """Return ``docs/coverage.md``."""
    heads = ("from", "asked for", "severity → to", "answered by", "shown by", "policy", "runbook")
    text = _HEAD + f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
    body = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines())
    named = set(re.findall(r"rules/([a-z0-9_]+)\.yaml\) \(", body))
    rest = [name for name in runbooks.files("rules") if name not in named]
    others = ", ".join(f"`{name}`" for name in rest)
    return text + body + (f"\nBesides, nobody asked for: {others}.\n" if rest else "")


_HEAD = """# What was asked for, and what answers it

<!-- python -m tools.catalogue writes this page. -->

The runbooks of the accelerator and of three other agent platforms ask for these signals. Each line
names the rule that is shipped for it, the scenarios that show when it fires and when not, the policies
that answer it, and its runbook. Where they give a number it is the rule's; where they give none, the
rule's file says whose number it is. Yours go under `tuning:`.

"""
