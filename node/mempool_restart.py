"""What waited when the node stopped, let in again."""

from __future__ import annotations

import asyncio
import logging

from consensus.errors import DecodeError
from node.ledger import Ledger

log = logging.getLogger(__name__)
LOADED_PER_TURN = 10


async def load_waiting(ledger: Ledger, data: bytes) -> None:
    """`data` is what `Mempool.dump` wrote; what is not valid any more stays away."""
    kept = lost = 0
    try:
        for number, is_in in enumerate(ledger.load_mempool(data), 1):
            kept, lost = kept + is_in, lost + (not is_in)
            if number % LOADED_PER_TURN == 0:
                await asyncio.sleep(0)
    except DecodeError as error:
        log.warning("starting with an empty mempool: %s", error.detail)
        return
    log.info("%d transactions back in the mempool, %d not valid any more", kept, lost)
