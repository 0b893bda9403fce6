"""The dearest blocks that the rules allow take less than a tenth of the time between blocks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from consensus.block import Block
from consensus.errors import Invalid, Rule
from consensus.params import MAIN, TX_COST_MAX
from consensus.tx_rules import cost_of
from tests.support.chain import ToyChain
from tests.support.dearest import KEYS, KINDS, MIXED, NODES, Ground, crowded
from tests.support.economy import blocks_of
from tests.support.node_chain import NodeChain, with_chain

SHARE = 0.5
"""Of the cost limit: all that is measured grows in proportion. Whole blocks take 1.1 s at most."""
LIMIT_S = MAIN.interval_s / 10


def connecting(block: Block) -> Callable[[NodeChain], Awaitable[float]]:
    """How long a chain takes to connect `block`, in seconds of this process, so that others on the
    machine do not count. It was opened anew: no coin is in memory."""

    async def connect(node: NodeChain) -> float:
        began = time.process_time()
        await node.give([block])
        took = time.process_time() - began
        assert node.chain.tip.hash == block.header.hash
        await node.chain.flush()
        return took

    return connect


def test_the_dearest_block_of_each_kind_is_connected_in_a_tenth_of_the_interval(
    tmp_path: Path,
) -> None:
    ground = Ground(SHARE)
    prepared = blocks_of(ground.chain)

    async def prepare(node: NodeChain) -> None:
        await node.give(prepared)
        await node.chain.flush()

    with_chain(tmp_path, prepare)
    for name in KINDS:
        assert with_chain(tmp_path, connecting(ground.block(name))) < SHARE * LIMIT_S, name


def test_more_inputs_than_a_block_can_pay_for_are_refused_at_once(tmp_path: Path) -> None:
    block = crowded(ToyChain(), 92_000)

    async def scenario(node: NodeChain) -> None:
        began = time.process_time()
        with pytest.raises(Invalid) as raised:
            await node.chain.accept_block(block.raw)
        assert time.process_time() - began < LIMIT_S
        assert raised.value.rule is Rule.BLOCK_COST

    with_chain(tmp_path, scenario)


@pytest.mark.parametrize("name", KINDS)
def test_a_block_holds_no_more_of_anything_than_its_cost_allows(name: str) -> None:
    # What was measured are blocks of this many; one more input or output in each would not fit.
    kind = KINDS[name]
    keys, nodes = {
        "signatures": (kind.inputs * KEYS, kind.inputs * (KEYS + 1)),
        "nodes of locks": (0, kind.inputs * (NODES + 1)),
        "all at once": (kind.inputs * 3 // 4, kind.inputs * (MIXED + 1)),
    }.get(name, (0, kind.inputs))
    cost = cost_of(0, keys, kind.inputs, kind.outputs, 0, nodes)
    assert 0.9 * TX_COST_MAX < cost <= TX_COST_MAX
