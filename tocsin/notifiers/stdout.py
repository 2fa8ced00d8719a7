"""The standard output: one line of JSON a notice, for a machine without receivers and for pipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from tocsin.connections.http import Http
from tocsin.core.message import Notice, Outcome, Said
from tocsin.notifiers.plain import document

OPTIONS: Mapping[str, bool] = {}


@dataclass(frozen=True, slots=True)
class Stdout:
    """Writes notices as they come, in ASCII: nothing in them can steer a terminal."""

    stream: TextIO | None = None

    def deliver(self, notice: Notice) -> Outcome:
        """Write one line; a stream that is closed is worth another try."""
        try:
            print(json.dumps(document(notice)), file=self.stream or sys.stdout, flush=True)
        except (OSError, ValueError) as error:
            return Outcome(Said.AGAIN, type(error).__name__)
        return Outcome(Said.ACCEPTED, "written")


def payload(notice: Notice) -> dict[str, Any]:
    """Return what is written."""
    return document(notice)


def make(_options: Mapping[str, str], _secret: Callable[[str], str], _http: Http) -> Stdout:
    """Return the notifier; it has no options."""
    return Stdout()
