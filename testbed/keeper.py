"""Runs one server for a test and leaves nothing of it behind, however the test ends.

A program of its own (standard library, `python -I -S keeper.py PROGRAM ARGUMENT…`) that stands between the test and the
server:

- it is the "child subreaper" of whatever the server starts, so a process that left the server's session (a Mesos task
  does) is still found among its descendants;
- its standard input is a pipe held by the test: when that closes, because the test ended in whatever way (kill -9
  included), it ends the server and all descendants. When the server itself ends, it ends those that are left as well;
- it signals on command, so that only a process of its own, not yet reaped, is ever signalled: no pid is used twice.

Commands, one a line: `signal NUMBER`. It prints `pid NUMBER` first and `exit STATUS` last (negative: the signal that
ended it).
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Set a property of this process (prctl(2)); raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def spawn(argv: list[str]) -> int:
    """Start the server in a session of its own; it dies with the keeper."""
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def children() -> dict[int, list[int]]:
    """All processes by their parent, as /proc says now."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended in between
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(stat.parent.name))
    return found


def descendants(root: int) -> Iterator[int]:
    """Every process below `root`, parents first."""
    tree = children()
    waiting = list(tree.get(root, ()))
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += tree.get(pid, ())


def sweep() -> None:
    """End every descendant and reap it; those that appear meanwhile too."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def reap(server: int) -> int | None:
    """Collect what ended; the server's exit status, once it has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == server:
            return os.waitstatus_to_exitcode(status)


def watch(server: int, wakeups: int) -> int:
    """Serve commands until the server or the test has ended; the server's exit status."""
    pending = b""
    while True:
        ready, _, _ = select.select([0, wakeups], [], [])
        if wakeups in ready:
            os.read(wakeups, 4096)
            status = reap(server)
            if status is not None:
                return status
        if 0 in ready:
            read = os.read(0, 4096)
            if not read:
                return -signal.SIGKILL
            *commands, pending = (pending + read).split(b"\n")
            for command in commands:
                os.kill(server, int(command.split()[1]))


def main(argv: list[str]) -> None:
    """Run `argv` and end with it, or with whoever holds standard input."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeups, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(bell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    server = spawn(argv)
    os.write(1, f"pid {server}\n".encode())
    try:
        status = watch(server, wakeups)
    finally:
        sweep()
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"exit {status}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
