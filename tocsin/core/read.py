"""Placeholder until reading lands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.core.config import Config
from tocsin.core.errors import Problem
from tocsin.core.policy import Policy
from tocsin.core.rule import Rule


@dataclass(frozen=True, slots=True)
class Project:
    """Everything the operator wrote, as far as it could be read, and every problem found."""

    rules: tuple[Rule, ...] = ()
    policies: tuple[Policy, ...] = ()
    config: Config = field(default_factory=Config)
    problems: tuple[Problem, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
