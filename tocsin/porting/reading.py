"""Which of the known forms a document has, and what becomes of every alert in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tocsin.core.errors import Problem
from tocsin.core.node import Node
from tocsin.porting import arm, azure, prometheus, sloth
from tocsin.porting.outcome import Outcome

FORMS = "scheduled query rules of Azure as JSON, Prometheus rule files, Sloth's `version: prometheus/v1`"


@dataclass(frozen=True, slots=True)
class Imported:
    """Every alert of a document, the resources in it that are none, and why nothing could be read."""

    form: str
    outcomes: tuple[Outcome, ...] = ()
    passed_over: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def imported(document: Node, taken: Collection[str]) -> Imported:
    """Return what becomes of a document. ``taken`` are names of rules that this run has given already."""
    version = document.get("version")
    if version is not None and version.text == sloth.VERSION:
        return Imported("sloth", tuple(sloth.imported(document, taken)))
    if prometheus.groups(document) is not None:
        return Imported("prometheus", tuple(prometheus.imported(document, taken)))
    found = arm.resources(document)
    if found is None:
        words = f"it is none of what can be imported: {FORMS}"
        return Imported("", problems=(document.problem("unknown-format", words),))
    return _azure(tuple(found), taken)


def _azure(found: tuple[arm.Resource, ...], taken: Collection[str]) -> Imported:
    names, outcomes, others = set(taken), [], []
    for resource in found:
        outcome = azure.imported(resource, names)
        if outcome is not None:
            outcomes.append(outcome)
            names.add(outcome.rule)
        elif resource.refused and resource.kind == arm.DEPLOYMENT:
            words = f"what this deployment holds cannot be seen: {resource.refused}"
            others.append(f"{resource.kind} ({words})")
        else:
            others.append(resource.kind)
    return Imported("azure", tuple(outcomes), tuple(sorted(others)))
