"""``tocsin fmt``: every file laid out in one way, and none that would not mean the same."""

from __future__ import annotations

from pathlib import Path

import typer

from tocsin.authoring.layout import Unchanged, laid_out
from tocsin.authoring.schema import MODELS
from tocsin.cli.output import Exit, say, stop
from tocsin.cli.project import find_root

_FOLDERS = {"rules": "rule", "remediations": "policy"}


def run(names: list[Path], *, check: bool, root: Path | None) -> None:
    """Lay the files out; exit 1 when one could not be, or with ``check`` when one would change."""
    folder = find_root(root)
    files = [each.resolve() for each in names] or _every(folder)
    results = [_one(path, folder.resolve(), check=check) for path in files]
    changed = results.count("changed")
    refused = results.count("refused")
    left = f", {refused} left as {'they are' if refused > 1 else 'it is'}" if refused else ""
    say(f"{len(files)} file{'s' * (len(files) != 1)}: {changed} {'would change' if check else 'changed'}{left}")
    if "refused" in results or (check and changed):
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def _every(folder: Path) -> list[Path]:
    found = [path for name in _FOLDERS for path in sorted((folder / name).glob("*.yaml"))]
    return [path.resolve() for path in (*found, folder / "tocsin.yaml") if path.is_file()]


def _one(path: Path, folder: Path, *, check: bool) -> str:
    kind = "tocsin" if path.name == "tocsin.yaml" else _FOLDERS.get(path.parent.name)
    if kind is None or not path.is_file():
        stop(Exit.USAGE, f"{path.name} is neither a rule, nor a policy, nor tocsin.yaml")
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    try:
        text = path.read_bytes().decode("utf-8")
        made = laid_out(text, MODELS[kind], _schema(path, kind))
    except (Unchanged, UnicodeDecodeError) as error:
        say(f"{shown}: left as it is: {error}", err=True)
        return "refused"
    if made == text:
        return "same"
    say(f"{shown}: {'would change' if check else 'changed'}")
    if not check:
        path.write_bytes(made.encode())
    return "changed"


def _schema(path: Path, kind: str) -> str:
    """Return where the file's schema is, seen from it, where there is one."""
    above = path.parent if kind == "tocsin" else path.parent.parent
    inside = f"schemas/{kind}.schema.json"
    return ("" if kind == "tocsin" else "../") + inside if (above / inside).is_file() else ""
