"""What an adapter is given: secrets read at each use, followed as they rotate, and shown to nobody."""

import asyncio
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.rig import service
from waypost.engine.context import MOST_BYTES, AdapterContext, Declared, FileCredentials
from waypost.kit.metrics import MetricsRegistry
from waypost.kit.shared import Shared
from waypost.settings import Credential
from waypost.testing.virtual import VirtualClock


def credentials(folder: Path, environ: dict[str, str] | None = None) -> FileCredentials:
    return FileCredentials(
        [Credential("token", file=str(folder / "token")), Credential("password", env="WAYPOST_TEST_PASSWORD")],
        environ or {},
    )


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"s3cret\n", "s3cret"), (b"s3cret\r\n\n", "s3cret"), (b" s3 cret ", " s3 cret "), (b"", ""), (b"\xff", "�")],
)
def test_a_secret_is_read_at_each_use_without_its_newline(tmp_path: Path, content: bytes, value: str) -> None:
    found = credentials(tmp_path)
    assert found.get("token") is None
    (tmp_path / "token").write_bytes(content)
    assert found.get("token") == value
    (tmp_path / "token").write_bytes(b"new")
    assert found.get("token") == "new"


def test_a_file_that_is_no_secret_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"x" * (MOST_BYTES + 10))
    assert len(credentials(tmp_path).get("token") or "") == MOST_BYTES


def test_what_is_missing_is_named_with_its_place_and_no_value(tmp_path: Path) -> None:
    assert credentials(tmp_path).missing() == [
        "password (variable WAYPOST_TEST_PASSWORD)",
        f"token (file {tmp_path / 'token'})",
    ]
    (tmp_path / "token").mkdir()
    assert credentials(tmp_path, {"WAYPOST_TEST_PASSWORD": "x"}).missing() == [f"token (file {tmp_path / 'token'})"]
    assert credentials(tmp_path).get("unheard-of") is None


def test_no_secret_is_in_any_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "token").write_text("hunter2")
    found = credentials(tmp_path, {"WAYPOST_TEST_PASSWORD": "hunter2"})
    assert found.get("token") == found.get("password") == "hunter2"
    logging.getLogger("waypost").warning("%r %s %s", found, found, found.missing())
    assert "hunter2" not in caplog.text + repr(found) + str(found) + f"{found}"
    assert repr(found) == "FileCredentials(['password', 'token'])"


async def rotated(found: FileCredentials, rotate: Any) -> None:
    """Wait for `changed`, rotating again and again until it is noticed: the watch begins when it likes."""
    task = asyncio.ensure_future(found.changed())
    try:
        async with asyncio.timeout(20):
            while not task.done():
                rotate()
                await asyncio.wait([task], timeout=0.2)
        task.result()
    finally:
        task.cancel()


async def test_a_file_written_anew_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    await rotated(credentials(tmp_path), lambda: (tmp_path / "token").write_text(os.urandom(8).hex()))


async def test_a_link_that_points_elsewhere_is_noticed(tmp_path: Path) -> None:
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")

    def swap() -> None:
        (tmp_path / "next").symlink_to("..1" if (tmp_path / "..data").readlink() == Path("..2") else "..2")
        (tmp_path / "next").replace(tmp_path / "..data")

    found = credentials(tmp_path)
    await rotated(found, swap)
    assert found.get("token") == str((tmp_path / "..data").readlink())


async def test_where_no_file_is_named_nothing_ever_changes() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await FileCredentials([Credential("password", env="X")], {}).changed()


async def test_declared_services_tell_of_each_change_once() -> None:
    declared = Declared()
    one = service("web", "a")
    waiting = asyncio.ensure_future(declared.changed())
    await asyncio.sleep(0)
    declared.set((), complete=False)
    await asyncio.sleep(0)
    assert not waiting.done(), "nothing was there, and nothing is"
    declared.set((one,), complete=False)
    await asyncio.wait_for(waiting, 1)
    assert list(declared.services()) == [one]
    waiting = asyncio.ensure_future(declared.changed())
    await asyncio.sleep(0)
    declared.set((one,), complete=False)
    await asyncio.sleep(0)
    assert not waiting.done()
    declared.set((service("web", "a"),), complete=False)
    await asyncio.wait_for(waiting, 1)
    waiting = asyncio.ensure_future(declared.changed())
    await asyncio.sleep(0)
    declared.set(tuple(declared.services()), complete=True)
    await asyncio.wait_for(waiting, 1)
    assert declared.complete, "that the set was read whole is a change of its own"


def test_an_adapters_folder_is_its_own(tmp_path: Path) -> None:
    warned: list[tuple[str, str]] = []
    made = AdapterContext(
        kind="sink",
        name="out",
        environment="test",
        owner="me",
        clock=VirtualClock(),
        random=random.Random(0),
        metrics=MetricsRegistry().bound(),
        credentials=credentials(tmp_path),
        declared=Declared(),
        state_dir=tmp_path / "adapters" / "sink-out",
        shared=Shared(),
        on_warn=lambda reason, message: warned.append((reason, message)),
    )
    assert made.state_dir.stat().st_mode & 0o777 == 0o700
    made.warn("Old", "upgrade it")
    assert warned == [("Old", "upgrade it")]
