"""What the API server said instead of doing it.

    AdapterError            no answer, or none that makes sense (waypost.kit.http tells apart whether it may be done)
    └── ApiError            it answered 400 or more: `status`, `reason` and `message` of its Status object
        └── ApiRefused      … and will answer so again until a person changes something; a PermanentError too

Nothing was done in either case, but for a 500 or 504, of which nobody knows.
"""

from __future__ import annotations

import msgspec

from waypost.adapter import AdapterError, PermanentError

__all__ = ["ApiError", "ApiRefused", "Status", "answered"]

MOST_TEXT = 500  # characters of a message; an admission webhook may say anything
REFUSALS = frozenset({400, 401, 403, 405, 406, 413, 415, 422})


class Cause(msgspec.Struct, frozen=True):
    """One field that was refused."""

    field: str = ""
    message: str = ""
    reason: str = ""


class Details(msgspec.Struct, frozen=True, rename="camel"):
    """What a Status says beside its message."""

    causes: tuple[Cause, ...] = ()
    retry_after_seconds: float = 0


class Status(msgspec.Struct, frozen=True):
    """`metav1.Status`, which the API server sends for every failure, also within a watch."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None


class ApiError(AdapterError):
    """The API server answered with `status` (an HTTP code) and `reason` (`Conflict`, `Expired`, … or "").

    `causes` are the fields that it refused, `retry_after_seconds` how long it asks to be left alone (0: it does not).
    """

    def __init__(self, said: Status, asked: str) -> None:
        """`asked` is the request, without what may be secret."""
        self.status = said.code
        self.reason = said.reason
        self.message = said.message[:MOST_TEXT]
        details = said.details or Details()
        self.causes = details.causes
        self.retry_after_seconds = details.retry_after_seconds
        super().__init__(f"{asked}: {self.status} {self.reason or 'without a reason'}: {self.message}")

    @property
    def is_permanent(self) -> bool:
        """Whether the same request would be refused again until a person changes something."""
        return self.status in REFUSALS

    @property
    def is_expired(self) -> bool:
        """Whether the resourceVersion or the continue token is too old: the collection must be listed again."""
        return self.status == 410


class ApiRefused(ApiError, PermanentError):
    """No right, no credentials, or no valid object: asked again it is refused again."""


_STATUS = msgspec.json.Decoder(Status)


def answered(status: int, body: bytes, asked: str, retry_after: str = "") -> ApiError:
    """Return the error of an answer with that HTTP code; whatever its body is, it becomes one."""
    try:
        said = _STATUS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = Status()  # a proxy's page, or a server that starts
    if not said.message and not said.reason:  # what an object's proxy says is no Status either
        said = msgspec.structs.replace(said, message=body[:MOST_TEXT].decode(errors="replace").strip())
    details = said.details or Details()
    if not details.retry_after_seconds and retry_after.isascii() and retry_after.isdecimal():
        details = msgspec.structs.replace(details, retry_after_seconds=float(retry_after[:6]))
    code = status if status >= 400 else said.code or 500
    said = Status(code, said.reason, said.message, details)
    return (ApiRefused if code in REFUSALS else ApiError)(said, asked)
