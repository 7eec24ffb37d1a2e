"""`waypost run` as a process on a folder of manifests, asked by its admin server and by the command line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml

from testbed.web import request
from tests.real_rig import SECONDS, until
from waypost.cli import state

API = {"apiVersion": "waypost.dev/v1alpha1"}


def document(kind: str, name: str, namespace: str = "", /, **spec: Any) -> dict[str, Any]:
    """Return a manifest."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {**API, "kind": kind, "metadata": metadata, "spec": spec}


class Waypost:
    """A folder of manifests, a state folder, and a process that may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.manifests = folder / "manifests"
        self.manifests.mkdir(parents=True)
        self.state = folder / "state"
        self.log = folder / "log"
        self.options: list[str] = []  # more of `run`
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self.kill9()

    # --- manifests

    def write(self, name: str, *documents: Mapping[str, Any]) -> Path:
        """Replace a file at once, as an editor does."""
        path = self.manifests / name
        temporary = path.with_suffix(".part")
        temporary.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        temporary.replace(path)
        return path

    # --- the process

    def asked_for(self) -> list[str]:
        """Return the options that say where manifests are."""
        return ["-f", str(self.manifests)]

    async def start(self) -> None:
        """Start it; it answers when this returns."""
        arguments = ["run", *self.asked_for(), "--state-dir", str(self.state), "--admin", "127.0.0.1:0"]
        arguments += self.options
        (self.state / state.ADDRESS_FILE).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "waypost", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=log
            )
        await self.until((self.state / state.ADDRESS_FILE).exists, "it listens")

    @property
    def alive(self) -> bool:
        """Whether a process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process that runs."""
        assert self._process is not None
        return self._process

    async def kill9(self) -> None:
        """End it as a power cut would."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self._process = None

    async def stop(self) -> None:
        """End it politely."""
        self.process.send_signal(signal.SIGTERM)
        assert await self.process.wait() == 0
        self._process = None

    def pause(self) -> None:
        """Freeze it."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    # --- questions

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
        """Wait for a condition while the process runs; what it logged is in the failure."""

        async def checked() -> bool:
            assert self.process.returncode is None, f"it ended with {self.process.returncode}"
            found = condition()
            return bool(await found if asyncio.iscoroutine(found) else found)

        try:
            await until(checked, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self._said()}\n{self.told()[-4000:]}") from None

    async def _said(self) -> str:
        try:
            return str(await self.status())
        except (OSError, ValueError) as error:
            return repr(error)

    def told(self) -> str:
        """What it logged."""
        return self.log.read_text()

    async def status(self) -> dict[str, Any]:
        """What it says of itself."""
        url = (self.state / state.ADDRESS_FILE).read_text().strip()
        found: dict[str, Any] = (await request("GET", f"{url}/v1/status")).expect().json()
        return found

    async def settled(self, records: int | None = None, seconds: float = SECONDS) -> None:
        """Wait until it has read all it can, nothing is to do, and so many records are in each sink."""

        async def quiet() -> bool:
            found = await self.status()
            sinks = found["sinks"]
            right = records is None or all(sink["records"] == records for sink in sinks)
            read = all(sink["loaded"] and not sink["pending"] for sink in sinks)
            return bool(found["manifests"]["read"] and sinks and read and right and found["settled"])

        await self.until(quiet, f"it is settled with {records} records", seconds)

    async def ask(self, *arguments: str) -> Any:
        """Run a verb against it, as a person does; return what it says, decoded."""
        status, out, err = await self._asked(arguments)
        assert status == 0, (arguments, err)
        return msgspec.json.decode(out)

    async def refused(self, *arguments: str) -> str:
        """Run a verb that must fail; return what it says."""
        status, _, err = await self._asked(arguments)
        assert status == 1, (arguments, err)
        return err

    async def _asked(self, arguments: Sequence[str]) -> tuple[int | None, bytes, str]:
        asked: Sequence[str] = [*arguments, "--state-dir", str(self.state), "--output", "json"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "waypost",
            *asked,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out, err.decode()
