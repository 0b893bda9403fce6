"""A small node for tests of the network: the real rules over a ledger in memory."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from consensus.block import Block, Header
from consensus.block_rules import check_block, check_known
from consensus.errors import Invalid, Missing, Refused, Rule, Violation
from consensus.hashes import BlockHash, Wtxid
from consensus.header_tree import HeaderNode, HeaderTree, Status
from consensus.keys import are_signed
from consensus.params import REGTEST, TX_BYTES_MAX, Params
from consensus.tx import Coin, OutPoint, Tx, decode_tx
from consensus.tx_rules import CheckedTx, check_spend, check_tx
from p2p.config import NetworkConfig
from p2p.ports import Endpoint
from p2p.tls import Tls
from tests.support.chain import ToyChain, coins_made
from tests.support.network import Network

WAIT_S = 20.0
"""How long a test waits for what must come."""


class Listener(Protocol):
    """Whom the node tells: its network, or what a test puts in its place."""

    def on_tx_added(self, tx: Tx) -> None: ...

    def on_tip_changed(self, tip: HeaderNode) -> None: ...

    def on_block_stored(self, node: HeaderNode, block: Block) -> None: ...

    def on_block_invalid(self, node: HeaderNode, violation: Violation) -> None: ...


class ToyNode:
    """`NodePort` over a `ToyChain`, with a mempool and without a disk."""

    def __init__(self, params: Params = REGTEST, now: Callable[[], int] | None = None) -> None:
        self.chain = ToyChain(params)
        self.mempool: dict[Wtxid, Tx] = {}
        self.network: Listener | None = None
        self.stored: dict[BlockHash, bytes] = {}
        self.accepted: list[BlockHash] = []
        self.rebuilt: list[BlockHash] = []
        """Blocks that were put together from the mempool."""
        self.least_work = 0
        self.served_bytes = 0
        """If set, blocks are served as so many zero bytes: large ones take long to make."""
        self._coins: dict[OutPoint, Coin] = {}
        self._refused: set[Wtxid] = set()
        self._now = now or (lambda: self.chain.tip.header.time + 3_600)

    @property
    def params(self) -> Params:
        return self.chain.params

    @property
    def chain_id(self) -> BlockHash:
        return self.chain.chain_id

    @property
    def tree(self) -> HeaderTree:
        return self.chain.tree

    @property
    def tip(self) -> HeaderNode:
        return self.chain.tip

    def add_headers(self, headers: Sequence[Header]) -> None:
        for header in headers:
            self.tree.add(header, self._now())

    async def accept_block(self, raw: bytes) -> HeaderNode:
        checked = check_block(raw)
        await asyncio.sleep(0)
        return self._take_in(self.tree.add(checked.block.header, self._now()), checked.block)

    def accept_known(
        self, header: Header, coinbase: Tx, txs: Sequence[CheckedTx]
    ) -> HeaderNode:  # fmt: skip
        node = self.tree.add(header, self._now())
        if node.status is Status.HEADER:
            self._take_in(node, check_known(header, coinbase, txs).block)
            self.rebuilt.append(node.hash)
        return node

    def _take_in(self, node: HeaderNode, block: Block) -> HeaderNode:
        self.stored[node.hash] = block.raw
        self.accepted.append(node.hash)
        self.tree.mark_stored(node)
        if self.network is not None:
            self.network.on_block_stored(node, block)
        self._advance()
        return node

    def waiting_txs(self) -> list[CheckedTx]:
        return [check_tx(tx) for tx in self.mempool.values()]

    def _advance(self) -> None:
        """Make the best complete chain the active one."""
        before = self.tip
        while (best := self.tree.best_linked(self.tip)) is not self.tip:
            detach, attach = self.tree.path(self.tip, best)
            for _ in detach:
                self.chain.disconnect()
            for node in attach:
                try:
                    self._connect(node)
                except Violation as violation:
                    self.tree.mark_invalid(node)
                    if self.network is not None:
                        self.network.on_block_invalid(node, violation)
                    break
        if self.tip is not before and self.network is not None:
            self.network.on_tip_changed(self.tip)

    def _connect(self, node: HeaderNode) -> None:
        block = self.chain.connect(self.stored[node.hash])
        for tx in block.txs:
            if self.mempool.pop(tx.wtxid, None):
                for spent in coins_made(tx, 0):
                    self._coins.pop(spent, None)

    def has_block(self, block_hash: BlockHash) -> bool:
        node = self.tree.get(block_hash)
        return node is not None and node.status is Status.STORED

    def read_block_raw(self, node: HeaderNode) -> bytes | None:
        if self.served_bytes:
            return bytes(self.served_bytes)
        block = self.chain.blocks.get(node.hash)
        return block.raw if block else self.stored.get(node.hash)

    def submit_tx(self, raw: bytes) -> Tx:
        tx = decode_tx(raw, TX_BYTES_MAX)
        if tx.wtxid in self.mempool:
            raise Refused(Rule.ALREADY_IN_MEMPOOL)
        try:
            self._check(tx)
        except Missing:
            raise
        except Violation:
            self._refused.add(tx.wtxid)
            raise
        self.mempool[tx.wtxid] = tx
        self._coins.update(coins_made(tx, self.tip.height + 1))
        if self.network is not None:
            self.network.on_tx_added(tx)
        return tx

    def _check(self, tx: Tx) -> None:
        chain = self.chain
        coins = [chain.coins.get(s) or self._coins.get(s) for s in tx.body.inputs]
        spend = check_spend(check_tx(tx), coins, chain.supply, chain.context())
        if not are_signed(spend.checks):
            raise Invalid(Rule.BAD_SIGNATURE)

    def has_tx(self, wtxid: Wtxid) -> bool:
        return wtxid in self.mempool or wtxid in self._refused

    def tx_raw(self, wtxid: Wtxid) -> bytes | None:
        tx = self.mempool.get(wtxid)
        return tx.raw if tx else None

    def mine(self, count: int = 1) -> None:
        """Mine blocks with what is in the mempool, and tell the network."""
        for _ in range(count):
            block = self.chain.template(tuple(self.mempool.values()))
            node = self.tree.add(block.header, self._now())
            self.tree.mark_stored(node)
            if self.network is not None:
                self.network.on_block_stored(node, block)
            self.chain.connect(block.raw)
            self.mempool.clear()
            self._coins.clear()
            if self.network is not None:
                self.network.on_tip_changed(self.tip)


class MemoryStore:
    """Keeps the address book in memory."""

    def __init__(self) -> None:
        self.data: bytes | None = None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data


class WallClock:
    """The real time."""

    def now(self) -> int:
        return int(time.time())

    def monotonic(self) -> float:
        return time.monotonic()


_SEEDS = itertools.count()
LOCALHOST = Endpoint("127.0.0.1", 0)
QUICK = NetworkConfig(
    listen=LOCALHOST, outbound_target=0, tick_s=0.02, redial_first_s=0.05, redial_last_s=0.2,
    handshake_s=1.0,
)  # fmt: skip


def make_network(
    node: ToyNode,
    config: NetworkConfig = QUICK,
    store: MemoryStore | None = None,
    tls: Tls | None = None,
) -> Network:
    """A network over real sockets for `node`; an error of ours fails the test."""

    def fail(error: BaseException) -> None:
        raise AssertionError("the network failed") from error

    network = Network(
        node, config, clock=WallClock(), rng=random.Random(next(_SEEDS)), store=store or MemoryStore(),
        on_failure=fail, tls=tls,
    )  # fmt: skip
    node.network = network
    return network


async def until(holds: Callable[[], bool], what: str = "") -> None:
    """Wait for `holds`, but not for ever."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited {WAIT_S} s in vain {what}"
        await asyncio.sleep(0.005)
