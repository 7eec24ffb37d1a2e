"""Free ports on loopback, chosen so that they stay free.

A port that the kernel hands out for port 0 lies in the range it also takes for outgoing connections, so any client of
the machine may occupy it while a server restarts. The ports given here lie below that range, are tried by binding them
(TCP and UDP), and are given once per process.
"""

import contextlib
import random
import socket
from pathlib import Path

LOWEST = 10_240
_given: set[tuple[str, int]] = set()


def _highest() -> int:
    """The last port below the kernel's own range (`ip_local_port_range`)."""
    with contextlib.suppress(OSError, ValueError):
        lowest_of_kernel = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if lowest_of_kernel > LOWEST + 1000:
            return lowest_of_kernel - 1
    return 32_767


def is_free(host: str, port: int) -> bool:
    """Whether both TCP and UDP can be bound there now."""
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
    except OSError:
        return False
    return True


def free_block(size: int, host: str = "127.0.0.1") -> int:
    """The first of `size` consecutive ports, all free on `host`; raises OSError when none is found."""
    highest = _highest()
    for _ in range(1000):
        first = random.randint(LOWEST, highest - size)
        block = [(host, first + offset) for offset in range(size)]
        if not _given.intersection(block) and all(is_free(*place) for place in block):
            _given.update(block)
            return first
    msg = f"no {size} consecutive free ports between {LOWEST} and {highest} on {host}"
    raise OSError(msg)


def free_port(host: str = "127.0.0.1") -> int:
    """A free port on `host`."""
    return free_block(1, host)
