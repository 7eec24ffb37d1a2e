"""Programs that do their work and end: kubectl, kind, docker and their like."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

GRACE = 10  # seconds


class CommandError(ValueError):
    """A program failed or took too long; the message has its last lines."""


async def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bytes = b"", timeout: float = 120
) -> str:
    """What it prints on standard output; raises CommandError after `timeout` seconds or with a status other than 0.

    What it started in its process group ends with it when it is cut short.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        raise CommandError(f"`{' '.join(argv)}`: not done after {timeout:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        said = "\n".join((err or out).decode(errors="replace").splitlines()[-25:])
        raise CommandError(f"`{' '.join(argv)}` ended with {process.returncode}: {said}")
    return out.decode(errors="replace")


async def follow(argv: Sequence[str], *, timeout: float) -> None:
    """Run it with its output beside ours; raises CommandError after `timeout` seconds or with a status other than 0.

    Cut short, it and its process group are asked to end (SIGTERM), and are ended after GRACE seconds.
    """
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, start_new_session=True)
    try:
        async with asyncio.timeout(timeout):
            status = await process.wait()
    except TimeoutError:
        raise CommandError(f"`{' '.join(argv)}`: not done after {timeout:g} s") from None
    finally:
        if process.returncode is None:
            await _end(process)
    if status:
        raise CommandError(f"`{' '.join(argv)}` ended with {status}")


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
