"""A chain of some age to begin with: coins that matured, several assets, and the disk of a node on it.

Made once, by the node itself from blocks of the test economy, and the same for every seed.
"""

from __future__ import annotations

import random
from functools import cache
from typing import NamedTuple

from consensus.params import COIN, COINBASE_MATURITY, REGTEST, Allocation
from scripts.simulate.disk import Image
from scripts.simulate.host import Host, simulated_params
from scripts.simulate.loop import VirtualLoop, run
from scripts.simulate.model import Model
from scripts.simulate.network import VirtualNetwork
from scripts.simulate.plan import INTERVAL_S
from tests.support.chain import ToyChain
from tests.support.economy import LOCKS, Economy

BLOCKS_WITH_TRADE = 8
TRADES = 12
COINS_EACH = 4
"""Coins of every lock to begin with; with fewer, strangers often have none to do harm with."""
PAST_INTERVAL_S = 15
"""Blocks came too fast, so that the difficulty is above the least one, and moves both ways."""

PARAMS = simulated_params(
    REGTEST, name=b"simulated", hrp=b"sim", retarget=True, interval_s=INTERVAL_S, half_life_blocks=64,
    spacing_s=1, future_s=120, genesis_time=1_700_000_000,
    allocations=tuple(Allocation(lock, 1_000 * COIN) for lock in LOCKS * COINS_EACH),
)  # fmt: skip


class Past(NamedTuple):
    """What every world begins with."""

    image: Image
    model: Model
    blocks: dict[bytes, bytes]
    end: float
    """Seconds since 1970 at which the last block was found."""


@cache
def past() -> Past:
    """The chain before the story."""
    toy = ToyChain(PARAMS)
    economy = Economy(toy, random.Random(0))
    count = COINBASE_MATURITY + BLOCKS_WITH_TRADE
    for number in range(1, count + 1):
        time = PARAMS.genesis_time + number * PAST_INTERVAL_S
        if number <= COINBASE_MATURITY:
            toy.mine((), LOCKS[number % len(LOCKS)], time)
        else:
            economy.block(TRADES, time)
    blocks = [toy.blocks[toy.tip.ancestor(height).hash] for height in range(1, count + 1)]
    model = Model(PARAMS)
    for block in blocks:
        broken = model.judge(block.header.hash, block.raw)
        assert not broken, broken
    end = float(toy.tip.header.time)
    return Past(_image([block.raw for block in blocks], end), model,
                {block.header.hash: block.raw for block in blocks}, end)  # fmt: skip


def _fail(host: Host, what: str) -> None:
    raise AssertionError(f"{host.address}: {what}")


def _image(blocks: list[bytes], end: float) -> Image:
    loop = VirtualLoop()
    network = VirtualNetwork(loop, random.Random(0), lambda source, target, frame: None)
    host = Host(
        0, PARAMS, network, random.Random(0), end, (), lambda host, kind, detail: None, _fail
    )

    async def sync() -> None:
        host.start()
        while host.api is None:
            await host.pause()
        for raw in blocks:
            await host.api.ledger.submit_block(raw)
        host.stop()
        while host.node is not None:
            await host.pause()

    run(loop, sync())
    loop.close()
    return host.disk.image()
