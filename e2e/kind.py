"""`make e2e-kind`: Waypost's image on a real kind cluster, what it registers in a real etcd, and how it fails over.

Ends by itself and leaves nothing behind; when a step fails it says what a person would look at. Ends with 0 when all is
as promised, and when this machine cannot carry a cluster at all, which the last line says then; else with 1. Such a
machine is one that lacks what possible.sh asks for, and with CI=true also one where no cluster could be had, after two
tries. Once there is a cluster, whatever fails is a failure.
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
from e2e.stage import NoClusterError, stage
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
BUILDS = 1500  # both tries; a quarter of an hour on two cores, where nothing was built before
WHOLE = 1500  # what comes after: the cluster, at the second try if need be, all of the scenario, and the end
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
        except NoClusterError as error:
            return no_cluster(error, ci=os.environ.get("CI") == "true")
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


def no_cluster(error: NoClusterError, *, ci: bool) -> int:
    """Nothing of Waypost was tried. In CI it is the machine that is told, and 0; to a person it is a failure, and 1."""
    why = f"no cluster could be had, and nothing of Waypost was tried: {reason(error)}"
    say(f"{'NOT RUN' if ci else 'FAILED'}: {' '.join(why.split())}")
    return 0 if ci else 1


async def fetched(what: str, seconds: float, script: Path) -> None:
    """Have the parts MADE by this script; at a failure once more, for a network may fail for a moment.

    Raises NoClusterError at the second.
    """
    say(what)
    try:
        async with asyncio.timeout(seconds):
            try:
                await follow(["sh", str(script), *MADE], timeout=seconds)
            except CommandError as error:
                say(f"{error}; once more in {PAUSE} s")
                await asyncio.sleep(PAUSE)
                await follow(["sh", str(script), *MADE], timeout=seconds)
    except CommandError as error:
        raise NoClusterError(f"{what}: {error}") from error
    except TimeoutError:
        raise NoClusterError(f"{what}: not done after {seconds:g} s") from None


async def on_a_stage(directory: Path) -> None:
    """Play on a cluster; when it fails, say what Waypost and the cluster say."""
    async with stage(directory) as made:
        scenario = Scenario(made)
        try:
            await scenario.play()
        except Exception as error:  # whatever it is: first what is seen while the cluster is there
            say(f"it failed: {reason(error)}; what Waypost and the cluster say:")
            print(await scenario.explain(), await made.explain(), sep="\n", flush=True)
            raise


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
