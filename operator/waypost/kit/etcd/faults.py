"""What went wrong with a call, in Waypost's errors: which endpoint, what it said, whether the request may have acted.

    AdapterError
    ├── Unreached       no connection, or to a member that cannot serve: nothing took effect, another may do it
    ├── Refused         the member said no; nothing took effect
    ├── Uncertain       the request was sent and no answer came: it may or may not have taken effect
    ├── Compacted       the revision asked for is no longer kept: read again from the present
    └── TooLarge        the answer is larger than we take, or the request than etcd takes
    PermanentError      a person must act: an API that is not there, a request that cannot be
    └── Denied          credentials or permissions

No message repeats a request, so none can hold a value or a password.
"""

from __future__ import annotations

import grpc

from waypost.adapter import AdapterError, PermanentError

__all__ = [
    "Compacted",
    "Denied",
    "Refused",
    "StaleToken",
    "TooLarge",
    "Uncertain",
    "Unreached",
    "fault",
    "refusal",
    "spoken",
]

_STALE = ("invalid auth token", "revision of auth store is old")
_DENIED = {
    "permission denied": "permission denied; grant the user's role readwrite on the prefix (see the adapter's README)",
    "authentication failed": "authentication failed: the credentials `username` and `password` are not accepted",
    "user name is empty": "authentication is on and no user was given; add the credentials `username` and `password`",
    "invalid auth management": "authentication is misconfigured in etcd",
}


class Unreached(AdapterError):
    """No connection was made, or the member cannot serve (no leader, a learner): nothing took effect."""


class Refused(AdapterError):
    """The member refused the request before it did anything: too busy, out of space."""


class Uncertain(AdapterError):
    """The request was sent and no answer came: it may have taken effect, or may yet."""


class Denied(PermanentError):
    """Who we are, or say that we are, may not do this."""


class Compacted(AdapterError):
    """The revision asked for is no longer kept. `revision` is the oldest that is, 0 where etcd did not say."""

    def __init__(self, message: str, revision: int = 0) -> None:
        """Keep the revision beside the message."""
        super().__init__(message)
        self.revision = revision


class TooLarge(AdapterError):
    """`answer`: the answer was larger than we take (the request took effect); else etcd refused the request."""

    def __init__(self, message: str, *, answer: bool) -> None:
        """Keep which of both beside the message."""
        super().__init__(message)
        self.answer = answer


class StaleToken(AdapterError):
    """The member does not know our token (any more); the request did nothing. The client authenticates again, once."""


def spoken(details: str | None) -> str:
    """Return what the other side said as one short line of printable characters."""
    text = " ".join((details or "").split())
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300]) or "no details"


def fault(code: grpc.StatusCode, details: str | None, endpoint: str) -> AdapterError:
    """Return the error for a gRPC status that came from that endpoint."""
    said = spoken(details)
    told = f"etcd {endpoint}: {said}"
    status = grpc.StatusCode
    if code is status.UNAVAILABLE:
        # gRPC's words for a request that got no connection, and etcd's before it looks at one; the rest may have acted.
        return Unreached(told) if said.startswith(("failed to connect", "etcdserver: no leader")) else Uncertain(told)
    if code is status.DEADLINE_EXCEEDED:
        return Uncertain(f"etcd {endpoint}: no answer in time")
    if (known := refusal(said, endpoint)) is not None:
        return known
    if code is status.OUT_OF_RANGE:
        return Compacted(told)
    if code is status.RESOURCE_EXHAUSTED:
        if "larger than max" in said:
            return TooLarge(
                told, answer=not said.startswith("grpc: ")
            )  # gRPC in Go: etcd's own words about our request
        if "space exceeded" in said:
            return Refused(f"{told}; it takes no writes until it is compacted, defragmented and its alarm disarmed")
        return Refused(told)
    if code is status.INVALID_ARGUMENT:
        return TooLarge(told, answer=False) if "too large" in said else PermanentError(told)
    if code is status.UNIMPLEMENTED:
        return PermanentError(f"{told}; this is no etcd with the API of version 3, or an older one than 3.4")
    if code in {status.UNAUTHENTICATED, status.PERMISSION_DENIED}:
        return PermanentError(told)
    if code is status.FAILED_PRECONDITION:
        return Unreached(told) if "learner" in said else Refused(told)
    return Uncertain(told)


def refusal(said: str, endpoint: str) -> AdapterError | None:
    """Return the error for what etcd says of tokens, users and permissions, in whichever status or watch."""
    if any(words in said for words in _STALE):
        return StaleToken(f"etcd {endpoint}: {said}")
    for words, told in _DENIED.items():
        if words in said:
            return Denied(f"etcd {endpoint}: {told}")
    return None
