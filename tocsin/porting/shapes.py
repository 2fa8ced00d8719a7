"""The shapes of PromQL that have a counterpart among the signals, by declared names of metrics and of nothing else.

There is no engine for metrics here: what is not recognised is refused, with what it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tocsin.core.rule import BurnRate
from tocsin.core.units import spell
from tocsin.porting.draft import number
from tocsin.porting.metrics import FAMILIES, FIVES, MEASURES, QUEUES, SIGNALS, STATUS, UPS
from tocsin.porting.promql import Binary, Call, Expr, Number, Selector

_LOOKBACK = timedelta(minutes=5)
"""For how long Prometheus takes the last sample for the present one."""


_FLIPPED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
OPS = {">": "above", ">=": "at_least", "<": "below", "<=": "at_most"}
_BACK = {"above": "below", "at_least": "at_most", "below": "above", "at_most": "at_least"}


_LOST = "in which one that is bad can be lost among many that are well"


class NoShape(Exception):
    """The expression has no counterpart; the message says why."""


@dataclass
class Meant:
    """What an expression asks, in keys of ``when``."""

    signal: str
    when: dict[str, str] = field(default_factory=dict)
    over: timedelta = timedelta(minutes=1)
    by: tuple[str, ...] = ()
    turned: bool = False
    """Whether what is measured is the rest of the share that the expression is."""
    waits: bool = True
    """Whether the rule's `for` still has to be waited for."""
    notes: list[tuple[str, str]] = field(default_factory=list)


def recognised(expr: Expr, wait: timedelta) -> Meant:
    """Return what an alert's expression asks of Tocsin. Raises NoShape."""
    if isinstance(expr, Call) and expr.name in ("absent", "absent_over_time"):
        return _absent(expr, wait)
    if not isinstance(expr, Binary):
        raise NoShape("it compares nothing with a number")
    if expr.op in ("and", "or", "unless"):
        return _burning(expr)
    op, of, limit = _compared(expr)
    for shape in (_up, _certificate, _ratio_alert, _latency, _restarts, _queue):
        meant = shape(op, of, limit)
        if meant is not None:
            return _noted(meant)
    raise NoShape("no metric in it has a counterpart among the signals")


def _noted(meant: Meant) -> Meant:
    meant.notes.insert(0, ("another-measure", f"`{meant.signal}` reads {MEASURES[meant.signal]}"))
    return meant


def _compared(expr: Expr) -> tuple[str, Expr, float]:
    if isinstance(expr, Binary) and expr.op in _FLIPPED and "bool" not in expr.matching:
        if isinstance(expr.right, Number):
            return expr.op, expr.left, expr.right.value
        if isinstance(expr.left, Number):
            return _FLIPPED[expr.op], expr.right, expr.left.value
    raise NoShape("it compares nothing with a number")


# Ratios of requests


@dataclass(frozen=True, slots=True)
class _Rate:
    """A sum of rates of one counter."""

    family: str
    selector: Selector
    by: tuple[str, ...]
    summed: bool


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share of requests; ``failed`` tells whether of those that fail."""

    family: str
    span: timedelta
    failed: bool
    notes: tuple[tuple[str, str], ...] = ()


def _rate(expr: Expr) -> _Rate | None:
    by: tuple[str, ...] = ()
    summed = isinstance(expr, Call) and expr.name == "sum" and not expr.without
    if isinstance(expr, Call) and expr.name == "sum" and len(expr.args) == 1:
        by, expr = expr.by or expr.without, expr.args[0]
    if not (isinstance(expr, Call) and expr.name in ("rate", "increase") and len(expr.args) == 1):
        return None
    of = expr.args[0]
    if not isinstance(of, Selector) or of.span is None or of.moved:
        return None
    bare = re.sub(r"_(count|bucket)$", "", of.metric)
    family = next((name for name, metrics in FAMILIES.items() if re.fullmatch(metrics, bare)), "")
    return _Rate(family, of, by, summed)


def ratio(expr: Expr) -> Ratio | None:
    """Return the share of requests an expression is, None where it is none. Raises NoShape for one that is unclear."""
    if isinstance(expr, Binary) and expr.op == "-" and expr.left == Number(1.0):
        inner = ratio(expr.right)
        return None if inner is None else Ratio(inner.family, inner.span, not inner.failed, inner.notes)
    if not (isinstance(expr, Binary) and expr.op == "/"):
        return None
    return share(expr.left, expr.right)


def share(part: Expr, whole: Expr) -> Ratio | None:
    """Return the share that one rate is of another."""
    above, below = _rate(part), _rate(whole)
    if above is None or below is None or not above.family or above.family != below.family:
        return None
    if (above.by, above.summed) != (below.by, below.summed):
        raise NoShape("its two sides are summed by different labels")
    if above.selector.span != below.selector.span:
        raise NoShape("its two rates are of different ranges")
    extra = [each for each in above.selector.matchers if each not in below.selector.matchers]
    if len(extra) != 1 or [each for each in below.selector.matchers if each not in above.selector.matchers]:
        raise NoShape("it is not clear which requests fail: one label more in the part than in the whole was expected")
    failed = _fails(extra[0], above.family)
    return Ratio(above.family, above.selector.span or _LOOKBACK, failed, tuple(_kept(below)))


def _fails(matcher: tuple[str, str, str], family: str) -> bool:
    label, op, value = matcher
    if label in STATUS and value in FIVES and op in ("=~", "!~"):
        return op == "=~"
    if label in ("outcome", "result") and value in ("SERVER_ERROR", "error", "failure") and op in ("=", "!="):
        return op == "="
    if label in ("error_type", "error") and family in ("client", "model") and (op, value) in (("!=", ""), ("=~", ".+")):
        return True
    raise NoShape(f'no signal measures {label}{op}"{value}": server errors (5xx) are what is known')


def _kept(rate: _Rate) -> list[tuple[str, str]]:
    apart = [("another-split", f"an alert for each series there; here one for each target, {_LOST}")]
    return [*_chosen(rate.selector), *(_split(rate.by) if rate.summed else apart)]


def _chosen(selector: Selector, known: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    names = [f'{label}{op}"{value}"' for label, op, value in selector.matchers if label not in known]
    words = f"what {', '.join(names)} chose is here the target: choose it by `targets`"
    return [("selector", words)] if names else []


def _split(by: tuple[str, ...], known: str = "", how: str = _LOST) -> list[tuple[str, str]]:
    others = [name for name in by if name not in ("le", known)]
    words = f"an alert for each {', '.join(others)} there; here one for each target, {how}"
    return [("another-split", words)] if others else []


def _ratio_alert(op: str, of: Expr, limit: float) -> Meant | None:
    if isinstance(of, Binary) and of.op == "*" and Number(100.0) in (of.left, of.right):
        of, limit = (of.left if of.right == Number(100.0) else of.right), limit / 100
    if isinstance(of, Binary) and isinstance(of.left, Binary) and of.left.op == "*" and of.left.left == Number(100.0):
        of, limit = replace(of, left=of.left.right), limit / 100
    found = ratio(of)
    if found is None:
        return None
    if not 0 <= limit <= 1:
        raise NoShape(f"{number(limit)} is no share: it would never fire, or always")
    if op not in OPS:
        raise NoShape(f"'{op}' has no equal: a rule compares by above, at_least, below, at_most")
    signal = SIGNALS.get(found.family, "request_success")
    same = found.failed == (signal != "request_success")
    key, value = (OPS[op], limit) if same else (_BACK[OPS[op]], round(1 - limit, 12))
    meant = Meant(signal, {key: percent(value)}, found.span, turned=not same, notes=list(found.notes))
    if meant.turned:
        words = f"the share that succeeds is measured: {OPS[op]} {percent(limit)} there is {key} {percent(value)} here"
        meant.notes.append(("turned-around", words))
    words = "a rate is extrapolated to the range's ends; here rows of the window are counted"
    meant.notes.append(("rates", words))
    return meant


def percent(value: float) -> str:
    """Return a share as people write it."""
    return f"{number(round(value * 100, 10))}%"


# Burn rates


def _burning(expr: Binary) -> Meant:
    pairs = [_pair(each) for each in _sides(expr, "or")]
    for kind in ("page", "ticket"):
        known = BurnRate(objective=0.5, alert=kind).pairs
        wanted = {(long, short): limit / 0.5 for long, short, limit in known}
        if {pair[0] for pair in pairs} == wanted.keys() and len(pairs) == len(known):
            budgets = {round(limit / wanted[windows], 9) for windows, limit, _ in pairs}
            if len(budgets) != 1:
                raise NoShape("its burn rates are not those of one objective")
            return _noted(_burn(kind, 1 - budgets.pop(), pairs[0][2]))
    listed = "1h/5m with 6h/30m (page), 1d/2h with 3d/6h (ticket)"
    raise NoShape(f"it is no pair of burn rates that is known: {listed}")


def _burn(kind: str, objective: float, found: Ratio) -> Meant:
    signal = SIGNALS.get(found.family, "response_errors")
    said = f"{{ objective: {percent(objective)}, alert: {kind} }}"
    return Meant(signal, {"burn_rate": said}, notes=list(found.notes))


def _pair(expr: Expr) -> tuple[tuple[timedelta, timedelta], float, Ratio]:
    sides = [_compared(each) for each in _sides(expr, "and")]
    if len(sides) != 2:
        raise NoShape("a burn rate has a long and a short window")
    found = [(ratio(of), limit) for op, of, limit in sides if op in (">", ">=")]
    if len(found) != 2 or found[0][1] != found[1][1] or any(of is None or not of.failed for of, _ in found):
        raise NoShape("a burn rate compares a share of failures over two windows with one number")
    first, second = (of for of, _ in found if of is not None)
    return (max(first.span, second.span), min(first.span, second.span)), found[0][1], first


def _sides(expr: Expr, op: str) -> list[Expr]:
    if isinstance(expr, Binary) and expr.op == op:
        return [*_sides(expr.left, op), *_sides(expr.right, op)]
    return [expr]


# Everything else


def _inside(expr: Expr, *functions: str) -> tuple[Selector | None, tuple[str, ...]]:
    """Return the series within these functions, and the labels they are split by."""
    by: tuple[str, ...] = ()
    while isinstance(expr, Call) and expr.name in functions and len(expr.args) == 1:
        by, expr = by or expr.by, expr.args[0]
    return (expr if isinstance(expr, Selector) and not expr.moved else None), by


def _functions(expr: Expr) -> list[str]:
    return [expr.name, *(name for each in expr.args for name in _functions(each))] if isinstance(expr, Call) else []


def _up(op: str, of: Expr, limit: float) -> Meant | None:
    found, by = _inside(of, "min", "max", "avg", "sum", "max_over_time")
    if found is None or found.metric not in UPS:
        return None
    if (op, limit) not in (("==", 0.0), ("<", 1.0), ("!=", 1.0), ("<=", 0.0)):
        raise NoShape("of `up` only that it is 0 has a counterpart")
    notes = [*_chosen(found), *_split(by, "instance")]
    outer = _functions(of)[:1]
    if outer and outer[0] != "min" and (outer[0] != "avg" or op in ("==", "<=")):
        notes.append(
            ("any-of-them", "there all of them have to be down, or all the time; here one look at one is enough")
        )
    return Meant("probe_failures", {"above": "0"}, found.span or timedelta(minutes=1), ("probe",), notes=notes)


def _certificate(op: str, of: Expr, limit: float) -> Meant | None:
    scale = 1.0
    if isinstance(of, Binary) and of.op == "/" and isinstance(of.right, Number):
        scale, of = of.right.value, of.left
    if not (isinstance(of, Binary) and of.op == "-" and of.right == Call("time", ())):
        return None
    found, _ = _inside(of.left, "min")
    if found is None or found.metric != "probe_ssl_earliest_cert_expiry" or op not in ("<", "<="):
        return None
    days = {OPS[op]: number(limit * scale / 86_400)}
    return Meant("certificate_days", days, timedelta(minutes=1), ("probe",), notes=_chosen(found))


def _latency(op: str, of: Expr, limit: float) -> Meant | None:
    if not (isinstance(of, Call) and of.name == "histogram_quantile" and len(of.args) == 2):
        return None
    wanted, rate = of.args[0], _rate(of.args[1])
    if rate is None or rate.family != "server" or not rate.selector.metric.endswith("_bucket"):
        raise NoShape("only the time of answered requests has a counterpart (`response_latency`)")
    if wanted != Number(0.95) or op not in OPS:
        raise NoShape("`response_latency` is the 95th percentile; of others there is no signal")
    scale = 1 if "milliseconds" in rate.selector.metric else 1000
    notes = _kept(rate)
    return Meant("response_latency", {OPS[op]: number(limit * scale)}, rate.selector.span or _LOOKBACK, notes=notes)


def _restarts(op: str, of: Expr, limit: float) -> Meant | None:
    found, by = _inside(of, "sum", "max", "increase", "rate", "changes")
    if found is None or found.metric != "kube_pod_container_status_restarts_total" or found.span is None:
        return None
    if op not in (">", ">="):
        raise NoShape(f"'{op}': only that containers restart often has a counterpart")
    value = limit * found.span.total_seconds() if "rate" in _functions(of) else limit
    return Meant(
        "restarts",
        {OPS[op]: number(value)},
        found.span,
        notes=[*_chosen(found), *_split(by, how="and their sum counts")],
    )


def _queue(op: str, of: Expr, limit: float) -> Meant | None:
    found, by = _inside(of, "sum", "max", "avg")
    if found is None or not re.fullmatch(QUEUES, found.metric) or op not in OPS:
        return None
    if "sum" in _functions(of) and "queue" not in by:
        raise NoShape("the sum of several queues has no counterpart: `queue_depth` is that of the fullest")
    if "avg" in _functions(of) and op in ("<", "<="):
        raise NoShape("the mean of several queues has no counterpart: `queue_depth` is that of the fullest")
    split = ("queue",) if not isinstance(of, Call) or "queue" in by else ()
    notes = [*_chosen(found), *_split(by, "queue")]
    return Meant("queue_depth", {OPS[op]: number(limit)}, timedelta(minutes=1), split, notes=notes)


def _absent(expr: Call, wait: timedelta) -> Meant:
    found, _ = _inside(expr, "absent", "absent_over_time", "sum", "rate", "increase")
    bare = re.sub(r"_(count|bucket|sum)$", "", found.metric) if found is not None else ""
    family = next((name for name, metrics in FAMILIES.items() if re.fullmatch(metrics, bare)), "")
    if found is None or not family:
        raise NoShape("of what is absent no signal is known; that a target sends nothing at all is told by itself")
    if any(label in STATUS or label in ("error", "error_type", "outcome") for label, _, _ in found.matchers):
        raise NoShape("that requests of one outcome are absent has no counterpart: only that there are none at all")
    length = (found.span or _LOOKBACK) + wait
    signal = SIGNALS.get(family, "request_success")
    words = (
        f"it must be missing {spell(length)} (5m of Prometheus's own, and `for`) while the target sends anything else"
    )
    meant = Meant(signal, {"absent_for": spell(length)}, notes=[*_chosen(found), ("absence", words)], waits=False)
    return _noted(meant)
