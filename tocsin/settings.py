"""App settings: the environment as one value, with every problem found at once and secrets kept out of sight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.core.errors import Problem


@dataclass(frozen=True, slots=True)
class Known:
    """One setting: its default (None when it has none, empty where nothing is as good as a value) and what it means."""

    default: str | None
    meaning: str


KNOWN: Mapping[str, Known] = {
    "TICK_SCHEDULE": Known("0 * * * * *", "When the timer ticks, as six-field NCRONTAB; read by the Functions host."),
    "TOCSIN_STATE": Known(".tocsin/state.sqlite", "The file that holds state, relative to the app's folder."),
    "TOCSIN_TABLES": Known(
        None, "Where state is kept in Azure: a Table service's address, or a connection string. It wins over the file."
    ),
    "TOCSIN_QUEUES": Known(
        None, "Where a large fleet's work waits: the host storage's Queue service, or a connection string."
    ),
    "TOCSIN_AUDIT": Known(
        None,
        "Where the audit's copy goes: a blob container's address, a connection string (container audit), or a file. "
        "Unset, the store alone keeps the audit.",
    ),
    "TOCSIN_READER_CLIENT_ID": Known(None, "Client id of the identity that reads telemetry and configuration."),
    "TOCSIN_ACTUATOR_CLIENT_ID": Known(None, "Client id of the identity that may change Container Apps."),
    "TOCSIN_LOG_ANALYTICS_ENDPOINT": Known(None, "Another endpoint of the Log Analytics query API."),
    "TOCSIN_ARM_ENDPOINT": Known(None, "Another endpoint of Azure Resource Manager."),
    "TOCSIN_GITHUB_ENDPOINT": Known(
        None, "Another endpoint of GitHub's REST API: https://HOST/api/v3 for an Enterprise Server."
    ),
    "TOCSIN_STATIC_TOKEN": Known(None, "A fixed token instead of an identity; accepted for loopback endpoints only."),
    "APPLICATIONINSIGHTS_CONNECTION_STRING": Known(
        None, "Where the watcher's own metrics and log go. Unset, none are kept and OpenTelemetry is not even loaded."
    ),
    "TOCSIN_ROLE_NAME": Known("tocsin", "The watcher's own AppRoleName: never that of a watched target."),
    "TOCSIN_LINK_SECRET": Known(
        None, "What signs the links in messages: 32 letters or more that nobody can guess. Unset, there are no links."
    ),
    "TOCSIN_APPROVERS": Known(
        None,
        "Who may approve actions and release switches by a link, once signed in: names or object ids with commas, or * "
        "for everybody whom the app's sign-in lets in. Unset, nobody.",
    ),
    "TOCSIN_AUTOMATION": Known("observe", "How far policies may go, for `tocsin.yaml`: off, observe, ask or act."),
    "TOCSIN_PUBLIC_URL": Known(
        None, "Where people reach this app, like https://NAME.azurewebsites.net: links begin so."
    ),
    "WATCHED_APPLICATION_INSIGHTS": Known(
        "", "The resource id of the watched app's Application Insights component, for `tocsin.yaml`."
    ),
    "WATCHED_ROLE_NAME": Known(
        "", "The role name of its telemetry, for `tocsin.yaml`, where other apps write to that component, too."
    ),
}
"""Every setting that Tocsin itself reads. Those that ``tocsin.yaml`` names as ``${NAME}`` come on top."""

UNRESOLVED = "@Microsoft.KeyVault("
"""How a setting begins whose value the platform could not take from Key Vault: it hands over the reference itself."""

PATH = "app settings"
"""Stands where a problem in a file has the file's path."""


def default(name: str) -> str | None:
    """Return what a setting is where it is unset: None where it has no default, and where Tocsin does not know it."""
    return KNOWN[name].default if name in KNOWN else None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process. ``values`` holds secrets, so it is never shown."""

    root: Path
    values: Mapping[str, str] = field(repr=False)

    def get(self, name: str) -> str | None:
        """Return the value of a setting that Tocsin knows, its default, or None. An empty value is no value."""
        return self._value(name) or KNOWN[name].default

    @property
    def state_file(self) -> Path:
        """Return the path of the state file."""
        return self.root / (self.get("TOCSIN_STATE") or "")

    def secret(self, name: str) -> str:
        """Return the value of a setting that ``tocsin.yaml`` names. Raises LookupError that names only the setting."""
        value = self._value(name)
        if not value:
            raise LookupError(f"the app setting {name} is not set")
        return value

    def _value(self, name: str) -> str:
        """Return a setting's value; a reference is none, or whoever knows the vault's name could sign links with it."""
        value = self.values.get(name, "").strip()
        return "" if value.startswith(UNRESOLVED) else value


_SHORTEST_SECRET, _FEWEST_LETTERS = 32, 6
_ENDPOINTS = (
    "TOCSIN_LOG_ANALYTICS_ENDPOINT",
    "TOCSIN_ARM_ENDPOINT",
    "TOCSIN_GITHUB_ENDPOINT",
)


def problems(settings: Settings) -> list[Problem]:
    """Return everything wrong with the settings that Tocsin itself reads."""
    found = []
    for name in _ENDPOINTS:
        found += _bad_address(settings, name)
    if settings.get("TOCSIN_STATIC_TOKEN") and not settings.get("TOCSIN_ARM_ENDPOINT"):
        found.append(_problem("bad-token", "TOCSIN_STATIC_TOKEN is for a stand-in on loopback; name its endpoints too"))
    for name, value in settings.values.items():
        if value.startswith(UNRESOLVED):
            found.append(_problem("unresolved-secret", f"{name} is a reference to Key Vault, which gave no value"))
    return [*found, *link_problems(settings)]


def link_problems(settings: Settings) -> list[Problem]:
    """Return why messages have no links though somebody asked for some."""
    secret, base = settings.get("TOCSIN_LINK_SECRET"), settings.get("TOCSIN_PUBLIC_URL")
    if secret and len(secret) < _SHORTEST_SECRET:
        return [_problem("weak-secret", f"TOCSIN_LINK_SECRET must have {_SHORTEST_SECRET} letters or more")]
    if secret and len(set(secret)) < _FEWEST_LETTERS:
        words = f"TOCSIN_LINK_SECRET has {len(set(secret))} different letters; draw it at random: openssl rand -hex 32"
        return [_problem("weak-secret", words)]
    if bool(secret) != bool(base):
        return [_problem("half-a-link", "TOCSIN_LINK_SECRET and TOCSIN_PUBLIC_URL belong together")]
    return _bad_address(settings, "TOCSIN_PUBLIC_URL")


def _bad_address(settings: Settings, name: str) -> list[Problem]:
    value = settings.get(name)
    if not value or re.match(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", f"{value}/"):
        return []
    return [_problem("bad-endpoint", f"{name} must be an https:// address, or http:// on loopback")]


def _problem(identity: str, message: str) -> Problem:
    return Problem(PATH, 1, 1, identity, message)
