"""Settings, identities and what they may do: each permission as it was tried, none as it is hoped for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tocsin.core.answer import NoAnswer, Rows, Why
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.errors import Problem
from tocsin.core.gauge import Reading
from tocsin.core.ncrontab import timetable
from tocsin.core.permission import Permission, allowed
from tocsin.diagnosing.finding import Finding, State, bad, good

WRITE = "Microsoft.App/containerApps/write"


@dataclass(frozen=True, slots=True)
class Given:
    """The settings as far as they may be shown: names and never values. ``secrets`` hold what nobody may read.

    ``needed`` are those that tocsin.yaml names; ``problems`` all that was found while the app was composed. The two
    identities are the same where one client id stands for both, or none for either.
    """

    present: Collection[str]
    needed: Collection[str] = ()
    targets: int = 1
    secrets: Collection[str] = ()
    problems: tuple[Problem, ...] = ()
    schedule: str = ""
    identities_differ: bool = True


def settings(given: Given) -> Iterator[Finding]:
    """Yield what is missing and what is malformed; else which are set, secrets by their names alone."""
    missing = sorted(set(given.needed) - set(given.present))
    for name in missing:
        kind = "a secret, which tocsin.yaml names" if name in given.secrets else "tocsin.yaml names it"
        yield bad("settings", name, State.ERROR, "setting-missing", f"not set ({kind})")
    malformed = [each for each in given.problems if each.path == "app settings"]
    for each in malformed:
        yield bad("settings", each.id, State.ERROR, "setting-malformed", each.message)
    wrong = _schedule(given.schedule)
    if wrong:
        yield bad("settings", "TICK_SCHEDULE", State.ERROR, "setting-malformed", wrong)
    if not (missing or malformed or wrong):
        yield good("settings", "all", _listed(given))
    if not given.identities_differ:
        yield bad("settings", "identities", State.WARNING, "one-identity", "what reads and what acts is one identity")
    others = [each for each in given.problems if each.path != "app settings" and each.id != "missing-setting"]
    errors = [each for each in others if each.is_error and each.id != "unusable-receiver"]
    if errors:
        words = f"{len(errors)} problems, the first: {errors[0].path}:{errors[0].line}: {errors[0].message}"
        yield bad("files", "all", State.ERROR, "files-have-problems", words)
    else:
        yield good("files", "all", "every rule, policy and tocsin.yaml was read without a problem")
    if not given.targets:
        yield bad("files", "targets", State.ERROR, "nothing-watched", "tocsin.yaml names no target")


def _schedule(expression: str) -> str:
    try:
        timetable(expression)
    except ValueError as error:
        return str(error)
    return ""


def _listed(given: Given) -> str:
    names = sorted(given.present)
    secret = [name for name in names if name in given.secrets]
    kept = f"; secrets, by name: {', '.join(secret)}" if secret else ""
    return f"set: {', '.join(name for name in names if name not in secret) or 'none'}{kept}"


def token(who: str, scope: str, found: str | NoAnswer) -> Finding:
    """Return whether an identity got a token; ``found`` says in words where it is from, never what it is."""
    if isinstance(found, NoAnswer):
        return bad("identity", who, State.ERROR, "no-token", f"{scope}: {found.why.value}: {found.detail}")
    return good("identity", who, f"{scope}: {found}")


_OF_WORKSPACE = {Why.FORBIDDEN: "query-forbidden", Why.MISSING: "workspace-missing"}


def workspace(target: Target, found: Rows | NoAnswer) -> Finding:
    """Return whether the reader may query the target's workspace, by the answer to a question of 30 days."""
    if not isinstance(found, NoAnswer):
        return good("workspace", target.name, "it answers")
    said = _said(found)
    if found.why in _OF_WORKSPACE:
        kind = "no-token" if _tokenless(found) else _OF_WORKSPACE[found.why]
        return bad("workspace", target.name, State.ERROR, kind, said)
    return bad("workspace", target.name, State.UNKNOWN, "workspace-unanswered", said)


def app(target: Target, found: App | NoAnswer) -> Iterator[Finding]:
    """Yield whether the reader sees the target's Container App; nothing for a target that names none."""
    if not target.container_app:
        return
    if not isinstance(found, NoAnswer):
        serving = ", ".join(each.name for each in found.serving) or "no revision"
        yield good("app", target.name, f"{target.container_app} was read; {serving} serves")
        return
    said = _said(found)
    if found.why is Why.FORBIDDEN:
        kind = "no-token" if _tokenless(found) else "app-forbidden"
        yield bad("app", target.name, State.ERROR, kind, said)
    elif found.why in (Why.MISSING, Why.BROKEN):
        yield bad("app", target.name, State.ERROR, "app-missing", said)
    else:
        yield bad("app", target.name, State.UNKNOWN, "app-unanswered", said)


def acting(target: Target, needs: Iterable[str], found: tuple[Permission, ...] | NoAnswer) -> Finding:
    """Return whether the actuator's identity may do at the app what actions ``needs``; nothing is written for it."""
    if isinstance(found, NoAnswer):
        return bad("permissions", f"{target.name}, to act", State.UNKNOWN, "permissions-unread", _said(found))
    wanted = sorted(set(needs))
    lacking = [each for each in wanted if not allowed(found, each)]
    if lacking:
        words = f"the identity that acts lacks {', '.join(lacking)}"
        return bad("permissions", f"{target.name}, to act", State.ERROR, "no-write-permission", words)
    return good("permissions", f"{target.name}, to act", f"it has {', '.join(wanted)}")


def reading(target: Target, found: tuple[Permission, ...] | NoAnswer) -> Finding:
    """Return whether the reader's identity may only read the app."""
    if isinstance(found, NoAnswer):
        return bad("permissions", f"{target.name}, to read", State.UNKNOWN, "permissions-unread", _said(found))
    if allowed(found, WRITE):
        words = f"the identity that reads has {WRITE}, too"
        return bad("permissions", f"{target.name}, to read", State.WARNING, "reader-can-write", words)
    return good("permissions", f"{target.name}, to read", "it can read the app and cannot change it")


def _tokenless(found: NoAnswer) -> bool:
    """Return whether it was not the service that refused, but whoever gives tokens: no role would mend that."""
    return found.why is Why.FORBIDDEN and not re.search(r"\b40[13]\b", found.detail)


def _said(found: NoAnswer) -> str:
    return f"{found.why.value}: {found.detail}"


def store(where: str, trouble: str) -> Finding:
    """Return whether a row could be written, read back and taken out again; ``trouble`` is why not."""
    if trouble:
        return bad("store", where, State.ERROR, "store-unavailable", trouble)
    return good("store", where, "a row was written, read back and taken out again")


def copy(name: str, trouble: str, waiting: int) -> Finding:
    """Return how the audit's copy stands; without a ``name`` there is none."""
    if not name:
        return bad("audit", "copy", State.WARNING, "audit-not-copied", "TOCSIN_AUDIT is not set, or cannot be used")
    if trouble:
        return bad("audit", name, State.ERROR, "audit-copy-unavailable", trouble)
    return good("audit", name, f"it was read; {waiting} records wait to be copied")


def queue(name: str, found: int | NoAnswer) -> Finding:
    """Return whether the work queue could be looked at, with how many messages wait in it."""
    if isinstance(found, NoAnswer):
        return bad("queues", name, State.ERROR, "queue-unreadable", _said(found))
    return good("queues", name, f"{found} messages wait")


def gauge(target: Target, meter: str, found: Sequence[Reading] | NoAnswer) -> Finding:
    """Return whether a meter could be read; a reading without a value was refused, and says why."""
    about = f"{target.name}: {meter}"
    kind = "queue-unreadable" if meter == "queues" else "gauge-unreadable"
    if isinstance(found, NoAnswer):
        state = State.ERROR if found.why in (Why.FORBIDDEN, Why.MISSING) else State.UNKNOWN
        return bad("meters", about, state, "no-token" if _tokenless(found) else kind, _said(found))
    refused = {each.why: ", ".join(each.labels.values()) for each in found if each.value is None}
    if refused:
        denied = {Why.FORBIDDEN.value, Why.MISSING.value} & refused.keys()
        words = "; ".join(f"{why}: {which}" for why, which in refused.items())
        return bad("meters", about, State.ERROR if denied else State.UNKNOWN, kind, words)
    return good("meters", about, f"{len(found)} readings")


_REFERRED = re.compile(r"(?<!\$)\$\{(\w+)\}")
_HELD = re.compile(r"_setting:\s*[\"']?(\w+)")


def named(text: str) -> tuple[set[str], set[str]]:
    """Return the app settings that a ``tocsin.yaml`` names, and which of them hold secrets."""
    written = re.sub(r"(?m)(^|\s)#.*$", "", text)
    secret = set(_HELD.findall(written))
    return set(_REFERRED.findall(written)) | secret, secret
