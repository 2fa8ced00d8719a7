"""What ``requirements.txt`` takes once installed, distribution by distribution, with the bytecode that pip compiles.

python -m tools.size

Ends with 1 when it is more than ``LIMIT``: a deployment is unpacked before the first tick.
"""

from __future__ import annotations

import compileall
import re
import sys
import tempfile
from pathlib import Path

from tools.package import ROOT
from tools.rehearse import install, total

LIMIT = 120_000_000
_SHOWN = 15


def sizes(site: Path) -> list[tuple[str, int]]:
    """Return what each distribution in a folder takes, in bytes and the largest first; ``other`` is what none names."""
    found = []
    for record in site.glob("*.dist-info/RECORD"):
        name = re.sub(r"[-_.]+", "-", record.parent.name.split("-")[0]).lower()
        files = (line.rsplit(",", 2)[0].strip('"') for line in record.read_text(encoding="utf-8").splitlines())
        found.append((name, sum(_size(site / file) + _compiled(site / file) for file in files)))
    other = total(site) - sum(size for _, size in found)
    return sorted([*found, ("other", other)], key=lambda each: -each[1])


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _compiled(path: Path) -> int:
    """Return what the bytecode of a source takes; RECORD does not list it."""
    if path.suffix != ".py":
        return 0
    return sum(_size(each) for each in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))


def main() -> None:
    """Install, print the table, and say whether it is within the limit."""
    with tempfile.TemporaryDirectory() as made:
        site = Path(made) / "site"
        install(ROOT / "requirements.txt", site)
        compileall.compile_dir(site, quiet=2)
        found, whole = sizes(site), total(site)
    for name, size in found[:_SHOWN]:
        print(f"{name:<40} {size / 1e6:>7.1f} MB")
    print(f"{f'… and {len(found) - _SHOWN} more':<40} {sum(size for _, size in found[_SHOWN:]) / 1e6:>7.1f} MB")
    print(f"{'all':<40} {whole / 1e6:>7.1f} MB of {LIMIT / 1e6:.0f}")
    sys.exit(whole > LIMIT)


if __name__ == "__main__":
    main()
