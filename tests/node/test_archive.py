"""Stored blocks: what an index points at is what it means, or the node says that it is not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from consensus.errors import StorageError
from consensus.tx import outpoint
from node.layout import tx_place, tx_value
from tests.support.economy import Economy, blocks_of, ripe_chain
from tests.support.node_chain import NodeChain, with_chain

TOY = ripe_chain()
Economy(TOY, random.Random(51)).blocks(10)
BLOCKS = blocks_of(TOY)
BUSY = max(BLOCKS, key=lambda block: len(block.txs))


def test_a_place_that_leads_to_another_transaction_is_refused(tmp_path: Path) -> None:
    async def scenario(node: NodeChain) -> None:
        await node.give(BLOCKS)
        store = node.store
        first, second = BUSY.txs[0].txid, BUSY.txs[1].txid
        right = store.tx_place(second)
        assert right is not None
        for wrong in (
            store.tx_place(first),
            right._replace(offset=right.offset + 1),
            right._replace(length=right.length - 1),
            right._replace(length=right.length + 1),
            right._replace(offset=10**9),
            right._replace(file=7),
        ):
            assert wrong is not None
            assert tx_place(tx_value(*wrong)) == wrong
            store._active.indexes.txs.add((second, tx_value(*wrong)))
            with pytest.raises(StorageError):
                node.chain.archive.read_tx(second)
            with pytest.raises(StorageError):
                node.chain.archive.read_output(outpoint(second, 0))
        store._active.indexes.txs.add((second, tx_value(*right)))
        found = node.chain.archive.read_tx(second)
        assert found is not None
        assert found[0] == BUSY.txs[1]

    with_chain(tmp_path, scenario)


def test_undo_data_of_another_block_is_refused(tmp_path: Path) -> None:
    async def scenario(node: NodeChain) -> None:
        await node.give(BLOCKS)
        archive, tip = node.chain.archive, node.chain.tip
        assert tip.parent is not None
        own, other = archive.place(tip), archive.place(tip.parent)
        assert own is not None
        assert other is not None
        archive.restore(tip.hash, own._replace(undo=other.undo))
        with pytest.raises(StorageError, match="another block"):
            archive.read_undo(tip)
        archive.restore(tip.hash, own)
        assert archive.read_undo(tip) == TOY.undo[tip.hash]

    with_chain(tmp_path, scenario)


def test_outputs_are_found_by_their_outpoint_whether_they_are_spent_or_not(tmp_path: Path) -> None:
    async def scenario(node: NodeChain) -> None:
        await node.give(BLOCKS)
        for tx in BUSY.txs:
            for index, output in enumerate(tx.body.outputs):
                assert node.chain.archive.read_output(outpoint(tx.txid, index)) == output
            beyond = outpoint(tx.txid, len(tx.body.outputs))
            assert node.chain.archive.read_output(beyond) is None

    with_chain(tmp_path, scenario)
