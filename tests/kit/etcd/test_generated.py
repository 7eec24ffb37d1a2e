"""The protobuf modules kept in git are what their sources give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3] / "operator"
PROTO = "waypost/kit/etcd/rpc.proto"


@pytest.mark.parametrize("ending", ["_pb2.py", "_pb2.pyi"])
def test_the_generated_modules_are_up_to_date(tmp_path: Path, ending: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{ROOT}",
            f"--python_out={tmp_path}",
            f"--mypy_out={tmp_path}",
            PROTO,
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": path},
    )
    made = (tmp_path / PROTO.replace(".proto", ending)).read_text()
    assert made == (ROOT / PROTO.replace(".proto", ending)).read_text(), "run `make generate`"
