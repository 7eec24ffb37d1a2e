"""Figures and their goals: told in lines, kept as JSON, compared where asked."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

RESULTS = Path(__file__).parent / "results"


class Figure(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One number. `goal` is what it is to be at least or at most; None: it is told for its own sake."""

    name: str
    value: float
    unit: str = ""
    goal: float | None = None
    sense: Literal["least", "most"] = "most"

    @property
    def good(self) -> bool:
        if self.goal is None:
            return True
        return self.value <= self.goal if self.sense == "most" else self.value >= self.goal

    def line(self) -> str:
        text = f"{self.name}: {shown(self.value)} {self.unit}".rstrip()
        if self.goal is None:
            return text
        sign = "≤" if self.sense == "most" else "≥"
        return f"{text} (goal {sign} {shown(self.goal)}: {'met' if self.good else 'MISSED'})"


class Result(msgspec.Struct, kw_only=True):
    """What one benchmark found. `table`: a header and rows; `series`: what pictures are made of."""

    name: str
    command: str
    figures: list[Figure]
    table: list[list[str]] = []
    series: dict[str, Any] = {}
    machine: str = ""
    when: str = ""
    load: float = 0.0


def shown(value: float) -> str:
    """Three figures, no exponent."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"


def machine() -> str:
    """In words, what it ran on."""
    names = {
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python, linux = platform.python_version(), platform.release().partition("-")[0]
    cores = os.cpu_count()
    return f"{cores} cores of {', '.join(sorted(names))}, {memory:.0f} GB, Linux {linux}, Python {python}"


def tell(result: Result) -> None:
    """Print the table, then a line a figure."""
    if result.table:
        widths = [max(len(row[at]) for row in result.table) for at in range(len(result.table[0]))]
        for row in result.table:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for figure in result.figures:
        print(f"{result.name}: {figure.line()}")


def keep(result: Result, folder: Path) -> None:
    """Write it where `report` finds it."""
    result.machine = machine()
    result.when = time.strftime("%Y-%m-%d %H:%M")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
