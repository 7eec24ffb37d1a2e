"""A real Docker engine in namespaces of its own, with an image that has Debian's Python and nothing to build with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from testbed.cache import cache
from testbed.servers.docker_api import Query
from testbed.servers.swarm import SwarmNetwork, SwarmNode
from testbed.web import Answer

BASE = "waypost-testbed/python:1"
SLOW = 600  # seconds of silence while an image is made, on a machine that is busy with other things


class Docker(SwarmNode):
    """One engine; `api` is its HTTP API. No registry and no network beyond the machine are reached from it."""

    name: ClassVar[str] = "docker"

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet."""
        super().__init__(directory / "engine", 1, SwarmNetwork(directory / "network"), None)

    async def start(self, *, timeout: float = 60) -> Self:
        """Start the network, then the engine."""
        await self.network.start(timeout=timeout)
        try:
            return await super().start(timeout=timeout)
        except BaseException:
            await self.network.kill9()
            raise

    async def stop(self, *, grace: float = 10) -> None:
        """End it, all that it runs, and the network."""
        await super().stop(grace=grace)
        await self.network.kill9()

    async def provision(self) -> None:
        """Give it the image BASE."""
        await self.load(cache() / "image" / "base.tar", BASE)

    async def load(self, root: Path, image: str, *changes: str) -> None:
        """Make an image of a tar of its root; `changes`: lines as of a Dockerfile, `ENTRYPOINT ["/bin/sh"]`."""
        repo, _, tag = image.partition(":")
        asked: dict[str, Query] = {"fromSrc": "-", "repo": repo, "tag": tag, "changes": list(changes)}
        _unless_it_failed(await self.api.request("POST", "/images/create", root, timeout=SLOW, **asked))

    async def build(self, context: bytes, image: str, **arguments: str) -> None:
        """Build an image from a tar of a folder with a Dockerfile. Raises ValueError with what the engine said."""
        query = {"t": image, "networkmode": "none", "buildargs": json.dumps(arguments)}
        _unless_it_failed(await self.api.request("POST", "/build", context, timeout=SLOW, **query))

    async def create(self, image: str, *command: str, name: str, **host: Any) -> str:
        """Create a container and return its id; `host` is merged into its HostConfig, `User` into it itself."""
        config: dict[str, Any] = {"Image": image, "HostConfig": host}
        if command:
            config["Cmd"] = list(command)
        if user := host.pop("User", None):
            config["User"] = user
        if health := host.pop("Healthcheck", None):
            config["Healthcheck"] = health
        return str((await self.api.call("POST", "/containers/create", config, name=name))["Id"])

    async def run(self, image: str, *command: str, name: str, **host: Any) -> tuple[int, str]:
        """Run a container to its end; its exit status and what it said."""
        made = await self.create(image, *command, name=name, **host)
        await self.api.call("POST", f"/containers/{made}/start")
        status = await self.wait(made)
        return status, await self.logs(made)

    async def wait(self, container: str, timeout: float = 60) -> int:
        """Wait until a container has ended; its exit status."""
        return int((await self.api.call("POST", f"/containers/{container}/wait", timeout=timeout))["StatusCode"])

    async def state(self, container: str) -> Mapping[str, Any]:
        """A container's state, as the API has it."""
        found: Mapping[str, Any] = (await self.api.call("GET", f"/containers/{container}/json"))["State"]
        return found

    async def logs(self, container: str) -> str:
        """What a container said: a frame's head of 8 bytes (stream and length) before each piece."""
        answer = await self.api.request("GET", f"/containers/{container}/logs", stdout=1, stderr=1)
        raw, said = answer.expect().body, b""
        while len(raw) >= 8:
            size = int.from_bytes(raw[4:8], "big")
            said, raw = said + raw[8 : 8 + size], raw[8 + size :]
        return said.decode(errors="replace")


def _unless_it_failed(answer: Answer) -> None:
    """Raise ValueError with what the engine said: a failure comes late, in an answer that began well."""
    said = answer.expect().body.decode(errors="replace")
    if '"errorDetail"' in said:
        raise ValueError(said[-2000:])
