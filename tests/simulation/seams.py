"""The places where a process may die, be slow, be overtaken, or find that the world has moved: each call it makes.

A process is one tick. It is dead from the moment it dies: nothing it would still do in passing reaches the world.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from tocsin.core.read import Project
from tocsin.engine import asking, mirroring, tick
from tocsin.ports import StoreUnavailable

if TYPE_CHECKING:
    from tests.simulation.world import World

WRITES = frozenset(
    ("commit", "record", "claim", "settle", "beat", "save_mark", "enqueue", "keep", "lock", "unlock", "sweep")
)

_OFTEN = {"record": 6, "lock": 6, "keep": 3}
"""What is written around an act: there more happens than elsewhere."""


class Crash(BaseException):
    """The process is gone: no handler of the engine's sees this."""


@dataclass(eq=False)
class Process:
    """One tick of one engine. ``begun`` is what had happened until then, as a count of the witness's."""

    name: str
    begun: int
    project: Project
    at: datetime
    dead: bool = False
    read: dict[str, int] = field(default_factory=dict)
    """Target → the newest version of its app that this process has seen."""
    judging: str = ""
    """The target whose rules it judges just now: what it reads meanwhile is evidence."""
    stale: set[str] = field(default_factory=set)
    """Targets of which it was last shown something old: the next look is at the truth."""


class Seamed:
    """A store as one process sees it."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world.store, name)
        writes = name in WRITES
        world, process = self._world, self._process

        def called(*args: Any, **kwargs: Any) -> Any:
            world.seam(process, name)
            if writes and world.chance.fault(0.0008):
                self._fails(f"the store does not answer {name}")
            process.judging = {"load_all": args[:1], "save_mark": ("",)}.get(name, (process.judging,))[0]
            result = method(*args, **kwargs)
            if writes:
                world.witness.wrote(name)
                if name == "settle":
                    world.witness.settled(args[0])
                if world.chance.fault(0.0008):
                    self._fails(f"the store takes {name} and does not say so")
                world.seam(process, f"{name} written", likely=_OFTEN.get(name, 1))
            return result

        return called

    def _fails(self, words: str) -> None:
        self._world.tell(self._process.name, words)
        self._world.story.count("store away")
        raise self._world.planted(StoreUnavailable(words))


class Inline:
    """Stands for a pool of threads: whatever is submitted is done at once."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Do it now; what it raises is raised here."""
        done: Future[Any] = Future()
        done.set_result(call(*args))
        return done

    def map(self, call: Callable[[Any], Any], things: Iterable[Any]) -> Iterator[Any]:
        """Do it for each, one after the other."""
        return map(call, list(things))


@contextlib.contextmanager
def pinned(world: World) -> Iterator[None]:
    """While this lasts the engine has no threads, no clock and no randomness but the world's."""
    names = iter(range(10**9))
    clock = SimpleNamespace(monotonic=lambda: world.now.timestamp())
    with contextlib.ExitStack() as stack:
        for module in (tick, asking):
            stack.enter_context(mock.patch.object(module, "ThreadPoolExecutor", Inline))
        stack.enter_context(mock.patch.object(asking, "wait", lambda running, **_: (list(running), [])))
        for module in (tick, mirroring):
            stack.enter_context(mock.patch.object(module, "time", clock))
        secrets = SimpleNamespace(token_hex=lambda length: f"{next(names):0{2 * length}x}")
        stack.enter_context(mock.patch.object(tick, "secrets", secrets))
        yield
