"""The files under ``tests/reading``, each read as part of a project whose other files are the shipped ones."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tocsin.app import known
from tocsin.core.errors import Problem
from tocsin.core.read import Project
from tocsin.files import read_project

FOLDER = ROOT / "tests" / "reading"
SETTINGS = {
    name: name.lower().replace("_", "-")
    for name in (
        "WATCHED_WORKSPACE",
        "WATCHED_ROLE_NAME",
        "WATCHED_SUBSCRIPTION",
        "WATCHED_RESOURCE_GROUP",
        "WATCHED_CONTAINER_APP",
        "PAGERDUTY_ENDPOINT",
    )
}


def subject(kind: str) -> str:
    """Return where a file of this kind stands in a project."""
    return {"rule": "rules/subject.yaml", "policy": "remediations/subject.yaml", "config": "tocsin.yaml"}[kind]


def project(root: Path) -> Path:
    """Copy the shipped files below ``root``, with automation on."""
    for name in ("rules", "remediations"):
        shutil.copytree(ROOT / name, root / name)
    text = (ROOT / "tocsin.yaml").read_text(encoding="utf-8")
    (root / "tocsin.yaml").write_text(text.replace("${TOCSIN_AUTOMATION}", "act"), encoding="utf-8")
    return root


def keep(root: Path, *names: str) -> Path:
    """Leave only these rules and policies in a project, and nothing in ``tocsin.yaml`` that names others."""
    for path in (*root.glob("rules/*"), *root.glob("remediations/*")):
        if path.stem not in names:
            path.unlink()
    gone = {path.stem for path in (ROOT / "rules").glob("*.yaml")} - set(names)
    forget(root, *gone)
    return root


def forget(root: Path, *rules: str) -> None:
    """Take every route and inhibition out of ``tocsin.yaml`` that names one of these rules."""
    items = re.split(r"(?m)^(?=    - |  - |\S)", (root / "tocsin.yaml").read_text())
    kept = [each for each in items if not any(re.search(rf"rule: \[?[\w, ]*\b{rule}\b", each) for rule in rules)]
    (root / "tocsin.yaml").write_text(re.sub(r"(?m)^inhibit:\n(?!  -)", "", "".join(kept)))


def read(path: Path) -> Project:
    """Return the shipped project with the file at ``path`` in it, whose first comment says what it is."""
    kind = path.read_text(encoding="utf-8").split()[1]
    with tempfile.TemporaryDirectory() as folder:
        root = project(Path(folder))
        shutil.copy(path, root / subject(kind))
        return read_project(root, SETTINGS, known())


def problems(path: Path) -> tuple[Problem, ...]:
    """Return every problem of the project with the file at ``path`` in it."""
    return read(path).problems
