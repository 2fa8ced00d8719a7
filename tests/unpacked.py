"""Run by path, in an interpreter that has nothing installed: load the unpacked app in the real worker, ask for health.

python -I tests/unpacked.py APP WORKER [tick]

The app brings its packages in ``.python_packages``, as a remote build leaves them; WORKER is the folder of the host's
own library, which comes behind. With ``tick``, the timer's function is
run first. Prints one line of JSON: the functions, the status and body of ``/api/health/details``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType


def _by_path(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Load, run, print."""
    app, host = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path[:0] = [str(app), str(app / ".python_packages" / "lib" / "site-packages"), str(host)]
    worker = _by_path(Path(__file__).with_name("worker.py")).Worker(app)
    if "tick" in sys.argv[3:]:
        worker.run("tick", "timer", {"IsPastDue": False, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": {}})
    answer = worker.run("health_details", "req", worker.http("GET", "http://localhost/api/health/details")).http
    found = {
        "functions": sorted(worker.functions),
        "status": answer.status_code,
        "health": json.loads(answer.body.bytes),
    }
    outside = {
        name for name in sys.modules if (at := getattr(sys.modules[name], "__file__", None)) and _outside(at, app)
    }
    print(json.dumps({**found, "outside": sorted(outside - {"__main__", "worker"})}))
    worker.close()


def _outside(file: str, app: Path) -> bool:
    """Return whether a module comes neither from the app, the host's library nor Python itself."""
    homes = (app, Path(sys.argv[2]), Path(sys.base_prefix))
    return not any(Path(file).is_relative_to(home) for home in homes)


if __name__ == "__main__":
    main()
