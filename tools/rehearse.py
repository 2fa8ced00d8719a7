"""Rehearse a deployment: unpack the zip in an empty folder, install ``requirements.txt`` and nothing else, and run it.

python -m tools.rehearse

On the Python that runs this. What the host itself brings, its worker library, goes to a folder of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.export_requirements import needed
from tools.package import ROOT, write

PACKAGES = Path(".python_packages") / "lib" / "site-packages"
"""Where a remote build leaves what it installs, in the app's folder."""
_WORKER = "azure-functions-runtime"
_SET = {"PATH": "/usr/bin:/bin", "FUNCTIONS_WORKER_RUNTIME": "python", "TICK_SCHEDULE": "0 * * * * *"}
"""All that is set: the app has to start without a single setting of its own."""


def uv(*arguments: str) -> None:
    """Run uv. Raises CalledProcessError; what it said is on standard error."""
    subprocess.run([str(Path(sysconfig.get_path("scripts")) / "uv"), *arguments, "--quiet"], check=True)


def install(requirements: Path, target: Path) -> None:
    """Install locked requirements for this Python into a folder. A dependency that they leave out is an error."""
    version = sysconfig.get_python_version()
    wanted = ("--require-hashes", "--requirement", str(requirements), "--target", str(target))
    uv("pip", "install", "--python-version", version, *wanted)


def unpack(folder: Path) -> Path:
    """Make the app's folder as a deployment leaves it, and return it."""
    archive, app = folder / "tocsin.zip", folder / "app"
    write(ROOT, archive)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(app)
    install(app / "requirements.txt", app / PACKAGES)
    return app


def host(folder: Path) -> Path:
    """Install what the Functions host brings along, at the version that the lock names; return its folder."""
    wanted = folder / "host.txt"
    wanted.write_text("\n".join(needed((ROOT / "requirements-dev.lock").read_text(), {_WORKER})))
    install(wanted, folder / "host")
    return folder / "host"


def run(app: Path, worker: Path, folder: Path, settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Load the app in the real worker, in a fresh environment with nothing in it; return what it said.

    With settings it ticks first. Raises RuntimeError with the end of what it said when it came to nothing.
    """
    fresh = folder / "fresh"
    if not fresh.exists():
        uv("venv", "--python", sys.executable, str(fresh))
    call = [str(fresh / "bin" / "python"), "-I", str(ROOT / "tests" / "unpacked.py"), str(app), str(worker)]
    environment = _SET | {"AzureWebJobsScriptRoot": str(app)} | dict(settings or {})
    said = subprocess.run(
        [*call, *(["tick"] if settings else [])],
        cwd=app,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if said.returncode:
        raise RuntimeError(said.stderr[-4000:])
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


def total(folder: Path) -> int:
    """Return what everything in a folder takes, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Rehearse and say how it went."""
    if sys.version_info < (3, 13):
        sys.exit("Microsoft's worker is for Python 3.13: PYTHON=python3.13 VENV=.venv-3.13 make package")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        app = unpack(folder)
        found = run(app, host(folder), folder)
        print(f"unpacked: {total(app) / 1e6:.0f} MB, of it {total(app / PACKAGES) / 1e6:.0f} MB are packages")
        print(f"functions: {', '.join(found['functions'])}")
        print(f"GET /api/health/details: {found['status']}, {found['health']['status']}")
        print(*(f"  {each}" for each in found["health"]["problems"]), sep="\n")
        if found["outside"]:
            sys.exit(f"from outside the app: {', '.join(found['outside'])}")


if __name__ == "__main__":
    main()
