"""A real ZooKeeper 3.8, Debian's: one server with its client port on 127.0.0.1."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from testbed.cache import cache
from testbed.parts import ZOOKEEPER_JARS
from testbed.ports import free_port
from testbed.process import Server

TICK_MS = 500


class ZooKeeper(Server):
    """One server, its sessions as short as 1 s. `address` is HOST:PORT, which is what clients want."""

    name: ClassVar[str] = "zookeeper"

    def __init__(self, directory: Path) -> None:
        """Choose a port."""
        super().__init__(directory)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """Java, small and single-minded: it shares the machine with everything else."""
        jars = os.pathsep.join(str(cache() / "zookeeper" / f"{name}.jar") for name in ZOOKEEPER_JARS)
        options = ["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
        settings = ["-Dzookeeper.admin.enableServer=false", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return [str(cache() / "zookeeper" / "java"), *options, *settings, "-cp", jars, main, str(self._settings)]

    @property
    def _settings(self) -> Path:
        return self.directory / "zoo.cfg"

    def prepare(self) -> None:
        """Write its settings."""
        lines = {
            "dataDir": self.data,
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "tickTime": TICK_MS,
            "minSessionTimeout": 2 * TICK_MS,
            "maxSessionTimeout": 60_000,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
        }
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    def environment(self) -> Mapping[str, str]:
        """Without what would change the virtual machine."""
        return {key: value for key, value in os.environ.items() if key not in {"CLASSPATH", "JAVA_TOOL_OPTIONS"}}

    async def probe(self) -> None:
        """It says imok, and that it serves."""
        if await self.ask("ruok") != "imok":
            raise ConnectionError("not ok")
        if "not currently serving" in await self.ask("srvr"):
            raise ConnectionError("not serving")

    async def ask(self, word: str) -> str:
        """Return the answer to a four-letter word (`mntr`, `cons`, …)."""
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(word.encode())
                return (await reader.read()).decode()
            finally:
                writer.close()
