"""A whole source and a whole sink in memory, scripted by the test; they pass the conformance suites."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import msgspec

from waypost.adapter import AdapterType, Context
from waypost.testing.elector import ScriptedElector
from waypost.testing.memory_sink import Fault, MemorySink
from waypost.testing.memory_source import MemorySource
from waypost.testing.target import SharedTarget, Stamp, Write

__all__ = [
    "SINK",
    "Fault",
    "MemoryConfig",
    "MemorySink",
    "MemorySource",
    "ScriptedElector",
    "SharedTarget",
    "Stamp",
    "Write",
    "sink_type",
    "source_type",
]


class MemoryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The config of memory adapters: nothing."""


def source_type(source: MemorySource, name: str = "memory") -> AdapterType[MemorySource]:
    """Return an AdapterType that opens this source."""

    @asynccontextmanager
    async def opened(_config: MemoryConfig, _context: Context) -> AsyncIterator[MemorySource]:
        yield source

    return AdapterType(name, MemoryConfig, opened)


def sink_type(
    target: SharedTarget, name: str = "memory", opened: Callable[[MemorySink], None] | None = None
) -> AdapterType[MemorySink]:
    """Return an AdapterType that opens sinks on this target; `opened` is told of each, to give it faults."""

    @asynccontextmanager
    async def make(_config: MemoryConfig, context: Context) -> AsyncIterator[MemorySink]:
        sink = MemorySink(target, context)
        if opened is not None:
            opened(sink)
        yield sink

    return AdapterType(name, MemoryConfig, make, releases=True, adopts=True)


def _shared_target() -> AbstractAsyncContextManager[SharedTarget]:
    return nullcontext(SharedTarget())


@asynccontextmanager
async def _open(_config: MemoryConfig, context: Context) -> AsyncIterator[MemorySink]:
    async with context.shared("memory", _shared_target) as target:
        yield MemorySink(target, context)


SINK = AdapterType("memory", MemoryConfig, _open, releases=True, adopts=True)
"""A sink on a target that all memory sinks of the process share."""
