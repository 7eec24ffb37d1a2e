"""What a manifest may say of the registry, as a source and as a sink."""

from __future__ import annotations

import msgspec

from waypost.kit.serve import TLS

__all__ = ["CREDENTIALS", "Config"]

CREDENTIALS = ("token", "tlsCertificate", "tlsKey")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A source and a sink that say the same `listen` are one registry.

    `anonymousWrites`: clients register without a token.
    """

    listen: str = "127.0.0.1:7480"
    tls: TLS | None = None
    anonymous_writes: bool = False
