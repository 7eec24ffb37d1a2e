"""`make demo`.

The demonstration on a real Mesos; where Mesos cannot run it says so and shows local processes instead.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from testbed import MissingError, require
from testbed.servers import Framework, MesosCluster
from testbed.servers.framework import HTTP_SERVER, Task
from waypost.cli.demo import run
from waypost.cli.demo.local import LocalStage
from waypost.cli.demo.play import play
from waypost.cli.demo.stage import Death

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "examples" / "quickstart"


class MesosStage:
    """A master, two agents, a framework `demo` and three tasks `web`."""

    title = "a real Mesos, one master and two agents"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="waypost-mesos-"))
        self._cluster = MesosCluster(self._folder, agents=2)
        self._framework: Framework | None = None
        self._tasks: list[Task] = []

    async def start(self, folder: Path) -> str:
        """Start it all; the manifests are those of examples/quickstart, with the master's real port."""
        await self._cluster.start()
        self._framework = await self._cluster.framework("demo").start()
        self._tasks = await self._framework.launch("web", 3, command=HTTP_SERVER)
        for path in QUICKSTART.glob("*.yaml"):
            (folder / path.name).write_text(path.read_text().replace("http://127.0.0.1:5050", self._cluster.url))
        places = ", ".join(f"{task.host}:{task.ports[0]}" for task in self._tasks)
        return f"Mesos' master is {self._cluster.url}; the framework demo runs three tasks web: {places}"

    async def kill_one(self) -> Death:
        """Kill a task; the time is the one in Mesos' status update."""
        assert self._framework is not None
        task = self._tasks.pop()
        await self._framework.kill(task)
        return Death(task.ports[0], float(task.statuses[-1].get("timestamp", time.time())), "Mesos' own time stamp")

    async def stop(self) -> None:
        """End tasks, agents and master."""
        if self._framework is not None:
            await self._framework.teardown()
        await self._cluster.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


async def main() -> int:
    """Give the play on Mesos, else on local processes."""
    try:
        require("mesos")
    except MissingError as error:
        print(f"Mesos cannot run here: {error}. The same with local processes:", flush=True)
        return await play(LocalStage())
    return await play(MesosStage())


if __name__ == "__main__":
    made = subprocess.run(["sh", str(ROOT / "testbed" / "setup.sh"), "mesos"], check=False)
    if made.returncode:
        print("The testbed could not be set up; see above.", flush=True)
    sys.exit(run(main()))
