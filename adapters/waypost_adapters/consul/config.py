"""What a manifest may say about a Consul sink, and about one entry that publishes to it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from waypost.kit.grammar import METADATA, GrammarError, parse
from waypost.kit.tls import CREDENTIALS as TLS_CREDENTIALS
from waypost.kit.tls import Tls

__all__ = ["CREDENTIALS", "Config", "Options"]

CREDENTIALS = ("token", *TLS_CREDENTIALS)

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The sink's `config`. `nodes` is how many catalog nodes the instances are spread over; it never changes."""

    address: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    datacenter: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{0,64}$")] = ""
    nodes: Annotated[int, msgspec.Meta(ge=1, le=128)] = 64
    tls: Tls = Tls()


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An entry's `options`: tags as templates, and globs of the labels that become tags `label=value`."""

    tags: Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)] = ()
    tags_from_labels: Annotated[tuple[Text, ...], msgspec.Meta(max_length=16)] = ()

    def __post_init__(self) -> None:
        """Refuse a tag that does not follow the grammar; the text says where."""
        for tag in self.tags:
            try:
                parse(tag, METADATA)
            except GrammarError as error:
                raise ValueError(f"tags: {error}") from None
