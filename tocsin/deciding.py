"""The pages on which a signed-in person decides: an action that was asked for, and the release of a killswitch.

Opening one changes nothing, and shows what is at stake to nobody who is not signed in and may decide. The button does
one thing: it keeps the decision. Ticks carry it out, and the guard has the last word.
"""

from __future__ import annotations

from html import escape

from tocsin.app import App
from tocsin.core import remedy
from tocsin.core.action import Preview
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.remedy import Execution
from tocsin.engine import consenting, personal
from tocsin.engine.consenting import Over
from tocsin.pages import button, page
from tocsin.ports import Conflict
from tocsin.signing_in import Person, sign_in
from tocsin.tokens import PATH, Claim, Does
from tocsin.webhook import Answer


def answered(press: str | None, claim: Claim, token: str, person: Person | None, app: App) -> Answer:
    """Return the page for a claim; ``press`` names the button that was pressed, None when the page was opened."""
    if person is None:
        return _to_sign_in(claim, token)
    if not app.approvers.allows(person):
        return page(403, "Not for you", f"{person.name} may not decide this. TOCSIN_APPROVERS says who may.")
    try:
        if claim.does is Does.DECIDE:
            return _question(press, claim, token, person, app)
        return _release(press, claim, token, person, app)
    except Over as over:
        return page(410, "This is over", f"{claim.rule} on {claim.target}: {over}. Nothing was changed.")
    except Conflict:
        return page(409, "Somebody was faster", "It changed while you decided. Open the link again and look.")


def _to_sign_in(claim: Claim, token: str) -> Answer:
    where = escape(sign_in(f"{PATH}?token={token}"))
    words = "Only somebody who is signed in can decide this. Nothing was changed."
    return page(401, f"Sign in: {claim.target}", words, form=f'<p><a href="{where}">Sign in</a></p>')


# A question


def _question(press: str | None, claim: Claim, token: str, person: Person, app: App) -> Answer:
    store, reporter, now = app.engine.store, app.engine.reporter, app.clock.now()
    execution = consenting.asked(store, claim.episode)
    if press not in ("approve", "decline"):
        told = [*_plan(execution), *_effect(execution, app), *_evidence(execution, app)]
        return page(200, _title(execution), *told, form=button(token, "Approve", "Decline"))
    decide = consenting.consent if press == "approve" else consenting.decline
    if not personal.use(store, claim.id, now):
        return page(410, "This link was used", "A link works once. Nothing was changed now.")
    try:
        decide(reporter, claim.episode, person.author, now)
    except Exception:  # whatever it is: the person may press again
        personal.unuse(store, claim.id)
        raise
    if press == "decline":
        return page(200, "Declined", f"{execution.action} is not done on {execution.target} in this episode.")
    words = "The next tick does it, if the alert still fires and nothing else stands in the way; either is told."
    return page(200, "Approved", f"{execution.action} on {execution.target}, by {person.name}.", words)


def _title(execution: Execution) -> str:
    return f"{execution.action} on {execution.target}?"


def _plan(execution: Execution) -> list[str]:
    """Return what would be done, a sentence a step."""
    steps = [remedy.spelled(step.action, step.args) for step in execution.plan]
    undone = [step.name for step in execution.plan if step.undo_on_failure]
    found = [f"Policy {execution.policy} asks: {execution.reason}.", "Plan: " + ", then ".join(steps) + "."]
    return [*found, f"If it fails, taken back: {', '.join(undone)}."] if undone else found


def _effect(execution: Execution, app: App) -> list[str]:
    """Return what the first step would change now, as its actuator reads the world."""
    target = _target(execution.target, app)
    if target is None or execution.action not in app.engine.actuators:
        return ["What it would change cannot be told now."]
    shown = app.engine.actuators[execution.action].preview(remedy.order(execution, target))
    if isinstance(shown, NoAnswer):
        return [f"What it would change cannot be read now: {shown.why.value} {shown.detail}"]
    return _changes(shown)


def _changes(shown: Preview) -> list[str]:
    found = [f"Changes: {each}" for each in shown.changes] or ["Nothing is left to change: it is so already."]
    if shown.undo is None:
        return [*found, "Nothing takes it back by itself."]
    return [*found, f"What takes it back: {remedy.spelled(shown.undo.action, shown.undo.args)}."]


def _evidence(execution: Execution, app: App) -> list[str]:
    notice = personal.told_of(app.engine.store, execution.episode)
    if notice is None:
        return []
    return [notice.title, *(f"{fact.name}: {fact.value}" for fact in notice.facts[:8])]


# A release


def _release(press: str | None, claim: Claim, token: str, person: Person, app: App) -> Answer:
    store, now, scope = app.engine.store, app.clock.now(), claim.episode
    target = _target(claim.target, app)
    if target is None or not target.container_app:
        raise Over("the target is not watched any more")
    verdict = app.gate.look(target, scope, now)
    checks = [f"{'✓' if each.passed else '✗'} {each.name}: {each.words}" for each in verdict.checks]
    title = f"Release the killswitch ({scope}) of {target.name}?"
    if not verdict.green:
        words = "The evals do not allow it. tocsin killswitch release --override does it all the same, and pages."
        return page(409 if press else 200, f"{target.name} cannot be released now", words, *checks)
    if press != "release":
        return page(
            200, title, "Side-effect tools run again once it is released.", *checks, form=button(token, "Release")
        )
    if not personal.use(store, claim.id, now):
        return page(410, "This link was used", "A link works once. Nothing was changed now.")
    try:
        consenting.release(app.engine.reporter, target, scope, person.name, claim.id, verdict.evidence(), now)
    except Exception:  # whatever it is: the person may press again
        personal.unuse(store, claim.id)
        raise
    return page(
        200, "Being released", f"The next tick releases it, on every serving revision, as {person.name} ordered."
    )


def _target(name: str, app: App) -> Target | None:
    return next((each for each in app.engine.project.config.targets if each.name == name), None)
