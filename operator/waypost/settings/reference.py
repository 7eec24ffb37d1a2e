"""The tables of fields in docs/manifests.md, made from the structs' docstrings, types and defaults.

The text between the marks of a kind is replaced; all else in the file is written by people.
"""

from __future__ import annotations

import inspect as python
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from waypost.settings.kinds import KINDS
from waypost.settings.words import describe

__all__ = ["described", "documented", "fields", "renew", "renewed", "table"]

_ATTRIBUTE = re.compile(r"^(\w+): ", re.MULTILINE)


def documented(cls: type) -> tuple[str, dict[str, str]]:
    """Return what a struct's docstring says of it, and of each attribute."""
    head, _, rest = (python.getdoc(cls) or "").partition("\n\nAttributes:\n")
    parts = _ATTRIBUTE.split(textwrap.dedent(rest))[1:]
    attributes = {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return " ".join(head.split()), attributes


def fields(info: inspect.StructType) -> tuple[inspect.Field, ...]:
    """Return the fields that a manifest can have."""
    return tuple(part for part in info.fields if part.encode_name.isprintable())


def described(cls: type, part: inspect.Field) -> str:
    """Return what a field is for, and its default where that says something."""
    text = documented(cls)[1][part.name]
    default = part.default
    if default in (msgspec.NODEFAULT, None, "", ()) or isinstance(default, msgspec.Struct):
        return text
    return f"{text} Default: {', '.join(default) if isinstance(default, tuple) else default}."


def table(kind: str) -> str:
    """Return the tables of a kind's spec and of its parts, in the order in which they are met."""
    info = inspect.type_info(KINDS[kind][1])
    assert isinstance(info, inspect.StructType)
    return "\n\n".join(_tables("spec", info))


def _tables(name: str, info: inspect.StructType) -> Iterator[str]:
    head, _ = documented(info.cls)
    if fields(info):
        rows = [f"### `{name}`", "", head, "", "| field | what it takes | what it is for |", "|---|---|---|"]
        for part in fields(info):
            required = ", required" if part.required else ""
            rows.append(
                f"| `{part.encode_name}` | {_takes(part.type)}{required} | {_cell(described(info.cls, part))} |"
            )
        yield "\n".join(rows)
    for part in fields(info):
        found = _part(part.type)
        if found is not None:
            suffix, below = found
            yield from _tables(f"{name}.{part.encode_name}{suffix}", below)


def _part(info: inspect.Type) -> tuple[str, inspect.StructType] | None:
    if isinstance(info, inspect.StructType):
        return "", info
    if isinstance(info, inspect.VarTupleType) and isinstance(info.item_type, inspect.StructType):
        return "[]", info.item_type
    if isinstance(info, inspect.UnionType):
        return next(filter(None, map(_part, info.types)), None)
    return None


def _takes(info: inspect.Type) -> str:
    if isinstance(info, inspect.UnionType):
        return " or ".join(_takes(part) for part in info.types if not isinstance(part, inspect.NoneType))
    if isinstance(info, inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in info.values)
    if isinstance(info, inspect.VarTupleType) and not isinstance(info.item_type, inspect.StructType):
        return _cell(f"{describe(info)}: {_takes(info.item_type)}")
    return _cell(describe(info))


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|")


def renewed(text: str) -> str:
    """Return the reference with every kind's tables as the structs have them now."""
    for kind in KINDS:
        begin, end = f"<!-- fields of {kind} -->", f"<!-- end of {kind} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"the reference lacks the marks `{begin}` and `{end}`")
        text = f"{before}{begin}\n\n{table(kind)}\n\n{end}{after}"
    return text


def renew(document: Path) -> None:
    """Write the tables into the reference."""
    document.write_text(renewed(document.read_text(encoding="utf-8")), encoding="utf-8")
