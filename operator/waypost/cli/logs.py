"""Structured logs on standard error: one line a fact, `key=value` or JSON. What others wrote cannot break a line."""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Literal

import msgspec

from waypost.cli.output import clean

__all__ = ["FORMATS", "LEVELS", "start_logs"]

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
Format = Literal["text", "json"]

_PAIR = re.compile(r"(?:^|(?<= ))([a-z][a-z0-9_]*)=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S*)")
_PLACES = ("source", "sink", "elector")  # what an adapter's logger says of itself


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        parts = [
            f"{_stamp(record.created)} {record.levelname.lower():7} {record.name.removeprefix('waypost.')}",
            *(f"{place}={value}" for place in _PLACES if (value := getattr(record, place, None)) is not None),
            record.getMessage(),
        ]
        if record.exc_info:
            parts.append(f"trace={self.formatException(record.exc_info)!r}")
        return clean(" ".join(parts))


class _JSON(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        fields: dict[str, str] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        for place in _PLACES:
            if (value := getattr(record, place, None)) is not None:
                fields[place] = str(value)
        for key, text in _PAIR.findall(message):
            fields.setdefault(key, text[1:-1] if text[:1] in {"'", '"'} and len(text) > 1 else text)
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields).decode()


def start_logs(format: str, level: str) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSON() if format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("waypost").setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
