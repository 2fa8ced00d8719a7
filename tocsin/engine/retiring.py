"""Ending the alerts of rules and targets that the operator took away: whoever was paged hears that it is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import compress

from tocsin.core.alert import Alert, rule_changed
from tocsin.core.failing import Subject
from tocsin.core.message import NEWS, Delivery, Kind, outbox
from tocsin.core.native import IDS, remembered
from tocsin.core.read import Project
from tocsin.core.schedule import asleep, selects
from tocsin.core.sight import BUILT_IN
from tocsin.engine.failing import Failures
from tocsin.ports import Conflict, Log, Store


@dataclass(frozen=True, slots=True)
class Retirer:
    """Resolves alerts that nothing evaluates any more. Only when every file could be read: a typo must not resolve."""

    project: Project
    store: Store
    log: Log
    failures: Failures = field(default_factory=Failures)

    def retire(self, now: datetime) -> int:
        """End every orphaned alert; return how many there were."""
        if self.project.problems:
            return 0
        alerts = self.store.open_alerts()
        orphaned = self.failures.each(alerts, _subject, lambda alert: not self._watched(alert, now), False)
        orphans = list(compress(alerts, orphaned))
        begun = self._begun() if orphans else {}
        return sum(self.failures.each(orphans, _subject, lambda alert: self._end(alert, begun, now), False))

    def _begun(self) -> Mapping[str, list[Delivery]]:
        """Return the news that began an episode, by episode. Read once: a rule that is taken away may have hundreds."""
        found = defaultdict[str, list[Delivery]](list)
        for each in self.store.deliveries(10_000):
            if each.receiver == NEWS and each.notice.begins:
                found[each.notice.episode].append(each)
        return found

    def _watched(self, alert: Alert, now: datetime) -> bool:
        if alert.rule in IDS:
            return remembered(alert, now)
        rule = next((each for each in (*BUILT_IN, *self.project.rules) if each.id == alert.rule), None)
        target = next((each for each in self.project.config.targets if each.name == alert.target), None)
        if rule is None or target is None:
            return False
        return not asleep(self.project.held_to(rule, target.name), now) and selects(rule, target)

    def _end(self, alert: Alert, begun: Mapping[str, list[Delivery]], now: datetime) -> bool:
        etag = self.store.load(alert.rule, alert.target).etag
        ended, _ = rule_changed(alert, now)
        news = _resolutions(begun.get(alert.episode, []), now) if alert.open else []
        try:
            self.store.commit(alert.rule, alert.target, [ended], news, etag)
        except Conflict:
            return False
        self.log.warning("alert retired", rule=alert.rule, target=alert.target, episode=alert.episode)
        return True


def _subject(alert: Alert) -> Subject:
    return Subject("retiring of", alert.rule, alert.target)


def _resolutions(begun: Iterable[Delivery], now: datetime) -> list[Delivery]:
    """Return the end of an episode for each piece of news that began it."""
    found: list[Delivery] = []
    for each in begun:
        identity = f"{each.notice.episode}/{Kind.RESOLVED.value}/retired"
        title = f"Resolved: its rule is gone, off, or not for this target. Before that: {each.notice.title}"
        notice = replace(each.notice, id=identity, kind=Kind.RESOLVED, at=now, title=title, begins=False)
        found += outbox(notice, [each.receiver], now)
    return found
