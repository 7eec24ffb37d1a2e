"""The play: start, register, look up, kill one, see it gone, end. The same for every stage."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from waypost.cli.demo.local import free_port
from waypost.cli.demo.lookup import ask_dns, ask_registry
from waypost.cli.demo.stage import Death, Stage
from waypost.cli.exits import FAILED, OK

__all__ = ["play"]

NAME = "web.shop.test.waypost.test"
PATH = "/services/web?namespace=shop&environment=test"
DEFAULTS = {"registry": 7480, "dns": 7453, "admin": 7470}
START_SECONDS = 30.0
GONE_SECONDS = 30.0


async def play(stage: Stage) -> int:
    """Give the play; return the exit status. Nothing that it started is left."""
    folder = Path(tempfile.mkdtemp(prefix="waypost-demo-"))
    waypost: asyncio.subprocess.Process | None = None
    _say(f"Waypost, shown on {stage.title}.")
    try:
        _step("1. What runs")
        manifests = folder / "manifests"
        manifests.mkdir()
        _say(await stage.start(manifests))
        ports = {name: _port(name, default) for name, default in DEFAULTS.items()}
        _listen_on(manifests, ports)
        _step("2. waypost run -f manifests/")
        for path in sorted(manifests.glob("*.yaml")):
            _say(f"     # {path.name}")
            for line in path.read_text().splitlines():
                if line and not line.startswith("#"):
                    _say(f"     {line}")
        waypost = await _run(folder, manifests, ports["admin"])
        began = time.monotonic()
        await _until(waypost, lambda: _registered(ports, 3), START_SECONDS)
        _say(f"three instances are registered {_ms(time.monotonic() - began)} after its start")
        _step("3. What a consumer sees")
        await _show(ports)
        _step("4. Kill one")
        death = await stage.kill_one()
        await _show_gone(waypost, ports, death)
        await _show(ports)
        _step("5. waypost status")
        await _status(folder, ports["admin"])
        _step("6. The end")
        await _end(waypost)
    except (OSError, TimeoutError, RuntimeError) as error:
        print(f"waypost demo: it did not work: {error}", file=sys.stderr)
        _tail(folder / "waypost.log")
        return FAILED
    finally:
        if waypost is not None and waypost.returncode is None:
            waypost.kill()
            await waypost.wait()
        await stage.stop()
        shutil.rmtree(folder, ignore_errors=True)
    _say("Waypost has ended, and so has all that was started for it. The manifests above are all it took.")
    return OK


# --- the acts


async def _run(folder: Path, manifests: Path, admin: int) -> asyncio.subprocess.Process:
    with (folder / "waypost.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *_waypost(
                "run", "-f", str(manifests), "--state-dir", str(folder / "state"), "--admin", f"127.0.0.1:{admin}"
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def _show(ports: dict[str, int]) -> None:
    _, found = await ask_registry(f"127.0.0.1:{ports['registry']}", PATH)
    _say(f"$ curl 'http://127.0.0.1:{ports['registry']}{PATH}'")
    for instance in found["Instances"]:
        _say(f"     {instance['ID']}  {instance['Host']}:{instance['Port']}  {instance['Readiness']}")
    for kind, name in (("A", NAME), ("SRV", f"_http._tcp.{NAME}")):
        _, answers = await ask_dns(f"127.0.0.1:{ports['dns']}", name, kind)
        _say(f"$ dig @127.0.0.1 -p {ports['dns']} {kind} {name}")
        _say(f"     {', '.join(answers)}{' (ports)' if kind == 'SRV' else ''}")


async def _show_gone(waypost: asyncio.subprocess.Process, ports: dict[str, int], death: Death) -> None:
    async def gone_from_registry() -> bool:
        _, found = await ask_registry(f"127.0.0.1:{ports['registry']}", PATH)
        return str(death.port) not in {str(instance["Port"]) for instance in found["Instances"]}

    async def gone_from_dns() -> bool:
        _, answers = await ask_dns(f"127.0.0.1:{ports['dns']}", f"_http._tcp.{NAME}", "SRV")
        return str(death.port) not in answers

    async def timed(name: str, gone: object) -> tuple[str, float]:
        await _until(waypost, gone, GONE_SECONDS, pause=0.002)
        return name, time.time() - death.at

    found = await asyncio.gather(timed("registry", gone_from_registry), timed("DNS server", gone_from_dns))
    _say(f"the instance on port {death.port} was killed; counted from {death.by}, it was gone")
    for name, seconds in found:
        _say(f"     from the {name} after {_ms(seconds)}")


async def _status(folder: Path, admin: int) -> None:
    command = _waypost("status", "--server", f"http://127.0.0.1:{admin}", "--state-dir", str(folder / "state"))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    for line in out.decode(errors="replace").splitlines():
        _say(f"     {line}")


async def _end(waypost: asyncio.subprocess.Process) -> None:
    began = time.monotonic()
    waypost.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        status = await waypost.wait()
    if status != 0:
        raise RuntimeError(f"waypost run ended with status {status} after SIGTERM")
    _say(f"SIGTERM: ended in {_ms(time.monotonic() - began)}, nothing deregistered")


# --- what they need


async def _registered(ports: dict[str, int], count: int) -> bool:
    status, found = await ask_registry(f"127.0.0.1:{ports['registry']}", PATH)
    if status != 200 or len(found.get("Instances", ())) != count:
        return False
    _, answers = await ask_dns(f"127.0.0.1:{ports['dns']}", f"_http._tcp.{NAME}", "SRV")
    return len(answers) == count


async def _until(waypost: asyncio.subprocess.Process, true: object, seconds: float, pause: float = 0.05) -> None:
    """Ask again and again, as a consumer would, until it is so."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if waypost.returncode is not None:
                    raise RuntimeError(f"waypost run ended with status {waypost.returncode}")
                try:
                    if await true():  # type: ignore[operator]
                        return
                except OSError:
                    pass  # not listening yet
                await asyncio.sleep(pause)
    except TimeoutError:
        raise TimeoutError(f"not so after {seconds:.0f} s") from None


def _waypost(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from waypost.cli import main; sys.exit(main())", *arguments]


def _port(name: str, default: int) -> int:
    """Return the default port, or another where it is taken."""
    import socket

    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", default))
    except OSError:
        port = free_port(datagrams=True)
        _say(f"port {default} ({name}) is taken here; {port} is used in its place")
        return port
    return default


def _listen_on(manifests: Path, ports: dict[str, int]) -> None:
    path = manifests / "sinks.yaml"
    text = path.read_text()
    for name in ("registry", "dns"):
        text = text.replace(f"127.0.0.1:{DEFAULTS[name]}", f"127.0.0.1:{ports[name]}")
    path.write_text(text)


def _tail(path: Path) -> None:
    if path.exists():
        print("its last lines:", *path.read_text(errors="replace").splitlines()[-15:], sep="\n  ", file=sys.stderr)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _step(title: str) -> None:
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"\n{bold}{title}{plain}", flush=True)


def _say(text: str) -> None:
    print(f"   {text}", flush=True)
