"""Programs that do their work and end: kubectl, kind, docker and their like."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence


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
