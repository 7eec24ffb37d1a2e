"""The container image, built and run by a real Docker engine: no root, nothing to write to but the state's volume."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import waypost_image
from testbed.pytest_plugin import in_a_loop_of_its_own
from testbed.servers import Docker
from testbed.servers.docker import BASE

pytestmark = [pytest.mark.server("image"), pytest.mark.timeout(400)]
IMAGE = "waypost-test:1"
LOCKED: dict[str, Any] = {
    "ReadonlyRootfs": True,
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges"],
    "NetworkMode": "none",
}
MANIFESTS = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: machines}
spec: {type: static, environment: test}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {name: dns}
spec: {type: dns_server, environment: test, ownerID: tests}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {name: web, namespace: shop}
spec:
  sources:
    - name: all
      sourceRef: {name: machines}
      service: {name: web}
      instances: [{id: a, addresses: ["10.0.0.1"], ports: [{name: http, number: 80}]}]
  sinks:
    - {name: dns, sinkRef: {name: dns}}
"""


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """An engine that has the image."""
    engine = Docker(tmp_path_factory.mktemp("docker"))
    folder = tmp_path_factory.mktemp("context") / "image"

    async def build() -> None:
        await engine.build(await waypost_image.context(folder), IMAGE, BASE=BASE)

    in_a_loop_of_its_own(engine.start())
    try:
        in_a_loop_of_its_own(build())
        yield engine
    finally:
        in_a_loop_of_its_own(engine.stop())


@pytest.fixture
def manifests(tmp_path: Path) -> str:
    """What is mounted: the manifests, for everybody to read."""
    folder = tmp_path / "manifests"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    path = folder / "all.yaml"
    path.write_text(MANIFESTS)
    path.chmod(0o644)
    return f"{folder}:/etc/waypost:ro"


async def test_it_validates_as_any_user_on_a_read_only_root(docker: Docker, manifests: str) -> None:
    host = {**LOCKED, "Binds": [manifests], "User": "12345:12345"}
    status, said = await docker.run(IMAGE, "validate", "-f", "/etc/waypost", name="validate", **host)
    assert (status, said.strip()) == (0, "all is well: 1 source, 1 sink, 1 registration")


async def test_nothing_in_it_builds_and_nothing_of_it_is_roots_to_run(docker: Docker) -> None:
    image = await docker.api.call("GET", f"/images/{IMAGE}/json")
    assert image["Config"]["User"] == "65532:65532"
    script = (
        "import importlib.util, os, shutil; print(os.getuid(), [each for each in ('pip', 'setuptools', 'wheel') if "
        "importlib.util.find_spec(each)], [each for each in ('gcc', 'cc', 'make', 'pip') if shutil.which(each)], "
        "os.access('/opt/waypost', os.W_OK))"
    )
    made = await docker.api.call(
        "POST",
        "/containers/create",
        {"Image": IMAGE, "Entrypoint": ["python3", "-c", script], "HostConfig": LOCKED},
        name="inside",
    )
    await docker.api.call("POST", f"/containers/{made['Id']}/start")
    assert await docker.wait(made["Id"]) == 0
    assert (await docker.logs(made["Id"])).strip() == "65532 [] [] False"


async def test_it_runs_healthy_ends_in_order_and_goes_on_with_its_state(docker: Docker, manifests: str) -> None:
    second = 1_000_000_000
    host = {**LOCKED, "Binds": [manifests, "state:/var/lib/waypost"], "Healthcheck": {"Interval": second}}
    container = await docker.create(IMAGE, name="run", **host)
    said = ""
    for start in (1, 2):
        await docker.api.call("POST", f"/containers/{container}/start")
        await _settled(docker, container, start)
        began = time.monotonic()
        await docker.api.call("POST", f"/containers/{container}/kill", signal="SIGTERM")
        status = await docker.wait(container)
        said = await docker.logs(container)
        assert status == 0, said  # what hangs for 4 s ends with 1, what docker kills with 137
        assert time.monotonic() - began < 15
        assert said.count("ended deregistered=0") == start
    assert "claimed epoch=1" in said
    assert "claimed epoch=2" in said, "the volume kept the state"


async def _settled(docker: Docker, container: str, start: int) -> None:
    async with asyncio.timeout(90):
        while True:
            state = await docker.state(container)
            said = await docker.logs(container)
            assert state["Running"], said
            with contextlib.suppress(KeyError):
                if state["Health"]["Status"] == "healthy" and said.count("settled records=") == start:
                    return
            assert state["Health"]["Status"] != "unhealthy", state["Health"]
            await asyncio.sleep(0.2)
