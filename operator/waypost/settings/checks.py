"""What types cannot say about a spec: rules between fields, templates, networks. Pure: a spec in, faults out.

Also what later versions bring: it has its place in the structs already and is refused here, by name, until it works.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from waypost.kit import grammar
from waypost.model import family
from waypost.settings.documents import Path
from waypost.settings.explain import Fault, meant
from waypost.settings.kinds import HoldSpec, MirrorSpec, SinkSpec, SourceSpec
from waypost.settings.registration import (
    DeclaredInstance,
    HealthCheck,
    PortMatch,
    RegistrationSpec,
    SourceEntry,
    TcpCheck,
)

__all__ = ["check"]

_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CHECKS = ("http_get", "tcp_socket", "grpc", "dns", "ping", "message")
_CHECK_NAMES = "httpGet, tcpSocket, grpc, dns, ping, message"


def check(spec: Any) -> Iterator[Fault]:
    """Yield what is wrong with a spec that its types have accepted; paths begin at the spec."""
    rules = _RULES.get(type(spec))
    if rules is not None:
        yield from rules(spec)


# --- sources and sinks ----------------------------------------------------------------------------------------------


def _source(spec: SourceSpec) -> Iterator[Fault]:
    yield from _cidrs(spec.allowed_cidrs)
    yield from _unique(spec.credentials, "credentials")


def _sink(spec: SinkSpec) -> Iterator[Fault]:
    yield from _cidrs(spec.allowed_cidrs)
    yield from _unique(spec.credentials, "credentials")
    if spec.accepts.mirrored:
        yield _later(("accepts", "mirrored"), "taking what mirrors show")


def _cidrs(cidrs: Sequence[str]) -> Iterator[Fault]:
    for place, text in enumerate(cidrs):
        if message := _no_network(text):
            yield Fault(("allowedCIDRs", place), message)


def _no_network(text: str) -> str:
    """Return what is wrong with a network as text; empty where nothing is."""
    _, slash, prefix = text.partition("/")
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        found = None
    if found is None or (slash and not prefix.isdecimal()):  # 10.0.0.0/255.0.0.0 is no CIDR, for Kubernetes neither
        return f"`{text}` is no network; write it like 10.0.0.0/8 or fd00::/8"
    if found.ip != found.network.network_address:
        return f"`{text}` has bits beyond its prefix; the network is {found.network}"
    return ""


# --- registrations --------------------------------------------------------------------------------------------------


def _registration(spec: RegistrationSpec) -> Iterator[Fault]:
    yield from _entries(spec.sources)
    yield from _unique(spec.sinks, "sinks")
    yield from _unique(spec.ports, "ports")
    yield from _names(spec.names, ("names",))
    for key, text in spec.metadata.items():
        yield from _template(text, grammar.METADATA, ("metadata", key))
    for place, rule in enumerate(spec.ports):
        yield from _one_of(rule.match, PortMatch.__struct_fields__, ("ports", place, "match"), "name, index, number")
    ports = {rule.name for rule in spec.ports}
    for place, entry in enumerate(spec.sinks):
        yield from _names(entry.names or (), ("sinks", place, "names"))
        for at, port in enumerate(entry.ports or ()):
            yield from _known_port(port, ports, ("sinks", place, "ports", at))
    if spec.health_check is not None:
        yield from _health(spec.health_check, ports)


def _entries(entries: Sequence[SourceEntry]) -> Iterator[Fault]:
    yield from _unique(entries, "sources")
    weighted = [entry for entry in entries if entry.weight is not None]
    declared: dict[tuple[str, str | None], int] = {}
    for place, entry in enumerate(entries):
        path: Path = ("sources", place)
        if weighted and entry.weight is None:
            message = f"a weight is on all entries or on none: `{weighted[0].name}` has one, `{entry.name}` has none"
            yield Fault((*path, "weight"), message)
        yield from _chosen(entry, path)
        if entry.instances is None:
            continue
        yield from _instances(entry.instances, (*path, "instances"))
        key = (entry.source_ref.name, entry.service.name if entry.service else None)
        if (first := declared.setdefault(key, place)) != place:
            message = (
                f"entries `{entries[first].name}` and `{entry.name}` declare the same service of `{key[0]}`; "
                "give each a name of its own: `service: {name: …}`"
            )
            yield Fault((*path, "service", "name") if entry.service else (*path, "instances"), message)


def _chosen(entry: SourceEntry, path: Path) -> Iterator[Fault]:
    given = [name for name in ("service", "selector", "instances") if getattr(entry, name) is not None]
    if not given:
        yield Fault(path, "one of service, selector, instances is required")
    elif "selector" in given and len(given) > 1:
        other = " and ".join(name for name in given if name != "selector")
        yield Fault((*path, "selector"), f"only one of service, selector, instances: {other} is there too")
    if entry.service is not None and entry.instances is not None and entry.service.namespace:
        message = "declared instances live in the registration's namespace; leave the field out"
        yield Fault((*path, "service", "namespace"), message)
    selector = entry.selector
    if selector is not None and not (selector.match_labels or selector.namespaces or selector.services):
        message = "an empty selector would select every service; give matchLabels, namespaces or services"
        yield Fault((*path, "selector"), message)


def _instances(instances: Sequence[DeclaredInstance], path: Path) -> Iterator[Fault]:
    yield from _unique(instances, *path, by="id")
    for place, instance in enumerate(instances):
        for at, address in enumerate(instance.addresses):
            if family(address) == "Hostname" and (not _HOST.fullmatch(address) or _is_number(address)):
                message = f"`{address}` is no IPv4 or IPv6 address and no host name"
                yield Fault((*path, place, "addresses", at), message)
            elif "%" in address:
                yield Fault(
                    (*path, place, "addresses", at), f"`{address}`: an address with a zone holds on one machine only"
                )
        named = [port.name for port in instance.ports if port.name is not None]
        for name in _repeated(named):
            yield Fault((*path, place, "ports"), f"the name `{name}` is there twice; each port needs a name of its own")
        for node in ("node", "zone", "id"):
            if _CONTROL.search(getattr(instance, node)):
                yield Fault((*path, place, node), "must not have control characters")


def _is_number(address: str) -> bool:
    """Say whether this looks like an IPv4 address that went wrong."""
    return address.replace(".", "").isdigit()


def _names(names: Iterable[str], path: Path) -> Iterator[Fault]:
    for place, text in enumerate(names):
        at: Path = (*path, place)
        yield from _template(text, grammar.NAMES, at)
        if text.startswith((".", "/")) or text.endswith((".", "/")) or ".." in text or "//" in text:
            message = f"`{text}`: a name is relative to its sink: no `.` or `/` at either end, and no two in a row"
            yield Fault(at, message)
        if _CONTROL.search(text) or text != text.strip():
            yield Fault(at, "a name must not have control characters, or spaces at either end")


def _template(text: str, fields: frozenset[str], path: Path) -> Iterator[Fault]:
    try:
        grammar.parse(text, fields)
    except grammar.GrammarError as error:
        yield Fault(path, str(error))


def _health(check: HealthCheck, ports: set[str]) -> Iterator[Fault]:
    path: Path = ("healthCheck",)
    yield from _one_of(check, _CHECKS, path, _CHECK_NAMES)
    for name in _CHECKS:
        if getattr(check, name) is not None and name != "tcp_socket":
            wire = {"http_get": "httpGet"}.get(name, name)
            yield _later((*path, wire), f"`{wire}`", "tcpSocket")
    if check.timeout_seconds > check.period_seconds:
        message = (
            f"{check.timeout_seconds} is more than periodSeconds, {check.period_seconds}: a check would overtake itself"
        )
        yield Fault((*path, "timeoutSeconds"), message)
    if isinstance(check.tcp_socket, TcpCheck) and isinstance(check.tcp_socket.port, str):
        yield from _known_port(check.tcp_socket.port, ports, (*path, "tcpSocket", "port"))


def _known_port(port: str, ports: set[str], path: Path) -> Iterator[Fault]:
    if ports and port not in ports:
        message = (
            f"no port of spec.ports is named `{port}`; named there: {', '.join(sorted(ports))}{meant(port, ports)}"
        )
        yield Fault(path, message)


# --- the rest -------------------------------------------------------------------------------------------------------


def _mirror(_: MirrorSpec) -> Iterator[Fault]:
    yield Fault((), "ServiceMirror is not supported yet: nothing is mirrored; take the document out of the set for now")


def _hold(spec: HoldSpec) -> Iterator[Fault]:
    if spec.decision == "Approve" and not spec.reason.strip():
        yield Fault(("reason",), "an approval needs a reason, for whoever reads it later")


def _later(path: Path, what: str, now: str = "") -> Fault:
    return Fault(path, f"{what} is not supported yet{f'; supported: {now}' if now else ''}")


def _unique(items: Iterable[Any], *path: str | int, by: str = "name") -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for place, item in enumerate(items):
        name = getattr(item, by)
        if (first := seen.setdefault(name, place)) != place:
            yield Fault((*path, place, by), f"`{name}` is there twice; item {first} has that {by} too")


def _one_of(part: Any, names: Iterable[str], path: Path, words: str) -> Iterator[Fault]:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        yield Fault(path, f"exactly one of {words} is required, {len(given) or 'none'} given")


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


_RULES: Mapping[type, Callable[[Any], Iterator[Fault]]] = {
    SourceSpec: _source,
    SinkSpec: _sink,
    RegistrationSpec: _registration,
    MirrorSpec: _mirror,
    HoldSpec: _hold,
}
