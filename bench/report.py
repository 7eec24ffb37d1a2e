"""`python -m bench report`: puts what benchmarks kept into docs/performance.md, with pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import msgspec

from bench.figures import Result

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PICTURES = "pictures"
BEGIN, END = "<!-- figures: written by `python -m bench report` -->", "<!-- end of figures -->"
ORDER = (
    "propagation", "ceiling", "cold-sync", "cold-sync-consul", "cold-sync-dns", "resync", "idle", "memory",
    "cpu-per-change", "checks", "dns-server", "kubernetes-watch",
    "kubernetes-restart",
)  # fmt: skip
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 720, 240, 48, 32, 36
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = {"product": "#1f6f8b", "raw": "#c98b2b"}
NAMES = {"product": "Waypost, from the event's scheduled time", "raw": "the raw client's transaction alone"}

Buckets = Sequence[tuple[float, int]]


def report(results: Path, page: Path = PAGE) -> None:
    """Put each result in the place of its own section between the marks, with a picture for each series.

    The sections of benchmarks that were not run stay as they are.
    """
    found = {path.stem: msgspec.json.decode(path.read_bytes(), type=Result) for path in results.glob("*.json")}
    if not found:
        raise SystemExit(f"report: {results} holds no results; run `python -m bench NAME` first")
    text = page.read_text()
    before, mark, rest = text.partition(BEGIN)
    within, ended, after = rest.partition(END)
    if not (mark and ended):
        raise SystemExit(f"report: {page} has no `{BEGIN}` … `{END}`")
    parts = {part.partition("\n")[0].strip(): f"### {part.strip()}" for part in within.split("\n### ")[1:]}
    parts |= {name: _drawn(result, page.parent / PICTURES) for name, result in found.items()}
    chosen = [parts[name] for name in ORDER if name in parts]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(chosen) + f"\n\n{END}{after}")


def _drawn(result: Result, folder: Path) -> str:
    """A result's section, with its pictures, which are written into the folder."""
    drawn = [section(result)]
    for number, (name, series) in enumerate(sorted(result.series.items()), 1):
        picture = folder / f"{result.name}-{number}.svg"
        folder.mkdir(exist_ok=True)
        picture.write_text(histogram(name, series))
        drawn.append(f"![{result.name}: {name}]({folder.name}/{picture.name})")
    return "\n\n".join(drawn)


def section(result: Result) -> str:
    """One benchmark: its command, when and where, its table, and a line a figure."""
    lines = [
        f"### {result.name}",
        "",
        f"`.venv/bin/{result.command}`, {result.when}, load before it {result.load:.1f}; {result.machine}.",
        "",
    ]
    if result.table:
        head, *rows = result.table
        lines += [row(head), row(["---"] * len(head)), *map(row, rows), ""]
    lines += [f"- {figure.line()}".replace("MISSED", "**missed**") for figure in result.figures]
    return "\n".join(lines)


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def histogram(title: str, series: dict[str, Buckets]) -> str:
    """Latencies as an SVG picture: milliseconds on a logarithmic axis, the share of all events in each bucket."""
    bounds = [bound for buckets in series.values() for bound, _ in buckets]
    low, high = math.floor(math.log10(min(bounds) / 1.26)), math.ceil(math.log10(max(bounds)))
    peak = max(count / max(1, sum(n for _, n in buckets)) for buckets in series.values() for _, count in buckets)

    def across(ms: float) -> float:
        return LEFT + (math.log10(ms) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(share: float) -> float:
        return HEIGHT - BOTTOM - share / peak * (HEIGHT - BOTTOM - 44)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="16" font-weight="bold">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="36" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 18}" text-anchor="middle">{10.0**power:g} ms</text>')
    for place, (name, buckets) in enumerate(series.items()):
        total = max(1, sum(count for _, count in buckets))
        colour = COLOURS.get(name, "#555555")
        for bound, count in buckets:
            left, right, top = across(bound / 10**0.1), across(bound), up(count / total)
            box = (
                f'x="{left + 1:.1f}" y="{top:.1f}" width="{right - left - 2:.1f}" height="{HEIGHT - BOTTOM - top:.1f}"'
            )
            parts.append(f'<rect {box} fill="{colour}" fill-opacity="0.6"/>')
        parts.append(f'<rect x="{LEFT + place * 290}" y="24" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 14 + place * 290}" y="33">{escape(NAMES.get(name, name))}</text>')
    parts.append(f'<text x="4" y="48">{peak:.0%}</text>')
    parts.append(
        f'<line x1="{LEFT}" y1="{HEIGHT - BOTTOM}" x2="{WIDTH - RIGHT}" y2="{HEIGHT - BOTTOM}" stroke="#333333"/>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"
