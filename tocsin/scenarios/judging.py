"""Holding an expectation against what has come of the case by then."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tocsin.core.alert import Alert, Instance, Seen, State, Verdict, instance
from tocsin.core.instance import shown
from tocsin.core.rule import Rule
from tocsin.core.units import amount
from tocsin.scenarios.format import Expect

_WORST = (State.FIRING, State.RECOVERING, State.PENDING, State.INACTIVE)
_CLOSE = 0.005
"""By which share a value may differ from what is expected: people write 7.7% for 7.692%."""


@dataclass(frozen=True, slots=True)
class Told:
    """One message: when, to whom, of which kind and rule."""

    at: timedelta
    receiver: str
    kind: str
    rule: str
    episode: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be seen of a rule at one moment. ``told`` is what was told since the moment looked at before."""

    rule: Rule
    alerts: Mapping[Instance, Alert]
    seen: Mapping[Instance, Seen]
    """The verdicts of the newest slot."""
    values: Mapping[Instance, float]
    told: Sequence[Told]
    executions: Mapping[str, str]
    unit: str = "count"
    """Of the rule's values."""
    evaluated: bool = True
    """Whether any slot was judged by then: of a rule that never ran nobody can say that it is inactive."""
    muted: str = ""
    """Why the rule's alerts are not told, or an empty text."""

    def state(self, by: Instance) -> State:
        """Return where an instance stands."""
        return self.alerts[by].state if by in self.alerts else State.INACTIVE

    @property
    def worst(self) -> State:
        """Where the instance stands that is worst off."""
        return min((alert.state for alert in self.alerts.values()), key=_WORST.index, default=State.INACTIVE)

    def having(self, state: str | None) -> list[Instance]:
        """Return the instances in a state; of no state, all that are not inactive."""
        if state == "unknown":
            return [by for by, each in self.seen.items() if each.verdict is Verdict.UNKNOWN]
        known = dict.fromkeys((*self.alerts, *self.seen))
        if state is None:
            return [by for by in known if self.state(by) is not State.INACTIVE]
        return [by for by in known if self.state(by).value == state]


@dataclass(frozen=True, slots=True)
class Miss:
    """One thing that did not come as expected."""

    what: str
    expected: str
    got: str


def judge(expect: Expect, look: Look) -> list[Miss]:
    """Return everything that is not as expected."""
    return [*_state(expect, look), *_instances(expect, look), *_value(expect, look), *_told(expect, look),
            *_rest(expect, look)]  # fmt: skip


def _state(expect: Expect, look: Look) -> Iterator[Miss]:
    if not look.evaluated and (expect.state or expect.verdict):
        yield Miss("state", str(expect.state or expect.verdict), "nothing was evaluated")
        return
    verdicts = [each.verdict.value for each in look.seen.values()]
    if expect.state == "unknown" and "unknown" not in verdicts:
        yield Miss("state", "unknown", " and ".join(dict.fromkeys(verdicts)) or "nothing was evaluated")
    elif expect.state not in (None, "unknown", look.worst.value) and expect.instances is None:
        yield Miss("state", str(expect.state), _spelled_state(look))
    if expect.verdict and expect.verdict not in verdicts:
        yield Miss("verdict", expect.verdict, " and ".join(dict.fromkeys(verdicts)) or "none")
    reasons = [each.reason for each in look.seen.values()]
    if expect.why is not None and not any(expect.why in reason for reason in reasons):
        yield Miss("why", expect.why, "; ".join(dict.fromkeys(reasons)) or "nothing was evaluated")


def _spelled_state(look: Look) -> str:
    unknown = [each.reason for each in look.seen.values() if each.verdict is Verdict.UNKNOWN]
    return look.worst.value + (f" (unknown: {unknown[0]})" if unknown else "")


def _instances(expect: Expect, look: Look) -> Iterator[Miss]:
    if expect.instances is None:
        return
    wanted = {instance(each) for each in expect.instances}
    got = set(look.having(expect.state))
    if wanted != got:
        said = f"instances {expect.state or 'not inactive'}"
        yield Miss(said, _spelled(wanted), _spelled(got))


def _spelled(found: set[Instance]) -> str:
    return "; ".join(sorted(spelled(by) for by in found)) or "none"


def spelled(by: Instance) -> str:
    """Return an instance as people write it."""
    return ", ".join(f"{name}={value}" for name, value in shown(by).items()) or "the whole target"


def _value(expect: Expect, look: Look) -> Iterator[Miss]:
    if expect.value is None:
        return
    wanted = None if expect.instances is None else [instance(each) for each in expect.instances]
    got = [look.values.get(by) for by in (look.values if wanted is None else wanted)]
    fits = [value is not None and math.isclose(value, expect.value, rel_tol=_CLOSE, abs_tol=1e-9) for value in got]
    # Without instances one of them is enough: which is meant nobody has said.
    if not fits or not (any(fits) if wanted is None else all(fits)):
        values = ", ".join(amount(value, look.unit) for value in got) or "no value"
        yield Miss("value", amount(expect.value, look.unit), values)


def _told(expect: Expect, look: Look) -> Iterator[Miss]:
    receivers = list(dict.fromkeys(each.receiver for each in look.told))
    said = ", ".join(f"{each.receiver} ({each.kind})" for each in look.told) or "nobody"
    if expect.tells is not None:
        if not expect.tells and receivers:
            yield Miss("tells", "nobody", said)
        elif not set(expect.tells) <= set(receivers):
            yield Miss("tells", ", ".join(expect.tells), said)
    wrong = [name for name in expect.not_tells if name in receivers]
    if wrong:
        yield Miss("tells", f"not {', '.join(wrong)}", said)
    kinds = list(dict.fromkeys(each.kind for each in look.told))
    if expect.kinds is not None and kinds != list(expect.kinds):
        yield Miss("kinds", ", ".join(expect.kinds) or "none", ", ".join(kinds) or "none")


def _rest(expect: Expect, look: Look) -> Iterator[Miss]:
    if expect.severity is not None and expect.severity is not look.rule.severity:
        yield Miss("severity", expect.severity.value, look.rule.severity.value)
    if expect.actions is not None and dict(expect.actions) != dict(look.executions):
        yield Miss("actions", _phases(expect.actions), _phases(look.executions))
    if expect.silenced is not None and expect.silenced != bool(look.muted):
        yield Miss("silenced", "true" if expect.silenced else "false", look.muted or "false")


def _phases(found: Mapping[str, str]) -> str:
    return ", ".join(f"{policy} {phase}" for policy, phase in found.items()) or "none"
