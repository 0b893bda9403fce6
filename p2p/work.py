"""The actions that change the ledger, in slices, with their result handed back to the planner."""

from __future__ import annotations

import asyncio
from typing import assert_never

from consensus.errors import Missing, Rule, Violation
from p2p.actions import (
    AcceptBlock,
    Action,
    AddBlockTxs,
    AddCompact,
    AddHeaders,
    LedgerAction,
    SubmitTx,
)
from p2p.compact import Reconstruction
from p2p.ports import NodePort
from p2p.presync import shows_enough
from p2p.router import Router

HEADERS_SLICE = 100
"""Headers that are checked before others get their turn."""
MATCH_SLICE = 2_000
"""Waiting transactions that are compared with a compact block likewise: half a millisecond."""
CHECK_SLICE = 32
"""Transactions of a block that are decoded and checked likewise."""


async def change_ledger(
    action: LedgerAction, node: NodePort, router: Router
) -> tuple[Violation | None, list[Action]]:
    """Do `action`; return the rule that it broke, if any, and what follows."""
    violation: Violation | None = None
    try:
        match action:
            case AddHeaders(_, headers):
                for start in range(0, len(headers), HEADERS_SLICE):
                    node.add_headers(headers[start : start + HEADERS_SLICE])
                    await asyncio.sleep(0)
            case AcceptBlock(_, _, raw):
                await node.accept_block(raw)
            case SubmitTx(_, _, raw):
                node.submit_tx(raw)
            case AddCompact(_, block):
                await _match(block, node)
            case AddBlockTxs(_, block, raws):
                await _complete(block, raws, node)
            case _:
                assert_never(action)
    except Violation as error:
        violation = error
    match action:
        case AddHeaders():
            return violation, router.on_headers_added(action, violation)
        case AcceptBlock():
            return violation, router.on_block_done(action, violation)
        case SubmitTx():
            return violation, router.on_tx_done(action, violation)
        case AddCompact() | AddBlockTxs():
            return violation, router.on_compact_done(action, violation)
        case _:
            assert_never(action)


async def _match(block: Reconstruction, node: NodePort) -> None:
    """Raises: Violation, of the header or of the block that came out."""
    if not shows_enough(node, [block.header]):
        # As if its parent were unknown: its chain has to show its work first.
        raise Missing(Rule.HEADER_PARENT_UNKNOWN, block.header.previous[::-1])
    node.add_headers([block.header])
    block.is_header_good = True
    waiting = node.waiting_txs()
    for start in range(0, len(waiting), MATCH_SLICE):
        if start:
            await asyncio.sleep(0)
        block.match(waiting[start : start + MATCH_SLICE])
        if block.is_complete:
            break
    _accept_if_complete(block, node)


async def _complete(block: Reconstruction, raws: tuple[bytes, ...], node: NodePort) -> None:
    """Raises: Violation, of a transaction that was sent or of the block that came out."""
    for number, (index, raw) in enumerate(zip(block.missing, raws, strict=True), 1):
        try:
            block.add(index, raw)
        except Violation:
            block.is_refused = True
            raise
        if number % CHECK_SLICE == 0:
            await asyncio.sleep(0)
    _accept_if_complete(block, node)


def _accept_if_complete(block: Reconstruction, node: NodePort) -> None:
    if block.is_complete:
        node.accept_known(block.header, block.coinbase(), block.txs())
