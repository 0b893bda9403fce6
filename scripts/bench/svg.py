"""The result as a small picture: how many times better or worse than each peer, on a log scale, and
below it where the time of a replay goes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from scripts.bench.rows import Quantity, Row
from scripts.bench.systems import KERNEL, PEER

WIDTH, TITLE_WIDTH, LINE, TOP = 860, 330, 18, 48
OCTAVES = 6
"""Shown to each side: 2⁶ times worse and better. What is beyond ends at the edge."""
COLOURS = {PEER: "#4878a8", KERNEL: "#c8843c"}
STAGE_COLOUR = "#5a8f5a"
_TICKS = (1 / 64, 1 / 16, 1 / 4, 1, 4, 16, 64)


def better(quantity: Quantity, ratio: float) -> float:
    """How many times better, of a ratio taeld / peer."""
    return ratio if quantity.more_is_better else 1 / ratio


def _place(times: float) -> float:
    share = (max(-OCTAVES, min(OCTAVES, math.log2(times))) + OCTAVES) / (2 * OCTAVES)
    return TITLE_WIDTH + share * (WIDTH - TITLE_WIDTH - 60)


def _ticks(height: int) -> Iterator[str]:
    for times in _TICKS:
        x, width = _place(times), 1.5 if times == 1 else 0.5
        text = f"{times:g}×" if times >= 1 else f"1/{1 / times:g}"
        yield (
            f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 6}" stroke="#999" '
            f'stroke-width="{width}"/>'
            f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">{text}</text>'
        )


def _bars(rows: Sequence[Row]) -> Iterator[str]:
    line = 0
    for row in rows:
        for peer, compared in row.ratios.items():
            y, times = TOP + line * LINE, better(row.quantity, compared.ratio.median)
            low, high = sorted((_place(1), _place(times)))
            yield (
                f'<text x="{TITLE_WIDTH - 8}" y="{y + 11}" text-anchor="end">'
                f"{escape(row.quantity.title)}</text>"
                f'<rect x="{low:.1f}" y="{y + 2}" width="{max(1.0, high - low):.1f}" height="11" '
                f'fill="{COLOURS[peer]}"/>'
                f'<text x="{high + 4:.1f}" y="{y + 11}">{times:.2f}</text>'
            )
            if compared.goal is not None:
                x = _place(better(row.quantity, compared.goal))
                yield (
                    f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 15}" stroke="#b02020" '
                    'stroke-width="2"/>'
                )
            line += 1


def _stage_bars(stages: Mapping[str, float], top: int) -> Iterator[str]:
    """A bar for each stage, to the scale of the longest."""
    yield f'<text x="8" y="{top}">Where the time of a replay goes: µs a payment, each stage alone</text>'
    room = WIDTH - TITLE_WIDTH - 60
    for number, (stage, us) in enumerate(stages.items()):
        y, width = top + 8 + number * LINE, us / max(stages.values()) * room
        yield (
            f'<text x="{TITLE_WIDTH - 8}" y="{y + 11}" text-anchor="end">{escape(stage)}</text>'
            f'<rect x="{TITLE_WIDTH}" y="{y + 2}" width="{max(1.0, width):.1f}" height="11" '
            f'fill="{STAGE_COLOUR}"/>'
            f'<text x="{TITLE_WIDTH + width + 4:.1f}" y="{y + 11}">{us:.1f}</text>'
        )


def plot(rows: Sequence[Row], stages: Mapping[str, float]) -> str:
    """An SVG of every row that has a ratio, percentiles left out, and of the stages."""
    shown = [
        row for row in rows
        if row.ratios and not row.quantity.key.endswith(("_p50", "_p99", "_busy"))
    ]  # fmt: skip
    ratios_end = TOP + LINE * sum(len(row.ratios) for row in shown) + 12
    height = ratios_end + (LINE * (len(stages) + 2) if stages else 0)
    legend = " ".join(
        f'<tspan fill="{colour}" font-weight="bold">■ {name}</tspan>'
        for name, colour in COLOURS.items()
    )
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="8" y="16">How many times better taeld is than {legend}; red: the goal</text>',
            *_ticks(ratios_end),
            *_bars(shown),
            *(_stage_bars(stages, ratios_end + LINE) if stages else ()),
            "</svg>\n",
        )
    )
