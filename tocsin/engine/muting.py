"""What mutes in one round of notifications. A silence that fails by itself mutes nothing, and the others still do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import compress
from typing import Any

from tocsin.core.ack import Acknowledgement, in_force
from tocsin.core.config import Config
from tocsin.core.failing import Subject
from tocsin.core.group import Group
from tocsin.core.matching import Labels, indexed
from tocsin.core.message import labels_of
from tocsin.core.mute import Muting, Silence
from tocsin.engine.failing import Failures
from tocsin.ports import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Careful(Muting):
    """Everything that mutes at one moment, each part by itself: where one cannot be asked, people are notified."""

    failures: Failures

    def reason(self, labels: Labels, now: datetime) -> str:
        """Return why an alert with these labels is not told, or an empty text."""
        return self.failures.attempt(Subject("silence", "(all)"), partial(Muting.reason, self, labels, now), "")

    def _inhibited(self, labels: Labels, now: datetime) -> str:
        every = ((Subject("silence", f"inhibition {number + 1}"), each) for number, each in enumerate(self.inhibits))
        parts = ((subject, replace(self, inhibits=[each], _inhibited_at={})) for subject, each in every)
        return self._first(Muting._inhibited, parts, labels, now)

    def _quieted(self, labels: Labels, now: datetime) -> str:
        parts = ((Subject("silence", f"quiet hours {each.name}"), Muting(quiet=[each])) for each in self.quiet)
        return self._first(Muting._quieted, parts, labels, now)

    def _silenced(self, labels: Labels, now: datetime) -> str:
        parts = ((Subject("silence", each.id), Muting(silences=[each])) for each in self.silences)
        return self._first(Muting._silenced, parts, labels, now)

    def _first(
        self, ask: Callable[[Muting, Labels, datetime], str], parts: Iterable[tuple[Subject, Muting]], *given: Any
    ) -> str:
        """Return what all parts together say; where that fails, the first that says something by itself."""
        try:
            return ask(self, *given)
        except Exception:
            found = (self.failures.attempt(subject, partial(ask, part, *given), "") for subject, part in parts)
            return next(filter(None, found), "")


def firing(config: Config, store: Store, groups: Iterable[Group], failures: Failures) -> list[Labels]:
    """Return the labels of everything that fires, where it can inhibit anything.

    A target's alerts inhibit nothing while one of them cannot be read: its end would not be seen.
    """
    every = groups if config.inhibit else ()
    lost = [each for each in store.unreadable() if each.what == "alert"]
    found = (
        failures.attempt(Subject("group", f"{group.id} {key}"), partial(labels_of, member.notice), None)
        for group in every
        for key, member in group.members.items()
        if member.firing and not any(each.may_be_about(member.notice.target) for each in lost)
    )
    return [labels for labels in found if labels is not None]


def careful(config: Config, store: Store, firing: Sequence[Labels], now: datetime, failures: Failures) -> Careful:
    """Return everything that mutes at ``now``. ``firing`` are the labels of what fires, which is what inhibits."""
    written = [
        failures.attempt(Subject("silence", f"{number + 1} of the file"), partial(each.silence, number), None)
        for number, each in enumerate(config.silences)
    ]
    kept = failures.attempt(Subject("silence", "(stored)"), lambda: store.kept(Silence), {})
    stored = [each.value for each in kept.values()]
    known = [each for each in (*written, *stored) if each is not None]
    lasting = failures.each(known, _subject, partial(_lasts, now), False)
    silences = list(compress(known, lasting))
    inhibits, quiet = [each.rule for each in config.inhibit], [each.hours for each in config.quiet_hours]
    return Careful(inhibits, quiet, silences, firing, failures=failures)


def acknowledged(store: Store, now: datetime, failures: Failures) -> frozenset[str]:
    """Return the episodes that somebody has taken on."""
    kept = failures.attempt(Subject("acknowledgement", "(stored)"), lambda: store.kept(Acknowledgement), {})
    return frozenset(
        each.value.episode
        for each in kept.values()
        if failures.attempt(Subject("acknowledgement", each.value.episode), partial(in_force, each.value, now), False)
    )


def _subject(silence: Silence) -> Subject:
    return Subject("silence", silence.id)


def _lasts(now: datetime, silence: Silence) -> bool:
    """Return whether a silence has not ended. Raises if its matchers cannot be indexed, which would fail all others."""
    indexed([silence.matchers])
    return now < silence.ends
