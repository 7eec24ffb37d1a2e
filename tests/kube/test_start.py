"""What a start does not wait for: kopf."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from waypost.kit.kubernetes.access import Access
from waypost.kube.lifecycle import LATE_SECONDS, LOOK_SECONDS, Lifecycle
from waypost.testing.virtual import VirtualClock, virtual_test

IMPORTED = "import sys, waypost.cli.process, waypost.kube.shell; print(*{'kopf', 'kubernetes'} & sys.modules.keys())"


def test_neither_kopf_nor_the_client_is_imported_before_they_are_needed() -> None:
    told = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == []


async def begins_after(
    seconds: float, monkeypatch: pytest.MonkeyPatch, settled: Callable[[], bool], probe: str
) -> bool:
    """Whether kopf's thread has begun after so many seconds."""
    began: list[object] = []
    monkeypatch.setattr(Lifecycle, "_thread", lambda _self, loop: began.append(loop))
    api: Any = SimpleNamespace(clock=VirtualClock())

    async def alive() -> Mapping[str, Any]:
        return {}

    lifecycle = Lifecycle(api, lambda: Access("https://nowhere"), "waypost", probe=probe, alive=alive, settled=settled)
    task = asyncio.create_task(lifecycle.run())
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return bool(began)


def test_kopf_begins_when_all_is_settled_or_some_seconds_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    @virtual_test
    async def run() -> None:
        clock = VirtualClock()

        def later() -> bool:
            return clock.monotonic() >= 3.0

        assert not await begins_after(2.9, monkeypatch, later, "")
        assert await begins_after(3 * LOOK_SECONDS, monkeypatch, later, "")  # it is 2.9 already
        assert not await begins_after(LATE_SECONDS - LOOK_SECONDS, monkeypatch, lambda: False, "")
        assert await begins_after(LATE_SECONDS + LOOK_SECONDS, monkeypatch, lambda: False, "")

    run()


def test_where_it_answers_a_probe_kopf_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @virtual_test
    async def run() -> None:
        assert await begins_after(0.01, monkeypatch, lambda: False, "127.0.0.1:8080")

    run()
