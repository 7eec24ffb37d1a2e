"""A real server as a child of a test: started, asked, stopped, killed, paused and started again on the same ports.

What every server class shares. It holds no event loop of its own: a server started in one loop may be used from
another, so one server can serve a whole test session.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

KEEPER = Path(__file__).with_name("keeper.py")
PROBE_EVERY = 0.05  # seconds between two tries of a probe


class NotReadyError(Exception):
    """A server ended early or did not answer in time; the message has the end of its log."""


class Server:
    """One process. Subclasses say what to run (`command`, `environment`) and how to ask whether it serves (`probe`).

    Everything it writes is below `directory`: `data/` (its state) and `log`. Ports are chosen once, when the object is
    made.
    """

    name: ClassVar[str] = "server"

    def __init__(self, directory: Path) -> None:
        """Prepare a server that keeps its files in `directory` (made if absent)."""
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.log = self.directory / f"{self.name}.log"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None

    # What a subclass says

    def command(self) -> Sequence[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """The server's environment; the test's own unless overridden."""
        return os.environ

    def prepare(self) -> None:
        """Write configuration files; called before every start."""

    async def probe(self) -> None:
        """Ask whether it serves; raise OSError, ValueError or LookupError while it does not."""
        raise NotImplementedError

    async def provision(self) -> None:
        """Set up users, tokens and the like; called once per fresh state, when the server is ready."""

    # Life

    @property
    def pid(self) -> int:
        """The server's process id; raises RuntimeError when it does not run."""
        if self._pid is None or not self.running:
            msg = f"{self.name} does not run"
            raise RuntimeError(msg)
        return self._pid

    @property
    def running(self) -> bool:
        """Whether the process is there (paused counts)."""
        return self._keeper is not None and self._keeper.poll() is None

    async def start(self, *, timeout: float = 60) -> Self:
        """Start it and wait until it serves; raises NotReadyError after `timeout` seconds or when it ends."""
        fresh = not self.data.exists()
        self.launch()
        try:
            await self.ready(timeout=timeout)
            if fresh:
                await self.provision()
        except BaseException:
            await self.kill9()
            if fresh:  # half set up is not a state to keep
                shutil.rmtree(self.data, ignore_errors=True)
            raise
        return self

    def launch(self) -> None:
        """Start it without waiting."""
        if self.running:
            msg = f"{self.name} runs already"
            raise RuntimeError(msg)
        self.data.mkdir(parents=True, exist_ok=True)
        self.prepare()
        with self.log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), *self.command()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=dict(self.environment()),
                cwd=self.data,
                start_new_session=True,
            )
        assert self._keeper.stdout is not None
        answer = self._keeper.stdout.readline()
        if not answer.startswith(b"pid "):
            raise NotReadyError(self._complaint("its keeper did not start"))
        self._pid = int(answer.split()[1])

    async def ready(self, *, timeout: float = 60) -> None:
        """Wait until the probe passes; raises NotReadyError after `timeout` seconds or when the process ends."""
        deadline = time.monotonic() + timeout
        while True:
            if not self.running:
                raise NotReadyError(self._complaint("it ended"))
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    await self.probe()
            except (OSError, ValueError, LookupError) as error:
                if time.monotonic() >= deadline:
                    raise NotReadyError(self._complaint(f"not ready after {timeout:g} s: {error!r}")) from error
            else:
                return
            await asyncio.sleep(PROBE_EVERY)

    async def stop(self, *, grace: float = 10) -> None:
        """End it politely (SIGTERM), after `grace` seconds by force; nothing it started is left. Idempotent."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        if not await self._ended(grace):
            await self.kill9()
        self._release()

    async def kill9(self) -> None:
        """End it as a power cut would (SIGKILL), with everything it started; returns when it is gone. Idempotent."""
        self._signal(signal.SIGKILL)
        if not await self._ended(20):
            msg = f"{self.name} (process {self._pid}) cannot be ended"
            raise RuntimeError(msg)
        self._release()

    async def restart(self, *, keep_state: bool = True, kill: bool = False, timeout: float = 60) -> Self:
        """Stop (or `kill`) and start it on the same ports, with its state or without."""
        await (self.kill9() if kill else self.stop())
        if not keep_state:
            shutil.rmtree(self.data, ignore_errors=True)
        return await self.start(timeout=timeout)

    async def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)
        await self._in_state(stopped=True)

    async def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._signal(signal.SIGCONT)
        await self._in_state(stopped=False)

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    # How

    def _signal(self, number: signal.Signals) -> None:
        """Ask the keeper to signal the server; nothing happens when it has ended."""
        if self._keeper is not None and self._keeper.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._keeper.stdin.write(f"signal {int(number)}\n".encode())

    async def _ended(self, seconds: float) -> bool:
        """Wait at most `seconds` for the keeper to end, which it does last of all."""
        deadline = time.monotonic() + seconds
        while self.running:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    async def _in_state(self, *, stopped: bool) -> None:
        """Wait until the kernel says that every thread is (or is no longer) stopped."""
        deadline = time.monotonic() + 10
        while (self._state() == "T") != stopped:
            if time.monotonic() >= deadline:
                msg = f"{self.name} did not {'stop' if stopped else 'go on'}"
                raise RuntimeError(msg)
            await asyncio.sleep(0.005)

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def _release(self) -> None:
        """Close the pipes of a keeper that has ended."""
        if self._keeper is not None:
            for pipe in (self._keeper.stdin, self._keeper.stdout):
                if pipe is not None:
                    pipe.close()
        self._keeper = self._pid = None

    def _complaint(self, what: str) -> str:
        return f"{self.name}: {what}; the end of {self.log}:\n{self.log_tail()}"
