"""Types and values in words, for a person who wrote a manifest and has never seen a type of ours."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

from waypost.settings.bounds import MEANINGS

__all__ = ["advice", "describe", "kind"]


def describe(info: inspect.Type) -> str:
    """Return a type in words."""
    if isinstance(info, inspect.Metadata):
        return describe(info.type)
    if isinstance(info, inspect.UnionType):
        parts = [part for part in info.types if not isinstance(part, inspect.NoneType)]
        return " or ".join(dict.fromkeys(map(describe, parts)))
    if isinstance(info, inspect.LiteralType):
        return f"one of {', '.join(map(str, info.values))}"
    if isinstance(info, inspect.StrType):
        size = _range(info.min_length, info.max_length, "characters")
        meaning = MEANINGS.get(info.pattern or "", f"matching {(info.pattern or '').replace(chr(92) + 'Z', '$')}")
        return f"text{size}{f': {meaning}' if info.pattern else ''}"
    if isinstance(info, inspect.IntType | inspect.FloatType):
        low, high = info.ge if info.ge is not None else info.gt, info.le if info.le is not None else info.lt
        noun = "a whole number" if isinstance(info, inspect.IntType) else "a number"
        if info.gt is not None or info.lt is not None:
            return f"{noun} greater than {low}" if high is None else f"{noun} between {low} and {high}"
        return f"{noun}{_range(low, high, '')}"
    if isinstance(info, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
        return f"a list{_range(info.min_length, info.max_length, 'items')}"
    if isinstance(info, inspect.DictType):
        return f"a mapping{_range(info.min_length, info.max_length, 'fields')}"
    if isinstance(info, inspect.StructType):
        return "a mapping"
    return "true or false" if isinstance(info, inspect.BoolType) else "another value"


def _range(low: Any, high: Any, unit: str) -> str:
    of, unit = (" of", f" {unit}") if unit else ("", "")
    if high is None:
        return f"{of} at least {low}{unit}" if low else ""
    if not of:
        return f" from {low} to {high}" if low is not None else f" of at most {high}"
    return f"{of} {low} to {high}{unit}" if low else f"{of} at most {high}{unit}"


def kind(value: Any) -> str:
    """Return what a value is."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a whole number", float: "a number", dict: "a mapping", list: "a list"}
    return names.get(type(value), "another value")


def advice(value: Any, info: inspect.Type) -> str:
    """Return what to do where YAML took for a number what was meant as text."""
    parts = info.types if isinstance(info, inspect.UnionType) else (info,)
    wants_text = any(isinstance(part, inspect.StrType | inspect.LiteralType) for part in parts)
    return "; write it in quotes" if wants_text and isinstance(value, bool | int | float) else ""
