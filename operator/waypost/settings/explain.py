"""Why a value does not fit a type: every fault with the way to it, what is allowed, and what was probably meant.

`convert` decodes with msgspec, which is fast, stops at the first fault and has not much to say of it. Only where it
refuses, the value is walked beside the type and all faults are found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from waypost.settings.documents import Path
from waypost.settings.words import advice, describe, kind

__all__ = ["Fault", "convert", "field", "meant"]

MAX_FAULTS = 20
T = TypeVar("T")

_LISTS = inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType
_PLACE = re.compile(r" - at `\$([^`]*)`\Z")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong in one value."""

    path: Path
    message: str


def field(path: Path) -> str:
    """Return a path as people write it: `spec.sinks[0].names`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def meant(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` where a known word is near, else nothing."""
    known = list(known)
    near = get_close_matches(word, known, 1, 0.6) or [name for name in known if name.lower() == word.lower()]
    return f"; did you mean `{near[0]}`?" if near else ""


def convert(value: Any, to: type[T], path: Path) -> tuple[T | None, tuple[Fault, ...]]:
    """Return the value as that type, or None and at least one fault."""
    try:
        return msgspec.convert(value, to), ()
    except msgspec.ValidationError as error:
        found = tuple(islice(_faults(value, inspect.type_info(to), path), MAX_FAULTS))
        return None, found or (_told(error, value, path),)


def _told(error: msgspec.ValidationError, value: Any, path: Path) -> Fault:
    """Return what msgspec, or a struct's own check, said; `field: …` at its beginning names a field there."""
    message, place = (error.args[0], "")
    if match := _PLACE.search(message):
        message, place = message[: match.start()], match[1]
    for name, index in _STEP.findall(place):
        step = name or (int(index) if index.isdigit() else None)
        if step is None:
            break
        path, value = (*path, step), value[step]
    word, colon, rest = message.partition(": ")
    if colon and isinstance(value, Mapping) and word in value:
        return Fault((*path, word), rest)
    return Fault(path, message)


def _faults(value: Any, info: inspect.Type, path: Path) -> Iterator[Fault]:
    """Yield what is wrong with a value beside its type; nothing for types that are not known here."""
    if isinstance(info, inspect.Metadata):
        yield from _faults(value, info.type, path)
    elif isinstance(info, inspect.UnionType):
        yield from _union_faults(value, info, path)
    elif not _is_of(value, info):
        yield Fault(path, f"expected {describe(info)}, got {kind(value)}{advice(value, info)}")
    elif isinstance(info, inspect.StructType):
        yield from _struct_faults(value, info, path)
    elif isinstance(info, inspect.DictType | _LISTS):
        yield from _collection_faults(value, info, path)
    elif isinstance(info, inspect.LiteralType):
        if value not in info.values:
            known = [str(name) for name in info.values]
            message = f"`{_short(value)}` is not allowed; allowed: {', '.join(known)}{meant(str(value), known)}"
            yield Fault(path, message)
    elif isinstance(info, inspect.StrType | inspect.IntType | inspect.FloatType) and not _fits(value, info):
        yield Fault(path, f"expected {describe(info)}")


def _collection_faults(value: Any, info: Any, path: Path) -> Iterator[Fault]:
    if (info.min_length or 0) > len(value) or (info.max_length is not None and len(value) > info.max_length):
        yield Fault(path, f"expected {describe(info)}, got {len(value)}")
    if isinstance(info, inspect.DictType):
        for key, item in value.items():
            for fault in _faults(key, info.key_type, (*path, key)):
                yield Fault(fault.path, f"as a key: {fault.message}")
            yield from _faults(item, info.value_type, (*path, key))
    else:
        for place, item in enumerate(value):
            yield from _faults(item, info.item_type, (*path, place))


def _struct_faults(value: Any, info: inspect.StructType, path: Path) -> Iterator[Fault]:
    fields = {part.encode_name: part for part in info.fields if part.encode_name.isprintable()}
    for name, item in value.items():
        if name in fields:
            yield from _faults(item, fields[name].type, (*path, name))
        elif info.forbid_unknown_fields:
            near = meant(name, (known for known in fields if known not in value))
            yield Fault((*path, name), f"unknown field `{_short(name)}`{near or _known(fields)}")
    for name, part in fields.items():
        if part.required and name not in value:
            yield Fault((*path, name), f"the field `{name}` is required")


def _union_faults(value: Any, info: inspect.UnionType, path: Path) -> Iterator[Fault]:
    fitting = [part for part in info.types if _is_of(value, part)]
    if not fitting:
        yield Fault(path, f"expected {describe(info)}, got {kind(value)}{advice(value, info)}")
        return
    yield from min((list(_faults(value, part, path)) for part in fitting), key=len)


_JSON = {
    inspect.StrType: str,
    inspect.BoolType: bool,
    inspect.DictType: Mapping,
    inspect.StructType: Mapping,
    inspect.ListType: list,
    inspect.VarTupleType: list,
    inspect.SetType: list,
    inspect.FrozenSetType: list,
}


def _is_of(value: Any, info: inspect.Type) -> bool:
    """Say whether a value is of the JSON type that the type needs; True where that is not known here."""
    if isinstance(info, inspect.Metadata):
        return _is_of(value, info.type)
    if isinstance(info, inspect.NoneType):
        return value is None
    if isinstance(info, inspect.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(info, inspect.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(info, inspect.LiteralType):
        return isinstance(value, tuple({type(name) for name in info.values}))
    if isinstance(info, inspect.UnionType):
        return any(_is_of(value, part) for part in info.types)
    expected = _JSON.get(type(info))
    return expected is None or isinstance(value, expected)


def _fits(value: Any, info: inspect.StrType | inspect.IntType | inspect.FloatType) -> bool:
    if isinstance(info, inspect.StrType):
        return (
            (info.min_length or 0) <= len(value)
            and (info.max_length is None or len(value) <= info.max_length)
            and (info.pattern is None or re.search(info.pattern, value) is not None)
        )
    return not (
        (info.ge is not None and value < info.ge)
        or (info.gt is not None and value <= info.gt)
        or (info.le is not None and value > info.le)
        or (info.lt is not None and value >= info.lt)
    )


def _known(fields: Mapping[str, Any]) -> str:
    return f"; known: {', '.join(sorted(fields))}" if fields else "; no field is known here"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 64 else f"{text[:64]}…"
