"""The admin token: a file that only its owner can read, made at the first start and kept."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from waypost.adapter import PermanentError

__all__ = ["TOKEN_FILE", "make_token", "read_token"]

TOKEN_FILE = "admin.token"  # noqa: S105 - the name of a file
LEAST = 32  # characters
MOST_BYTES = 4096


def make_token(state_dir: Path) -> str:
    """Return the token of a state folder, made (mode 0600) where there is none. Raises PermanentError, OSError."""
    path = state_dir / TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _kept(path)
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    return token


def read_token(path: Path) -> str:
    """Return the token in a file. Raises PermanentError, which says what is wrong and shows nothing of it."""
    try:
        with path.open("rb") as file:
            token = file.read(MOST_BYTES).decode("ascii").strip()
    except FileNotFoundError:
        raise PermanentError(f"there is no token file {path}; give one with --token-file") from None
    except OSError as error:
        raise PermanentError(f"the token file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PermanentError(f"the token file {path} holds no token") from None
    if len(token) < LEAST or not token.isprintable() or " " in token:
        raise PermanentError(f"the token file {path} holds no token: expected one word of {LEAST} characters or more")
    return token


def _kept(path: Path) -> str:
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise PermanentError(f"{path} belongs to another user; remove it, or choose another --state-dir")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise PermanentError(f"{path} can be read by others: remove it, and a new token is made (or chmod 600 it)")
    return read_token(path)
