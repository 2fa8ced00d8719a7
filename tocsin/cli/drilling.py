"""``tocsin drill killswitch``: a switch is tried in earnest on one target, and a report of it is kept."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import typer

from tocsin.app import App
from tocsin.cli.keeping import files_of
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop
from tocsin.cli.project import load_app
from tocsin.cli.switching import person, target_of
from tocsin.connections.http import Http, Unreached, checked
from tocsin.core import units
from tocsin.core.config import Target
from tocsin.core.container import SCOPES
from tocsin.core.drill import Report, Step
from tocsin.engine.drilling import Drill, Refused, Unread
from tocsin.engine.gripping import Hands, Plan
from tocsin.ports import StoreUnavailable

_CALL_WITHIN = 180.0
"""Seconds for which one request may be answered: an agent's work takes a while, and ends when nobody listens."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed."""

    name: str
    scope: str
    production: bool
    report: Path | None
    call: str
    body: Path | None
    watch: str
    skip: bool


def run(wanted: Wanted, root: Path | None, output: Output) -> None:
    """Drill; exit 1 when anything failed or was not proven, 2 when it is not to be begun, 3 when nothing answers."""
    app = load_app(root)
    target = _allowed(app, wanted)
    files = files_of(wanted.report)
    signals = _Signals()
    drill = Drill(app.engine, _plan(app, target, wanted), _hands(app, output, signals))
    try:
        with signals.caught():
            report = drill.run()
    except Refused as refused:
        stop(Exit.USAGE, f"no drill: {refused}")
    except (Unread, StoreUnavailable) as error:
        stop(Exit.NO_ANSWER, f"nothing was done: {error}")
    written = _write(report, files)
    _conclude(report, files if written else (), output)
    if not (report.good and written):
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def _allowed(app: App, wanted: Wanted) -> Target:
    if wanted.scope not in SCOPES:
        stop(Exit.USAGE, f"no scope '{wanted.scope}'; known: {', '.join(SCOPES)}")
    target = target_of(app, wanted.name)
    if target.production and not wanted.production:
        stop(Exit.USAGE, f"{target.name} is production (env: prod): a drill stops it in earnest; --yes-production does")
    return target


def _plan(app: App, target: Target, wanted: Wanted) -> Plan:
    now = app.clock.now()
    unusable = {
        name: each.message
        for each in app.problems
        if each.id == "unusable-receiver"
        for name in app.engine.project.config.receivers
        if f"receiver '{name}'" in each.message
    }
    identity = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    call = _caller(app, target, wanted.call, wanted.body)
    return Plan(identity, target, wanted.scope, person(), _watch(wanted.watch), call, unusable, wanted.skip)


def _watch(text: str) -> timedelta:
    try:
        length = units.duration(text)
    except ValueError as error:
        stop(Exit.USAGE, f"--watch: {error}")
    if not timedelta(minutes=1) <= length <= timedelta(hours=1):
        stop(Exit.USAGE, "--watch is from 1m to 1h: the switch is on all the while")
    return length


# The request


def _caller(app: App, target: Target, url: str, body: Path | None) -> Callable[[], tuple[bool, str]] | None:
    """Return what sends the one request; None when none is wanted. Exit 2 for one that may not be sent."""
    if not url and body is None:
        return None
    if not url or body is None:
        stop(Exit.USAGE, "--call and --body belong together")
    try:
        checked(url)
        content = body.read_bytes()
        json.loads(content)
    except (OSError, ValueError) as error:
        stop(Exit.USAGE, f"--call cannot be sent: {error}")
    others = [each.name for each in app.engine.project.config.targets if each != target and _host(url) in _hosts(each)]
    if others and _host(url) not in _hosts(target):
        stop(Exit.USAGE, f"--call goes to {others[0]}, which is not drilled")
    return lambda: _called(url, content)


def _called(url: str, content: bytes) -> tuple[bool, str]:
    """Send it and return the answer's status: what else the app says is not for a report."""
    http = Http(_CALL_WITHIN)
    try:
        answer = http.post(url, content=content, headers={"content-type": "application/json"})
    finally:
        http.close()
    if isinstance(answer, Unreached):
        return False, f"no answer: {answer.reason}"
    return True, f"one request was answered with {answer.status}; what became of it is in the telemetry"


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()


def _hosts(target: Target) -> set[str]:
    return {_host(probe.url) for probe in target.probes}


# How it is shown and kept


def _hands(app: App, output: Output, signals: _Signals) -> Hands:
    screen = console(stderr=output is Output.JSON)
    status = screen.status("")

    def begins(name: str) -> None:
        if screen.is_terminal:
            status.update(f"{name} …")
            status.start()

    def ended(step: Step) -> None:
        status.stop()
        took = (step.ended - step.began).total_seconds()
        words = f"{step.began:%H:%M:%S}  {step.name:<22} {step.result.value:<16} {took:6.1f} s  {step.evidence}"
        screen.print(words, markup=False, soft_wrap=True)

    return Hands(app.clock.now, lambda seconds: pause(seconds), begins, ended, signals.whole, signals.end)


def pause(seconds: float) -> None:
    """Wait for the platform, or for telemetry."""
    time.sleep(seconds)


def _write(report: Report, files: tuple[Path, ...]) -> bool:
    texts = (report.markdown(), json.dumps(report.as_dict(), indent=2) + "\n")
    try:
        for file, text in zip(files, texts, strict=False):
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        say(f"tocsin: the report could not be written: {error}\n{report.markdown()}", err=True)
        return False
    return True


def _conclude(report: Report, files: tuple[Path, ...], output: Output) -> None:
    if report.kept_for:
        say(f"tocsin: {report.target} stays engaged: {report.kept_for}", err=True)
    elif report.left_on:
        say(f"tocsin: the switch may still be ON. Release it by hand:\n{report.manual}", err=True)
    if output is Output.JSON:
        emit_json(report.as_dict())
        return
    open_ = [f"{step.name} is {step.result.value}" for step in report.steps if not step.result.good]
    say(f"{report.target}: drill {report.id}: {'proven' if report.good else 'NOT proven: ' + '; '.join(open_)}")
    for file in files:
        say(f"report: {file}")


# Interruption

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


_RELEASING = b"tocsin: the drill releases the switch now; it ends by itself, wait for it\n"


@dataclass(slots=True)
class _Signals:
    """Whatever wants to end this process ends the drill, once: while it releases, a further signal changes nothing."""

    ending: bool = False
    _held: int = 0
    _pending: bool = False
    _said: bool = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take signals while the block runs."""
        before = {each: signal.signal(each, self._got) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Put off an interruption until the block is done: nobody would know of a change that was half sent."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._pending:
            self._interrupt()

    def end(self) -> None:
        """Interrupt nothing from now on."""
        self.ending, self._pending = True, False

    def _got(self, _number: int, _frame: FrameType | None) -> None:
        if self.ending:
            self._say()
        elif self._held:
            self._pending = True
        else:
            self._interrupt()

    def _say(self) -> None:
        """Say once that it goes on: more might fill a pipe that nobody reads, and wait for ever."""
        if not self._said:
            self._said = True
            with suppress(OSError):
                os.write(2, _RELEASING)  # not by print: that may be what was interrupted

    def _interrupt(self) -> None:
        self.end()
        raise KeyboardInterrupt
