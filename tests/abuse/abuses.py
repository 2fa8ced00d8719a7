"""Every abuse: what was seen to go wrong, and what somebody would try next."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.abuse.stage import Abuse, Stage
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.config import Target
from tocsin.core.fields import Severity
from tocsin.core.matching import parse
from tocsin.core.message import Delivery, Fact, Kind, Notice, Settled
from tocsin.core.mute import Silence
from tocsin.local.webhooks import SECRET
from tocsin.ports import Store, StoreUnavailable, Telemetry
from tocsin.webhook import answer

AGENTS = "agent_fails"
BY_AGENT = """
summary: "{agent} of {target} fails in {value} of its runs."
severity: P2
when: { signal: worker_failures, above: 10%, over: 5m, by: [agent], minimum: 1 }
for: 0s
every: 1m
"""
_EMOJI = "🔥💣☠👾🧨🦠"


def _fail(stage: Stage, names: list[str]) -> None:
    rows = [{"external_system": name, "event_name": "worker.completed", "ok": "false"} for name in names]
    stage.emit([{"Message": "worker.completed", "Properties": each} for each in rows])


def _long_names(stage: Stage, _minute: int) -> None:
    """200 agents, each with a name of 1,000 emoji."""
    _fail(stage, [f"{number}{(_EMOJI * 167)[number % 6 :][:1_000]}" for number in range(stage.many(200))])


def _many_values(stage: Stage, minute: int) -> None:
    """10,000 agents that nobody has heard of before, every minute."""
    _fail(stage, [f"agent {minute}-{number}" for number in range(stage.many(10_000))])


# What is posted


def _post(stage: Stage, body: bytes) -> None:
    status = answer("POST", {}, body, stage.app).status
    stage.figures.noted[f"answered {status}"] = stage.figures.noted.get(f"answered {status}", 0) + 1


def _common(stage: Stage, identity: str, text: str) -> dict[str, Any]:
    target = stage.world.target()
    essentials = {
        "alertId": f"/subscriptions/{target.subscription}/providers/Microsoft.AlertsManagement/alerts/{identity}",
        "alertRule": f"rule {identity} {text[:60]}",
        "severity": "Sev1",
        "signalType": "Metric",
        "monitorCondition": "Fired",
        "monitoringService": "Platform",
        "alertTargetIDs": [target.app_id],
        "originAlertId": identity,
        "firedDateTime": f"{stage.now:%Y-%m-%dT%H:%M:%S}Z",
        "description": text,
    }
    data = {"essentials": essentials, "alertContext": {"condition": {"allOf": [{"metricName": text[:200]}]}}}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": data}


def _inbound(stage: Stage, minute: int) -> None:
    """5,000 alerts of Azure Monitor, 500 a minute, some with a text of 10 kB."""
    if minute <= 10:
        texts = ["Restarts", "\u202e\x1b[2J" * 2_500, _EMOJI * 400]
        given = [_common(stage, f"a{minute}-{number}", texts[number % 3]) for number in range(stage.many(500))]
        for first in range(0, len(given), 5):
            _post(stage, json.dumps(given[first : first + 5]).encode())


def _bodies(stage: Stage, minute: int) -> None:
    """Bodies that are deep, long, of huge numbers, of lone surrogates, or nearly what they should be."""
    deep = b"[" * 100_000 + b"]" * 100_000
    nested: Any = {"schemaId": "azureMonitorCommonAlertSchema"}
    for _ in range(400):
        nested = {"data": nested, "schemaId": "azureMonitorCommonAlertSchema"}
    texts = [
        deep,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        json.dumps(nested).encode(),
        b"9" * 200_000,
        b'{"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {"severity": 1e400}}}',
        b'[{"id": "\\ud800", "eventType": "Microsoft.Resources.ResourceWriteSuccess"}]',
        json.dumps(_common(stage, f"big{minute}", "x" * 2_000_000)).encode(),
        json.dumps([_common(stage, f"same{number}", "x") for number in range(101)]).encode(),
        json.dumps({**_common(stage, f"odd{minute}", "x"), "data": {"essentials": [1] * 1_000}}).encode(),
        b"\xff\xfe" * 1_000,
        b"",
    ]
    for text in texts[: stage.many(len(texts))]:
        for _ in range(stage.many(20)):
            _post(stage, text)


# What is stored


def _silences(stage: Stage) -> None:
    """2,000 silences, of which none is for what happens."""
    now = stage.now
    for number in range(stage.many(2_000)):
        matchers = (parse(f'agent=~"([a-z0-9]+-?)+{number}"'), parse("team!=ops"), parse("rule=nothing"))
        recurs = "FREQ=MINUTELY" if number % 2 else ""
        made = Silence(f"s{number}", matchers, "ann", "abuse", now - timedelta(days=2_000), now + timedelta(days=20))
        lasts = timedelta(seconds=30) if recurs else timedelta()
        stage.store.keep(Silence, made.id, replace(made, rule=recurs, lasts=lasts), None)


def _stored(stage: Stage) -> None:
    """10,000 messages in the store: most were sent, a tenth waits for a receiver that is no more."""
    now, number = stage.now - timedelta(hours=2), stage.many(10_000)
    for first in range(0, number, 50):
        made = [_delivery(f"{first + each}", now, waits=each % 10 == 0) for each in range(min(50, number - first))]
        stage.store.commit(f"old{first}", "sales-research", [], made, None)


def _delivery(name: str, at: Any, *, waits: bool) -> Delivery:
    facts = tuple(Fact(f"Fact {each}", _EMOJI * 20) for each in range(8))
    notice = Notice(
        name, Kind.FIRED, f"old/{name}", "old", "sales-research", Severity.P3, at, f"message {name}", facts=facts
    )
    if waits:
        return Delivery(f"{name}/gone", "gone", notice, at, at)
    return Delivery(f"{name}/team", "team", notice, at, at, state=Settled.DELIVERED, settled=at, receipt="202")


# Parts that fail


def _receivers(number: int, setting: str) -> tuple[str, tuple[str, ...]]:
    """Return that many receivers as the file has them, all behind one setting, and their names."""
    names = tuple(f"r{each}" for each in range(number))
    option = f"{{ type: webhook, url_setting: {setting}, secret_setting: WEBHOOK_SECRET }}"
    return "".join(f"  {name}: {option}\n" for name in names), names


def _one_more(stage: Stage, minute: int) -> None:
    """Another agent fails every minute, so that every receiver has something to be told."""
    _fail(stage, [f"agent {minute}"])


class Raising:
    """Telemetry that raises for every question that holds a rule's words."""

    def __init__(self, inner: Telemetry) -> None:
        self._inner = inner

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        """Return the inner's answer, or raise."""
        if "worker.completed" in query.text:
            raise RecursionError("a defect in what asks")
        return self._inner.ask(query, target)


class Refusing:
    """A store that does not answer for one rule on a target, whatever is asked of it."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def asked(*given: Any, **more: Any) -> Any:
            if name in ("load", "commit") and given[0] == AGENTS:
                raise StoreUnavailable("the partition is being moved")
            if name == "keep" and AGENTS in str(given[1]):
                raise StoreUnavailable("the partition is being moved")
            return method(*given, **more)

        return asked if callable(method) else method


class Deaf:
    """A port that takes connections and says nothing, for as long as the process lives."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/hook"
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            self._taken.append(self._socket.accept()[0])


def _failing(number: int, where: str, name: str, words: str, **more: Any) -> Abuse:
    receivers, names = _receivers(number, "BROKEN_URL")
    settings = {"BROKEN_URL": where, "WEBHOOK_SECRET": SECRET}
    return Abuse(name, words, {AGENTS: BY_AGENT}, receivers, names, settings, each=_one_more, **more)


def _all(*steps: Callable[[Stage, int], None]) -> Callable[[Stage, int], None]:
    def each(stage: Stage, minute: int) -> None:
        for step in steps:
            step(stage, minute)

    return each


def _prepared(*steps: Callable[[Stage], None]) -> Callable[[Stage], None]:
    def prepare(stage: Stage) -> None:
        for step in steps:
            step(stage)

    return prepare


def abuses() -> Mapping[str, Abuse]:
    """Return every abuse by its name."""
    by_agent = {AGENTS: BY_AGENT}
    everything = _failing(5, "http://127.0.0.1:1/hook", "everything", "all of it, at half the size")
    together = _all(_long_names, _inbound, _bodies, _one_more)
    found = [
        Abuse("names", "200 agents with names of 1,000 emoji", by_agent, each=_long_names),
        Abuse("values", "10,000 new agents a minute for an hour", by_agent, each=_many_values, lead=30, tail=30),
        Abuse("inbound", "5,000 alerts of Azure Monitor in ten minutes", each=_inbound),
        _failing(200, "http://127.0.0.1:1/hook", "receivers", "200 receivers that refuse 1,000 messages and more"),
        _failing(1, Deaf().url, "deaf", "a receiver that answers no message until it times out"),
        Abuse("stored", "10,000 messages in the store", prepare=_stored),
        Abuse("silences", "2,000 silences, half of them every minute", prepare=_silences),
        Abuse("bodies", "bodies that are deep, long or nearly right", each=_bodies),
        Abuse("raising", "a rule that always raises", by_agent, telemetry=Raising, each=_one_more),
        Abuse("refusing", "a store that refuses one rule's rows", by_agent, store=Refusing, each=_one_more),
        replace(everything, each=together, prepare=_prepared(_stored, _silences), half=True),
        replace(
            everything,
            name="catch-up",
            words="all of it, and nobody watches for 15 minutes",
            each=together,
            prepare=_prepared(_stored, _silences),
            gap=15,
            half=True,
        ),
    ]
    return {each.name: each for each in found}
