"""What an entry point names: the type of an adapter, how it is configured and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import msgspec

from waypost.adapter.context import Context

__all__ = [
    "AdapterType",
    "NoOptions",
]

T_co = TypeVar("T_co", covariant=True)


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Options of a sink that has none."""


class AdapterType(msgspec.Struct, Generic[T_co], frozen=True):
    """What an entry point names.

    `config` and `options` are msgspec structs with `forbid_unknown_fields=True, rename="camel"` and constraints: what
    they refuse is told with file, line and field. A ValueError of a `__post_init__` whose text begins with a field's
    name and a colon is told at that field. `credentials` are the names that a manifest may give. `open(config,
    context)` connects lazily: it succeeds with the other side down. A sink that understands `Change.release` says
    `releases`, one that understands `Change.adopt` says `adopts`; others never see such changes.
    """

    name: str
    config: type[msgspec.Struct]
    open: Callable[[Any, Context], AbstractAsyncContextManager[T_co]]
    options: type[msgspec.Struct] = NoOptions
    credentials: tuple[str, ...] = ()
    declares: bool = False  # a source whose services are written in registrations (`instances`)
    releases: bool = False
    adopts: bool = False
