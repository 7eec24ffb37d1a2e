"""From a service and a registration to what a sink is shown.

Names, addresses, ports, readiness, weight, metadata and path. Pure.

A `Showing` is a publication with the rules that made it. `present` turns one instance into what is published of it, or
says why nothing is, and on whose account (a fact of the source, a verdict, an edit): the plan needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from waypost.engine import grants
from waypost.kit.grammar import MissingLabel, Placeholder
from waypost.model import (
    Address,
    Hop,
    Instance,
    Port,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
    family,
)

if TYPE_CHECKING:
    from waypost.engine.match import Compiled, EntryRule, SourceRule
    from waypost.engine.policy import Cause
    from waypost.kit.cidrs import Allowed

__all__ = ["Far", "Near", "Showing", "Withheld", "contact", "expand_names", "may_name", "present", "show"]

MAX_HOPS = 4
MAX_WEIGHT = 65_535


class Near(msgspec.Struct, frozen=True):
    """What the engine knows of a source, as far as publishing needs it."""

    environment: str
    allowed: Any  # kit.cidrs.Allowed
    grants: Sequence[Any] = ()


class Far(msgspec.Struct, frozen=True):
    """What the engine knows of a sink, as far as publishing needs it."""

    environment: str
    owner: str
    accepts: frozenset[str]
    allowed: Any  # kit.cidrs.Allowed
    restricted: bool = False  # the sink has allowedCIDRs of its own
    grants: Sequence[Any] = ()
    reserved: Sequence[str] = ()
    adopts: bool = False  # registrations may ask that the same, which is nobody's, becomes ours


class Withheld(msgspec.Struct, frozen=True):
    """Nothing is published of an instance; `problem` where a person should do something about it.

    `keeps`: what is published of it already stays, for it is refused and not gone.
    """

    cause: Cause
    reason: str
    problem: bool = False
    keeps: bool = False


class Showing:
    """A publication and the rules that made it. `refused` says why nothing of it may be written or deleted."""

    __slots__ = ("compiled", "entry", "far", "near", "port_names", "publication", "refused", "rule", "weighted")

    def __init__(
        self, publication: Publication, compiled: Compiled, rule: SourceRule, entry: EntryRule, near: Near, far: Far
    ) -> None:
        self.publication = publication
        self.compiled = compiled
        self.rule = rule
        self.entry = entry
        self.near = near
        self.far = far
        self.refused = ""
        self.port_names: frozenset[str] | None = None  # those the names speak of; None: no name has {port}
        self.weighted = rule.share is not None

    @property
    def wants(self) -> set[str]:
        """The names that it asks for. One that is refused asks for none: it keeps those under which it has records."""
        return set() if self.refused else {name.name for name in self.publication.names}

    def same(self, other: Showing) -> bool:
        """Say whether all instances look the same through both."""
        return (
            self.publication == other.publication
            and self.compiled.registration.spec is other.compiled.registration.spec
            and self.rule.name == other.rule.name
            and self.refused == other.refused
            and self.near == other.near
            and self.far == other.far
        )


def show(
    compiled: Compiled,
    rule: SourceRule,
    entry: EntryRule,
    key: ServiceKey,
    labels: Mapping[str, str],
    instances: Mapping[str, Instance],
    near: Near,
    far: Far,
) -> Showing:
    """Make the showing of one service in one entry.

    What is not allowed or cannot be named is `refused`, with the reason.
    """
    spec = compiled.registration.spec
    refused = ""
    names: tuple[PublishedName, ...] = ()
    ports = _port_names(spec.ports, entry, instances) if any("port" in name.fields for name in entry.names) else None
    try:
        names = expand_names(entry, compiled, key, labels, near.environment, ports)
    except MissingLabel as error:
        refused = f"names: {error}"
    publication = Publication(
        key=PublicationKey(compiled.key, entry.name, key),
        names=names,
        environment=near.environment,
        owner=far.owner,
        labels=labels,
        strategy=spec.strategy,
        ttl_seconds=entry.ttl_seconds,
        options=entry.options,
    )
    showing = Showing(publication, compiled, rule, entry, near, far)
    showing.port_names = ports
    showing.refused = refused or _refusal(compiled, key, names, near, far)
    return showing


def _refusal(compiled: Compiled, key: ServiceKey, names: Sequence[PublishedName], near: Near, far: Far) -> str:
    namespace = compiled.registration.metadata.namespace
    if near.environment not in far.accepts:
        return f"the sink accepts {', '.join(sorted(far.accepts))}, and the source's environment is {near.environment}"
    if not grants.may_read(near.grants, namespace, key.namespace):
        return grants.not_readable(namespace, key.namespace)
    for name in names:
        if reason := grants.may_publish(far.grants, far.reserved, namespace, name.name):
            return reason
    return ""


def expand_names(
    entry: EntryRule,
    compiled: Compiled,
    key: ServiceKey,
    labels: Mapping[str, str],
    environment: str,
    ports: frozenset[str] | None,
) -> tuple[PublishedName, ...]:
    """Return the names, in the manifest's order and without doubles. Raises MissingLabel."""
    values = _values(compiled, key, environment)
    names: dict[PublishedName, None] = {}
    for template in entry.names:
        if "port" in template.fields:
            for port in sorted(ports or ()):
                names[PublishedName(template.expand({**values, "port": port}, (labels,)), port)] = None
        else:
            names[PublishedName(template.expand(values, (labels,)))] = None
    return tuple(names)


def may_name(
    entry: EntryRule,
    compiled: Compiled,
    key: ServiceKey,
    near: Near | None,
    name: str,
    canonical: Callable[[str], str],
) -> bool:
    """Say whether a service of which only the key is known may have a name: ports and labels could be anything.

    `name` is in the sink's `canonical` form.
    """
    values = _values(compiled, key, near.environment) if near is not None else {}
    for template in entry.names:
        asked = [part for part in template.parts if isinstance(part, Placeholder)]
        if any(part.label or part.field not in values for part in asked):
            return True
        if canonical(template.expand(values, ())) == name:
            return True
    return False


def _values(compiled: Compiled, key: ServiceKey, environment: str) -> dict[str, str]:
    return {
        "service": key.name,
        "namespace": key.namespace,
        "source": key.source,
        "environment": environment,
        "registration": compiled.registration.metadata.name,
    }


def _port_names(rules: Sequence[Any], entry: EntryRule, instances: Mapping[str, Instance]) -> frozenset[str]:
    if rules:
        names = {rule.name for rule in rules}
    else:
        names = {port.name for instance in instances.values() for port in instance.ports if port.name}
    return frozenset(names if entry.ports is None else names & entry.ports)


def present(
    showing: Showing,
    instance: Instance,
    *,
    verdict: bool | None,
    was_there: bool,
    was_ready: bool,
    draining_seconds: float | None,
    ready_count: int,
) -> PublishedInstance | Withheld:
    """Return what is published of an instance.

    `verdict` True where no check is asked for, None where there is none yet. `was_there`: something of it is published,
    `was_ready`: as ready. `draining_seconds`: for how long it has been draining; None: for longer than anyone knows.
    """
    if showing.rule.share == 0:
        return Withheld("edit", f"source entry `{showing.rule.name}` has weight 0")
    if reason := _loop(showing, instance):
        return Withheld("edit", reason, problem=True)
    addresses, reason, refused = _addresses(showing, instance)
    if not addresses:
        return Withheld("source", reason, problem=True, keeps=refused)
    spec = showing.compiled.registration.spec
    ports = _ports(spec.ports, showing.entry.ports, instance.ports)
    if not ports and (spec.ports or showing.entry.ports is not None):
        return Withheld("source", "none of its ports is one that the registration asks for", problem=True)
    if instance.readiness == "draining":
        if not was_there or draining_seconds is None or draining_seconds >= spec.drain_seconds:
            return Withheld("source", "it is draining")
        ready = False
    else:
        ready, cause, reason = _readiness(instance, verdict=verdict, was_ready=was_ready)
        if not ready and showing.entry.not_ready == "Withhold":
            return Withheld(cause, reason)
    labels: Mapping[str, str] = instance.labels
    if showing.publication.labels and showing.publication.labels != labels:
        labels = {**showing.publication.labels, **instance.labels}
    return PublishedInstance(
        id=instance.id,
        addresses=addresses,
        ports=ports,
        ready=ready,
        weight=_weight(instance.weight, showing.rule.share, ready_count),
        node=instance.node,
        zone=instance.zone,
        labels=labels,
        metadata=_metadata(showing, instance, labels),
        path=(*instance.path, Hop(showing.near.environment, showing.far.owner)),
    )


def contact(showing: Showing, instance: Instance, wanted: int | str | None) -> tuple[str, int] | str:
    """Return the published address and the port at which an instance is checked, or why it cannot be.

    `wanted` is a port's number, or the name that the registration gives it; None: the first that is published, and TCP.
    """
    addresses, reason, _ = _addresses(showing, instance)
    if not addresses:
        return reason
    if isinstance(wanted, int):
        return addresses[0].value, wanted
    spec = showing.compiled.registration.spec
    ports = _ports(spec.ports, showing.entry.ports if wanted is None else None, instance.ports)
    number = next((p.number for p in ports if (p.protocol == "tcp" if wanted is None else p.name == wanted)), None)
    if number is None:
        return f"it has no port `{wanted}`" if wanted is not None else "it has no TCP port"
    return addresses[0].value, number


def _readiness(instance: Instance, *, verdict: bool | None, was_ready: bool) -> tuple[bool, Cause, str]:
    if instance.readiness == "not-ready":
        return False, "source", "its source says that it is not ready"
    if instance.readiness == "unknown" and not was_ready:
        return False, "source", "its source does not know whether it is ready"
    if verdict is None:
        return was_ready, "health", "it has not been checked yet"
    return verdict, "health", "its health check fails"


def _loop(showing: Showing, instance: Instance) -> str:
    if not instance.path:
        return ""
    if len(instance.path) >= MAX_HOPS:
        return f"it came by {len(instance.path)} hops; {MAX_HOPS} is the most"
    for hop in instance.path:
        if hop.owner == showing.far.owner or hop.environment == showing.far.environment:
            return f"it came from {hop.environment}/{hop.owner}, where this sink writes: publishing it would be a loop"
    return ""


def _addresses(showing: Showing, instance: Instance) -> tuple[tuple[Address, ...], str, bool]:
    """Return the addresses to publish; where there are none, why, and whether allowedCIDRs refused any."""
    refused = False
    wanted = showing.rule.addresses
    reason = "it has no address"
    chosen = []
    near: Allowed = showing.near.allowed
    for address in instance.addresses:
        if wanted is not None:
            if wanted.types and address.type not in wanted.types:
                reason = f"it has no address of type {', '.join(wanted.types)}"
                continue
            if wanted.families and family(address.value) not in wanted.families:
                reason = f"it has no address of family {', '.join(wanted.families)}"
                continue
        refusal = near.refusal(address.value)
        if refusal is None and showing.far.restricted:
            refusal = showing.far.allowed.refusal(address.value)
        if refusal is not None:
            reason, refused = refusal, True
            continue
        chosen.append(address)
    if wanted is not None and wanted.types and len(chosen) > 1:
        chosen.sort(key=lambda address: wanted.types.index(address.type))
    return tuple(chosen), reason, refused


def _ports(rules: Sequence[Any], wanted: frozenset[str] | None, ports: tuple[Port, ...]) -> tuple[Port, ...]:
    if rules:
        found = []
        for rule in rules:
            if wanted is not None and rule.name not in wanted:
                continue
            if (port := _match_port(rule.match, ports)) is not None:
                found.append(Port(port.number, rule.name, port.protocol))
        return tuple(found)
    return ports if wanted is None else tuple(port for port in ports if port.name in wanted)


def _match_port(match: Any, ports: tuple[Port, ...]) -> Port | None:
    if match.name is not None:
        return next((port for port in ports if port.name == match.name), None)
    if match.index is not None:
        return ports[match.index] if match.index < len(ports) else None
    return next((port for port in ports if port.number == match.number), None)


def _weight(own: int, share: float | None, ready: int) -> int:
    if share is None:
        return own
    return min(MAX_WEIGHT, max(1, round(own * share / max(1, ready)))) if own else 0


def _metadata(showing: Showing, instance: Instance, labels: Mapping[str, str]) -> Mapping[str, str]:
    templates = showing.entry.metadata
    if not templates:
        return {}
    key = showing.publication.key
    values = {
        "service": key.service.name,
        "namespace": key.service.namespace,
        "source": key.service.source,
        "environment": showing.near.environment,
        "registration": showing.publication.registration,
        "port": instance.ports[0].name if instance.ports else "",
        "instance.id": instance.id,
        "instance.node": instance.node,
        "instance.zone": instance.zone,
    }
    metadata = {}
    for name, template in templates.items():
        try:
            metadata[name] = template.expand(values, (labels,))
        except MissingLabel:
            continue  # an absent label leaves its key out; a default keeps it
    return metadata
