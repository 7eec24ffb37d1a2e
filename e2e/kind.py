"""`make e2e-kind`: Waypost's image on a real kind cluster, what it registers in a real etcd, and how it fails over.

Ends by itself and leaves nothing behind; when a step fails it says what a person would look at. Ends with 0 when all is
as promised, and when this machine cannot carry a cluster at all, which the last line says then; else with 1.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from e2e.scenario import Scenario
from e2e.stage import stage
from e2e.steps import StepError, reason, say
from testbed import MissingError, require
from testbed.command import CommandError, follow
from testbed.kind_machine import lacking
from testbed.process import NotReadyError
from testbed.servers.kind import PARTS, images_in

TESTBED = Path(__file__).parents[1] / "testbed"
MADE = ("etcd", "image", "helm", "kind", "node")
EXPECTED = (StepError, CommandError, MissingError, NotReadyError, OSError, ValueError)  # the message says it all
PACKAGES = 600  # seconds, both tries
BUILDS = 2400  # both tries; a quarter of an hour on two cores, where nothing was built before
WHOLE = 1500  # what comes after, both tries of the cluster
PAUSE = 10


async def main() -> int:
    """Run it; 0 when all is as promised, or when this machine cannot carry a cluster."""
    began = time.monotonic()
    _interruptible()
    with tempfile.TemporaryDirectory(prefix="waypost-e2e-", ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        try:
            if os.geteuid() != 0:
                return not_run(["root"])
            await fetched("the Debian packages it needs", PACKAGES, TESTBED / "debian.sh")
            if lacks := await lacking(images_in(directory / "images")):
                return not_run(lacks)
            await fetched("what it is made of, built where it is missing", BUILDS, TESTBED / "setup.sh")
            for name in (*MADE, *PARTS):
                require(name)
            async with asyncio.timeout(WHOLE):
                await on_a_stage(directory)
        except asyncio.CancelledError:
            say(f"interrupted after {time.monotonic() - began:.0f} s")
            return 130
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
            if not isinstance(error, EXPECTED):
                traceback.print_exception(error)
            say(f"FAILED after {time.monotonic() - began:.0f} s: {reason(error)}")
            return 1
    say(f"all is as promised, after {time.monotonic() - began:.0f} s")
    return 0


def _interruptible() -> None:
    """End in order at the first SIGTERM or SIGHUP; SIGINT is asyncio's own."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: task.cancel() if not task.cancelling() else None)


def not_run(lacks: list[str]) -> int:
    """Say it so that nobody takes it for a success; 0, for nothing of Waypost was shown to be wrong."""
    say("this machine cannot carry a kind cluster. What it lacks:")
    for each in lacks:
        say(f"  - {each}")
    say(f"NOT RUN: {'; '.join(lacks)}")
    return 0


async def fetched(what: str, seconds: float, script: Path) -> None:
    """Have the parts MADE by this script; at a failure once more, for a network may fail for a moment."""
    say(what)
    try:
        async with asyncio.timeout(seconds):
            try:
                await follow(["sh", str(script), *MADE], timeout=seconds)
            except CommandError as error:
                say(f"{error}; once more in {PAUSE} s")
                await asyncio.sleep(PAUSE)
                await follow(["sh", str(script), *MADE], timeout=seconds)
    except TimeoutError:
        raise StepError(f"{what}: not done after {seconds:g} s") from None


async def on_a_stage(directory: Path) -> None:
    """Play on a cluster; when it fails, say what Waypost and the cluster say."""
    async with stage(directory) as made:
        scenario = Scenario(made)
        try:
            await scenario.play()
        except Exception as error:
            say(f"it failed: {reason(error)}; what Waypost and the cluster say:")
            print(await scenario.explain(), await made.explain(), sep="\n", flush=True)
            raise


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
