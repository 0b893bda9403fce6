"""What is measured, and what came out: one row per quantity."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

OURS = "taeld"
READ, READ_P99, READ_BUSY_P99 = "read_", "_p99", "_meanwhile_p99"
"""How keys of single methods begin, and how those of their 99th percentiles end: at rest, and while
blocks are connected."""


class Quantity(msgspec.Struct, frozen=True):
    """One figure of a workload."""

    key: str
    title: str
    unit: str
    more_is_better: bool = False
    goals: Mapping[str, float] = {}
    """Wanted ratio taeld / peer: at least, if more is better, else at most."""
    limit: float | None = None
    """Wanted figure of taeld itself, likewise."""


class Sample(msgspec.Struct, frozen=True):
    """One figure of one run."""

    key: str
    system: str
    run: int
    value: float


class Spread(msgspec.Struct, frozen=True):
    """Several runs in three figures."""

    median: float
    least: float
    most: float


class Comparison(msgspec.Struct, frozen=True):
    """taeld / peer, each pair from one run; the goal for the median, and whether it holds."""

    ratio: Spread
    goal: float | None
    holds: bool | None


class Row(msgspec.Struct, frozen=True):
    """All runs of one quantity."""

    quantity: Quantity
    systems: Mapping[str, Spread]
    ratios: Mapping[str, Comparison]
    holds: bool | None
    """Whether the limit holds; None without one."""


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def _is_met(quantity: Quantity, value: float, bound: float | None) -> bool | None:
    if bound is None:
        return None
    return value >= bound if quantity.more_is_better else value <= bound


def make_rows(quantities: Iterable[Quantity], samples: Sequence[Sample]) -> list[Row]:
    """Rows of the quantities that were measured, in the order of `quantities`."""
    rows = []
    for quantity in quantities:
        by_system: dict[str, dict[int, float]] = {}
        for sample in samples:
            if sample.key == quantity.key:
                by_system.setdefault(sample.system, {})[sample.run] = sample.value
        if by_system:
            rows.append(_row(quantity, by_system))
    return rows


def _row(quantity: Quantity, by_system: Mapping[str, Mapping[int, float]]) -> Row:
    ours = by_system.get(OURS, {})
    ratios = {}
    for system, values in by_system.items():
        pairs = [ours[run] / value for run, value in values.items() if run in ours and value > 0]
        if system == OURS or not pairs:
            continue
        ratio, goal = spread(pairs), quantity.goals.get(system)
        ratios[system] = Comparison(ratio, goal, _is_met(quantity, ratio.median, goal))
    systems = {system: spread(list(values.values())) for system, values in by_system.items()}
    is_held = _is_met(quantity, systems[OURS].median, quantity.limit) if ours else None
    return Row(quantity, systems, ratios, is_held)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; the nearest one that there is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
