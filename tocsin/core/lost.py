"""What stands for a policy or a rule that is gone, while what was begun by it is still told of."""

from __future__ import annotations

from datetime import timedelta

from tocsin.core.fields import Automation, Severity
from tocsin.core.policy import Policy
from tocsin.core.remedy import Execution
from tocsin.core.rule import Rule


def lost_policy(execution: Execution) -> Policy:
    """Return what is still known of a policy whose file is gone while its execution is under way."""
    given = {
        "id": "lost" if execution.by else execution.policy,
        "summary": "A person ordered this."
        if execution.by
        else "Its policy was removed, or cannot be read, while it was under way.",
        "on": {"rule": execution.episode.split("/")[0]},
        "do": [{"action": execution.action, "args": dict(execution.args)}],
        "guard": {"mode": Automation.OFF},
    }
    return Policy.model_validate(given)


def lost_rule(execution: Execution) -> Rule:
    """Return what is still known of a rule whose file is gone: that somebody was told of its alert."""
    when = {"kql": "-", "above": 0.0, "over": timedelta(minutes=1)}
    name = execution.episode.split("/")[0]
    summary = "A person ordered this." if execution.by else "Its rule was removed."
    return Rule.model_validate({"id": name, "summary": summary, "severity": Severity.P1, "when": when})
