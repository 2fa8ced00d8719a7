"""The lock on what is acted on. A policy, a drill and a person hold the same one: only one of them changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from tocsin.ports import Store

HELD_FOR = timedelta(minutes=2)
"""Longer than an action waits for answers, so that nobody takes over while one is under way."""


@contextmanager
def alone(store: Store, what: str, owner: str, now: datetime) -> Iterator[bool]:
    """Hold the lock while the block runs, or say that another does. Raises ``StoreUnavailable``.

    ``what`` is a target's name, or what a person decides; ``owner`` names this one caller and no other.
    """
    name = f"act/{what}"
    mine = store.lock(name, owner, now, HELD_FOR)
    try:
        yield mine
    finally:
        if mine:
            store.unlock(name, owner)
