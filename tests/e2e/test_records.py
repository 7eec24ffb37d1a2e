"""A record that went, came unasked or was written again is noticed; etcd's own log is read to its end."""

from pathlib import Path

import pytest

from e2e.records import PREFIX, Records, unwritten
from e2e.steps import StepError
from testbed.servers import Etcd
from testbed.servers.etcd_log import Event, history


def test_a_record_that_was_written_again_is_noticed() -> None:
    unwritten({"a": 1}, {"a": 1, "b": 2})
    with pytest.raises(StepError, match=r"written again though nothing had changed: \['a'\]"):
        unwritten({"a": 1}, {"a": 2})


@pytest.mark.server
async def test_what_was_deleted_is_counted_even_when_it_is_there_again(tmp_path: Path) -> None:
    async with Etcd(tmp_path, unsafe_no_fsync=True) as etcd:
        await etcd.put(f"{PREFIX}a", "1")
        await etcd.put("/other", "1")
        await etcd.delete("/other")
        assert await Records(etcd).deregistered() == 0
        await etcd.delete(f"{PREFIX}a")
        await etcd.put(f"{PREFIX}a", "2")
        assert await Records(etcd).deregistered() == 1
        assert await history(etcd, PREFIX) == [
            Event(2, f"{PREFIX}a", "1"),
            Event(6, f"{PREFIX}a", None),
            Event(7, f"{PREFIX}a", "2"),
        ]
