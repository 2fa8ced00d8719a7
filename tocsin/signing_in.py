"""Who is signed in: App Service's own authentication says so in headers that it takes from nobody else.

The platform strips these headers from what comes in, but only where its authentication is on, which it says in
``WEBSITE_AUTH_ENABLED``. Where it is off anybody could send them, so then nobody is signed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from tocsin.core.audit import Author, Via
from tocsin.core.text import scrub

EVERYBODY = "*"

PROVIDER = "aad"
"""What App Service calls Entra, by which ``sign_in`` signs people in."""


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may decide by a link. ``trusted`` says that the platform vouches for the headers."""

    trusted: bool = False
    names: frozenset[str] = frozenset()

    def allows(self, person: Person) -> bool:
        """Return whether a person may decide."""
        return EVERYBODY in self.names or bool({person.given.casefold(), person.id.casefold()} & self.names)


NOBODY = Approvers()
"""Where no sign-in is set up."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in: ``name`` for people, ``id`` for good, and the name as it was ``given``.

    Only the last two say who they are. A name that is fit to be shown may be that of several.
    """

    name: str
    id: str
    given: str

    @property
    def author(self) -> Author:
        """Return them as the audit names them: by what the platform says, which signed them in."""
        return Author(self.name, Via.LINK, f"signed in as {scrub(self.id, 100)}")


def approvers(values: Mapping[str, str], listed: str | None) -> Approvers:
    """Return who may decide, by the platform's own setting and the operator's list."""
    names = (each.strip().casefold() for each in (listed or "").split(","))
    return Approvers(values.get("WEBSITE_AUTH_ENABLED", "").lower() == "true", frozenset(filter(None, names)))


def signed_in(headers: Mapping[str, str], known: Approvers) -> Person | None:
    """Return who sent a request, or None for nobody that is known.

    Only Entra's word counts: with another identity provider anybody may have the name of one who may decide.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    name, identity = given.get("x-ms-client-principal-name", ""), given.get("x-ms-client-principal-id", "")
    if not known.trusted or not identity or given.get("x-ms-client-principal-idp") != PROVIDER:
        return None
    return Person(scrub(name, 100) or scrub(identity, 100), identity, name)


def from_us(headers: Mapping[str, str], base: str) -> bool:
    """Return whether a browser says that one of our own pages made the request. What says nothing is from elsewhere."""
    given = {name.lower(): value.strip().lower() for name, value in headers.items()}
    if site := given.get("sec-fetch-site"):
        return site == "same-origin"
    address = urlsplit(base.lower())
    return given.get("origin") == f"{address.scheme}://{address.netloc}"


def sign_in(path: str) -> str:
    """Return where a person signs in and comes back to ``path``."""
    return f"/.auth/login/{PROVIDER}?post_login_redirect_uri={quote(path, safe='')}"
