"""What is checked and how, and what one check found. Data only."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["MOST_REASON", "PASSED", "Check", "Kind", "Outcome", "Target", "TcpSocket", "failed", "unknown"]

MOST_REASON = 200  # characters of a finding that are kept


class TcpSocket(msgspec.Struct, frozen=True, gc=False):
    """Passes when a connection is accepted."""


Kind: TypeAlias = TcpSocket  # each further kind is one more struct here, and one more function in `probes`


class Check(msgspec.Struct, frozen=True, gc=False):
    """A kind of check and when to believe it. Equal checks of one place are one check; times are in seconds."""

    kind: Kind
    period: float = 10.0
    timeout: float = 2.0
    rise: int = 1
    fall: int = 3


class Target(msgspec.Struct, frozen=True, gc=False):
    """One place that is checked: an instance (its id is unique in its source) at an address and a port.

    `address` is an IP literal or a host name as the source reported it; `port` is 0 for kinds that need none.
    """

    check: Check
    source: str
    instance: str
    address: str
    port: int


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What one check found: True, False, or None where it could not be made, which says nothing of the instance.

    `reason` is one line for people, and holds nothing that the instance sent.
    """

    ok: bool | None
    reason: str = ""


PASSED = Outcome(ok=True)


def failed(reason: str) -> Outcome:
    """Return the finding that the instance does not do as it should."""
    return Outcome(ok=False, reason=reason[:MOST_REASON])


def unknown(reason: str) -> Outcome:
    """Return that the check could not be made."""
    return Outcome(ok=None, reason=reason[:MOST_REASON])
