"""Asks other people's clients what is there and prints it as JSON; runs in the witnesses' environment only.

usage: witness_program.py VERB ARGUMENT-AS-JSON. The verbs are the functions of `VERBS`. The modules are imported by
name as the checkers of this tree do not see that environment.
"""

import base64
import importlib
import json
import logging
import sys
from typing import Any
from urllib.parse import urlsplit


def consul_services(
    address: str, token: str | None = None, ca: str | None = None, name: str | None = None, dc: str | None = None
) -> dict[str, Any]:
    """All services (or one) of a Consul catalog, each with its instances and the state of their checks."""
    consul = importlib.import_module("consul")
    parts = urlsplit(address)
    client = consul.Consul(
        host=parts.hostname, port=parts.port, scheme=parts.scheme, token=token, verify=ca or True, dc=dc
    )
    names = [name] if name else [known for known in client.catalog.services()[1] if known != "consul"]
    return {known: [consul_instance(entry) for entry in client.health.service(known)[1]] for known in names}


def consul_instance(entry: dict[str, Any]) -> dict[str, Any]:
    service = entry["Service"]
    return {
        "id": service["ID"],
        "node": entry["Node"]["Node"],
        "node_meta": entry["Node"].get("Meta") or {},
        "address": service["Address"] or entry["Node"]["Address"],
        "port": service.get("Port", 0),  # Consul leaves a 0 out
        "tags": sorted(service["Tags"] or []),
        "meta": service.get("Meta") or {},
        "weights": service.get("Weights") or {},
        "checks": {
            check["CheckID"]: {"name": check["Name"], "status": check["Status"], "output": check["Output"]}
            for check in entry["Checks"]
        },
    }


def etcd_prefix(
    endpoint: str,
    prefix: str,
    ca: str | None = None,
    certificate: str | None = None,
    key: str | None = None,
    user: str | None = None,
    password: str | None = None,
) -> dict[str, str]:
    """All keys of an etcd with this prefix; values that are no UTF-8 as base64 after `base64:`."""
    etcd3 = importlib.import_module("etcd3")
    parts = urlsplit(endpoint)
    client = etcd3.client(
        host=parts.hostname, port=parts.port, ca_cert=ca, cert_cert=certificate, cert_key=key, user=user,
        password=password, timeout=10,
    )  # fmt: skip
    found = client.get_prefix(prefix) if prefix else client.get_all()
    return {meta.key.decode(): as_text(value) for value, meta in found}


def as_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()


def mesos_tasks(master: str) -> list[dict[str, Any]]:
    """The tasks that a Mesos master lists (HOST:PORT), as the operator API has them."""
    pymesos = importlib.import_module("pymesos")
    logging.disable(logging.CRITICAL)  # importing it logs to stderr
    driver = pymesos.MesosOperatorMasterDriver(master)
    tasks: list[dict[str, Any]] = driver.getTasks()["get_tasks"].get("tasks") or []
    return tasks


VERBS = {verb.__name__: verb for verb in (consul_services, etcd_prefix, mesos_tasks)}


def main(verb: str, argument: str) -> None:
    """Answer one question."""
    answer = VERBS[verb](**json.loads(argument))
    sys.stdout.write(json.dumps(answer))


main(*sys.argv[1:])
