"""Hand-made faults in the state machine, the schedule and the guard, each of which the tests must notice.

    python -m tools.mutants            all of them
    python -m tools.mutants slot       those whose name holds a word

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
TESTS = {
    ALERT: ["tests/test_alert.py"],
    SCHEDULE: ["tests/test_schedule.py"],
    GUARD: ["tests/test_guard.py"],
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


HELD = "held = alert.held + (step if alert.last is Verdict.BREACHED else timedelta())"
MUTANTS = (
    _alert("a slot is seen twice", "slot <= alert.slot", "slot < alert.slot"),
    _alert("unknown is taken for a breach", "if seen.verdict is Verdict.UNKNOWN:\n        after", "if False:\n        after"),
    _alert("a breach is taken for clear", "elif seen.verdict is Verdict.BREACHED:", "elif seen.verdict is Verdict.CLEAR:"),
    _alert("unknown time counts towards the wait", HELD, "held = alert.held + step"),
    _alert("breached time never grows", HELD, "held = alert.held"),
    _alert("the wait is one slot too long", "if held >= timing.for_", "if held > timing.for_"),
    _alert("for: 0 waits a slot", "return _fire(alert, slot) if not timing.for_ else", "return _fire(alert, slot) if False else"),
    _alert("a wait never ends in firing", "return _fire(grown, slot) if held >= timing.for_ else", "return"),
    _alert("pending survives a clear slot", "replace(alert, state=State.INACTIVE, since=slot, held=timedelta()), Change.DROPPED",
           "alert, Change.STEADY"),
    _alert("keep_firing_for is ignored", "if not timing.keep_firing_for else (waiting", "if True else (waiting"),
    _alert("unknown time counts towards recovery", "(step if alert.last is Verdict.CLEAR else timedelta())", "step"),
    _alert("recovery is one slot too short", "if clear_for >= timing.keep_firing_for", "if clear_for >= timing.keep_firing_for - step"),
    _alert("recovery is one slot too long", "if clear_for >= timing.keep_firing_for", "if clear_for > timing.keep_firing_for"),
    _alert("firing again is a new episode", "replace(alert, state=State.FIRING, since=slot, clear_for=timedelta()), Change.REFIRED",
           "_fire(alert, slot)"),
    _alert("blind is told in every slot", "not alert.open or alert.blind or", "not alert.open or"),
    _alert("blind is told of what does not fire", "if not alert.open or alert.blind", "if alert.blind"),
    _alert("blind comes a slot late", "slot - since < timing.blind_after", "slot - since <= timing.blind_after"),
    _alert("blind once is blind for ever", "replace(fired, blind=False,", "replace(fired,"),
    _alert("a trail goes back to the episode before", "() if alert.idle else tuple(", "tuple("),
    _alert("a trail grows without end", "(slot, seen.value))[-LONGEST_TRAIL:]", "(slot, seen.value))"),
    _alert("a trail holds what has not come yet", "if point[0] < slot)", "if True)"),
    _alert("an unknown slot counts as known", "known = alert.known if seen.verdict is Verdict.UNKNOWN else slot", "known = slot"),
    _alert("in: M of N needs one more", "sum(alert.history) >= timing.out_of.hits", "sum(alert.history) > timing.out_of.hits"),
    _alert("in: M of N remembers for ever", "breached)[-timing.out_of.slots :]", "breached)"),
    _alert("in: M of N forgets what it saw when it resolves", "state=State.INACTIVE, since=slot, held=timedelta(), clear_for", "history=(), state=State.INACTIVE, since=slot, held=timedelta(), clear_for"),
    _alert("a changed rule keeps its history", "replace(alert, history=()), slot", "alert, slot"),
    _alert("the value of an unknown slot is kept", "return remembered\n", "return replace(remembered, value=seen.value)\n"),
    _alert("a changed threshold starts afresh", "(rule.when.signal, rule.when.kql,", "(rule.when.above, rule.when.signal, rule.when.kql,"),
    _alert("a changed `by` keeps its alerts", ", sorted(rule.when.by))", ")"),
    _alert("missed slots are forgotten", "if timing.out_of and count > 1:", "if False:"),
    _alert("firing time starts with the wait", "held=timedelta(), clear_for=timedelta())\n    return replace(fired", "clear_for=timedelta())\n    return replace(fired"),
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
    _guard("any action is allowed", "if action in case.target.allow:", "if True:"),
    _guard("a recovering alert is acted on", "if alert.state is not State.FIRING:", "if not alert.open:"),
    _guard("an unknown verdict is acted on", "if alert.last is not Verdict.BREACHED:", "if alert.last is Verdict.CLEAR:"),
    _guard("an old verdict is acted on", "if alert.slot is None or alert.slot < oldest:", "if alert.slot is None:"),
    _guard("a verdict from the future is acted on", "if alert.slot > case.now:", "if False:"),
    _guard("firing_for is one moment too long", "if held < wanted:", "if held <= wanted:"),
    _guard("firing_for is ignored", "if held < wanted:", "if False:"),
    _guard("the cooldown is ignored", "case.now - newest < case.policy.guard.cooldown:", "False:"),
    _guard("at most one more", "if recent >= rate.count:", "if recent > rate.count:"),
    _guard("at most counts every target", "(each.policy, each.target) == own and", "each.policy == own[0] and"),
    _guard("two policies act at once", "if others:", "if False:"),
    _guard("an execution is in its own way", "others = [each for each in busy if each != mine]", "others = busy"),
    _guard("the budget is one too large", "if recent >= case.actions_per_hour:", "if recent > case.actions_per_hour:"),
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


def main(word: str = "") -> int:
    """Run the mutants; return 0 when every one was noticed."""
    chosen = [mutant for mutant in MUTANTS if word in mutant.name]
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
    sys.exit(main(*sys.argv[1:2]))
