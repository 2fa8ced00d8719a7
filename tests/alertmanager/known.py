"""What the Alertmanager is known to do: each a case small enough to reason about, and what it tells.

All have ``group_wait`` 0.5, ``group_interval`` 2 and ``repeat_interval`` 1000 seconds unless they say otherwise: an
alert at 0 is flushed at 0.5, 2.5, 4.5, …
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tests.alertmanager.cases import Case, Event, Inhibit, Labels, Matcher, Notification, Route, labels

A, B, C = (labels(rule=name) for name in "abc")
_ROUTE = Route(receiver="r", group_wait=0.5, group_interval=2.0, repeat_interval=1000.0)

KNOWN: dict[Case, list[Notification]] = {}


def _known(
    about: str,
    timeline: Iterable[Event],
    told: Iterable[Notification],
    route: Route = _ROUTE,
    inhibits: tuple[Inhibit, ...] = (),
    only_firing: tuple[str, ...] = (),
) -> None:
    ordered = tuple(sorted(timeline, key=lambda event: event.at))
    KNOWN[Case(1000 + len(KNOWN), about, route, ordered, inhibits, only_firing)] = list(told)


def _fires(alert: Labels, *times: float, age: float = 0.0) -> list[Event]:
    return [Event(at, alert, "firing", age) for at in times]


def _ends(alert: Labels, *times: float) -> list[Event]:
    return [Event(at, alert, "resolved") for at in times]


def _told(
    at: float, firing: Iterable[Labels] = (), resolved: Iterable[Labels] = (), to: str = "r", group: Labels = ()
) -> Notification:
    return Notification(to, group, at, frozenset(firing), frozenset(resolved))


# ── When a group is flushed ───────────────────────────────────────────────────────────────────────────────────────────

_known("the first flush is group_wait after the first alert", _fires(A, 1), [_told(1.5, [A])])
_known(
    "an alert that joins within group_wait does not lengthen it",
    [*_fires(A, 0), *_fires(B, 1), *_fires(C, 2)],
    [_told(2.5, [A, B, C])],
    replace(_ROUTE, group_wait=2.5),
)
_known(
    "the timer runs on with nothing new: a later alert waits for its next tick, not for group_wait",
    [*_fires(A, 0), *_fires(B, 9)],
    [_told(0.5, [A]), _told(10.5, [A, B])],
)
_known(
    "an alert that began longer ago than group_wait is told at once, with whatever waits",
    [*_fires(A, 0), *_fires(B, 1, age=10)],
    [_told(1.0, [A, B])],
    replace(_ROUTE, group_wait=2.5),
)
_known(
    "after such a flush the interval counts from it",
    [*_fires(A, 1, age=10), *_fires(B, 1.5)],
    [_told(1.0, [A]), _told(3.0, [A, B])],
)
_known(
    "once flushed, a group tells an old alert at its next tick only",
    [*_fires(A, 0), *_fires(B, 1, age=10)],
    [_told(0.5, [A]), _told(2.5, [A, B])],
)
_known("group_wait 0 tells at once", _fires(A, 1), [_told(1.0, [A])], replace(_ROUTE, group_wait=0.0))

# ── Whether a flush tells ─────────────────────────────────────────────────────────────────────────────────────────────

_known(
    "resolved before the first flush: nobody hears of it",
    [*_fires(A, 0), *_ends(A, 1)],
    [],
    replace(_ROUTE, group_wait=1.5),
)
_known(
    "resolved before the first flush beside one that fires: told as resolved in the first message",
    [*_fires(A, 0), *_fires(B, 0), *_ends(A, 1)],
    [_told(1.5, [B], [A])],
    replace(_ROUTE, group_wait=1.5),
)
_known(
    "fired and resolved between two flushes beside one already told: told as resolved though never as firing",
    [*_fires(A, 0), *_fires(B, 3), *_ends(B, 4)],
    [_told(0.5, [A]), _told(4.5, [A], [B])],
)
_known(
    "fired and resolved between two flushes in a group that was all resolved: nothing",
    [*_fires(A, 0), *_ends(A, 1), *_fires(B, 3), *_ends(B, 4)],
    [_told(0.5, [A]), _told(2.5, [], [A])],
)
_known("resolved and firing again between two flushes: nothing", [*_fires(A, 0, 2), *_ends(A, 1)], [_told(0.5, [A])])
_known(
    "some resolved, then the rest; what was told as resolved is not told again",
    [*_fires(A, 0), *_fires(B, 0), *_ends(A, 1), *_ends(B, 5)],
    [_told(0.5, [A, B]), _told(2.5, [B], [A]), _told(6.5, [], [B])],
)
_known(
    "one resolved and one new in the same message",
    [*_fires(A, 0), *_ends(A, 1), *_fires(B, 1)],
    [_told(0.5, [A]), _told(2.5, [B], [A])],
)
_known(
    "resolved, told, and firing again is new at the next tick of the same timer",
    [*_fires(A, 0, 3), *_ends(A, 1)],
    [_told(0.5, [A]), _told(2.5, [], [A]), _told(4.5, [A])],
)
_known("a resolved alert nobody fired tells nothing", _ends(A, 1), [])
_known(
    "resolved twice is told once",
    [*_fires(A, 0), *_ends(A, 1, 3)],
    [_told(0.5, [A]), _told(2.5, [], [A])],
)

# ── Receivers that are not sent what resolved ─────────────────────────────────────────────────────────────────────────

_known(
    "send_resolved false: some resolved is no reason, and the one that fires again is not new",
    [*_fires(A, 0, 5), *_fires(B, 0), *_ends(A, 1)],
    [_told(0.5, [A, B])],
    only_firing=("r",),
)
_known(
    "send_resolved false: all resolved is remembered unsaid, so that firing again is new",
    [*_fires(A, 0, 5), *_ends(A, 1)],
    [_told(0.5, [A]), _told(6.5, [A])],
    only_firing=("r",),
)
_known(
    "send_resolved false: resolved before all is remembered shows a gap; one that fires again after a message is new",
    [*_fires(A, 0, 7), *_fires(B, 0), *_ends(A, 1), *_fires(C, 3)],
    [_told(0.5, [A, B]), _told(4.5, [B, C]), _told(8.5, [A, B, C])],
    only_firing=("r",),
)

# ── Repeats ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_known(
    "a repeat comes at the first tick more than repeat_interval after the last message",
    [*_fires(A, 0), *_ends(A, 12)],
    [_told(0.5, [A]), _told(6.5, [A]), _told(12.5, [], [A])],
    replace(_ROUTE, repeat_interval=5.5),
)
_known(
    "any message starts the repeat anew",
    [*_fires(A, 0), *_fires(B, 3), *_ends(A, 13), *_ends(B, 13)],
    [_told(0.5, [A]), _told(4.5, [A, B]), _told(10.5, [A, B]), _told(14.5, [], [A, B])],
    replace(_ROUTE, repeat_interval=5.5),
)
_known(
    "a repeat_interval shorter than group_interval repeats at every tick",
    [*_fires(A, 0), *_ends(A, 5)],
    [_told(0.5, [A]), _told(2.5, [A]), _told(4.5, [A]), _told(6.5, [], [A])],
    replace(_ROUTE, repeat_interval=0.7),
)
_known(
    "all resolved is not repeated",
    [*_fires(A, 0), *_ends(A, 1)],
    [_told(0.5, [A]), _told(2.5, [], [A])],
    replace(_ROUTE, repeat_interval=3.5),
)

# ── Groups that end and begin again ───────────────────────────────────────────────────────────────────────────────────

_known(
    "an empty group keeps its timer until it is forgotten: firing again waits for the tick, not for group_wait",
    [*_fires(A, 0, 9), *_ends(A, 1)],
    [_told(0.5, [A]), _told(2.5, [], [A]), _told(10.5, [A])],
)
_known(
    "an empty group is forgotten at the next half minute: firing again waits for group_wait anew, at its own times",
    [*_fires(A, 0, 31), *_ends(A, 1)],
    [_told(0.5, [A]), _told(4.5, [], [A]), _told(31.5, [A])],
    replace(_ROUTE, group_interval=4.0),
)

# ── Inhibition ────────────────────────────────────────────────────────────────────────────────────────────────────────

SOURCE, OTHER = labels(rule="blind", target="shop"), labels(rule="blind", target="bank")
TARGET, UNLABELLED = labels(rule="errors", target="shop"), labels(rule="errors")
_BLIND, _SEEN = (Matcher("rule", "=", "blind"),), (Matcher("rule", "=", "errors"),)
_BY_TARGET = (Inhibit(_BLIND, _SEEN, ("target",)),)
_ANY = (Inhibit(_BLIND, _SEEN),)
_APART = replace(_ROUTE, routes=(Route(receiver="sources", matchers=_BLIND),))


def _source(at: float, firing: bool = True, alert: Labels = SOURCE) -> Notification:
    return _told(at, [alert] if firing else [], [] if firing else [alert], to="sources")


_known(
    "a firing source mutes a target with equal labels; when it resolves the target is told at its next tick",
    [*_fires(SOURCE, 0), *_ends(SOURCE, 5), *_fires(TARGET, 1)],
    [_source(0.5), _source(6.5, False), _told(5.5, [TARGET])],
    _APART,
    _BY_TARGET,
)
_known(
    "a source whose equal label differs mutes nothing",
    [*_fires(OTHER, 0), *_fires(TARGET, 1)],
    [_source(0.5, alert=OTHER), _told(1.5, [TARGET])],
    _APART,
    _BY_TARGET,
)
_known(
    "without equal it mutes all targets",
    [*_fires(OTHER, 0), *_fires(TARGET, 1)],
    [_source(0.5, alert=OTHER)],
    _APART,
    _ANY,
)
_known(
    "a label absent on both sides is equal",
    [*_fires(labels(rule="blind"), 0), *_fires(UNLABELLED, 1)],
    [_source(0.5, alert=labels(rule="blind"))],
    _APART,
    _BY_TARGET,
)
_known(
    "it mutes at the flush: a source that begins after the target but before its flush still mutes it",
    [*_fires(TARGET, 0), *_fires(SOURCE, 1)],
    [_source(3.5)],
    replace(_APART, group_wait=2.5),
    _BY_TARGET,
)
_known(
    "muted after it was told: nothing is said then, nor when the source ends and the target still fires",
    [*_fires(TARGET, 0), *_fires(SOURCE, 1), *_ends(SOURCE, 5)],
    [_told(0.5, [TARGET]), _source(1.5), _source(5.5, False)],
    _APART,
    _BY_TARGET,
)
_known(
    "resolved while muted: that it resolved is never told",
    [*_fires(TARGET, 0), *_fires(SOURCE, 1), *_ends(TARGET, 3), *_ends(SOURCE, 6)],
    [_told(0.5, [TARGET]), _source(1.5), _source(7.5, False)],
    _APART,
    _BY_TARGET,
)
_known(
    "resolved while muted, and firing again after: it counts as told already",
    [*_fires(TARGET, 0, 9), *_fires(SOURCE, 1), *_ends(TARGET, 3), *_ends(SOURCE, 6)],
    [_told(0.5, [TARGET]), _source(1.5), _source(7.5, False)],
    _APART,
    _BY_TARGET,
)
_known(
    "one of a group muted: the rest is no news, and so is its return",
    [*_fires(TARGET, 0), *_fires(C, 0), *_fires(SOURCE, 1), *_ends(SOURCE, 5)],
    [_told(0.5, [TARGET, C]), _source(1.5), _source(5.5, False)],
    _APART,
    _BY_TARGET,
)
_known(
    "one of a group muted when another joins: a message without it, and its return is news",
    [*_fires(TARGET, 0), *_fires(C, 0), *_fires(SOURCE, 1), *_fires(A, 3), *_ends(SOURCE, 6)],
    [_told(0.5, [TARGET, C]), _source(1.5), _told(4.5, [A, C]), _source(7.5, False), _told(6.5, [A, C, TARGET])],
    _APART,
    _BY_TARGET,
)
_known(
    "one of a group muted when the others resolve: told as all resolved",
    [*_fires(TARGET, 0), *_fires(C, 0), *_fires(SOURCE, 1), *_ends(C, 3)],
    [_told(0.5, [TARGET, C]), _source(1.5), _told(4.5, [], [C])],
    _APART,
    _BY_TARGET,
)
_BOTH = (Inhibit((Matcher("rule", "=~", "blind|errors"),), (Matcher("rule", "=~", "blind|errors"),)),)
_known(
    "alerts that are source and target at once do not mute each other",
    [*_fires(TARGET, 0), *_fires(SOURCE, 0)],
    [_told(0.5, [TARGET, SOURCE])],
    _ROUTE,
    _BOTH,
)

# ── Routes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tree(*children: Route, **given: object) -> Route:
    return replace(_ROUTE, routes=children, **given)  # type: ignore[arg-type]


_P1 = labels(rule="errors", severity="P1")
for _about, _matcher, _matched in (
    ("a regex must match the whole value", Matcher("severity", "=~", "P"), False),
    ("a regex that matches the whole value", Matcher("severity", "=~", "P."), True),
    ("alternatives are anchored together", Matcher("severity", "=~", "P|1"), False),
    ("!~ is anchored too", Matcher("severity", "!~", "P"), True),
    ("an absent label is an empty value: =", Matcher("customer", "=", ""), True),
    ("an absent label is an empty value: !=", Matcher("customer", "!=", "acme"), True),
    ("an absent label is an empty value: =~ .*", Matcher("customer", "=~", ".*"), True),
    ("an absent label is an empty value: =~ .+", Matcher("customer", "=~", ".+"), False),
    ("an absent label is an empty value: !~", Matcher("customer", "!~", ".+"), True),
    ("one of", Matcher("severity", "in", ("P0", "P1")), True),
):
    _known(
        _about, _fires(_P1, 0), [_told(0.5, [_P1], to="child" if _matched else "r")], _tree(Route("child", (_matcher,)))
    )

_ERRORS, _ANYTHING = (Matcher("rule", "=", "errors"),), (Matcher("rule", "!=", ""),)
_known(
    "continue goes on to the siblings; one without it ends the walk",
    _fires(_P1, 0),
    [_told(0.5, [_P1], to="one"), _told(0.5, [_P1], to="two")],
    _tree(Route("one", _ERRORS, continue_=True), Route("two", _ANYTHING), Route("three", ())),
)
_known(
    "the last sibling's continue does not go up: the parent is told only if no child matched",
    _fires(_P1, 0),
    [_told(0.5, [_P1], to="one")],
    _tree(Route("one", _ERRORS, continue_=True)),
)
_known(
    "a receiver reached by two routes is told twice: each route has groups of its own",
    _fires(_P1, 0),
    [_told(0.5, [_P1], to="same"), _told(0.5, [_P1], to="same", group=_P1)],
    _tree(Route("same", _ERRORS, continue_=True), Route("same", _ANYTHING, group_by=("...",))),
)
_known(
    "an empty group_by inherits like an absent one",
    _fires(_P1, 0),
    [_told(0.5, [_P1], to="child", group=labels(rule="errors"))],
    _tree(Route("child", _ERRORS, group_by=()), group_by=("rule",)),
)
_known(
    "a label the alert lacks is not among the group's, and those that lack it stand together",
    [*_fires(_P1, 0), *_fires(labels(rule="errors", customer="acme"), 0)],
    [
        _told(0.5, [_P1], group=labels(rule="errors")),
        _told(0.5, [labels(rule="errors", customer="acme")], group=labels(rule="errors", customer="acme")),
    ],
    _tree(group_by=("customer", "rule")),
)
_known(
    "a group_by below ... groups by its own",
    _fires(_P1, 0),
    [_told(0.5, [_P1], to="child", group=labels(severity="P1"))],
    _tree(Route("child", _ERRORS, group_by=("severity",)), group_by=("...",)),
)

_known(
    "what was told outlives the group: forgotten while it was muted, and firing again, it counts as told already",
    [*_fires(TARGET, 0, 31), *_fires(SOURCE, 1), *_ends(TARGET, 3), *_ends(SOURCE, 6), *_fires(A, 34)],
    [_told(0.5, [TARGET]), _source(1.5), _source(7.5, False), _told(35.5, [TARGET, A])],
    _APART,
    _BY_TARGET,
)
