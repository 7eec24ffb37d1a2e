"""Names of services and their namespaces, as the presets make them. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from waypost_adapters.mesos.config import Naming

__all__ = ["MOST_CHARACTERS", "namespace", "service_name"]

MOST_CHARACTERS = 512  # of a name as Mesos has it
MOST_LABEL = 63  # characters (RFC 1123)
_TO_DASH = str.maketrans("._", "--")
_FOREIGN = re.compile(r"[^a-z0-9-]")


def service_name(given: str, naming: Naming) -> str:
    """Return the service's name for the name a task gives; "" where nothing is left of it."""
    return _label(given) if naming.preset == "mesosDns" else given[:MOST_CHARACTERS]


def namespace(framework: str, naming: Naming) -> str:
    """Return the namespace for a framework's name: under `mesosDns` its dots stay, as labels of their own."""
    if naming.preset == "mesosDns":
        return ".".join(filter(None, map(_label, framework.split("."))))
    return framework[:MOST_CHARACTERS]


@lru_cache(maxsize=16_384)
def _label(text: str) -> str:
    """Return a DNS label: ASCII letters lowered, `.` and `_` to `-`, all else left out, cut to 63."""
    lowered = "".join(character.lower() if character.isascii() else "" for character in text)
    return _FOREIGN.sub("", lowered.translate(_TO_DASH)).lstrip("-")[:MOST_LABEL].rstrip("-")
