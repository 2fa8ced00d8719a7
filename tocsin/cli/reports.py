"""Problems in the forms that other programs read: GitHub's annotations, SARIF 2.1.0 and JUnit's XML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree

from tocsin import __version__
from tocsin.cli.output import harmless
from tocsin.core.errors import Problem, printable

MOST = 10
"""Annotations of a kind that GitHub shows of one step; what is more it drops without a word."""

_SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_PAGE = "docs/problems.md"


class Report(StrEnum):
    """The forms of what ``tocsin check`` found."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"
    JUNIT = "junit"


def worst_first(problems: Sequence[Problem]) -> list[Problem]:
    """Return errors before warnings, each by place."""
    return sorted(problems, key=lambda each: (not each.is_error, each))


def github(problems: Sequence[Problem], prefix: str = "") -> str:
    """Return workflow commands: ten of a kind, the worst first, and a line that says how many more there are.

    ``prefix`` is where the folder stands in the repository, for GitHub names files from there.
    """
    lines = []
    for severity in ("error", "warning"):
        found = [each for each in worst_first(problems) if each.severity == severity]
        shown, rest = (found[:MOST], len(found) - MOST) if len(found) > MOST else (found, 0)
        lines += [_annotation(each, prefix) for each in shown]
        if rest:
            lines.append(f"{rest} more of kind {severity}, which GitHub would not show:")
            lines += [harmless(printable(f"  {each.path}:{each.line}:{each.column} {each.id}: {each.message}"))
                      for each in found[MOST:]]  # fmt: skip
    return "\n".join(lines)


def _annotation(problem: Problem, prefix: str) -> str:
    place = {
        "file": f"{prefix}{problem.path}",
        "line": str(problem.line),
        "col": str(problem.column),
        "endColumn": str(problem.column + problem.width),
        "title": problem.id,
    }
    given = ",".join(f"{key}={_property(value)}" for key, value in place.items())
    return f"::{problem.severity} {given}::{_data(_sentence(problem))}"


def _sentence(problem: Problem) -> str:
    return printable(f"{problem.message} ({problem.hint})" if problem.hint else problem.message)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")


def sarif(problems: Sequence[Problem], prefix: str = "") -> str:
    """Return a SARIF 2.1.0 log of one run."""
    ids = sorted({each.id for each in problems})
    rules = [{"id": name, "shortDescription": {"text": _title(name)}, "help": _help(name)} for name in ids]
    driver = {"name": "Tocsin", "version": __version__, "rules": rules}
    results = [_result(each, ids.index(each.id), prefix) for each in worst_first(problems)]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2)


def _help(name: str) -> dict[str, str]:
    return {"text": f"See {_PAGE}, section {name}."}


def _title(name: str) -> str:
    return name.replace("-", " ").capitalize() + "."


def _result(problem: Problem, index: int, prefix: str) -> dict[str, Any]:
    line, column = problem.line, problem.column
    region = {"startLine": line, "startColumn": column, "endColumn": column + problem.width}
    place = {"artifactLocation": {"uri": f"{prefix}{problem.path}", "uriBaseId": "%SRCROOT%"}, "region": region}
    return {
        "ruleId": problem.id,
        "ruleIndex": index,
        "level": problem.severity,
        "message": {"text": _sentence(problem)},
        "locations": [{"physicalLocation": place}],
    }


def junit(problems: Sequence[Problem], files: Sequence[str], *, strict: bool = False) -> str:
    """Return JUnit's XML: a case for every file, failed by its errors (and, if ``strict``, by its warnings)."""
    suite = ElementTree.Element("testsuite", name="tocsin check")
    failed = 0
    for path in sorted({*files, *(each.path for each in problems)}):
        found = [each for each in worst_first(problems) if each.path == path]
        bad = [each for each in found if strict or each.is_error]
        case = ElementTree.SubElement(
            suite, "testcase", classname="tocsin.check", name=printable(path), file=printable(path), time="0"
        )
        failed += bool(bad)
        if bad:
            failure = ElementTree.SubElement(case, "failure", type=bad[0].id, message=_sentence(bad[0]))
            failure.text = "\n".join(map(_line, bad))
        rest = [each for each in found if each not in bad]
        if rest:
            ElementTree.SubElement(case, "system-out").text = "\n".join(map(_line, rest))
    count = str(len(suite))
    suite.attrib.update(tests=count, failures=str(failed), errors="0", skipped="0", time="0")
    whole = ElementTree.Element("testsuites", tests=count, failures=str(failed), errors="0", time="0")
    whole.append(suite)
    ElementTree.indent(whole)
    return ElementTree.tostring(whole, encoding="unicode", xml_declaration=True)


def _line(problem: Problem) -> str:
    place = f"{printable(problem.path)}:{problem.line}:{problem.column}"
    return f"{place}: {problem.severity}[{problem.id}]: {_sentence(problem)}"


def lines(
    report: Report, problems: Sequence[Problem], files: Sequence[str], prefix: str, *, strict: bool
) -> Iterator[str]:
    """Yield the report in one of the forms for programs other than JSON."""
    if report is Report.GITHUB:
        yield github(problems, prefix)
    elif report is Report.SARIF:
        yield sarif(problems, prefix)
    elif report is Report.JUNIT:
        yield junit(problems, files, strict=strict)
