"""One message about several alerts: a group's, or a flood's. It says how many, which, and what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tocsin.core.fields import Severity
from tocsin.core.message import Fact, Kind, Notice

_SHOWN = 12
"""Alerts that are listed each by itself; of the others their number is told."""

_COMMON = ("Killswitch", "Tocsin")
"""Facts of the first alert that a message about several still shows."""


def together(
    identity: str,
    firing: Sequence[Notice],
    resolved: Sequence[Notice],
    labels: Mapping[str, str],
    why: str,
    now: datetime,
) -> Notice:
    """Return one notice for a group: the worst severity, what each alert says, and what helps with all of them."""
    every = sorted((*firing, *resolved), key=_worst_first)
    worst = min((each.severity for each in (firing or resolved)), key=_rank)
    one_rule = len({each.rule for each in every}) == 1
    first = every[0]
    return Notice(
        id=identity,
        kind=Kind.FIRED if firing else _end(resolved),
        episode=identity.rpartition("/")[0],
        rule=first.rule if one_rule else f"{len({each.rule for each in every})} rules",
        target=first.target if len({each.target for each in every}) == 1 else "several targets",
        severity=worst,
        at=now,
        title=_title(firing, resolved, every),
        facts=(
            Fact("Group", ", ".join(f"{key}={value}" for key, value in labels.items()) or "all alerts"),
            Fact("Why", why),
            *(fact for fact in first.facts if fact.name in _COMMON and firing),  # a long list would push them out
            *_listed(firing, "firing"),
            *_listed([each for each in resolved if each.kind is not Kind.EXPIRED], "over"),
            *_listed([each for each in resolved if each.kind is Kind.EXPIRED], Kind.EXPIRED.value),
        ),
        first_step=first.first_step if one_rule else "",
        manual=first.manual if one_rule and firing else "",
        manual_does=first.manual_does,
        links=first.links if one_rule else (),
        labels=dict(labels),
        provenance=first.provenance if one_rule else "",
        begins=bool(firing),
    )


def flood(receiver: str, notices: Sequence[Notice], now: datetime) -> Notice:
    """Return the digest of a flood: what it holds by rule, target and severity, and the worst of it by name."""
    firing = [each for each in notices if not each.kind.ends]
    over = [each for each in notices if each.kind.ends]
    made = together(f"flood/{receiver}/{now:%Y%m%dT%H%M%SZ}/digest", firing, over, {}, "a flood", now)
    counted = (
        Fact(f"By {name}", _counted(getattr(each, name) for each in notices)) for name in ("severity", "rule", "target")
    )
    facts = (*counted, *(fact for fact in made.facts if fact.name != "Group"))
    title = f"{len(notices)} messages at once: {len(firing)} firing, {len(over)} over. Each is in `tocsin alerts`."
    return replace(made, title=title, facts=facts, links=(), manual="", first_step="")


def slim(notice: Notice) -> Notice:
    """Return a notice without what only a message about it alone shows: a large group holds many."""
    return replace(notice, text="", facts=(), links=(), query="", manual="")


def _end(over: Sequence[Notice]) -> Kind:
    return Kind.EXPIRED if all(each.kind is Kind.EXPIRED for each in over) else Kind.RESOLVED


def _title(firing: Sequence[Notice], resolved: Sequence[Notice], every: Sequence[Notice]) -> str:
    expired = [each for each in resolved if each.kind is Kind.EXPIRED]
    over = len(resolved) - len(expired)
    numbers = ((len(firing), "firing"), (over, "over"), (len(expired), Kind.EXPIRED.value))
    counts = [f"{number} {word}" for number, word in numbers if number]
    rules = sorted({each.rule for each in every})
    named = ", ".join(rules[:3]) + (f" and {len(rules) - 3} more" if len(rules) > 3 else "")
    targets = sorted({each.target for each in every})
    return f"{', '.join(counts)}: {named} on {targets[0] if len(targets) == 1 else f'{len(targets)} targets'}"


def _listed(notices: Sequence[Notice], word: str) -> list[Fact]:
    ordered = sorted(notices, key=_worst_first)
    found = [Fact(f"{each.severity} {word}", each.title) for each in ordered[:_SHOWN]]
    left = len(ordered) - _SHOWN
    return [*found, *([Fact(word, f"and {left} more")] if left > 0 else [])]


def _counted(values: object) -> str:
    counts = Counter(str(value) for value in values)  # type: ignore[attr-defined]
    shown = ", ".join(f"{value} {count}" for value, count in counts.most_common(6))
    return shown + (f" and {len(counts) - 6} more" if len(counts) > 6 else "")


def _worst_first(notice: Notice) -> tuple[int, str, str]:
    return _rank(notice.severity), notice.target, notice.title


def _rank(severity: Severity) -> int:
    return list(Severity).index(severity)
