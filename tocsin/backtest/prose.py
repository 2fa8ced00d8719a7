"""A backtest's outcome in lines for people: as Markdown for a pull request, and as the rows of a terminal's tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from tocsin.backtest.episodes import Episode
from tocsin.backtest.outcome import Compared, Outcome, RuleOutcome, compared, only_done
from tocsin.backtest.rulings import Deed
from tocsin.backtest.sweep import Sweep
from tocsin.core.instance import shown
from tocsin.core.limits import unit_of
from tocsin.core.text import scrub
from tocsin.core.units import amount, spell

MOST_EPISODES = 30
NOTHING = "nothing was replayed"


def length(given: timedelta) -> str:
    """Return a length in words; nothing for none."""
    return spell(given) if given else "–"


def instance(each: Episode) -> str:
    """Return the instance an episode is of, after its target."""
    by = _split(each)
    return f"{each.target} ({by})" if by else each.target


def _split(each: Episode) -> str:
    return ", ".join(f"{name} {value or '–'}" for name, value in shown(each.by).items())


COLUMNS = ("rule", "target", "severity", "episodes", "firing", "worst", "flaps", "pages", "judged")


def rows(found: Outcome) -> list[tuple[str, ...]]:
    """Return one row a rule and target under ``COLUMNS``, the gravest with episodes first."""
    told = Counter((each.rule, each.target) for each in found.pages)
    ordered = sorted(found.rules, key=lambda own: (not own.episodes, own.rule.severity.value, -len(own.episodes)))
    return [_row(own, told[(own.rule.id, own.course.target.name)]) for own in ordered]


def _row(own: RuleOutcome, told: int) -> tuple[str, ...]:
    course = own.course
    known = f"{course.known / course.grid.count:.0%}"
    return (own.rule.id, course.target.name, own.rule.severity.value, str(len(own.episodes)), length(own.burning),
            worst(own), str(own.flaps or "–"), str(told or "–"), known)  # fmt: skip


def worst(own: RuleOutcome) -> str:
    """Return the worst value of a rule's episodes."""
    values = [each.worst for each in own.episodes if each.worst is not None]
    if not values:
        return "–"
    downwards = own.rule.when.limit and own.rule.when.limit[0].value in ("below", "at_most")
    return amount((min if downwards else max)(values), unit_of(own.rule, own.course.signal))


EPISODE_COLUMNS = ("fired (UTC)", "lasted", "rule", "where", "worst", "")


def episode_rows(found: Outcome, most: int = MOST_EPISODES) -> list[tuple[str, ...]]:
    """Return the episodes under ``EPISODE_COLUMNS``, oldest first."""
    units_ = {own.rule.id: unit_of(own.rule, own.course.signal) for own in found.rules}
    # The heading names a single target; a terminal's 80 columns have no room for it on every line.
    alone = len({own.course.target.name for own in found.rules}) == 1
    return [
        (f"{each.fired:%m-%d %H:%M}", length(each.lasted(found.end)), each.rule,
         (_split(each) or "–") if alone else instance(each),
         amount(each.worst, units_[each.rule]), "still firing" if each.ended is None else "flap" if each.flap else "")
        for each in found.episodes[:most]
    ]  # fmt: skip


def telling(found: Outcome) -> str:
    """Return who would have been told how often, in one sentence. Where nothing was replayed, that is no calm."""
    if not found.rules:
        return NOTHING
    by_receiver = Counter(each.receiver for each in found.pages)
    told = ", ".join(f"{name} {count}" for name, count in by_receiver.most_common())
    return f"{len(found.pages)} messages: {told}" if told else "nobody would have been told of anything"


_VERBS = {"permit": "would have done", "ask": "would have asked before", "observe": "would have noted",
          "refuse": "would have been refused"}  # fmt: skip


def acting(found: Outcome) -> list[str]:
    """Return what policies would have done, a line a deed."""
    return [_deed(each) for each in found.deeds]


def _deed(each: Deed) -> str:
    why = f": {each.why}" if each.ruling != "permit" else ""
    return f"{each.at:%m-%d %H:%M} {each.policy} {_VERBS[each.ruling]} {each.action} on {each.target}{why}"


def acting_otherwise(base: Outcome, head: Outcome) -> list[str]:
    """Return what policies would have done on one side only, a line a deed."""
    gone, new = only_done(base, head), only_done(head, base)
    return [*(f"no longer: {_deed(each)}" for each in gone), *(f"new: {_deed(each)}" for each in new)]


def unplayed(found: Outcome) -> list[str]:
    """Return what could not be replayed, and why, rules with the same reason on one line."""
    by_why: dict[str, list[str]] = {}
    for each in found.unplayed:
        by_why.setdefault(f"not replayed, {each.why}", []).append(each.rule)
    for each in found.partly:
        by_why.setdefault(f"judged by their logs alone, {each.why}", []).append(each.rule)
    return [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in by_why.items()]


def heading(found: Outcome) -> str:
    """Return what was replayed, in words."""
    rules, targets = {own.rule.id for own in found.rules}, {own.course.target.name for own in found.rules}
    where = f"{len(targets)} targets" if len(targets) > 1 else next(iter(targets), "no target")
    count = f"{len(rules)} rule{'s' * (len(rules) != 1)}"
    return f"{count} on {where}, {found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC"


# Markdown


def markdown(found: Outcome) -> str:
    """Return the outcome for a pull request's comment."""
    lines = [f"**Backtest** · {heading(found)} · {len(found.episodes)} episodes · {telling(found)}", ""]
    lines += _table(COLUMNS, [row for row in rows(found) if row[3] != "0"]) or [
        "No rule would have fired." if found.rules else f"{NOTHING.capitalize()}."
    ]
    lines += _folded("Episodes", _table(EPISODE_COLUMNS, episode_rows(found)))
    lines += _folded("What policies would have done", [f"- {safe(line)}" for line in capped(acting(found))])
    lines += _folded("Not replayed", [f"- {safe(line)}" for line in unplayed(found)])
    return "\n".join(lines) + "\n"


DIFFERENCES = ("rule", "target", "episodes", "firing", "flaps", "pages")


def difference_rows(base: Outcome, head: Outcome) -> list[tuple[str, ...]]:
    """Return one row a rule and target that the change makes a difference to, under ``DIFFERENCES``: before → after."""
    return [_difference(each) for each in compared(base, head) if not each.same]


def _difference(each: Compared) -> tuple[str, ...]:
    def both(before: str, after: str) -> str:
        return before if before == after else f"{before} → {after}"

    def of(own: RuleOutcome | None, told: Mapping[str, int]) -> tuple[str, ...]:
        if own is None:
            return ("absent",) * 4
        return str(len(own.episodes)), length(own.burning), str(own.flaps), pages(told)

    def pages(told: Mapping[str, int]) -> str:
        named = each.base_pages == each.head_pages and each.base_told != each.head_told
        return ", ".join(f"{to} {count}" for to, count in sorted(told.items())) if named else str(sum(told.values()))

    pairs = zip(of(each.base, each.base_told), of(each.head, each.head_told), strict=True)
    return each.rule, each.target, *(both(before, after) for before, after in pairs)


def alike(head: Outcome) -> str:
    """Return what is said where no rule differs: of nothing replayed, nothing is known to be the same."""
    return "the change makes no difference to this history" if head.rules else NOTHING


def only(base: Outcome, head: Outcome) -> list[str]:
    """Return the episodes that only one side has, a line each."""
    found = []
    for each in compared(base, head):
        for sign, some in (("no longer", each.gone), ("new", each.new)):
            found += [
                f"{sign}: {one.fired:%m-%d %H:%M} {one.rule} on {instance(one)}, {length(one.lasted(head.end))}"
                for one in some
            ]
    return found


def capped(lines: Sequence[str]) -> list[str]:
    """Return the first lines, and how many more there are."""
    left = len(lines) - MOST_EPISODES
    return [*lines[:MOST_EPISODES], *([f"… {left} more"] if left > 0 else [])]


def comparison_markdown(base: Outcome, head: Outcome) -> str:
    """Return what a change makes of the same history, for a pull request's comment."""
    lines = [f"**Backtest** · {heading(head)} · {len(base.episodes)} → {len(head.episodes)} episodes · "
             f"{len(base.pages)} → {len(head.pages)} messages", ""]  # fmt: skip
    done = acting_otherwise(base, head)
    none = [] if done else [f"{alike(head).capitalize()}."]
    lines += _table(DIFFERENCES, difference_rows(base, head)) or none
    lines += _folded("Episodes that differ", [f"- {safe(line)}" for line in capped(only(base, head))])
    lines += _folded("What policies would have done otherwise", [f"- {safe(line)}" for line in capped(done)])
    lines += _folded("Not replayed", [f"- {safe(line)}" for line in unplayed(head)])
    return "\n".join(lines) + "\n"


def sweep_rows(found: Sweep) -> list[tuple[str, ...]]:
    """Return one row a choice of settings under ``sweep_columns``."""
    return [
        (*each.settings.values(), str(len(each.episodes)), str(each.flaps), length(each.burning),
         "← recommended" if each is found.recommended else "")
        for each in found.cells
    ]  # fmt: skip


def sweep_columns(found: Sweep) -> tuple[str, ...]:
    """Return the columns of ``sweep_rows``."""
    return *(each.key for each in found.axes), "episodes", "flaps", "firing", ""


def recommending(found: Sweep) -> str:
    """Return what a sweep comes to, in one sentence."""
    if found.recommended is None:
        return f"nothing is recommended: {found.why}"
    chosen = ", ".join(f"{key} {value}" for key, value in found.recommended.settings.items())
    return f"recommended: {chosen}, for {found.why}"


def sweep_markdown(found: Sweep) -> str:
    """Return a sweep for a pull request's comment."""
    lines = [f"**Sweep of {found.rule}** · {recommending(found)}.", ""]
    return "\n".join([*lines, *_table(sweep_columns(found), sweep_rows(found))]) + "\n"


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    if not cells:
        return []
    lines = [" | ".join(map(safe, row)) for row in (columns, *cells)]
    return [f"| {lines[0]} |", f"|{'---|' * len(columns)}", *(f"| {line} |" for line in lines[1:])]


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines behind a summary that opens them; of none, nothing."""
    return ["", "<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>"] if lines else []


_MARKUP = re.compile(r"[\\`*{}\[\]()<>#+!|~@]|(?<!\w)_|_(?!\w)|:(?=[^\s\d])|(?<=www)\.", re.IGNORECASE)


def safe(text: str) -> str:
    """Return a text that is a table's cell and no markup, link or mention, whatever it holds."""
    return _MARKUP.sub(_escaped, scrub(text))


def _escaped(found: re.Match[str]) -> str:
    # Mentions and references are looked for in what the reference has become; a space of no width parts them.
    return f"&#{ord(found[0])};{'&#8203;' if found[0] in '@#' else ''}"
