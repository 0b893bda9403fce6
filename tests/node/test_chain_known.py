"""Blocks of transactions that were checked before, as they come from the mempool."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.block import Block
from consensus.errors import Invalid, Missing, Rule
from consensus.hashes import AssetId
from consensus.header_tree import HeaderNode, Status
from consensus.tx import TxOut, make_coinbase
from consensus.tx_rules import check_tx
from tests.node.test_chain import WITH_CONTEXT
from tests.support.chain import ALICE, BOB, DAVE, ToyChain
from tests.support.economy import blocks_of, ripe_chain, whole_chain
from tests.support.node_chain import NodeChain, with_chain
from tests.support.recount import Recount, assert_knows


def take(node: NodeChain, block: Block) -> HeaderNode:
    """Hand in `block` as its parts."""
    return node.chain.accept_known(
        block.header, block.txs[0], [check_tx(tx) for tx in block.txs[1:]]
    )


def test_a_block_of_known_transactions_is_stored_and_connected_like_any_other(
    tmp_path: Path,
) -> None:
    toy = ripe_chain()
    before = blocks_of(toy)
    block = toy.mine([toy.pay(ALICE, BOB, 1_000)])

    async def scenario(node: NodeChain) -> None:
        await node.give(before)
        node.stored.clear()
        tip = node.chain.tip
        taken = take(node, block)
        # It is told of before it is connected.
        assert node.stored == [block]
        assert node.chain.tip is tip
        await node.settled()
        assert node.chain.tip is taken
        assert node.chain.archive.read_raw(taken) == block.raw
        assert_knows(node, Recount(whole_chain(toy)), page=50)
        assert take(node, block) is taken
        assert node.stored == [block]

    with_chain(tmp_path, scenario)


@pytest.mark.parametrize("rule", list(WITH_CONTEXT))
def test_known_transactions_that_break_a_rule_in_their_place_are_refused(
    tmp_path: Path, rule: Rule
) -> None:
    toy = ripe_chain()
    bad = WITH_CONTEXT[rule](toy)

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        before = await node.coins_on_disk()
        take(node, bad)
        await node.settled()
        assert [violation.rule for _, violation in node.condemned] == [rule]
        assert node.chain.tip.hash == toy.tip.hash
        assert await node.coins_on_disk() == before
        with pytest.raises(Invalid) as caught:
            take(node, bad)
        assert caught.value.rule is rule

    with_chain(tmp_path, scenario)


def _bad_coinbase(toy: ToyChain) -> Block:
    issued = TxOut(AssetId(bytes(32)), 1, DAVE.lock)
    return toy.template(coinbase=make_coinbase(toy.tip.height + 1, [issued], bytes(8)))


def test_a_coinbase_that_breaks_a_rule_condemns_the_block(tmp_path: Path) -> None:
    toy = ripe_chain()
    bad = _bad_coinbase(toy)

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        with pytest.raises(Invalid) as caught:
            take(node, bad)
        assert caught.value.rule is Rule.COINBASE_ASSET
        assert [violation.rule for _, violation in node.condemned] == [Rule.COINBASE_ASSET]
        assert bad not in node.stored

    with_chain(tmp_path, scenario)


def test_transactions_of_another_root_do_not_spoil_the_right_block(tmp_path: Path) -> None:
    toy = ripe_chain()
    first, second = toy.coins_of(ALICE)[:2]
    output = toy.pay(ALICE, BOB, 1_000).body.outputs[0]
    txs = [toy.spend([first], [output]), toy.spend([second], [output])]
    before = blocks_of(toy)
    block = toy.mine(txs)

    async def scenario(node: NodeChain) -> None:
        await node.give(before)
        with pytest.raises(Invalid) as caught:
            node.chain.accept_known(
                block.header, block.txs[0], [check_tx(txs[1]), check_tx(txs[0])]
            )
        assert caught.value.rule is Rule.BLOCK_ROOT
        assert node.condemned == []
        known = node.chain.tree.get(block.header.hash)
        assert known is not None
        assert known.status is Status.HEADER
        take(node, block)
        await node.settled()
        assert node.chain.tip is known

    with_chain(tmp_path, scenario)


def test_a_known_block_without_its_parent_is_missing(tmp_path: Path) -> None:
    toy = ripe_chain()
    block = toy.template()

    async def scenario(node: NodeChain) -> None:
        with pytest.raises(Missing) as caught:
            take(node, block)
        assert caught.value.rule is Rule.HEADER_PARENT_UNKNOWN

    with_chain(tmp_path, scenario)
