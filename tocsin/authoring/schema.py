"""JSON Schemas (draft-07) of the files, for editors: made from the models, with what their authors say of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tocsin.authoring import keys
from tocsin.core.action import Takes
from tocsin.core.config import Config
from tocsin.core.crosscheck import Known
from tocsin.core.policy import ABOUT, Policy
from tocsin.core.rule import Op, Rule
from tocsin.core.signal import Signal

MODELS: Mapping[str, type[BaseModel]] = {"rule": Rule, "policy": Policy, "tocsin": Config}
"""Kind of file → its model."""

_TEXT: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_CONDITIONS = (*(op.value for op in Op), "change", "unusual", "burn_rate", "absent_for")
_SETTING = {"type": "string", "pattern": r"\$\{\w*\}"}
_SCALARS = frozenset({"type", "enum", "const", "pattern", "minimum", "maximum", "minLength", "maxLength"})

Schema = dict[str, Any]


def schemas(known: Known) -> dict[str, str]:
    """Return each schema's text by its file name."""
    return {f"{name}.schema.json": json.dumps(schema(name, known), indent=2) + "\n" for name in MODELS}


def schema(name: str, known: Known) -> Schema:
    """Return the schema of one kind of file, with the signals, receivers and actions there are."""
    return made(MODELS[name], name, known)


def made(model: type[BaseModel], name: str, known: Known) -> Schema:
    """Return the schema of whatever a model reads."""
    raw = model.model_json_schema(by_alias=True, ref_template="#/definitions/{model}")
    definitions = {key: _tidy(each) for key, each in raw.pop("$defs", {}).items()}
    own = _tidy(raw)
    for part, found in keys.parts(model).items():
        _described(own if part == model.__name__ else definitions.get(part, {}), found)
    for key in ("id", "file"):
        own["properties"].pop(key, None)
    own["required"] = [key for key in own.get("required", []) if key != "id"]
    _with_names(name, own, definitions, known)
    definitions = {key: each for key, each in definitions.items() if key in _used(own, definitions)}
    if name == "tocsin":
        own, definitions = _settable(own), {key: _settable(each) for key, each in definitions.items()}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"Tocsin: {name}"}
    return {**head, **own, "definitions": definitions}


def _tidy(found: Any) -> Any:
    """Return a schema as draft-07 has it: no titles, no null, nothing beside a reference, any scalar for a text."""
    if isinstance(found, list):
        return [_tidy(each) for each in found]
    if not isinstance(found, dict):
        return found
    made = {key: _tidied(key, each) for key, each in found.items() if key not in ("title", "default")}
    if "anyOf" in made and {"type": "null"} in found["anyOf"]:
        rest = [each for each in made.pop("anyOf") if each != {"type": "null"}]
        made = {**made, **rest[0]} if len(rest) == 1 else {**made, "anyOf": rest}
    if "$ref" in made and len(made) > 1:
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    if made.get("type") == "string" and not made.keys() & {"pattern", "enum", "const"}:
        made["type"] = ["string", "number", "boolean"] if made.get("minLength") else _TEXT["type"]
    return made


def _tidied(key: str, found: Any) -> Any:
    if key == "properties":
        return {name: _tidy(each) for name, each in found.items()}
    return _tidy(found) if key != "enum" else found


def _described(found: Schema, model: type[BaseModel]) -> None:
    """Say in a part's schema what its model says: of itself, of each key, and what a key is when it is not written."""
    if model.__doc__ and "description" in found:
        found["description"] = keys.plain(model.__doc__)
    for key in keys.keys(model):
        place = found.get("properties", {}).get(key.name)
        if place is None:
            continue
        if "$ref" in place:
            place["allOf"] = [{"$ref": place.pop("$ref")}]
        if key.meaning:
            place["description"] = key.meaning
        if key.default is not None:
            place["default"] = key.default


def _used(own: Schema, definitions: Mapping[str, Schema]) -> set[str]:
    found: set[str] = set()
    left: list[Any] = [own]
    while left:
        text = json.dumps(left.pop())
        for name in {key for key in definitions if f'"#/definitions/{key}"' in text} - found:
            found.add(name)
            left.append(definitions[name])
    return found


def _with_names(name: str, own: Schema, definitions: dict[str, Schema], known: Known) -> None:
    """Say which names there are, and what belongs together."""
    if name == "rule":
        definitions["When"].update(_when(definitions["When"], known.signals))
    if name == "policy":
        definitions["Step"] = _step(definitions["Step"], known.actions)
        definitions["Check"]["properties"]["signal"] = {"enum": sorted(known.signals)}
        hours = definitions["Guard"]["properties"]["hours"]
        definitions["Guard"]["properties"]["hours"] = {"anyOf": [{"const": "always"}, hours]}
    if name == "tocsin":
        definitions["Receiver"] = _receiver(definitions["Receiver"], known.receivers)
        changes = sorted(key.name for key in keys.keys(Rule))
        own["properties"]["tuning"]["additionalProperties"] = {"type": "object", "propertyNames": {"enum": changes}}
        definitions["Target"]["properties"]["allow"]["items"] = {"enum": sorted(known.actions)}


def _when(found: Schema, signals: Mapping[str, Signal]) -> Schema:
    found["properties"]["signal"] = {
        **found["properties"]["signal"],
        "enum": sorted(signals),
        "description": "What is measured: one of the signals that `tocsin schema signals` lists.",
    }
    needs = [{"required": [key]} for key in _CONDITIONS]
    alone = [{"required": [key]} for key in ("unusual", "burn_rate", "absent_for")]
    long = [{"required": [key]} for key in ("burn_rate", "absent_for")]
    return {
        "required": [],
        "oneOf": needs,
        "allOf": [
            {"oneOf": [{"required": ["signal"]}, {"required": ["kql"]}]},
            {"if": {"required": ["kql"]}, "then": {"not": {"anyOf": alone}}},
            {"if": {"not": {"anyOf": long}}, "then": {"required": ["over"]}},
            {"if": {"required": ["absent_for"]}, "then": {"properties": {"by": {"maxItems": 0}}}},
            *(_split(each) for each in signals.values()),
        ],
    }


def _split(signal: Signal) -> Schema:
    """Return which dimensions a rule on this signal can be split by, and of which only some values count."""
    dimensions: Schema = {"items": {"enum": sorted(signal.dimensions)}} if signal.dimensions else {"maxItems": 0}
    said = {"properties": {"signal": {"const": signal.name}}, "required": ["signal"]}
    only: Schema = {"propertyNames": {"enum": sorted(signal.dimensions)}} if signal.dimensions else {"maxProperties": 0}
    return {"if": said, "then": {"properties": {"by": dimensions, "only": only}}}


def _step(found: Schema, actions: Mapping[str, Takes]) -> Schema:
    about = {key: each for key, each in found["properties"].items() if key in ABOUT}
    named = {name: _action(takes) for name, takes in sorted(actions.items())}
    return {
        "type": "object",
        "description": found.get("description", ""),
        "properties": {**about, **named},
        "additionalProperties": {"type": ["object", "null"]},
        "minProperties": 1,
    }


def _action(takes: Takes) -> Schema:
    # `{scope}` stands for what has gone, in a policy that holds a switch.
    args: Schema = {
        name: {"enum": [*arg.choices, "{scope}"]} if arg.choices else dict(_TEXT) for name, arg in takes.args.items()
    }
    for name, arg in takes.args.items():
        args[name] |= {"description": arg.says} if arg.says else {}
    needed = [name for name, arg in takes.args.items() if arg.needed]
    found = {"type": "object" if needed else ["object", "null"], "description": takes.changes, "properties": args}
    return {**found, **({"required": needed} if needed else {})}


def _receiver(found: Schema, types: Mapping[str, Mapping[str, bool]]) -> Schema:
    own = {key: each for key, each in found["properties"].items() if key != "options"}
    options = {name: dict(_TEXT) for wanted in types.values() for name in wanted}
    return {
        "type": "object",
        "description": found.get("description", ""),
        "properties": {**options, **own, "type": {"enum": sorted(types)}},
        "required": ["type"],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                "then": {
                    "required": [name for name, needed in wanted.items() if needed],
                    "propertyNames": {"enum": [*own, *wanted]},
                },
            }
            for kind, wanted in sorted(types.items())
        ],
    }


def _settable(found: Any) -> Any:
    """Return a schema in which any scalar may be an app setting, `${NAME}`; what is inside an ``if`` stays."""
    if isinstance(found, list):
        return [_settable(each) for each in found]
    if not isinstance(found, dict):
        return found
    if found.keys() & {"type", "enum"} and not {"object", "array"} & {str(found.get("type"))}:
        narrow = {key: each for key, each in found.items() if key in _SCALARS}
        return {**{k: v for k, v in found.items() if k not in _SCALARS}, "anyOf": [narrow, dict(_SETTING)]}
    return {
        key: {name: _settable(each) for name, each in value.items()}
        if key == "properties"
        else _settable(value)
        if key in ("items", "additionalProperties", "anyOf", "allOf", "oneOf", "then")
        else value
        for key, value in found.items()
    }
