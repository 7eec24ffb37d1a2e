"""What can be had in the testbed, and whether it is there: nothing here builds anything.

A part is a folder in the cache with a stamp: a digest of what it was made from, so that an edited recipe is noticed.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.cache import cache

HERE = Path(__file__).parent
STAMP = ".stamp"
NOT_ROOT = "makes network namespaces, which root alone may"


class MissingError(Exception):
    """A part is not there; the message says why and what to do."""


class NotRootError(MissingError):
    """A part is for root alone, and this is not root."""


@dataclass(frozen=True)
class GoBuild:
    """Programs from Go modules: by a go.mod of ours in `servers/go` (`module`), or as `go install PACKAGE@VERSION`.

    Beside that go.mod may stand a program of ours, which is the package `.`.
    """

    programs: Mapping[str, str]  # program → package
    module: bool = True
    version: str = ""
    flags: str = "-s -w"


@dataclass(frozen=True)
class Part:
    """One thing to have. `minutes`: to build it cold on two cores."""

    name: str
    what: str
    minutes: float
    programs: tuple[str, ...]  # paths in its folder
    inputs: tuple[Path, ...] = ()
    go: GoBuild | None = None
    only_x86: bool = False
    only_root: bool = False
    commands: tuple[str, ...] = ()  # of COMMANDS: what it needs of the machine
    needs: tuple[str, ...] = ()  # parts that it is made of: they are made before it, and it is made anew when they were

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return cache() / self.name

    def digest(self) -> str:
        """What it is made from, as one number."""
        made = hashlib.sha256(f"{self.name} {self.go}".encode())
        for path in self.inputs:
            made.update(path.read_bytes())
        for name in self.needs:
            made.update(PARTS[name].digest().encode())
        return made.hexdigest()

    def problem(self) -> str | None:
        """Why it cannot be used, or None."""
        if self.only_x86 and platform.machine() not in ("x86_64", "AMD64"):
            return f"{self.name}: only for x86_64 machines, this is {platform.machine()}"
        if self.only_root and os.geteuid() != 0:
            return f"{self.name}: {NOT_ROOT}"
        for command in self.commands:
            if why := _problem(command):
                return f"{self.name}: {why}"
        remedy = f"run `sh testbed/setup.sh {self.name}` (about {self.minutes:g} min)"
        if not all(os.path.exists(self.folder / program) for program in self.programs):  # noqa: PTH110 (never raises)
            return f"{self.name}: not there; {remedy}"
        if not (self.folder / STAMP).exists() or (self.folder / STAMP).read_text() != self.digest():
            return f"{self.name}: made from an older recipe; {remedy}"
        return None


def _go(name: str, what: str, minutes: float, build: GoBuild, *, mod: str = "") -> Part:
    """`mod`: the part whose go.mod it shares; what its own programs need besides stands in a go.sum of its own."""
    folder, shared = (HERE / "servers" / "go" / each for each in (name, mod or name))
    inputs = (shared / "go.mod", folder / "go.sum", *sorted(folder.glob("*.go"))) if build.module else ()
    return Part(name, what, minutes, tuple(build.programs), inputs, build)


KUBE = "v1.35.4"
KIND = "v0.33.0"
_KUBE_VERSION = "k8s.io/component-base/version"
_KUBE_FLAGS = " ".join(
    f"-X {_KUBE_VERSION}.{key}={value}"
    for key, value in {"gitVersion": KUBE, "gitMajor": "1", "gitMinor": "35"}.items()
)

_HELM = "helm.sh/helm/v3"
_HELM_FLAGS = " ".join(
    f"-X {_HELM}/{key}={value}"
    for key, value in {
        "internal/version.version": "v3.19.2",
        "pkg/chartutil.k8sVersionMajor": "1",
        "pkg/chartutil.k8sVersionMinor": "35",
        "pkg/lint/rules.k8sVersionMajor": "1",
        "pkg/lint/rules.k8sVersionMinor": "35",
    }.items()
)

ZOOKEEPER_JARS = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "snappy-java", "metrics-core")

PARTS = {
    part.name: part
    for part in (
        Part("go", "a Go toolchain, where the machine has none", 0.5, ("go/bin/go",), (HERE / "servers/go.txt",)),
        _go(
            "etcd",
            "etcd and etcdctl 3.6.5",
            1.5,
            GoBuild({"etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3"}),
        ),
        _go("consul", "Consul 1.19.2", 6, GoBuild({"consul": "github.com/hashicorp/consul"})),
        Part(
            "mesos",
            "libmesos 1.11.0",
            0.5,
            ("egg/mesos/scheduler/_scheduler.so", "shims/libapr-1.so.0"),
            (HERE / "mesos/shims.sh", HERE / "mesos/egg.json"),
            only_x86=True,
        ),
        Part(
            "swarm",
            "an image for Docker Swarm",
            0.1,
            ("image.tar",),
            (HERE / "swarm/image.sh",),
            only_root=True,
            commands=("dockerd", "iptables", "ip", "mount", "nsenter", "tini", "busybox"),
        ),
        Part(
            "image",
            "a root for container images with Debian's Python, and the packages that Waypost's own is made of",
            0.5,
            ("base.tar", "python", "wheels"),
            (HERE / "image/base.sh", HERE.parent / "requirements/run.txt"),
            only_root=True,
            commands=("dockerd", "iptables", "ip", "mount", "nsenter", "tini", "busybox", "mmdebstrap"),
        ),
        Part(
            "zookeeper",
            "ZooKeeper 3.8, Debian's",
            0.1,
            ("java", *(f"{jar}.jar" for jar in ZOOKEEPER_JARS)),
        ),
        Part(
            "witness",
            "other people's clients, to read back what was written",
            0.5,
            ("bin/python",),
            (HERE.parent / "requirements/witness.txt", HERE / "witness.json"),
        ),
        _go(
            "coredns",
            "CoreDNS 1.14.7",
            5,
            GoBuild({"coredns": "github.com/coredns/coredns"}, module=False, version="v1.14.7"),
        ),
        _go(
            "kube",
            "kube-apiserver, kube-controller-manager and kubectl 1.35.4",
            7.5,
            GoBuild(
                {
                    name: f"k8s.io/kubernetes/cmd/{name}"
                    for name in ("kube-apiserver", "kube-controller-manager", "kubectl")
                },
                flags=f"-s -w {_KUBE_FLAGS}",
            ),
        ),
        _go(
            "kube-node",
            "kubelet, kubeadm, kube-scheduler and kube-proxy 1.35.4",
            5,
            GoBuild(
                {
                    name: f"k8s.io/kubernetes/cmd/{name}"
                    for name in ("kubelet", "kubeadm", "kube-scheduler", "kube-proxy")
                },
                flags=f"-s -w {_KUBE_FLAGS}",
            ),
            mod="kube",
        ),
        _go("kind", f"kind {KIND}", 0.5, GoBuild({"kind": "sigs.k8s.io/kind"}, module=False, version=KIND)),
        Part(
            "node",
            "the image of kind's nodes, without a registry",
            1.5,
            ("node.tar", "version"),
            tuple(HERE / "kind" / name for name in ("node.sh", "image.sh", "pause.c")),
            only_root=True,
            commands=("mmdebstrap", "ctr", "gcc", "zstd"),
            needs=("etcd", "coredns", "kube", "kube-node", "kind"),
        ),
        _go(
            "external-dns",
            "a program of external-dns 0.22.0's registry, plan and providers",
            4,
            GoBuild({"external-dns": "."}),
        ),
        _go(
            "helm",
            "helm 3.19.2",
            4,  # half a minute where `kube` was built before: its go.mod has the same versions of what both need
            GoBuild({"helm": "helm.sh/helm/v3/cmd/helm"}, flags=f"-s -w {_HELM_FLAGS}"),
        ),
        _go("kwok", "kwok 0.7.0", 3.5, GoBuild({"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, module=False, version="v0.7.0")),
    )
}
DEFAULT = (
    "etcd",
    "consul",
    "coredns",
    "kube",
    "helm",
    "mesos",
    "swarm",
    "image",
    "zookeeper",
    "bind",
    "knot",
    "witness",
)
PACKAGED = {"bind": "named", "knot": "knotd"}  # what is no part of the cache, as Debian has it
COMMANDS = {  # programs of the machine's own, and their Debian packages
    "busybox": "busybox-static",
    "ctr": "containerd",
    "dig": "bind9-dnsutils",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "gcc": "gcc",
    "ip": "iproute2",
    "iptables": "iptables",
    "knotd": "knot",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "named": "bind9",
    "nft": "nftables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "tini": "tini",
    "zstd": "zstd",
}


def _problem(name: str) -> str | None:
    name = PACKAGED.get(name, name)
    if name in COMMANDS:
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
        return None if shutil.which(name, path=path) else f"{name}: not there; install {COMMANDS[name]} (Debian's name)"
    return PARTS[name].problem()


def missing() -> dict[str, str]:
    """The servers and programs that cannot be used here, and why."""
    problems = {name: _problem(name) for name in (*PARTS, *COMMANDS) if name != "go"}
    return {name: why for name, why in problems.items() if why}


def require(name: str) -> None:
    """Raise MissingError, with what to do about it, unless `name` can be used. KeyError: there is no such part."""
    if why := _problem(name):
        raise (NotRootError if NOT_ROOT in why else MissingError)(why)
