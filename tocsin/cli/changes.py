"""What a change touches: problems in files it changed, and those elsewhere that were not there before."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tocsin.core.errors import Problem


class NoBase(Exception):
    """There is nothing to compare with; the message says why."""


def touched(
    problems: Sequence[Problem], root: Path, base: str, look: Callable[[Path], Sequence[Problem]]
) -> tuple[Problem, ...]:
    """Return the problems that are the change's: everything since ``base`` parted from here, committed or not.

    ``look`` finds the problems of a folder, and is shown the files as they were: what one file's change breaks in
    another is found that way. Raises NoBase.
    """
    parted = _parted(root, base)
    files = _changed(root, parted)
    with as_it_was(root, base) as folder:
        before = {_identity(each) for each in look(folder)}
    return tuple(each for each in problems if each.path in files or _identity(each) not in before)


@contextmanager
def as_it_was(root: Path, base: str) -> Iterator[Path]:
    """Yield a folder with the YAML files as they were where the change since ``base`` began. Raises NoBase."""
    parted = _parted(root, base)
    with tempfile.TemporaryDirectory() as folder:
        _laid(root, parted, Path(folder))
        yield Path(folder)


def changed(root: Path, base: str) -> set[str]:
    """Return the files that the change since ``base`` touches, as seen from the folder. Raises NoBase."""
    return _changed(root, _parted(root, base))


def _identity(problem: Problem) -> tuple[str, str, str]:
    return problem.path, problem.id, problem.message


def _parted(root: Path, base: str) -> str:
    """Return the commit at which the change began; of histories that have none in common, ``base`` itself."""
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}").strip()
    try:
        return _git(root, "merge-base", commit, "HEAD").strip()
    except NoBase:
        return commit


def _changed(root: Path, base: str) -> set[str]:
    """Return the files that differ from ``base``, as seen from the folder: changed, added, or not yet known to Git."""
    known = _git(root, "diff", "--name-only", "--relative", "-z", base, "--", ".")
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    return {name for name in (*known.split("\0"), *new.split("\0")) if name}


def _laid(root: Path, base: str, folder: Path) -> None:
    """Lay the YAML files as they were at ``base`` into a folder; of a folder that was not there, none."""
    within, top = _git(root, "rev-parse", "--show-prefix").strip(), _top(root)
    if within and not _git(top, "ls-tree", "-z", base, "--", within.rstrip("/")):
        return
    listed = _git(top, "ls-tree", "-r", "--name-only", "-z", f"{base}:{within}".rstrip("/")).split("\0")
    names = [name for name in listed if name.endswith((".yaml", ".yml"))]
    if not names:
        return
    data = _run(top, "archive", "--format=tar", f"{base}:{within}".rstrip("/"), "--", *names)
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        packed.extractall(folder, filter="data")


def _top(root: Path) -> Path:
    """Return the repository's own folder, from which Git names whole trees."""
    return Path(_git(root, "rev-parse", "--show-toplevel").strip())


def _git(root: Path, *arguments: str) -> str:
    return _run(root, *arguments).decode("utf-8", "surrogateescape")


def _run(root: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise NoBase("git is not here") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NoBase(f"git {arguments[0]}: {said[-1] if said else 'there is no such commit'}") from None
