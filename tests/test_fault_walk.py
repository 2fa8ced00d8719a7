"""One failure stays one failure: whatever a tick does for one item may fail, and all others come out as without it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from tests.fault_walk import (
    CALLS,
    EXEMPT,
    INBOUND,
    KINDS,
    LAPSED,
    NOW,
    POLICIES,
    TARGETS,
    Came,
    Walk,
    came,
    failing,
    handled,
)

ERRORS: tuple[Exception, ...] = (
    ValueError("walk"),
    MemoryError("walk"),
    RecursionError("walk"),
    KeyError("walk"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    json.JSONDecodeError("walk", "", 0),
    sqlite3.DataError("walk"),
    httpx.ReadTimeout("walk"),
    HttpResponseError("walk"),
    ServiceRequestError("walk"),
)
"""What the code and the libraries under it raise."""

EVERY = 1 if os.environ.get("FULL") else 9
"""CI makes every ninth call fail, with one exception each; `make fault-walk` makes every call fail with every one."""


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    made = Walk(tmp_path_factory.mktemp("walk"))
    yield made
    made.base.close()


@pytest.fixture(scope="module")
def usual(walk: Walk) -> Came:
    store = walk.copy()
    found = came(walk.tick(store, NOW), store)
    store.close()
    return found


def test_the_tick_that_is_walked_acts_and_notifies_for_three_targets(usual: Came) -> None:
    assert {key[2] for key in usual.messages} == {*TARGETS, "unwatched"}
    assert {key[-1] for key in usual.messages} == {"", *INBOUND}
    assert {(key[0], key[-1]) for key in usual.executions if key[1] in POLICIES} == {(n, "applied") for n in TARGETS}
    assert {key[-1] for key in usual.executions if key[1] in LAPSED} == {"stood down"}
    assert usual.failures == 0


def test_a_call_that_fails_for_one_item_changes_nothing_for_the_others(
    walk: Walk, usual: Came, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = handled(walk)
    counts = Counter(kind for _, kind in calls)
    assert set(counts) == set(KINDS)
    found: list[str] = []
    tried = 0
    for number, ((name, kind), one) in enumerate(calls.items()):
        if number % EVERY:
            continue
        for error in ERRORS if EVERY == 1 else (ERRORS[number // EVERY % len(ERRORS)],):
            tried += 1
            what = f"{name} for the {kind} {one}: {type(error).__name__}"
            try:
                after = failing(walk, name, kind, one, error)
            except Exception as escaped:
                found.append(f"{what} ended the tick: {escaped!r}")
                continue
            if after.without(one) != usual.without(one) and (name, kind) not in CALLS:
                found.append(f"{what} changed what came of the others")
            if not after.failures:
                found.append(f"{what} was notified to nobody")
    with capsys.disabled():
        print(f"\nfault walk: {len(calls)} calls handle one item: {dict(counts)}")
        print(f"{tried} faults, {len(found)} deviations; {len(CALLS)} calls and {len(EXEMPT)} modules are exempt")
    assert not found, "\n".join(found)
