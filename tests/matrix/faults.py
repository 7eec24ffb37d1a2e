"""The faults. Each strikes while changes go on, lasts a while, and is over when it returns."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from testbed.proxy import Proxy
from tests.matrix.disk import mounted
from tests.matrix.etcd import EtcdTarget
from tests.matrix.stage import Stage

FROZEN_SECONDS = 30.0
OUT_OF_ORDER = ("Unreachable", "Refused")


class Wired(Protocol):
    """What a fault of the wire needs of a stage."""

    @property
    def proxy(self) -> Proxy:
        """On the wire."""

    async def acknowledged(self, more: int) -> None:
        """See Stage."""

    async def tells(self, *reasons: str) -> None:
        """See Stage."""


class Fault(msgspec.Struct, frozen=True):
    """What happens to whom; `strike` returns when it is over."""

    name: str
    strike: Callable[[Stage], Awaitable[None]]


# --- Waypost itself


async def waypost_killed(stage: Stage) -> None:
    """`kill -9`, three times, at no particular moment."""
    for changes in (2, 3, 2):
        await stage.waypost.kill9()
        await asyncio.sleep(changes * 0.3)  # what changes while it is down
        await stage.waypost.start()
        await stage.acknowledged(changes)


async def waypost_frozen(stage: Stage) -> None:
    """SIGSTOP for half a minute: it wakes up in the middle of what it did."""
    stage.waypost.pause()
    await asyncio.sleep(FROZEN_SECONDS)
    stage.waypost.resume()


async def waypost_restarted(stage: Stage) -> None:
    """SIGTERM and a start with the state it had."""
    await stage.waypost.stop()
    await asyncio.sleep(1)
    await stage.waypost.start()


async def waypost_forgetful(stage: Stage) -> None:
    """A start without any state: on another machine, say."""
    await stage.waypost.stop()
    shutil.rmtree(stage.waypost.state)
    await stage.waypost.start()


async def waypost_full_disk(stage: Stage) -> None:
    """The disk of its state is full; it goes on, is killed, starts on a full disk, and then there is room again."""
    await stage.waypost.stop()
    with mounted(stage.waypost.state) as disk:
        await stage.waypost.start()
        disk.fill()
        await stage.acknowledged(8)
        await stage.converging()
        disk.empty()
        await stage.waypost.kill9()
        await stage.waypost.start()
        await stage.acknowledged(3)
        await stage.waypost.stop()
    await stage.waypost.start()


# --- the target


async def etcd_full(stage: Stage) -> None:
    """etcd's space is used up: it refuses every write until there is room again and its alarm is disarmed."""
    assert isinstance(stage.target, EtcdTarget)
    await stage.target.fill()
    await stage.tells(*OUT_OF_ORDER)
    await stage.acknowledged(5)
    await stage.target.empty()


async def target_killed(stage: Stage) -> None:
    """`kill -9`; it comes back with its state."""
    await stage.target.server.kill9()
    await stage.tells(*OUT_OF_ORDER)
    await stage.target.server.start()


async def target_frozen(stage: Stage) -> None:
    """SIGSTOP for half a minute: connections stand, and nothing answers."""
    await stage.target.server.pause()
    await asyncio.sleep(FROZEN_SECONDS)
    await stage.target.server.resume()
    await stage.target.server.ready()


async def target_restarted(stage: Stage) -> None:
    """An orderly restart with its state."""
    await stage.target.server.restart()


async def target_wiped(stage: Stage) -> None:
    """It comes back empty, as with a new disk."""
    await stage.target.wipe()


# --- the wire


async def wire_cut(stage: Wired) -> None:
    """Connections end in the middle of what the target answers, again and again."""
    for size in (9, 37, 150, 700):
        await stage.proxy.cut(size, rst=size % 2 == 0)
        await stage.proxy.drop()
        await stage.acknowledged(2)
    await stage.proxy.heal()
    await stage.proxy.drop()


async def wire_hangs(stage: Wired) -> None:
    """Packets are lost in either direction for half a minute; then all of them arrive."""
    await stage.proxy.hang()
    await asyncio.sleep(FROZEN_SECONDS)
    await stage.proxy.heal()


async def wire_garbage(stage: Wired) -> None:
    """Something else answers there."""
    await stage.proxy.garbage()
    await stage.proxy.drop()
    await stage.tells(*OUT_OF_ORDER)
    await stage.proxy.heal()


async def wire_refuses(stage: Wired) -> None:
    """A gateway before it answers 503."""
    await stage.proxy.answer(503, b"no healthy upstream")
    await stage.proxy.drop()
    await stage.tells(*OUT_OF_ORDER)
    await stage.proxy.heal()


WAYPOST = (
    Fault("waypost kill -9", waypost_killed),
    Fault("waypost frozen 30 s", waypost_frozen),
    Fault("waypost restarted", waypost_restarted),
    Fault("waypost without its state", waypost_forgetful),
    Fault("waypost on a full disk", waypost_full_disk),
    Fault("etcd out of space", etcd_full),
)
TARGET = (
    Fault("kill -9", target_killed),
    Fault("frozen 30 s", target_frozen),
    Fault("restarted", target_restarted),
    Fault("without its state", target_wiped),
    Fault("connections cut", wire_cut),
    Fault("answers hang 30 s", wire_hangs),
    Fault("garbage", wire_garbage),
    Fault("503", wire_refuses),
)
