"""Custom resources on a real API server: the definitions as they are committed, and what it says of an object."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from testbed.servers import Kubernetes
from waypost.settings import API_VERSION
from waypost.settings.schema import NAMES

ROOT = Path(__file__).parents[2]


class Judge:
    """Asks the API server what it says of objects that it is not to keep; over one connection, as there are many."""

    def __init__(self, connection: http.client.HTTPSConnection, token: str) -> None:
        self._connection = connection
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def refusal(self, kind: str, spec: Any) -> str:
        """Return what is said against an object; empty where it would be taken."""
        where = f"{path(kind)}?dryRun=All&fieldValidation=Strict"
        self._connection.request("POST", where, json.dumps(document(kind, spec)), self._headers)
        answer = self._connection.getresponse()
        said = json.loads(answer.read())
        if answer.status == 201:
            return ""
        assert answer.status in {400, 422}, said
        return str(said["message"])


@contextmanager
def judge(cluster: Kubernetes) -> Iterator[Judge]:
    """Connect as admin."""
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.api.port, timeout=30, context=cluster.api.context)
    with closing(connection):
        yield Judge(connection, cluster.api.admin)


def define(cluster: Kubernetes) -> None:
    """Apply crds/ and return once all of it is in force."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    end = time.monotonic() + 60  # the API server learns of a policy a moment after it is made
    sink = {"type": "registry", "environment": "test", "ownerID": "test", "config": {"unknown": 1}}
    source = {"type": "static", "environment": "test", "config": {"unknown": 1}}
    with judge(cluster) as ask:
        while not (ask.refusal("ServiceSink", sink) and ask.refusal("ServiceSource", source)):
            assert time.monotonic() < end, "the policies are not in force"
            time.sleep(0.1)


def path(kind: str, namespace: str = "default") -> str:
    """Return where objects of a kind are."""
    inside = f"/namespaces/{namespace}" if kind == "ServiceRegistration" else ""
    return f"/apis/{API_VERSION}{inside}/{NAMES[kind][0]}"


def document(kind: str, spec: Any, name: str = "tried", **more: Any) -> dict[str, Any]:
    """Return an object of a kind."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec, **more}
