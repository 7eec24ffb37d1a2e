"""Who may do what on an API server, asked as `kubectl auth can-i --as` asks; over one connection, as there is much."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from testbed.servers import Kubernetes

Right = tuple[str, str, str, str]  # group, resource, verb, and a name or ""


class Rights:
    """Asks as admin."""

    def __init__(self, connection: http.client.HTTPSConnection, token: str) -> None:
        self._connection = connection
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def may(self, who: str, verb: str, what: str, namespace: str = "", *, name: str = "") -> bool:
        """Say whether somebody may; `what` is RESOURCE[/SUBRESOURCE][.GROUP]; without a namespace: in all of them."""
        resource, _, group = what.partition(".")
        resource, _, sub = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": sub, "namespace": namespace}
        spec = {"user": who, "groups": groups(who), "resourceAttributes": {**asked, "name": name}}
        allowed: bool = self._ask("SubjectAccessReview", spec)["allowed"]
        return allowed

    def all_of(self, who: str, namespace: str) -> set[Right]:
        """Return all that somebody may do in a namespace."""
        impersonated = [("Impersonate-User", who), *(("Impersonate-Group", group) for group in groups(who))]
        found = self._ask("SelfSubjectRulesReview", {"namespace": namespace}, impersonated)
        return {
            (group, resource, verb, name)
            for rule in found["resourceRules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
            for name in rule.get("resourceNames") or [""]
        }

    def _ask(self, kind: str, spec: Any, more: list[tuple[str, str]] | None = None) -> Any:
        body = json.dumps({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}).encode()
        self._connection.putrequest("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s")
        for name, text in [*self._headers.items(), *(more or []), ("Content-Length", str(len(body)))]:
            self._connection.putheader(name, text)
        self._connection.endheaders(body)
        answer = self._connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 201, said
        return said["status"]


def groups(who: str) -> list[str]:
    """Return the groups that a user is in by being who it is."""
    if not who.startswith("system:serviceaccount:"):
        return ["system:authenticated"]
    return ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{who.split(':')[2]}"]


@contextmanager
def asking(cluster: Kubernetes) -> Iterator[Rights]:
    """Connect."""
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.api.port, timeout=30, context=cluster.api.context)
    with closing(connection):
        yield Rights(connection, cluster.api.admin)
