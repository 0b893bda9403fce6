"""The ledger as everybody else sees it: chain and mempool behind one door.

RPC, peers and miner ask and submit here; every change comes back as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from consensus.asset import AssetRecord
from consensus.block import Block, Header
from consensus.coins import CoinSetDigest
from consensus.errors import Violation
from consensus.hashes import AssetId, BlockHash, LockHash, Txid, Wtxid
from consensus.header_tree import HeaderNode, HeaderTree
from consensus.locks import BlockContext
from consensus.params import COINBASE_MATURITY, Params
from consensus.tx import Coin, OutPoint, Tx
from consensus.tx_rules import CheckedTx, Spend
from node.archive import Undo
from node.chain import Chain, ChainListener, Change
from node.events import (
    BlockConnected,
    BlockDisconnected,
    BlockInvalid,
    BlockStored,
    EventBus,
    HeaderAdded,
    TipChanged,
)
from node.layout import HistoryEntry
from node.mempool import Mempool
from node.mempool_entry import Entry
from node.policy import Policy
from node.store import Store
from node.submissions import Submissions
from node.verify import Verifier

log = logging.getLogger(__name__)

RETURNING_PER_TURN = 50
"""Transactions of disconnected blocks that come back before others get a turn."""
COINS_PER_TURN = 500
SYNCING_AGE_S = 24 * 3_600
"""A tip older than this, with a better header known, means that the node is still catching up."""


class ConfirmedTx(NamedTuple):
    """A transaction of the best chain."""

    tx: Tx
    node: HeaderNode
    position: int


class Balance(NamedTuple):
    """Base units that a lock ever received and ever spent in confirmed transactions."""

    received: int
    spent: int

    @property
    def balance(self) -> int:
        return self.received - self.spent


class CoinSet(NamedTuple):
    """The whole coin set at one block."""

    height: int
    block_hash: BlockHash
    digest: bytes
    coins: int
    supply: dict[AssetId, int]
    """Base units in the coins, by asset."""


class Ledger:
    """Chain and mempool, and the events of both."""

    def __init__(
        self, genesis: Block, params: Params, store: Store, verifier: Verifier, policy: Policy,
        clock: Callable[[], float], bus: EventBus, least_work: int = 0,
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970."""
        self.params = params
        self.least_work = least_work
        """What a chain of peers must have; with less the node is still catching up."""
        self.bus = bus
        self._store = store
        self._clock = clock
        listener = ChainListener(
            self._on_change, self._on_invalid, self._on_header, self._on_stored
        )
        self.chain = Chain(genesis, params, store, verifier, clock, listener, self._known_spend)
        self.mempool = Mempool(self, policy, clock, bus.emit, verifier.verify_now)
        self.submissions = Submissions(self.mempool, verifier.send_few, verifier.start_soon)
        self._returning: asyncio.Task[None] | None = None
        self.reorganisations = 0
        """How often blocks were taken off. While it stays, what is confirmed only grows."""
        self._immature: Mapping[LockHash, Mapping[AssetId, int]] = {}
        self._immature_at: HeaderNode | None = None
        """The tip for which `_immature` was added up."""

    # The state, by its parts

    @property
    def chain_id(self) -> BlockHash:
        return self.chain.chain_id

    @property
    def tree(self) -> HeaderTree:
        return self.chain.tree

    @property
    def tip(self) -> HeaderNode:
        return self.chain.tip

    @property
    def is_indexed(self) -> bool:
        """Whether transactions, histories and balances can be looked up."""
        return self._store.indexed

    @property
    def is_syncing(self) -> bool:
        """Whether the node is still catching up, with headers that it knows or with any."""
        if self.tip.work < self.least_work:
            return True
        behind = self.tree.best_header.work > self.tip.work
        return behind and self.tip.header.time < self._clock() - SYNCING_AGE_S

    @property
    def is_returning(self) -> bool:
        """Whether a reorganisation is still bringing transactions back into the mempool."""
        return self._returning is not None

    async def at_rest(self) -> None:
        """Return when none is; the mempool lacks until then what has still to come back."""
        while self._returning is not None:
            await asyncio.wait([self._returning])

    def context(self) -> BlockContext:
        """The context of the next block."""
        return self.chain.context()

    def coin(self, spent: OutPoint, lock: LockHash) -> Coin | None:
        """A confirmed coin; it may have another lock."""
        return self.chain.coin(spent, lock)

    def coin_at(self, spent: OutPoint) -> Coin | None:
        """A confirmed coin, by its outpoint alone."""
        return self.chain.coin_at(spent)

    def is_unspent(self, spent: OutPoint, lock: LockHash) -> bool:
        """Whether a confirmed coin is there. Keeps nothing of it in memory, as `coin` does."""
        return self._store.coin(spent, lock) is not None

    def supply(self, asset: AssetId) -> int:
        return self._store.supply(asset)

    def asset(self, asset: AssetId) -> AssetRecord | None:
        """What is known of an asset; the native coin has the empty id."""
        return self._store.asset(asset)

    def assets(self, after: AssetId, limit: int) -> list[tuple[AssetId, AssetRecord]]:
        """Issued assets and authority coins by id, from behind `after` on."""
        return self._store.assets(after, limit)

    def is_confirmed(self, txid: Txid) -> bool:
        return self._store.tx_place(txid) is not None

    def read_tx(self, txid: Txid) -> ConfirmedTx | None:
        """A transaction of the best chain. Raises: StorageError."""
        found = self.chain.archive.read_tx(txid)
        if found is None:
            return None
        tx, height, position = found
        return ConfirmedTx(tx, self.tip.ancestor(height), position)

    def has_block(self, block_hash: BlockHash) -> bool:
        node = self.tree.get(block_hash)
        return node is not None and self.chain.archive.place(node) is not None

    def is_on_best_chain(self, node: HeaderNode) -> bool:
        return node.height <= self.tip.height and self.tip.ancestor(node.height) is node

    def tx_count(self, node: HeaderNode) -> int:
        """Transactions in a block; 0 if it is not stored."""
        place = self.chain.archive.place(node)
        return place.tx_count if place else 0

    def read_block_raw(self, node: HeaderNode) -> bytes | None:
        """Bytes of a block, or None if it is not stored. Raises: StorageError."""
        return self.chain.archive.read_raw(node)

    def read_undo(self, node: HeaderNode) -> Undo | None:
        """What a block spent, or None if it was never connected. Raises: StorageError."""
        return self.chain.archive.read_undo(node)

    def balances(self, lock: LockHash) -> dict[AssetId, Balance]:
        return {asset: Balance(*sums) for asset, sums in self._store.balances(lock).items()}

    def immature(self, lock: LockHash) -> dict[AssetId, int]:
        """Base units of confirmed coins of a lock that cannot be spent in the next block."""
        if self._immature_at is not self.tip:
            # Nothing of it can have been spent, so what the last blocks made is what is there.
            sums: defaultdict[LockHash, defaultdict[AssetId, int]]
            sums = defaultdict(lambda: defaultdict(int))
            first = max(0, self.tip.height + 2 - COINBASE_MATURITY)
            for owner, asset, amount in self._store.delayed(first):
                sums[owner][asset] += amount
            self._immature, self._immature_at = sums, self.tip
        return dict(self._immature.get(lock, {}))

    def coins_of(self, lock: LockHash, after: bytes, limit: int) -> list[tuple[OutPoint, Coin]]:
        """Confirmed coins of a lock in the order of outpoints, from behind `after` on."""
        return self._store.coins_of(lock, OutPoint(after), limit)

    def history(self, lock: LockHash, after: bytes, limit: int) -> list[HistoryEntry]:
        """Confirmed transactions of a lock, oldest first, from behind the cursor `after` on."""
        return self._store.history(lock, after, limit)

    def history_back(self, lock: LockHash, before: bytes, limit: int) -> list[HistoryEntry]:
        """The same newest first, from before the cursor `before` on, or from the newest."""
        return self._store.history_back(lock, before, limit)

    async def coin_set(self) -> CoinSet:
        """Go through every coin. Raises: StorageError."""
        await self.chain.flush()
        tip_hash, coins = self._store.scan_coins()
        tip = self.tree.get(tip_hash)
        assert tip is not None
        digest = CoinSetDigest()
        for number, (spent, coin) in enumerate(coins, 1):
            digest.add(spent, coin)
            if number % COINS_PER_TURN == 0:
                await asyncio.sleep(0)
        return CoinSet(tip.height, tip.hash, digest.digest(), digest.count, dict(digest.supply))

    # What comes in

    def add_headers(self, headers: Sequence[Header]) -> None:
        """Raises: Missing, Invalid, Premature at the first that does not fit."""
        self.chain.add_headers(headers)

    async def accept_block(self, raw: bytes) -> HeaderNode:
        """Check a block without context and store it. Raises: Violation."""
        return await self.chain.accept_block(raw)

    def accept_known(
        self, header: Header, coinbase: Tx, txs: Sequence[CheckedTx]
    ) -> HeaderNode:  # fmt: skip
        """Store a block of transactions that were checked before. Raises: Violation."""
        return self.chain.accept_known(header, coinbase, txs)

    async def submit_block(self, raw: bytes) -> HeaderNode:
        """Like `accept_block`, and wait for the verdict of all rules. Raises: Violation."""
        return await self.chain.submit_block(raw)

    async def submit_known(
        self, header: Header, coinbase: Tx, txs: Sequence[CheckedTx]
    ) -> HeaderNode:  # fmt: skip
        """Like `accept_known`, and wait for the verdict of all rules. Raises: Violation."""
        return await self.chain.submit_known(header, coinbase, txs)

    def submit_tx(self, raw: bytes) -> Tx:
        """Put a transaction into the mempool. Raises: Violation."""
        return self.mempool.submit(raw).tx

    def test_tx(self, raw: bytes) -> Entry:
        """What `submit_tx` would do, without doing it. Raises: Violation."""
        return self.mempool.test(raw)

    def has_tx(self, wtxid: Wtxid) -> bool:
        """Whether it is in the mempool or was refused since the tip changed."""
        known = self.mempool.by_wtxid(wtxid) is not None
        return known or self.mempool.is_recently_refused(wtxid)

    def tx_raw(self, wtxid: Wtxid) -> bytes | None:
        entry = self.mempool.by_wtxid(wtxid)
        return entry.tx.raw if entry else None

    def waiting_txs(self) -> list[CheckedTx]:
        """Everything in the mempool, what a miner would take first in front."""
        return [entry.checked for entry in self.mempool.ranked()]

    def load_mempool(self, data: bytes) -> Iterator[bool]:
        """Submit what `mempool.dump` wrote, one at a time. Raises: DecodeError."""
        return (not isinstance(result, Violation) for result in self.mempool.load(data))

    # What the chain asks, and says

    def _known_spend(self, checked: CheckedTx, coins: Sequence[Coin | None]) -> Spend | None:
        return self.mempool.known_spend(checked, coins)

    def _on_change(self, change: Change) -> None:
        for node in change.detached:
            block = self.chain.archive.read(node)
            self.mempool.block_disconnected(block)
            self.bus.emit(BlockDisconnected(node, block))
        for node, block in change.attached:
            self.mempool.block_connected(block)
            self.bus.emit(BlockConnected(node, block))
        if change.detached:
            self.reorganisations += 1
            log.info(
                "reorganised: %d blocks off, %d on", len(change.detached), len(change.attached)
            )
        if self.mempool.tip_changed(RETURNING_PER_TURN) and self._returning is None:
            self._returning = asyncio.create_task(self._bring_back())
        self.bus.emit(TipChanged(change.tip, change.previous))

    async def _bring_back(self) -> None:
        try:
            while True:
                await asyncio.sleep(0)
                if not self.mempool.bring_back(RETURNING_PER_TURN):
                    break
        finally:
            self._returning = None

    def _on_invalid(self, node: HeaderNode, violation: Violation) -> None:
        log.warning("block %s at %d is invalid: %s", node.hash[::-1].hex(), node.height, violation)
        self.bus.emit(BlockInvalid(node, violation))

    def _on_header(self, node: HeaderNode) -> None:
        self.bus.emit(HeaderAdded(node))

    def _on_stored(self, node: HeaderNode, block: Block) -> None:
        self.bus.emit(BlockStored(node, block))
