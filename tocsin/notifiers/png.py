"""A small drawing as a PNG: dots, lines and letters in a few colours, without a library that a cold start would load.

Belongs here: what any drawing is made of, and the file's format. Does not belong here: what is drawn.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

Place = tuple[int, int]
"""Pixels from the left and from the top."""

_BIG = 2
"""Pixels a side of each dot that a letter is made of: three by five alone would be too small to read."""

ACROSS, HIGH = 4 * _BIG, 5 * _BIG
"""Pixels from one letter to the next, and how high one is."""

_ROWS = (
    "75557 26227 71747 71717 55711 74717 74757 71122 75757 75717 00700 "
    "02720 00002 02020 51245 07746 45655 57755 74557 72222 55557 74447"
)
_LETTERS = dict(zip("0123456789-+.:%ekMGTUC", _ROWS.split(), strict=True))
"""Letter → its five rows from the top, each the number that its three dots make, the left one counting four."""

_COLOUR_BY_PLACE, _BITS = 3, 8
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Canvas:
    """Pixels, each the place of its colour among ``colours``, at the beginning the first. Nothing is drawn outside."""

    def __init__(self, width: int, height: int, colours: Sequence[bytes]) -> None:
        self.width, self.height, self.colours = width, height, colours
        self.rows = [bytearray(width) for _ in range(height)]

    def block(self, place: Place, size: Place, colour: int) -> None:
        """Fill a block whose upper left corner is at ``place``."""
        (left, top), (width, height) = place, size
        begin, end = max(0, left), min(self.width, left + width)
        for row in self.rows[max(0, top) : max(0, top + height)]:
            row[begin:end] = bytes([colour]) * max(0, end - begin)

    def line(self, begin: Place, end: Place, colour: int) -> None:
        """Draw a line two pixels wide."""
        for left, top in _between(begin, end):
            self.block((left, top), (2, 2), colour)

    def diamond(self, middle: Place, reach: int, colour: int) -> None:
        """Fill a square that stands on its corner."""
        for off in range(-reach, reach + 1):
            half = reach - abs(off)
            self.block((middle[0] - half, middle[1] + off), (2 * half + 1, 1), colour)

    def write(self, place: Place, text: str, colour: int) -> None:
        """Write ``text`` from its upper left corner; a letter that is not known stays blank."""
        for number, letter in enumerate(text):
            for down, row in enumerate(_LETTERS.get(letter, "")):
                for right in (each for each in range(3) if int(row) >> (2 - each) & 1):
                    corner = (place[0] + number * ACROSS + right * _BIG, place[1] + down * _BIG)
                    self.block(corner, (_BIG, _BIG), colour)

    def encoded(self) -> bytes:
        """Return the drawing as a PNG file; the same drawing is the same bytes with the same zlib."""
        header = struct.pack(">IIBBBBB", self.width, self.height, _BITS, _COLOUR_BY_PLACE, 0, 0, 0)
        # Each row begins with the number of its filter; none packs flat colours best.
        pixels = zlib.compress(b"".join(b"\0" + row for row in self.rows), 9)
        parts = ((b"IHDR", header), (b"PLTE", b"".join(self.colours)), (b"IDAT", pixels), (b"IEND", b""))
        return _SIGNATURE + b"".join(_chunk(name, data) for name, data in parts)


def written(text: str) -> int:
    """Return how many pixels ``text`` is wide."""
    return len(text) * ACROSS - _BIG


def _between(begin: Place, end: Place) -> Iterator[Place]:
    """Yield the pixels of a line from one place to the other, both included."""
    across, down = end[0] - begin[0], end[1] - begin[1]
    steps = max(abs(across), abs(down), 1)
    for step in range(steps + 1):
        yield begin[0] + round(across * step / steps), begin[1] + round(down * step / steps)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
