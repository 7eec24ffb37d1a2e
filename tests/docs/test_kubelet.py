"""What stands in for nodes leaves nothing running, however a test ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from testbed.servers import Kubernetes
from tests.docs.kubelet import Kubelet
from tests.real_rig import until

STARTS = """\
import asyncio, sys
from pathlib import Path
from tests.docs.test_kubelet import starts
asyncio.run(starts(Path(sys.argv[1])))
"""


class Unreached(Kubernetes):
    """Gives a token without a cluster: what is run needs none."""

    async def token(self, namespace: str, account: str, *, seconds: int = 3600) -> str:
        return "none"


async def starts(folder: Path) -> None:
    """Run a pod's process, say its number, and never end."""
    kubelet = Kubelet(Unreached(folder / "cluster"), folder)
    spec = {"serviceAccountName": "a", "containers": [{"args": ["run", "--kubernetes", "--admin=127.0.0.1:0"]}]}
    async with kubelet._process({"namespace": "n", "name": "p", "uid": "u"}, spec, 0) as process:
        print(process.pid, flush=True)
        await asyncio.Event().wait()


async def test_a_process_of_a_pod_ends_with_the_test_that_was_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    test = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTS, str(tmp_path), stdout=PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert test.stdout is not None
    pid = int(await asyncio.wait_for(test.stdout.readline(), 60))
    try:
        assert runs(pid)
        test.kill()
        await test.wait()
        await until(lambda: not runs(pid), "it has ended too")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Say whether a process is there and not merely yet to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
