"""A clock that jumps: blocks ahead of it wait, and whatever it shows, nothing that was taken is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.errors import Premature
from consensus.params import REGTEST
from tests.support.chain import ToyChain, blocks_of
from tests.support.node_chain import NodeChain, with_chain

HOUR, DAY = 3_600, 86_400
JUMPS_S = (HOUR, -HOUR, DAY, -DAY, -2 * DAY, 0)
"""How far the clock is off, one after the other."""


def test_what_peers_show_of_the_time_moves_no_clock_of_ours(tmp_path: Path) -> None:
    # A hundred blocks as far ahead as may be: whoever believed them would now take one further ahead.
    toy = ToyChain()
    toy.mine_empty(3)
    now = toy.tip.header.time

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        base = toy.tip.height
        for step in range(100):
            toy.mine(time=now + REGTEST.future_s - 99 + step)
        await node.give(blocks_of(toy, base))
        tip = toy.tip
        assert node.chain.tip.hash == tip.hash
        assert tip.median_time() > now + REGTEST.future_s - 10
        ahead = toy.template(time=now + REGTEST.future_s + 1)
        for _ in range(2):
            with pytest.raises(Premature) as caught:
                await node.chain.accept_block(ahead.raw)
            assert caught.value.rule == "header-time-too-new"
        await node.settled()
        assert node.chain.tip.hash == tip.hash

    with_chain(tmp_path, scenario, clock=lambda: float(now))


def test_a_clock_that_jumps_delays_blocks_and_costs_none(tmp_path: Path) -> None:
    toy = ToyChain()
    toy.mine_empty(3)
    clock = float(toy.tip.header.time)

    async def scenario(node: NodeChain) -> None:
        nonlocal clock
        right = clock
        waits = 0
        await node.give(blocks_of(toy))
        for jump in JUMPS_S:
            block = toy.mine(time=int(right))
            clock, tip = right + jump, node.chain.tip
            if block.header.time > clock + REGTEST.future_s:
                waits += 1
                with pytest.raises(Premature) as caught:
                    await node.chain.accept_block(block.raw)
                assert caught.value.rule == "header-time-too-new"
                await node.settled()
                assert node.chain.tip == tip, "what it has stays, though it is ahead of the clock"
                clock = right
            await node.give([block])
            assert node.chain.tip.hash == block.header.hash
        assert waits == 2
        assert not node.condemned

    with_chain(tmp_path, scenario, clock=lambda: clock)

    async def again(node: NodeChain) -> None:
        assert node.chain.tip.hash == toy.tip.hash

    # The whole chain is ahead of the clock now.
    clock -= 2 * DAY
    with_chain(tmp_path, again, clock=lambda: clock)
