"""The fields of an alert in Azure's common alert schema, whatever was sent in their place: all of it is untrusted."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.core.text import scrub

_SCHEMA = "azureMonitorCommonAlertSchema"

_MOST_RESOURCES, _MOST_DIMENSIONS = 100, 50
"""What is read of one message; the portal allows fewer of both."""


def parts(given: Any) -> tuple[Mapping[str, Any] | None, Any]:
    """Return the essentials and the context of a message; no essentials of one that is not in this schema."""
    of_schema = isinstance(given, Mapping) and small(given.get("schemaId")) == _SCHEMA.lower()
    data = given.get("data") if of_schema else None
    essentials = data.get("essentials") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(essentials, Mapping):
        return None, None
    return essentials, data.get("alertContext")


def identity(essentials: Mapping[str, Any], resources: tuple[str, ...], words: str, context: Any) -> str:
    """Return what stays the same from one firing of an alert to the next, as text."""
    rule = [text(essentials.get(name)).lower() for name in ("alertRule", "alertRuleID")]
    return json.dumps([*rule, resources, words, _dimensions(context), _event(context)])


def resources_of(named: Any) -> tuple[str, ...]:
    """Return the ids of the resources that an alert is about, in small letters."""
    found = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    return tuple(each.lower()[:1000] for each in found[:_MOST_RESOURCES] if isinstance(each, str) and each)


def _dimensions(context: Any) -> list[list[str]]:
    """Return the names and values by which a rule tells its alerts apart."""
    found = _first_condition(context).get("dimensions")
    named = [each for each in found[:_MOST_DIMENSIONS] if isinstance(each, Mapping)] if isinstance(found, list) else []
    return sorted([text(each.get("name")), text(each.get("value"))] for each in named)


def _event(context: Any) -> list[str]:
    """Return what an event of the activity log is about: an operation, or an incident of a service."""
    if not isinstance(context, Mapping):
        return []
    properties = context.get("properties")
    tracked = properties.get("trackingId") if isinstance(properties, Mapping) else None
    return [text(context.get("operationName")), text(tracked) or title(context)]


def title(context: Any) -> str:
    """Return what an event of the activity log calls itself, or an empty text."""
    properties = context.get("properties") if isinstance(context, Mapping) else None
    return scrub(text(properties.get("title")), 200) if isinstance(properties, Mapping) else ""


def _first_condition(context: Any) -> Mapping[str, Any]:
    try:
        first = context["condition"]["allOf"][0]
    except (TypeError, LookupError):
        return {}
    return first if isinstance(first, Mapping) else {}


def condition(context: Any) -> tuple[float | None, str]:
    """Return the value of the first condition, and what it is held against."""
    first = _first_condition(context)
    named = [first.get("metricName") or first.get("searchQuery"), first.get("operator"), first.get("threshold")]
    try:
        value = float(math.nan if (given := first.get("metricValue")) is None else given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    return (value if math.isfinite(value) else None), scrub(" ".join(filter(None, map(text, named))), 300)


def text(value: Any) -> str:
    """Return a text or a number as text, cut; what is neither says nothing."""
    if isinstance(value, str):
        return value[:1000]
    return f"{value:.15g}" if isinstance(value, int | float) and abs(value) < 1e15 else ""


def small(value: Any) -> str:
    """Return a name as it is compared: in small letters, without space around it."""
    return text(value).strip().lower()


def digest(found: str) -> str:
    """Return twelve hexadecimal digits that stand for a text."""
    return hashlib.sha256(found.encode("utf-8", "replace")).hexdigest()[:12]


_YEARS = (2000, 2200)
"""Years that a clock can mean."""


def time(value: Any) -> datetime | None:
    """Return an instant to the second, in UTC where it names no zone; None for what is none."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    at = (at if at.tzinfo else at.replace(tzinfo=UTC)).replace(microsecond=0)
    return at if _YEARS[0] <= at.year <= _YEARS[1] else None
