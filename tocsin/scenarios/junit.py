"""A report in the XML that build servers read: JUnit's, a suite a rule and a test a case."""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree

from tocsin.scenarios.suite import Report, Result
from tocsin.scenarios.timeline import moment

_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(report: Report) -> bytes:
    """Return the report as a document in UTF-8."""
    top = ElementTree.Element("testsuites", {"name": "tocsin test", **_counts(report.results)})
    for rule, some in groupby(report.results, key=lambda each: each.wanted.scenarios.rule):
        results = tuple(some)
        suite = ElementTree.SubElement(top, "testsuite", {"name": rule, **_counts(results)})
        for result in results:
            _case(suite, result)
    found: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return found


def _counts(results: tuple[Result, ...]) -> dict[str, str]:
    failures = sum(not each.played.passed for each in results)
    seconds = sum(each.played.seconds for each in results)
    return {"tests": str(len(results)), "failures": str(failures), "errors": "0", "time": f"{seconds:.3f}"}


def _case(suite: ElementTree.Element, result: Result) -> None:
    wanted, played = result.wanted, result.played
    about = {"classname": wanted.scenarios.rule, "name": _plain(wanted.case.name), "time": f"{played.seconds:.3f}"}
    case = ElementTree.SubElement(suite, "testcase", about, file=wanted.read.file, line=str(wanted.line))
    if not played.passed:
        told = failures(result)
        ElementTree.SubElement(case, "failure", message=_plain(told[0])).text = _plain("\n".join(told))


def failures(result: Result) -> list[str]:
    """Return what did not come as expected, a line each."""
    found = []
    for number, miss in result.played.misses:
        expect, line = result.wanted.case.expect[number], result.wanted.line_of(number)
        about = f" of {expect.rule}" if expect.rule else ""
        found.append(f"at {moment(expect.at)} (line {line}): {miss.what}{about}: expected {miss.expected}, "
                     f"got {miss.got}")  # fmt: skip
    return [*found, *(f"the engine failed: {each}" for each in result.played.trouble)]


def _plain(text: str) -> str:
    return _FORBIDDEN.sub("·", text)
