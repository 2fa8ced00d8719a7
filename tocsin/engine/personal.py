"""What a person decides about being told: to take an episode on, or not to hear of something for a while.

Belongs here: what the command line and the links in messages do alike. Does not belong here: who may decide it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from tocsin.core.ack import Acknowledgement, Used
from tocsin.core.audit import LONGEST_NAME, Author, Decided, Record, decided
from tocsin.core.group import Group
from tocsin.core.matching import spelled
from tocsin.core.message import NEWS, Fact, Kind, Notice, outbox
from tocsin.core.mute import Silence
from tocsin.core.text import scrub
from tocsin.ports import KEPT, Conflict, Store, StoreUnavailable

T = TypeVar("T")

_TRIES = 5
_LONGEST_COMMENT = 300
_NEWEST = 10_000


def acknowledge(store: Store, given: Acknowledgement, author: Author) -> Acknowledgement:
    """Record and keep an acknowledgement and have it told; one that is there already is replaced.

    Raises LookupError that says why when the episode is not open, ``Conflict`` when others never stop deciding it.
    """
    notice = told_of(store, given.episode)
    if notice is None:
        raise LookupError(f"no episode '{given.episode}' is open: it has ended, or there never was one")
    by, comment = scrub(given.by, LONGEST_NAME) or "somebody", scrub(given.comment, _LONGEST_COMMENT)
    given = replace(given, by=by, comment=comment)
    detail = {"until": given.until.isoformat(timespec="seconds"), "by": by, "reason": comment}
    entry = decided(Decided.ACKNOWLEDGED, author, notice.target, given.episode, detail, given.at)
    with _recorded(store, entry):
        return _keep(store, given, notice)


def _keep(store: Store, given: Acknowledgement, notice: Notice) -> Acknowledgement:
    for _ in range(_TRIES):
        before = store.kept(Acknowledgement).get(given.episode)
        with suppress(Conflict):
            news = outbox(announcement(given, notice), [NEWS], given.at)
            store.keep(Acknowledgement, given.episode, given, before.etag if before else None, news)
            tidy(store, Acknowledgement, lambda each: given.at - each.until > KEPT)
            return given
    raise Conflict(given.episode)


@contextmanager
def _recorded(store: Store, entry: Record) -> Iterator[None]:
    """Record a decision before it takes effect, and that it came to nothing when it did."""
    store.record(None, [entry])
    try:
        yield
    except (Conflict, StoreUnavailable) as error:
        with suppress(StoreUnavailable):
            why = {**entry.detail, "reason": f"{entry.event}: {type(error).__name__}"}
            store.record(None, [replace(entry, event=Decided.UNDONE.value, detail=why)])
        raise


def told_of(store: Store, episode: str) -> Notice | None:
    """Return what was told when the episode began; None unless it is open."""
    if all(each.episode != episode or not each.open for each in store.open_alerts()):
        return None
    members = (member for each in store.kept(Group).values() for member in each.value.members.values())
    found = next((each.notice for each in members if each.firing and each.notice.episode == episode), None)
    if found is not None:
        return found
    news = (each.notice for each in store.deliveries(_NEWEST) if each.receiver == NEWS)
    return next((each for each in news if each.episode == episode and each.begins), None)


def announcement(given: Acknowledgement, notice: Notice) -> Notice:
    """Return what receivers hear of an acknowledgement. ``notice`` is what they were told when the episode began."""
    then = next((fact.value for fact in notice.facts if fact.name == "Killswitch"), "")
    facts = [
        Fact("State", f"{Kind.ACKNOWLEDGED.value}, {notice.severity.value}"),
        Fact("By", given.by),
        Fact("Until", f"{given.until:%Y-%m-%d %H:%M} UTC: nobody is reminded or called before"),
        *([Fact("Comment", given.comment)] if given.comment else []),
        Fact("Target", notice.target),
        *([Fact("Killswitch", f"when it fired: {then}")] if then else []),
    ]
    return replace(
        notice,
        id=f"{given.episode}/{Kind.ACKNOWLEDGED.value}/{given.at:%Y%m%dT%H%M%S.%fZ}",
        kind=Kind.ACKNOWLEDGED,
        at=given.at,
        title=scrub(f"{given.by} has taken this on: {notice.title}", 300),
        text="",
        facts=tuple(facts),
        first_step="",
        manual="",
        query="",
        series=(),
        begins=False,
    )


def silence(store: Store, given: Silence, author: Author, now: datetime) -> Silence:
    """Record and keep a silence, once under its id; those that ended long ago are forgotten.

    Raises ``Conflict`` when another silence has that id.
    """
    name, comment = scrub(given.author, LONGEST_NAME) or "somebody", scrub(given.comment, _LONGEST_COMMENT)
    given = replace(given, author=name, comment=comment)
    if store.kept(Silence).get(given.id) is None:
        with _recorded(store, _of_silence(Decided.SILENCED, given, author, now)):
            return _kept(store, given, now)
    return _kept(store, given, now)


def _kept(store: Store, given: Silence, now: datetime) -> Silence:
    try:
        store.keep(Silence, given.id, given, None)
    except Conflict:
        found = store.kept(Silence).get(given.id)
        if found is None or found.value.matchers != given.matchers:
            raise
        return found.value
    tidy(store, Silence, lambda each: now - each.ends > KEPT)
    return given


def expire(store: Store, identity: str, author: Author, now: datetime) -> Silence:
    """Record that a silence ends and end it now.

    Raises LookupError when none of that id is in force, ``Conflict`` when somebody was faster.
    """
    found = store.kept(Silence).get(identity)
    if found is None or found.value.ends <= now:
        raise LookupError(f"no silence '{identity}' is in force")
    ended = replace(found.value, ends=now, ended_by=scrub(author.name, LONGEST_NAME) or "somebody")
    with _recorded(store, _of_silence(Decided.UNSILENCED, ended, author, now)):
        store.keep(Silence, identity, ended, found.etag)
    return ended


def _of_silence(event: Decided, silence: Silence, author: Author, now: datetime) -> Record:
    detail = {
        "matchers": spelled(silence.matchers),
        "until": silence.ends.isoformat(timespec="seconds"),
        "author": silence.author,
        "actions": "silenced, too" if silence.actions else "",
        "reason": silence.comment,
    }
    return decided(event, author, "", silence.id, detail, now)


def use(store: Store, token: str, now: datetime) -> bool:
    """Use a link up; return whether it was unused. Of two at once one is told so."""
    try:
        store.keep(Used, token, Used(token, now), None)
    except Conflict:
        return False
    tidy(store, Used, lambda each: now - each.at > KEPT)
    return True


def unuse(store: Store, token: str) -> None:
    """Let a link be used after all: what it was for could not be done."""
    found = store.kept(Used).get(token)
    if found is not None:
        with suppress(Conflict):
            store.keep(Used, token, None, found.etag)


def tidy(store: Store, kind: type[T], over: Callable[[T], bool]) -> None:
    """Forget what is over. Never raises: what was decided before has been kept, and somebody else will tidy up."""
    with suppress(Conflict, StoreUnavailable):
        for key, kept in store.kept(kind).items():
            if over(kept.value):
                store.keep(kind, key, None, kept.etag)
