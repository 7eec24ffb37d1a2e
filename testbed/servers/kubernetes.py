"""A real Kubernetes control plane on loopback, without nodes: etcd, kube-apiserver and kube-controller-manager.

TLS, RBAC and the controllers are the real ones. There are no nodes: a pod is bound and made Ready by writing
`spec.nodeName` and its status, and the controllers fill the slices from that.
"""

import asyncio
import json
import secrets
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from testbed.cache import program
from testbed.ports import free_port
from testbed.process import Server
from testbed.servers.etcd import Etcd
from testbed.tls import Authority
from testbed.web import Answer, request

CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "serviceaccount-controller",
    "validatingadmissionpolicy-status-controller",
)
SERVICE_CIDR = "10.96.0.0/16"


class KubeApiServer(Server):
    """The API server. `url` is where it serves, by TLS; `admin` a token of the group system:masters.

    `etcd_endpoint` is where it looks for its etcd when it starts: set it to a proxy's URL to place one in between.
    """

    name: ClassVar[str] = "kube-apiserver"

    def __init__(self, directory: Path, etcd: Etcd, authority: Authority, flags: Sequence[str]) -> None:
        """Choose a port, make keys."""
        super().__init__(directory)
        self.etcd_endpoint = etcd.endpoint
        self.authority = authority
        self.admin = secrets.token_hex(16)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.context: ssl.SSLContext = authority.client_context()
        self._certificate = authority.issue("apiserver", hosts=("localhost", "127.0.0.1", "10.96.0.1"))
        self._flags = tuple(flags)
        self.account_key = authority.directory / "service-accounts.pem"
        self._tokens = authority.directory / "tokens.csv"
        self._write_secrets()

    def _write_secrets(self) -> None:
        for path in (self.account_key, self._tokens):
            path.touch(mode=0o600)
        plain = serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        self.account_key.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, form, plain))
        self._tokens.write_text(f"{self.admin},admin,admin,system:masters\n")

    def command(self) -> Sequence[str]:
        """The API server's flags."""
        flags = {
            "etcd-servers": self.etcd_endpoint,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": str(self.port),
            "tls-cert-file": str(self._certificate.certificate),
            "tls-private-key-file": str(self._certificate.key),
            "client-ca-file": str(self.authority.certificate),
            "token-auth-file": str(self._tokens),
            "service-account-key-file": str(self.account_key),
            "service-account-signing-key-file": str(self.account_key),
            "service-account-issuer": "https://localhost",
            "service-cluster-ip-range": SERVICE_CIDR,
            "authorization-mode": "RBAC",
            "endpoint-reconciler-type": "none",
            "disable-admission-plugins": "ServiceAccount",  # no kubelet is there to mount its tokens
            "allow-privileged": "true",
            "profiling": "false",
        }
        named = [f"--{key}={value}" for key, value in flags.items()]
        return [program("kube", "kube-apiserver"), *named, *self._flags]

    async def call(self, method: str, path: str, body: object = None, *, timeout: float = 10) -> Answer:
        """A request as admin; any status is an answer."""
        headers = {"Authorization": f"Bearer {self.admin}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await request(method, self.url + path, body, headers=headers, tls=self.context, timeout=timeout)

    async def probe(self) -> None:
        """All its checks pass, and the namespace that everybody uses, which it makes by itself, is there."""
        for path in ("/readyz", "/api/v1/namespaces/default"):
            (await self.call("GET", path, timeout=5)).expect()


class KubeControllers(Server):
    """The controllers named in CONTROLLERS."""

    name: ClassVar[str] = "kube-controller-manager"

    def __init__(self, directory: Path, kubeconfig: Path, account_key: Path) -> None:
        """Choose a port."""
        super().__init__(directory)
        self.port = free_port()
        self._kubeconfig = kubeconfig
        self._account_key = account_key
        self._context = ssl.create_default_context()  # its certificate is one that it makes for itself
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    def command(self) -> Sequence[str]:
        """The controllers' flags."""
        flags = {
            "kubeconfig": str(self._kubeconfig),
            "bind-address": "127.0.0.1",
            "secure-port": str(self.port),
            "cert-dir": str(self.data),
            "controllers": ",".join(CONTROLLERS),
            "leader-elect": "false",
            "service-account-private-key-file": str(self._account_key),
        }
        return [program("kube", "kube-controller-manager"), *(f"--{key}={value}" for key, value in flags.items())]

    async def probe(self) -> None:
        """It says that it is well."""
        url = f"https://127.0.0.1:{self.port}/healthz"
        (await request("GET", url, tls=self._context, timeout=2)).expect()


class Kubernetes:
    """A cluster: `etcd`, `api` and (unless `controllers` is False) `controllers`, each a server of its own.

    `kubeconfig` is the admin's. `flags` go to the API server as they are.
    """

    def __init__(self, directory: Path, *, controllers: bool = True, flags: Sequence[str] = ()) -> None:
        """Choose ports, make certificates."""
        self.directory = directory.resolve()
        self.authority = Authority(self.directory / "tls")
        self.etcd = Etcd(self.directory / "etcd", unsafe_no_fsync=True)
        self.api = KubeApiServer(self.directory / "apiserver", self.etcd, self.authority, flags)
        self.kubeconfig = self.write_kubeconfig("admin", self.api.admin)
        self.controllers = (
            KubeControllers(self.directory / "controllers", self.kubeconfig, self.api.account_key)
            if controllers
            else None
        )

    @property
    def url(self) -> str:
        """Where its API is."""
        return self.api.url

    async def start(self) -> Self:
        """Start all."""
        try:
            await self.etcd.start()
            await self.api.start(timeout=120)
            if self.controllers is not None:
                await self.controllers.start(timeout=120)
        except BaseException:
            await self.kill9()
            raise
        return self

    async def stop(self) -> None:
        """Stop all: the API server by force, for it waits for its watches to end."""
        if self.controllers is not None:
            await self.controllers.stop(grace=2)
        await self.api.stop(grace=2)
        await self.etcd.stop(grace=2)

    async def kill9(self) -> None:
        """End all at once."""
        for server in (self.controllers, self.api, self.etcd):
            if server is not None:
                await server.kill9()

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()

    # --- asked and told

    def write_kubeconfig(self, user: str, token: str, *, server: str = "", namespace: str = "default") -> Path:
        """Write a kubeconfig for somebody with a token; `server`: another URL than the API server's own (a proxy's)."""
        path = self.directory / f"kubeconfig-{user}-{secrets.token_hex(4)}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        cluster = {"server": server or self.api.url, "certificate-authority": str(self.authority.certificate)}
        written = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user, "namespace": namespace}}],
        }
        path.write_text(json.dumps(written, indent=1))  # JSON is YAML
        return path

    async def call(self, method: str, path: str, body: object = None, *, timeout: float = 30) -> Any:
        """A request as admin, decoded: `await kube.call("GET", "/api/v1/nodes")`; raises ValueError for a refusal."""
        answer = await self.api.call(method, path, body, timeout=timeout)
        return answer.expect(200, 201, 202).json()

    def kubectl(
        self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as admin, or as whom that kubeconfig says; `stdin`: what `-f -` reads.

        With `check` a failure raises ValueError with what kubectl says.
        """
        environment = {"HOME": str(self.directory), "PATH": "/usr/bin:/bin"}
        command = [program("kube", "kubectl"), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment
        )
        if check and done.returncode != 0:
            msg = f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            raise ValueError(msg)
        return done

    async def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as admin, as kubectl does."""
        await asyncio.to_thread(
            self.kubectl, "apply", "--server-side", "--force-conflicts", "-f", "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}),
        )  # fmt: skip

    async def token(self, namespace: str, account: str, *, seconds: int = 3600) -> str:
        """A token of a service account, which must be there."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        token: str = (await self.call("POST", path, asked))["status"]["token"]
        return token
