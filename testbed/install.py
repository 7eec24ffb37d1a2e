"""Builds what is missing or outdated in the testbed's cache: `python -m testbed.install [--list] [NAME…]`.

A part is made in a folder beside its place and renamed when it is whole, so an interrupted build leaves nothing half
done; one process makes a part at a time, others wait for it. What a build starts ends with it. Runs on a bare Python >=
3.11 that has pip.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from testbed.cache import cache
from testbed.index import FetchError
from testbed.parts import COMMANDS, DEFAULT, NOT_ROOT, PACKAGED, PARTS, STAMP, MissingError, Part, missing, require
from testbed.process import KEEPER
from testbed.recipes import prerequisites, recipe

HEARTBEAT = 20  # seconds between two lines while something runs


class BuildError(Exception):
    """A part could not be made."""


def say(line: str) -> None:
    """A line of progress."""
    print(f"testbed: {line}", flush=True)


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Watched:
    """Runs a build's programs with their output in `log`, and says every 20 s that they still do."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.began = time.monotonic()

    def __call__(self, argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(argv)}\n".encode())
            log.flush()
            running = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        with running:  # its standard input is closed whatever happens here, and the keeper ends everything then
            while running.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(HEARTBEAT)
                    break
                passed = clock(time.monotonic() - self.began)
                say(f"{self.part.name}: {passed} of about {clock(self.part.minutes * 60)} min")
            assert running.stdout is not None
            if not running.stdout.read().endswith(b"exit 0\n"):
                raise BuildError(f"`{' '.join(argv)}` failed; the end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 25) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def alone(part: Part) -> Iterator[None]:
    """Hold the part's lock; says so while another process has it."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f".{part.name}.lock").open("w") as lock:
        said = 0.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - said >= HEARTBEAT:
                    say(f"{part.name}: another process is making it; waiting")
                    said = time.monotonic()
                time.sleep(0.5)
        yield


def install(part: Part) -> None:
    """Make a part unless it is there; raises BuildError, FetchError or OSError."""
    if part.problem() is None:
        return
    for needed in prerequisites(part):
        install(needed)
    with alone(part):
        problem = part.problem()
        if problem is None:
            say(f"{part.name}: made by another process meanwhile")
            return
        if (part.only_x86 and "only for" in problem) or "not there; install" in problem or NOT_ROOT in problem:
            raise BuildError(problem)
        replace(part)


def replace(part: Part) -> None:
    """Make a part beside its place and put it there."""
    new, old = cache() / f".{part.name}.new", cache() / f".{part.name}.old"
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    log = cache() / f"{part.name}.log"
    log.unlink(missing_ok=True)
    say(f"{part.name}: making {part.what} (about {part.minutes:g} min on two cores, the first time; log: {log})")
    run = Watched(part, log)
    new.mkdir()
    try:
        recipe(part)(new, run)
        for program in part.programs:
            if not (new / program).exists():
                raise BuildError(f"{part.name}: its recipe made no {program}")
        (new / STAMP).write_text(part.digest())
        if part.folder.exists():
            part.folder.rename(old)
        new.rename(part.folder)
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
    say(f"{part.name}: ready after {clock(time.monotonic() - run.began)} min")


def install_all(names: Sequence[str]) -> dict[str, str]:
    """Make these parts one after the other; those that failed, and why."""
    failed = {}
    for name in names:
        try:
            if name in PACKAGED:  # debian.sh has installed it
                require(name)
            else:
                install(PARTS[name])
        except (BuildError, MissingError, FetchError, OSError, subprocess.SubprocessError) as error:
            failed[name] = str(error)
            say(f"{name}: FAILED: {error}")
    return failed


def report() -> None:
    """List all parts."""
    lacking = missing()
    for name, part in PARTS.items():
        if name != "go":
            say(f"{name}: {lacking.get(name, 'there').removeprefix(f'{name}: ')} ({part.what})")
    for name in COMMANDS:
        say(lacking.get(name, f"{name}: there"))


def on_signal(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop())


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 when all that was asked for is there."""
    parser = argparse.ArgumentParser(prog="testbed/setup.sh", description="Builds the testbed's servers.")
    parser.add_argument("--list", action="store_true", help="say what is there and what is missing, and build nothing")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join((*PARTS, *PACKAGED))}; default: {', '.join(DEFAULT)}"
    )
    given = parser.parse_args(argv)
    if given.list:
        report()
        return 0
    names = given.names or DEFAULT
    if unknown := [name for name in names if name not in PARTS and name not in PACKAGED]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join((*PARTS, *PACKAGED))}")
    on_signal(lambda: sys.exit(143))
    try:
        failed = install_all(names)
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept")
        return 130
    for name, why in failed.items():
        print(f"testbed: missing: {name}: {why.splitlines()[0]}", file=sys.stderr)
    if not failed:
        say(f"{', '.join(names)}: there, in {cache()}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
