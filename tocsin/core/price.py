"""Whether the app records what a model costs: of one that its price table lacks, no rule of cost sees anything."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin.core import kql
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.compile import COUNTED, bounds, let
from tocsin.core.config import Target

LOOKED_BACK = timedelta(days=30)
"""How far back a call of the model counts: a workspace keeps as much."""

_TOKENS = " + ".join(f"todouble(tostring(Properties['args_redacted.{kind}_tokens']))" for kind in ("input", "output"))


def calls(target: Target, model: str, now: datetime) -> Query:
    """Return the query for how many model calls were recorded (``calls``), of the model (``own``) and with a price."""
    start = now - LOOKED_BACK
    its = f"tostring(Properties['args_redacted.model']) == {kql.text(model)}"
    lines = [
        "AppTraces",
        f"where {bounds(target)}",
        f"extend {COUNTED}",
        f"where tostring(Properties.event_name) == 'cost.call' and {_TOKENS} > 0.0",
        f"summarize calls = sum(ItemCount), own = sumif(ItemCount, {its}), "
        f"priced = sumif(ItemCount, {its} and todouble(tostring(Properties.value)) > 0.0)",
    ]
    return Query(let(start, now) + "\n| ".join(lines), start, now)


def beware(model: str, answer: Rows | NoAnswer) -> str:
    """Return why the model's cost may not be seen, by the answer to ``calls``; empty where nothing is wrong.

    Nothing is said of an app that records no cost at all, or where telemetry does not answer: that is no news here.
    """
    row = next(iter(answer.dicts()), {}) if isinstance(answer, Rows) else {}
    if not row.get("calls") or row.get("priced"):
        return ""
    if row.get("own"):
        return f"calls of {model} are recorded as free: the app has no price for it, and no rule of cost would see it"
    return f"no call of {model} was recorded in {LOOKED_BACK.days} days: whether the app has its price is not known"
