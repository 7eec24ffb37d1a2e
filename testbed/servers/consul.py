"""A real Consul server on loopback: one voter with a state that survives, no development mode."""

import json
import ssl
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from testbed.cache import program
from testbed.ports import free_port
from testbed.process import Server
from testbed.tls import Authority
from testbed.web import Answer, request


class Consul(Server):
    """One Consul server.

    `address` is the URL of its HTTP API, `dns_port` where it answers DNS (UDP and TCP, on 127.0.0.1). `acl`: everything
    is denied without a token, `token` is the management token, and `limited_token` makes others. `tls`: the API is
    https, with a certificate of that authority, and demands one of clients if `client_certificates`. `settings` are
    merged into its configuration.
    """

    name: ClassVar[str] = "consul"

    def __init__(
        self,
        directory: Path,
        *,
        acl: bool = False,
        tls: Authority | None = None,
        client_certificates: bool = False,
        datacenter: str = "dc1",
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Choose ports; nothing is started yet."""
        super().__init__(directory)
        self.port, self.dns_port = free_port(), free_port()
        self._ports = {
            "http": -1 if tls else self.port,
            "https": self.port if tls else -1,
            "dns": self.dns_port,
            "grpc": -1,
            "grpc_tls": -1,
            "server": free_port(),
            "serf_lan": free_port(),
            "serf_wan": -1,
        }
        self.token: str | None = str(uuid.uuid4()) if acl else None
        self.datacenter = datacenter
        self.tls = tls
        self._certificate = tls.issue(f"consul-{self.port}") if tls else None
        self._client_certificates = client_certificates
        client = tls.issue(f"consul-{self.port}-client") if tls else None
        self.context: ssl.SSLContext | None = tls.client_context(client) if tls else None
        self._settings = dict(settings or {})

    @property
    def address(self) -> str:
        """The URL of its HTTP API."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def configuration(self) -> dict[str, object]:
        """What consul.json says."""
        made: dict[str, object] = {
            "server": True,
            "bootstrap_expect": 1,
            "node_name": "testbed",
            "datacenter": self.datacenter,
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "data_dir": str(self.data),
            "ports": self._ports,
            "performance": {"raft_multiplier": 1},
            "connect": {"enabled": False},
            "disable_update_check": True,
            "enable_script_checks": False,
            "leave_on_terminate": False,
            "log_level": "WARN",
        }
        if self.token:
            tokens = {"initial_management": self.token, "agent": self.token}
            made["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}
        if self.tls and self._certificate:
            made["tls"] = {
                "https": {
                    "cert_file": str(self._certificate.certificate),
                    "key_file": str(self._certificate.key),
                    "ca_file": str(self.tls.certificate),
                    "verify_incoming": self._client_certificates,
                },
                "defaults": {"verify_outgoing": False},
            }
        return {**made, **self._settings}

    def prepare(self) -> None:
        """Write consul.json."""
        (self.directory / "consul.json").write_text(json.dumps(self.configuration(), indent=1))

    def command(self) -> Sequence[str]:
        """`consul agent` with that file."""
        return [program("consul", "consul"), "agent", f"-config-file={self.directory / 'consul.json'}"]

    async def probe(self) -> None:
        """It leads, and its own node is in the catalog (so writes pass and reads are answered)."""
        nodes = await self.call("GET", "/v1/catalog/nodes?consistent", timeout=2)
        if not any(node["Node"] == "testbed" for node in nodes):
            msg = f"its own node is not in the catalog yet: {nodes}"
            raise LookupError(msg)

    async def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None, timeout: float = 10
    ) -> Any:
        """A call of its HTTP API with the management token (or `token`), decoded; raises ValueError for a refusal."""
        answer = await self.request(method, path, body, token=token, timeout=timeout)
        return answer.expect().json() if answer.body else answer.expect().body

    async def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None, timeout: float = 10
    ) -> Answer:
        """The same with the answer as it came, whatever its status."""
        token = token or self.token
        headers = {"X-Consul-Token": token} if token else {}
        return await request(method, self.address + path, body, headers=headers, tls=self.context, timeout=timeout)

    async def limited_token(self, rules: str) -> str:
        """A token that may do what these rules say and no more, e.g. `service_prefix "web" {policy = "write"}`."""
        name = f"limited-{uuid.uuid4().hex[:8]}"
        await self.call("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        made = await self.call("PUT", "/v1/acl/token", {"Description": name, "Policies": [{"Name": name}]})
        return str(made["SecretID"])
