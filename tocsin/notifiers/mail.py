"""A notice as an e-mail: subject, plain text, simple HTML, and the ids that make it one conversation an episode.

Every text is defanged, and escaped in HTML; the only links are the notice's own. The course of the value is a picture
inside the mail, with words for whom it is not shown; it is the first to go where there is too much. Belongs here: what
every way of sending mail shares. Does not belong here: how it is sent.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from html import escape

from tocsin.core.message import Notice
from tocsin.notifiers.picture import HEIGHT, WIDTH, picture, words
from tocsin.notifiers.plain import links
from tocsin.notifiers.prose import ROOMS, Line, Room, head, lines, provenance, safe, summary, text

LIMIT = 60_000
"""Letters of either part: mail programs cut what is longer, and no gateway refuses it."""

EXAMPLE = ("tocsin@mail.example", ("oncall@ops.example", "team@ops.example"))
"""From whom and to whom a mail goes that nobody is sent."""

_LONGEST_SUBJECT = 160
_LONGEST_DOMAIN = 30
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{3,254}}$)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that the HTML shows by ``cid:``, and the words that stand for it."""

    png: bytes
    id: str
    words: str
    name: str = "value.png"


@dataclass(frozen=True, slots=True)
class Mail:
    """What is read, and the two ids: of this message, and of the conversation it belongs to."""

    subject: str
    text: str
    html: str
    id: str
    conversation: str
    picture: Picture | None = None


def mail(notice: Notice, sender: str) -> Mail:
    """Return the notice as mail from ``sender``; the same notice is the same mail, at every attempt."""
    domain = sender.rpartition("@")[2]
    shown = _picture(notice)
    for room, seen in ((ROOMS[0], shown), *((room, None) for room in ROOMS)):
        plain, html = text(notice, room), _html(notice, room, seen)
        if max(len(plain), len(html)) <= LIMIT:
            break
    ids = _id(notice.id, domain), _id(f"{notice.episode}/", domain)
    return Mail(summary(notice, _LONGEST_SUBJECT), plain, html, *ids, seen)


def addresses(given: str) -> tuple[str, ...]:
    """Return the addresses in a list with commas. Raises ValueError, without showing it, for what is not one."""
    found = tuple(each.strip() for each in given.split(",") if each.strip())
    if not found or not all(_ADDRESS.fullmatch(each) for each in found):
        raise ValueError("an e-mail address is like oncall@example.com; several have commas between them")
    return found


def address(given: str) -> str:
    """Return the one address given. Raises ValueError, without showing it, for anything else."""
    found = addresses(given)
    if len(found) != 1:
        raise ValueError("the sender is one e-mail address")
    return found[0]


def _id(of: str, domain: str) -> str:
    # An id that needs a line of its own is encoded by some writers, and no reader finds it again.
    place = domain if len(domain) <= _LONGEST_DOMAIN else "tocsin.invalid"
    return f"<{_digest(of)}@{place}>"


def _digest(of: str) -> str:
    return hashlib.sha256(of.encode()).hexdigest()[:32]


def _picture(notice: Notice) -> Picture | None:
    png = picture(notice)
    # Without an @, as the mail service documents its ids; mail programs compare letters.
    return Picture(png, f"value-{_digest(notice.id)}", safe(words(notice), 400)) if png else None


def _html(notice: Notice, room: Room, shown: Picture | None) -> str:
    told = [f"<p><b>{escape(head(notice))}</b></p>", f"<h2>{escape(safe(notice.title, room.text))}</h2>"]
    told += [_image(shown)] if shown else []
    told += [_paragraph(each) for each in lines(notice, room)]
    told += [
        f'<p><a href="{escape(url)}">{escape(safe(name, 40))}</a></p>' for name, url in links(notice, room.whole)[:6]
    ]
    told.append(f"<p><small>{escape(provenance(notice, room))}</small></p>")
    return "<!doctype html>\n<html><body>\n" + "\n".join(told) + "\n</body></html>\n"


def _image(shown: Picture) -> str:
    size = f'width="{WIDTH}" height="{HEIGHT}" style="max-width:100%;height:auto"'
    return f'<p><img src="cid:{shown.id}" alt="{escape(shown.words)}" {size}></p>'


def _paragraph(told: Line) -> str:
    if told.copied:
        return f"<p><b>{escape(told.name)}</b></p><pre>{escape(told.value)}</pre>"
    return f"<p><b>{escape(told.name)}:</b> {escape(told.value)}</p>" if told.name else f"<p>{escape(told.value)}</p>"
