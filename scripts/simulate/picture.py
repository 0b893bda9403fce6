"""A run for the eye: a lane for each node over time, its height, its ends and starts, partitions."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from scripts.simulate.trace import Entry
from scripts.simulate.world import Result

WIDTH, LEFT, RIGHT, LANE, TOP = 1_000, 60, 24, 90, 60
UP, TIP, REORG, BAD, PARTED, PEACE = (
    "#dfe8df", "#3b6ea5", "#c8843c", "#b02020", "#ececf6", "#5a8f5a",
)  # fmt: skip
LEGEND = (
    (UP, "the process runs"), (TIP, "height of its tip"), (REORG, "reorganisation"),
    (BAD, "killed"), (PARTED, "partition"), (PEACE, "end of the faults, agreement"),
)  # fmt: skip


def picture(result: Result) -> str:
    """SVG."""
    height = TOP + result.plan.nodes * LANE + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">Seed {result.seed}: {result.plan.nodes} nodes, '
        f"{result.virtual_s / 60:.0f} virtual minutes</text>",
    ]
    for number, (colour, text) in enumerate(LEGEND):
        x = LEFT + number * 150
        parts.append(f'<rect x="{x}" y="28" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="37">{text}</text>')
    parts += _partitions(result)
    for number in range(result.plan.nodes):
        parts += _lane(result, number)
    parts += _marks(result)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _x(result: Result, at: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at / max(1.0, result.virtual_s)


def _bottom(result: Result) -> int:
    return TOP + result.plan.nodes * LANE


def _partitions(result: Result) -> Iterator[str]:
    began: float | None = None
    for entry in [*result.trace.entries, Entry(result.virtual_s, "world", "healed", "")]:
        if entry.kind == "parted" and began is None:
            began = entry.at
        elif entry.kind == "healed" and began is not None:
            x, end = _x(result, began), _x(result, entry.at)
            yield (
                f'<rect x="{x:.1f}" y="{TOP - 6}" width="{max(1.0, end - x):.1f}" '
                f'height="{_bottom(result) - TOP + 6}" fill="{PARTED}"/>'
            )
            began = None


def _lane(result: Result, number: int) -> Iterator[str]:
    name, top = f"n{number}", TOP + number * LANE
    bottom = top + LANE - 14
    entries = [entry for entry in result.trace.entries if entry.who == name]
    yield f'<text x="8" y="{top + LANE / 2:.0f}">node {number}</text>'
    began: float | None = None
    for entry in [*entries, Entry(result.virtual_s, name, "ended", "")]:
        if entry.kind == "start":
            began = entry.at
        elif entry.kind in ("ended", "killed") and began is not None:
            x, end = _x(result, began), _x(result, entry.at)
            yield f'<rect x="{x:.1f}" y="{top}" width="{end - x:.1f}" height="{LANE - 14}" fill="{UP}"/>'
            began = None
    yield from _tips(result, entries, top, bottom)
    for entry in entries:
        if entry.kind == "killed":
            x = _x(result, entry.at)
            yield f'<path d="M{x - 4:.1f} {top + 4}l8 8m0 -8l-8 8" stroke="{BAD}" stroke-width="2"/>'


def _tips(result: Result, entries: list[Entry], top: int, bottom: int) -> Iterator[str]:
    heights = [
        int(entry.detail.split()[0]) for entry in result.trace.entries if entry.kind == "tip"
    ]
    low, high = min(heights, default=0), max(heights, default=1)
    points: list[str] = []
    last = None
    for entry in entries:
        if entry.kind == "start" and points:
            yield _line(points)
            points = []
        elif entry.kind == "tip":
            tip = int(entry.detail.split()[0])
            y = bottom - (bottom - top - 8) * (tip - low) / max(1, high - low)
            x = _x(result, entry.at)
            if last is not None:
                points.append(f"{x:.1f},{last:.1f}")
            points.append(f"{x:.1f},{y:.1f}")
            last = y
        elif entry.kind == "reorganised":
            x = _x(result, entry.at)
            yield (
                f'<circle cx="{x:.1f}" cy="{top + 8}" r="4" fill="{REORG}">'
                f"<title>{escape(entry.detail)}</title></circle>"
            )
    yield _line(points)


def _line(points: list[str]) -> str:
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{TIP}" stroke-width="1.5"/>'


def _marks(result: Result) -> Iterator[str]:
    for entry in result.trace.entries:
        if entry.kind in ("peace", "agreement"):
            x = _x(result, entry.at)
            yield (
                f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{_bottom(result)}" '
                f'stroke="{PEACE}" stroke-width="1.5"/>'
            )
    minutes = round(result.virtual_s / 60)
    for minute in range(0, minutes + 1, max(1, minutes // 8)):
        x = _x(result, minute * 60.0)
        yield f'<text x="{x:.1f}" y="{_bottom(result) + 14}" text-anchor="middle">{minute} min</text>'
