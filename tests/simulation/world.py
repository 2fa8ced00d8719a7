"""One clock, one store, one platform, two engines: every call of an engine's is a seam where the world may move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.simulation import hostile, platform, setting
from tests.simulation.chance import MINUTE, SECOND, T0, Chance
from tests.simulation.people import People
from tests.simulation.platform import Apps, Dials
from tests.simulation.receivers import Inbox, Notified
from tests.simulation.seams import Crash, Process, Seamed
from tests.simulation.senders import Senders
from tests.simulation.story import Story
from tests.simulation.telemetry import Truth, Workspace
from tests.simulation.witness import Witness
from tocsin import signals
from tocsin.core import container
from tocsin.core.config import Target
from tocsin.engine.tick import Engine
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.ports import StoreUnavailable
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.container_app import ContainerAppConfiguration
from tocsin.testing import Heard

SHARED = 5
"""In every so many-th seed the apps share out their traffic: an old revision serves until somebody says otherwise."""

_STEPS = ((1, 4), (-4, -1), (20, 45), (-25, -15))
"""By how many minutes a clock may be wrong: by what clocks differ, and by far more."""

_SIGNALS = signals.known()


@dataclass
class _Log(Heard):
    """Keeps failures alone: a defect that the engine isolates must not stay hidden."""

    def __post_init__(self) -> None:
        super().__init__()

    def info(self, event: str, /, **fields: object) -> None:
        """Forget it."""

    warning = info


class World:
    """Everything there is in one seed."""

    def __init__(self, seed: int) -> None:
        self.chance, self.story, self.now = Chance(seed), Story(), T0
        self.ahead = timedelta()
        """By how much the clock of the engines and of who works beside them is ahead; less than nothing is behind."""
        self.project = setting.drawn(self.chance)
        self.store: Any = SqliteStore(":memory:")
        self.arm = ContainerAppsStandIn(lambda: self.now)
        self.truth = {each.name: Truth() for each in self.targets}
        self.inboxes = {name: Inbox() for name in setting.RECEIVERS}
        self.version = {each.name: 1 for each in self.targets}
        self.shown: dict[str, tuple[int, container.App]] = {}
        self.dials, self.called, self.log = Dials(), list[str](), _Log()
        self.witness, self.people = Witness(self), People(self)
        self.running: list[Process] = []
        self.senders, self.spoiled = Senders(self), list[str]()
        self.faults: set[str] = set()
        """What was raised on purpose, as the log says it."""
        for target in self.targets:
            self.arm.create(target, dict(setting.APPROVER), multiple=seed % SHARED == 0)

    @property
    def clock(self) -> datetime:
        """What time it is by the clock of the engines."""
        return self.now + self.ahead

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is watched."""
        return self.project.config.targets

    def lost(self, identity: str) -> bool:
        """Return whether a row that cannot be read any more held something about this."""
        return any(identity in each for each in self.spoiled)

    def tell(self, who: str, what: str) -> None:
        """Add a line to the story."""
        self.story.tell(self.now, who, what)

    def planted(self, error: Exception) -> Exception:
        """Return an exception that is raised on purpose: whoever says that it failed by it is right."""
        self.faults.add(repr(error)[:200])
        return error

    def broken(self, process: Process, what: str, likely: float = 0.002) -> None:
        """Let one item fail by itself, as a defect or a library would have it: the others go on."""
        if self.chance.quiet or process.name == "ann" or not self.chance.fault(likely):
            return
        error = self.chance.one((ValueError, MemoryError, RecursionError, KeyError))
        self.tell(process.name, f"{what} raises {error.__name__}")
        self.story.count("item raises")
        raise self.planted(error(f"planted: {what}"))

    # What may happen at any call

    def seam(self, process: Process, what: str, likely: float = 1.0) -> None:
        """Let the process die here, be slow, be overtaken by another, or find that the world has moved meanwhile."""
        if process.dead:
            raise Crash
        chance = self.chance
        if chance.quiet or process.name == "ann" or not chance.fault(0.016 * likely):
            return
        happens = chance.one(("die", "slow", "other", "other", "other", "people", "people"))
        if happens == "die":
            process.dead = True
            self.tell(process.name, f"dies at {what}")
            self.story.count("crash")
            raise Crash
        if happens == "slow":
            self.now += chance.whole(1, 8) * SECOND
        elif happens == "other" and len(self.running) < 2:
            self.tell(process.name, f"is overtaken at {what}")
            self.story.count("overtaken")
            self.tick("two" if process.name == "one" else "one")
        elif happens == "people":
            self.people.act(f"while {process.name} is at {what}")

    def tick(self, name: str, only: list[str] | None = None, *, evaluate: bool = True) -> None:
        """Let one engine tick once, as a process of its own."""
        now = self.clock
        ended = self.run(name, lambda engine: engine.tick(now, only, evaluate=evaluate))
        self.witness.looked(whole=ended and only is None)

    def step(self) -> None:
        """Let the clock of the engines be another than before, or right again."""
        self.ahead = timedelta() if self.ahead else self.chance.whole(*self.chance.one(_STEPS)) * MINUTE
        self.tell("world", f"the clock is ahead by {self.ahead // MINUTE} minutes")
        self.story.count("clock stepped")

    def run(self, name: str, call: Callable[[Engine], object]) -> bool:
        """Let one engine do one thing, as a process of its own; return whether it came to its end."""
        process = Process(name, self.witness.moment, self.project, self.now)
        self.running.append(process)
        try:
            call(self._engine(process))
        except Crash:
            return False
        except StoreUnavailable:
            self.tell(name, "gives this tick up")
            return False
        except Exception as error:
            self.witness.must(False, f"one failure ended the whole: {error!r}")
        finally:
            self.running.remove(process)
            process.dead = True
        return True

    def _engine(self, process: Process) -> Engine:
        apps = Apps(self, process)
        store: Any = Seamed(self, process)
        notifiers: Any = {each: Notified(self, process, each) for each in setting.RECEIVERS}
        return Engine(
            project=process.project,
            signals=_SIGNALS,
            store=store,
            telemetry=Workspace(self, process),
            configuration=ContainerAppConfiguration(apps),
            notifiers=notifiers,
            actuators=platform.actuators(self, process, apps),
            log=self.log,
            owner=process.name,
        )

    # What becomes of apps

    def rollout(self) -> None:
        """Draw how the next revision goes."""
        chance, arm = self.chance, self.arm
        arm.ready_after = chance.whole(35, 150) * SECOND
        fails = "" if not chance.fault(0.06) else chance.one(("failing", "never", "stuck"))
        arm.failing, arm.never_ready, arm.stuck = (
            "ImagePull" if fails == "failing" else "",
            fails == "never",
            fails == "stuck",
        )
        if fails:
            self.story.count(f"rollout {fails}")

    def changed(self, target: Target) -> None:
        """Note that the app is another than before."""
        self.version[target.name] += 1

    def look(self, target: Target) -> None:
        """Note since when the tools of a target are switched off, by what serves now."""
        serving = self.arm._settled(self.arm._app(target)).revisions
        app = platform.read(self, target)
        truth = self.truth[target.name]
        off = bool(app.serving) and all(container.engaged(each.env.get(setting.SWITCH)) for each in app.serving)
        since = max((each.ready or T0 for each in serving if each.active), default=T0)
        truth.safe_since = since if off else None

    def heal(self) -> None:
        """End everything that is wrong, so that what was promised can come to its end."""
        self.chance.quiet, self.ahead = True, timedelta()
        self.arm.failing, self.arm.never_ready, self.arm.stuck = "", False, False
        self.arm.ready_after = timedelta(seconds=60)
        self.people.put_right()
        self.senders.send()
        self.tell("world", "everything is well from here on")

    def add_last(self) -> Target:
        """Add a target that nothing has happened to, and let it burn while all that cannot be healed is still there."""
        self.project = setting.last(self.project)
        target = self.targets[-1]
        self.truth[target.name], self.version[target.name] = Truth(), 1
        self.arm.create(target, dict(setting.APPROVER))
        self.people.light(target)
        if setting.AGENTS in self.project.rules:
            hostile.fail(self, target, 6)
        return target
