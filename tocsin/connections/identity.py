"""Who Tocsin is when it asks: a managed identity in Azure, whoever is signed in on a developer's machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tocsin.core.answer import NoAnswer, Why

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AzureNamedKeyCredential, TokenCredential

_NEVER = 4102444800
"""When a static token expires: in the year 2100."""


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A fixed token for a stand-in on loopback. Satisfies azure-core's ``TokenCredential``."""

    token: str = field(repr=False)

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # noqa: ARG002
        """Return the token, whatever it is asked for."""
        from azure.core.credentials import AccessToken

        return AccessToken(self.token, _NEVER)


def credential(
    client_id: str | None = None, static_token: str | None = None, endpoint: str | None = None
) -> TokenCredential:
    """Return what authenticates against ``endpoint``; no token is fetched before the first request.

    With a client id it is that managed identity, else whatever the environment or the signed-in developer offers.
    A static token wins over both. Raises ValueError for one that would leave this machine.
    """
    if static_token:
        token = StaticToken(static_token)
        refuse_leak(token, endpoint)
        return token
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if client_id:
        return ManagedIdentityCredential(client_id=client_id)
    return DefaultAzureCredential(exclude_interactive_browser_credential=True)


def storage_key(given: TokenCredential) -> TokenCredential | AzureNamedKeyCredential:
    """Return what a Storage client authenticates with: for a static token the emulator's own well-known key.

    Storage clients send tokens over HTTPS alone, and the emulator has none.
    """
    if not isinstance(given, StaticToken):
        return given
    from azure.core.credentials import AzureNamedKeyCredential

    return AzureNamedKeyCredential(EMULATOR, _EMULATOR_KEY)


def bearer(given: TokenCredential, scope: str, endpoint: str) -> str | NoAnswer:
    """Return a token of ``scope`` for ``endpoint``, or why there is none.

    Raises ValueError for a static token that would leave this machine.
    """
    refuse_leak(given, endpoint)
    from azure.core.exceptions import AzureError

    try:
        return given.get_token(scope).token
    except AzureError as error:
        return NoAnswer(Why.FORBIDDEN, f"no token: {type(error).__name__}")


EMULATOR = "devstoreaccount1"
_EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account and key of every storage emulator there is: they are in its documentation, and open nothing else."""


def refuse_leak(given: object, endpoint: str | None) -> None:
    """Raise ValueError when a static token is about to be sent to anything but this machine."""
    if isinstance(given, StaticToken) and not loopback(endpoint):
        raise ValueError("a static token is for a stand-in on loopback only")


def loopback(endpoint: str | None) -> bool:
    """Return whether the endpoint's host is this machine, by its literal address or as ``localhost``."""
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def request_options(endpoint: str | None) -> dict[str, Any]:
    """Return options for each request of an Azure client: plain HTTP is let through to loopback, and nowhere else."""
    return {"enforce_https": False} if loopback(endpoint) else {}
