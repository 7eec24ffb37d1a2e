"""What a kind cluster needs of the machine, and what its nodes change there: asked before, put back after."""

import contextlib
from pathlib import Path

from testbed.command import CommandError, run

SCRIPT = Path(__file__).parent / "kind" / "possible.sh"
SECONDS = 60  # it takes one
SYSCTLS = Path("/proc/sys")
CHANGED = (  # by kubelet (its `setupKernelTunables`), for the whole machine
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


async def lacking(folder: Path) -> list[str]:
    """What this machine lacks to carry a cluster whose images are kept in `folder`; nothing: it can."""
    try:
        await run(["sh", "-c", 'sh "$0" "$1" 1>&2', str(SCRIPT), str(folder)], timeout=SECONDS)
    except CommandError as error:
        _, _, said = str(error).partition(": ")
        return said.splitlines()
    return []


def settings() -> dict[str, str]:
    """The kernel's settings that kubelet changes, as they are."""
    return {name: (SYSCTLS / name).read_text() for name in CHANGED}


def restore(found: dict[str, str]) -> None:
    """Put them back; one that cannot be written is left."""
    for name, value in found.items():
        with contextlib.suppress(OSError):
            if (SYSCTLS / name).read_text() != value:
                (SYSCTLS / name).write_text(value)
