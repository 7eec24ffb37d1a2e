"""Gives every test the servers of the testbed, and tells the slow tests from the quick."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a machine that is busy makes any example slow
settings.load_profile("patient")

pytest_plugins = ["testbed.pytest_plugin", "tests.lanes"]

# Whole processes, again and again: `make test-fast` leaves them to `make test`.
SLOW = (
    "tests/adapters/dns_server/test_conformance.py",
    "tests/adapters/registry/test_sink_conformance.py",
    "tests/cli/test_asking.py",
    "tests/cli/test_elector.py",
    "tests/cli/test_once.py",
    "tests/cli/test_plugin.py",
    "tests/cli/test_run.py",
    "tests/demo/test_demo.py",
    "tests/docs/test_adapters.py",
    "tests/docs/test_cli.py",
    "tests/docs/test_kubernetes.py",
    "tests/docs/test_plugin_example.py",
    "tests/kube/test_disruption.py",
    "tests/testing/test_conformance_catches.py",
    "tests/testing/test_electors_conform.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes many seconds; not in `make test-fast`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = {config.rootpath / path for path in SLOW}
    if missing := [str(path) for path in slow if not Path(path).exists()]:
        raise pytest.UsageError(f"conftest.py names tests that are not there: {', '.join(missing)}")
    for item in items:
        if item.path in slow:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """Give the next test the log levels that this one found: what it runs in this process may set them."""
    loggers = [logging.getLogger(name) for name in ("", "waypost", "kopf", "asyncio")]
    levels = [(log, log.level, log.propagate) for log in loggers]
    yield
    for log, level, propagate in levels:
        log.setLevel(level)
        log.propagate = propagate
