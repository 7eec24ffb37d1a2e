"""Which collection of the API is meant, and the paths of what is in it."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

__all__ = ["Meta", "Resource"]


class Resource(msgspec.Struct, frozen=True):
    """A collection: `Resource("discovery.k8s.io", "v1", "endpointslices")`; the core group is "".

    `namespace` None means those of all namespaces, and is what objects without one have too.
    """

    group: str
    version: str
    plural: str
    namespace: str | None = None

    def path(self, name: str = "", *, namespace: str = "", subresource: str = "") -> str:
        """Return the path of the collection, or of an object in it; `namespace` where the collection has none."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if within := namespace or self.namespace:
            parts += ["namespaces", within]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)

    def __str__(self) -> str:
        """Return it as people write it."""
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.plural}.{self.group}{where}" if self.group else f"{self.plural}{where}"


class Meta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What an informer needs of an object's metadata. Who needs more declares a struct of its own with these fields.

    `managedFields`, often the larger half of an object, is declared by none, and so never decoded.
    """

    name: str = ""  # a bookmark's object has none
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
