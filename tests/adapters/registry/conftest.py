"""A registry of ours, opened for a test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.adapters.registry.asking import Opened, open_server


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Open the registry on the same folders, any number of times."""
    return partial(open_server, tmp_path)
