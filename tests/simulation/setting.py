"""What is watched and by which rules and policies: drawn once a seed, and edited by people meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.simulation.chance import Chance
from tocsin.core.config import Config, Target
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.rule import Rule

SWITCH = "KILLSWITCH_TOOLS"
RECEIVERS = ("oncall", "team")
NAMES, LAST = ("sales", "claims", "travel"), "fares"
"""Targets, and the one that is added in the end, where nothing has gone wrong before."""
APPROVER = {"HITL_APPROVER_ENDPOINT": "https://approver.example"}

AGENTS = Rule.model_validate(
    {
        "id": "agent_fails",
        "severity": "P3",
        "summary": "{agent} of {target} failed {value} times.",
        "when": {
            "kql": "union AppTraces, AppRequests | summarize value = count(), events = count() by agent",
            "above": "0",
            "over": "1m",
            "by": ["agent"],
        },
        "max_instances": 40,
    }
)
"""Its instances have the names that telemetry gives them. Not in every story, for it costs a query a minute."""

RULES = tuple(
    Rule.model_validate({"severity": "P1", **each})
    for each in (
        {
            "id": "hitl_misconfigured",
            "summary": "{target} runs without an approver ({value} signs).",
            "when": {"signal": "hitl_misconfigured", "above": "0", "over": "2m"},
            "keep_firing_for": "2m",
        },
        {
            "id": "killswitch_drift",
            "summary": "The killswitch ({scope}) of {target} is gone.",
            "when": {"signal": "killswitch_drift", "above": "0", "over": "1m", "by": ["scope"]},
            "keep_firing_for": "1m",
        },
    )
)

_STOP: dict[str, Any] = {
    "id": "stop_unsafe_tools",
    "summary": "Stop unsafe tools.",
    "on": {"rule": "hitl_misconfigured", "firing_for": "2m"},
    "do": [{"killswitch.engage": {"scope": "tools"}}],
    "verify": [
        {"container_env": SWITCH, "is": "on", "within": "10m"},
        {"signal": "side_effect_tools", "at_most": "0", "over": "2m", "within": "20m"},
    ],
    "guard": {"mode": "act", "at_most": "4 per 1h", "cooldown": "5m"},
    "if_it_fails": {"escalate": "oncall"},
}
_STEPS: dict[str, Any] = {
    **_STOP,
    "id": "slow_then_stop",
    "do": [
        {"dial.turn": {"to": "slow"}, "id": "slow_down", "within": "6m", "undo_on_failure": True},
        {"killswitch.engage": {"scope": "tools"}, "id": "stop", "within": "6m"},
        {"partner.call": {}, "id": "tell_partner", "within": "6m"},
    ],
}
_INHIBITS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("hitl_misconfigured", "killswitch_drift"),),
    (("hitl_misconfigured", "killswitch_drift"), ("killswitch_drift", "hitl_misconfigured")),
)
"""Which rules suppress which: none, one the other, each other."""

_HOLD: dict[str, Any] = {
    "id": "hold_killswitch",
    "summary": "Engage it again.",
    "on": {"rule": "killswitch_drift"},
    "do": [{"killswitch.engage": {"scope": "{scope}"}}],
    "guard": {"mode": "act", "at_most": "3 per 1h", "cooldown": "0s"},
    "hold": True,
}


def drawn(chance: Chance) -> Project:
    """Return a project of one to three targets, mostly one that acts."""
    targets = tuple(_target(name) for name in NAMES[: chance.one((1, 1, 2, 2, 3))])
    pairs = chance.one(_INHIBITS)
    config = Config.model_validate(
        {
            "automation": "act",
            "targets": targets,
            "receivers": {name: {"type": "stdout"} for name in RECEIVERS},
            "routes": {"to": ["oncall"], "group_wait": "0s", "group_interval": "1s"},
            "fallback": "team",
            "inhibit": [
                {"source": {"match": {"rule": one}}, "target": {"match": {"rule": other}}, "equal": ["target"]}
                for one, other in pairs
            ],
        }
    )
    rules = (*RULES, AGENTS) if chance.fault(0.3) else RULES
    return Project(rules=rules, policies=policies(chance), config=config)


def _target(name: str) -> Target:
    return Target(
        name=name,
        workspace="w",
        role_name=f"{name}-api",
        subscription="s",
        resource_group="rg",
        container_app=f"{name}-api",
        labels={"env": "prod"},
        allow=("killswitch.engage", "dial.turn", "dial.back", "partner.call"),
        offset=timedelta(),
        fresh_within=timedelta(minutes=3),
    )


def policies(chance: Chance) -> tuple[Policy, ...]:
    """Return what is done: in one step or in three, mostly by itself, and held or not."""
    mode = chance.one(("act", "act", "act", "ask", "observe"))
    first = dict(chance.one((_STOP, _STOP, _STEPS)))
    first["guard"] = {**first["guard"], "mode": mode}
    if chance.fault(0.5):
        first["guard"]["needs"] = ["fresh telemetry", "no deployment in progress"]
    return tuple(Policy.model_validate(each) for each in (first, _HOLD)[: chance.one((1, 2, 2))])


def automation(project: Project, word: str) -> Project:
    """Return the project with the switch above all set so."""
    config = Config.model_validate({**dict(project.config), "automation": word})
    return replace(project, config=config)


_WIDE = {"mode": "act", "at_most": "100 per 1h", "cooldown": "0s", "blast_radius": "100 targets per 15m"}


def last(project: Project) -> Project:
    """Return the project with one more target and the policy that engages its killswitch, as far as limits allow."""
    config = Config.model_validate(
        {
            **dict(project.config),
            "targets": (*project.config.targets, _target(LAST)),
            "budgets": {"actions_per_hour": 1000, "actions_at_once": 100},
        }
    )
    stop = Policy.model_validate({**_STOP, "guard": _WIDE})
    return replace(project, config=config, policies=(stop, *project.policies[1:]))
