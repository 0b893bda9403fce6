"""The chain of blocks: what comes in, what is connected, and the one place where the tip moves.

A block is checked without context and stored as it comes; then one task follows the header tree to
the most work, in slices of about a millisecond. Blocks are taken off and put on in a staging layer,
which is published at once, so nobody ever sees half a reorganisation.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from consensus.block import HEADER_BYTES, Block, Header, decode_header
from consensus.block_rules import BlockCheck, CheckedBlock, check_known
from consensus.connect import KnownSpend
from consensus.errors import DecodeError, Invalid, Rule, StorageError, Violation
from consensus.hashes import BlockHash, LockHash
from consensus.header_tree import HeaderNode, HeaderTree, Status
from consensus.locks import BlockContext
from consensus.params import Params
from consensus.tx import Coin, OutPoint, Tx
from consensus.tx_rules import CheckedTx
from node.archive import Archive
from node.connector import SLICE_COST, Attached, Connector, Stretch, index, pause
from node.store import FLUSH_ROWS, Store
from node.verify import Verifier

log = logging.getLogger(__name__)

STAGED_BLOCKS_MAX = 1_000
"""Blocks of one stretch at most."""
CHECKED_BYTES_MAX = 8 << 20
"""Raw size of the blocks kept decoded between storing and connecting them."""
VERDICTS_MAX = 1_000
REST_S = 0.03
"""Time without a block after which index rows are made: peers on the same cores, and whoever waits for
the tip, come first. Who asks for a row before has it made at once."""
BLOCK_PREFIX = b"\x92\xc4\x50"
"""How a block begins: an array of two, then a byte string of 80."""


class Change(NamedTuple):
    """What happened to the best chain, in the order in which it happened."""

    previous: HeaderNode
    tip: HeaderNode
    detached: Sequence[HeaderNode]
    attached: Sequence[Attached]


class ChainListener(NamedTuple):
    """Whom the chain tells. None of them may raise."""

    changed: Callable[[Change], None]
    invalid: Callable[[HeaderNode, Invalid], None]
    """A block whose header was accepted breaks a rule."""
    header: Callable[[HeaderNode], None]
    """A header with more work than any other became known."""
    stored: Callable[[HeaderNode, Block], None]
    """A block passed the rules that need no context."""


class Chain:
    """Headers, blocks and coins of one network. One task, `run`, moves the tip."""

    def __init__(
        self, genesis: Block, params: Params, store: Store, verifier: Verifier,
        clock: Callable[[], float], listener: ChainListener,
        known: KnownSpend = lambda checked, coins: None,
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970. `known` may tell what a transaction spends whose
        signatures were verified before."""
        self.params = params
        self.genesis = genesis
        self.chain_id = genesis.header.hash
        self.tree = HeaderTree(params, genesis.header)
        self.tip = self.tree.genesis
        self.store = store
        self.archive = Archive(store)
        self._verifier = verifier
        self._connector = Connector(self.chain_id, params, store, self.archive, known)
        self._clock = clock
        self._listener = listener
        self._checked: OrderedDict[BlockHash, CheckedBlock] = OrderedDict()
        self._checked_bytes = 0
        self._verdicts: OrderedDict[BlockHash, Invalid] = OrderedDict()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._failure: StorageError | None = None
        self._context = BlockContext(self.chain_id, 1, self.tip.median_time())
        self._context_of = self.tip

    # Reading

    def context(self) -> BlockContext:
        """The context of the block after the tip."""
        if self._context_of is not self.tip:  # asked for each payment: 2 us
            self._context_of = self.tip
            self._context = BlockContext(self.chain_id, self.tip.height + 1, self.tip.median_time())
        return self._context

    def coin(self, outpoint: OutPoint, lock: LockHash) -> Coin | None:
        """The unspent coin at `outpoint` if it is locked to `lock`; in memory, whatever its lock."""
        return self.store.coin(outpoint, lock, keep=True)

    def coin_at(self, outpoint: OutPoint) -> Coin | None:
        """The unspent coin at `outpoint`, found by way of the transaction index."""
        output = self.archive.read_output(outpoint)
        return self.store.coin(outpoint, output.lock) if output else None

    # Headers and blocks coming in

    def add_headers(self, headers: Sequence[Header]) -> None:
        """Put headers into the tree, in order.

        Raises: Missing, Invalid, Premature at the first that does not fit; those before it stay.
        """
        best = self.tree.best_header
        try:
            for header in headers:
                self._add_header(header)
        finally:
            if self.tree.best_header is not best:
                self._listener.header(self.tree.best_header)

    def _add_header(self, header: Header) -> HeaderNode:
        known = self.tree.get(header.hash)
        node = self.tree.add(header, int(self._clock()))
        if known is None:
            self.archive.note(node)
        return node

    async def accept_block(self, raw: bytes) -> HeaderNode:
        """Check a block without context and store it; `run` connects it when its turn comes.

        Raises: DecodeError, Invalid, Missing, Premature; then nothing is stored of it but perhaps
        its header.
        """
        if raw[: len(BLOCK_PREFIX)] != BLOCK_PREFIX:
            raise DecodeError(Rule.MALFORMED, "not a block")
        # The header first: proof of work is the price of everything that costs more to check.
        start = len(BLOCK_PREFIX)
        node = self._expect(decode_header(raw[start : start + HEADER_BYTES]))
        if node.status is not Status.STORED:
            self._take_in(node, await self._check(raw, node))
        return node

    def accept_known(
        self, header: Header, coinbase: Tx, txs: Sequence[CheckedTx]
    ) -> HeaderNode:  # fmt: skip
        """Like `accept_block`, of transactions that were checked without context before.

        Raises: Invalid, Missing, Premature. After `block-root` the block may still come.
        """
        node = self._expect(header)
        if node.status is not Status.STORED:
            try:
                checked = check_known(header, coinbase, txs)
            except Invalid as error:
                if error.rule is not Rule.BLOCK_ROOT:
                    self._condemn(node, error)
                raise
            self._take_in(node, checked)
        return node

    def _expect(self, header: Header) -> HeaderNode:
        """The node of a block that is coming in. Raises: Invalid, Missing, Premature."""
        node = self.tree.get(header.hash)
        if node is None:
            self.add_headers([header])
            node = self.tree.get(header.hash)
            assert node is not None
        self._refuse_invalid(node)
        return node

    def _take_in(self, node: HeaderNode, checked: CheckedBlock) -> None:
        """Store a block, unless somebody else brought it meanwhile; `run` connects it.

        Raises: Invalid, if meanwhile what it builds on turned out so; StorageError.
        """
        self._refuse_invalid(node)
        if node.status is not Status.HEADER:
            return
        self._store(node, checked.block.raw, len(checked.block.txs))
        self.tree.mark_stored(node)
        self.archive.note(node)
        self._keep(node, checked)
        # First, so that it is on its way before the work of connecting it begins.
        self._listener.stored(node, checked.block)
        self._settled.clear()
        self._wake.set()

    async def submit_block(self, raw: bytes) -> HeaderNode:
        """Like `accept_block`, and wait until it is known whether the block can be connected."""
        return await self._connected(await self.accept_block(raw))

    async def submit_known(
        self, header: Header, coinbase: Tx, txs: Sequence[CheckedTx]
    ) -> HeaderNode:  # fmt: skip
        """Like `accept_known`, and wait until it is known whether the block can be connected."""
        return await self._connected(self.accept_known(header, coinbase, txs))

    async def _connected(self, node: HeaderNode) -> HeaderNode:
        """Wait for the verdict of all rules on a stored block. Raises: Invalid, StorageError."""
        await self.settled()
        self._check_storage()
        self._refuse_invalid(node)
        return node

    def _refuse_invalid(self, node: HeaderNode) -> None:
        """Raises: Invalid, if that is known of the block or of one that it builds on."""
        if node.status is Status.INVALID:
            verdict = self._verdicts.get(node.hash)
            if verdict is None:
                raise Invalid(Rule.BLOCK_KNOWN_INVALID, node.hash[::-1])
            # A new one: an exception that is raised twice keeps what stood on both ways.
            raise Invalid(verdict.rule, *verdict.data)

    async def settled(self) -> None:
        """Return when the tip is where it belongs."""
        await self._settled.wait()

    async def _check(self, raw: bytes, node: HeaderNode) -> CheckedBlock:
        check = BlockCheck(raw)
        try:
            while not check.step(SLICE_COST):
                await pause()
            return check.finish()
        except Invalid as error:
            if error.rule is not Rule.BLOCK_ROOT and check.is_of_header():
                self._condemn(node, error)
            raise

    def _check_storage(self) -> None:
        """Raises: StorageError, if storage has failed before."""
        if self._failure is not None:
            raise StorageError(self._failure.what, self._failure.remedy)

    def _store(self, node: HeaderNode, raw: bytes, tx_count: int) -> None:
        self._check_storage()
        try:
            self.archive.add_block(node, raw, tx_count)
        except StorageError as error:
            # Whoever brought it cannot do anything about that: the node has to stop.
            self._failure = error
            self._wake.set()
            raise

    def _keep(self, node: HeaderNode, checked: CheckedBlock) -> None:
        self._checked[node.hash] = checked
        self._checked_bytes += len(checked.block.raw)
        while self._checked_bytes > CHECKED_BYTES_MAX and len(self._checked) > 1:
            _, old = self._checked.popitem(last=False)
            self._checked_bytes -= len(old.block.raw)

    async def _take(self, node: HeaderNode) -> CheckedBlock:
        """The checked block of `node`, from memory or from disk."""
        checked = self._checked.pop(node.hash, None)
        if checked is not None:
            self._checked_bytes -= len(checked.block.raw)
            return checked
        raw = self.archive.read_raw(node)
        assert raw is not None
        check = BlockCheck(raw)
        while not check.step(SLICE_COST):
            await pause()
        return check.finish()

    # Moving the tip

    async def run(self) -> None:
        """Follow the most work until cancelled. Raises: StorageError, also of a block coming in."""
        try:
            while True:
                self._check_storage()
                self._wake.clear()
                while await self._advance():
                    pass
                if not self._wake.is_set():
                    self._settled.set()
                await self._rest()
        except StorageError as error:
            self._failure = error
            # Nothing will move any more; who waits for that asks `_check_storage` then.
            self._settled.set()
            raise

    async def _rest(self) -> None:
        """Wait for what comes next; tidy up when nothing came for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_S):
                await self._wake.wait()
        if not self._wake.is_set():
            await self._tidy()
            await self._wake.wait()

    async def _tidy(self) -> None:
        """What no rule asks for, and the next block may find undone, but not the one after it."""
        await index(self.store)
        await self._flush_if_due()

    def start_from(self, tip: HeaderNode) -> None:
        """Say at which block the store stands, before `run`."""
        self.tip = tip
        self._wake.set()

    async def _advance(self) -> bool:
        """Move the tip some way towards the most work; False if there is nowhere to go.

        While the signatures of one stretch of blocks are verified, the next is put on top of it.
        """
        if self.tree.best_linked(self.tip) is self.tip:
            return False
        await self._tidy()
        last = await self._stage(None)
        while last is not None:
            following = await self._stage(last)
            if not await self._settle(last):
                break
            if following is not None:
                following.staging.below = self.store
                await self._tidy()
            last = following
        return True

    async def _stage(self, below: Stretch | None) -> Stretch | None:
        """Connect some blocks on top of `below`, or of the tip.

        None if nothing is left to connect there, or if the first that is breaks a rule.
        """
        base = below.tip if below else self.tip
        # Asked for the tip, not for `base`: where a signature of `below` fails, others may be best.
        best = self.tree.best_linked(self.tip)
        fork = self.tree.fork(base, best)
        if best is base or (below and fork is not base):
            return None
        if fork is base:
            best = best.ancestor(min(best.height, fork.height + STAGED_BLOCKS_MAX))
        detach, attach = self.tree.path(base, best)
        stretch = Stretch(self.store.stage(below.staging if below else None), detach)
        for node in detach:
            await self._connector.detach(node, stretch.staging)
        for node in attach:
            signatures = self._verifier.batch()
            try:
                block = await self._connector.attach(
                    node, await self._take(node), stretch.staging, signatures
                )
            except Violation as error:
                self._condemn(node, error)
                # Blocks before it may be good, but without it another branch may be better.
                return stretch if not detach and stretch.attached else None
            stretch.add(Attached(node, block), signatures)
            if stretch.is_long and node.work > base.work:
                break
        return stretch

    async def _settle(self, stretch: Stretch) -> bool:
        """Publish a stretch if every signature in it holds; else say which block is invalid."""
        for (node, _), signatures in zip(stretch.attached, stretch.signatures, strict=True):
            if not await signatures.verdict():
                self._condemn(node, Invalid(Rule.BAD_SIGNATURE))
                return False
        previous, self.tip = self.tip, stretch.tip
        self.store.publish(stretch.staging, self.tip.hash)
        self._listener.changed(Change(previous, self.tip, stretch.detached, stretch.attached))
        return True

    async def connect_genesis(self) -> None:
        """Give an empty store the state at genesis."""
        node = self.tree.genesis
        self.store.publish(self._connector.attach_genesis(node, self.genesis), node.hash)
        self.archive.note(node)

    def _condemn(self, node: HeaderNode, violation: Violation) -> None:
        """Mark a block that breaks a rule, and all that builds on it, as invalid."""
        if node.status is Status.INVALID:
            return
        for marked in self.tree.mark_invalid(node):
            self.archive.note(marked)
        # Premature or missing in a block is wrong for good: the block says where it stands. What is
        # kept was never raised, or it would hold the whole block by its traceback.
        verdict = Invalid(violation.rule, *violation.data)
        self._verdicts[node.hash] = verdict
        while len(self._verdicts) > VERDICTS_MAX:
            self._verdicts.popitem(last=False)
        self._listener.invalid(node, verdict)

    # Writing

    async def _flush_if_due(self) -> None:
        self.store.check_flushes()
        if self.store.waiting >= FLUSH_ROWS:
            await self.store.start_flush()

    async def flush(self) -> None:
        """Write the published state to disk. Raises: StorageError, and then `run` does too."""
        try:
            await self.store.flush()
        except StorageError as error:
            # Nothing can be written after this: the node has to stop, whoever asked for the flush.
            self._failure = error
            self._wake.set()
            raise
