"""What waits to be mined, what a miner would take first in front."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from consensus.hashes import to_text
from consensus.params import BLOCK_COST_MAX
from node.web import figures
from node.web.charts import Bar, Chart, Column, draw_bars, nice_top
from node.web.labels import Labels, Worth
from node.web.pages import NotFound, Page
from node.web.view_chain import rate_text
from node.web.visitor import Ask

PER_PAGE = 50
PAGES_MAX = 100
"""Who wants to see what stands behind it in the queue asks by JSON-RPC."""
BARS_MIN = 12
STEPS_PER_BAR = 6
"""Steps of the node's own count in one bar, so that each bar begins at about twice the last."""


class WaitingRow(NamedTuple):
    """One line of the queue."""

    txid: str
    time: int
    fee: Worth
    rate: str
    cost: int
    relatives: int
    """Transactions that wait and on which it builds, or that build on it."""


def waiting_rows(ask: Ask, start: int, count: int) -> list[WaitingRow]:
    """Lines from place `start` of the queue on."""
    labels = Labels(ask.node)
    return [
        WaitingRow(
            to_text(entry.tx.txid), int(entry.time), labels.native(entry.fee),
            rate_text(entry.fee, entry.cost), entry.cost,
            entry.ancestor_count + entry.descendant_count - 2,
        )
        for entry in islice(ask.node.ledger.mempool.ranked(), start, start + count)
    ]  # fmt: skip


async def mempool(ask: Ask) -> Page:
    """The queue, a page of it, and how much waits at which rate."""
    pool = ask.node.ledger.mempool
    pages = max(1, min(PAGES_MAX, -(-len(pool) // PER_PAGE)))
    number = ask.number("page", PAGES_MAX) or 1
    if number > pages:
        raise NotFound("missing_page")
    start = PER_PAGE * (number - 1)
    return Page(
        "mempool",
        {
            "rows": waiting_rows(ask, start, PER_PAGE),
            "start": start,
            "total": len(pool),
            "cost": figures.scaled(pool.cost, ""),
            "blocks": -(-pool.cost // BLOCK_COST_MAX),
            "fees": Labels(ask.node).native(pool.fees),
            "usage": figures.scaled(pool.size_bytes, "B"),
            "limit": figures.scaled(pool.policy.size_bytes_max, "B"),
            "chart": rate_chart(ask),
            "page": number,
            "pages": pages,
        },
    )


def _steps(costs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Least rate and cost of each bar, from the first that holds something to the last, and around."""
    bars = [
        (costs[at][0], sum(cost for _, cost in costs[at : at + STEPS_PER_BAR]))
        for at in range(0, len(costs), STEPS_PER_BAR)
    ]
    filled = [place for place, (_, cost) in enumerate(bars) if cost]
    if not filled:
        return []
    first, end = filled[0], filled[-1] + 1
    spare = max(0, BARS_MIN - (end - first))
    first = max(0, first - spare // 2)
    return bars[first : max(end, first + BARS_MIN)]


def rate_chart(ask: Ask) -> Chart | None:
    """How much cost waits at which fee rate; None if nothing waits."""
    steps = _steps(ask.node.ledger.mempool.waiting_costs())
    if not steps:
        return None
    say = ask.language.say
    names = [rate_text(rate, 1_000) for rate, _ in steps]
    top = nice_top(max(cost for _, cost in steps))
    bars = [
        Bar(cost, str(say("chart_rates_bar", rate=name, cost=cost)))
        for name, (_, cost) in zip(names, steps, strict=True)
    ]
    svg = draw_bars("rates", str(say("chart_rates")), str(say("chart_rates_about")), bars, top)
    return Chart(
        "rates", svg, figures.scaled(top, ""), figures.scaled(top / 2, ""), names[0], names[-1],
        (Column(say("rate_from")), Column(say("cost"))),
        [(name, f"{cost:,}") for name, (_, cost) in zip(names, steps, strict=True)],
    )  # fmt: skip
