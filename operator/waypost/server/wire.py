"""What crosses the wire beside the engine's own reports: the bodies of what acts, and a page of changes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from waypost.engine.changes import Changed
from waypost.engine.releases import Release

__all__ = ["Changes", "Decision", "Mode", "Released", "Releasing"]

Text = Annotated[str, Meta(max_length=1024)]


class Decision(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a person decides of a hold."""

    decision: Literal["Approve", "Reject"]
    reason: Annotated[str, Meta(max_length=1024)] = ""
    expires_seconds: Annotated[int, Meta(ge=10, le=86_400)] = 900


class Mode(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a person wants of a sink."""

    mode: Literal["pause", "resume"]


class Releasing(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a person releases, or (`undo`) asks for again; `everything` stands where no part is given."""

    registration: Text = ""
    name: Text = ""
    sink: Text = ""
    everything: bool = False
    undo: bool = False


class Released(msgspec.Struct, frozen=True, rename="camel"):
    """A release: whether it is in force, and the records of ours that it covers, by sink."""

    release: Release
    given: bool
    records: dict[str, int]
    text: str = ""


class Changes(msgspec.Struct, frozen=True, rename="camel"):
    """Changes after a number. `run` names the process: where it differs from before, numbers begin at 1 again."""

    run: str
    latest: int
    changes: list[Changed]
