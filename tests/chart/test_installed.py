"""On a real API server: what the chart gives Waypost the right to, and nothing else; tenants; pods that it lets in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import yaml

from testbed.servers import Kubernetes
from tests.chart.rendering import CHART, helm, rendered
from tests.chart.rights import Right, Rights, asking
from waypost.kube.rights import AT_HOME, EVERYWHERE, Rule

WAYPOST = "system:serviceaccount:waypost:waypost"
ALL = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
READ = ("get", "list", "watch")
KINDS = ("servicesources", "servicesinks", "serviceregistrations", "servicemirrors", "serviceholds")


@pytest.fixture(scope="module")
def rights(cluster: Kubernetes) -> Iterator[Rights]:
    """What to ask who may do what."""
    with asking(cluster) as asked:
        yield asked


def expanded(rules: Sequence[Rule]) -> set[Right]:
    return {
        (group, resource, verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def test_waypost_may_do_what_it_does_and_nothing_else(rights: Rights) -> None:
    everybody = rights.all_of("system:serviceaccount:default:nobody", "tenants")
    everywhere, at_home = expanded(EVERYWHERE), expanded(AT_HOME)
    lease = {right for right in at_home if right[1] == "leases" and right[2] in {"get", "patch"}}
    at_home = (at_home - lease) | {(group, what, verb, "waypost") for group, what, verb, _ in lease}
    assert rights.all_of(WAYPOST, "tenants") - everybody == everywhere
    assert rights.all_of(WAYPOST, "waypost") - everybody == everywhere | at_home


def test_waypost_reads_no_secret_of_others_and_may_not_give_itself_rights(cluster: Kubernetes, rights: Rights) -> None:
    for verb in READ:
        assert rights.may(WAYPOST, verb, "secrets", "waypost")
        assert not rights.may(WAYPOST, verb, "secrets", "tenants")
        assert not rights.may(WAYPOST, verb, "secrets")
    for what in ("rolebindings.rbac.authorization.k8s.io", "pods", "pods/exec", "services", "serviceaccounts/token"):
        assert not rights.may(WAYPOST, "create", what, "waypost"), what
    assert not rights.may(WAYPOST, "delete", "serviceregistrations.waypost.dev", "tenants")
    asked = ("auth", "can-i", f"--as={WAYPOST}", "list", "secrets")  # and as a person asks
    assert cluster.kubectl(*asked, "--namespace=waypost").stdout == "yes\n"
    assert cluster.kubectl(*asked, "--namespace=tenants", check=False).stdout == "no\n"


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_who_may_edit_a_namespace_writes_its_registrations_and_who_may_view_it_sees_them(
    cluster: Kubernetes, rights: Rights
) -> None:
    for role in ("view", "edit", "admin"):
        cluster.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "-n", "tenants")
    what = "serviceregistrations.waypost.dev"
    until(lambda: rights.may("viewer", "list", what, "tenants"), "the roles are aggregated")
    until(lambda: rights.may("editer", "create", what, "tenants"), "the roles are aggregated")
    until(lambda: rights.may("adminer", "create", what, "tenants"), "the roles are aggregated")
    assert not rights.may("viewer", "create", what, "tenants")
    for verb in ALL:
        assert rights.may("editer", verb, what, "tenants"), verb
        assert not rights.may("editer", verb, what, "default"), verb
    for who in ("viewer", "editer", "adminer"):
        assert not rights.may(who, "patch", "serviceregistrations/status.waypost.dev", "tenants")
        for kind in ("servicesources", "servicesinks", "servicemirrors", "serviceholds"):
            assert not rights.may(who, "list", f"{kind}.waypost.dev")


def test_a_person_may_be_let_decide_holds_and_no_more(cluster: Kubernetes, rights: Rights) -> None:
    cluster.kubectl("create", "clusterrolebinding", "holds", "--clusterrole=waypost:waypost:approve-holds", "--user=op")
    assert rights.may("op", "patch", "serviceholds.waypost.dev")
    assert not rights.may("op", "delete", "serviceholds.waypost.dev")
    assert not rights.may("op", "create", "serviceholds.waypost.dev")
    assert not rights.may("op", "list", "servicesinks.waypost.dev")


def test_its_pods_are_let_into_a_namespace_that_takes_restricted_ones_only(cluster: Kubernetes) -> None:
    spaces = cluster.kubectl("get", "namespace", "waypost", "--output=jsonpath={.metadata.labels}").stdout
    assert '"pod-security.kubernetes.io/enforce":"restricted"' in spaces
    count = ("get", "pods", "--namespace=waypost", "--selector=app.kubernetes.io/name=waypost", "--output=name")
    until(lambda: len(cluster.kubectl(*count).stdout.split()) == 2, "both replicas are made")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose", "namespace": "waypost"}}
    pod["spec"] = {"containers": [{"name": "a", "image": "a"}]}
    refused = cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(pod), check=False)
    assert "violates PodSecurity" in refused.stderr


@pytest.mark.server("helm")
def test_every_object_with_everything_on_is_taken_by_the_api_server(cluster: Kubernetes) -> None:
    made = rendered(
        fullnameOverride="everything",
        networkPolicy={"enabled": True, "ingress": [{"namespaceSelector": {}}]},
        kubernetes={"source": {"enabled": True, "namespaces": ["tenants"]}, "sink": {"namespaces": ["tenants"]}},
        podAnnotations={"a": "b"},
        nodeSelector={"a": "b"},
        tolerations=[{"operator": "Exists"}],
        priorityClassName="system-cluster-critical",
        extraEnv=[{"name": "A", "value": "b"}],
    )
    cluster.kubectl("create", "namespace", "operators")
    text = yaml.safe_dump_all(made.values())
    said = cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text
    )
    assert len(said.stdout.splitlines()) == len(made)


@pytest.mark.server("helm")
def test_with_a_source_and_a_sink_it_may_read_and_write_where_it_was_told(cluster: Kubernetes, rights: Rights) -> None:
    made = rendered(
        fullnameOverride="both", kubernetes={"source": {"enabled": True}, "sink": {"namespaces": ["tenants"]}}
    )
    roles = [each for (kind, _), each in made.items() if "Role" in kind or kind == "ServiceAccount"]
    cluster.kubectl("create", "namespace", "operators", check=False)
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(roles))
    who = "system:serviceaccount:operators:both"
    for what in ("services", "endpointslices.discovery.k8s.io", "nodes"):
        assert rights.may(who, "watch", what)
        assert not rights.may(who, "update", what)
    for what in ("services", "endpointslices.discovery.k8s.io", "configmaps"):
        for verb in ("create", "update", "delete"):
            assert rights.may(who, verb, what, "tenants"), (verb, what)
            assert not rights.may(who, verb, what, "default"), (verb, what)
    assert rights.may(who, "list", "servicecidrs.networking.k8s.io")


@pytest.mark.server("helm")
def test_a_release_is_upgraded_and_when_it_is_uninstalled_what_people_asked_for_stays(
    kubernetes: Kubernetes, cluster: Kubernetes
) -> None:
    def run(*arguments: str, **values: Any) -> str:
        done = helm(*arguments, "--namespace", "helmed", "--kubeconfig", str(kubernetes.kubeconfig), values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    policies = {"enabled": False}  # those of the plain manifests are there already, and the definitions
    common = {"crds": {"enabled": False}, "admissionPolicies": policies, "replicas": 1}
    told = run("install", "way", str(CHART), "--create-namespace", **common)
    assert "one of which leads" in told
    run("upgrade", "way", str(CHART), **common, log={"level": "debug"})
    seen = cluster.kubectl("get", "deployment", "--namespace=helmed", "way-waypost", "--output=yaml").stdout
    assert "--log-level=debug" in seen
    spec = {"type": "static", "environment": "test"}
    kept = {"apiVersion": "waypost.dev/v1alpha1", "kind": "ServiceSource", "metadata": {"name": "kept"}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(kept))
    done = helm("uninstall", "way", "--no-hooks", "--namespace", "helmed", "--kubeconfig", str(kubernetes.kubeconfig))
    assert done.returncode == 0, done.stderr
    cluster.kubectl("get", "servicesource", "kept")
    cluster.kubectl("delete", "servicesource", "kept")
