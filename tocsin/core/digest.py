"""One message about several alerts: a group's, or a flood's. It says how many, which, and what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


def crowd(notices: Sequence[Notice], most: int) -> list[Notice]:
    """Return the notices for which one digest stands, so that with it there are at most ``most``; often none.

    What comes in numbers goes into it first: what a rule says of one target, then what a rule says; where that is not
    enough, whole severities, the least severe first. So hundreds of alerts that somebody causes do not hide the one
    that matters.
    """
    found: list[Notice] = []
    for some in _crowds(notices, found):
        if len(notices) - len(found) + bool(found) <= most:
            return found
        found += some
    return found


def _crowds(notices: Sequence[Notice], taken: list[Notice]) -> Iterator[list[Notice]]:
    """Yield what goes into a digest together, each time of what is not ``taken`` yet."""
    for alike in (_place, _rule):
        yield from sorted((some for some in _by(alike, notices, taken) if len(some) > 1), key=_largest_first)
    yield from sorted(_by(lambda each: each.severity, notices, taken), key=lambda some: -_rank(some[0].severity))


def _by(
    alike: Callable[[Notice], object], notices: Sequence[Notice], taken: Sequence[Notice]
) -> Iterable[list[Notice]]:
    known = {each.id for each in taken}
    found: dict[object, list[Notice]] = {}
    for each in notices:
        if each.id not in known:
            found.setdefault(alike(each), []).append(each)
    return found.values()


def _largest_first(some: Sequence[Notice]) -> tuple[int, int]:
    return -len(some), -min(_rank(each.severity) for each in some)


def _place(notice: Notice) -> tuple[str, str]:
    return notice.rule, notice.target


def _rule(notice: Notice) -> str:
    return notice.rule


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
    ordered = _varied(notices)
    found = [Fact(f"{each.severity} {word}", each.title) for each in ordered[:_SHOWN]]
    left = len(ordered) - _SHOWN
    return [*found, *([Fact(word, f"and {left} more")] if left > 0 else [])]


def _varied(notices: Sequence[Notice]) -> list[Notice]:
    """Return the worst first, but one of each rule, and then of each target, before a second: they are what is new."""
    seen = set[object]()
    keyed = []
    for each in sorted(notices, key=_worst_first):
        keyed.append(((_rule(each) in seen, _place(each) in seen), each))
        seen |= {_rule(each), _place(each)}
    return [each for _, each in sorted(keyed, key=lambda pair: pair[0])]


def _counted(values: object) -> str:
    counts = Counter(str(value) for value in values)  # type: ignore[attr-defined]
    shown = ", ".join(f"{value} {count}" for value, count in counts.most_common(6))
    return shown + (f" and {len(counts) - 6} more" if len(counts) > 6 else "")


def _worst_first(notice: Notice) -> tuple[int, str, str]:
    return _rank(notice.severity), notice.target, notice.title


def _rank(severity: Severity) -> int:
    return list(Severity).index(severity)
