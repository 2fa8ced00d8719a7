"""Azurite with its Table and Queue services, each a process, in memory, on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import pytest

from tocsin.connections.identity import EMULATOR, StaticToken, storage_key

HERE = Path(__file__).resolve().parent
NAME = EMULATOR
KEY = storage_key(StaticToken("local")).named_key.key  # type: ignore[union-attr]


class Azurite:
    """A running server with these services; ``connection`` is its connection string."""

    def __init__(self, folder: Path, *services: str) -> None:
        ports = {service: _free_port() for service in services or ("table",)}
        self.processes = [_started(service, port, folder) for service, port in ports.items()]
        self.urls = {service: f"http://127.0.0.1:{port}/{NAME}" for service, port in ports.items()}
        endpoints = "".join(f"{service.capitalize()}Endpoint={url};" for service, url in self.urls.items())
        self.connection = f"DefaultEndpointsProtocol=http;AccountName={NAME};AccountKey={KEY};{endpoints}"
        for port in ports.values():
            _wait_for(port)

    def stop(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(10)


def _started(service: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    node, program = shutil.which("node"), HERE / "node_modules" / "azurite" / "dist" / "src" / service / "main.js"
    if node is None or not program.is_file():
        _absent("Azurite is not here: npm ci --prefix tests/azurite")
    options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    where = [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
    return subprocess.Popen([node, str(program), *options, *where], cwd=folder, stdout=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("Azurite did not come up within two minutes")


def _absent(why: str) -> NoReturn:
    """Skip the test, saying why; where every check must run, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}; CI may not do without")
    pytest.skip(why)
