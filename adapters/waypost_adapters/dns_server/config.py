"""What a manifest may say of the DNS server."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Config"]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`listen` is for UDP and TCP; `ttlSeconds` holds where a registration says nothing, and for negative answers."""

    listen: str = "127.0.0.1:7453"
    zone: str = "waypost.test."
    ttl_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 5
