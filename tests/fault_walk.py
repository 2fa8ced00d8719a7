"""A tick over three of each item, and the calls of it that handle one: each is made to fail, for one item."""

from __future__ import annotations

import importlib
import pkgutil
import sqlite3
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import tocsin.core
import tocsin.engine
import tocsin.stores
from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, STOP, T0, TARGET, Platform, Receiver, Stage
from tocsin.core import native as natives
from tocsin.core.ack import Acknowledgement
from tocsin.core.action import Order, Preview
from tocsin.core.alert import Alert
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.failing import PATIENCE
from tocsin.core.group import Group, Member
from tocsin.core.instance import texts
from tocsin.core.matching import parse
from tocsin.core.message import NEWS, OWN_ERROR, Delivery, Notice
from tocsin.core.mute import Silence
from tocsin.core.policy import Policy
from tocsin.core.remedy import Applied, Consent, Execution, Phase, Planned
from tocsin.core.rule import Rule
from tocsin.engine.react import enter
from tocsin.ports import Kept
from tocsin.stores.sqlite import SqliteStore

TARGETS = ("alpha", "bravo", "charlie")
RULES = ("hitl_misconfigured", "high_error_rate", "late_rule")
POLICIES = ("stop_alpha", "stop_bravo", "stop_charlie")
RECEIVERS = ("oncall", "team", "duty")
SILENCES = ("silence-one", "silence-two", "silence-three")

INBOUND = ("disk-one", "disk-two", "disk-three")
"""Alerts of Azure Monitor's own, all in one group: about what nobody watches, so that one target has three alerts."""

PAST, LAPSED = ("past_one", "past_two", "past_three"), ("lapsed_one", "lapsed_two", "lapsed_three")
"""Executions that are over and count against limits, and those that somebody consented to and nothing needs now."""

NAMED = {"target": TARGETS, "rule": RULES, "policy": POLICIES, "receiver": RECEIVERS, "silence": SILENCES}
"""What is walked by the names in a call."""

Words = tuple[str, ...]
"""What tells one item from the others: all of them stand in whatever is about it."""

NOW = T0 + 6 * MINUTE
"""The tick that is walked: policies act in it, messages wait, and a silence has just ended."""

EXEMPT = {
    "tocsin.engine.failing": "it is what isolates",
    "tocsin.core.failing": "it is what isolates: its own failure is in the log and in the heartbeat",
    "tocsin.engine.counting": "counting never raises, by its port",
    "tocsin.testing": "the walk's own",
}
"""Modules whose calls are not made to fail, each with the reason."""


ONE_WRITE = (
    "a group and its messages are saved together or not at all: one message that cannot be saved waits with them"
)
STORED = "a stored silence that cannot be read: it may have silenced actions, so that no policy acts"
ISOLATES = "it is what isolates, and does nothing else"
NAMES = "it names an item for what isolates: it reads attributes, and no item can make it fail"
CALLS = {
    **{
        (f"tocsin.{name}", kind): ONE_WRITE
        for name in (
            "core.message.Delivery.queue",
            "stores.codec.dump",
            "core.unreadable.digest",
            "stores.keys.out_key",
            "stores.keys.out_row",
            "stores.rows._units",
            "stores.rows.size_of",
        )
        for kind in ("receiver", "message")
    },
    **{
        (f"tocsin.{name}", kind): ISOLATES
        for name in (
            "core.guard._age",
            "core.guard._within",
            "engine.acting.Actor._alone",
            "engine.acting.Actor._safely",
        )
        for kind in ("execution", "alert", "message", "policy", "target", "rule")
    },
    **{
        (f"tocsin.engine.{name}", kind): NAMES
        for name in ("telling._news", "telling._about", "muting._subject")
        for kind in ("message", "group", "silence", "target", "rule", "receiver")
    },
    **{
        (f"tocsin.{name}", kind): STORED
        for name in ("stores.codec.load", "stores.codec.unite", "core.group_rows.united")
        for kind in ("silence",)
    },
}
"""Calls of which others come out differently, each with the reason. That they fail is notified all the same."""


class Fleet:
    """A platform an app: each target has its own variables."""

    readable, finishes = True, True

    def __init__(self, note: Callable[[str], None]) -> None:
        self.apps = {name: Platform(note, {}) for name in TARGETS}

    def read(self, target: Target) -> App | NoAnswer:
        return self.apps[target.name].read(target)

    def preview(self, order: Order) -> Preview | NoAnswer:
        return self.apps[order.target.name].preview(order)

    def apply(self, order: Order) -> Applied:
        return self.apps[order.target.name].apply(order)

    def holds(self, order: Order) -> bool | None:
        return self.apps[order.target.name].holds(order)


class Answered:
    """Telemetry that looks each question up once, whoever asks it."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._known = stage, dict[object, Rows | NoAnswer]()

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        key = query.text, query.start, query.end, target.name
        if key not in self._known:
            self._known[key] = self._stage.telemetry.ask(query, target)
        return self._known[key]


def common_alert(name: str, at: datetime) -> dict[str, Any]:
    """Return an alert of Azure Monitor about a disk that no target has."""
    essentials = {
        "alertRule": name,
        "severity": "Sev1",
        "signalType": "Metric",
        "monitorCondition": "Fired",
        "originAlertId": name,
        "alertTargetIDs": [f"/subscriptions/x/resourceGroups/y/providers/Microsoft.Compute/disks/{name}"],
        "firedDateTime": at.isoformat(),
    }
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": essentials, "alertContext": {}}}


def _config() -> Any:
    targets = [TARGET.model_copy(update={"name": name, "labels": {"env": "prod", "app": name}}) for name in TARGETS]
    routes = {
        "to": list(RECEIVERS),
        "group_by": ["target", "rule"],
        "group_wait": "0s",
        "group_interval": "1s",
    }
    escalate = [{"unacknowledged_for": "3m", "to": [name]} for name in RECEIVERS]
    given = {"automation": "act", "routes": routes, "fallback": "team", "escalate": escalate, "storm": 1000}
    given["budgets"] = {"actions_per_hour": 100, "actions_at_once": 100}
    config = type(CONFIG).model_validate(given)
    return config.model_copy(update={"targets": targets})


def policies() -> tuple[Policy, ...]:
    """Return a policy for each target."""
    return tuple(
        STOP.model_copy(
            update={"id": f"stop_{name}", "on": STOP.on.model_copy(update={"labels": {"target": name}})},
        )
        for name in TARGETS
    )


@dataclass
class Walk:
    """The fixture, its state up to the tick, and what one tick makes of it."""

    folder: Path
    stage: Stage = field(init=False)
    rounds: int = 0

    def __post_init__(self) -> None:
        late = ERRORS.model_copy(update={"id": "late_rule"})
        stage = self.stage = Stage(MISCONFIGURED, ERRORS, late, policies=policies(), config=_config())
        stage.busy(T0 - 20 * MINUTE, T0 + 20 * MINUTE)
        at = T0 - 2 * MINUTE
        while at < T0 + 10 * MINUTE:
            stage.trace(at, "response.returned", ok="false", value="900", unit="ms")
            at += timedelta(seconds=5)
        self.answered = Answered(stage)
        self.base = SqliteStore(self.folder / "base.sqlite")
        for minute in range(6):
            self.tick(self.base, T0 + minute * MINUTE)
        for number, name in enumerate(SILENCES):
            silence = Silence(name, (parse(f"app=none-{number}"),), "ops", "x", T0, T0 + timedelta(minutes=60 + number))
            self.base.keep(Silence, name, silence, None)
        self._take_on()
        self._begin_and_end()
        self._hear()
        self.base.close()

    def _take_on(self) -> None:
        """Somebody has taken on an episode of each target: nobody is called because of it."""
        for alert in self.base.open_alerts():
            if alert.rule == "late_rule":
                given = Acknowledgement(alert.episode, "kim", T0 + MINUTE, T0 + 60 * MINUTE)
                self.base.keep(Acknowledgement, alert.episode, given, None)

    def _begin_and_end(self) -> None:
        for number, name in enumerate((*PAST, *LAPSED)):
            episode, begun = f"before/alpha/{name}", T0 - (60 + number) * MINUTE
            plan = Planned("killswitch.engage", {"scope": "tools"}, "step 1", 10 * MINUTE)
            execution = Execution(
                f"{name}/{episode}", name, "alpha", episode, plan.action, plan.args, Phase.VERIFIED, plan=(plan,)
            )
            execution = replace(execution, begun=begun, intended=begun, ended=begun + MINUTE)
            if name in LAPSED:
                asked = {"phase": Phase.ASKED, "intended": None, "ended": None}
                execution = replace(execution, consent=Consent("kim", T0 + 5 * MINUTE), **asked)
            self.base.record(execution, ())

    def _hear(self) -> None:
        """Alerts come from outside, after the last tick."""
        engine = replace(self.stage.engine, store=self.base)
        at = T0 + 5 * MINUTE + timedelta(seconds=30)
        for name in INBOUND:
            native = natives.read(common_alert(name, at), at)
            assert native is not None
            enter(engine, native, at)

    def copy(self) -> SqliteStore:
        """Return a store that stands where the fixture does."""
        self.rounds += 1
        path = self.folder / f"round-{self.rounds}.sqlite"
        source, to = sqlite3.connect(self.folder / "base.sqlite"), sqlite3.connect(path)
        source.backup(to)
        source.close()
        to.close()
        return SqliteStore(path)

    def tick(self, store: SqliteStore, now: Any) -> dict[str, Receiver]:
        """Run one tick; return the receivers with what they got."""
        fleet = Fleet(self.stage.note)
        got = {name: Receiver(self.stage.note) for name in RECEIVERS}
        engine = replace(
            self.stage.engine,
            store=store,
            telemetry=self.answered,
            configuration=fleet,
            notifiers=got,
            actuators={"killswitch.engage": fleet, "killswitch.release": fleet},
        )
        engine.tick(now)
        return got


@dataclass(frozen=True)
class Came:
    """What came of one tick: messages, executions and alerts, each with everything that names an item in it."""

    messages: Counter[tuple[str, ...]]
    executions: Counter[tuple[str, ...]]
    alerts: Counter[tuple[str, ...]]
    failures: int

    def without(self, one: Words) -> tuple[Counter[tuple[str, ...]], ...]:
        """Return it without what is about one item."""
        about = lambda key: all(any(word in part for part in key) for word in one)  # noqa: E731
        return tuple(
            Counter({key: count for key, count in some.items() if not about(key)})
            for some in (self.messages, self.executions, self.alerts)
        )


def came(got: Mapping[str, Receiver], store: SqliteStore) -> Came:
    """Return what came of a tick."""
    notices = [(name, each) for name, receiver in got.items() for each in receiver.got]
    return Came(
        Counter(
            (name, each.rule, each.target, each.kind.value, each.id, each.labels.get("alert", ""))
            for name, each in notices
            if each.rule != OWN_ERROR
        ),
        Counter((each.target, each.policy, each.episode, each.phase.value) for each in store.executions()),
        Counter((each.target, each.rule, str(each.by), each.episode, each.state.value) for each in store.open_alerts()),
        told_of_failures(got),
    )


def told_of_failures(got: Mapping[str, Receiver]) -> int:
    """Return how many notices of Tocsin's own failures the receivers got."""
    return sum(each.rule == OWN_ERROR for receiver in got.values() for each in receiver.got)


# Which calls handle one item


def names_in(given: Any) -> str:
    """Return the names that an argument of a call holds, as one text."""
    if isinstance(given, str):
        return given
    if isinstance(given, Target):
        return given.name
    if isinstance(given, Rule | Policy | Silence):
        return given.id
    if isinstance(given, Alert):
        return f"{given.rule} {given.target}"
    if isinstance(given, Notice):
        return f"{given.rule} {given.target}"
    if isinstance(given, Delivery):
        return f"{given.receiver} {given.notice.rule} {given.notice.target}"
    if isinstance(given, Execution):
        return f"{given.target} {given.policy}"
    if isinstance(given, Group):
        return given.id
    if isinstance(given, Acknowledgement):
        return given.episode
    if isinstance(given, tuple | list) and len(given) <= 4:
        return " ".join(names_in(each) for each in given if not isinstance(each, tuple | list | dict))
    return ""


def _of_alert(given: Alert | Notice | Member) -> Words:
    if isinstance(given, Alert):
        return tuple(filter(None, (given.rule, given.target, texts(given.by).get("alert", ""))))
    return ((given.notice if isinstance(given, Member) else given).episode,)


def _of_message(given: Delivery) -> Words:
    return (*([] if given.receiver == NEWS else [given.receiver]), given.notice.episode)


HELD: dict[str, tuple[tuple[type, ...], Callable[[Any], Words]]] = {
    "alert": ((Alert, Notice, Member), _of_alert),
    "group": ((Group,), lambda given: tuple(value for _, value in given.labels)),
    "message": ((Delivery,), _of_message),
    "execution": ((Execution,), lambda given: (given.episode,)),
    "acknowledgement": ((Acknowledgement,), lambda given: tuple(given.episode.split("/")[:2])),
}
"""What is walked by the values that a call holds, each as the types of it and what tells one from the others."""

KINDS = (*NAMED, *HELD)


def item(kind: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Words:
    """Return the one item of the kind that a call handles, or nothing. What tells of failures is no item."""
    given = (*args, *kwargs.values())
    found: set[Words] = set()
    if kind in NAMED:
        text = " ".join(filter(None, (names_in(each) for each in given)))
        found = {(name,) for name in NAMED[kind] if name in text and OWN_ERROR not in text}
    else:
        types_, words = HELD[kind]
        values = (each.value if isinstance(each, Kept) else each for each in given)
        found = {words(each) for each in values if isinstance(each, types_)}
    return found.pop() if len(found) == 1 else ()


def functions() -> Iterator[tuple[str, types.FunctionType]]:
    """Yield every function and method of the core, the engine and the store, by its name."""
    for package in (tocsin.core, tocsin.engine, tocsin.stores):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if found.name in EXEMPT:
                continue
            module = importlib.import_module(found.name)
            for name, each in vars(module).items():
                if getattr(each, "__module__", "") == found.name and not name.startswith("__"):
                    yield from _of(f"{found.name}.{name}", each)


def _of(name: str, given: Any) -> Iterator[tuple[str, types.FunctionType]]:
    if isinstance(given, types.FunctionType):
        yield name, given
    elif isinstance(given, type):
        for part, each in vars(given).items():
            inner = each.fget if isinstance(each, property) else each
            inner = inner.func if isinstance(inner, cached_property) else getattr(inner, "__func__", inner)
            if isinstance(inner, types.FunctionType) and not part.startswith("__"):
                yield f"{name}.{part}", inner


Watch = Callable[[Sequence[Any], Mapping[str, Any]], None]


@contextmanager
def watched(given: Mapping[str, tuple[types.FunctionType, Watch]]) -> Iterator[None]:
    """Have each of these functions call its watch first, whoever holds a reference to it."""
    codes = {name: function.__code__ for name, (function, _) in given.items()}
    for number, (function, watch) in enumerate(given.values()):
        before = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, None
        )
        before.__kwdefaults__ = function.__kwdefaults__
        hook = f"__fault_walk_{number}"

        def called(args: Any, kwargs: Any, watch: Watch = watch, before: Any = before) -> Any:
            watch(args, kwargs)
            return before(*args, **kwargs)

        function.__globals__[hook] = called
        made: dict[str, Any] = {}
        exec(f"def w(*args, **kwargs): return {hook}(args, kwargs)", made)
        function.__code__ = made["w"].__code__
    try:
        yield
    finally:
        for number, (name, (function, _)) in enumerate(given.items()):
            function.__code__ = codes[name]
            del function.__globals__[f"__fault_walk_{number}"]


def handled(walk: Walk) -> dict[tuple[str, str], Words]:
    """Return every call of the tick that handles one item, as function and kind → an item of several."""
    seen: dict[tuple[str, str], set[Words]] = {}

    def noting(name: str) -> Watch:
        def note(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
            for kind in KINDS:
                if one := item(kind, args, kwargs):
                    seen.setdefault((name, kind), set()).add(one)

        return note

    every = {name: (each, noting(name)) for name, each in functions() if not each.__code__.co_freevars}
    store = walk.copy()
    with watched(every):
        walk.tick(store, NOW)
    store.close()
    return {key: sorted(found)[len(found) // 2] for key, found in sorted(seen.items()) if len(found) > 1}


def failing(walk: Walk, name: str, kind: str, one: Words, error: Exception) -> Came:
    """Return what comes of the tick when the function fails for one item."""
    function = dict(functions())[name]

    def fail(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if item(kind, args, kwargs) == one:
            raise error

    store = walk.copy()
    with watched({name: (function, fail)}):
        got = walk.tick(store, NOW)
    found = came(got, store)
    if not found.failures:  # the store may refuse one item for a moment before somebody is told
        with watched({name: (function, fail)}):
            found = replace(found, failures=told_of_failures(walk.tick(store, NOW + PATIENCE)))
    store.close()
    return found
