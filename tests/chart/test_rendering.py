"""What the chart makes of its values, and which values it refuses."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from testbed.cache import program
from tests.chart.rendering import CHART, ROOT, helm, rendered
from tools.plain import plain
from waypost import __version__

with_helm = pytest.mark.server("helm")
FILES = {path.name: path.read_text() for path in (CHART / "files").iterdir()}


def test_what_the_chart_has_of_crds_and_adapters_is_what_they_are() -> None:
    there = {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}
    there["fence.yaml"] = (ROOT / "adapters/waypost_adapters/kubernetes/fence.yaml").read_text()
    assert there == FILES, "run `make generate`"


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_the_defaults_are_what_the_schema_allows_and_every_value_is_in_it() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.validate(values, schema)

    def compare(given: dict[str, Any], known: dict[str, Any]) -> None:
        assert known.get("additionalProperties") is not True
        if "properties" in known:
            assert set(given) == set(known["properties"]) - {"global"}
            for name, below in given.items():
                if isinstance(below, dict):
                    compare(below, known["properties"][name])

    compare(values, schema)


@with_helm
def test_helm_finds_nothing_to_say_against_it() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@with_helm
def test_the_plain_manifests_are_what_the_chart_makes() -> None:
    assert plain(program("helm", "helm")) == (ROOT / "charts/waypost.yaml").read_text(), "run `make generate`"


@with_helm
def test_the_definitions_stay_when_it_goes_unless_told_otherwise() -> None:
    name = ("CustomResourceDefinition", "serviceregistrations.waypost.dev")
    assert rendered()[name]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in rendered(crds={"keep": False})[name]["metadata"]
    assert name not in rendered(crds={"enabled": False})


@with_helm
def test_the_definitions_are_those_of_crds() -> None:
    made = rendered()
    files = [yaml.safe_load(text) for file, text in FILES.items() if file.startswith("waypost.dev_")]
    assert len(files) == 5
    for each in files:
        assert made["CustomResourceDefinition", each["metadata"]["name"]]["spec"] == each["spec"]
    policies = [
        each for each in yaml.safe_load_all(FILES["admissionpolicies.yaml"]) if "matchConditions" in each["spec"]
    ]
    for each in policies:
        assert made["ValidatingAdmissionPolicy", each["metadata"]["name"]]["spec"] == each["spec"]


@with_helm
def test_what_may_be_switched_on_and_off() -> None:
    kinds = {kind for kind, _ in rendered()}
    assert not {"ServiceMonitor", "NetworkPolicy", "Namespace", "Secret"} & kinds
    assert {"PodDisruptionBudget", "Deployment", "ServiceAccount"} <= kinds
    assert "PodDisruptionBudget" not in {kind for kind, _ in rendered(replicas=1)}
    least = rendered(
        crds={"enabled": False},
        admissionPolicies={"enabled": False},
        rbac={"create": False},
        serviceAccount={"create": False, "name": "mine"},
        podDisruptionBudget={"enabled": False},
        uninstall={"enabled": False},
    )
    assert {kind for kind, _ in least} == {"Deployment", "Service"}
    assert least["Deployment", "waypost"]["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    most = rendered(
        serviceMonitor={"enabled": True, "labels": {"release": "p"}},
        admin={"reads": "open"},
        networkPolicy={"enabled": True, "ingress": [{"podSelector": {}}]},
        kubernetes={"source": {"enabled": True}, "sink": {"namespaces": ["shop"]}},
    )
    assert most["ServiceMonitor", "waypost"]["metadata"]["labels"]["release"] == "p"
    assert most["NetworkPolicy", "waypost"]["spec"]["egress"] == [{}]
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        assert most[kind, "waypost-fence"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert ("ValidatingAdmissionPolicy", "waypost-fence") not in rendered()


@with_helm
def test_nothing_gives_rights_with_a_star_or_in_namespaces_that_were_not_named() -> None:
    made = rendered(kubernetes={"source": {"enabled": True, "namespaces": ["a"]}, "sink": {"namespaces": ["b"]}})
    roles = [each for (kind, _), each in made.items() if kind in {"Role", "ClusterRole"}]
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]), role["metadata"]["name"]
            if "secrets" in rule["resources"]:
                assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "operators")
    places = {(role["metadata"]["name"], role["metadata"]["namespace"]) for role in roles if role["kind"] == "Role"}
    at_home = {("waypost", "operators"), ("waypost-uninstall", "operators")}
    assert places == {*at_home, ("waypost-source", "a"), ("waypost-sink", "b")}


@with_helm
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replica": 3}, "replica"),
        ({"replicas": "two"}, "replicas"),
        ({"admin": {"port": 80}}, "admin/port"),
        ({"admissionPolicies": {"actions": ["Refuse"]}}, "admissionPolicies/actions"),
        ({"serviceMonitor": {"enabled": True}}, "admin/reads"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        ({"kubernetes": {"sink": {"namespaces": ["a*"]}}}, "kubernetes/sink/namespaces"),
        ({"kubernetes": {"source": {"namespaces": ["a", "a"]}}}, "kubernetes/source/namespaces"),
        ({"admin": {"address": "everywhere"}}, "admin/address"),
        ({"serviceAccount": {"name": "No_Name"}}, "serviceAccount/name"),
        ({"state": {"sizeLimit": "lots"}}, "state/sizeLimit"),
        ({"image": {"tag": "no tag"}}, "image/tag"),
        ({"extraEnv": [{"value": "x"}]}, "extraEnv/0"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
    ],
)
def test_a_wrong_value_is_refused_and_told(values: dict[str, Any], told: str) -> None:
    done = helm("template", "waypost", str(CHART), values=values)
    assert done.returncode != 0
    assert told in done.stderr.replace(".", "/") or told in done.stderr
