"""Admission policies for the `config` of the adapters' types, which the schema of a custom resource leaves open.

A ValidatingAdmissionPolicy a type (admissionregistration.k8s.io/v1, Kubernetes >= 1.30) and its binding, made from the
type's Config struct: unknown and missing fields, types and bounds, and the names of credentials. What a Config's
`__post_init__` refuses the operator alone finds; a type that is not known here passes. An object whose spec is left as
it was is not looked at, so that a newer policy stops nobody from changing labels or taking a finalizer off.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import inspect

from waypost.adapter import AdapterType
from waypost.plugins import BrokenPlugin, Group, Plugins
from waypost.settings.bounds import GROUP
from waypost.settings.reference import fields
from waypost.settings.words import describe

__all__ = ["built_in", "policies", "policy"]

_RESOURCES: Mapping[Group, str] = {"sources": "servicesources", "sinks": "servicesinks"}
_LISTS = inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType
_PYTHON_ONLY = re.compile(r"\(\?[^:i]|\\[1-9ZA]")  # what RE2 does not read; `\Z` is rewritten before


def built_in() -> Plugins:
    """Return the types that come with Waypost itself, whatever else is installed."""
    return Plugins(importlib.metadata.distribution("waypost").entry_points)


def policies(types: Plugins) -> Iterator[dict[str, Any]]:
    """Yield a policy and its binding for every type; none for one that cannot be imported here."""
    for group, plural in _RESOURCES.items():
        for name in types.known(group):
            try:
                adapter = types.find(group, name)
            except BrokenPlugin:
                continue
            yield from policy(plural, adapter)


def policy(plural: str, adapter: AdapterType[Any]) -> Iterator[dict[str, Any]]:
    """Yield the policy and the binding for a type; `plural` is `servicesources` or `servicesinks`."""
    name = f"{adapter.name.replace('_', '-')}.{plural}.{GROUP}"
    info = inspect.type_info(adapter.config)
    assert isinstance(info, inspect.StructType)
    variables: list[dict[str, str]] = []
    config = "object.spec.config"
    rules = [*_struct("config", config, f"has({config})", "spec.config", info, variables), _credentials(adapter)]
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [plural],
                        "scope": "Cluster",
                    }
                ]
            },
            "matchConditions": [
                {"name": "type", "expression": f"object.spec.type == {_text(adapter.name)}"},
                {"name": "changed", "expression": "oldObject == null || object.spec != oldObject.spec"},
            ],
            "variables": variables,
            "validations": [{**rule, "reason": "Invalid"} for rule in rules],
        },
    }
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def _credentials(adapter: AdapterType[Any]) -> dict[str, str]:
    given, names = "object.spec.credentials", _list(adapter.credentials)
    told = _text(f"spec.credentials: the type `{adapter.name}` has no credential `")
    return {
        "expression": f"!has({given}) || {given}.all(each, each.name in {names})",
        "messageExpression": f"{told} + {given}.filter(each, !(each.name in {names}))[0].name"
        f" + {_text(f'`; {_known(adapter.credentials)}')}",
    }


def _struct(
    variable: str, value: str, there: str, path: str, info: inspect.StructType, variables: list[dict[str, str]]
) -> Iterator[dict[str, str]]:
    """Yield the rules of a struct and of what is in it.

    It becomes a variable, an empty mapping where it is absent or something else: that has a rule of its own.
    """
    variables.append({"name": variable, "expression": f"{there} && type({value}) == map ? {value} : dyn({{}})"})
    here = f"variables.{variable}"
    names = sorted(part.encode_name for part in fields(info))
    if info.forbid_unknown_fields:
        yield {
            "expression": f"{here}.all(key, key in {_list(names)})",
            "messageExpression": f"{_text(f'{path}: unknown field `')}"
            f" + {here}.filter(key, !(key in {_list(names)}))[0] + {_text(f'`; {_known(names)}')}",
        }
    for part in fields(info):
        key, at, below = _text(part.encode_name), f"{here}[{_text(part.encode_name)}]", f"{path}.{part.encode_name}"
        if part.required:
            has = f"{key} in {here}"
            yield {
                "expression": has if path == "spec.config" else f"!({there}) || {has}",
                "message": f"{path}: the field `{part.encode_name}` is required",
            }
        if (fits := _fits(at, part.type)) != "true":
            yield {"expression": f"!({key} in {here}) || {fits}", "message": f"{below}: expected {_wanted(part.type)}"}
        if isinstance(nested := _only(part.type), inspect.StructType):
            yield from _struct(f"{variable}_{part.encode_name}", at, f"{key} in {here}", below, nested, variables)


def _only(info: inspect.Type) -> inspect.Type | None:
    """Return what a value is if it is not null; None where there are several possibilities."""
    if isinstance(info, inspect.Metadata):
        return _only(info.type)
    if isinstance(info, inspect.UnionType):
        parts = [part for part in info.types if not isinstance(part, inspect.NoneType)]
        return _only(parts[0]) if len(parts) == 1 else None
    return info


def _fits(value: str, info: inspect.Type, *, deep: bool = False) -> str:
    """Return the expression that says whether a value is of a type; `true` where the type is not known here.

    Of a struct that stands at a field only that it is a mapping: `_struct` looks into it. `deep` looks into it here.
    """
    if isinstance(info, inspect.Metadata):
        return _fits(value, info.type, deep=deep)
    if isinstance(info, inspect.UnionType):
        deep = deep or _only(info) is None
        found = [_fits(value, part, deep=deep) for part in info.types]
        return "true" if "true" in found else f"({' || '.join(found)})"
    if isinstance(info, inspect.LiteralType):
        return f"{value} in {_list(info.values)}"
    if isinstance(info, inspect.StrType):
        return _text_fits(value, info)
    if isinstance(info, inspect.IntType | inspect.FloatType):
        return _number_fits(value, info)
    if isinstance(info, inspect.DictType | _LISTS):
        return _collection_fits(value, info)
    if isinstance(info, inspect.StructType):
        return _struct_fits(value, info) if deep else f"type({value}) == map"
    if isinstance(info, inspect.BoolType):
        return f"type({value}) == bool"
    return f"{value} == null" if isinstance(info, inspect.NoneType) else "true"


def _text_fits(value: str, info: inspect.StrType) -> str:
    found = [f"type({value}) == string"]
    if info.min_length:
        found.append(f"size({value}) >= {info.min_length}")
    if info.max_length is not None:
        found.append(f"size({value}) <= {info.max_length}")
    pattern = (info.pattern or "").replace(r"\Z", "$")
    if pattern and not _PYTHON_ONLY.search(pattern):
        found.append(f"{value}.matches({_text(pattern)})")
    return _all(found)


def _number_fits(value: str, info: inspect.IntType | inspect.FloatType) -> str:
    whole = isinstance(info, inspect.IntType)
    found = [f"type({value}) == int" if whole else f"(type({value}) == int || type({value}) == double)"]
    value = value if whole else f"double({value})"
    for sign, bound in ((">=", info.ge), (">", info.gt), ("<=", info.le), ("<", info.lt)):
        if bound is not None:
            found.append(f"{value} {sign} {int(bound) if whole else float(bound)}")
    return _all(found)


def _collection_fits(value: str, info: Any) -> str:
    is_mapping = isinstance(info, inspect.DictType)
    found = [f"type({value}) == {'map' if is_mapping else 'list'}"]
    if info.min_length:
        found.append(f"size({value}) >= {info.min_length}")
    if info.max_length is not None:
        found.append(f"size({value}) <= {info.max_length}")
    each = f"each{value.count('each')}"
    if is_mapping:
        inside = _all([_fits(each, info.key_type), _fits(f"{value}[{each}]", info.value_type, deep=True)])
    else:
        inside = _fits(each, info.item_type, deep=True)
    return _all(found) if inside == "true" else _all([*found, f"{value}.all({each}, {inside})"])


def _struct_fits(value: str, info: inspect.StructType) -> str:
    found = [f"type({value}) == map"]
    if info.forbid_unknown_fields:
        each = f"each{value.count('each')}"
        found.append(f"{value}.all({each}, {each} in {_list(part.encode_name for part in fields(info))})")
    for part in fields(info):
        key = _text(part.encode_name)
        if part.required:
            found.append(f"{key} in {value}")
        if (fits := _fits(f"{value}[{key}]", part.type, deep=True)) != "true":
            found.append(f"(!({key} in {value}) || {fits})")
    return _all(found)


def _all(found: Iterable[str]) -> str:
    found = [each for each in found if each != "true"]
    return f"({' && '.join(found)})" if len(found) > 1 else "".join(found) or "true"


def _wanted(info: inspect.Type) -> str:
    """Return a type in words, with what is in its lists."""
    only = _only(info)
    if isinstance(only, _LISTS):
        return f"{describe(only)}: {_wanted(only.item_type)}"
    if isinstance(info, inspect.UnionType) and only is None:
        return " or ".join(_wanted(part) for part in info.types if not isinstance(part, inspect.NoneType))
    return describe(info)


def _text(value: Any) -> str:
    """Return a literal of CEL: JSON's escapes are among its own."""
    return json.dumps(value, ensure_ascii=False)


def _list(values: Iterable[Any]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _known(names: Iterable[str]) -> str:
    return f"known: {', '.join(names) or 'none'}"
