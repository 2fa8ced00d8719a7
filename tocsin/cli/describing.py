"""``tocsin schema``: what may stand in the files, for whoever writes one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from tocsin.app import known
from tocsin.authoring import keys
from tocsin.authoring.schema import MODELS
from tocsin.authoring.schema import schema as made
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.core.compile import compile_signal
from tocsin.core.config import Target
from tocsin.core.crosscheck import Known
from tocsin.core.errors import nearest
from tocsin.core.signal import Configured, Gauge, Signal

_EXAMPLES = {
    "rule": 'summary: "{value} of the responses on {target} fail."\nseverity: P1\n'
    "when: { signal: response_errors, above: 5%, over: 15m, minimum: 20 }\nfor: 5m\nowner: ai-ops\n",
    "policy": "summary: Stop unsafe tools.\non: { rule: hitl_misconfigured, firing_for: 5m }\n"
    "do:\n  - killswitch.engage: { scope: tools }\nguard: { mode: ask }\n",
    "tocsin": "targets:\n  - name: sales\n    workspace: ${WATCHED_WORKSPACE}\n    role_name: sales-api\n"
    "receivers:\n  team: { type: teams, url_setting: TEAMS_WEBHOOK_URL }\nroutes: { to: [team] }\n",
}


def run(name: str, output: Output) -> None:
    """Show one kind of file, all signals, one signal, or one part or key; exit 2 for a name there is none of."""
    names = known()
    if not name:
        _overview(output)
    elif name in MODELS:
        _kind(name, names, output)
    elif name == "signals":
        _signals(names, output)
    elif name in names.signals:
        _signal(names.signals[name], output)
    else:
        _key(name, names, output)


def _overview(output: Output) -> None:
    kinds = {name: keys.plain(model.__doc__ or "") for name, model in MODELS.items()}
    if output is Output.JSON:
        emit_json(kinds)
        return
    console().print(table("", ["file", "what it is"], kinds.items()))
    say("\n`tocsin schema signals` lists what can be measured; a signal, a part or a key is shown by its name.")


def _kind(name: str, names: Known, output: Output) -> None:
    if output is Output.JSON:
        emit_json(made(name, names))
        return
    say(f"{keys.plain(MODELS[name].__doc__ or '')}\n")
    for part, model in keys.parts(MODELS[name]).items():
        if part != MODELS[name].__name__:
            say(f"\n{_called(part, name)}: {keys.plain(model.__doc__ or '')}\n")
        console().print(_table(model))
    say(f"\nFor example:\n\n{_EXAMPLES[name]}")


def _called(part: str, name: str) -> str:
    """Return the keys under which a part stands."""
    owners = keys.parts(MODELS[name]).values()
    found = {key.name for owner in owners for key in keys.keys(owner) if key.below and key.below.__name__ == part}
    return ", ".join(sorted(found)) or part


def _table(model: type[BaseModel]) -> Any:
    rows = [(key.name, key.kind, _default(key), " ".join(key.choices), key.meaning) for key in keys.keys(model)]
    return table("", ["key", "type", "default", "choices", "what it says"], rows)


def _default(key: keys.Key) -> str:
    if key.needed:
        return "needed"
    if isinstance(key.default, bool):
        return str(key.default).lower()
    return "" if key.default is None else str(key.default)


def _signals(names: Known, output: Output) -> None:
    if output is Output.JSON:
        emit_json([_told(each) for each in names.signals.values()])
        return
    rows = [(each.name, each.unit, " ".join(each.dimensions), each.summary) for each in names.signals.values()]
    console().print(table("", ["signal", "unit", "by", "what it measures"], rows))


def _signal(signal: Signal, output: Output) -> None:
    if output is Output.JSON:
        emit_json(_told(signal))
        return
    say(f"{signal.name}: {signal.summary}\n")
    told = _told(signal)
    console().print(table("", ["", ""], [(key, told[key]) for key in ("unit", "by", "needs") if told[key]]))
    for text in told["sources"]:
        say(f"\n{text}")


def _told(signal: Signal) -> dict[str, Any]:
    return {
        "name": signal.name,
        "summary": signal.summary,
        "unit": signal.unit,
        "by": ", ".join(signal.dimensions),
        "needs": signal.needs,
        "sources": list(_sources(signal)),
    }


def _sources(signal: Signal) -> Iterator[str]:
    """Yield how each source is read: the query as it would be asked over five minutes, of a target named `example`."""
    target, at = Target(name="example", workspace="w", role_name="example-api"), datetime(2026, 1, 1, tzinfo=UTC)
    for source in signal.sources:
        if isinstance(source, Configured):
            yield "looks at the app's configuration, as the platform has it"
        elif isinstance(source, Gauge):
            yield f"reads {source.meter}: {source.reading} ({source.fold})"
        else:
            yield compile_signal(source, target, at - timedelta(minutes=5), at).text


def _key(name: str, names: Known, output: Output) -> None:
    """Show every key and every part of this name, in whichever file it stands."""
    found = [
        (kind, part, key)
        for kind, model in MODELS.items()
        for part, owner in keys.parts(model).items()
        for key in keys.keys(owner)
        if key.name == name
    ]
    if not found:
        choices = {
            *MODELS,
            "signals",
            *names.signals,
            *(key.name for model in MODELS.values() for key in keys.keys(model)),
        }
        hint = nearest(name, choices)
        stop(Exit.USAGE, f"no key, signal or kind of file '{name}'{f': {hint}' if hint else ''}")
    if output is Output.JSON:
        rows = [(kind, part, key.kind, key.needed, key.default, key.choices, key.meaning) for kind, part, key in found]
        emit_json(
            [
                dict(zip(("file", "part", "type", "needed", "default", "choices", "says"), row, strict=True))
                for row in rows
            ]
        )
        return
    shown = [(kind, part, key.kind, _default(key), " ".join(key.choices), key.meaning) for kind, part, key in found]
    console().print(table("", ["file", "part", "type", "default", "choices", "what it says"], shown, whole=2))
    for below in {key.below for *_, key in found if key.below}:
        say(f"\n{keys.plain(below.__doc__ or '')}\n")
        console().print(_table(below))
