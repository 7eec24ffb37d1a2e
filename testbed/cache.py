"""Where the built servers are kept, outside the tree, shared by every clone of the project."""

import os
from pathlib import Path


def cache() -> Path:
    """The cache folder: `$WAYPOST_TESTBED`, else `waypost-testbed` in the user's (it may not exist yet)."""
    if chosen := os.environ.get("WAYPOST_TESTBED"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waypost-testbed"


def program(part: str, name: str) -> str:
    """The path of a program of a built part."""
    return str(cache() / part / name)
