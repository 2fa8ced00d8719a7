"""Changes of a Container App's template, each a new template in which nothing else differs.

``with_variable`` stands in ``core.container``, beside what reads a template.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.core.container import BOOTSTRAP, FOUND_BOOTSTRAP, SCOPES, engaged, entries_of, environment, renamed

GUARDS = re.compile(r"(?i)(KILLSWITCH|HITL)(_.*)?")
"""Variables that hold production back: whatever is deployed or taken back, what serves keeps them as they are."""

_BY_ITSELF = "HITL_DEV_MODE"
_FLAGS = re.compile(rf"(?i)KILLSWITCH.*|{_BY_ITSELF}")

_PARTS = ("initContainers", "containers")


def without_variable(template: Mapping[str, Any], container: str, name: str) -> dict[str, Any]:
    """Return ``template`` without one variable of one container.

    Raises LookupError when the container is not in the template, ValueError when the variable is a secret reference.
    """
    changed = renamed(template)
    entries = entries_of(changed, container)
    if any(entry.get("secretRef") for entry in entries if entry["name"] == name):
        raise ValueError(f"{name} is a reference to a secret; set its value there")
    entries[:] = [entry for entry in entries if entry["name"] != name]
    return changed


def scale_of(template: Mapping[str, Any]) -> tuple[int, int]:
    """Return the least and the most replicas; what is not said is what the platform then takes."""
    scale = template.get("scale") or {}
    least, most = scale.get("minReplicas"), scale.get("maxReplicas")
    return (0 if least is None else int(least), 10 if most is None else int(most))


def with_scale(template: Mapping[str, Any], least: int | None, most: int | None) -> dict[str, Any]:
    """Return ``template`` with the least and the most replicas set (None: left alone); the rules of scaling are kept.

    Raises ValueError when there would be more at least than at most.
    """
    old_least, old_most = scale_of(template)
    wanted = (old_least if least is None else least, old_most if most is None else most)
    if wanted[0] > wanted[1]:
        raise ValueError(f"at least {wanted[0]} replicas are more than at most {wanted[1]}")
    changed = renamed(template)
    scale = changed["scale"] = dict(changed.get("scale") or {})
    if least is not None:
        scale["minReplicas"] = least
    if most is not None:
        scale["maxReplicas"] = most
    return changed


def guards(template: Mapping[str, Any], container: str) -> dict[str, dict[str, Any]]:
    """Return the variables that hold production back, whole: a value or a reference. An empty one is as good as none.

    Raises LookupError when the container is not in the template.
    """
    entries = (each for each in entries_of(copy.deepcopy(dict(template)), container) if GUARDS.fullmatch(each["name"]))
    return {each["name"]: each for each in entries if each.get("secretRef") or each.get("value")}


def holding_back(template: Mapping[str, Any], container: str) -> dict[str, str]:
    """Return what holds production back: engaged killswitches, the approver, approval by itself where that is on.

    A template that is not told, or has no such container, holds nothing back.
    """
    try:
        found = guards(template, container).items()
    except LookupError:
        return {}
    told = {name: str(entry.get("secretRef") or entry.get("value")) for name, entry in found}
    off = {name for name, entry in found if _FLAGS.fullmatch(name) and not engaged(entry.get("value"))}
    return {name: "on" if _FLAGS.fullmatch(name) else value for name, value in told.items() if name not in off}


def looser(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether ``one`` holds production back less than ``other`` does, both as ``holding_back`` returns them."""
    lost = [name for name, value in other.items() if name != _BY_ITSELF and one.get(name) != value]
    more = [name for name in one if name not in other and not name.upper().startswith("KILLSWITCH")]
    return bool(lost or more)


def with_guards(template: Mapping[str, Any], container: str, kept: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``template`` with exactly these of the variables that hold production back.

    Raises LookupError when the container is not in the template.
    """
    changed = copy.deepcopy(dict(template))
    entries, left = entries_of(changed, container), dict(kept)
    found = []
    for entry in entries:
        if not GUARDS.fullmatch(entry["name"]):
            found.append(entry)
        elif entry["name"] in left:
            found.append(dict(left.pop(entry["name"])))
    entries[:] = [*found, *map(dict, left.values())]
    return changed


_UNSET = "absent"


def skipping(template: Mapping[str, Any], container: str) -> dict[str, Any]:
    """Return ``template`` whose app starts without its bootstrap; what was found is noted beside, to be put back.

    It stays as it is where the app skips that already, or where the variable cannot be put back: a reference to a
    secret, or given twice. Raises LookupError when the container is not in the template.
    """
    changed = renamed(template)
    entries = entries_of(changed, container)
    own = [each for each in entries if each["name"] == BOOTSTRAP]
    noted = any(each["name"] == FOUND_BOOTSTRAP for each in entries)
    if noted or len(own) > 1 or any(each.get("secretRef") or each.get("value") == "1" for each in own):
        return dict(template)
    found = json.dumps(own[0]) if own else _UNSET
    skip = {"name": BOOTSTRAP, "value": "1"}
    entries[:] = [skip if each in own else each for each in entries] + ([] if own else [skip])
    entries.append({"name": FOUND_BOOTSTRAP, "value": found})
    return changed


def as_found(template: Mapping[str, Any], container: str) -> dict[str, Any]:
    """Return ``template`` with the bootstrap as it was found, without the note; one that has no note stays as it is.

    What somebody has set to something else since is theirs. Raises LookupError as ``skipping`` does.
    """
    note = environment(template, container).get(FOUND_BOOTSTRAP)
    if note is None:
        return dict(template)
    changed = renamed(template)
    entries = entries_of(changed, container)
    was = _noted(note)
    ours = [each for each in entries if each["name"] == BOOTSTRAP and each.get("value") == "1"]
    back = [was if each in ours else each for each in entries if each["name"] != FOUND_BOOTSTRAP]
    entries[:] = [each for each in back if each is not None]
    return changed


def skips(template: Mapping[str, Any], container: str) -> bool:
    """Return whether the template has a note of a bootstrap that is skipped for as long as a switch is on."""
    try:
        return FOUND_BOOTSTRAP in environment(template, container)
    except LookupError:
        return False


def left_over(template: Mapping[str, Any], container: str) -> bool:
    """Return whether the bootstrap is still skipped though no switch is on any more."""
    on = (engaged(environment(template, container).get(variable)) for variable in SCOPES.values())
    return skips(template, container) and not any(on)


def _noted(note: str) -> dict[str, Any] | None:
    """Return the variable as it was found; None where there was none, and where the note cannot be read."""
    try:
        found = json.loads(note)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("name") == BOOTSTRAP else None


def replacing(old: Any, new: Any) -> Any:
    """Return the JSON merge patch that makes ``new`` of ``old`` and still says all of ``new``."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    gone = {key: None for key, value in old.items() if key not in new and value is not None}
    return {**gone, **{key: replacing(old.get(key), value) for key, value in new.items()}}


def touched(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between two templates, by name: a container's variable or setting, or a part of the whole.

    No value is told: those of a revision's variables may be secrets that somebody did not keep as such.
    """
    for part in _PARTS:
        old, new = _by_name(before.get(part)), _by_name(after.get(part))
        for name in {**old, **new}:
            yield from (f"{name}: {what}" for what in _container_touched(old.get(name), new.get(name)))
    scale = (before.get("scale") or {}), (after.get("scale") or {})
    yield from (f"scale: {key}" for key in _differing(*scale))
    for key in _differing(before, after):
        if key not in (*_PARTS, "scale", "revisionSuffix"):
            yield key


def _container_touched(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
    if old is None or new is None:
        yield "comes back" if old is None else "goes"
        return
    yield from (key for key in _differing(old, new) if key != "env")
    yield from _differing(_values(old), _values(new))


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [key for key in {**old, **new} if old.get(key) != new.get(key)]


def _values(container: Mapping[str, Any]) -> dict[str, Any]:
    entries = container.get("env") or ()
    return {entry["name"]: (entry.get("value") or "", entry.get("secretRef")) for entry in entries}


def _by_name(containers: Any) -> dict[str, Mapping[str, Any]]:
    return {each["name"]: each for each in containers or ()}
