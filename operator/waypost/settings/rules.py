"""What a custom resource's schema says beyond types and bounds: rules in CEL, which the API server itself evaluates.

Each says what `waypost.settings.checks` says of the same mistake in a file, so that nobody learns it from a status.
What is not here the operator alone finds: what needs another object, ports of one declared instance that share a name
(the budget of the API server has no room for it), and what is not supported yet.

`self` is the value that a rule stands at; an error names the way to it, but not the value, so a message quotes it where
that helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from waypost.kit import grammar
from waypost.settings.bounds import Credential
from waypost.settings.kinds import HoldSpec, MirrorSpec, RewriteAddress, SinkSpec, SourceSpec
from waypost.settings.registration import (
    DeclaredInstance,
    HealthCheck,
    PortMatch,
    RegistrationSpec,
    Selector,
    SinkEntry,
    SourceEntry,
)

__all__ = ["EACH", "FIELDS", "FILES_ONLY", "PATTERNS", "REQUIRED", "STRUCTS", "Rule"]


class Rule(msgspec.Struct, frozen=True):
    """One rule: `message` is text, or with `computed` an expression that makes it. `at` is a field, as `.weight`."""

    rule: str
    message: str
    computed: bool = False
    at: str = ""

    def schema(self) -> dict[str, Any]:
        """Return it as a schema has it."""
        told = {"messageExpression" if self.computed else "message": self.message}
        return {"rule": self.rule, **told, **({"fieldPath": self.at} if self.at else {})}


FILES_ONLY: Mapping[type, tuple[str, ...]] = {Credential: ("file", "env")}
"""Fields that a custom resource has not."""

REQUIRED: Mapping[type, tuple[str, ...]] = {Credential: ("value_from",)}
"""Fields that a custom resource must have, though a file need not."""


# --- texts ------------------------------------------------------------------------------------------------------------

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_WORD = r"([0-9]*[A-Za-z_]([A-Za-z0-9_-]*[A-Za-z0-9_])?|[0-9]+-[A-Za-z0-9_-]*[A-Za-z0-9_])"  # a label, not all digits
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_V4 = rf"{_BYTE}(\.{_BYTE}){{3}}"
_H = "[0-9A-Fa-f]{1,4}"
_V6 = rf"({_H}:){{7}}{_H}|({_H}:){{6}}{_V4}|({_H}(:{_H}){{0,6}})?::(({_H}:){{0,6}}({_H}|{_V4}))?"
_ADDRESS = rf"^({_V4}|{_V6}|([0-9]+\.)*{_WORD}(\.{_LABEL})*)$"
_PLAIN = r"^[^\x00-\x1f\x7f]*$"

PATTERNS: Mapping[tuple[type, str], str] = {
    (DeclaredInstance, "id"): _PLAIN,
    (DeclaredInstance, "node"): _PLAIN,
    (DeclaredInstance, "zone"): _PLAIN,
    (DeclaredInstance, "addresses"): _ADDRESS,
}
"""Patterns of texts, or of a list's texts, of which there may be too many for a rule."""


def _template(fields: frozenset[str]) -> Rule:
    """Return the rule for a template; `waypost.kit.grammar` says the same."""
    known = "|".join(sorted(name.replace(".", "[.]") for name in fields))
    label = r"label:[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?(\|'[^'{}]*')?"
    named = ", ".join(f"{{{name}}}" for name in sorted(fields))
    told = f"`: an unknown placeholder, or a brace without its pair; known: {named}, {{label:K}}, {{label:K|'default'}}"
    return Rule(rf'self.matches(r"^([^{{}}]|\{{({known}|{label})\}})+$")', f'"`" + self + "{told}"', computed=True)


_NAMES = (
    _template(grammar.NAMES),
    Rule(
        r'!self.matches(r"^[./]|[./]$|[.][.]|//")',
        '"`" + self + "`: a name is relative to its sink: no `.` or `/` at either end, and no two in a row"',
        computed=True,
    ),
    Rule(
        r'self == self.trim() && !self.matches(r"[\x00-\x1f\x7f]")',
        "a name must not have control characters, or spaces at either end",
    ),
)
_NETWORK = (
    Rule(
        "isCIDR(self) || isIP(self)",
        '"`" + self + "` is no network; write it like 10.0.0.0/8 or fd00::/8"',
        computed=True,
    ),
    Rule(
        "!isCIDR(self) || cidr(self) == cidr(self).masked()",
        '"`" + self + "` has bits beyond its prefix; write the network, as 10.0.0.0/8"',
        computed=True,
    ),
)
_KEY = "a key has 1 to {} characters"


# --- what stays as it is ----------------------------------------------------------------------------------------------


def _immutable(field: str, why: str) -> tuple[Rule, ...]:
    return (Rule("self == oldSelf", f"{field} is immutable: {why}"),)


_ANOTHER_SOURCE = "make another ServiceSource, and let registrations name that"
_ANOTHER_SINK = "make another ServiceSink, and let registrations name that"

FIELDS: Mapping[tuple[type, str], tuple[Rule, ...]] = {
    (SourceSpec, "type"): _immutable("type", _ANOTHER_SOURCE),
    (SourceSpec, "environment"): _immutable("environment", _ANOTHER_SOURCE),
    (SinkSpec, "type"): _immutable("type", _ANOTHER_SINK),
    (SinkSpec, "environment"): _immutable("environment", _ANOTHER_SINK),
    (SinkSpec, "owner_id"): _immutable("ownerID", "what is written already carries it; make another ServiceSink"),
    (HoldSpec, "digest"): _immutable("digest", "it names exactly what is decided upon"),
    (Selector, "match_labels"): (Rule("self.all(key, size(key) > 0 && size(key) <= 317)", _KEY.format(317)),),
    (DeclaredInstance, "labels"): (Rule("self.all(key, size(key) > 0 && size(key) <= 317)", _KEY.format(317)),),
    (RegistrationSpec, "metadata"): (Rule("self.all(key, size(key) > 0 && size(key) <= 128)", _KEY.format(128)),),
    (RewriteAddress, "from_"): _NETWORK,
    (RewriteAddress, "to"): _NETWORK,
}
"""Rules of a field's value."""

EACH: Mapping[tuple[type, str], tuple[Rule, ...]] = {
    (SourceSpec, "allowed_cidrs"): _NETWORK,
    (SinkSpec, "allowed_cidrs"): _NETWORK,
    (RegistrationSpec, "names"): _NAMES,
    (SinkEntry, "names"): _NAMES,
    (RegistrationSpec, "metadata"): (_template(grammar.METADATA),),
}
"""Rules of each value of a list or mapping."""


# --- between fields ---------------------------------------------------------------------------------------------------

_WEIGHTS = Rule(
    "self.sources.all(entry, has(entry.weight)) || !self.sources.exists(entry, has(entry.weight))",
    "a weight is on all entries or on none",
    at=".sources",
)
_DECLARED_ONCE = Rule(
    "self.sources.all(one, !has(one.instances) || self.sources.exists_one(other, has(other.instances)"
    " && one.sourceRef.name == other.sourceRef.name && has(one.service) == has(other.service)"
    " && (!has(one.service) || one.service.name == other.service.name)))",
    "two entries declare the same service of the same source; give each a name of its own: `service: {name: …}`",
    at=".sources",
)
_PORTS_KNOWN = Rule(
    "!has(self.ports) || size(self.ports) == 0 || self.sinks.all(entry, !has(entry.ports)"
    " || entry.ports.all(name, self.ports.exists(port, port.name == name)))",
    "an entry's ports must be names of spec.ports",
    at=".sinks",
)
_CHECKS = ("httpGet", "tcpSocket", "grpc", "dns", "ping", "message")


def _checked_port(check: str) -> Rule:
    port = f"self.healthCheck.{check}.port"
    return Rule(
        f"!has(self.ports) || size(self.ports) == 0 || !has(self.healthCheck) || !has(self.healthCheck.{check})"
        f" || !has({port}) || type({port}) != string || self.ports.exists(port, port.name == {port})",
        "no port of spec.ports has that name",
        at=f".healthCheck.{check}.port",
    )


def _at_most_one(*fields: str) -> str:
    return f"[{', '.join(f'has(self.{field})' for field in fields)}].filter(given, given).size()"


STRUCTS: Mapping[type, tuple[Rule, ...]] = {
    RegistrationSpec: (
        _WEIGHTS,
        _DECLARED_ONCE,
        _PORTS_KNOWN,
        *(_checked_port(check) for check in _CHECKS if check != "ping"),
    ),
    MirrorSpec: (_WEIGHTS, _DECLARED_ONCE),
    SourceEntry: (
        Rule(
            "has(self.service) || has(self.selector) || has(self.instances)",
            "one of service, selector, instances is required",
        ),
        Rule(
            "!has(self.selector) || !(has(self.service) || has(self.instances))",
            "only one of service, selector, instances: another is there beside the selector",
            at=".selector",
        ),
        Rule(
            "!has(self.instances) || !has(self.service) || !has(self.service.namespace)"
            " || size(self.service.namespace) == 0",
            "declared instances live in the registration's namespace; leave the field out",
            at=".service.namespace",
        ),
    ),
    Selector: (
        Rule(
            "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.namespaces)"
            " && size(self.namespaces) > 0) || (has(self.services) && size(self.services) > 0)",
            "an empty selector would select every service; give matchLabels, namespaces or services",
        ),
    ),
    PortMatch: (
        Rule(f"{_at_most_one('name', 'index', 'number')} <= 1", "exactly one of name, index, number is required"),
    ),
    HealthCheck: (
        Rule(f"{_at_most_one(*_CHECKS)} == 1", f"exactly one of {', '.join(_CHECKS)} is required"),
        Rule(
            f"(has(self.timeoutSeconds) ? self.timeoutSeconds : {HealthCheck().timeout_seconds}) <="
            f" (has(self.periodSeconds) ? self.periodSeconds : {HealthCheck().period_seconds})",
            "timeoutSeconds is more than periodSeconds: a check would overtake itself",
            at=".timeoutSeconds",
        ),
    ),
    HoldSpec: (
        Rule(
            "!has(self.decision) || self.decision != 'Approve' || (has(self.reason) && size(self.reason.trim()) > 0)",
            "an approval needs a reason, for whoever reads it later",
            at=".reason",
        ),
    ),
    RewriteAddress: (
        Rule(
            "!isCIDR(self.from) || !isCIDR(self.to) || (cidr(self.from).prefixLength() == cidr(self.to).prefixLength()"
            " && cidr(self.from).ip().family() == cidr(self.to).ip().family())",
            "`from` and `to` must be networks of the same size",
        ),
    ),
}
"""Rules of an object, which see several of its fields."""
