"""Swapping the model: the variable that names a deployment, and the agents of its map that use the same one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.actuators.connections import Connections
from tocsin.actuators.container_app import SETTABLE, SETTABLE_IS
from tocsin.actuators.steady import Change, Template, look_at, value_of
from tocsin.core.action import Arg, Order, Takes, Undo
from tocsin.core.container import SECRET, App, Look, with_variable

VARIABLE = "AZURE_AI_FOUNDRY_MODEL"
"""The accelerator's own variable; the map of agents is ``…_MAP``."""

_NONE = "none"
_AGENTS = r"[\w.-]+(?:, [\w.-]+)*"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf"(?P<agent>{_TEXT})(?P<colon>\s*:\s*)(?P<deployment>{_TEXT})")


@dataclass(frozen=True, slots=True)
class Swap:
    """The deployment that ``variable`` is to name. ``agents``: whose entry in the map goes with it; None: all alike."""

    order: Order
    variable: str
    deployment: str
    agents: frozenset[str] | None
    already = "already so"

    @property
    def variables(self) -> tuple[str, ...]:
        """The variable and its map."""
        return (self.variable, self._map)

    def has(self, template: Template) -> bool:
        """Return whether the variable names the deployment: variable and map are only ever written together."""
        return self._found(template, self.variable) == self.deployment

    def make(self, template: Template) -> dict[str, Any]:
        """Return the template with the deployment in both; everything else in the map stays, letter by letter."""
        container, old = self.order.target.container, self._found(template, self.variable)
        if old == SECRET:
            raise ValueError(f"{self.variable} is a reference to a secret; set its value there")
        if not old:
            raise ValueError(f"{self.variable} is not set: which model is in use is not known")
        changed = with_variable(template, container, self.variable, self.deployment)
        text, agents = self._read_map(template), self._swapped(template)
        return with_variable(changed, container, self._map, self._replaced(text, agents)) if agents else changed

    def changes(self, template: Template) -> tuple[str, ...]:
        """Return what the variable named, and each agent that goes with it."""
        old, agents = self._found(template, self.variable), self._swapped(template)
        words = f"{self.variable}: {old} → {self.deployment}"
        return (words, f"{self._map}: {', '.join(agents)}: {old} → {self.deployment}") if agents else (words,)

    def undo(self, template: Template) -> Undo:
        """Return the swap back, of the same agents and no others."""
        old, agents = self._found(template, self.variable) or "", self._swapped(template)
        args = {"to": old, "agents": ", ".join(agents) or _NONE}
        return Undo("model.swap", {**args, **({} if self.variable == VARIABLE else {"variable": self.variable})})

    def look(self, app: App) -> Look:
        """Return whether all that serves names the deployment."""
        return look_at(app, self.has, f"{self.variable} is {self.deployment}")

    @property
    def _map(self) -> str:
        return f"{self.variable}_MAP"

    def _found(self, template: Template, name: str) -> str | None:
        return value_of(template, self.order.target.container, name)

    def _read_map(self, template: Template) -> str:
        """Return the map as it is written; raises ValueError for one that is not agents with their deployments."""
        text = self._found(template, self._map) or ""
        if text == SECRET:
            raise ValueError(f"{self._map} is a reference to a secret; set its value there")
        if text.strip():
            _agents(text, self._map)
        return text

    def _swapped(self, template: Template) -> tuple[str, ...]:
        text, old = self._read_map(template), self._found(template, self.variable)
        found = _agents(text, self._map).items() if text.strip() else ()
        return tuple(
            agent for agent, deployment in found if deployment == old and (self.agents is None or agent in self.agents)
        )

    def _replaced(self, text: str, agents: tuple[str, ...]) -> str:
        def put(pair: re.Match[str]) -> str:
            mine = json.loads(pair["agent"]) in agents
            return f"{pair['agent']}{pair['colon']}{json.dumps(self.deployment) if mine else pair['deployment']}"

        changed = _PAIR.sub(put, text)
        wanted = {**_agents(text, self._map), **dict.fromkeys(agents, self.deployment)}
        if json.loads(changed) != wanted:
            raise ValueError(f"{self._map} cannot be changed without changing more of it")
        return changed


def _agents(text: str, name: str) -> dict[str, str]:
    """Return the deployment of each agent; raises ValueError for a text that is not such a map."""
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError(f"{name} is not JSON") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{name} is not a map of agents to deployments")
    odd = [agent for agent in found if not re.fullmatch(r"[\w.-]+", agent)]
    if odd or _NONE in found:
        raise ValueError(f"{name} has an agent whose name cannot be written in an action")
    return found


def _swap(order: Order) -> Swap:
    variable, agents = order.args.get("variable", VARIABLE), order.args.get("agents")
    if not re.fullmatch(SETTABLE, variable):
        raise ValueError(f"{variable} is not {SETTABLE_IS}")
    chosen = None if agents is None else frozenset(agents.split(", ")) - {_NONE}
    return Swap(order, variable, order.args["to"], chosen)


def _swapping(connections: Connections) -> Change:
    return Change(connections.apps, _swap)


_TAKES = Takes(
    {
        "to": Arg(pattern=r"(?!backup$)[A-Za-z0-9][\w.-]{0,63}", says="the name of a deployment"),
        "variable": Arg(pattern=SETTABLE, says=SETTABLE_IS, needed=False),
        "agents": Arg(pattern=_AGENTS, says="names of agents, such as `writer, critic`, or none", needed=False),
    },
    undone=True,
    changes=f"Sets `{VARIABLE}` (or `variable`) to another deployment, and with it the entries of its map `…_MAP` "
    "that name the same deployment as it did (only those of `agents`, if given), in a new revision.",
    needs=(
        "Microsoft.App/containerApps/read",
        "Microsoft.App/containerApps/revisions/read",
        "Microsoft.App/containerApps/write",
    ),
)

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Change]]] = {"swap": (_TAKES, _swapping)}
"""The actions of this file, ``model.swap``."""
