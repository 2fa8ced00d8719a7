"""Where the operator's files and settings are, seen from the folder the command runs in."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tocsin.app import App, Parts, compose
from tocsin.cli.output import Exit, stop
from tocsin.settings import Settings

_LOCAL = ("local.settings.example.json", "local.settings.json")


def find_root(given: Path | None) -> Path:
    """Return the folder that holds ``tocsin.yaml``: the one given, or the nearest above this one."""
    if given is not None:
        if not given.is_dir():
            stop(Exit.USAGE, f"{given} is no folder")
        return given
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "tocsin.yaml").is_file()), here)


def load_settings(root: Path) -> Settings:
    """Return the environment over ``local.settings.json`` over ``local.settings.example.json``."""
    values: dict[str, str] = {}
    for name in _LOCAL:
        values |= _file(root / name)
    return Settings(root, {**values, **os.environ})


def _file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("Values", {})
        return {str(key): str(value) for key, value in found.items()}
    except (json.JSONDecodeError, AttributeError) as error:
        stop(Exit.USAGE, f"{path.name} cannot be read: {error}")


def load_app(root: Path | None) -> App:
    """Return the app of the folder, composed from its settings."""
    return composed(load_settings(find_root(root)))


def composed(given: Settings) -> App:
    """Return the app of these settings; with those of ``tocsin run --local``, by the clock of its world."""
    from tocsin.local.world import CLOCK, read_clock

    setting = given.values.get(CLOCK, "").strip()
    if not setting:
        return compose(given)
    try:
        return compose(given, Parts(clock=read_clock(setting)))
    except ValueError:
        stop(Exit.USAGE, f"{CLOCK} is not as `tocsin run --local` prints it")
