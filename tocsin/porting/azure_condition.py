"""What a log alert of Azure looks for: its query, the comparison, the periods and the dimensions."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from tocsin.core import kql
from tocsin.core.node import Node
from tocsin.core.units import spell
from tocsin.porting import queries
from tocsin.porting.azure_times import length
from tocsin.porting.draft import Draft, number
from tocsin.porting.outcome import Fields, Gathering

_MINUTE = timedelta(minutes=1)
_MOST_SLOTS = 100

OPERATORS = {
    "greaterthan": "above",
    "greaterthanorequal": "at_least",
    "lessthan": "below",
    "lessthanorequal": "at_most",
}


class Condition:
    """The criteria of one alert, read into a draft."""

    def __init__(self, told: Gathering, draft: Draft, every: timedelta, window: timedelta) -> None:
        self.told, self.draft, self.every, self.window = told, draft, every, window

    def read(self, properties: Fields) -> None:
        """Read `criteria` and the range it asks for."""
        criteria = properties.inside("criteria")
        if criteria is None:
            self.told.refuse("bad-field", properties.node, "`criteria` is needed")
            return
        criteria.left(("odata.type",), "left-behind", "the form of the criteria")
        given = criteria.items("allOf")
        criteria.finish()
        if len(given) != 1:
            words = f"{len(given)} conditions that must hold together: a rule has one; join their queries"
            self.told.refuse("no-counterpart", criteria.place("allOf"), words)
            return
        one = criteria.below(given[0], f"{criteria.path}.allOf[0]")
        self._judged(one, properties)
        one.finish()

    def _judged(self, one: Fields, properties: Fields) -> None:
        kind = one.raw("criterionType")
        learnt = one.raw("alertSensitivity")
        if learnt is not None or (kind is not None and "static" not in (kind.text or "").casefold()):
            words, hint = "a threshold that Azure learns has no equal here", "`unusual: { score: 4 }` is the nearest"
            self.told.refuse("no-counterpart", kind or learnt or one.node, words, hint)
        one.raw("ignoreDataBefore")
        one.left(("metricName",), "left-behind", "the name of a metric that only LogToMetric has")
        aggregate = one.text("timeAggregation").casefold() or "count"
        column = one.carry("metricMeasureColumn")
        if aggregate not in ("count", "average", "maximum", "minimum", "total"):
            self.told.refuse("bad-field", one.place("timeAggregation"), f"no aggregation '{aggregate}' is known")
            one.given_up()
            return
        if aggregate != "count" and not column:
            self.told.refuse("bad-field", one.node, f"{aggregate} needs a `metricMeasureColumn`")
            one.given_up()
            return
        self.told.carried.append(one.named("timeAggregation"))
        self._compared(one, aggregate)
        self._asked(one, aggregate, column, properties)

    def _compared(self, one: Fields, aggregate: str) -> None:
        operator, limit = one.text("operator"), one.text("threshold")
        try:
            value = float(limit)
        except ValueError:
            self.told.refuse("bad-field", one.place("threshold"), f"`threshold` has to be a number, found '{limit}'")
            return
        op = OPERATORS.get(operator.casefold(), "")
        if operator.casefold() in ("equals", "equal") and aggregate == "count" and not value:
            op = "at_most"
        if not op:
            words = f"'{operator}' has no equal: a rule compares by above, at_least, below, at_most"
            self.told.refuse("no-counterpart", one.place("operator"), words)
            return
        self.told.carried += [one.named("operator"), one.named("threshold")]
        self.draft.when[op] = number(value)

    def _asked(self, one: Fields, aggregate: str, column: str, properties: Fields) -> None:
        place, text = one.place("query"), one.text("query")
        if not text or kql.statements(text) is None:
            self.told.refuse("bad-field", place, "`query` has to be a query whose brackets match")
            one.given_up()
            return
        asked = queries.read(text)
        self.told.carried.append(one.named("query"))
        slots = self._periods(one, asked)
        over = self._range(properties, asked, slots)
        self._refusals(asked, place)
        self._changes(asked, place, one.named("query"), over)
        if asked.inner and asked.inner < over and asked.several:
            words = f"parts of the query look back to different times within {spell(over)}: a rule has one window"
            self.told.refuse("reads-past-the-window", place, words)
        if asked.inner and asked.inner < over:
            words = f"the query looks back {spell(asked.inner)} by itself, less than {spell(over)}: that is the window"
            self.told.differs("inner-window", one.named("query"), place, words)
            over = asked.inner
        by = self._dimensions(one, asked)
        filtered = replace(asked, text=self._filtered(asked, one))
        self.draft.kql = queries.one_value(filtered, aggregate, asked.names.get(column, column), by)
        self.draft.by = by
        self.draft.when["over"] = spell(over)
        self._silence(one, aggregate, filtered, by)

    def _refusals(self, asked: queries.Asked, place: Node) -> None:
        past = kql.past_the_window(asked.text)
        if past:
            words = f"the query reads past its window: {', '.join(past)}"
            hint = "only `where TimeGenerated > ago(…)` can be taken away; the window is applied outside the query"
            self.told.refuse("reads-past-the-window", place, words, hint)
        for name in asked.clashes:
            words = f"'{name}' has another name in each of the tables it reads"
            self.told.refuse("not-in-the-workspace", place, words, "write it with the workspace's names first")

    def _changes(self, asked: queries.Asked, place: Node, named: str, over: timedelta) -> None:
        told = self.told
        if asked.renamed:
            words = "it was written with the classic names; the workspace's stand in their place"
            told.differs("classic-names", named, place, words)
        if asked.freed:
            told.differs(
                "scope",
                named,
                place,
                "it was bound to one role name; here it is asked of every target (choose by `targets`)",
            )
        if asked.bounded:
            words = f"what bounded it in time is gone: the window of {spell(over)} is applied outside, half open"
            told.differs("window-outside", named, place, words)
        if asked.rendered:
            told.differs("left-behind", f"{named} (render)", place, "`render` draws and decides nothing")
        if re.search(r"\bbin\s*\(\s*TimeGenerated", kql.code(asked.text)):
            words = "its bins are aligned to the clock and the window is not: those at its ends are smaller"
            told.differs("bins", named, place, words)

    def _periods(self, one: Fields, asked: queries.Asked) -> int:
        """Read `failingPeriods`; return how many periods Azure looks back over."""
        failing = one.inside("failingPeriods")
        if failing is None:
            return 1
        numbers = [failing.text(name) for name in ("numberOfEvaluationPeriods", "minFailingPeriodsToAlert")]
        failing.finish()
        if not all(re.fullmatch(r"[1-9]\d?", each or "1") for each in numbers):
            self.told.refuse("bad-field", failing.node, f"{' and '.join(numbers)} are no numbers of periods")
            return 1
        slots, hits = int(numbers[0] or 1), int(numbers[1] or 1)
        self._out_of(slots, hits, failing, asked)
        return slots

    def _out_of(self, slots: int, hits: int, failing: Fields, asked: queries.Asked) -> None:
        place, named = failing.node, failing.path
        if hits > slots:
            words = f"{hits} failing periods of {slots} can never be: Azure would not fire, either"
            self.told.refuse("bad-field", place, words)
        elif slots == 1:
            self.told.carried.append(named)
        elif not self.every or not self.window:
            return
        elif self.every == self.window:
            self.told.carried.append(named)
            self.draft.in_ = f"{hits} of {slots}"
        else:
            looks = -(-slots * self.window // self.every)
            if looks > _MOST_SLOTS:
                words = f"{slots} periods of {spell(self.window)} are {looks} looks: at most {_MOST_SLOTS} are kept"
                self.told.refuse("no-counterpart", place, words)
                return
            self.draft.in_ = f"{hits} of {looks}"
            words = (
                f"Azure counts {hits} of {slots} periods of {spell(self.window)} that do not overlap; here {hits} of "
                f"the {looks} looks over the same time, which do: it fires whenever Azure does, and sometimes sooner"
            )
            if self.window % self.every:
                words += "; but for periods that end between two looks"
            self.told.differs("periods-overlap", named, place, words)
        if slots > 1 and not asked.keeps_time:
            words = "its result does not say when its rows are of: Azure may judge all periods as one"
            self.told.differs("no-time-in-result", named, place, words)

    def _range(self, properties: Fields, asked: queries.Asked, slots: int) -> timedelta:
        """Read `overrideQueryTimeRange`; return how long a stretch each value is measured over."""
        place = properties.place("overrideQueryTimeRange")
        text = properties.text("overrideQueryTimeRange")
        if not text:
            return self.window or _MINUTE
        given = length(text)
        named = properties.named("overrideQueryTimeRange")
        if given is None:
            self.told.refuse("bad-field", place, f"`overrideQueryTimeRange` has to be a duration, found '{text}'")
            return self.window or _MINUTE
        if given <= self.window * slots or asked.keeps_time:
            words = f"rows older than the window of {spell(self.window)} were read and did not count"
            self.told.differs("query-range", named, place, words)
            return min(given, self.window) if given else self.window
        if slots > 1:
            words = "a longer range over several periods, without times in the result, is not clear enough to translate"
            self.told.refuse("no-counterpart", place, words)
        words = f"its result does not say when its rows are of, so all of {spell(given)} counts: that is the window"
        self.told.differs("query-range", named, place, words)
        return given

    def _dimensions(self, one: Fields, asked: queries.Asked) -> tuple[str, ...]:
        names = []
        for number_, node in enumerate(one.items("dimensions")):
            dimension = one.below(node, f"{one.path}.dimensions[{number_}]")
            names.append(dimension.text("name"))
            if not names[-1]:
                self.told.refuse("bad-field", node, "a dimension needs a `name`")
            dimension.raw("operator"), dimension.raw("values")  # `_filtered` reads them
            self.told.carried.append(dimension.path)
            dimension.finish()
        resource = one.text("resourceIdColumn")
        if resource:
            words = (
                f"Azure gives each resource of `{resource}` an alert of its own on that resource; here it is a label "
                "of the target's alert, and a target is one application"
            )
            self.told.differs("per-resource", one.named("resourceIdColumn"), one.place("resourceIdColumn"), words)
            names.append(resource)
        return tuple(dict.fromkeys(asked.names.get(name, name) for name in names if name))

    def _filtered(self, asked: queries.Asked, one: Fields) -> str:
        text = asked.text
        for node in one.items("dimensions"):
            dimension = Fields(node, "", self.told, one._resolve)
            values = tuple(each.text or "" for each in dimension.items("values"))
            operator = dimension.text("operator").casefold() or "include"
            if operator not in ("include", "exclude"):
                self.told.refuse("bad-field", node, f"no operator '{operator}' of a dimension is known")
            elif values and values != ("*",):
                name = dimension.text("name")
                text = queries.only(text, asked.names.get(name, name), values, operator == "exclude")
        return text

    def _silence(self, one: Fields, aggregate: str, asked: queries.Asked, by: tuple[str, ...]) -> None:
        place = one.place("timeAggregation")
        low = bool(self.draft.when.keys() & {"below", "at_most"})
        if aggregate == "count" and low and not by:
            self.draft.more["on_silence"] = "fire"
            words = "no rows are 0 in Azure and fire; here a target that sends nothing at all fires by `on_silence`"
        elif aggregate == "count":
            words = "no rows are 0 in Azure; here they are 0 only while the target sends anything at all, else unknown"
        else:
            words = "no rows do not meet the condition in Azure, and resolve; here nothing is known, nothing resolves"
        self.told.differs("missing-data", one.named("timeAggregation"), place, words)
        if aggregate == "count" and asked.keeps_rows:
            words = "Azure counts the rows that sampling left; here each counts as many as it stands for (ItemCount)"
            self.told.differs("sampled-rows", one.named("timeAggregation"), place, words)
