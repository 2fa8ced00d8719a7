"""One ASGI app on loopback, in a thread of this process, for as long as a ``with`` block lasts."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Config, Server

HOST = "127.0.0.1"
START_WITHIN = 10.0
"""Seconds a server may take to come up, or to stop."""
GRACE = 1.0
"""Seconds in which what is being answered may be finished."""
_POLL = 0.01


def _prompt(config: Config) -> Server:
    """Return a uvicorn server that ends as soon as it is told to and nothing is being answered."""
    import uvicorn

    class Prompt(uvicorn.Server):
        async def main_loop(self) -> None:
            while not self.should_exit:
                await asyncio.sleep(_POLL)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for closing in (*self.servers, *(sockets or ())):
                closing.close()
            for connection in list(self.server_state.connections):
                connection.shutdown()
            last = time.monotonic() + GRACE
            while (self.server_state.connections or self.server_state.tasks) and time.monotonic() < last:
                await asyncio.sleep(_POLL)

    return Prompt(config)


class _Server(threading.Thread):
    """A uvicorn server that says when it is up."""

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        import uvicorn

        super().__init__(name="tocsin-served", daemon=True)
        self.up = threading.Event()
        self.failed: BaseException | None = None
        self._listening = listening
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,  # a stand-in's clock is not the machine's
        )
        self._uvicorn = _prompt(config)
        self._startup = self._uvicorn.startup
        self._uvicorn.startup = self._came_up  # type: ignore[method-assign]

    async def _came_up(self, sockets: list[socket.socket] | None = None) -> None:
        await self._startup(sockets=sockets)
        self.up.set()

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            self._uvicorn.run(sockets=[self._listening])
        except BaseException as error:  # whoever waits in another thread must hear of it
            self.failed = error
        finally:
            self.up.set()

    def stop(self) -> None:
        """Finish what is being answered, within a second, and end the thread."""
        self._uvicorn.should_exit = True
        self.join(START_WITHIN)


class Served:
    """Serves ``app`` on 127.0.0.1 while its ``with`` block runs; on a free port unless one is given.

    Entering returns when the server accepts connections. Raises OSError when the port is taken.
    """

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._app = app
        self._port = port
        self._server: _Server | None = None
        self._listening: socket.socket | None = None

    @property
    def url(self) -> str:
        """The address without a slash at its end. Raises RuntimeError when not serving."""
        if self._listening is None:
            raise RuntimeError("not serving")
        return f"http://{HOST}:{self._listening.getsockname()[1]}"

    def start(self) -> Served:
        """Start serving; return when connections are accepted."""
        self._listening = _listen(self._port)
        self._server = _Server(self._app, self._listening)
        self._server.start()
        if not self._server.up.wait(START_WITHIN) or self._server.failed is not None:
            failed = self._server.failed
            self.stop()
            raise RuntimeError(f"the server did not start: {failed or 'it took too long'}") from failed
        return self

    def stop(self) -> None:
        """Stop serving and free the port. Stopping twice is stopping once."""
        if self._server is not None:
            self._server.stop()
        if self._listening is not None:
            self._listening.close()
        self._server = self._listening = None

    def __enter__(self) -> Served:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _listen(port: int) -> socket.socket:
    # Named as TCP, without which asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError:
        listening.close()
        raise
    return listening
