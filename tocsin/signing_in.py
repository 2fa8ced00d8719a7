"""Who is signed in: App Service's own authentication says so in headers that it takes from nobody else.

The platform strips these headers from what comes in, but only where its authentication is on, which it says in
``WEBSITE_AUTH_ENABLED``. Where it is off anybody could send them, so then nobody is signed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from tocsin.core.audit import Author, Via
from tocsin.core.text import scrub

EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may decide by a link. ``trusted`` says that the platform vouches for the headers."""

    trusted: bool = False
    names: frozenset[str] = frozenset()

    def allows(self, person: Person) -> bool:
        """Return whether a person may decide."""
        return EVERYBODY in self.names or bool({person.name.casefold(), person.id.casefold()} & self.names)


NOBODY = Approvers()
"""Where no sign-in is set up."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in: ``name`` for people, ``id`` for good."""

    name: str
    id: str

    @property
    def author(self) -> Author:
        """Return them as the audit names them: by what the platform says, which signed them in."""
        return Author(self.name, Via.LINK, f"signed in as {self.id}")


def approvers(values: Mapping[str, str], listed: str | None) -> Approvers:
    """Return who may decide, by the platform's own setting and the operator's list."""
    names = (each.strip().casefold() for each in (listed or "").split(","))
    return Approvers(values.get("WEBSITE_AUTH_ENABLED", "").lower() == "true", frozenset(filter(None, names)))


def signed_in(headers: Mapping[str, str], known: Approvers) -> Person | None:
    """Return who sent a request, or None for nobody that is known."""
    given = {name.lower(): value.strip() for name, value in headers.items()}
    name, identity = given.get("x-ms-client-principal-name", ""), given.get("x-ms-client-principal-id", "")
    if not known.trusted or not identity:
        return None
    return Person(scrub(name, 100) or scrub(identity, 100), scrub(identity, 100))


def forged(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that the request was made by a page that is not ours, whoever sits before it."""
    site = {name.lower(): value for name, value in headers.items()}.get("sec-fetch-site", "")
    return site.strip().lower() in ("cross-site", "same-site")


def sign_in(path: str) -> str:
    """Return where a person signs in and comes back to ``path``."""
    return f"/.auth/login/aad?post_login_redirect_uri={quote(path, safe='')}"
