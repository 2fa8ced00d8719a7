"""Who runs a command, as the audit names them."""

from __future__ import annotations

import getpass
import os

from tocsin.core.audit import Author, Via


def account() -> str:
    """Return this process's account; its number where the machine has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def author(name: str = "") -> Author:
    """Return who decides by a command: the name that was given, vouched for by the account alone."""
    return Author(name.strip() or account(), Via.CLI, f"account {account()}")
