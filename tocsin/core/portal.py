"""Addresses in the Azure portal: where a person goes on looking.

The address of a query is not documented by Microsoft, so a message that links to a query also holds the query.
"""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime
from urllib.parse import quote

from tocsin.core.answer import Query
from tocsin.core.config import Target

_LOGS = "https://portal.azure.com/#blade/Microsoft_OperationsManagementSuite_Workspace/Logs.ReactView"


def app(target: Target) -> str:
    """Return the address of the target's Container App."""
    return f"https://portal.azure.com/#resource{quote(target.app_id)}/containerapp"


def logs(resource: str, query: Query) -> str:
    """Return the address that opens ``query`` on a workspace (its whole resource id) over the query's own time."""
    packed = base64.b64encode(gzip.compress(query.text.encode(), mtime=0)).decode()
    twice = quote(quote(packed, safe=""), safe="")
    start, end = (quote(_instant(at), safe="") for at in (query.start, query.end))
    return (
        f"{_LOGS}/resourceId/{quote(resource, safe='')}/source/LogsBlade.AnalyticsShareLinkToQuery"
        f"/q/{twice}/timespan/{start}%2F{end}"
    )


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
