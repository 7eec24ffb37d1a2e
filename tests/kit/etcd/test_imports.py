"""Listing the adapter and checking its manifest need no gRPC; opening it says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import asyncio, sys
{block}
from waypost.adapter import PermanentError
import waypost.kit.etcd.endpoint, waypost.kit.etcd.wire
from waypost_adapters.etcd import SINK
config = SINK.config(endpoints=("http://127.0.0.1:1",))
assert "grpc" not in sys.modules or sys.modules["grpc"] is None, "gRPC is loaded before it is used"

async def main():
    try:
        async with SINK.open(config, None):
            pass
    except PermanentError as error:
        print(error)
    except AttributeError:
        print("opened")  # with no context it comes no further

asyncio.run(main())
"""


def run(block: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(block=block)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_adapter_is_listed_and_its_config_made_without_grpc() -> None:
    said = run("sys.modules['grpc'] = None")
    assert said == "the sink type `etcd` needs grpcio and protobuf; `grpc.aio` is missing: pip install 'waypost[etcd]'"


def test_protobuf_is_missed_in_the_same_words() -> None:
    assert "pip install 'waypost[etcd]'" in run("sys.modules['google.protobuf'] = None")


def test_grpc_is_loaded_when_the_adapter_is_opened() -> None:
    assert run("") == "opened"


def quiet(**environ: str) -> str:
    program = "import os, sys, waypost.kit.etcd; assert 'grpc' not in sys.modules; print(os.environ['GRPC_VERBOSITY'])"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**clean, **environ},
    )
    return done.stdout.strip()


def test_grpc_is_told_to_write_no_lines_of_its_own_among_ours_unless_a_person_says_otherwise() -> None:
    assert quiet() == "NONE"
    assert quiet(GRPC_VERBOSITY="DEBUG") == "DEBUG"
