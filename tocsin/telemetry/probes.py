"""Whether a target answers at all: its addresses are asked from outside, and so is the approver of its side effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tocsin.connections.http import Looked, look
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Probe, Target
from tocsin.core.container import SECRET, Revision
from tocsin.core.gauge import Reading
from tocsin.ports import Configuration

_AT_ONCE = 8
_APPROVER_WITHIN = timedelta(seconds=10)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class HttpProbes:
    """Asks each of a target's ``probes`` with a GET, over a connection of its own."""

    now: Callable[[], datetime] = _now

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading]:  # noqa: ARG002
        """Return, by ``probe``: ``failures`` (1 or 0), ``latency`` (ms) and ``certificate_days``, where there are."""
        if not target.probes:
            return ()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [each for readings in pool.map(self._probe, target.probes) for each in readings]

    def _probe(self, probe: Probe) -> list[Reading]:
        found = look(probe.url, probe.within.total_seconds())
        return list(self._said(probe, found, {"probe": probe.name}))

    def _said(self, probe: Probe, found: Looked, of: dict[str, str]) -> Iterator[Reading]:
        wrong = _wrong(probe, found)
        yield Reading("failures", float(bool(wrong)), of, detail=f"{probe.name}: {wrong}" if wrong else "")
        if found.status:
            yield Reading("latency", found.seconds * 1000, of, detail=probe.name)
        if found.expired:
            yield Reading("certificate_days", 0.0, of, detail=f"{probe.name}: the certificate has expired")
        elif found.certificate_ends:
            left = (found.certificate_ends - self.now()) / timedelta(days=1)
            yield Reading("certificate_days", left, of, detail=f"{probe.name}: until {found.certificate_ends:%Y-%m-%d}")


def _wrong(probe: Probe, found: Looked) -> str:
    """Return what is wrong with a probe's answer, or an empty text."""
    if not found.status:
        return found.failure
    if found.status != probe.status:
        return f"HTTP {found.status}, not {probe.status}"
    return f"took {found.seconds:.1f} s" if found.seconds > probe.within.total_seconds() else ""


@dataclass(frozen=True, slots=True)
class ApproverProbe:
    """Asks whether the approver of a production target can be reached, at the address its serving revisions have.

    With a GET, which decides nothing: any answer but a server's own failure says that somebody is there.
    """

    configuration: Configuration

    def read(
        self,
        target: Target,
        reading: str,
        start: datetime,  # noqa: ARG002
        end: datetime,  # noqa: ARG002
    ) -> Sequence[Reading] | NoAnswer:
        """Return ``reading`` as 1 for each revision whose approver cannot be reached and 0 for the others.

        A revision without an address has no approver to be reached; that is another signal's business.
        """
        if not (target.production and target.side_effect_tools and target.container_app):
            return ()
        app = self.configuration.read(target)
        if isinstance(app, NoAnswer):
            return app
        return [found for each in app.serving if (found := _approver(reading, each)) is not None]


def _approver(reading: str, revision: Revision) -> Reading | None:
    url, of = revision.env.get("HITL_APPROVER_ENDPOINT", "").strip(), {"revision": revision.name}
    if not url:
        return None
    if url == SECRET:
        return Reading(reading, None, of, why=Why.FORBIDDEN.value)
    found = look(url, _APPROVER_WITHIN.total_seconds())
    wrong = found.failure if not found.status else f"HTTP {found.status}" if found.status >= 500 else ""
    return Reading(reading, float(bool(wrong)), of, detail=f"{revision.name}: {wrong}" if wrong else "")
