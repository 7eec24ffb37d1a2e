"""`make e2e-kind`: Waypost's image on a real kind cluster, what it registers in a real etcd, and how it fails over.

Ends by itself and leaves nothing behind; when a step fails it says what a person would look at.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from e2e.scenario import IMAGE, Scenario
from e2e.steps import StepError, say, step
from testbed import MissingError, require, waypost_image
from testbed.command import CommandError
from testbed.process import NotReadyError
from testbed.proxy import Proxy
from testbed.servers import Etcd, KindCluster
from testbed.servers.docker import BASE
from testbed.servers.kind import PARTS

ROOT = Path(__file__).parents[1]
EXPECTED = (StepError, CommandError, NotReadyError, OSError, ValueError)  # the message says it all
WHOLE = 900  # seconds, after which it gives up whatever it does


async def prepare(cluster: KindCluster, directory: Path) -> None:
    """A cluster that has Waypost's image."""
    async with step("a Docker engine of its own, and what the image is made of", 300), asyncio.TaskGroup() as both:
        both.create_task(cluster.engine.start(timeout=290))
        made = both.create_task(waypost_image.context(directory / "image"))
    async with step("the cluster, and the image", 400), asyncio.TaskGroup() as both:
        both.create_task(cluster.start(timeout=390))
        both.create_task(cluster.engine.build(made.result(), IMAGE, BASE=BASE))
    async with step("the image loaded into the cluster", 120):
        await cluster.kind("load", "docker-image", IMAGE)


async def play(scenario: Scenario) -> None:
    """Play it; when it fails, say what Waypost says."""
    try:
        await scenario.play()
    except Exception:
        say("it failed; what Waypost says:")
        print(await scenario.explain(), flush=True)
        raise


async def on_a_cluster(directory: Path) -> None:
    """Bring up what the scenario needs, and end it."""
    cluster = KindCluster(directory / "kind")
    async with Etcd(directory / "etcd", unsafe_no_fsync=True) as etcd:
        try:
            await prepare(cluster, directory)
            async with Proxy(etcd.endpoint, host=cluster.outside) as proxy:
                await play(Scenario(cluster, etcd, proxy.url))
        except Exception:
            say("it failed; what the cluster says:")
            print(await cluster.explain(), flush=True)
            raise
        finally:
            async with step("all of it ended", 180):  # on a slow disk there is much to delete
                await cluster.stop()


async def main() -> int:
    """Run it; 0 when all is as promised."""
    began = time.monotonic()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="waypost-e2e-") as directory:
        try:
            async with asyncio.timeout(WHOLE):
                await on_a_cluster(Path(directory))
        except asyncio.CancelledError:
            say(f"interrupted after {time.monotonic() - began:.0f} s")
            return 130
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
            if not isinstance(error, EXPECTED):
                traceback.print_exception(error)
            say(f"FAILED after {time.monotonic() - began:.0f} s: {str(error) or type(error).__name__}")
            return 1
    say(f"all is as promised, after {time.monotonic() - began:.0f} s")
    return 0


def there() -> bool:
    """Whether all that it needs can be had; it is built where it is missing."""
    subprocess.run(["sh", str(ROOT / "testbed" / "setup.sh"), "etcd", "image", "helm", "kind", "node"], check=False)
    for name in ("etcd", "image", "helm", *PARTS):
        require(name)
    return True


if __name__ == "__main__":
    if os.geteuid() != 0:
        say("left out: a cluster's nodes need root")
        sys.exit(0)
    try:
        there()
    except MissingError as error:
        say(f"FAILED: {error}")
        sys.exit(1)
    sys.exit(asyncio.run(main()))
