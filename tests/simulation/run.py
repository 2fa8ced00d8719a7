"""Seeds, one after the other, each a story of an hour or so; the first that ends wrong is told.

python -m tests.simulation.run [SEEDS] [FROM]        how many, and from which on
python -m tests.simulation.run 1 417 --trace         tells one story, whatever becomes of it
python -m tests.simulation.run 10000 0 --all         goes on after one that ends wrong, and lists them in the end
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

from tests.simulation.chance import HOUR, MINUTE, SECOND
from tests.simulation.seams import pinned
from tests.simulation.story import Story
from tests.simulation.witness import Wrong
from tests.simulation.world import World
from tocsin.core.message import Settled

TICKS = 21

_MANY = 100
"""Seeds from which on they are shared out among processes."""


@dataclass(frozen=True)
class Told:
    """One seed's story. ``wrong`` is what must not have been, or empty."""

    seed: int
    story: Story
    wrong: str


def play(seed: int) -> Told:
    """Play one seed to its end."""
    world = World(seed)
    try:
        with pinned(world):
            _live(world)
            world.heal()
            _burn_last(world)
            _until_quiet(world)
            world.witness.end()
    except Wrong as wrong:
        return Told(seed, world.story, str(wrong))
    finally:
        world.store.close()
    return Told(seed, world.story, "")


def _live(world: World) -> None:
    chance = world.chance
    world.people.light(world.targets[0])
    for _ in range(TICKS):
        world.now += chance.whole(25, 75) * SECOND
        if chance.fault(0.3):
            world.people.act()
        if chance.fault(0.04):
            world.now += chance.whole(5, 18) * MINUTE
            world.tell("world", "nobody has watched for a while")
        if chance.fault(0.03):
            world.step()
        _tick(world)


def _tick(world: World) -> None:
    chance = world.chance
    name = chance.one(("one", "one", "one", "two"))
    kind = chance.one(("timer",) * 7 + ("event", "word"))
    world.tell(name, f"ticks ({kind})")
    if kind == "event":
        world.tick(name, [chance.one(world.targets).name])
    else:
        world.tick(name, evaluate=kind == "timer")


def _until_quiet(world: World) -> None:
    """Tick until nothing is under way and nothing waits, for as long as that may take."""
    ends, least = world.now + 3 * HOUR, world.now + 4 * MINUTE
    while world.now < ends and (world.now < least or _busy(world)):
        world.now += 2 * MINUTE
        world.tick("one")


_IN_TIME = 6
"""Minutes in which a misconfiguration is notified and its policy has acted: two of them it has to last."""


def _burn_last(world: World) -> None:
    """Let one more target burn: whatever cannot be healed, it is notified and acted on in time."""
    target = world.add_last()
    for _ in range(_IN_TIME):
        world.now += MINUTE
        world.tick("one")
        if not world.witness.missing(target):
            break
    else:
        world.witness.must(False, f"{target.name} burns and {world.witness.missing(target)}")
    world.people.put_right()


def _busy(world: World) -> bool:
    waiting = any(each.state is Settled.WAITING for each in world.store.deliveries(10_000))
    return waiting or bool(world.witness.under_way())


def main(seeds: int = 2000, first: int = 0, *, trace: bool = False, on: bool = False) -> int:
    """Play seeds until one ends wrong, or go ``on`` to the last; return 1 when one did."""
    begun, counts, wrong = time.monotonic(), Counter[str](), list[int]()
    with ProcessPoolExecutor(os.cpu_count()) if seeds > _MANY else nullcontext() as pool:
        stories = (
            pool.map(play, range(first, first + seeds), chunksize=20)
            if pool
            else map(play, range(first, first + seeds))
        )
        for number, told in enumerate(stories, 1):
            counts.update(told.story.counts)
            if told.wrong or trace:
                print(told.story if trace or not on else "")
                print(f"seed={told.seed} digest={told.story.digest} {told.wrong or 'all is as it must be'}", flush=True)
            if told.wrong:
                print(f"again: make simulate SEEDS=1 FROM={told.seed} TRACE=1", flush=True)
                wrong.append(told.seed)
                if not on:
                    break
            if number % 100 == 0:
                print(f"{number:>6} seeds, {number / (time.monotonic() - begun):.1f} a second", flush=True)
        if pool and wrong and not on:
            pool.shutdown(wait=False, cancel_futures=True)
    if not wrong or on:
        print("; ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    if on:
        print(f"{seeds} seeds from {first} on, {len(wrong)} failed{': ' if wrong else ''}{', '.join(map(str, wrong))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:] if each.isdigit()]
    sys.exit(main(*given, trace="--trace" in sys.argv, on="--all" in sys.argv))
