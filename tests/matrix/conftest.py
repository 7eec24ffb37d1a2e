"""Prints, at the end of a run, how long each cell of the matrix took until all was right again."""

from __future__ import annotations

import pytest

PROPERTY = "matrix"


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        each for reports in terminalreporter.stats.values() for each in reports if hasattr(each, "user_properties")
    ]
    lines = {value for report in reports for name, value in report.user_properties if name == PROPERTY}
    if lines:
        terminalreporter.section(
            "the kill matrix: from a fault's end, three more changes, to a target that holds what runs"
        )
        for line in sorted(map(str, lines)):
            terminalreporter.write_line(line)
