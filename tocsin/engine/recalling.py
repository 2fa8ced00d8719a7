"""Recalling: reading the audit back from its newest record, no further than somebody wants to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from tocsin.ports import Store

_PAGE = 200

_SKEW = timedelta(days=1)
"""How far the clocks of two writers may differ: places in the chain, and not times, are its order."""


def newest_first(store: Store, since: datetime | None = None) -> Iterator[Mapping[str, Any]]:
    """Yield audit records from the newest back, in pages, at least as far as ``since``. Raises ``StoreUnavailable``."""
    end = store.audit_end()
    while end > 0:
        page = store.audit(max(0, end - _PAGE), min(_PAGE, end))
        yield from reversed(page)
        if since is not None and page and datetime.fromisoformat(page[0]["at"]) < since - _SKEW:
            return
        end -= _PAGE


def released(store: Store, target: str, since: datetime | None) -> datetime | None:
    """Return when a person last released a switch of the target or started it again, or set out to.

    It is looked for as far back as ``since`` at least.
    """
    by_person = (
        entry["at"]
        for entry in newest_first(store, since)
        if entry["target"] == target
        and entry["actor"].startswith("person ")
        and (entry["event"].startswith(("release ", "start ")) or entry["detail"].get("action") == "killswitch.release")
    )
    newest = next(by_person, None)
    return datetime.fromisoformat(newest) if newest else None
