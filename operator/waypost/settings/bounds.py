"""The small parts that every kind is made of, each with its bounds: names, globs, metadata, references, credentials.

A pattern ends in "backslash Z", because Python's `$` lets a line end through; the schema of the custom resources writes
`$`, which RE2 reads as the end of the text. `MEANINGS` says in words what a pattern allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = [
    "API_VERSION",
    "GROUP",
    "MEANINGS",
    "VERSION",
    "Cidr",
    "Credential",
    "EntryName",
    "EnvironmentName",
    "Glob",
    "LabelKey",
    "LabelValue",
    "Metadata",
    "OwnerID",
    "Part",
    "PortName",
    "PortNumber",
    "Ref",
    "ResourceName",
    "SecretKeyRef",
    "Template",
    "TypeName",
    "ValueFrom",
]

GROUP = "waypost.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_RESOURCE = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z"
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z"
_WORD = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z"
_TYPE = r"^[a-z][a-z0-9_]*\Z"
_PORT = r"^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\Z"
_GLOB = r"^[^\s\x00-\x1f\x7f]+\Z"

MEANINGS: Mapping[str, str] = {
    _RESOURCE: "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit",
    _LABEL: "lower-case letters, digits and `-`, beginning and ending with a letter or digit",
    _WORD: "letters, digits, `.`, `_` and `-`, beginning and ending with a letter or digit",
    _TYPE: "lower-case letters, digits and `_`, beginning with a letter",
    _PORT: "letters, digits, `.`, `_` and `-`, beginning and ending with a letter, digit or `_`",
    _GLOB: "text without spaces or control characters, where `*` stands for any part",
}

ResourceName = Annotated[str, Meta(pattern=_RESOURCE, max_length=253)]
NamespaceName = Annotated[str, Meta(pattern=_LABEL, max_length=63)]
EntryName = Annotated[str, Meta(pattern=_LABEL, max_length=63)]
EnvironmentName = Annotated[str, Meta(pattern=_WORD, max_length=63)]
OwnerID = Annotated[str, Meta(pattern=_WORD, max_length=63)]
TypeName = Annotated[str, Meta(pattern=_TYPE, max_length=63)]
PortName = Annotated[str, Meta(pattern=_PORT, max_length=63)]
PortNumber = Annotated[int, Meta(ge=1, le=65_535)]
Glob = Annotated[str, Meta(pattern=_GLOB, max_length=253)]
Cidr = Annotated[str, Meta(min_length=1, max_length=64)]
LabelKey = Annotated[str, Meta(min_length=1, max_length=317)]
LabelValue = Annotated[str, Meta(max_length=1024)]
Template = Annotated[str, Meta(min_length=1, max_length=512)]


class Part(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """What every part of a manifest has in common: camelCase in the manifest, and no field that is not known."""


class Metadata(Part, frozen=True, gc=False):
    """Names an object.

    Attributes:
        name: The object's name, unique in its kind (and namespace).
        namespace: The namespace of a ServiceRegistration; the other kinds have none. In files, `default` where it is
            not given.
        labels: Free, for people and their tools.
        annotations: Free, for people and their tools.
        generation: Counts the changes of `spec`; set by Kubernetes.
        uid: Tells an object from a later one of the same name; set by Kubernetes.
        resource_version: Set by Kubernetes.
    """

    name: ResourceName
    namespace: NamespaceName = "default"
    labels: Annotated[Mapping[LabelKey, LabelValue], Meta(max_length=64)] = {}
    annotations: Annotated[Mapping[LabelKey, Annotated[str, Meta(max_length=262_144)]], Meta(max_length=64)] = {}
    generation: Annotated[int, Meta(ge=0)] | None = None
    uid: Annotated[str, Meta(max_length=64)] = ""
    resource_version: Annotated[str, Meta(max_length=64)] = ""


class Ref(Part, frozen=True, gc=False):
    """Names another object.

    Attributes:
        name: The object's name.
    """

    name: ResourceName


class SecretKeyRef(Part, frozen=True, gc=False):
    """Names one value of a Secret in Waypost's own namespace.

    Attributes:
        name: The Secret's name.
        key: The value's key in the Secret.
    """

    name: ResourceName
    key: Annotated[str, Meta(pattern=_PORT, max_length=253)]


class ValueFrom(Part, frozen=True, gc=False):
    """Says where a credential's value is kept.

    Attributes:
        secret_key_ref: One value of a Secret.
    """

    secret_key_ref: SecretKeyRef


class Credential(Part, frozen=True, gc=False):
    """Says where a secret is, and never the secret itself. Exactly one of `file`, `env` and `valueFrom`.

    Attributes:
        name: The credential's name, as the adapter's type knows it.
        file: A file that holds the value, followed as it changes; relative to the manifest's folder. In files only.
        env: An environment variable of the process that holds the value. In files only.
        value_from: A Secret. As a custom resource only.
    """

    name: Annotated[str, Meta(pattern=_WORD, max_length=63)]
    file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    env: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=255)] | None = None
    value_from: ValueFrom | None = None
