"""The closed grammar of `names`, `metadata` and tags: literal text with placeholders, and nothing that computes.

    {service} {namespace} {source} {environment} {registration} {port}      {label:K}      {label:K|'default'}
    in metadata and tags also {instance.id} {instance.node} {instance.zone}

A placeholder's value is inserted as it is and never read again, so a label cannot inject a placeholder. Whether the
result is a legal name is for the sink to say, after expansion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

__all__ = ["METADATA", "NAMES", "GrammarError", "MissingLabel", "Placeholder", "Template", "parse"]

NAMES = frozenset({"service", "namespace", "source", "environment", "registration", "port"})
METADATA = NAMES | {"instance.id", "instance.node", "instance.zone"}

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LABEL = re.compile(r"label:([A-Za-z0-9](?:[A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?)(?:\|'([^'{}]*)')?")


class GrammarError(ValueError):
    """The text does not follow the grammar; the message says where and what is allowed."""


class MissingLabel(LookupError):
    """A label without default is absent."""

    def __init__(self, label: str) -> None:
        """Keep the label's name."""
        super().__init__(f"label `{label}` is absent; give a default: {{label:{label}|'…'}}")
        self.label = label


class Placeholder(msgspec.Struct, frozen=True):
    """One placeholder: a field's name, or a label with its default."""

    field: str = ""
    label: str = ""
    default: str | None = None


class Template(msgspec.Struct, frozen=True):
    """A parsed text. `fields` are the placeholders' names that it uses, `labels` the labels."""

    text: str
    parts: tuple[str | Placeholder, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The fields the text depends on."""
        return frozenset(part.field for part in self.parts if isinstance(part, Placeholder) and part.field)

    def expand(self, values: Mapping[str, str], labels: Sequence[Mapping[str, str]]) -> str:
        """Return the text with every placeholder replaced; labels are looked up in the mappings in their order.

        Raises MissingLabel where a label without default is in none of them, KeyError where `values` lacks a field.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            return self.parts[0]
        return "".join(part if isinstance(part, str) else _value(part, values, labels) for part in self.parts)


def _value(part: Placeholder, values: Mapping[str, str], labels: Sequence[Mapping[str, str]]) -> str:
    if part.field:
        return values[part.field]
    for mapping in labels:
        if (found := mapping.get(part.label)) is not None:
            return found
    if part.default is None:
        raise MissingLabel(part.label)
    return part.default


@lru_cache(maxsize=65_536)
def parse(text: str, allowed: frozenset[str]) -> Template:
    """Parse a text in which the fields of `allowed`, and labels, may stand. Raises GrammarError."""
    parts: list[str | Placeholder] = []
    at = 0
    for match in _PLACEHOLDER.finditer(text):
        if match.start() > at:
            parts.append(_literal(text, at, match.start()))
        parts.append(_placeholder(match[1], allowed))
        at = match.end()
    if at < len(text) or not parts:
        parts.append(_literal(text, at, len(text)))
    return Template(text, tuple(parts))


def _literal(text: str, start: int, end: int) -> str:
    literal = text[start:end]
    if brace := re.search("[{}]", literal):
        raise GrammarError(f"`{text}`: a brace without its pair at character {start + 1 + brace.start()}")
    return literal


def _placeholder(inner: str, allowed: frozenset[str]) -> Placeholder:
    if inner in allowed:
        return Placeholder(field=inner)
    if match := _LABEL.fullmatch(inner):
        return Placeholder(label=match[1], default=match[2])
    known = ", ".join(f"{{{name}}}" for name in sorted(allowed))
    raise GrammarError(f"unknown placeholder `{{{inner}}}`; known: {known}, {{label:K}}, {{label:K|'default'}}")
