"""The lines of the checklist: what the customer's runbook asks before a handover, and by which evidence it is so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tocsin.core.answer import NoAnswer
from tocsin.core.audit import Damage
from tocsin.core.config import Config, Target
from tocsin.core.evals import Verdict
from tocsin.core.message import Delivery, Kind
from tocsin.core.rule import Rule
from tocsin.core.schedule import asleep, selects
from tocsin.core.text import scrub
from tocsin.diagnosing.finding import Finding, State
from tocsin.diagnosing.handover import ACCEPTANCE, QUARTER, Line
from tocsin.diagnosing.running import taken
from tocsin.diagnosing.wiring import Sighted

ALERTS = (
    "high_error_rate",
    "p95_latency",
    "hitl_misconfigured",
    "hitl_rejection_spike",
    "cost_jump",
    "model_outage",
    "private_endpoint_dns",
    "killswitch_drift",
)
"""The rules for what the customer's runbook wants alerts on."""

_DECISIONS = ("tool.hitl_approved", "tool.hitl_rejected")
_GOOD = ("proven", "nothing to prove")
_STEP = "step "


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read for the checklist. ``reach`` is whom the routes name for a rule on a target."""

    now: datetime
    config: Config
    rules: tuple[Rule, ...]
    findings: Sequence[Finding]
    tested: Collection[str]
    history: Sequence[Delivery]
    audit: Sequence[Mapping[str, Any]]
    damage: Damage | None = None
    reach: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    evals: Mapping[str, Verdict | NoAnswer] = field(default_factory=dict)
    seen: Mapping[str, Sighted] = field(default_factory=dict)

    def of(self, check: str) -> list[Finding]:
        """Return the findings of one kind."""
        return [each for each in self.findings if each.check == check]

    def unproven(self) -> set[str]:
        """Return the receivers that were not seen to take messages."""
        return {each.about for each in self.of("receivers") if each.state is not State.OK}


def lines(evidence: Evidence, targets: Sequence[Target]) -> Iterator[Line]:
    """Yield every line, in the order in which they are worked off; the last is everybody's word on all of them."""
    yield _doctor(evidence)
    yield _tested(evidence)
    yield _receivers(evidence)
    yield _watchdog(evidence)
    yield _audit(evidence)
    for target in targets:
        yield _alerts(evidence, target)
        yield from _approver(evidence, target)
        yield _killswitch(evidence, target)
        yield _evals(evidence, target)
    yield Line("runbook", "The on-call team has read the runbook and the handover packet", "a person says so", (), 1)
    both = "the partner's delivery lead and the customer's operations lead say so"
    yield Line(ACCEPTANCE, "Both sides have signed", both, (), 2)


# The watcher itself


def _doctor(evidence: Evidence) -> Line:
    wrong = [each for each in evidence.findings if each.state in (State.ERROR, State.UNKNOWN)]
    count = len(evidence.findings)
    said = f"{count - len(wrong)} of {count} findings of `tocsin doctor` are no error"
    return Line("doctor", "The watcher can see, keep, tell and act", said, _named(wrong))


def _named(found: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(f"{each.check} {each.about}: {each.id or each.state.value}" for each in found)


def _tested(evidence: Evidence) -> Line:
    rules = [each.id for each in evidence.rules if not asleep(each, evidence.now)]
    missing = tuple(name for name in rules if name not in evidence.tested)
    said = f"{len(rules) - len(missing)} of {len(rules)} rules have scenarios under tests/rules"
    return Line("rule-tests", "Every rule has scenarios", said, missing)


def _receivers(evidence: Evidence) -> Line:
    found = evidence.of("receivers")
    open_ = tuple(f"{each.about}: {each.id or each.state.value}" for each in found if each.state is not State.OK)
    said = "; ".join(f"{each.about}: {each.seen}" for each in found) or "there is no receiver"
    return Line("receivers", "Every receiver was seen to take a message", said, open_ if found else ("no receiver",))


def _watchdog(evidence: Evidence) -> Line:
    asks, every = "Every receiver hears regularly that it is reached", evidence.config.watchdog
    if every is None:
        return Line("watchdog", asks, "`watchdog` is not set in tocsin.yaml", ("not set",))
    beats = [each for each in evidence.history if each.notice.kind is Kind.WATCHDOG]
    last = {name: taken(each for each in beats if each.receiver == name) for name in evidence.config.receivers}
    late = tuple(name for name, at in last.items() if at is None or evidence.now - at > 2 * every)
    said = "; ".join(f"{name}: {_day(at) if at else 'never'}" for name, at in last.items())
    return Line("watchdog", asks, f"the newest heartbeat taken: {said or 'there is no receiver'}", late)


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _audit(evidence: Evidence) -> Line:
    asks, count = "The audit is whole and copied", len(evidence.audit)
    copied = [each for each in evidence.of("audit") if each.state is not State.OK]
    open_ = (*((evidence.damage.words,) if evidence.damage else ()), *_named(copied))
    return Line("audit", asks, f"{count} records{'' if evidence.damage else ', whole'}", open_)


# One target


def _alerts(evidence: Evidence, target: Target) -> Line:
    rules = {each.id: each for each in evidence.rules}
    open_ = tuple(why for name in ALERTS if (why := _unwired(evidence, name, rules.get(name), target)))
    to = dict.fromkeys(each for name in ALERTS for each in evidence.reach.get((name, target.name), ()))
    said = f"{len(ALERTS) - len(open_)} of {len(ALERTS)} alerts of the runbook can fire, and reach {', '.join(to)}"
    return Line(f"alerts/{target.name}", "Alerts are wired and reach the on-call channel", said, open_)


def _unwired(evidence: Evidence, name: str, rule: Rule | None, target: Target) -> str:
    """Return why nobody would hear of what the rule watches, or an empty text."""
    if rule is None:
        return f"{name}: there is no such rule"
    if not selects(rule, target):
        return f"{name}: not for this target"
    if why := asleep(rule, evidence.now):
        return f"{name}: {why}"
    if any(each.about == f"{target.name}: {name}" for each in evidence.of("rules")):
        return f"{name}: can never fire, or nobody knows"
    reached = set(evidence.reach.get((name, target.name), ())) - evidence.unproven()
    return "" if reached else f"{name}: reaches nobody who was seen to take a message"


def _approver(evidence: Evidence, target: Target) -> Iterator[Line]:
    if not (target.production and target.side_effect_tools):
        return
    found = [each for each in evidence.of("approver") if each.about == target.name]
    said = "; ".join(each.seen for each in found) or "nobody looked"
    open_ = tuple(each.id for each in found if each.state is not State.OK) if found else ("not looked at",)
    rota = "The approver answers, and its rota is named in the packet"
    yield Line(f"approver/{target.name}", rota, said, open_, people=1)
    seen = evidence.seen.get(target.name, Sighted(unread="not asked"))
    missing = tuple(f"no {name} in 30 days" for name in _DECISIONS if name not in seen.events)
    counts = ", ".join(f"{seen.events.get(name, 0)} {name}" for name in _DECISIONS)
    both = "The approver was drilled: one action approved, one rejected"
    yield Line(f"approver-drill/{target.name}", both, seen.unread or f"{counts} in 30 days", missing)


def _killswitch(evidence: Evidence, target: Target) -> Line:
    asks = "The killswitch was drilled within a quarter, and halts the tools"
    mine = [each for each in evidence.audit if each["target"] == target.name]
    ended = [each for each in mine if each["event"] == "drill ended" and each["detail"].get("scope") == "tools"]
    drill = ended[-1] if ended else None
    said, open_ = _drilled(drill, evidence.now)
    released = [each for each in mine if each["event"] in ("release verified", "drill release verified")]
    last = f"last verified release {_day(datetime.fromisoformat(released[-1]['at']))}" if released else "no release"
    return Line(f"killswitch/{target.name}", asks, f"{said}; {last}", open_)


def _drilled(drill: Mapping[str, Any] | None, now: datetime) -> tuple[str, tuple[str, ...]]:
    """Return what the newest drill proved, and what it left open."""
    if drill is None:
        return "the audit knows no drill", ("never drilled",)
    at, detail = datetime.fromisoformat(drill["at"]), drill["detail"]
    said = f"drill {detail.get('drill', '?')} of {_day(at)} by {scrub(drill['actor'], 60)}"
    if now - at > QUARTER:
        return f"{said} is more than a quarter old", ("not drilled within a quarter",)
    steps = {key[len(_STEP) + 3 :]: result for key, result in detail.items() if key.startswith(_STEP)}
    bad = [f"{name} is {result}" for name, result in steps.items() if result not in _GOOD]
    bad += ["it left the switch on"] if detail.get("left on") != "false" else []
    return f"{said}, {len(steps)} steps", tuple(bad if steps else ["it had no steps"])


def _evals(evidence: Evidence, target: Target) -> Line:
    asks, found = "Evals can be run, and the newest results allow a release", evidence.evals.get(target.name)
    if target.evals is None or found is None:
        return Line(f"evals/{target.name}", asks, "the target names no `evals` in tocsin.yaml", ("no source",))
    if isinstance(found, NoAnswer):
        said = f"{found.why.value}: {scrub(found.detail, 300)}"
        return Line(f"evals/{target.name}", asks, said, ("no results in 30 days",))
    said = f"{found.source or 'results'}{f' ({found.run})' if found.run else ''}: "
    said += "; ".join(f"{each.name}: {each.words}" for each in found.checks)
    return Line(f"evals/{target.name}", asks, said, tuple(each.name for each in found.failing))
