"""What a person decides about an action: consent to what was asked, decline it, or order a release.

Belongs here: what the command line and the links do alike. Does not belong here: who may decide, or doing it: a consent
lets the next tick go on, which asks the guard again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from tocsin.core import remedy
from tocsin.core.audit import LONGEST_NAME, Author, Record, person
from tocsin.core.config import Target
from tocsin.core.evidence import step
from tocsin.core.message import Kind
from tocsin.core.remedy import Consent, Execution, Phase
from tocsin.core.text import scrub
from tocsin.core.unreadable import lost
from tocsin.engine import switches
from tocsin.engine.reporting import Reporter
from tocsin.ports import Store


class Over(Exception):
    """What was asked is not a question any more; its words say why."""


def asked(store: Store, asks: str) -> Execution:
    """Return the execution that asks this. Raises ``Over`` when nothing is asked, or something else is."""
    execution = store.execution(asks.rpartition("#")[0])
    if execution is None or execution.phase is not Phase.ASKED:
        raise Over("it has been decided, or is not wanted any more")
    if execution.asks != asks:
        raise Over("its policy was changed since it was asked, and it is asked anew")
    if execution.consent is not None:
        raise Over(f"{execution.consent.by} consented at {execution.consent.at:%H:%M:%S} UTC")
    if all(each.episode != execution.episode or not each.open for each in store.open_alerts()):
        raise Over(_ended(store, execution.target))
    return execution


def _ended(store: Store, target: str) -> str:
    """Return that its alert has ended, or that this is not known: a stored alert of the target cannot be read."""
    unread = lost(store.unreadable(), "alert", target)
    return f"whether its alert still fires is not known: {unread[0]}" if unread else "its alert has ended"


def consent(reporter: Reporter, asks: str, by: Author, now: datetime) -> Execution:
    """Keep a person's consent; the next tick acts on it if the guard still permits. Raises ``Over``, ``Conflict``."""
    before, name = asked(reporter.store, asks), scrub(by.name, LONGEST_NAME)
    given = before.moved(Phase.ASKED, f"{name} consented", consent=Consent(name, now))
    reporter.save(given, _by(by, "consented", given, now))
    return given


def decline(reporter: Reporter, asks: str, by: Author, now: datetime) -> Execution:
    """Keep a person's no, which is for the whole episode, and have it told. Raises ``Over``, ``Conflict``."""
    before, name = asked(reporter.store, asks), scrub(by.name, LONGEST_NAME)
    no = before.moved(Phase.DECLINED, f"{name} declined it", ended=now)
    reporter.save(no, _by(by, "declined", no, now), reporter.news(no, Kind.ACTED, now))
    return no


def release(
    reporter: Reporter, target: Target, scope: str, by: str, identity: str, evidence: Mapping[str, str], now: datetime
) -> Execution:
    """Order a switch released; ticks carry it out and prove it. Raises ``Conflict`` when ``identity`` was ordered."""
    ordered = remedy.ordered(scrub(by, 100), identity, target, "killswitch.release", {"scope": scope}, now)
    entry = step("release intended", ordered, now)
    detail = {**entry.detail, **evidence, "scope": scope}
    reporter.save(ordered, replace(entry, detail=detail))
    switches.released(reporter.store, target, scope)
    return ordered


def _by(author: Author, event: str, execution: Execution, now: datetime) -> Record:
    entry = step(event, execution, now)
    return replace(entry, actor=person(author.name), detail={**entry.detail, **author.detail})
