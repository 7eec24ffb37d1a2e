"""Where the masters are: listed in the manifest, or as ZooKeeper tells (`zookeeper.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from yarl import URL

from waypost.kit.addresses import is_loopback

__all__ = ["Listed", "Places"]


class Places(Protocol):
    """Which masters to ask, and in which order."""

    async def urls(self) -> Sequence[URL]:
        """Return base URLs, the likeliest leader first. Raises AdapterError where none is known."""

    def rotate(self) -> None:
        """The first one did not answer as it should."""

    def knows(self, host: str) -> bool:
        """Return whether credentials may go to that host."""

    def plain(self) -> bool:
        """Return whether a password would go in clear text over a network."""

    async def displaced(self, master: str) -> None:
        """Return when another master than that (by its id) has been elected since `urls` was asked."""


class Listed:
    """Those that the manifest lists."""

    def __init__(self, urls: Sequence[URL]) -> None:
        self._urls = list(urls)
        self._hosts = {url.host for url in urls}

    async def urls(self) -> Sequence[URL]:
        """Return all of them; the one that answered last comes first."""
        return self._urls

    def rotate(self) -> None:
        """Ask the next one first."""
        self._urls.append(self._urls.pop(0))

    def knows(self, host: str) -> bool:
        """Return whether it is one of theirs."""
        return host in self._hosts

    def plain(self) -> bool:
        """Return whether any of them is asked over plain http beyond this machine."""
        return any(url.scheme == "http" and not is_loopback(url.host or "") for url in self._urls)

    async def displaced(self, master: str) -> None:
        """Never return: nobody tells."""
        await asyncio.get_running_loop().create_future()
