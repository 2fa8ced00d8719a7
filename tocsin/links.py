"""What a link in a message opens: a page that says what would happen, and a button that does it once.

Programs follow links before people do, to look for harm or to draw a preview: opening one changes nothing, whoever
opens it and however often. The page needs no script, and keeps the address, which is a key, from going anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from html import escape
from urllib.parse import parse_qs

from tocsin import app as composition
from tocsin.app import App
from tocsin.core.ack import Acknowledgement, Used
from tocsin.core.matching import one_of
from tocsin.core.mute import Silence
from tocsin.core.text import scrub
from tocsin.core.units import spell
from tocsin.engine import personal, standing
from tocsin.ports import Conflict, Store, StoreUnavailable
from tocsin.tokens import Claim, Does, Expired, Refused, Signed
from tocsin.webhook import Answer

_STYLE = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}"
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_LARGEST = 10_000
"""Bytes of a form: a token and a name."""

_SOMEBODY = "somebody with the link"


def answer(method: str, query: Mapping[str, str], body: bytes, app: App | None = None) -> Answer:
    """Return the page for one request. Only a POST changes anything, and of one link only the first."""
    app = app or composition.current()
    if app.links is None:
        return _page(404, "No such link", "Links are not set up here.")
    posted = _form(body) if method == "POST" else {}
    token = posted.get("token", "") if method == "POST" else query.get("token", "")
    try:
        return _answered(method, token, posted.get("name", ""), app, app.links)
    except StoreUnavailable:
        return _page(
            503,
            "Not now",
            "The state could not be reached. Try again in a minute: what was done already is not done twice.",
        )


def _answered(method: str, token: str, name: str, app: App, links: Signed) -> Answer:
    now, store = app.clock.now(), app.engine.store
    try:
        claim = links.read(token, now)
    except Expired:
        return _page(410, "This link has expired", "Links in messages work for a day. Nothing was changed.")
    except Refused:
        return _page(400, "This is no link of ours", "It was changed, or cut off on its way. Nothing was changed.")
    gone = _gone(claim, store)
    if gone is not None:
        return gone
    if method != "POST":
        return _page(200, _title(claim), *_would(claim, store, now), form=_button(claim, token))
    return _do(claim, scrub(name, 60) or _SOMEBODY, store, now)


def _gone(claim: Claim, store: Store) -> Answer | None:
    """Return the page for a link with which nothing can be done any more."""
    used = store.kept(Used).get(claim.id)
    if used is not None:
        return _used(f"It was used at {used.value.at:%Y-%m-%d %H:%M} UTC.")
    if claim.does is Does.ACKNOWLEDGE and personal.told_of(store, claim.episode) is None:
        return _page(410, "This is over", f"{claim.rule} on {claim.target} has ended: nobody need take it on.")
    return None


def _used(when: str = "") -> Answer:
    return _page(410, "This link was used", f"{when} A link works once. Nothing was changed now.".strip())


def _do(claim: Claim, name: str, store: Store, now: datetime) -> Answer:
    """Do what the claim is for, once. What cannot be done leaves the link usable."""
    if not personal.use(store, claim.id, now):
        return _used()
    try:
        return _done(claim, name, store, now)
    except (LookupError, Conflict):
        return _page(410, "This is over", f"{claim.rule} on {claim.target} has changed meanwhile. Nothing was changed.")
    except StoreUnavailable:
        personal.unuse(store, claim.id)
        raise


def _done(claim: Claim, name: str, store: Store, now: datetime) -> Answer:
    until = now + claim.does.lasts
    end = f"until {until:%Y-%m-%d %H:%M} UTC"
    if claim.does is Does.ACKNOWLEDGE:
        given = personal.acknowledge(store, Acknowledgement(claim.episode, name, now, until, "by a link"))
        return _page(200, "Acknowledged", f"{claim.rule} on {claim.target} is with {given.by} {end}.", _TOLD)
    matchers = (one_of("rule", (claim.rule,)), one_of("target", (claim.target,)))
    made = personal.silence(store, Silence(claim.id, matchers, name, "by a link", now, until), now)
    end = f"until {made.ends:%Y-%m-%d %H:%M} UTC"
    undo = f"To hear of it again before: tocsin silence expire {made.id}"
    return _page(200, "Silenced", f"Nobody is told of {claim.rule} on {claim.target} {end}.", undo)


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


def _button(claim: Claim, token: str) -> str:
    return (
        f'<form method="post"><input type="hidden" name="token" value="{escape(token)}">'
        '<p><label>Your name, for the others: <input name="name" maxlength="60" autocomplete="name"></label></p>'
        f"<p><button>{escape(claim.does.capitalize())}</button></p></form>"
    )


def _form(body: bytes) -> dict[str, str]:
    if len(body) > _LARGEST:
        return {}
    try:
        found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _page(status: int, title: str, *told: str, form: str = "") -> Answer:
    """Return a page. Every text in it is escaped, for rules and targets may be named by others."""
    said = "".join(f"<p>{escape(scrub(each, 400))}</p>" for each in told)
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">'
        f"<title>Tocsin</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(scrub(title, 200))}</h1>{said}{form}</body></html>\n"
    )
    return Answer(status, text, HEADERS, "text/html")
