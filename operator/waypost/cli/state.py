"""The state folder: where it is by default, that one process alone uses it, and where its server listens."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from waypost.cli.exits import CommandError

__all__ = ["ADDRESS_FILE", "default_state_dir", "is_locked", "locked", "make", "running", "state_home"]

ADDRESS_FILE = "admin.url"
LOCK_FILE = "lock"


def state_home() -> Path:
    """Return the folder that holds the default state folders: `$XDG_STATE_HOME/waypost`."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    return base / "waypost"


def default_state_dir(paths: Sequence[str]) -> Path:
    """Return the state folder that belongs to a set of manifests: the same paths, in any order, have the same one."""
    names = sorted({str(Path(path).resolve()) for path in paths})
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return state_home() / digest[:16]


def make(folder: Path) -> Path:
    """Make the folder, for its owner alone. Raises CommandError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise CommandError(
            f"the state folder {folder} cannot be used: {error.strerror}; choose another with --state-dir"
        ) from None
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder while the block runs. Raises CommandError where another process has it."""
    descriptor = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if not _lock(descriptor):
            who = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            text = f"another waypost (process {who}) uses the state folder {folder}"
            raise CommandError(f"{text}: stop it, or choose another with --state-dir")
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            text = f"the state folder {folder} cannot be written: {error.strerror}"
            raise CommandError(f"{text}; make room, or choose another with --state-dir") from None
        yield
    finally:
        os.close(descriptor)  # the lock goes with it, also when the process is killed


def _lock(descriptor: int) -> bool:
    """Take the lock; who only asks whether it is taken holds it for a moment, which is waited for."""
    for wait in (0.01, 0.05, 0.2, 0.0):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(wait)
        else:
            return True
    return False


def is_locked(folder: Path) -> bool:
    """Say whether a process uses the state folder now."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def running() -> list[Path]:
    """Return the default state folders that a process with an admin server uses now."""
    try:
        folders = sorted(state_home().iterdir())
    except OSError:
        return []
    return [folder for folder in folders if (folder / ADDRESS_FILE).is_file() and is_locked(folder)]
