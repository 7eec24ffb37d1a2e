"""Prints, at the end of a run, how long each failover took."""

from __future__ import annotations

import pytest

PROPERTY = "failover"


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        each for reports in terminalreporter.stats.values() for each in reports if hasattr(each, "user_properties")
    ]
    lines = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    if lines:
        terminalreporter.section("failovers: from the fault until the next leader's first write is in every target")
        for line in dict.fromkeys(map(str, lines)):
            terminalreporter.write_line(line)
