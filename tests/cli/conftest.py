"""The command line as people run it: processes of its own, manifests in a folder, a state folder that goes away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from waypost.cli import state

SECONDS = 60.0  # on a machine that is busy


class Command:
    """`waypost` with a state home and a folder of manifests of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.dns_port = free_port()
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")},
            "XDG_STATE_HOME": str(folder / "state-home"),
            "WAYPOST_ADMIN": "127.0.0.1:0",
            "TZ": "UTC",
        }
        self.running: list[Running] = []

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def write(self, name: str, text: str) -> Path:
        path = self.manifests / name
        temporary = path.with_suffix(".part")
        temporary.write_text(text)
        temporary.replace(path)
        return path

    def declare(self, instances: Iterable[str], registration: str = "web") -> None:
        """Declare a static source with these instances of a service, published by the embedded DNS server."""
        declared = ", ".join(
            f'{{id: {name}, addresses: ["10.0.{n // 250}.{n % 250 + 1}"], ports: [{{name: http, number: 80}}]}}'
            for n, name in enumerate(instances)
        )
        self.write(
            "all.yaml",
            f"""\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {{name: machines}}
spec: {{type: static, environment: test}}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {{name: dns}}
spec: {{type: dns_server, environment: test, ownerID: tests, config: {{listen: "127.0.0.1:{self.dns_port}"}}}}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {{name: {registration}, namespace: shop}}
spec:
  sources:
    - name: all
      sourceRef: {{name: machines}}
      service: {{name: {registration}}}
      instances: [{declared}]
  sinks:
    - {{name: dns, sinkRef: {{name: dns}}}}
""",
        )

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            [sys.executable, "-m", "waypost", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environ, **environ},
            timeout=60,
            check=False,
        )

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb against the server on the state folder."""
        return self(*arguments, "--state-dir", str(self.state))

    def json(self, *arguments: str) -> Any:
        """Run a verb against the server; its answer, which must be one JSON value and nothing else."""
        done = self.ask(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, *more: str, state_dir: Path | None = None, answers: bool = True) -> Running:
        """Start `waypost run`; it answers when this returns, if it ever will."""
        folder = state_dir or self.state
        self.start_as(
            ["run", "-f", str(self.manifests), "--state-dir", str(folder), *more], lambda: folder, answers=answers
        )
        return self.running[-1]

    def start_as(self, arguments: Sequence[str], folder: Callable[[], Path], *, answers: bool = True) -> None:
        """Start it with these arguments, on any free port; `folder` says where its state is, once it has begun."""
        process = Running(self, arguments, folder)
        self.running.append(process)
        if answers:
            process.until(process.answers, "it answers")

    def settle(self, records: int) -> None:
        """Wait until that many records are in the sink."""

        def settled() -> bool:
            with urllib.request.urlopen(f"{self.running[-1].url}/v1/status", timeout=10) as answer:
                whole = json.load(answer)
            return bool(whole["settled"] and sum(sink["records"] for sink in whole["sinks"]) == records)

        self.running[-1].until(settled, f"{records} records")


class Running:
    """A `waypost run`."""

    def __init__(self, command: Command, arguments: Sequence[str], folder: Callable[[], Path]) -> None:
        self._folder = folder
        self.log = command.folder / f"log-{len(command.running)}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "waypost", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=command.environ,
                cwd=command.folder,
            )

    @property
    def url(self) -> str:
        return (self._folder() / state.ADDRESS_FILE).read_text().strip()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:  # not yet; or what a killed process left
            return False

    def until(self, true: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + SECONDS
        while not true():
            assert self.process.poll() is None, f"it ended: {self.told()}"
            assert time.monotonic() < end, f"not within {SECONDS:g} s: {what}; {self.told()}"
            time.sleep(0.02)

    def told(self) -> str:
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; the exit status, and how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        return status, time.monotonic() - began


def free_port() -> int:
    """Return a port that is free for TCP and UDP now."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                datagram.bind(stream.getsockname())
                return int(stream.getsockname()[1])


@pytest.fixture
def waypost(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    try:
        yield command
    finally:
        for running in command.running:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait(20)
