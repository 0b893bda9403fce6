"""The actions that change the ledger, in slices, with their result handed back to the planner."""

from __future__ import annotations

import asyncio
from typing import assert_never

from consensus.errors import Violation
from p2p.actions import AcceptBlock, Action, AddHeaders, LedgerAction, SubmitTx
from p2p.ports import NodePort
from p2p.router import Router

HEADERS_SLICE = 100
"""Headers that are checked before others get their turn."""


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
        case _:
            assert_never(action)
