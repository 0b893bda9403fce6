"""One history with reorganisations for tests of what is on disk, and directories that hold it."""

from __future__ import annotations

import random
from pathlib import Path

from consensus.block import Block
from tests.support.chain_process import FILE_BYTES_MAX
from tests.support.economy import Economy, blocks_of, rewind, ripe_chain, whole_chain
from tests.support.node_chain import NodeChain, with_chain
from tests.support.recount import Recount


def forked_history(seed: int) -> tuple[list[Block], list[Block]]:
    """Blocks in an order of arrival with three reorganisations, and the chain that wins."""
    toy = ripe_chain()
    economy = Economy(toy, random.Random(seed))
    arrivals = blocks_of(toy)
    for depth in (2, 7, 4):
        base = toy.tip.height
        economy.blocks(depth)
        arrivals += blocks_of(toy, base)
        rewind(toy, depth)
        economy.blocks(depth + 1)
        arrivals += blocks_of(toy, base)
    return arrivals, whole_chain(toy)


ARRIVALS, WINNER = forked_history(21)
WANTED = Recount(WINNER)


def filled(directory: Path, flush_at: int | None, indexed: bool = True) -> None:
    """A directory to which all blocks came, flushed after `flush_at` of them, then killed."""

    async def scenario(node: NodeChain) -> None:
        if flush_at is not None:
            await node.give(ARRIVALS[:flush_at])
            await node.chain.flush()
            await node.give(ARRIVALS[flush_at:])
        else:
            await node.give(ARRIVALS)

    with_chain(directory, scenario, file_bytes_max=FILE_BYTES_MAX, indexed=indexed)
