"""Which lock a script hash stands for.

Clients name an address by the SHA-256 of its script, which leads back to no lock, and may ask for one long
before anything is paid to it. So each lock is written down by that hash when it is first seen: in a
database of its own, which is made when the server is first asked for and can be made again at any time.
Nothing that the ledger does waits for it.

| key           | value                                                                    |
|---------------|--------------------------------------------------------------------------|
| hash(32)      | lock(32)                                                                 |
| `M`           | hash(32) of a block: locks of all outputs up to there are in             |
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

from consensus.block import Block
from consensus.errors import StorageError
from consensus.hashes import HASH_BYTES, BlockHash, LockHash
from consensus.header_tree import HeaderNode
from consensus.tx import BURN_LOCK
from node.database import Database, View
from node.electrum.limits import OUTPUTS_PER_TURN
from node.ledger import Ledger
from node.rpc.params import ScriptHash
from node.rpc.shapes import LOCK_PREFIX

KEY_BLOCK = b"M"
BLOCKS_READ_MAX = 1_000
"""Blocks that are read to catch up; where more are missing, going through all locks is quicker."""
WRITTEN_AT = 20_000
"""Locks that wait in memory until they are written."""
TOLD_EACH = 1_000_000

_PREFIX = bytes.fromhex(LOCK_PREFIX)
_sha256 = hashlib.sha256
log = logging.getLogger(__name__)


def scripthash_of(lock: LockHash) -> ScriptHash:
    """The SHA-256 of the script that the JSON-RPC shows of a lock; its text form is reversed hex."""
    return ScriptHash(_sha256(_PREFIX + lock).digest())


class LockIndex:
    """Locks by their script hash."""

    def __init__(self, ledger: Ledger, open_database: Callable[[], Database]) -> None:
        """`open_database` raises StorageError."""
        self._ledger = ledger
        self._store = ledger.chain.store
        self._open = open_database
        self._database: Database | None = None
        self._view: View | None = None
        self._new: dict[bytes, bytes] = {}
        self._writing: dict[bytes, bytes] = {}
        self._block: BlockHash | None = None
        """The last block of which all locks are in."""

    async def start(self) -> None:
        """Open it, and catch up with the ledger as it is now. Raises: StorageError."""
        self._database = self._open()
        self._view = self._database.view()
        tip = self._ledger.tip
        found = self._view.get(KEY_BLOCK)
        known = self._ledger.tree.get(BlockHash(found)) if found is not None else None
        fork = self._ledger.tree.fork(known, tip) if known is not None else None
        if fork is not None and tip.height - fork.height <= BLOCKS_READ_MAX:
            for height in range(fork.height + 1, tip.height + 1):
                await self._read_block(tip.ancestor(height))
        else:
            await self._scan()
        for entry in list(self._ledger.mempool.entries()):
            for output in entry.tx.body.outputs:
                self.add(output.lock)
        self._block = tip.hash
        await self.write()

    async def _read_block(self, node: HeaderNode) -> None:
        for number, lock in enumerate(locks_of(self._ledger.chain.archive.read(node)), 1):
            self.add(lock)
            if number % OUTPUTS_PER_TURN == 0:
                await asyncio.sleep(0)
        await self.write_if_due()

    async def _scan(self) -> None:
        """Go through every lock that ever was paid to."""
        await self._ledger.chain.flush()
        number = 0
        log.info("noting script hashes: once, some seconds for every million")
        for number, lock in enumerate(self._store.scan_locks(), 1):
            self.add(lock)
            if number % OUTPUTS_PER_TURN == 0:
                await asyncio.sleep(0)
                await self.write_if_due()
            if number % TOLD_EACH == 0:
                log.info("script hashes noted: %d", number)
        log.info("script hashes noted: %d, all there are", number)

    def add(self, lock: LockHash) -> ScriptHash:
        """Remember a lock."""
        scripthash = scripthash_of(lock)
        self._new[scripthash] = lock
        return scripthash

    def passed(self, block: BlockHash) -> None:
        """Every lock that the best chain pays to up to `block` was added."""
        self._block = block

    def lock_of(self, scripthash: ScriptHash) -> LockHash | None:
        """Raises: StorageError."""
        assert self._view is not None
        for rows in (self._new, self._writing):
            found = rows.get(scripthash)
            if found is not None:
                return LockHash(found)
        value = self._view.get(scripthash)
        if value is None:
            return None
        if len(value) != HASH_BYTES:
            raise StorageError(
                "a script hash leads to what is no lock",
                "remove the folder `electrum` from the data directory: it is made again",
            )
        return LockHash(value)

    async def write_if_due(self) -> None:
        if len(self._new) >= WRITTEN_AT:
            await self.write()

    async def write(self) -> None:
        """Write what is new, beside the event loop. Raises: StorageError."""
        database, view = self._database, self._view
        assert database is not None
        assert view is not None
        assert not self._writing, "one write at a time"
        self._writing, self._new = self._new, {}
        rows = list(self._writing.items())
        if self._block is not None:
            rows.append((KEY_BLOCK, self._block))
        await self._store.beside(lambda: database.write(rows))
        self._view = database.view()
        self._writing = {}
        view.close()

    async def close(self) -> None:
        """Write what is new, and close. Raises: StorageError."""
        if self._database is None:
            return
        try:
            # A write whose caller gave up may still be under way in its thread.
            await self._store.beside(lambda: None)
            self._new, self._writing = self._writing | self._new, {}
            await self.write()
        finally:
            assert self._view is not None
            self._view.close()
            self._database.close()
            self._database = None


def locks_of(block: Block) -> list[LockHash]:
    """Every lock that a block pays to, once."""
    found = {output.lock for tx in block.txs for output in tx.body.outputs}
    found.discard(BURN_LOCK)
    return list(found)
