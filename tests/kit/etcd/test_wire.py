"""The bytes written by hand are what protobuf would have written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit.etcd import wire

HERE = Path(__file__).parent
KEYS = st.binary(min_size=1, max_size=5000)
VALUES = st.binary(max_size=20_000)


@pytest.fixture(scope="module")
def transaction(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = tmp_path_factory.mktemp("proto") / "set"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE}", f"--descriptor_set_out={made}", "transaction.proto"],
        check=True,
    )
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("waypost.tests.etcd.TxnRequest"))


@given(key=KEYS, value=VALUES, low=KEYS, high=KEYS, revision=st.integers(0, 2**62))
def test_each_item_reads_back_as_what_it_says(
    transaction: Any, key: bytes, value: bytes, low: bytes, high: bytes, revision: int
) -> None:
    def read(item: bytes) -> Any:
        return transaction.FromString(item)

    reading = {"request_range": {"key": key}}
    putting = {"request_put": {"key": key, "value": value}}
    absence = {"target": "CREATE", "key": key, "create_revision": 0}
    ours = [
        {"result": "GREATER", "target": "VALUE", "key": key, "value": low},
        {"result": "LESS", "target": "VALUE", "key": key, "value": high},
    ]
    assert read(wire.absent(key)) == transaction(compare=[absence])
    assert read(wire.equals(key, value)) == transaction(compare=[{"target": "VALUE", "key": key, "value": value}])
    assert read(wire.between(key, low, high)) == transaction(compare=ours)
    unchanged = {"result": "LESS", "target": "MOD", "key": key, "mod_revision": revision + 1, "range_end": high}
    assert read(wire.unchanged_since(key, high, revision)) == transaction(compare=[unchanged])
    assert read(wire.put(key, value)) == transaction(success=[putting])
    assert read(wire.delete(key)) == transaction(success=[{"request_delete_range": {"key": key}}])
    assert read(wire.read(key)) == transaction(success=[reading])
    assert read(wire.read_instead(key)) == transaction(failure=[reading])
    created = transaction(compare=[absence], success=[putting], failure=[reading])
    assert read(wire.put_if_absent(key, value)) == created
    replaced = transaction(compare=ours, success=[putting], failure=[reading])
    assert read(wire.put_if_between(key, value, low, high)) == replaced
    deleted = transaction(compare=ours, success=[{"request_delete_range": {"key": key}}], failure=[reading])
    assert read(wire.delete_when(key, low, high)) == deleted


def test_that_nothing_is_there_is_said_and_not_left_to_a_default(transaction: Any) -> None:
    (compare,) = transaction.FromString(wire.absent(b"/a")).compare
    assert compare.WhichOneof("target_union") == "create_revision"


@given(prefix=st.binary(max_size=40), rest=st.binary(max_size=40), other=st.binary(max_size=80))
def test_a_successor_comes_after_all_that_begin_so_and_before_all_else(
    prefix: bytes, rest: bytes, other: bytes
) -> None:
    start = prefix + b"/"
    end = wire.successor(start)
    assert start <= start + rest < end
    assert (start <= other < end) == other.startswith(start)


@given(key=st.binary(max_size=20), other=st.binary(max_size=20))
def test_nothing_lies_between_a_key_and_what_comes_after(key: bytes, other: bytes) -> None:
    assert key < wire.after(key)
    assert not key < other < wire.after(key)
