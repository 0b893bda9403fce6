"""Putting blocks on what is staged and taking them off again: rules, index rows, undo data.

The work goes in slices of about a millisecond, between which others get a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from consensus.block import Block
from consensus.block_rules import CheckedBlock
from consensus.connect import Connection, KnownSpend, delta_of
from consensus.errors import Invalid, Missing, Rule
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderNode
from consensus.locks import BlockContext
from consensus.params import Params
from node.archive import Archive, Undo
from node.index import BlockIndexer
from node.layer import Layer
from node.staging import Staging
from node.store import Store
from node.verify import VerifyBatch

SLICE_COST = 30_000
"""Cost of the transactions worked on before others get a turn: about a millisecond."""
INDEX_SLICE = 600
"""Inputs and outputs indexed before others get a turn."""
STAGED_TXS_MAX = 4_000
"""Transactions of one stretch: connected before their signatures are waited for. Two are staged at once."""
STAGED_BYTES_MAX = 4_000_000
"""The same in bytes of blocks; decoded they take five times as much."""


class Attached(NamedTuple):
    """A block that was put on the chain."""

    node: HeaderNode
    block: Block


class Stretch:
    """Blocks that are staged together, and then published at once or not at all."""

    def __init__(self, staging: Staging, detached: Sequence[HeaderNode]) -> None:
        self.staging = staging
        self.detached = detached
        self.attached: list[Attached] = []
        self.signatures: list[VerifyBatch] = []
        """Of each block in `attached`, being verified."""
        self._txs = self._bytes = 0

    def add(self, attached: Attached, signatures: VerifyBatch) -> None:
        self.attached.append(attached)
        self.signatures.append(signatures)
        self._txs += len(attached.block.txs)
        self._bytes += len(attached.block.raw)

    @property
    def tip(self) -> HeaderNode:
        return self.attached[-1].node

    @property
    def is_long(self) -> bool:
        """Whether it should be published before more is connected."""
        return self._txs >= STAGED_TXS_MAX or self._bytes >= STAGED_BYTES_MAX


async def pause() -> None:
    """Let everybody else have a turn."""
    await asyncio.sleep(0)


async def index(rows: Layer | Store) -> None:
    """Make the index rows that are due."""
    while rows.index_some(INDEX_SLICE):
        await pause()


class Connector:
    """Works on one block at a time, for a `Chain`."""

    def __init__(
        self, chain_id: BlockHash, params: Params, store: Store, archive: Archive,
        known: KnownSpend,
    ) -> None:  # fmt: skip
        self._chain_id = chain_id
        self._params = params
        self._store = store
        self._archive = archive
        self._known = known

    async def attach(
        self, node: HeaderNode, checked: CheckedBlock, staging: Staging, signatures: VerifyBatch
    ) -> Block:
        """Connect one block on top of what is staged; `signatures` are sent off meanwhile.

        Raises: Violation; then nothing is staged of it.
        """
        assert node.parent is not None
        await index(staging.layer)
        ctx = BlockContext(self._chain_id, node.height, node.parent.median_time())
        connection = Connection(
            checked, ctx, self._params, staging.coin, staging.supply, self._known
        )
        try:
            while (checks := connection.step(SLICE_COST)) is not None:
                await signatures.add(checks)
                await pause()
            await signatures.finish()
        except Missing as missing:
            # Gone, or there under another lock: the two mistakes have different names.
            spent = missing.data[0]
            output = None if connection.has_spent(spent) else self._archive.read_output(spent)
            if output is not None and staging.coin(spent, output.lock) is not None:
                raise Invalid(Rule.LOCK_MISMATCH, spent) from None
            raise
        delta = connection.finish()
        self._index_later(checked.block, delta.undo, node, 1, staging)
        staging.apply(delta, node.height, 1)
        self._archive.add_undo(node, delta.undo)
        return checked.block

    async def detach(self, node: HeaderNode, staging: Staging) -> None:
        """Take the last block off what is staged."""
        await index(staging.layer)
        block = self._archive.read(node)
        undo = self._archive.read_undo(node)
        assert undo is not None
        self._index_later(block, undo, node, -1, staging)
        staging.apply(delta_of(block, node.height, undo), node.height, -1)

    def attach_genesis(self, node: HeaderNode, genesis: Block) -> Staging:
        """The state at genesis, staged."""
        staging = self._store.stage()
        self._index_later(genesis, (), node, 1, staging)
        staging.apply(delta_of(genesis, 0, ()), 0, 1)
        return staging

    def _index_later(
        self, block: Block, undo: Undo, node: HeaderNode, sign: int, staging: Staging
    ) -> None:
        if not self._store.indexed:
            return
        place = self._archive.place(node)
        assert place is not None
        staging.layer.index_later(BlockIndexer(block, undo, node.height, place.block, sign))
