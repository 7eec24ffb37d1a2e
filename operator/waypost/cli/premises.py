"""What `waypost run` needs of the machine: a state folder that can be written, room in it, a port to be asked at."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from waypost.adapter import AdapterError, Finding
from waypost.cli import state
from waypost.kit.listen import bind_stream, parse_listen

__all__ = ["premises"]

LOW_BYTES = 256 << 20
NO_BYTES = 16 << 20


def premises(folder: Path, admin: str) -> Iterator[Finding]:
    """Look at the state folder and the admin server's address; neither is made or kept."""
    runs = state.is_locked(folder)
    yield _state_dir(folder)
    yield _space(folder)
    yield _admin(folder, admin, runs=runs)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _state_dir(folder: Path) -> Finding:
    there = _existing(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            "state_dir",
            "failed",
            f"{folder} cannot be written" if there == folder.absolute() else f"{folder} cannot be made in {there}",
            "let the user that Waypost runs as write it, or choose another with --state-dir",
        )
    if there != folder.absolute():
        return Finding("state_dir", "ok", f"{folder} (made at the first start)")
    mode = stat.S_IMODE(there.stat().st_mode)
    if mode & 0o077:
        return Finding("state_dir", "warning", f"{folder} has mode {mode:04o}", "chmod 700; `run` does so as well")
    return Finding("state_dir", "ok", str(folder))


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    told = f"{free >> 20} MiB are free where {folder} is"
    if free < NO_BYTES:
        return Finding(
            "space", "failed", told, "make room: budgets, holds and what the embedded servers keep are there"
        )
    if free < LOW_BYTES:
        return Finding("space", "warning", told, "make room before it is full")
    return Finding("space", "ok", told)


def _admin(folder: Path, admin: str, *, runs: bool) -> Finding:
    if runs:
        try:
            return Finding(
                "admin", "ok", f"a waypost runs on {folder}: {(folder / state.ADDRESS_FILE).read_text().strip()}"
            )
        except OSError:
            return Finding(
                "admin", "warning", f"a process uses {folder}, and has no admin server yet", "look again soon"
            )
    try:
        bind_stream(parse_listen(admin)).close()
    except AdapterError as error:
        said = str(error).removesuffix(". Tried again").replace("`listen`", "--admin")
        return Finding("admin", "failed", said)
    return Finding("admin", "ok", f"{admin} is free")
