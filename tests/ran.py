"""Whether the tests that a page names ran: a promise that nobody keeps must not look kept.

A session that was asked to run a test of the list, and did not pass it, fails, whatever became of the others. One that
was asked for something else (a single test, a keyword, a marker) is judged by what it ran alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAGE = "docs/failure-modes.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")


def named(page: Path) -> list[str]:
    """Return the tests that a page names, as ``path::name``, in its order."""
    return _NAMED.findall(page.read_text(encoding="utf-8")) if page.is_file() else []


@dataclass(eq=False)
class Ran:
    """A plugin that hears of every test. With several workers it listens where their reports come together."""

    root: Path
    wanted: list[str]
    outcomes: dict[str, set[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what came of one phase of a test; of one with parameters, what came of each."""
        if report.when == "call" or not report.passed:
            said = "expected to fail" if hasattr(report, "wasxfail") else report.outcome
            self.outcomes.setdefault(report.nodeid.partition("[")[0], set()).add(said)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Let the session fail when it was asked for a test of the list that did not pass."""
        config = session.config
        if hasattr(config, "workerinput") or config.option.collectonly or exitstatus != pytest.ExitCode.OK:
            return
        expected = [each for each in self.wanted if each in self.outcomes or self._selected(each, config)]
        self.missing = [each for each in expected if self.outcomes.get(each) != {"passed"}]
        if self.missing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _selected(self, wanted: str, config: pytest.Config) -> bool:
        """Return whether the session was asked for everything where the test is."""
        option, given = config.option, config.invocation_params.args
        part = [option.keyword, option.markexpr, option.deselect, option.ignore, option.ignore_glob]
        if any(part) or any("::" in str(each) for each in given) or getattr(option, "lf", False):
            return False
        path = self.root / wanted.partition("::")[0]
        asked = [(config.invocation_params.dir / each).resolve() for each in config.args]
        return any(path == each or each in path.parents for each in asked)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which."""
        for each in self.missing:
            came = ", ".join(sorted(self.outcomes.get(each, ()))) or "not run"
            terminalreporter.write_line(f"{PAGE} names {each}, which did not pass here: {came}", red=True)
