"""Build the zip that a deployment uploads: the folder less what ``.funcignore`` names, as azd and Core Tools read it.

python -m tools.package [PATH]

The same files give the same bytes: names are sorted, and every entry has the one date that zip can always hold.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parent.parent
ZIP = ROOT / "build" / "tocsin.zip"
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def shipped(root: Path) -> list[str]:
    """Return the names, with slashes and sorted, of the files under ``root`` that its ``.funcignore`` leaves.

    Tracked or not makes no difference, as it makes none to azd: what lies in the folder goes out.
    """
    ignored = GitIgnoreSpec.from_lines((root / ".funcignore").read_text(encoding="utf-8").splitlines())
    return sorted(_left(root, root, ignored))


def _left(root: Path, folder: Path, ignored: GitIgnoreSpec) -> Iterator[str]:
    for entry in os.scandir(folder):
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            if not ignored.match_file(f"{name}/"):  # what git would not enter cannot be taken back in
                yield from _left(root, path, ignored)
        elif not ignored.match_file(name):
            yield name


def write(root: Path, target: Path) -> list[str]:
    """Write the zip and return the names in it."""
    names = shipped(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name in names:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr, entry.compress_type = _MODE, zipfile.ZIP_DEFLATED
            out.writestr(entry, (root / name).read_bytes())
    return names


def main() -> None:
    """Write the zip and say what came of it."""
    target = Path(sys.argv[1]) if sys.argv[1:] else ZIP
    names = write(ROOT, target)
    print(f"{target}: {len(names)} files, {target.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
