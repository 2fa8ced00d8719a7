"""Several engines at once on one store, for every action there is: whatever they race for is done once.

    python -m tests.racing [ROUNDS] [ACTION]      both stores; prints the rounds and the doubles of each action

A round is one deed that is wanted on one target, for which four engines race: two timers, an event and a work message.
Some rounds ask first, and two people approve at once; a release is ordered by a link that is pressed twice at once.
Writes take a moment, so that whatever is not done under a lock is overtaken. Most rounds on Azurite, where a decision
takes a hundred requests, begin at an intent that was recorded: from there on the four race to carry it out.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import typer

from tests.interleaving import Steady
from tests.stage import MINUTE, MISCONFIGURED, T0, TARGET
from tocsin import actuators, signals
from tocsin.cli import switching
from tocsin.cli.output import Output
from tocsin.connections import arm
from tocsin.connections.arm import ContainerApps, Sent
from tocsin.connections.http import Fetched, Http, Reply
from tocsin.core import remedy
from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.answer import NoAnswer
from tocsin.core.audit import Author, Via
from tocsin.core.config import Config, Target
from tocsin.core.container import App
from tocsin.core.evidence import step
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Phase
from tocsin.engine import consenting, personal
from tocsin.engine.tick import Engine
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.ports import Conflict, Store, StoreUnavailable
from tocsin.stores import tables
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.container_app import ContainerAppConfiguration
from tocsin.testing import Heard

ENGINES = 4
BATCH = 20
"""Rounds that are raced for at once: what an engine reads for one it reads for all."""

RELEASE = "killswitch.release"
ARGS: Mapping[str, Mapping[str, str]] = {
    "container_app.activate_revision": {"revision": "{app}--0000001"},
    "container_app.deactivate_revision": {"revision": "{app}--0000002"},
    "container_app.restart": {},
    "container_app.rollback": {"to": "{app}--0000001"},
    "container_app.scale": {"min": "2"},
    "container_app.set_env": {"name": "MODE", "value": "slow"},
    "event_grid.publish": {"topic_setting": "URL", "key_setting": "KEY", "type": "com.contoso.stopped"},
    "github_workflow.run": {"repo": "contoso/sales", "workflow": "evals.yml", "token_setting": "KEY"},
    "killswitch.engage": {"scope": "tools"},
    RELEASE: {"scope": "tools"},
    "container_app.start": {},
    "container_app.stop": {},
    "model.swap": {"to": "backup-model"},
    "webhook.call": {"url_setting": "URL", "secret_setting": "SECRET"},
}
"""What each action is given; an action without a line here fails the race."""

ORDERED = ("container_app.start", "container_app.stop")
"""What is raced for as a person ordered it: policies stop one app at a time, and start none."""

_SETTINGS = {"URL": "https://partner.example/hook", "KEY": "a-key-of-the-race", "SECRET": "whsec_" + "c2VjcmV0" * 4}


class World:
    """Everything that can be changed, and how often it was: apps, runs of workflows, and whoever is called."""

    def __init__(self) -> None:
        self.now, self.deeds = T0 - 2 * MINUTE, Counter[str]()
        self.answering = 0.0
        """Seconds between what an app was and when it is known."""
        self.arm = ContainerAppsStandIn(lambda: self.now, ready_after=timedelta())
        self.runs: list[dict[str, Any]] = []
        self._mutex, self._lots = threading.Lock(), random.Random(7)

    def did(self, what: str) -> None:
        """Count one change, which takes a moment."""
        with self._mutex:
            self.deeds[what] += 1
            pause = self._lots.random() * 0.004
        time.sleep(pause)


class Slow:
    """A store whose writes take a moment: others come by between any two."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._lots = inner, random.Random()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in ("record", "lock", "unlock", "keep"):
            return method

        def slow(*args: Any, **kwargs: Any) -> Any:
            if self._lots.random() < 0.5:
                time.sleep(self._lots.random() * 0.004)
            return method(*args, **kwargs)

        return slow


@dataclass
class Apps(ContainerApps):
    """Apps that are called without a network, and never say that another operation runs: nothing but locks helps."""

    world: World

    def get(self, target: Target) -> App | NoAnswer:
        with self.world.arm._mutex:
            app = self.world.arm._settled(self.world.arm._app(target))
            document = json.loads(json.dumps(app.document(self.world.now)))
            revisions = [json.loads(json.dumps(app.revision(each, self.world.now))) for each in app.revisions]
        time.sleep(self.world.answering)
        return arm._app(document, revisions, target)

    def act(self, target: Target, revision: str, verb: str) -> Sent | NoAnswer:
        with self.world.arm._mutex:
            app = self.world.arm._app(target)
            self.world.arm._acted(app, next(each for each in app.revisions if each.name == revision), verb)
        self.world.did(target.name)
        return Sent()

    def turn(self, target: Target, verb: str) -> Sent | NoAnswer:
        with self.world.arm._mutex:
            self.world.arm._turned(self.world.arm._app(target), verb)
        self.world.did(target.name)
        return Sent()

    def replicas(self, target: Target, revision: str) -> Any:
        with self.world.arm._mutex:
            found = next(each for each in self.world.arm._app(target).revisions if each.name == revision)
            return tuple(found.replicas(self.world.now))

    def _patch(self, target: Target, body: Mapping[str, Any]) -> Sent | NoAnswer:
        with self.world.arm._mutex:
            self.world.arm._patched(self.world.arm._app(target), body, "https://platform")
        self.world.did(target.name)
        return Sent()


class Line(Http):
    """Whoever is called from outside: a partner, a topic, GitHub. It takes whatever comes, however often."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def post(self, url: str, *, content: bytes | None = None, **_: Any) -> Reply:  # type: ignore[override]
        said = json.loads(content or b"{}")
        self.world.did(said["data"]["target"])
        return Reply(200)

    def fetch(self, method: str, url: str, *, json: Any = None, **_: Any) -> Fetched:  # type: ignore[override]
        if method == "POST":
            return self._dispatched(json["inputs"])
        body = {"workflow_runs": list(self.world.runs)}
        return Fetched(200, {}, _bytes(body))

    def _dispatched(self, inputs: Mapping[str, str]) -> Fetched:
        """Start a run, which shows only a moment later."""
        self.world.did(inputs["input_target"])
        run = {"id": len(self.world.runs) + 1, "created_at": f"{self.world.now.isoformat()}", "status": "queued"}
        self.world.runs.append({**run, "event": "workflow_dispatch", "display_title": f"tocsin {inputs['tocsin']}"})
        return Fetched(204)


def _bytes(body: Any) -> bytes:
    return json.dumps(body).encode()


@dataclass
class Race:
    """A batch of rounds of one action, which ``begins`` when an alert fires, is asked, or was intended already.

    ``stores`` returns a store for each engine.
    """

    action: str
    stores: Callable[[], Any]
    begins: Literal["fires", "asked", "intended"] = "fires"
    rounds: int = BATCH
    world: World = field(default_factory=World)
    lots: random.Random = field(default_factory=lambda: random.Random(1))
    commands: bool = False
    """Whether two people type the same into the command line at the same moment."""
    side_by_side: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))

    def __post_init__(self) -> None:
        self.targets = [self._target(number) for number in range(self.rounds)]
        decided = self.action != RELEASE and self.begins != "intended"
        policies = [self._policy(each) for each in self.targets] if decided else []
        config = {
            "automation": "act",
            "targets": self.targets,
            "routes": {"to": ["oncall"]},
            "receivers": {"oncall": {"type": "stdout"}},
            "fallback": "oncall",
            "budgets": {"actions_per_hour": 1000, "actions_at_once": 1000},
        }
        self.project = Project(rules=(MISCONFIGURED,), policies=tuple(policies), config=Config.model_validate(config))
        for target in self.targets:
            self._app(target)
        self.world.now, self.world.answering = T0, 0.005 if self.commands else 0.0

    def _target(self, number: int) -> Target:
        name = f"t{number}"
        changes = {"name": name, "container_app": name, "labels": {"env": "prod", "only": name}}
        return TARGET.model_copy(update={**changes, "allow": tuple(ARGS)})

    def _args(self, target: Target) -> dict[str, str]:
        args = {name: value.replace("{app}", target.container_app) for name, value in ARGS[self.action].items()}
        return args | ({"input.input_target": target.name} if self.action == "github_workflow.run" else {})

    def _policy(self, target: Target) -> Policy:
        return Policy.model_validate(
            {
                "id": f"race_{target.name}",
                "summary": "Race.",
                "on": {"rule": MISCONFIGURED.id, "labels": {"only": target.name}},
                "do": [{"action": self.action, "args": self._args(target)}],
                "guard": {
                    "mode": "ask" if self.asks else "act",
                    "at_most": "1 per 1h",
                    "blast_radius": "1000 targets per 1h",
                },
            }
        )

    def _app(self, target: Target) -> None:
        on = {"KILLSWITCH_TOOLS": "on"} if self.action == RELEASE else {}
        env = {"AZURE_AI_FOUNDRY_MODEL": "first-model", **on}
        revisions = self.action in ("container_app.activate_revision", "container_app.deactivate_revision")
        self.world.arm.create(target, env, multiple=revisions)
        if revisions or self.action == "container_app.rollback":
            self.world.now += MINUTE / 60
            self.world.arm.provision(target, {**env, "RELEASE": "2"})
        if self.action == "container_app.activate_revision":
            self._settle_second(target)
        if self.action == "container_app.start":
            self.world.arm.turn(target, "stop")

    def _settle_second(self, target: Target) -> None:
        """Let the second revision serve and the first be off."""
        self.world.arm.set_traffic(target, [{"revisionName": f"{target.container_app}--0000002", "weight": 100}])
        self.world.arm._app(target).revisions[0].deactivate(self.world.now)

    def _published(self, _topic: str, event: Mapping[str, Any], *_: Any) -> Reply:
        self.world.did(event["data"]["target"])
        return Reply(200)

    @property
    def asks(self) -> bool:
        """Whether people approve."""
        return self.begins == "asked"

    # Racing

    def run(self) -> int:
        """Race, and return how many deeds were done that should not have been, or were not done."""
        engines = [self._engine(number) for number in range(ENGINES)]
        try:
            self._prepare(engines[0])
            self._at_once(self._runners(engines))
            for minute in (1, 2, 3):  # whoever lost a lock in every round comes by again
                self.world.now = T0 + minute * MINUTE
                if self.begins != "intended" or len(self.world.deeds) < self.rounds:
                    self._fire(engines[0].store)
                    self._at_once([lambda engine=each: self._act(engine) for each in engines])
            return self._wrong(engines[0].store)
        finally:
            for each in engines:
                each.store.close()  # type: ignore[attr-defined]

    def _engine(self, number: int) -> Engine:
        apps = Apps(self.world)
        connections = actuators.Connections(
            apps, Line(self.world), lambda name: _SETTINGS[name], token=lambda *_: "a-token", publish=self._published
        )
        return Engine(
            project=self.project,
            signals=signals.known(),
            store=Slow(self.stores()),  # type: ignore[arg-type]
            telemetry=Steady(),
            configuration=ContainerAppConfiguration(apps),
            notifiers={},
            actuators=actuators.made(connections),
            log=Heard(),
            owner=f"engine {number}",
        )

    def _prepare(self, engine: Engine) -> None:
        self._fire(engine.store)
        if self.asks:
            self._act(engine)
        if self.begins == "intended" and self.action != RELEASE:
            for each in self.targets:
                given = remedy.ordered("kim", f"race-{each.name}", each, self.action, self._args(each), self.world.now)
                engine.store.record(given, [step("intended", given, self.world.now)])

    def _fire(self, store: Store) -> None:
        if self.begins == "intended" or self.action == RELEASE:
            return
        for target in self.targets:
            alert = Alert(MISCONFIGURED.id, target.name, state=State.FIRING, since=T0, fired=T0 - 9 * MINUTE)
            fresh = replace(alert, held=9 * MINUTE, last=Verdict.BREACHED, slot=self.world.now)
            store.commit(MISCONFIGURED.id, target.name, [fresh], [], store.load(MISCONFIGURED.id, target.name).etag)

    def _runners(self, engines: list[Engine]) -> list[Callable[[], None]]:
        """Two timers look at all targets, an event and a work message at one after the other, in their own orders."""
        timers = [lambda engine=each: self._act(engine) for each in engines[:2]]
        if self.begins == "intended":
            timers = [lambda engine=each: self._act(engine) for each in engines]
            typed = [lambda number=each: self._type(number) for each in (7, 8)] if self.commands else []
            return timers + typed if self.action != RELEASE else [*timers, *typed, *self._people()]
        orders = [[each for each in self.targets for _ in range(2)], self.lots.sample(self.targets, self.rounds)]
        singles = [
            lambda engine=each, mine=some: [self._act(engine, [one]) for one in mine]
            for each, some in zip(engines[2:], orders, strict=True)
        ]
        return [*timers, *singles, *(self._people() if self.asks or self.action == RELEASE else [])]

    def _people(self) -> list[Callable[[], None]]:
        return [lambda name=each: self._decide(name) for each in ("kim", "ann")]

    def _act(self, engine: Engine, targets: list[Target] | None = None) -> None:
        engine._actor(timedelta).act(self.world.now, targets or self.targets)

    def _type(self, number: int) -> None:
        """Type `tocsin killswitch engage --no-wait` for every target."""
        app: Any = SimpleNamespace(engine=self._engine(number), clock=SimpleNamespace(now=lambda: self.world.now))
        with closing(app.engine.store):
            for target in self.targets:
                self.side_by_side.wait()
                with suppress(typer.Exit):
                    order = switching.Order(target, self.action.partition(".")[2], "tools", "it burns", wait=False)
                    switching.carry_out(app, order, Output.JSON)

    def _decide(self, name: str) -> None:
        """Press every button there is: on the same links as everybody else at this moment."""
        with closing(self.stores()) as store:
            reporter = replace(self._engine(9), store=store).reporter
            for target in self.targets:
                with suppress(Conflict, consenting.Over):
                    if self.action == RELEASE:
                        self._release(reporter, target, name)
                    else:
                        self._approve(reporter, target, name)

    def _release(self, reporter: Any, target: Target, name: str) -> None:
        identity = f"link-{target.name}"
        if personal.use(reporter.store, identity, self.world.now):
            consenting.release(reporter, target, "tools", name, identity, {}, self.world.now)

    def _approve(self, reporter: Any, target: Target, name: str) -> None:
        found = [each for each in reporter.store.executions() if each.target == target.name]
        for each in found:
            if each.phase is Phase.ASKED:
                consenting.consent(reporter, each.asks, Author(name, Via.LINK), self.world.now)

    def _at_once(self, runners: list[Callable[[], Any]]) -> None:
        failed: list[BaseException] = []
        begin = threading.Barrier(len(runners))

        def run(what: Callable[[], Any]) -> None:
            begin.wait()
            try:
                with suppress(StoreUnavailable):  # a busy machine: somebody else does it, or whoever comes by later
                    what()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=(each,)) for each in runners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def _wrong(self, store: Store) -> int:
        deeds = self.world.deeds
        wrong = [target.name for target in self.targets if deeds[target.name] != 1]
        phases = Counter(each.phase.value for each in store.executions())
        if wrong:
            done = {name: deeds[name] for name in wrong}
            print(f"  {self.action}: wanted once each, done {done}; executions {dict(phases)}", flush=True)
        return len(wrong)


@dataclass
class Figures:
    """What became of the rounds of one action on one store."""

    action: str
    store: str
    rounds: int = 0
    doubles: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.store:<8} {self.action:<34} {self.rounds:>5} rounds {self.doubles:>3} wrong {self.seconds:>7.1f} s"
        )


def raced(action: str, name: str, stores: Callable[[], Callable[[], Any]], rounds: int, batch: int = BATCH) -> Figures:
    """Race for an action so many rounds, which begin in all three ways in turn; return what came of it."""
    figures, begun = Figures(action, name), time.monotonic()
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # threads are interrupted wherever they are
    try:
        while figures.rounds < rounds:
            size = min(batch, rounds - figures.rounds)
            begins = "intended" if action in ORDERED else _begins(name, figures.rounds // batch)
            race = Race(action, stores(), begins, size)
            race.lots.seed(figures.rounds)
            figures.doubles += race.run()
            figures.rounds += size
    finally:
        sys.setswitchinterval(before)
    figures.seconds = time.monotonic() - begun
    return figures


def _begins(store: str, batch: int) -> Literal["fires", "asked", "intended"]:
    turns: tuple[Literal["fires", "asked", "intended"], ...] = ("intended", "fires", "asked")
    return turns[batch % 3] if store == "sqlite" else "intended" if batch % 25 < 23 else turns[batch % 25 - 22]


def on_sqlite(folder: Path) -> Callable[[], Any]:
    """Return what opens one new file again and again."""
    path = folder / f"{uuid.uuid4().hex}.db"
    return lambda: SqliteStore(path)


def on_tables(connection: str) -> Callable[[], Any]:
    """Return what opens one new table again and again."""
    name = f"t{uuid.uuid4().hex}"

    def connected() -> Any:
        from azure.data.tables import TableClient

        store = tables.TableStore(TableClient.from_connection_string(connection, name))
        store.prepare()
        return store

    return connected


def main(rounds: int = 1000, word: str = "") -> int:
    """Race for every action on both stores; return 1 when anything was done twice, or not at all."""
    from tests.azurite.server import Azurite

    found: list[Figures] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        azurite = Azurite(Path(folder))
        places: dict[str, Callable[[], Callable[[], Any]]] = {
            "sqlite": lambda: on_sqlite(Path(folder)),
            "azurite": lambda: on_tables(azurite.connection),
        }
        try:
            for name, stores in places.items():
                for action in sorted(actuators.known()):
                    if word in f"{name} {action}":
                        found.append(raced(action, name, stores, rounds))
                        print(found[-1], flush=True)
        finally:
            azurite.stop()
    total, wrong = sum(each.rounds for each in found), sum(each.doubles for each in found)
    print(json.dumps({"rounds": total, "wrong": wrong, "seconds": round(sum(each.seconds for each in found))}))
    return 1 if wrong else 0


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(int(given[0]) if given else 1000, " ".join(given[1:])))
