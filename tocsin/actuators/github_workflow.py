"""Running a GitHub Actions workflow: evals after a change, a rollback.

``run`` dispatches one workflow file of ``repo`` on ``ref`` (``main``), with inputs as ``input.NAME: value``.
``token_setting`` names the app setting with a fine-grained token that has Actions: write on that repository alone.

GitHub starts a run for every request, and a request may arrive though no answer came back. So each order has a mark,
which goes with it as the input ``tocsin`` and comes back in the run's title, where the workflow says
``run-name: … tocsin ${{ inputs.tocsin }}``. Before anything is sent, the runs begun since the intent are looked
through: one with the mark is ours. One whose title says nothing of ``tocsin`` may be ours: then nothing is sent. After
an attempt that came to nothing known, the next one waits five minutes, in which its run would show; if that one's
outcome is unknown as well, a person is called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from tocsin.actuators.connections import Connections
from tocsin.actuators.outward import SETTING
from tocsin.connections.github import Dispatched, GitHub, Run
from tocsin.core.action import Arg, Order, Preview, Takes
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.remedy import Applied, Did

_AGAIN = frozenset({Why.BUSY, Why.THROTTLED, Why.FAILED, Why.UNREACHABLE, Why.TIMEOUT})
"""Answers after which a later tick looks for the run and may send again; any other ends the execution."""

_UNCLEAR = frozenset({Why.BUSY, Why.FAILED, Why.TIMEOUT})
"""Answers to a dispatch that leave open whether a run begins."""

_SKEW = timedelta(minutes=5)
"""How far GitHub's clock and this one may be apart."""

_SETTLED = timedelta(minutes=5)
"""After how long a run shows that was begun by a request without an answer."""

_MOST = 100
"""Runs that one look shows; with so many, one of ours may be hidden behind others."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Workflow:
    """Has a workflow run once for an order."""

    connections: Connections
    clock: Callable[[], datetime] = _now

    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return the one run that would begin; nothing when it has, and why when GitHub does not tell."""
        found = self.run(order)
        if isinstance(found, NoAnswer):
            return found
        given = "".join(f", {name} {value}" for name, value in _inputs(order).items())
        return Preview(() if found else (f"one run of {_named(order)} on {_ref(order)}{given}",))

    def apply(self, order: Order) -> Applied:
        """Dispatch the workflow unless it runs or ran for this order, or may do."""
        found = self.run(order)
        if isinstance(found, NoAnswer):
            return _refused(found)
        if found:
            return Applied(Did.ALREADY, told(found), after=found.url)
        if self._unsettled(order):
            return Applied(Did.BUSY, "no run of an earlier attempt shows; the next is five minutes after the intent")
        sent = self._hub(order).dispatch(order.args["repo"], order.args["workflow"], _ref(order), _inputs(order))
        if isinstance(sent, NoAnswer):
            return _unsent(sent, order)
        return Applied(Did.DONE, f"{_named(order)} was dispatched on {_ref(order)}{_number(sent)}", after=sent.url)

    def holds(self, order: Order) -> bool | None:
        """Return whether a run of this order began, however it ended; None when that cannot be told, or not yet."""
        found = self.run(order)
        if isinstance(found, NoAnswer) or (found is None and self._unsettled(order)):
            return None
        return found is not None

    def run(self, order: Order) -> Run | NoAnswer | None:
        """Return the run of this order, as it is now; None when there is none, and why when that cannot be told."""
        since = order.since - _SKEW if order.since else None
        try:
            found = self._hub(order).runs(order.args["repo"], order.args["workflow"], since)
        except (LookupError, ValueError) as error:
            return NoAnswer(Why.BROKEN, str(error.args[0]))
        if isinstance(found, NoAnswer):
            return found
        ours = next((each for each in found if mark(order) in each.title), None)
        return ours or (_doubt(found, order) if since else None)

    def _unsettled(self, order: Order) -> bool:
        """Return whether the run of an attempt without an answer may still be on its way."""
        return bool(order.attempts and order.since and self.clock() - order.since < _SETTLED)

    def _hub(self, order: Order) -> GitHub:
        setting = order.args["token_setting"]
        token = self.connections.secret(setting)
        try:
            return GitHub(self.connections.http, token, self.connections.github)
        except ValueError as error:
            raise ValueError(f"{setting}: {error}") from None


def mark(order: Order) -> str:
    """Return by what an order's run is known: the same at every attempt, and no other's."""
    return hashlib.sha256(order.id.encode()).hexdigest()[:16]


def told(run: Run) -> str:
    """Return what came of a run, in words."""
    return f"run {run.id}: {run.status}{f', {run.conclusion}' if run.conclusion else ''}; {run.url}"


def _doubt(found: tuple[Run, ...], order: Order) -> NoAnswer | None:
    """Return why none of these runs can be said not to be ours."""
    nameless = [each for each in found if each.event == "workflow_dispatch" and "tocsin" not in each.title.lower()]
    if nameless:
        words = f"run {nameless[0].id} of {order.args['workflow']} began since and its title does not say for whom"
        return NoAnswer(Why.BUSY, f"{words}: its run-name must hold 'tocsin ${{{{ inputs.tocsin }}}}'")
    if len(found) >= _MOST:
        return NoAnswer(Why.PARTIAL, f"{_MOST} runs or more began since: one of them may be ours")
    return None


def _inputs(order: Order) -> dict[str, str]:
    given = {name.removeprefix("input."): value for name, value in order.args.items() if name.startswith("input.")}
    return {**given, "tocsin": mark(order)}


def _ref(order: Order) -> str:
    return order.args.get("ref") or "main"


def _named(order: Order) -> str:
    return f"{order.args['workflow']} of {order.args['repo']}"


def _number(sent: Dispatched) -> str:
    return f" as run {sent.run}: {sent.url}" if sent.run else ""


def _refused(answer: NoAnswer) -> Applied:
    """Return what a refusal means, before anything was begun."""
    after = f"; again in {answer.retry_after:g} s, it says" if answer.retry_after else ""
    did = Did.BUSY if answer.why in _AGAIN else Did.FAILED
    return Applied(did, f"{answer.why.value}: {answer.detail}{after}")


def _unsent(answer: NoAnswer, order: Order) -> Applied:
    """Return what a refused dispatch means. Where a run may begin all the same, it is looked for, and then a person."""
    found = _refused(answer)
    if answer.why not in _UNCLEAR:
        return found
    if order.attempts:
        return Applied(Did.FAILED, f"{found.detail}; whether a run began is unknown: look before beginning one")
    return Applied(Did.BUSY, f"{found.detail}; whether a run begins is unknown until its runs are read again")


_TAKES = Takes(
    {
        "repo": Arg(
            pattern=r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", says="a repository, OWNER/NAME"
        ),
        "workflow": Arg(pattern=r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}\.ya?ml", says="a workflow's file name"),
        "ref": Arg(pattern=r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}", says="a branch or a tag", needed=False),
        "token_setting": SETTING,
        "input.tocsin": Arg(pattern=r"(?!)", says="for a policy to give: by it Tocsin knows its runs", needed=False),
    },
    prefix=("input.",),
    changes="Starts one run of a workflow on a branch or a tag, with the inputs given, and follows it to its end.",
)

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Workflow]]] = {"run": (_TAKES, Workflow)}
"""The action of this file, ``github_workflow.run``."""
