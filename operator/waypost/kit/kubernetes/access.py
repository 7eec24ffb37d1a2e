"""Where the API server is and how one gets in: from a pod's service account, a kubeconfig's file, or its text.

What is read is a moment's: tokens are replaced, certificates end, plugins hand out what expires. `Pass` reads again in
time, and at once when it is refused. The `kubernetes` package reads kubeconfigs, plugins included; it is imported only
then, for it costs 24 MB and most of a second. A service account is three files.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from waypost.adapter import AdapterError, Clock, PermanentError

__all__ = ["Access", "Pass", "from_files", "from_text", "in_cluster", "of_process"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REREAD_SECONDS = 60.0  # files that something else replaces
EARLY_SECONDS = 60.0  # what expires is replaced so long before
AGAIN_SECONDS = 10.0  # after a failure to read, while what was read before may still do
MOST_SECONDS = 60.0  # for reading, a plugin's run included
MOST_TEXT = 1 << 20

# What a kubeconfig that comes as a credential may not have: it would run a command, or read a file, of this machine.
FOREIGN = {
    "exec": "runs a command",
    "auth-provider": "may run a command",
    "tokenFile": "names a file",
    "client-certificate": "names a file; give client-certificate-data",
    "client-key": "names a file; give client-key-data",
    "certificate-authority": "names a file; give certificate-authority-data",
}


class Access(msgspec.Struct, frozen=True):
    """What lets one in. PEM texts; `authorization` is the header's value. `renew_seconds` None: only when refused."""

    server: str
    server_name: str = ""
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    authorization: str | None = None
    renew_seconds: float | None = REREAD_SECONDS

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Access({self.server})"


class Pass:
    """Keeps an Access current; gives it to `kit.http` as credentials and headers. `read` blocks, in a thread."""

    def __init__(self, read: Callable[[], Access], clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._access: Access | None = None
        self._due = 0.0
        self._lock = asyncio.Lock()

    async def current(self, refused: Access | None = None) -> Access:
        """Return what lets one in now; read again where it is due, or where `refused` is what was there.

        Raises AdapterError where nothing can be read and nothing was read before.
        """
        access = self._access
        if access is not None and access is not refused and self._clock.monotonic() < self._due:
            return access
        async with self._lock:
            if self._access is access:  # else somebody has done it meanwhile
                await self._renew()
        assert self._access is not None
        return self._access

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                fresh = await asyncio.to_thread(self._read)
        except (AdapterError, TimeoutError) as error:
            if self._access is None:
                raise error if isinstance(error, AdapterError) else AdapterError(f"{_SLOW}") from None
            self._due = self._clock.monotonic() + AGAIN_SECONDS
            return
        self._access = fresh if fresh != self._access else self._access
        seconds = fresh.renew_seconds
        self._due = float("inf") if seconds is None else self._clock.monotonic() + seconds

    # --- as waypost.adapter.Credentials

    def get(self, name: str) -> str | None:
        """Return `ca`, `clientCert` or `clientKey`."""
        if self._access is None:
            return None
        return {"ca": self._access.ca, "clientCert": self._access.client_cert, "clientKey": self._access.client_key}[
            name
        ]

    async def changed(self) -> None:
        """Never returns: whoever makes a connection asks `current` before."""
        await asyncio.Event().wait()

    def headers(self) -> Mapping[str, str]:
        """Return the headers that say who we are."""
        given = self._access.authorization if self._access else None
        return {"Authorization": given} if given else {}


_SLOW = (
    f"the credentials for Kubernetes could not be had within {MOST_SECONDS:g} s: does a plugin of the kubeconfig hang?"
)


def of_process(kubeconfig: Path | None = None, context: str | None = None) -> Access:
    """Return how this process gets in: by the file named, its pod's service account, $KUBECONFIG or ~/.kube/config."""
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster()
    return from_files(str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or "~/.kube/config", context)


def in_cluster(folder: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ) -> Access:
    """Return the way in of a pod's service account. Raises AdapterError where this is no pod, or has none."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    try:
        token = (folder / "token").read_text("ascii").strip()
        ca = (folder / "ca.crt").read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        message = f"no service account is mounted at {folder}: {getattr(error, 'strerror', None) or 'not text'}"
        raise AdapterError(message) from None
    if not (host and port and token and ca):
        raise AdapterError("KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, the token or the CA is empty")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(server, ca=ca, authorization=f"Bearer {token}")


def from_text(text: str, context: str | None = None) -> Access:
    """Return the way in of a kubeconfig that came as a credential. Raises PermanentError, which shows nothing of it.

    It may name no command and no file: who may write a Secret must not thereby run or read anything here.
    """
    if len(text) > MOST_TEXT:
        raise PermanentError(f"credential `kubeconfig` is larger than {MOST_TEXT} bytes")
    try:
        config = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are the safe one
    except (yaml.YAMLError, RecursionError):
        raise PermanentError("credential `kubeconfig` is no YAML") from None
    if not isinstance(config, dict):
        raise PermanentError("credential `kubeconfig` is no kubeconfig")
    for kind, inner in (("users", "user"), ("clusters", "cluster")):
        for row in _rows(config, kind):
            for key in FOREIGN.keys() & (row.get(inner) or {}).keys():
                raise PermanentError(f"credential `kubeconfig`: {kind}: {key} {FOREIGN[key]}; that is not done here")
    return _load(config, context, "credential `kubeconfig`")


def from_files(paths: str, context: str | None = None) -> Access:
    """Return the way in of one kubeconfig, or of several (parted as in $PATH) put together as kubectl does it."""
    ConfigException, kube_config = _package()  # noqa: N806 - a class
    expanded = os.pathsep.join(str(Path(path).expanduser()) for path in paths.split(os.pathsep) if path)
    shown = f"kubeconfig {expanded}"
    try:
        merged = kube_config.KubeConfigMerger(expanded)
        if merged.config is None:
            raise PermanentError(f"{shown}: is not there or empty; give one, or run in a pod with a service account")
        return _load(merged.config, context, shown)
    except (OSError, yaml.YAMLError, ConfigException) as error:
        raise PermanentError(f"{shown}: {type(error).__name__}: cannot be read as a kubeconfig") from None


def _package() -> tuple[type[Exception], Any]:
    try:
        from kubernetes.config import ConfigException, kube_config  # noqa: PLC0415 - see the module's docstring
    except ImportError:
        message = "to read a kubeconfig needs the package kubernetes: pip install 'waypost[kubernetes]'"
        raise PermanentError(message) from None
    return ConfigException, kube_config


def _load(config: Any, context: str | None, shown: str) -> Access:
    ConfigException, kube_config = _package()  # noqa: N806 - a class
    with tempfile.TemporaryDirectory(prefix="waypost-") as folder:  # mode 0700; the loader leaves keys in it
        try:
            loader = kube_config.KubeConfigLoader(
                config, active_context=context or None, config_base_path=None, temp_file_path=folder
            )
            loader.load_and_set(loaded := _Loaded())
            ca, cert, key = (_text(path, shown) for path in (loaded.ssl_ca_cert, loaded.cert_file, loaded.key_file))
        except ConfigException as error:
            raise PermanentError(f"{shown}: {str(error)[:300]}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise PermanentError(f"{shown}: {type(error).__name__}: it has not the form of a kubeconfig") from None
    user = loader._user  # noqa: SLF001 - there is no public way
    plugin = user is not None and ("exec" in user or "auth-provider" in user)
    if plugin and not (loaded.token or loaded.cert_file):
        raise AdapterError(f"{shown}: its plugin gave no credentials (what it said is in the log)")
    if not loaded.verify_ssl:
        raise PermanentError(f"{shown}: insecure-skip-tls-verify: give certificate-authority-data instead")
    if loaded.proxy:
        raise PermanentError(f"{shown}: proxy-url is not supported: name an address that is reached directly")
    return Access(
        loaded.host,
        loaded.tls_server_name or "",
        ca,
        cert,
        key,
        loaded.token,
        _until(getattr(loader, "expiry", None)) if plugin else REREAD_SECONDS,
    )


class _Loaded:
    """What the loader fills in, where it would else fill in a `kubernetes.client.Configuration`."""

    def __init__(self) -> None:
        self.host = "http://localhost"
        self.ssl_ca_cert: str | None = None
        self.cert_file: str | None = None
        self.key_file: str | None = None
        self.verify_ssl = True
        self.tls_server_name: str | None = None
        self.proxy: str | None = None
        self.api_key: dict[str, str] = {}
        self.refresh_api_key_hook: object = None  # not used: it renews no certificates

    @property
    def token(self) -> str | None:
        return self.api_key.get("BearerToken") or self.api_key.get("authorization")  # before version 32


def _text(path: str | None, shown: str) -> str | None:
    if path is None:
        return None
    try:
        text = Path(path).read_text("ascii")
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.strip():
        raise PermanentError(f"{shown}: a certificate or key in it cannot be read, or is empty")
    return text


def _until(expiry: datetime | str | None) -> float | None:
    """Return the seconds until what a plugin gave is to be replaced; it may live a minute only."""
    if expiry is None:
        return None
    at = datetime.fromisoformat(expiry) if isinstance(expiry, str) else expiry
    left = (at - datetime.now(at.tzinfo)).total_seconds()
    return max(left - EARLY_SECONDS, left / 2, 1.0)


def _rows(config: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    rows = config.get(kind) or []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
