"""A custom resource as it came from the API server, and what it says. Pure.

What its spec says is decoded once for each generation: the API server counts one for every change of a spec, so that
what we write into a status ourselves is not read as a wish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from waypost.settings import (
    API_VERSION,
    Problem,
    ServiceSink,
    ServiceSource,
    SinkGrant,
    SourceGrant,
    Types,
    decode,
)
from waypost.settings.documents import Path
from waypost.settings.explain import Fault, field
from waypost.settings.reading import Document

__all__ = ["Item", "Maker", "ObjectMeta", "key_of"]


class ObjectMeta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What is used of an object's metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()


class _Wire(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()


class Item(msgspec.Struct, frozen=True):
    """One object: its metadata, what its spec says (or what is wrong with it), and its status as JSON."""

    metadata: ObjectMeta
    document: Document
    status: bytes = b""

    @property
    def key(self) -> str:
        """What it is found by among its kind."""
        return self.document.decoded.key

    @property
    def ends(self) -> bool:
        """Whether it was told to go and waits for its finalizers."""
        return self.metadata.deletion_timestamp is not None


_WIRE = msgspec.json.Decoder(_Wire)


def key_of(meta: ObjectMeta) -> str:
    """Return `namespace/name`, or the name of what has no namespace."""
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


class Maker:
    """Makes the Items of one kind. `home` is Waypost's own namespace: who may read or publish where nobody is named."""

    def __init__(self, kind: str, types: Types, home: str) -> None:
        self.kind = kind
        self._types = types
        self._home = home
        self._known: dict[str, Item] = {}  # by uid; what is no longer there is forgotten by `keep`

    def __call__(self, raw: bytes | memoryview) -> Item:
        """Decode an object's JSON. Raises msgspec.DecodeError where that is no object of the API at all."""
        wire = _WIRE.decode(raw)
        meta = wire.metadata
        known = self._known.get(meta.uid)
        if known is not None and known.metadata.generation == meta.generation and self.kind != "ServiceHold":
            document = known.document
        else:
            document = self._document(meta, wire)
        item = Item(meta, document, bytes(wire.status))
        self._known[meta.uid] = item
        return item

    def forget(self, uid: str) -> None:
        """Forget an object that is gone."""
        self._known.pop(uid, None)

    def _document(self, meta: ObjectMeta, wire: _Wire) -> Document:
        metadata: dict[str, Any] = {"name": meta.name, "generation": meta.generation, "uid": meta.uid}
        if meta.namespace:
            metadata["namespace"] = meta.namespace
        whole: dict[str, Any] = {"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata}
        if spec := bytes(wire.spec):
            whole["spec"] = msgspec.json.decode(spec)
        if self.kind == "ServiceHold" and (status := bytes(wire.status)):
            whole["status"] = msgspec.json.decode(status)
        decoded = decode(whole, self._types)
        if isinstance(made := decoded.object, ServiceSource | ServiceSink) and (
            local := tuple(_sockets(made.spec.config, ("spec", "config")))
        ):
            decoded = msgspec.structs.replace(decoded, object=None, faults=local)
        decoded = msgspec.structs.replace(decoded, key=key_of(meta), object=self._granted(decoded.object))
        place = f"{self.kind} {key_of(meta)}"
        faults = [Problem(place, 0, 0, self.kind, key_of(meta), field(f.path), f.message) for f in decoded.faults]
        return Document(place, 0, "", decoded, tuple(faults))

    def _granted(self, made: Any) -> Any:
        """Let Waypost's own namespace alone read or publish where the object names nobody."""
        if isinstance(made, ServiceSource) and not made.spec.grants:
            spec = msgspec.structs.replace(made.spec, grants=(SourceGrant((self._home,)),))
            return msgspec.structs.replace(made, spec=spec)
        if isinstance(made, ServiceSink) and not made.spec.grants:
            sink = msgspec.structs.replace(made.spec, grants=(SinkGrant((self._home,)),))
            return msgspec.structs.replace(made, spec=sink)
        return made


def _sockets(value: Any, path: Path) -> Iterator[Fault]:
    """Yield the sockets of Waypost's own machine that a `config` names: files may, an object of the cluster may not."""
    if isinstance(value, str):
        if value.lower().startswith("unix:"):
            yield Fault(path, "a custom resource names no path of Waypost's own machine; expected an address")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _sockets(part, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for at, part in enumerate(value):
            yield from _sockets(part, (*path, at))
