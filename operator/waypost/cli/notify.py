"""Tells who started the process how it stands, by the protocol of sd_notify(3): a datagram to `$NOTIFY_SOCKET`."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

__all__ = ["notify"]


def notify(state: str) -> None:
    """Send `READY=1` or the like; does nothing where nobody asked for it, or listens."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place[:1] not in {"/", "@"}:
        return
    address = f"\0{place[1:]}" if place.startswith("@") else place  # @: the abstract namespace
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.setblocking(False)
        sender.sendto(state.encode(), address)
