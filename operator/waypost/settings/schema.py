"""The custom resource definitions, made from the structs: `python -m waypost.settings.schema crds docs/manifests.md`.

Structural schemas (apiextensions.k8s.io/v1): every value has a type, a bound and a description; only an adapter's own
`config` and `options` are left open. Rules between fields: `waypost.settings.rules`. Policies for `config`:
`waypost.settings.admission`. A test fails when what is committed is not what this makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import inspect

from waypost.plugins import Plugins
from waypost.settings import admission, reference, rules
from waypost.settings.bounds import GROUP, VERSION
from waypost.settings.kinds import KINDS
from waypost.settings.reference import described, documented, fields
from waypost.settings.status import STATUSES

__all__ = ["definition", "main", "text", "write"]

NAMES: Mapping[str, tuple[str, str]] = {
    "ServiceSource": ("servicesources", "ssrc"),
    "ServiceSink": ("servicesinks", "ssink"),
    "ServiceRegistration": ("serviceregistrations", "sreg"),
    "ServiceMirror": ("servicemirrors", "smir"),
    "ServiceHold": ("serviceholds", "shold"),
}
_COMMON = (("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),)
COLUMNS = {
    "ServiceSource": (
        ("Type", "string", ".spec.type"),
        ("Environment", "string", ".spec.environment"),
        ("Mode", "string", ".spec.mode"),
        *_COMMON,
    ),
    "ServiceSink": (
        ("Type", "string", ".spec.type"),
        ("Environment", "string", ".spec.environment"),
        ("Mode", "string", ".spec.mode"),
        *_COMMON,
    ),
    "ServiceRegistration": (
        ("Services", "integer", ".status.services"),
        ("Instances", "integer", ".status.instances"),
        ("Ready Instances", "integer", ".status.readyInstances"),
        ("Programmed", "string", '.status.conditions[?(@.type=="Programmed")].status'),
        *_COMMON,
    ),
    "ServiceMirror": _COMMON,
    "ServiceHold": (
        ("Cause", "string", ".status.cause"),
        ("Sink", "string", ".status.sinkRef.name"),
        ("Removals", "integer", ".status.removals"),
        ("Decision", "string", ".spec.decision"),
    ),
}
_SHOWN = frozenset(path for columns in COLUMNS.values() for _, _, path in columns)
HEADER = "# Made by `make generate` from operator/waypost/settings and the adapters' structs; edit those.\n"


def definition(kind: str) -> dict[str, Any]:
    """Return the custom resource definition of a kind."""
    plural, short = NAMES[kind]
    age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    columns = [{"name": name, "type": of, "jsonPath": path} for name, of, path in COLUMNS[kind]]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["waypost"],
            },
            "scope": "Namespaced" if kind == "ServiceRegistration" else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [*columns, age],
                    "schema": {"openAPIV3Schema": _object(kind)},
                }
            ],
        },
    }


def _object(kind: str) -> dict[str, Any]:
    spec = KINDS[kind][1]
    return {
        "type": "object",
        "description": documented(spec)[0],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
            "kind": {"type": "string", "description": kind},
            "metadata": {"type": "object"},
            "spec": _schema(inspect.type_info(spec)),
            "status": _schema(inspect.type_info(STATUSES[kind])),
        },
    }


def _schema(info: inspect.Type) -> dict[str, Any]:
    """Return the structural schema of a type."""
    if isinstance(info, inspect.Metadata):
        return _schema(info.type)
    if isinstance(info, inspect.StructType):
        return _struct(info)
    if isinstance(info, inspect.UnionType):
        return _union([part for part in info.types if not isinstance(part, inspect.NoneType)])
    if isinstance(info, inspect.LiteralType):
        return {"type": "string", "enum": list(info.values)}
    if isinstance(info, inspect.StrType):
        return {"type": "string", **_some(minLength=info.min_length, maxLength=info.max_length, pattern=_re2(info))}
    if isinstance(info, inspect.IntType):
        return {"type": "integer", "format": "int64", **_some(minimum=info.ge, maximum=info.le)}
    if isinstance(info, inspect.BoolType):
        return {"type": "boolean"}
    if isinstance(info, inspect.VarTupleType):
        bounds = _some(minItems=info.min_length, maxItems=info.max_length)
        return {"type": "array", **bounds, **_keyed(info.item_type), "items": _schema(info.item_type)}
    if isinstance(info, inspect.DictType):
        if isinstance(info.value_type, inspect.AnyType):
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        bounds = _some(maxProperties=info.max_length)
        return {"type": "object", **bounds, "additionalProperties": _schema(info.value_type)}
    raise TypeError(f"no schema for {info}")


def _struct(info: inspect.StructType) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "description": documented(info.cls)[0]}
    parts = [part for part in fields(info) if part.name not in rules.FILES_ONLY.get(info.cls, ())]
    must = rules.REQUIRED.get(info.cls, ())
    if required := [part.encode_name for part in parts if part.required or part.name in must]:
        made["required"] = required
    if parts:
        made["properties"] = {
            part.encode_name: {**_field(info.cls, part), "description": described(info.cls, part)} for part in parts
        }
    return _ruled(made, rules.STRUCTS.get(info.cls, ()))


def _field(cls: type, part: inspect.Field) -> dict[str, Any]:
    """Return a field's schema, with the rules of its value and of each value in it."""
    made = _schema(part.type)
    below = next((made[key] for key in ("items", "additionalProperties") if key in made), None)
    if (pattern := rules.PATTERNS.get((cls, part.name))) is not None:
        (made if below is None else below)["pattern"] = pattern
    if below is not None:
        _ruled(below, rules.EACH.get((cls, part.name), ()))
    if f".spec.{part.encode_name}" in _SHOWN and part.default not in (msgspec.NODEFAULT, None):
        made["default"] = part.default  # a column shows what is in force, not an empty cell
    return _ruled(made, rules.FIELDS.get((cls, part.name), ()))


def _ruled(schema: dict[str, Any], found: Sequence[rules.Rule]) -> dict[str, Any]:
    if found:
        schema["x-kubernetes-validations"] = [rule.schema() for rule in found]
    return schema


def _union(parts: list[inspect.Type]) -> dict[str, Any]:
    if len(parts) == 1:
        return _schema(parts[0])
    schemas = [_schema(part) for part in parts]
    if {schema["type"] for schema in schemas} != {"integer", "string"}:
        raise TypeError(f"no structural schema for {parts}")
    merged = {key: item for schema in schemas for key, item in schema.items() if key not in ("type", "format")}
    return {"x-kubernetes-int-or-string": True, **merged}


def _keyed(item: inspect.Type) -> dict[str, Any]:
    """Say by which field the items of a list are told apart, so that two people may each apply their own."""
    if isinstance(item, inspect.StructType):
        required = {part.encode_name for part in fields(item) if part.required}
        for key in ("name", "id", "type"):
            if key in required:
                return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return {"x-kubernetes-list-type": "atomic"}


def _re2(info: inspect.StrType) -> str | None:
    return info.pattern.replace(r"\Z", "$") if info.pattern is not None else None


def _some(**values: Any) -> dict[str, Any]:
    return {name: item for name, item in values.items() if item is not None}


def text(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return documents as YAML, as they are kept in files and printed."""
    return yaml.safe_dump_all(documents, sort_keys=False, width=120, allow_unicode=True)


def write(folder: Path, types: Plugins) -> None:
    """Write one file a kind, and one with the admission policies for the types' `config`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{GROUP}_{NAMES[kind][0]}.yaml": [definition(kind)] for kind in KINDS}
    for name, documents in {**files, "admissionpolicies.yaml": list(admission.policies(types))}.items():
        (folder / name).write_text(HEADER + text(documents), encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write the definitions into a folder and the tables of fields into the reference."""
    folder, document = map(Path, arguments)
    write(folder, admission.built_in())
    reference.renew(document)


if __name__ == "__main__":
    main(sys.argv[1:])
