"""Warnings about targets that name what cannot be there, or what should not be believed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tocsin.core.config import PRODUCTION, Config
from tocsin.core.errors import Problem
from tocsin.core.node import Node

_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_WORKSPACE = re.compile(rf"(?i){_GUID}|/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/workspaces/[^/]+")


_NEARLY = frozenset({"prod", "production", "prd", "live"})
"""What people call production elsewhere, in small letters."""


def lint(config: Config, node: Node) -> Iterator[Problem]:
    """Yield each workspace that is not written like one, each ``env`` that is nearly ``prod``, and forgeable results.

    What a setting holds is checked by ``doctor``.
    """
    for number, target in enumerate(config.targets):
        place = node.at("targets", number, "workspace")
        if place.typed is None and target.workspace.strip() and not _WORKSPACE.fullmatch(target.workspace):
            words = f"'{target.workspace}' is neither a workspace's id (a GUID) nor its resource id"
            yield place.warning("odd-workspace", words, "`az monitor log-analytics workspace show --query customerId`")
        env = target.labels.get(PRODUCTION[0], "")
        if env != PRODUCTION[1] and env.casefold() in _NEARLY:
            words = f"'{env}' is not `prod`: rules and policies for production leave {target.name} out"
            hint = "write `env: prod`, or no `env` at all"
            yield node.at("targets", number, "labels", PRODUCTION[0]).warning("odd-env", words, hint)
        if target.evals is not None and target.evals.events:
            words = "anybody who controls the app can write the events that release its killswitch"
            hint = "take results from outside it: `files`, or `github` with `token_setting`"
            yield node.at("targets", number, "evals", "events").warning("evals-from-the-app", words, hint)
