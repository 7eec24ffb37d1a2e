"""Whether a credential can be had, and whether others could have it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from waypost.adapter import Finding
from waypost.settings import Credential

__all__ = ["credential_finding"]


def credential_finding(credential: Credential) -> Finding | None:
    """Say whether a secret can be had, and whether others could have it; None for a Secret of Kubernetes'."""
    what = "credential"
    if credential.env is not None:
        if os.environ.get(credential.env):
            return Finding(what, "ok", f"{credential.name}: variable {credential.env}")
        return Finding(
            what, "failed", f"{credential.name}: variable {credential.env} is not set here", "set it where Waypost runs"
        )
    if credential.file is None:
        return None
    path = Path(credential.file)
    told = f"{credential.name}: file {path}"
    try:
        with path.open("rb") as file:
            empty, mode = not file.read(1), os.fstat(file.fileno()).st_mode
    except OSError as error:
        remedy = "let the user that Waypost runs as read it, or correct the path"
        return Finding(what, "failed", f"{told}: {error.strerror}", remedy)
    if empty:
        return Finding(what, "failed", f"{told} is empty", "put the secret into it")
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        return Finding(what, "warning", f"{told} has mode {stat.S_IMODE(mode):04o}: others may use it", "chmod 600")
    return Finding(what, "ok", told)
