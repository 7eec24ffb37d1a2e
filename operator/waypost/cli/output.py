"""What is printed: tables and lines for people, JSON for programs. What others wrote cannot drive a terminal."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TextIO

import msgspec

__all__ = ["Colour", "Paint", "ago", "clean", "complain", "lines", "paint", "table", "write_json"]

Colour = Literal["green", "red", "yellow", "bold", "dim"]
_CODES = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}


def clean(text: object) -> str:
    """Return a text without anything that a terminal would obey or that hides what is there."""
    return "".join(
        char if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} else f"\\u{{{ord(char):x}}}"
        for char in str(text)
    )


class Paint:
    """Colours, where the stream is a terminal and NO_COLOR is not set."""

    def __init__(self, stream: TextIO) -> None:
        """Look at the stream once."""
        self.on = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: object, colour: Colour) -> str:
        """Return the text, cleaned, in a colour."""
        return f"\033[{_CODES[colour]}m{clean(text)}\033[0m" if self.on else clean(text)


def paint() -> Paint:
    """Return the colours of standard output."""
    return Paint(sys.stdout)


def lines(*texts: str) -> None:
    """Print lines that are clean already."""
    for text in texts:
        print(text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns as wide as what is in them."""
    cells = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def write_json(body: Any) -> None:
    """Print one JSON value, for programs: on a terminal indented, else on one line."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    if sys.stdout.isatty():
        raw = msgspec.json.format(raw, indent=2)
    sys.stdout.write(raw.decode().strip() + "\n")
    sys.stdout.flush()


def complain(message: object) -> None:
    """Print an error for people."""
    print(f"waypost: {clean(message)}", file=sys.stderr)


def ago(seconds: float | None) -> str:
    """Return a span of time in words."""
    if seconds is None:
        return "never"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"
