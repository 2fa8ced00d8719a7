"""Hand-made faults in the state machine, the schedule, the guard and execution, each of which the tests must notice.

    python -m tools.mutants            all of them
    python -m tools.mutants slot       those whose name holds a word
    python -m tools.mutants --of 3     every third of each file, for a bounded run

Each mutant is put into a copy of the package; the working tree is never touched. Ends with one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALERT, SCHEDULE, GUARD = "tocsin/core/alert.py", "tocsin/core/schedule.py", "tocsin/core/guard.py"
REMEDY, ACTING, JUDGING = "tocsin/core/remedy.py", "tocsin/engine/acting.py", "tocsin/engine/judging.py"
CARRYING, HOLD, SWITCHES = "tocsin/engine/carrying.py", "tocsin/core/hold.py", "tocsin/engine/switches.py"
CONSENTING, DECIDING, SIGNING_IN = "tocsin/engine/consenting.py", "tocsin/deciding.py", "tocsin/signing_in.py"
EXECUTION = (REMEDY, ACTING, JUDGING, CARRYING)
VERIFYING, STARTING = "tocsin/engine/verifying.py", "tocsin/core/starting.py"
_STEPS = ["tests/test_steps.py", "tests/test_storms.py"]
_PAGES = ["tests/test_deciding.py", "-m", "not slow"]
TESTS = {
    ALERT: ["tests/test_alert.py"],
    SCHEDULE: ["tests/test_schedule.py"],
    GUARD: ["tests/test_guard.py", "tests/test_last_resort.py"],
    REMEDY: _STEPS,
    ACTING: _STEPS,
    JUDGING: _STEPS,
    CARRYING: _STEPS,
    VERIFYING: ["tests/test_starting.py"],
    STARTING: ["tests/test_starting.py"],
    HOLD: ["tests/test_hold.py", "-k", "told_from_what or shared_out"],
    SWITCHES: ["tests/test_hold.py", "-k", "by_hand or twice"],
    CONSENTING: _PAGES,
    DECIDING: _PAGES,
    SIGNING_IN: _PAGES,
}


@dataclass(frozen=True)
class Mutant:
    """One fault: where, what is replaced by what, and what it would do to an operator."""

    name: str
    file: str
    old: str
    new: str


def _alert(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, ALERT, old, new)


def _schedule(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, SCHEDULE, old, new)


def _guard(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, GUARD, old, new)


def _in(file: str, *faults: tuple[str, str, str]) -> tuple[Mutant, ...]:
    return tuple(Mutant(name, file, old, new) for name, old, new in faults)


HELD = "held = alert.held + (step if alert.last is Verdict.BREACHED else timedelta())"
MUTANTS = (
    _alert("a slot is seen twice", "slot <= alert.slot", "slot < alert.slot"),
    _alert("unknown is taken for a breach", "if seen.verdict is Verdict.UNKNOWN:\n        change", "if False:\n        change"),
    _alert("a breach is taken for clear", "elif seen.verdict is Verdict.BREACHED:", "elif seen.verdict is Verdict.CLEAR:"),
    _alert("unknown time counts towards the wait", HELD, "held = alert.held + step"),
    _alert("breached time never grows", HELD, "held = alert.held"),
    _alert("the wait is one slot too long", "if held >= timing.for_", "if held > timing.for_"),
    _alert("for: 0 waits a slot", "if not timing.for_:", "if False:"),
    _alert("a wait never ends in firing", "return _fire(slot, after) if held >= timing.for_ else", "return"),
    _alert("pending survives a clear slot", "after.update(state=State.INACTIVE, since=slot, held=timedelta())\n", "pass\n"),
    _alert("keep_firing_for is ignored", "is State.FIRING and timing.keep_firing_for:", "is State.FIRING and False:"),
    _alert("unknown time counts towards recovery", "(step if alert.last is Verdict.CLEAR else timedelta())", "step"),
    _alert("recovery is one slot too short", "if clear_for < timing.keep_firing_for:", "if clear_for < timing.keep_firing_for - step:"),
    _alert("recovery is one slot too long", "if clear_for < timing.keep_firing_for:", "if clear_for <= timing.keep_firing_for:"),
    _alert("firing again is a new episode", "after.update(state=State.FIRING, since=slot, clear_for=timedelta())\n", "_fire(slot, after)\n"),
    _alert("blind is told in every slot", "not alert.open or alert.blind or", "not alert.open or"),
    _alert("blind is told of what does not fire", "if not alert.open or alert.blind", "if alert.blind"),
    _alert("blind comes a slot late", "slot - since < timing.blind_after", "slot - since <= timing.blind_after"),
    _alert("blind once is blind for ever", "after.update(blind=False, fired_value", "after.update(fired_value"),
    _alert("a trail goes back to the episode before", "() if alert.idle else alert.trail", "alert.trail"),
    _alert("a trail grows without end", "(slot, seen.value))[-LONGEST_TRAIL:]", "(slot, seen.value))"),
    _alert("a trail holds what has not come yet", "if earlier and earlier[-1][0] >= slot:", "if False:"),
    _alert("an unknown slot counts as known", "after = {\"slot\": slot,", "after = {\"known\": slot, \"slot\": slot,"),
    _alert("in: M of N needs one more", "sum(after[\"history\"]) >= timing.out_of.hits", "sum(after[\"history\"]) > timing.out_of.hits"),
    _alert("in: M of N remembers for ever", "breached)[-timing.out_of.slots :]", "breached)"),
    _alert("in: M of N forgets what it saw when it resolves", "return {\"state\": State.INACTIVE,", "return {\"history\": (), \"state\": State.INACTIVE,"),
    _alert("a changed rule keeps its history", "replace(alert, history=()), slot", "alert, slot"),
    _alert("the value of an unknown slot is kept", "        return after\n    # A res", "        return {**after, \"value\": seen.value}\n    # A res"),
    _alert("a changed threshold starts afresh", "(rule.when.signal, rule.when.kql,", "(rule.when.above, rule.when.signal, rule.when.kql,"),
    _alert("a changed `by` keeps its alerts", ", sorted(rule.when.by))", ")"),
    _alert("missed slots are forgotten", "if timing.out_of and count > 1:", "if False:"),
    _alert("firing time starts with the wait", "fired=slot, held=timedelta(), clear_for", "fired=slot, clear_for"),
    _schedule("the offset is ignored", "until = now - offset", "until = now"),
    _schedule("missed slots are skipped", "slots = tuple(newest - rule.every * back for back in reversed(range(kept)))", "slots = (newest,) if kept else ()"),
    _schedule("slots come newest first", "reversed(range(kept))", "range(kept)"),
    _schedule("the last slot is evaluated again", "total = max(0, (newest - after) // rule.every)", "total = max(0, (newest - after) // rule.every + 1)"),
    _schedule("a clock set back repeats slots", "total = max(0, ", "total = abs("),
    _schedule("catch-up has no end", "kept = min(total, max(1, -(-catch_up // rule.every)))", "kept = total"),
    _schedule("a slow rule is never caught up", "max(1, -(-catch_up // rule.every))", "catch_up // rule.every"),
    _schedule("missed slots are not counted", "missed = total - kept", "missed = 0"),
    _schedule("missed until is one slot off", "after + rule.every * missed if", "after + rule.every * (missed + 1) if"),
    _schedule("jitter differs between processes", "int.from_bytes(digest[:8], \"big\")", "hash((rule, target))"),
    _schedule("jitter is the same for all targets", "f\"{rule}\\n{target}\"", "f\"{rule}\""),
    _schedule("fast rules have jitter", "if every <= timedelta(minutes=1):", "if every < timedelta(seconds=1):"),
    _schedule("the first run looks at nothing", "return Due((newest,))", "return Due()"),
    _schedule("a snooze never ends", "rule.snooze and now < rule.snooze.until", "rule.snooze"),
    _schedule("a disabled rule runs", "if not rule.enabled:", "if False:"),
    _guard("off asks", "Automation.OFF: Ruling.REFUSE", "Automation.OFF: Ruling.ASK"),
    _guard("the highest switch decides", "lowest = min(", "lowest = max("),
    _guard("any action is allowed", "if action not in case.target.allow or action in", "if action in"),
    _guard("a recovering alert is acted on", "if alert.state is not State.FIRING:", "if not alert.open:"),
    _guard("an unknown verdict is acted on", "if alert.last is not Verdict.BREACHED:", "if alert.last is Verdict.CLEAR:"),
    _guard("an old verdict is acted on", "if alert.slot is None or alert.slot < oldest:", "if alert.slot is None:"),
    _guard("a verdict from the future is acted on", "if alert.slot > now:", "if False:"),
    _guard("firing_for is one moment too long", "if held < wanted:", "if held <= wanted:"),
    _guard("firing_for is ignored", "if held < wanted:", "if False:"),
    _guard("the cooldown is ignored", "and newest < cooldown:", "and False:"),
    _guard("at most one more", "if recent >= rate.count:", "if recent > rate.count:"),
    _guard("at most counts every target", "(each.policy, each.target) == own and", "each.policy == own[0] and"),
    _guard("two policies act at once", "if others:", "if False:"),
    _guard("an execution is in its own way", "others = [each for each in busy if each != _this(case)]", "others = busy"),
    _guard("the budget is one too large", "if recent >= case.actions_per_hour:", "if recent > case.actions_per_hour:"),
    *_in(
        GUARD,
        ("a policy releases a switch", "or action in FOR_A_PERSON]", "]"),
        ("only the first step must be allowed", "return case.stored.actions if", "return [case.stored.action] if"),
        ("a person who released is overruled", "and case.released >= since:", "and case.released > case.now:"),
        ("a silence stops no action", "Ruling.REFUSE if case.silenced else None", "None"),
        ("it acts outside its hours", 'Check("hours", Ruling.ASK,', 'Check("hours", None,'),
        ("it acts outside its hours alone", "if hours is None or hours.open(case.now):", "if hours is None or not hours.open(case.now):"),
        ("what is in force is asked for", "is Automation.ACT else Ruling.REFUSE\n    return Check(\"already", "is Automation.ACT else None\n    return Check(\"already"),
        ("an unknown deployment is none", 'if found == "":', "if not found:"),
        ("a deployment is not waited for", "Ruling.REFUSE if waits else None, words", "None, words"),
        ("the blast radius counts executions and not targets", "len(touched | {own}) > most", "len(touched) > most"),
        ("the blast radius never forgets", "if _within(each, radius.per, case.now)}", "}"),
        ("the blast radius counts other policies", "if each.policy == case.policy.id]", "]"),
        ("a storm is one larger", "case.wanting > case.actions_at_once else", "case.wanting > case.actions_at_once + 1 else"),
        ("a storm is forgotten as it thins", "Ruling.ASK if before or case.wanting", "Ruling.ASK if case.wanting"),
        ("a refusal in a storm marks it", "answer.ruling is Ruling.ASK and not answer.passed(STORM)", "not answer.passed(STORM)"),
        ("a consent never lapses", "given.at <= self.now and not given.lapsed(self.now)", "given.at <= self.now"),
        ("a consent overrides a refusal", "if each.ruling is Ruling.ASK else each for", "if each.ruling else each for"),
        ("what cannot be judged counts against no limit", "return timedelta()\n", "return None\n"),
        ("the budget counts a person's orders", "and not each.by]", "]"),
    ),
    *_in(
        REMEDY,
        ("a consent holds a moment too long", "now - self.at >= CONSENT_HOLDS", "now - self.at > CONSENT_HOLDS"),
        ("everything is taken back", "for each in self.plan if each.undo_on_failure}", "for each in self.plan}"),
        ("the oldest is taken back first", "for each in reversed(self.done) if", "for each in self.done if"),
        ("the last step is left out", "return self.step + 1 >= len(self.plan)", "return self.step + 2 >= len(self.plan)"),
        ("a step is done under the former's order", 'f"{execution.id}/{execution.planned.name}" if execution.step else execution.id', "execution.id"),
        ("a consent is to any plan", "for step in self.plan]\n        return f", "for step in ()]\n        return f"),
    ),
    *_in(
        ACTING,
        ("what a person declined is done", "if stored and (stored.phase.acting or stored.phase.over):", "if stored and stored.phase.acting:"),
        ("a changed plan keeps its consent", "args=new.args, consent=None,", "args=new.args,"),
        ("the next step is not judged anew", "if answer.ruling is not Ruling.PERMIT:\n            stopped =", "if False:\n            stopped ="),
        ("an intent is not judged anew", "if answer.ruling is not Ruling.PERMIT:\n            return self._carrier.let_go", "if False:\n            return self._carrier.let_go"),
        ("the next step does not wait for the proof", "if found.missing is not None:", "if found.late:"),
        ("a raised mode is never asked", "was == (phase, answer.check)", "was[1] == answer.check"),
        ("a lapsed consent is not asked anew", "== (phase, answer.check) and not lapsed", "== (phase, answer.check)"),
        ("a lapsed consent stays", "consent=None if lapsed else held.consent, ", ""),
        ("a storm leaves no mark", "stormy=held.stormy or guard.in_storm(answer)", "stormy=held.stormy"),
        ("a refusal after a consent is not told", "execution.consent is not None and answer.check not in", "False and answer.check not in"),
        ("an end after a consent is not told", "late = self._fit(executions, \"execution\", lapses)", "late = self._fit((), \"execution\", lapses)"),
        ("a storm has no page", "if answer.check == guard.STORM:", "if False:"),
    ),
    *_in(
        JUDGING,
        ("an unreadable app deploys nothing", "return World(already, None)", 'return World(already, "")'),
        ("what is unknown is let go", "and alert.last is Verdict.UNKNOWN else answer", "and False else answer"),
        ("a consent lapses between two steps", "return replace(execution, consent=replace(given, at=now))", "return execution"),
        ("what has begun is not in the storm", "if name not in ended} | begun", "if name not in ended}"),
        ("what is only asked makes a storm", "due and mode is Automation.ACT", "due and mode is not Automation.OFF"),
    ),
    *_in(
        GUARD,
        ("the last resort is due before anything failed", "    if failed is None:\n        words", "    if False:\n        words"),
        ("an old failure counts after a new success", "newest = max(begun)[-1]", "newest = min(begun)[-1]"),
        ("the last resort goes on though the switch serves", "elif case.world and case.world.serves:", "elif False:"),
        ("the last resort may be done unasked", "if last and mode is Automation.ACT:", "if False:"),
        ("several apps are stopped at once", "others += [f", "[f"),
        ("a switch of a stopped app is engaged", "if case.world and case.world.stopped and", "if False and"),
    ),
    *_in(
        VERIFYING,
        ("a revision that starts is late by the policy's clock", "now > max(applied + within, starts_by or applied)", "now > applied + within"),
        ("a slow start takes the time of later checks", "check.within + slow", "check.within"),
        ("what was known of a start is forgotten", "max(applied + starts, execution.starts_by or applied)", "applied + starts"),
    ),
    *_in(
        STARTING,
        ("a failed revision is still starting", "or new.running or new.failed", "or new.running"),
        ("a start without an end is waited for", "min(delay + failures * period + timeout, LONGEST.total_seconds())", "min(1e9, delay + failures * period + timeout)"),
        ("other probes count beside the startup probe", "startup or probes", "probes"),
    ),
    *_in(
        CARRYING,
        ("a step is done by two at once", "yield mine and self.elapsed() <= _DECIDED_FOR and self._newest(execution)", "yield mine"),
        ("what is not done is taken back", "done=done if outcome.did is Did.DONE else execution.done", "done=done"),
        ("what was found done is forgotten", "done=done, starts_by=starts_by)", "starts_by=starts_by)"),
        ("what may be asked is let go", "if answer.ruling is Ruling.ASK and readable", "if False and readable"),
        ("what is let go is not told", "Kind.FAILED if firing else", "None if firing else"),
        ("a switch is released by taking back", "if undo.action in guard.FOR_A_PERSON:", "if False:"),
        ("what is not allowed is taken back", "undo.action not in self.actuators or undo.action not in target.allow", "undo.action not in self.actuators"),
        ("what is switched off is taken back", 'return "" if self._may(execution, target) else', 'return "" if True else'),
        ("a busy platform is asked for ever", "execution.attempts < _MOST_TRIES", "True"),
        ("what is left is not named", "if left else execution.reason", "if False else execution.reason"),
        ("the policy's proofs come first", "if policy and execution.last_step else ()", "if policy else ()"),
    ),
    *_in(
        HOLD,
        ("an empty value is a person's word", 'env.get(variable, "").lower() == RELEASED', 'not engaged(env.get(variable, "off"))'),
        ("other changes are a person's", "if runs(app.template, target, variable) == since.runs and", "if"),
        ("a secret is held", "SECRET in (*values.values(), app.env.get(variable))", "False"),
        ("one revision that serves is enough", "if not gone and not coming:", "if len(gone) < len(values) and not coming:"),
        ("the next revision is not looked at", "coming = app.template_serves and", "coming = False and"),
    ),
    *_in(
        SWITCHES,
        ("a release by hand is not recorded", 'store.record(None, [Record(now, BY_HAND, "release seen"', 'store.record(None, [Record(now, BY_HAND, "seen"'),
        ("what was released is still missed", "        released(store, target, each.scope)\n    return", "    return"),
        ("a deployment under the switch is forgotten", "if standing is Standing.HELD and each.scope", "if False and each.scope"),
    ),
    *_in(
        CONSENTING,
        ("a question about another plan is answered", "if execution.asks != asks:", "if False:"),
        ("a question is answered twice", "if execution.consent is not None:", "if False:"),
        ("a question outlives its alert", "if all(each.episode != execution.episode", "if False and all(each.episode != execution.episode"),
        ("the audit does not name who consented", "actor=person(author.name), ", ""),
        ("the audit forgets the figures", "{**entry.detail, **evidence,", "{**entry.detail,"),
    ),
    *_in(
        DECIDING,
        ("whoever is signed in may decide", "if not app.approvers.allows(person):", "if False:"),
        ("a red gate has a button", "if not verdict.green:", "if False:"),
        ("any button approves", 'if press not in ("approve", "decline"):', "if press is None:"),
        ("no is yes", 'if press == "approve" else consenting.decline', 'if press else consenting.decline'),
        ("what could not be kept uses the link up", "personal.unuse(store, claim.id)\n        raise\n    if press", "raise\n    if press"),
    ),
    *_in(
        SIGNING_IN,
        ("anybody's headers count", "if not known.trusted or not identity or", "if not identity or"),
        ("a name without an id counts", "if not known.trusted or not identity or", "if not known.trusted or"),
        ("another site presses the button", 'return site == "same-origin"', 'return site != "none"'),
    ),
    _guard("a person is asked what would be refused", "(Ruling.REFUSE, Ruling.OBSERVE, Ruling.ASK)", "(Ruling.ASK, Ruling.OBSERVE, Ruling.REFUSE)"),
)  # fmt: skip


def applied(mutant: Mutant, text: str) -> str:
    """Return the file's text with the fault in it. Raises ValueError when the place is not there exactly once."""
    if text.count(mutant.old) != 1:
        raise ValueError(f"'{mutant.name}': its place is there {text.count(mutant.old)} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def killed_by(mutant: Mutant) -> str | None:
    """Return the test that notices the fault, or None when none does."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "tocsin", copy / "tocsin", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        broken = copy / mutant.file
        broken.write_text(applied(mutant, broken.read_text()))
        environment = {**os.environ, "PYTHONPATH": str(copy), "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-W", "ignore", *TESTS[mutant.file]]
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return None
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split("::")[-1][:70] if failed else run.stdout[-70:].strip()


def chosen_by(*words: str) -> list[Mutant]:
    """Return the mutants that a call means."""
    if words[:1] == ("--of",):
        every = int(words[1])
        return [mutant for file in TESTS for mutant in [each for each in MUTANTS if each.file == file][::every]]
    return [mutant for mutant in MUTANTS if (words or ("",))[0] in mutant.name]


def main(*words: str) -> int:
    """Run the mutants; return 0 when every one was noticed."""
    chosen = chosen_by(*words)
    begun, survived = time.monotonic(), []
    with ThreadPoolExecutor(2) as pool:
        for number, (mutant, killer) in enumerate(zip(chosen, pool.map(killed_by, chosen), strict=True), 1):
            print(
                f"{number:>3}/{len(chosen)}  {'killed  ' if killer else 'SURVIVED'}  {mutant.name:<46}  {killer or ''}",
                flush=True,
            )
            survived += [] if killer else [mutant.name]
    seconds = round(time.monotonic() - begun, 1)
    figures = {"mutants": len(chosen), "killed": len(chosen) - len(survived), "survived": survived, "seconds": seconds}
    print(json.dumps(figures))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
