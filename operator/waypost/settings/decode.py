"""From a plain document (of a YAML file or of Kubernetes) to an object, or to all that is wrong with it.

`decode` reads one document alone, so that its result can be kept by the document's text. `resolve` adds what depends on
other documents: a registration's `options` and `instances` mean what the types of its sinks and sources say. Both are
pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Protocol

import msgspec

from waypost.adapter import AdapterType
from waypost.model import Address, Instance, Port, Service, ServiceKey, family
from waypost.plugins import BrokenPlugin, Group, UnknownType
from waypost.settings.bounds import API_VERSION, Credential, Metadata
from waypost.settings.checks import check
from waypost.settings.documents import Path
from waypost.settings.explain import Fault, convert, meant
from waypost.settings.kinds import (
    KINDS,
    HoldSpec,
    HoldStatus,
    Kind,
    MirrorSpec,
    ServiceHold,
    ServiceMirror,
    ServiceSink,
    ServiceSource,
    SinkSpec,
    SourceSpec,
)
from waypost.settings.registration import (
    DeclaredInstance,
    RegistrationSpec,
    ServiceRegistration,
    SinkEntry,
    SourceEntry,
)

__all__ = ["Decoded", "Types", "TypesOf", "at", "credential_faults", "decode", "resolve"]

_BY_KUBERNETES = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "managedFields",
        "ownerReferences",
        "selfLink",
    }
)
_GROUPS: Mapping[str, Group] = {ServiceSource.kind: "sources", ServiceSink.kind: "sinks"}
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")


class Types(Protocol):
    """The adapter types that there are; `waypost.plugins.Plugins` is one."""

    def find(self, group: Group, name: str) -> AdapterType[Any]:
        """Return the type of that name. Raises UnknownType or BrokenPlugin, whose texts say what to do."""


class TypesOf(msgspec.Struct, frozen=True):
    """Types given one by one, for a program that has no installed packages to ask."""

    sources: Mapping[str, AdapterType[Any]] = {}
    sinks: Mapping[str, AdapterType[Any]] = {}

    def find(self, group: Group, name: str) -> AdapterType[Any]:
        """Return the type of that name. Raises UnknownType."""
        known = self.sources if group == "sources" else self.sinks
        if name not in known:
            word, names = group.removesuffix("s"), ", ".join(sorted(known)) or "none"
            raise UnknownType(f"unknown {word} type `{name}`; known: {names}{meant(name, known)}")
        return known[name]


class Decoded(msgspec.Struct, frozen=True):
    """What one document says: an object, or faults. `kind` and `key` are as far as they could be read, else ""."""

    kind: str
    key: str
    object: Kind | None
    faults: tuple[Fault, ...] = ()


def decode(document: Any, types: Types, folder: FilePath | None = None) -> Decoded:
    """Return what a document says. `folder` is where its file is; None where it comes from Kubernetes."""
    if not isinstance(document, Mapping):
        return Decoded("", "", None, (Fault((), "expected a mapping with apiVersion, kind, metadata and spec"),))
    faults = list(_top(document))
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS or document.get("apiVersion") != API_VERSION:
        return Decoded(kind if isinstance(kind, str) else "", "", None, tuple(faults))
    metadata, wrong = _metadata(document.get("metadata"), kind)
    faults += wrong
    spec, wrong = convert(document.get("spec"), KINDS[kind][1], ("spec",)) if "spec" in document else (None, ())
    faults += wrong
    if spec is not None:
        faults += (Fault(("spec", *fault.path), fault.message) for fault in check(spec))
    made = None
    if spec is not None and metadata is not None:
        made, wrong = _object(metadata, spec, document.get("status"), types, folder)
        faults += wrong
    elif kind in _GROUPS:
        faults += _beside(document.get("spec"), _GROUPS[kind], types)
    return Decoded(kind, _key(document, kind), None if faults else made, tuple(faults))


def _beside(spec: Any, group: Group, types: Types) -> tuple[Fault, ...]:
    """Return what is wrong with the type and the config of a source or sink whose other fields are wrong."""
    if not isinstance(spec, Mapping) or not isinstance(name := spec.get("type"), str):
        return ()
    try:
        adapter = types.find(group, name)
    except (UnknownType, BrokenPlugin) as error:
        return (Fault(("spec", "type"), str(error)),)
    config = spec.get("config", {})
    return convert(config, adapter.config, ("spec", "config"))[1] if isinstance(config, Mapping) else ()


def _top(document: Mapping[str, Any]) -> Iterator[Fault]:
    version, kind = document.get("apiVersion"), document.get("kind")
    if version != API_VERSION:
        told = f"`{version}` is not read here" if version is not None else "the field `apiVersion` is required"
        yield Fault(("apiVersion",), f"{told}; expected {API_VERSION}")
    if not isinstance(kind, str):
        yield Fault(("kind",), f"the field `kind` is required; known: {', '.join(KINDS)}")
    elif kind not in KINDS:
        yield Fault(("kind",), f"unknown kind `{kind}`; known: {', '.join(KINDS)}{meant(kind, KINDS)}")
    for name in document:
        if name not in _TOP:
            near = meant(name, (known for known in _TOP if known not in document))
            yield Fault((name,), f"unknown field `{name}`{near or '; known: ' + ', '.join(_TOP)}")
    for name in ("metadata", "spec"):
        if name not in document:
            yield Fault((name,), f"the field `{name}` is required")


def _metadata(value: Any, kind: str) -> tuple[Metadata | None, tuple[Fault, ...]]:
    if value is None:
        return None, ()
    if isinstance(value, Mapping):
        value = {name: item for name, item in value.items() if name not in _BY_KUBERNETES}
    metadata, faults = convert(value, Metadata, ("metadata",))
    if metadata is not None and kind != ServiceRegistration.kind:
        if "namespace" in value:
            return None, (Fault(("metadata", "namespace"), f"a {kind} has no namespace; leave the field out"),)
        metadata = msgspec.structs.replace(metadata, namespace="")
    return metadata, faults


def _key(document: Mapping[str, Any], kind: str) -> str:
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(name := metadata.get("name"), str):
        return ""
    return f"{metadata.get('namespace', 'default')}/{name}" if kind == ServiceRegistration.kind else name


def _object(
    metadata: Metadata, spec: Any, status: Any, types: Types, folder: FilePath | None
) -> tuple[Kind | None, tuple[Fault, ...]]:
    if isinstance(spec, SourceSpec | SinkSpec):
        return _adapted(metadata, spec, types, folder)
    if isinstance(spec, HoldSpec):
        held, faults = convert(status, HoldStatus, ("status",)) if status is not None else (None, ())
        return ServiceHold(metadata, spec, held), faults
    if isinstance(spec, MirrorSpec):
        return ServiceMirror(metadata, spec), ()
    assert isinstance(spec, RegistrationSpec)
    return ServiceRegistration(metadata, spec), ()


def _adapted(
    metadata: Metadata, spec: SourceSpec | SinkSpec, types: Types, folder: FilePath | None
) -> tuple[Kind | None, tuple[Fault, ...]]:
    """Make a source or a sink: decode its `config` as its type says."""
    try:
        adapter = types.find("sources" if isinstance(spec, SourceSpec) else "sinks", spec.type)
    except (UnknownType, BrokenPlugin) as error:
        return None, (Fault(("spec", "type"), str(error)),)
    config, faults = convert(spec.config, adapter.config, ("spec", "config"))
    faults += tuple(credential_faults(spec.credentials, adapter, ("spec",), in_file=folder is not None))
    if faults:
        return None, faults
    if folder is not None and spec.credentials:
        spec = msgspec.structs.replace(spec, credentials=tuple(at(each, folder) for each in spec.credentials))
    if isinstance(spec, SourceSpec):
        return ServiceSource(metadata, spec, config), ()
    if spec.adoption != "Never" and not adapter.adopts:
        message = f"the type `{adapter.name}` takes no records over; supported: Never"
        return None, (Fault(("spec", "adoption"), message),)
    return ServiceSink(metadata, spec, config), ()


def credential_faults(
    credentials: tuple[Credential, ...], adapter: AdapterType[Any], within: Path, *, in_file: bool
) -> Iterator[Fault]:
    """Yield what is wrong with an adapter's credentials, listed in what is found at `within`."""
    for place, credential in enumerate(credentials):
        path: Path = (*within, "credentials", place)
        if credential.name not in adapter.credentials:
            known = ", ".join(adapter.credentials) or "none"
            near = meant(credential.name, adapter.credentials)
            message = f"the type `{adapter.name}` has no credential `{credential.name}`; known: {known}{near}"
            yield Fault((*path, "name"), message)
        if in_file and credential.value_from is not None:
            message = "a Secret is read on Kubernetes only; in a file write `file: PATH` or `env: NAME`"
            yield Fault((*path, "valueFrom"), message)
        elif in_file and (credential.file is None) == (credential.env is None):
            yield Fault(path, "exactly one of `file: PATH` and `env: NAME` is required")
        elif not in_file and (credential.value_from is None or credential.file or credential.env):
            yield Fault(path, "on Kubernetes a credential is `valueFrom: {secretKeyRef: {name: …, key: …}}`")


def at(credential: Credential, folder: FilePath) -> Credential:
    """Return the credential with its file's full path: a relative one begins at the manifest's folder."""
    if credential.file is None:
        return credential
    return msgspec.structs.replace(credential, file=str(folder / credential.file))


# --- what depends on other documents ----------------------------------------------------------------------------------


def resolve(
    registration: ServiceRegistration, source_types: Mapping[str, str], sink_types: Mapping[str, str], types: Types
) -> tuple[ServiceRegistration | None, tuple[Fault, ...]]:
    """Return the registration with `options` and `instances` decoded, or what is wrong with them.

    The mappings give the type of each source and sink there is; what refers to none of them stays as it is.
    """
    faults: list[Fault] = []
    entries = tuple(
        _with_options(entry, place, sink_types, types, faults) for place, entry in enumerate(registration.spec.sinks)
    )
    declared = []
    for place, entry in enumerate(registration.spec.sources):
        if entry.instances is None or (name := source_types.get(entry.source_ref.name)) is None:
            continue
        if not types.find("sources", name).declares:
            message = (
                f"`{entry.source_ref.name}` is of type `{name}`, which finds its instances itself; "
                "they are declared under a source of a type such as `static`"
            )
            faults.append(Fault(("spec", "sources", place, "instances"), message))
        declared.append(_service(registration, entry, entry.instances))
    if faults:
        return None, tuple(faults)
    if entries == registration.spec.sinks and not declared:
        return registration, ()
    spec = msgspec.structs.replace(registration.spec, sinks=entries)
    return ServiceRegistration(registration.metadata, spec, tuple(declared)), ()


def _with_options(
    entry: SinkEntry, place: int, sink_types: Mapping[str, str], types: Types, faults: list[Fault]
) -> SinkEntry:
    name = sink_types.get(entry.sink_ref.name)
    if name is None:
        return entry
    options, wrong = convert(entry.options, types.find("sinks", name).options, ("spec", "sinks", place, "options"))
    faults += wrong
    return msgspec.structs.replace(entry, decoded_options=options)


def _service(registration: ServiceRegistration, entry: SourceEntry, instances: tuple[DeclaredInstance, ...]) -> Service:
    name = entry.service.name if entry.service is not None else registration.name
    made = tuple(map(_instance, instances))
    shared = dict(made[0].labels) if made else {}
    for instance in made[1:]:
        shared = {key: text for key, text in shared.items() if instance.labels.get(key) == text}
    return Service(ServiceKey(entry.source_ref.name, registration.namespace, name), shared, made)


def _instance(declared: DeclaredInstance) -> Instance:
    return Instance(
        declared.id,
        tuple(map(_address, declared.addresses)),
        tuple(Port(port.number, port.name or "", port.protocol) for port in declared.ports),
        weight=declared.weight,
        node=declared.node,
        zone=declared.zone,
        labels=declared.labels,
    )


def _address(text: str) -> Address:
    if family(text) == "Hostname":
        return Address(text.lower(), "Hostname")
    return Address(str(ipaddress.ip_address(text)), "Host")
