"""The heartbeat in a table: one row that says when the last tick ended, and what it failed at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tocsin.stores.partition import reached

if TYPE_CHECKING:
    from azure.data.tables import TableClient


def write(table: TableClient, now: datetime, failed: Sequence[str]) -> None:
    """Replace the heartbeat. Raises ``StoreUnavailable``."""
    entity = {"PartitionKey": "beat", "RowKey": "tick", "Kind": "beat", "Pending": ""}
    with reached():
        table.upsert_entity({**entity, "At": now.isoformat(), "Failed": json.dumps(list(failed))})


def read(table: TableClient) -> tuple[datetime | None, list[str]]:
    """Return when the last tick ended (None before the first) and what it failed at. Raises ``StoreUnavailable``.

    A heartbeat that cannot be read is none: the watcher counts as dead until its next.
    """
    from azure.core.exceptions import ResourceNotFoundError

    with reached():
        try:
            found = table.get_entity("beat", "tick")
        except ResourceNotFoundError:
            return None, []
    try:
        return datetime.fromisoformat(str(found["At"])), list(json.loads(str(found.get("Failed") or "[]")))
    except (ValueError, TypeError, KeyError) as error:
        return None, [f"the stored heartbeat cannot be read: {type(error).__name__}"]
