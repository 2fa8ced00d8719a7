"""The queries that the golden KQL shows: the shipped rules' own, compiled for one target, with all that is fixed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from tests.conftest import ROOT
from tests.reading_cases import SETTINGS
from tocsin import app, signals
from tocsin.core.answer import Query
from tocsin.core.compile import beginning, compile_logs, compile_signal, freshness, windows
from tocsin.core.config import Target
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs
from tocsin.files import read_project

AT = datetime(2026, 11, 20, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TARGET = Target(name="sales-research", workspace="w", role_name="sales-research-api")
OWN = Rule.model_validate(
    {
        "id": "exceptions",
        "summary": "{value} exceptions of {exception}",
        "severity": "P3",
        "when": {
            "kql": "AppExceptions // by exception\n| summarize value = sum(ItemCount) by exception = ExceptionType;",
            "above": "1",
            "over": "1h",
            "by": ["exception"],
        },
    }
)
PER_CALL = Rule.model_validate(
    {
        "id": "dear_calls",
        "summary": "x",
        "severity": "P2",
        "when": {"signal": "cost", "above": "1", "over": "1h", "by": ["agent", "model"]},
    }
)


@cache
def shipped() -> dict[str, Rule]:
    """Return the shipped rules over logs by name; the others ask no query."""
    known = signals.known()
    return {
        rule.id: rule
        for rule in read_project(ROOT, SETTINGS, app.known()).rules
        if rule.when.signal is None or any(isinstance(each, Logs) for each in known[rule.when.signal].sources)
    }


def queries(rule: Rule, *slots: datetime) -> list[Query]:
    """Return every query of a rule over logs for these slots: one a source, and one a length of window."""
    signal = signals.known().get(rule.when.signal or "")
    asked_of = signal.asked(rule.when.only) if signal else (None,)
    sources = [source for source in asked_of if source is None or isinstance(source, Logs)]
    asked = [compile_logs(rule, signal, source, TARGET, windows(rule, slots)) for source in sources]
    return [ask.query for asks in asked for ask in asks]


def compiled(rule: Rule, *slots: datetime) -> Query:
    """Return the one query of a rule over logs for these slots."""
    (query,) = queries(rule, *slots)
    return query


def _named(rule: Rule) -> dict[str, Query]:
    """Return a rule's queries by name: the first by the rule's own, the others numbered."""
    found = enumerate(queries(rule, AT), 1)
    return {rule.id if number == 1 else f"{rule.id}_{number}": query for number, query in found}


def _side_effects() -> Query:
    (source,) = signals.known()["side_effect_tools"].sources
    assert isinstance(source, Logs)
    return compile_signal(source, TARGET, AT - 2 * MINUTE, AT)


def cases() -> dict[str, Query]:
    """Return every golden query by name."""
    return {
        **{name: query for rule in shipped().values() for name, query in _named(rule).items()},
        "catch_up": compiled(shipped()["high_error_rate"], AT - 2 * MINUTE, AT - MINUTE, AT),
        "dear_calls": compiled(PER_CALL, AT),
        "own_kql": compiled(OWN, AT),
        "side_effect_tools": _side_effects(),
        "beginning": beginning(TARGET, AT - timedelta(days=9), AT),
        "freshness": freshness(TARGET, AT - 4 * MINUTE, AT),
    }
