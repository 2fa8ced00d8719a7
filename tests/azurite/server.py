"""One Azurite process with its Table service, in memory, on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).resolve().parent
_NAME = "devstoreaccount1"
# The key of every Azurite there is; it is in its documentation and opens nothing else.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azurite:
    """A running server; ``connection`` is its connection string."""

    def __init__(self, folder: Path) -> None:
        node, program = shutil.which("node"), HERE / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
        if node is None or not program.is_file():
            _absent("Azurite is not here: npm ci --prefix tests/azurite")
        port = _free_port()
        options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
        where = ["--tableHost", "127.0.0.1", "--tablePort", str(port)]
        self.process = subprocess.Popen([node, str(program), *options, *where], cwd=folder, stdout=subprocess.DEVNULL)
        self.connection = (
            f"DefaultEndpointsProtocol=http;AccountName={_NAME};AccountKey={_KEY};"
            f"TableEndpoint=http://127.0.0.1:{port}/{_NAME};"
        )
        _wait_for(port)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("Azurite did not come up within 30 seconds")


def _absent(why: str) -> NoReturn:
    """Skip the test, saying why; where every check must run, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}; CI may not do without")
    pytest.skip(why)
