"""What a link in a message opens: a page that says what would happen, and a button that does it once.

Programs follow links before people do, to look for harm or to draw a preview: opening one changes nothing, whoever
opens it and however often. The page needs no script, and keeps the address, which is a key, from going anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from urllib.parse import parse_qs

from tocsin import app as composition
from tocsin import deciding
from tocsin.app import App
from tocsin.core.ack import Acknowledgement, Used
from tocsin.core.audit import LONGEST_NAME, Author, Via
from tocsin.core.matching import one_of
from tocsin.core.mute import Silence
from tocsin.core.text import scrub
from tocsin.core.units import spell
from tocsin.engine import personal, standing
from tocsin.pages import button, page
from tocsin.ports import Conflict, Store, StoreUnavailable
from tocsin.signing_in import Person, from_us, signed_in
from tocsin.tokens import Claim, Does, Expired, Refused, Signed
from tocsin.webhook import Answer

_LARGEST = 10_000
"""Bytes of a form: a token and a name."""

_SOMEBODY = "somebody with the link"
_NAME = '<p><label>Your name, for the others: <input name="name" maxlength="60" autocomplete="name"></label></p>'


def answer(
    method: str,
    query: Mapping[str, str],
    body: bytes,
    app: App | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Answer:
    """Return the page for one request. Only a POST changes anything, and of one link only the first."""
    app = app or composition.current()
    if app.links is None:
        return page(404, "No such link", "Links are not set up here.")
    posted = _form(body) if method == "POST" else {}
    token = posted.get("token", "") if method == "POST" else query.get("token", "")
    try:
        return _answered(method, token, posted, _From(headers, app), app, app.links)
    except StoreUnavailable:
        return page(
            503,
            "Not now",
            "The state could not be reached. Try again in a minute: what was done already is not done twice.",
        )


@dataclass(frozen=True, slots=True)
class _From:
    """Where a request comes from: who sent it, and by which page."""

    headers: Mapping[str, str]
    app: App

    @property
    def person(self) -> Person | None:
        return signed_in(self.headers, self.app.approvers)

    def may_change(self, claim: Claim) -> bool:
        """Return whether our own page sent it. Who is not signed in where that is needed changes nothing anyhow."""
        ours = self.app.links is not None and from_us(self.headers, self.app.links.base)
        return ours or (claim.does.signed_in and self.person is None)


def _answered(method: str, token: str, posted: Mapping[str, str], sender: _From, app: App, links: Signed) -> Answer:
    now, store = app.clock.now(), app.engine.store
    try:
        claim = links.read(token, now)
    except Expired:
        return page(
            410,
            "This link has expired",
            "Links work for a day, those that ask for an hour. Nothing was changed.",
        )
    except Refused:
        return page(400, "This is no link of ours", "It was changed, or cut off on its way. Nothing was changed.")
    if method == "POST" and not sender.may_change(claim):
        return page(403, "Not from here", "Another page has sent this. Open the link itself. Nothing was changed.")
    gone = _gone(claim, store)
    if gone is None and claim.does.signed_in:
        return deciding.answered(
            posted.get("press", "") if method == "POST" else None, claim, token, sender.person, app
        )
    if gone is not None:
        return gone
    if method != "POST":
        return page(
            200, _title(claim), *_would(claim, store, now), form=button(token, claim.does.capitalize(), field=_NAME)
        )
    return _do(claim, _author(posted, sender.person), store, now)


def _author(posted: Mapping[str, str], person: Person | None) -> Author:
    """Return who pressed the button: whoever signed in, else the name that was typed, which nothing vouches for."""
    if person is not None:
        return person.author
    return Author(scrub(posted.get("name", ""), LONGEST_NAME) or _SOMEBODY, Via.LINK, "not signed in")


def _gone(claim: Claim, store: Store) -> Answer | None:
    """Return the page for a link with which nothing can be done any more."""
    used = store.kept(Used).get(claim.id)
    if used is not None:
        return _used(f"It was used at {used.value.at:%Y-%m-%d %H:%M} UTC.")
    if claim.does is Does.ACKNOWLEDGE and personal.told_of(store, claim.episode) is None:
        return page(410, "This is over", f"{claim.rule} on {claim.target} has ended: nobody need take it on.")
    return None


def _used(when: str = "") -> Answer:
    return page(410, "This link was used", f"{when} A link works once. Nothing was changed now.".strip())


def _do(claim: Claim, author: Author, store: Store, now: datetime) -> Answer:
    """Do what the claim is for, once. What cannot be done leaves the link usable."""
    if not personal.use(store, claim.id, now):
        return _used()
    try:
        return _done(claim, author, store, now)
    except (LookupError, Conflict):
        return page(410, "This is over", f"{claim.rule} on {claim.target} has changed meanwhile. Nothing was changed.")
    except Exception:  # whatever it is: the person may press again
        personal.unuse(store, claim.id)
        raise


def _done(claim: Claim, author: Author, store: Store, now: datetime) -> Answer:
    until = now + claim.does.lasts
    end = f"until {until:%Y-%m-%d %H:%M} UTC"
    if claim.does is Does.ACKNOWLEDGE:
        wanted = Acknowledgement(claim.episode, author.name, now, until, "by a link")
        given = personal.acknowledge(store, wanted, author)
        return page(200, "Acknowledged", f"{claim.rule} on {claim.target} is with {given.by} {end}.", _TOLD)
    matchers = (one_of("rule", (claim.rule,)), one_of("target", (claim.target,)))
    made = personal.silence(store, Silence(claim.id, matchers, author.name, "by a link", now, until), author, now)
    end = f"until {made.ends:%Y-%m-%d %H:%M} UTC"
    undo = f"To hear of it again before: tocsin silence expire {made.id}"
    return page(200, "Silenced", f"Nobody is told of {claim.rule} on {claim.target} {end}.", undo)


_TOLD = "Whoever was told of it is told of this with the next tick."


def _title(claim: Claim) -> str:
    return f"{claim.does.capitalize()} {claim.rule} on {claim.target}?"


def _would(claim: Claim, store: Store, now: datetime) -> list[str]:
    """Return what would happen, in sentences."""
    length = spell(claim.does.lasts)
    if claim.does is Does.SILENCE:
        return [f"For {length} nobody is told of this rule on this target. It is watched, and policies act, as before."]
    notice = personal.told_of(store, claim.episode)
    taken = standing.acknowledgements(store, now).get(claim.episode)
    found = [notice.title] if notice else []
    found += [f"{taken.by} has it until {taken.until:%Y-%m-%d %H:%M} UTC."] if taken else []
    return [*found, f"For {length} nobody is reminded of this episode or called because of it."]


def _form(body: bytes) -> dict[str, str]:
    if len(body) > _LARGEST:
        return {}
    try:
        found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}
