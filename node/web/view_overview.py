"""The first page: where the chain stands, how it goes, what waits, and who is there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from consensus.header_tree import HeaderNode
from consensus.tx import NATIVE
from node.rpc.shapes import difficulty
from node.web import figures
from node.web.charts import Bar, Chart, Column, draw_bars, draw_line, nice_top
from node.web.labels import Labels
from node.web.pages import Page
from node.web.view_chain import block_row, newest
from node.web.view_mempool import rate_chart, waiting_rows
from node.web.visitor import Ask

SPAN = 120
"""Blocks over which interval and hash rate are taken: an hour at the usual interval."""
BARS = 60
LINE = 240
SHOWN = 8
"""Blocks and transactions that are listed."""
FEE_TARGETS = (1, 10, 60)
"""Blocks within which a payment is to be mined."""


class Pace(NamedTuple):
    """How the last blocks came."""

    blocks: int
    interval_s: int
    hash_rate: float
    """Hashes a second."""


def pace(tip: HeaderNode, span: int = SPAN) -> Pace | None:
    """From the headers of the last `span` blocks; None where there is only genesis.

    Genesis itself is left out: how long before the first block it was dated says nothing.
    """
    first = tip.ancestor(max(1, tip.height - span)) if tip.height else tip
    blocks = tip.height - first.height
    if blocks < 1:
        return None
    elapsed = max(1, tip.header.time - first.header.time)
    return Pace(blocks, elapsed // blocks, (tip.work - first.work) / elapsed)


async def overview(ask: Ask) -> Page:
    """Everything at a glance."""
    node = ask.node
    ledger = node.ledger
    tip = ledger.tip
    mempool = ledger.mempool
    recent = list(reversed(newest(ask, LINE)))
    peers = node.network.peers()
    labels = Labels(node)
    found = pace(tip)
    return Page(
        "overview",
        {
            "tip": block_row(ask, tip),
            "is_syncing": ledger.is_syncing,
            "headers": ledger.tree.best_header.height,
            "pace": found,
            "wanted_s": ledger.params.interval_s,
            "hash_rate": figures.scaled(found.hash_rate, "H/s") if found else "",
            "difficulty": figures.difficulty(difficulty(tip.header.bits)),
            "waiting": len(mempool),
            "waiting_cost": figures.scaled(mempool.cost, ""),
            "fees": [(n, fee_text(mempool.estimate_fee_rate(n))) for n in FEE_TARGETS],
            "floor": fee_text(mempool.floor_rate),
            "peers": len(peers),
            "inbound": sum(peer.inbound for peer in peers),
            "supply": labels.native(ledger.supply(NATIVE)),
            "interval_chart": _intervals(ask, recent[-BARS - 1 :]),
            "difficulty_chart": _difficulties(ask, recent),
            "txs_chart": _transactions(ask, recent[-BARS:]),
            "rates_chart": rate_chart(ask),
            "blocks": [block_row(ask, at) for at in newest(ask, SHOWN)],
            "txs": waiting_rows(ask, 0, SHOWN),
        },
    )


def fee_text(rate: int) -> str:
    """A rate of base units per 1 000 cost, for one cost."""
    return f"{rate // 1_000:,}.{rate % 1_000 // 10:02d}"


def _height(node: HeaderNode) -> str:
    return f"{node.height:,}"


def _intervals(ask: Ask, recent: Sequence[HeaderNode]) -> Chart | None:
    pairs = [(a, b) for a, b in pairwise(recent) if a.height]
    if not pairs:
        return None
    say = ask.language.say
    wanted = ask.node.ledger.params.interval_s
    # A header may be dated before the one it builds on.
    gaps = [(node, max(0, node.header.time - before.header.time)) for before, node in pairs]
    top = nice_top(max(max(gap for _, gap in gaps), wanted))
    bars = [
        Bar(gap, str(say("chart_interval_bar", height=node.height, n=gap))) for node, gap in gaps
    ]
    svg = draw_bars(
        "intervals", str(say("chart_interval")),
        str(say("chart_interval_about", n=len(bars), wanted=wanted)), bars, top, wanted,
    )  # fmt: skip
    return Chart(
        "intervals", svg, f"{top:g} s", f"{top / 2:g} s", _height(gaps[0][0]), _height(gaps[-1][0]),
        (Column(say("block")), Column(say("seconds"))),
        [(_height(node), f"{gap:,}") for node, gap in gaps],
    )  # fmt: skip


def _difficulties(ask: Ask, recent: Sequence[HeaderNode]) -> Chart | None:
    nodes = [node for node in recent if node.height]
    if not nodes:
        return None
    say = ask.language.say
    values = [difficulty(node.header.bits) for node in nodes]
    top = nice_top(max(values))
    svg = draw_line(
        "difficulties", str(say("chart_difficulty")),
        str(say("chart_difficulty_about", n=len(nodes))), values, top,
    )  # fmt: skip
    step = max(1, len(nodes) // 20)
    shown = list(zip(nodes, values, strict=True))
    return Chart(
        "difficulties", svg, figures.difficulty(top), figures.difficulty(top / 2),
        _height(nodes[0]), _height(nodes[-1]),
        (Column(say("block")), Column(say("difficulty"))),
        [(_height(node), figures.difficulty(value)) for node, value in shown[::-step][::-1]],
    )  # fmt: skip


def _transactions(ask: Ask, recent: Sequence[HeaderNode]) -> Chart | None:
    nodes = [node for node in recent if node.height]
    if not nodes:
        return None
    say = ask.language.say
    counts = [(node, ask.node.ledger.tx_count(node)) for node in nodes]
    top = max(2.0, nice_top(max(count for _, count in counts)))
    bars = [
        Bar(count, str(say("chart_txs_bar", height=node.height, n=count))) for node, count in counts
    ]
    svg = draw_bars(
        "transactions", str(say("chart_txs")), str(say("chart_txs_about", n=len(bars))), bars, top
    )
    return Chart(
        "transactions", svg, f"{top:,g}", f"{top / 2:,g}", _height(nodes[0]), _height(nodes[-1]),
        (Column(say("block")), Column(say("transactions"))),
        [(_height(node), f"{count:,}") for node, count in counts],
    )  # fmt: skip
