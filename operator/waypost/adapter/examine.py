"""What an opened adapter can say to `waypost doctor`: where it connects to, and what it may do there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

__all__ = [
    "Examined",
    "Finding",
    "Place",
    "Placed",
]


class Place(msgspec.Struct, frozen=True):
    """Where an adapter connects to: host and port, or the path of a Unix socket.

    With `tls` its certificate is checked as the credentials `ca`, `clientCert` and `clientKey` say, for `server_name`
    or else the host.
    """

    host: str = ""
    port: int = 0
    tls: bool = False
    server_name: str = ""
    socket: str = ""

    def __str__(self) -> str:
        """Return it as people write it."""
        return self.socket or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was tried: `what` in a word, how it is, and, where it is not well, what to do.

    No secret is in the texts.
    """

    what: str
    status: Literal["ok", "warning", "failed"]
    message: str
    remedy: str = ""


@runtime_checkable
class Placed(Protocol):
    """An opened source, sink or elector that says where it connects to: names, connections and TLS can be tried."""

    def places(self) -> Sequence[Place]:
        """Return the places; several are several ways to one system. Connects to nothing."""


@runtime_checkable
class Examined(Protocol):
    """An opened source or sink that can say more than that it may be read."""

    async def examine(self) -> Sequence[Finding]:
        """Try what can be tried without changing anything.

        Of a sink: `stamp`, whether it is there and of the context's environment, and `write`, whether it may be
        written, where the target tells that. Is asked before any claim. Raises AdapterError where nothing can be said.
        """
