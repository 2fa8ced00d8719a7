"""What an identity may do at a resource, as Azure's roles say it: actions with wildcards, and those taken out again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Permission:
    """What one role gives: patterns such as ``Microsoft.App/*/read``, without those of ``but_not``."""

    actions: tuple[str, ...] = ()
    but_not: tuple[str, ...] = ()

    def gives(self, action: str) -> bool:
        """Return whether the role allows the action."""
        return _any(self.actions, action) and not _any(self.but_not, action)


def allowed(permissions: Iterable[Permission], action: str) -> bool:
    """Return whether any role allows the action: what one takes out, another may give."""
    return any(each.gives(action) for each in permissions)


def _any(patterns: Iterable[str], action: str) -> bool:
    return any(re.fullmatch(".*".join(map(re.escape, each.split("*"))), action, re.IGNORECASE) for each in patterns)
