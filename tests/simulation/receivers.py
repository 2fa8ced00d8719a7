"""Receivers that are late, full, away, or that lose what they answer. What they took is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.simulation.seams import Process
from tocsin.core.message import Notice, Outcome, Said

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass
class Inbox:
    """What one receiver has taken, and whether it is away for now."""

    got: list[Notice] = field(default_factory=list)
    away: bool = False


class _Gone(Exception):
    """The connection was dropped."""


@dataclass
class Notified:
    """A receiver as one process reaches it."""

    world: World
    process: Process
    name: str

    def deliver(self, notice: Notice) -> Outcome:
        """Hand it over, or not, or not know."""
        world, inbox = self.world, self.world.inboxes[self.name]
        world.seam(self.process, f"tell {self.name}")
        world.witness.told(self.process, self.name, notice)
        if inbox.away or world.chance.fault(0.08):
            return self._refused()
        inbox.got.append(notice)
        world.tell(self.name, f"hears {notice.kind.value}: {notice.episode}")
        world.seam(self.process, f"told {self.name}")
        if world.chance.fault(0.04):
            world.tell(self.name, "does not answer though it heard")
            return Outcome(Said.AGAIN, "no answer in time")
        return Outcome(Said.ACCEPTED)

    def _refused(self) -> Outcome:
        how = self.world.chance.one(("429", "500", "drop", "500", "410"))
        self.world.tell(self.name, f"does not take a message: {how}")
        self.world.story.count("receiver away")
        if how == "drop":
            kind = self.world.chance.one((_Gone, ValueError, MemoryError, RecursionError))
            raise self.world.planted(kind("planted"))
        if how == "429":
            return Outcome(Said.AGAIN, how, timedelta(seconds=90))
        return Outcome(Said.REFUSED if how == "410" else Said.AGAIN, how)
