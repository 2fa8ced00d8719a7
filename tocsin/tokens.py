"""The links in messages: what one lets its holder do, signed, for one purpose and for a day.

Belongs here: making the tokens and reading them. Does not belong here: doing what they are for (``tocsin.links``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from tocsin.core.message import Notice
from tocsin.core.units import spell

LASTS = timedelta(days=1)
"""How long a link can be used."""

PATH = "/api/link"
_LONGEST = 4_000
_SALT = "tocsin link 1"


class Does(StrEnum):
    """What a link is for, and nothing else."""

    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence"
    DECIDE = "decide"
    RELEASE = "release"

    @property
    def lasts(self) -> timedelta:
        """How long what it does holds, for what ends by itself."""
        return timedelta(hours=4) if self is Does.ACKNOWLEDGE else timedelta(hours=2)

    @property
    def usable(self) -> timedelta:
        """How long its links can be used: a question is about the world as it is."""
        return timedelta(hours=1) if self is Does.DECIDE else LASTS

    @property
    def signed_in(self) -> bool:
        """Whether the link alone is not enough: somebody who is signed in and may has to press the button."""
        return self in (Does.DECIDE, Does.RELEASE)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the holder of a token may do once: acknowledge ``episode``, or silence ``rule`` on ``target``.

    Of a question ``episode`` names what is asked; of a release it is the switch's scope.

    Every link of one message for one purpose has the same ``id``: whoever comes first uses it up for all.
    """

    id: str
    does: Does
    rule: str
    target: str
    episode: str = ""


class Refused(Exception):
    """A token that gives no right: not one of ours, or changed."""


class Expired(Refused):
    """A token that was ours, and is too old."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Makes links below ``base`` and reads their tokens; both need ``secret``."""

    secret: str = field(repr=False)
    base: str

    def __call__(self, notice: Notice, now: datetime) -> tuple[tuple[str, str], ...]:
        """Return the links of a message about one alert, by name."""
        wanted = [Does.DECIDE] if notice.asks else []
        wanted += [Does.RELEASE] if notice.engaged else []
        claims = [_claim(does, notice) for does in wanted or (Does.ACKNOWLEDGE, Does.SILENCE)]
        return tuple((_named(claim.does), self._url(claim, now)) for claim in claims)

    def token(self, claim: Claim, now: datetime) -> str:
        """Return the token of a claim, made now."""
        given = {"id": claim.id, "do": claim.does.value, "rule": claim.rule, "target": claim.target}
        return str(self._signer(now).dumps({**given, "episode": claim.episode}))

    def read(self, token: str, now: datetime) -> Claim:
        """Return what a token allows. Raises ``Expired``, or ``Refused`` for one that was never made here."""
        if not 0 < len(token) <= _LONGEST:
            raise Refused
        try:
            found, made = self._signer(now).loads(token, max_age=int(LASTS.total_seconds()), return_timestamp=True)
        except SignatureExpired:
            raise Expired from None
        except BadData:
            raise Refused from None
        claim = _read(found)
        if now - made > claim.does.usable:
            raise Expired
        return claim

    def _url(self, claim: Claim, now: datetime) -> str:
        return f"{self.base.rstrip('/')}{PATH}?token={self.token(claim, now)}"

    def _signer(self, now: datetime) -> URLSafeTimedSerializer:
        options = {"digest_method": hashlib.sha256, "key_derivation": "hmac", "now": int(now.timestamp())}
        return URLSafeTimedSerializer(self.secret, salt=_SALT, signer=_At, signer_kwargs=options)


class _At(TimestampSigner):
    """A signer whose clock is the caller's."""

    def __init__(self, *given: Any, now: int, **options: Any) -> None:
        super().__init__(*given, **options)
        self._now = now

    def get_timestamp(self) -> int:
        """Return the second that it is."""
        return self._now


_NAMES = {Does.DECIDE: "Approve or decline", Does.RELEASE: "Release the killswitch"}


def _named(does: Does) -> str:
    if does in _NAMES:
        return _NAMES[does]
    return f"{does.capitalize()} for {spell(does.lasts)}"


def _claim(does: Does, notice: Notice) -> Claim:
    identity = hashlib.sha256(f"{does}|{notice.id}".encode()).hexdigest()[:24]
    about = {Does.ACKNOWLEDGE: notice.episode, Does.DECIDE: notice.asks, Does.RELEASE: notice.engaged}
    return Claim(identity, does, notice.rule, notice.target, about.get(does, ""))


def _read(found: Any) -> Claim:
    try:
        texts = [found[name] for name in ("id", "rule", "target", "episode")]
        if not all(isinstance(each, str) for each in texts):
            raise TypeError
        return Claim(texts[0], Does(found["do"]), *texts[1:])
    except (LookupError, TypeError, ValueError):
        raise Refused from None
