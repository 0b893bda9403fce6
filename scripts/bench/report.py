"""The result as a table for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from scripts.bench.chains import Sizes
from scripts.bench.curves import Curve, show
from scripts.bench.rows import OURS, READ, READ_BUSY_P99, READ_P99, Quantity, Row, Spread
from scripts.bench.systems import KERNEL, PEER

SYSTEMS = (OURS, PEER, KERNEL)
BUSY = "_busy"
"""How keys end that tell of the load generator; the table leaves them to one line below it."""


class Result(msgspec.Struct, frozen=True):
    """Everything of one call of the bench."""

    machine: str
    cores: int
    load: float
    """Load average of the machine as it began: others at work make figures worse."""
    runs: int
    sizes: Sizes
    locks: int
    seconds: float
    rows: list[Row]
    stages: dict[str, float] = {}
    """Microseconds of a replayed payment, by stage; measured with the workload `replay`."""
    curves: list[Curve] = []


def machine() -> str:
    """Processor, kernel and Python."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model or platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"


def load_average() -> float:
    return os.getloadavg()[0]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(found: Spread | None) -> str:
    if found is None:
        return "–"
    return f"{_figure(found.median)} ({_figure(found.least)}–{_figure(found.most)})"


def _goal(quantity: Quantity, value: float | None, holds: bool | None) -> str:
    if value is None:
        return ""
    sign = "≥" if quantity.more_is_better else "≤"
    return f" {sign} {value:g} {'✓' if holds else '✗'}"


def table(rows: Sequence[Row]) -> str:
    """Markdown: medians with their range, and ratios taeld / peer."""
    head = ["what", "unit", *SYSTEMS, f"{OURS} / {PEER}", f"{OURS} / {KERNEL}"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        quantity = row.quantity
        if quantity.key.endswith(BUSY) or quantity.key.startswith(READ):
            continue
        cells = [_cell(row.systems.get(system)) for system in SYSTEMS]
        cells[0] += _goal(quantity, quantity.limit, row.holds)
        for peer in (PEER, KERNEL):
            compared = row.ratios.get(peer)
            if compared is None:
                cells.append("–")
            else:
                goal = _goal(quantity, compared.goal, compared.holds)
                cells.append(f"{_cell(compared.ratio)}{goal}")
        lines.append([quantity.title, quantity.unit, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def reads_table(rows: Sequence[Row]) -> str:
    """One line for each method: calls a second, their ratio, and the 99th percentiles."""
    found = {row.quantity.key: row for row in rows if row.quantity.key.startswith(READ)}
    kinds: dict[str, str] = {}
    for key, row in found.items():
        kinds.setdefault(
            key.removesuffix(READ_BUSY_P99).removesuffix(READ_P99),
            row.quantity.title.partition(", a block every second")[0],
        )
    meanwhile = "p99, a block every second, ms"
    head = [
        "eight connections",
        f"{OURS}, /s",
        f"{PEER}, /s",
        f"{OURS} / {PEER}",
        f"p99 of {OURS}, ms",
    ]
    lines = [[*head, f"p99 of {PEER}, ms", f"{OURS}: {meanwhile}", f"{PEER}: {meanwhile}"]]
    lines.append(["---"] * len(lines[0]))
    for key, title in kinds.items():
        rate, slow, busy = (found.get(key + end) for end in ("", READ_P99, READ_BUSY_P99))
        compared = rate.ratios.get(PEER) if rate else None
        ratio = "–"
        if rate is not None and compared is not None:
            goal = _goal(rate.quantity, compared.goal, compared.holds)
            ratio = f"{_cell(compared.ratio)}{goal}"
        cells = [*_medians(rate), ratio, *_medians(slow), *_medians(busy)]
        if busy is not None:
            cells[-2] += _goal(busy.quantity, busy.quantity.limit, busy.holds)
        lines.append([title, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _medians(row: Row | None) -> list[str]:
    """Of both nodes."""
    found = [row.systems.get(system) if row else None for system in (OURS, PEER)]
    return [_figure(each.median) if each else "–" for each in found]


def _has_reads(rows: Sequence[Row]) -> bool:
    return any(row.quantity.key.startswith(READ) for row in rows)


def _stage_table(stages: Mapping[str, float]) -> str:
    rows = "\n".join(f"| {stage} | {us:.1f} |" for stage, us in stages.items())
    return f"| stage of a replay, alone | µs a payment |\n| --- | --- |\n{rows}"


def summary(result: Result) -> str:
    """What was measured where, and the table."""
    sizes = result.sizes
    return (
        f"{result.machine}, {result.cores} cores, load {result.load:.1f} at the start\n"
        f"{sizes.payments:,} payments on {result.locks:,} locks, {sizes.per_block:,} in a full block; "
        f"{sizes.template:,} wait for the template; relayed blocks hold {sizes.relay_block:,}; "
        f"{sizes.confirmed:,} go to the three nodes, with a block every {sizes.block_every_s:g} s; "
        f"the long history has {sizes.history:,} entries\n"
        f"{result.runs} alternating runs, {result.seconds:,.0f} s; median (range); ratios are of pairs "
        "in one run\n\n"
        f"{table(result.rows)}{_generator(result.rows)}"
        + (f"\n\n{reads_table(result.rows)}" if _has_reads(result.rows) else "")
        + (f"\n\n{_stage_table(result.stages)}" if result.stages else "")
        + (f"\n\n{show(result.curves)}" if result.curves else "")
    )


def _generator(rows: Sequence[Row]) -> str:
    """How near the load generator came to being what was measured."""
    worst: dict[str, tuple[float, str]] = {}
    for row in rows:
        if row.quantity.key.endswith(BUSY):
            title = row.quantity.title.partition(":")[0]
            for system, found in row.systems.items():
                worst[system] = max(worst.get(system, (0.0, "")), (found.median, title))
    shares = "; ".join(
        f"{share:.0f} % of the time for {system} ({title})"
        for system, (share, title) in worst.items()
    )
    return f"\n\nThe load generator computed at most {shares}" if shares else ""
