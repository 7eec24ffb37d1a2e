"""Every way in which one value of a spec can have the wrong shape: made from the struct's types and a good spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import inspect

from waypost.settings.reference import fields

LISTS = inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType


def mutations(value: Any, info: inspect.Type, path: str = "spec") -> Iterator[tuple[str, Any]]:
    """Yield the way to a value with what was done to it there, and the whole with that done."""
    info = _bare(info)
    for what, made in _wrong(value, info):
        yield f"{path}: {what}", made
    if isinstance(info, inspect.StructType):
        for part in fields(info):
            if part.encode_name in value:
                below = mutations(value[part.encode_name], part.type, f"{path}.{part.encode_name}")
                yield from ((at, {**value, part.encode_name: made}) for at, made in below)
    elif isinstance(info, LISTS) and value:
        below = mutations(value[0], info.item_type, f"{path}[0]")
        yield from ((at, [made, *value[1:]]) for at, made in below)
    elif isinstance(info, inspect.DictType) and value and not isinstance(info.value_type, inspect.AnyType):
        key, item = next(iter(value.items()))
        yield from ((at, {**value, key: made}) for at, made in mutations(item, info.value_type, f"{path}.{key}"))


def _bare(info: inspect.Type) -> inspect.Type:
    if isinstance(info, inspect.Metadata):
        return _bare(info.type)
    if isinstance(info, inspect.UnionType):
        parts = [part for part in info.types if not isinstance(part, inspect.NoneType)]
        return _bare(parts[0]) if len(parts) == 1 else info
    return info


def _wrong(value: Any, info: inspect.Type) -> Iterator[tuple[str, Any]]:
    if isinstance(info, inspect.UnionType):
        yield from (("of no such type", True), ("of no such type", {}))
        for part in info.types:
            yield from (each for each in _wrong(value, part) if isinstance(each[1], str | int))
    elif isinstance(info, inspect.LiteralType):
        yield from (("none of those", "nonesuch"), ("a number", 7))
    elif isinstance(info, inspect.StrType):
        yield from _wrong_text(value, info)
    elif isinstance(info, inspect.IntType | inspect.FloatType):
        yield from _wrong_number(info)
    elif isinstance(info, inspect.BoolType):
        yield from (("text", "true"), ("a number", 1))
    else:
        yield from _wrong_collection(value, info)


def _wrong_text(value: Any, info: inspect.StrType) -> Iterator[tuple[str, Any]]:
    yield from (("a number", 7), ("a list", ["a"]))
    if info.min_length or info.pattern:
        yield "empty", ""
    if info.max_length is not None:
        yield "too long", "a" * (info.max_length + 1)
    if info.pattern:
        yield from (("with a space", "a b"), ("with a line's end", f"{value}\n"))


def _wrong_number(info: inspect.IntType | inspect.FloatType) -> Iterator[tuple[str, Any]]:
    yield from (("text", "7"), ("true", True))
    if isinstance(info, inspect.IntType):
        yield "a fraction", 1.5
    if info.ge is not None:
        yield "too small", info.ge - 1
    if info.le is not None:
        yield "too large", info.le + 1


def _wrong_collection(value: Any, info: inspect.Type) -> Iterator[tuple[str, Any]]:
    if isinstance(info, LISTS):
        yield from (("a mapping", {}), ("text", "a"))
        if info.min_length:
            yield "empty", []
        if info.max_length is not None and value:
            yield "too many", [_named(value[0], place) for place in range(info.max_length + 1)]
    elif isinstance(info, inspect.DictType):
        yield from (("a list", []), ("text", "a"))
        if info.max_length is not None and value:
            yield "too many", {f"k{place}": next(iter(value.values())) for place in range(info.max_length + 1)}
    elif isinstance(info, inspect.StructType):
        yield from (("text", "a"), ("a list", []), ("an unknown field", {**value, "nonesuch": 1}))
        for part in fields(info):
            if part.required:
                yield f"without {part.encode_name}", {k: item for k, item in value.items() if k != part.encode_name}


def _named(item: Any, place: int) -> Any:
    """Return an item of a list as one of many: those that are told apart by a name have another each."""
    if isinstance(item, Mapping):
        return {**item, **{key: f"n{place}" for key in ("name", "id") if isinstance(item.get(key), str)}}
    return item


def covered(value: Any, info: inspect.Type, path: str = "") -> Iterator[str]:
    """Yield every field of the types that the value has."""
    info = _bare(info)
    if isinstance(info, inspect.StructType):
        for part in fields(info):
            if part.encode_name in value:
                yield f"{path}.{part.encode_name}"
                yield from covered(value[part.encode_name], part.type, f"{path}.{part.encode_name}")
    elif isinstance(info, LISTS):
        for item in value:
            yield from covered(item, info.item_type, path)


def all_fields(info: inspect.Type, path: str = "") -> Iterator[str]:
    """Yield every field of the types."""
    info = _bare(info)
    if isinstance(info, inspect.StructType):
        for part in fields(info):
            yield f"{path}.{part.encode_name}"
            yield from all_fields(part.type, f"{path}.{part.encode_name}")
    elif isinstance(info, LISTS):
        yield from all_fields(info.item_type, path)
