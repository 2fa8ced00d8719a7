"""What holds at one moment: the routes, everything that mutes, and which episodes somebody has taken on.

Belongs here: what telling and explaining must see alike. Does not belong here: who is told in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tocsin.core.ack import Acknowledgement, in_force
from tocsin.core.config import Config
from tocsin.core.group import Group
from tocsin.core.mute import Silence
from tocsin.core.route import compiled
from tocsin.core.telling import Audience
from tocsin.engine.failing import Failures
from tocsin.engine.muting import Careful, careful, firing
from tocsin.ports import Store


def audience(config: Config) -> Audience:
    """Return the tree of routes; one whose root names nobody goes to the fallback."""
    root = config.routes
    if not root.to and config.fallback:
        root = root.model_copy(update={"to": (config.fallback,)})
    return Audience(compiled(root), [name for name, each in config.receivers.items() if not each.resolved])


def muting(config: Config, store: Store, groups: Iterable[Group], now: datetime) -> Careful:
    """Return what notifying takes to mute at ``now``; ``groups`` say what fires. A silence that fails mutes nothing."""
    failures = Failures()
    return careful(config, store, firing(config, store, groups, failures), now, failures)


def silences(config: Config, store: Store, now: datetime) -> list[Silence]:
    """Return the silences that stand in the file, and those in the store that have not ended."""
    found = [each.silence(number) for number, each in enumerate(config.silences)]
    return found + [each.value for each in store.kept(Silence).values() if now < each.value.ends]


def acknowledgements(store: Store, now: datetime) -> dict[str, Acknowledgement]:
    """Return the acknowledgements in force, by episode."""
    found = (each.value for each in store.kept(Acknowledgement).values())
    return {each.episode: each for each in found if in_force(each, now)}
