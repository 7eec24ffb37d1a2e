"""What crosses the wire beside the engine's own reports: the bodies of what acts, and a page of changes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from waypost.engine.changes import Changed

__all__ = ["Changes", "Decision", "Mode"]


class Decision(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a person decides of a hold."""

    decision: Literal["Approve", "Reject"]
    reason: Annotated[str, Meta(max_length=1024)] = ""
    expires_seconds: Annotated[int, Meta(ge=10, le=86_400)] = 900


class Mode(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a person wants of a sink."""

    mode: Literal["pause", "resume"]


class Changes(msgspec.Struct, frozen=True, rename="camel"):
    """Changes after a number. `run` names the process: where it differs from before, numbers begin at 1 again."""

    run: str
    latest: int
    changes: list[Changed]
