"""Write ``tests/golden``: what each receiver gets for each kind of notice, and each query, for a reviewer to read.

Beside it ``tests/porting/expected``: what becomes of alerts from elsewhere.

python -m tools.golden
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests import queries
from tests.notices import CASES
from tests.porting import cases
from tocsin import notifiers
from tocsin.core.message import Notice

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"

PAYLOADS: dict[str, Callable[[Notice], Any]] = {kind: partial(notifiers.payload, kind) for kind in notifiers.known()}
"""Type of receiver → what it is sent for a notice."""


def rendered() -> dict[str, str]:
    """Return every golden file: its path below the folder, and its text."""
    notices = {
        f"notices/{receiver}/{case}.json": _text(payload(notice()))
        for receiver, payload in PAYLOADS.items()
        for case, notice in CASES.items()
    }
    return {**notices, **{f"kql/{name}.kql": f"{query.text}\n" for name, query in queries.cases().items()}}


def _text(payload: Any) -> str:
    return _legible(json.dumps(payload, indent=1, ensure_ascii=False)) + "\n"


def _legible(text: str) -> str:
    """Write a query in a portal address as a query, and a picture as what it shows: packed, the bytes of either are
    those of one version of zlib.
    """
    text = re.sub(r"iVBORw0KGgo[A-Za-z0-9+/]*=*", lambda match: _picture(b64decode(match[0])), text)
    return re.sub(r"/q/([^/]+)/timespan/", lambda match: f"/q/({_unpacked(match[1])})/timespan/", text)


def _picture(png: bytes) -> str:
    """Return a picture's size, and the digest of its header, its colours and its pixels."""
    shown, place = {}, 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        shown[png[place + 4 : place + 8]] = png[place + 8 : place + 8 + length]
        place += 12 + length
    width, height = struct.unpack_from(">II", shown[b"IHDR"])
    drawn = shown[b"IHDR"] + shown[b"PLTE"] + zlib.decompress(shown[b"IDAT"])
    return f"(PNG, {width} x {height}, drawn {sha256(drawn).hexdigest()[:16]})"


def _unpacked(twice: str) -> str:
    return json.dumps(gzip.decompress(b64decode(unquote(unquote(twice)))).decode())[1:-1].replace('"', "'")


def main() -> None:
    """Write every file, and remove those that no longer have a case."""
    for folder, files in ((GOLDEN, rendered()), (cases.EXPECTED, cases.rendered())):
        for path in folder.rglob("*.*"):
            if str(path.relative_to(folder)) not in files:
                path.unlink()
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        print(f"{len(files)} files in {folder.relative_to(GOLDEN.parent.parent)}")


if __name__ == "__main__":
    main()
