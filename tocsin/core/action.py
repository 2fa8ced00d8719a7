"""One action as a policy names it: what it takes, what is ordered, and what it would change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.core.config import Target
from tocsin.core.text import PLACEHOLDER


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument: the values it may have, or what a value looks like (a pattern for the whole of it, and words)."""

    choices: tuple[str, ...] = ()
    pattern: str = ""
    says: str = ""
    needed: bool = True

    def takes(self, value: str) -> bool:
        """Return whether ``value`` may be given."""
        return value in self.choices if self.choices else bool(re.fullmatch(self.pattern or r".+", value))


_FREE = Arg(pattern=r"[^\x00-\x1f\x7f]{1,1000}", says="a text of one line, a thousand letters at most", needed=False)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class Takes:
    """Everything an action takes. ``one_of`` are arguments of which at least one must be given.

    ``prefix`` are beginnings (``input.``): what begins so is an argument, too, whose name the other
    side has given.
    """

    args: Mapping[str, Arg] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    undone: bool = False
    """Whether it can be taken back."""
    prefix: tuple[str, ...] = ()
    changes: str = ""
    """What it changes, in a sentence."""
    needs: tuple[str, ...] = ()
    """The least that its identity must be allowed, as Azure names it, at the one app."""

    def arg(self, name: str) -> Arg | None:
        """Return the argument of this name, or None when there is none."""
        if name in self.args:
            return self.args[name]
        return (
            _FREE if any(name.startswith(each) and _NAME.fullmatch(name[len(each) :]) for each in self.prefix) else None
        )

    def lacking(self, given: Mapping[str, str]) -> Iterator[str]:
        """Yield what is missing, in words: each needed argument, and the choice of which none was made."""
        yield from (name for name, arg in self.args.items() if arg.needed and name not in given)
        if self.one_of and not any(name in given for name in self.one_of):
            yield " or ".join(self.one_of)

    def misfits(self, given: Mapping[str, str]) -> Iterator[str]:
        """Yield why these arguments cannot be carried out, in words that repeat no value."""
        yield from (f"'{name}' is missing" for name in self.lacking(given))
        for name, value in given.items():
            arg = self.arg(name)
            if arg is None or not arg.takes(value):
                yield f"'{name}' is no argument" if arg is None else f"'{name}' has a value that it cannot have"
            elif left := PLACEHOLDER.search(value):
                yield f"'{name}' still holds {left[0]}"


@dataclass(frozen=True, slots=True)
class Order:
    """One step of one execution, as its actuator gets it. ``id`` is the same at every attempt, and no other's.

    ``facts`` are what an outside party may be told of the alert: its rule, severity, episode and value, never a text
    from telemetry. ``since`` is when the intent was recorded: nothing of this order can be in the world from before.
    ``attempts`` counts those that came to nothing, or to nothing that is known.
    """

    id: str
    target: Target
    args: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    """When it was intended, which is before anything was done about it; None where nothing was intended yet."""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Undo:
    """The action that takes another back, as a policy would name it."""

    action: str
    args: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an order would change, a sentence for each thing it touches; none when there is nothing left to change."""

    changes: tuple[str, ...]
    undo: Undo | None = None
