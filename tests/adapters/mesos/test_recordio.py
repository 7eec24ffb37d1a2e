"""Records come out of a stream the same wherever it is cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.mesos.fake_master import RECORDED
from waypost.adapter import AdapterError
from waypost_adapters.mesos.recordio import Records

STREAM = (RECORDED / "stream.bin").read_bytes()


def split(pieces: list[bytes]) -> list[bytes]:
    records, found, present = Records(), [], b""
    for each in pieces:
        for piece, ends in records.feed(each):
            present += piece
            if ends:
                found.append(present)
                present = b""
    assert not present
    return found


WHOLE = split([STREAM])


def test_a_recorded_stream_is_read() -> None:
    types = [json.loads(record)["type"] for record in WHOLE]
    assert types[:2] == ["SUBSCRIBED", "HEARTBEAT"]
    assert {"TASK_ADDED", "TASK_UPDATED", "AGENT_REMOVED", "FRAMEWORK_ADDED", "FRAMEWORK_REMOVED"} <= set(types)


def test_it_may_be_cut_at_every_byte() -> None:
    assert split([STREAM[at : at + 1] for at in range(len(STREAM))]) == WHOLE
    for at in range(len(STREAM)):
        if at < 8000 or at % 7 == 0:
            assert split([STREAM[:at], STREAM[at:]]) == WHOLE, f"cut at byte {at}"


@given(st.lists(st.binary(max_size=300), max_size=10), st.lists(st.integers(0, 4000), max_size=10))
def test_any_records_come_back(records: list[bytes], cuts: list[int]) -> None:
    text = b"".join(b"%d\n%s" % (len(record), record) for record in records)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    assert split([text[start:end] for start, end in pairwise(places)]) == records


@pytest.mark.parametrize(
    "text", [b"\n", b"abc\n", b"-1\n", b"12 \n", b"1" * 13, b"1" * 13 + b"\n", b"HTTP/1.1 200 OK\r\n", b"3\nabcx"]
)
def test_what_is_no_such_stream_raises(text: bytes) -> None:
    with pytest.raises(AdapterError, match="event stream is broken"):
        split([text])
    with pytest.raises(AdapterError, match="event stream is broken"):
        split([text[at : at + 1] for at in range(len(text))])
