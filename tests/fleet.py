"""One instance of a fleet, as a process: takes work as the Functions host does; what fails goes to the poison queue."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path

from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from tocsin.app import App, Parts, compose
from tocsin.connections.queues import WORK
from tocsin.settings import Settings
from tocsin.testing import FrozenClock

HIDDEN = 5
"""Seconds after which a message that was taken and not done is there for another."""


def main() -> None:
    """Work until killed. With SLOW it dawdles over its first message, and leaves a note of which target it holds."""
    root, values = Path(sys.argv[1]), json.loads(os.environ["FLEET"])
    app = compose(Settings(root, values), Parts(clock=FrozenClock(datetime.fromisoformat(os.environ["NOW"]))))
    queue, poison = _queue(values, WORK), _queue(values, f"{WORK}-poison")
    while True:
        for message in queue.receive_messages(max_messages=1, visibility_timeout=HIDDEN):
            if os.environ["SLOW"]:
                (root / "taken").write_text(json.loads(message.content)["target"])
                time.sleep(60)
            if _done(app, message.content):
                queue.delete_message(message)
            elif message.dequeue_count >= 3:
                poison.send_message(message.content)
                queue.delete_message(message)
        time.sleep(0.1)


def _done(app: App, message: str) -> bool:
    try:
        app.work(message)
    except Exception as error:
        print(repr(error), file=sys.stderr)
        return False
    return True


def _queue(values: dict[str, str], name: str) -> QueueClient:
    coded = {"message_encode_policy": TextBase64EncodePolicy(), "message_decode_policy": TextBase64DecodePolicy()}
    return QueueClient.from_connection_string(values["TOCSIN_QUEUES"], name, **coded)


if __name__ == "__main__":
    main()
