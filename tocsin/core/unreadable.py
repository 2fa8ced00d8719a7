"""A stored row that cannot be decoded: passed over alone, told as a failure of its own, and left as it is.

Belongs here: what is known of such a row, and what that means for what acts. Does not belong here: decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tocsin.core.failing import Subject
from tocsin.core.remedy import Execution, Phase

_SUBJECTS = {"Engaged": "switches"}
"""Kinds of values whose failure is told under another word than their own: nobody may silence it."""


@dataclass(eq=False)
class Unreadable(Exception):
    """A stored row that cannot be decoded: another version wrote it, it was cut, or edited by hand.

    ``what`` is its kind, ``where`` its place in the store. ``key`` is the digest of its key, or how that begins.
    ``id`` and ``target`` are empty where the row does not say them any more. ``etag`` is what its replacement presents.
    """

    what: str
    where: str
    key: str = ""
    target: str = ""
    id: str = ""
    etag: str | None = None
    error: str = ""

    def __str__(self) -> str:
        """Return where it is and what decoding raised."""
        return f"the stored {self.what} at {self.where} cannot be read: {self.error}"

    @property
    def subject(self) -> Subject:
        """Return what people are told has failed."""
        return Subject(_SUBJECTS.get(self.what, self.what.lower()), f"stored at {self.where}", self.target)

    def stands_for(self, key: str) -> bool:
        """Return whether this is the row of a key."""
        return bool(self.key) and digest(key).startswith(self.key)

    def may_be_about(self, target: str) -> bool:
        """Return whether it is about a target, as far as is known."""
        return self.target in ("", target)


def digest(text: str) -> str:
    """Return text of any kind and length as 64 hexadecimal digits, as a row's key holds it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def lost(rows: Iterable[Unreadable], what: str, target: str) -> list[Unreadable]:
    """Return the rows of a kind that may be about a target."""
    return [each for each in rows if each.what == what and each.may_be_about(target)]


def lost_executions(rows: Iterable[Unreadable], target: str, now: datetime) -> list[Execution]:
    """Return what the guard counts for executions that cannot be read: each may be under way, begun just now.

    One that does not say its target may be on any: it is counted on ``target``.
    """
    return [
        Execution(
            id=f"{each.id or each.where} (which cannot be read)",
            policy=each.id.partition("/")[0],
            target=each.target or target,
            episode="",
            action="",
            args={},
            phase=Phase.INTENDED,
            intended=now,
        )
        for each in rows
        if each.what == "execution"
    ]
