"""What an adapter raises, by what is to be done next (the tree stands in `waypost.adapter`)."""

from __future__ import annotations

__all__ = [
    "AdapterError",
    "Fenced",
    "InvalidRecord",
    "NotClaimed",
    "PermanentError",
]


class AdapterError(Exception):
    """The other side did not do it.

    Down, slow, refused, nonsense. Tried again with backoff. The message holds no secret.
    """


class PermanentError(AdapterError):
    """Trying again is useless until a person changes the manifest, the credentials or the target.

    The message says which and how.
    """


class Fenced(AdapterError):
    """The target's stamp holds a newer epoch: another leader rules. Nothing was written."""


class NotClaimed(AdapterError):
    """The target's stamp is absent, or older than the fence.

    The target lost or restored its data. Nothing was written.
    """


class InvalidRecord(Exception):
    """One record cannot exist in this sink (a label that is no DNS name, a value too long).

    `name` is the published name it had.
    """

    def __init__(self, instance: str, message: str, name: str = "") -> None:
        """Keep the instance's id and the name beside the message."""
        super().__init__(message)
        self.instance = instance
        self.name = name
