"""Charts, drawn on the server as SVG, without a word in them that a stranger wrote.

A drawing is stretched to the width that it is given, so what is to be read stands beside it in HTML:
the labels of its ends, and a table of the same numbers. Colours come from the style sheet, by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import svg
from markupsafe import Markup, escape

HEIGHT = 100
STEP = 10
"""Room of one bar, and how much of it stays empty."""
GAP = 2
LEAST = 1
"""Height of a bar that would be too low to be seen, as long as it is not nothing."""
NEGLIGIBLE = 1e-60
_NICE = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100)


class Column(NamedTuple):
    """One column of the table that stands for a chart."""

    text: str
    is_number: bool = True


class Chart(NamedTuple):
    """A drawing, and the same in numbers."""

    name: str
    svg: Markup
    top: str
    """What the upper edge stands for; the lower one is 0."""
    middle: str
    first: str
    """What stands at the left end, and at the right."""
    last: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


class Bar(NamedTuple):
    """One value, and what is told when a pointer rests on it."""

    value: float
    told: str


def nice_top(most: float) -> float:
    """A round number that is no less than `most`; 1 if that is next to nothing."""
    if most < NEGLIGIBLE:
        return 1
    power = 1.0
    while most > 10 * power:
        power *= 10
    while most <= power:
        power /= 10
    return next(tenths * power / 10 for tenths in _NICE if tenths * power / 10 >= most * 0.9999)


def _frame(name: str, title: str, about: str, width: int, elements: list[svg.Element]) -> Markup:
    lines: list[svg.Element] = [
        svg.Line(x1=0, x2=width, y1=y, y2=y, class_=["chart-grid"])
        for y in (0, HEIGHT // 2, HEIGHT)
    ]
    told: list[svg.Element] = [
        svg.Title(id=f"{name}-title", text=str(escape(title))),
        svg.Desc(id=f"{name}-about", text=str(escape(about))),
    ]
    drawing = svg.SVG(
        viewBox=svg.ViewBoxSpec(0, -2, width, HEIGHT + 4),
        preserveAspectRatio=svg.PreserveAspectRatio("none"),
        class_=["chart"],
        elements=told + lines + elements,
        extra={"role": "img", "aria-labelledby": f"{name}-title {name}-about"},
    )
    return Markup(str(drawing))


def draw_bars(
    name: str, title: str, about: str, bars: Sequence[Bar], top: float, mark: float | None = None
) -> Markup:
    """Bars from left to right; `top` is the value of the upper edge, `mark` that of a line across."""
    width = max(1, len(bars)) * STEP
    elements: list[svg.Element] = []
    for place, bar in enumerate(bars):
        height = min(HEIGHT, round(HEIGHT * bar.value / top, 1))
        height = max(height, LEAST) if bar.value > 0 else 0
        elements.append(
            svg.Rect(
                x=place * STEP + GAP / 2, y=HEIGHT - height, width=STEP - GAP, height=height,
                class_=["chart-bar"], elements=[svg.Title(text=str(escape(bar.told)))],
            )
        )  # fmt: skip
    if mark is not None and mark <= top:
        y = round(HEIGHT - HEIGHT * mark / top, 1)
        elements.append(svg.Line(x1=0, x2=width, y1=y, y2=y, class_=["chart-mark"]))
    return _frame(name, title, about, width, elements)


def draw_line(
    name: str, title: str, about: str, values: Sequence[float], top: float
) -> Markup:  # fmt: skip
    """A line over an area from left to right."""
    steps = max(1, len(values) - 1)
    width = steps * STEP
    points = [
        svg.Point(place * STEP, round(HEIGHT - HEIGHT * min(value / top, 1), 1))
        for place, value in enumerate(values)
    ]
    if len(points) == 1:
        points.append(svg.Point(width, points[0].y))
    around = [svg.Point(0, HEIGHT), *points, svg.Point(width, HEIGHT)]
    return _frame(
        name, title, about, width,
        [
            svg.Polygon(points=around, class_=["chart-area"]),
            svg.Polyline(points=points, class_=["chart-line"]),
        ],
    )  # fmt: skip
