"""The custom resource definitions and the reference are what the structs say, and Kubernetes would take them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.settings.test_manifests import ALL
from waypost.settings import KINDS, admission, reference, schema

ROOT = Path(__file__).parents[2]
VALUE_ONLY = {"description", "pattern", "minLength", "maxLength", "minimum", "maximum", "enum", "format"}
KNOWN = VALUE_ONLY | {
    "type", "properties", "required", "items", "additionalProperties", "minItems", "maxItems", "maxProperties",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-validations", "default",
}  # fmt: skip
SCHEMAS = {kind: schema.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind in KINDS}


def test_what_is_committed_is_what_the_structs_say(tmp_path: Path) -> None:
    schema.write(tmp_path, admission.built_in())
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}, "run `make generate`"


def test_the_reference_is_what_the_structs_say() -> None:
    text = (ROOT / "docs/manifests.md").read_text()
    assert reference.renewed(text) == text, "run `make generate`"


def test_every_field_is_described() -> None:
    for kind in KINDS:
        for path, part in walk(SCHEMAS[kind]):
            if path and path[-1] not in ("[]", "{}", "metadata"):
                assert part.get("description"), (kind, path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_structural_and_bounded(kind: str) -> None:
    for path, part in walk(SCHEMAS[kind]):
        assert set(part) <= KNOWN, path
        assert ("type" in part) != ("x-kubernetes-int-or-string" in part), path
        assert not ("properties" in part and "additionalProperties" in part), path
        assert set(part.get("required", ())) <= set(part.get("properties", ())), path
        if part.get("type") == "array":
            assert "maxItems" in part, path
            for key in part.get("x-kubernetes-list-map-keys", ()):
                assert key in part["items"]["required"], path
        if part.get("type") == "string":
            assert "maxLength" in part or "enum" in part or path in (("apiVersion",), ("kind",)), path
        if "pattern" in part:
            assert "\\Z" not in part["pattern"]
            re.compile(part["pattern"])
        if "additionalProperties" in part:
            assert "maxProperties" in part, path


@pytest.mark.parametrize("kind", KINDS)
def test_a_definition_has_its_scope_names_status_and_columns(kind: str) -> None:
    made = schema.definition(kind)
    names = made["spec"]["names"]
    assert made["metadata"]["name"] == f"{names['plural']}.{made['spec']['group']}"
    assert made["spec"]["scope"] == ("Namespaced" if kind == "ServiceRegistration" else "Cluster")
    (version,) = made["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    for column in version["additionalPrinterColumns"]:
        first, field = [*re.split(r"[.\[]", column["jsonPath"]), ""][1:3]
        assert first == "metadata" or field in SCHEMAS[kind]["properties"][first]["properties"], column


def test_short_names_are_each_ones_own() -> None:
    short = [schema.definition(kind)["spec"]["names"]["shortNames"][0] for kind in KINDS]
    assert len(set(short)) == len(short)
    assert "sreg" in short


@pytest.mark.parametrize(
    ("folder", "text"),
    [("tests", ALL), *((path.parent.name, path.read_text()) for path in (ROOT / "examples").glob("*/*.yaml"))],
)
def test_manifests_for_files_are_valid_as_custom_resources(folder: str, text: str) -> None:
    for document in map(in_the_cluster, yaml.safe_load_all(text)):
        jsonschema.validate(document, strict(SCHEMAS[document["kind"]]))


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("ServiceSink", {"type": "consul", "environment": "prod"}),
        ("ServiceSink", {"type": "consul", "environment": "prod", "ownerID": "a\n"}),
        ("ServiceSink", {"type": "consul", "environment": "prod", "ownerID": "a", "mode": "apply"}),
        ("ServiceSource", {"type": "static", "environment": "prod", "safety": {"maxLossPercent": 101}}),
        ("ServiceSource", {"type": "static", "environment": "prod", "confg": {}}),
        ("ServiceRegistration", {"sources": [], "sinks": []}),
    ],
)
def test_what_files_refuse_by_type_custom_resources_refuse_too(kind: str, spec: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"spec": spec}, strict(SCHEMAS[kind]))


def test_a_credential_is_a_secret() -> None:
    for where in ({"file": "/etc/shadow"}, {"env": "HOME"}, {"valueFrom": {"file": "/etc/shadow"}}, {}):
        spec = {"type": "static", "environment": "prod", "credentials": [{"name": "a", **where}]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"spec": spec}, strict(SCHEMAS["ServiceSource"]))


def in_the_cluster(document: dict[str, Any]) -> dict[str, Any]:
    """Return a file's document as it is written for Kubernetes: each credential is a Secret there."""
    spec = document["spec"]
    if "credentials" not in spec:
        return document
    secrets = [
        {"name": each["name"], "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}} for each in spec["credentials"]
    ]
    return {**document, "spec": {**spec, "credentials": secrets}}


def walk(part: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    yield path, part
    for name, below in part.get("properties", {}).items():
        yield from walk(below, (*path, name))
    if "items" in part:
        yield from walk(part["items"], (*path, "[]"))
    if "additionalProperties" in part:
        yield from walk(part["additionalProperties"], (*path, "{}"))


def strict(part: dict[str, Any]) -> dict[str, Any]:
    """Return the schema as Kubernetes reads it with strict field validation: no field that it does not name."""
    made = {key: item for key, item in part.items() if not key.startswith("x-")}
    if "pattern" in made:
        made["pattern"] = made["pattern"].replace("$", r"\Z")  # as RE2 reads it
    for key in ("properties",):
        if key in part:
            made[key] = {name: strict(below) for name, below in part[key].items()}
            made["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if key in part:
            made[key] = strict(part[key])
    return made
