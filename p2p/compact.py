"""What a compact block is made of, and how a block is made of it again.

A block's transactions are named by six bytes each; whoever has them in its mempool needs no more, and
neither decodes nor hashes them again. Pure.

Source: docs/p2p.md, "compact, getblocktxs, blocktxs".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from consensus.block import Block, Header, decode_header
from consensus.errors import Invalid, Rule
from consensus.hashes import BlockHash, Wtxid
from consensus.params import TX_BYTES_MAX
from consensus.tx import Tx, decode_tx
from consensus.tx_rules import CheckedTx, check_tx
from p2p.messages import SHORT_ID_BYTES, Compact


def short_id_state(block_hash: BlockHash, salt: bytes) -> hashlib.blake2b:
    """A hash state to copy for each wtxid: keyed, so that nobody can make two transactions in advance
    whose ids are the same. BLAKE2b takes the key and gives 6 bytes as it is; a copy, update and digest
    take 0.25 µs."""
    return hashlib.blake2b(digest_size=SHORT_ID_BYTES, key=block_hash + salt)


def short_id(state: hashlib.blake2b, wtxid: Wtxid) -> bytes:
    """The 6 bytes that name `wtxid` under the key of `state`."""
    one = state.copy()
    one.update(wtxid)
    return one.digest()


def can_be_compact(block: Block) -> bool:
    """Whether its coinbase is small enough."""
    return len(block.txs[0].raw) <= TX_BYTES_MAX


def make_compact(block: Block, salt: bytes) -> Compact:
    """`block` in short."""
    state = short_id_state(block.header.hash, salt)
    ids = b"".join([short_id(state, tx.wtxid) for tx in block.txs[1:]])
    return Compact(block.header.raw, salt, block.txs[0].raw, ids)


class Reconstruction:
    """A block that is being put together from what `message` names."""

    def __init__(self, peer: int, message: Compact) -> None:
        self.peer = peer
        self.message = message
        self.header: Header = decode_header(message.header)
        self.is_header_good = False
        """Its header was put into the tree."""
        self.is_refused = False
        """What was sent for it on request is not what it names."""
        self._state = short_id_state(self.header.hash, message.salt)
        ids = message.ids
        self._ids = [
            ids[start : start + SHORT_ID_BYTES] for start in range(0, len(ids), SHORT_ID_BYTES)
        ]
        self._is_ambiguous = len(set(self._ids)) != len(self._ids)
        """Two of its transactions have one id, by chance or on purpose."""
        self._wanted = {short: index for index, short in enumerate(self._ids)}
        self._found: list[CheckedTx | None] = [None] * len(self._ids)

    @property
    def hash(self) -> BlockHash:
        return self.header.hash

    @property
    def missing(self) -> tuple[int, ...]:
        """Places of the transactions that are not there yet, ascending. Empty if it cannot be put
        together at all."""
        return () if self._is_ambiguous else tuple(sorted(self._wanted.values()))

    @property
    def is_complete(self) -> bool:
        return not self._wanted and not self._is_ambiguous

    def match(self, waiting: Iterable[CheckedTx]) -> None:
        """Take what the block names out of `waiting`. The first of an id counts; was it another one,
        the root will tell."""
        wanted, found, copy = self._wanted, self._found, self._state.copy
        for checked in waiting:
            one = copy()
            one.update(checked.tx.wtxid)
            index = wanted.pop(one.digest(), None)
            if index is not None:
                found[index] = checked

    def add(self, index: int, raw: bytes) -> None:
        """Put in a transaction that was asked for. Raises: DecodeError, Invalid."""
        tx = decode_tx(raw, TX_BYTES_MAX)
        if short_id(self._state, tx.wtxid) != self._ids[index]:
            raise Invalid(Rule.BLOCK_ROOT, "not the transaction that was named", index)
        self._found[index] = check_tx(tx)
        del self._wanted[self._ids[index]]

    def coinbase(self) -> Tx:
        """Raises: DecodeError."""
        return decode_tx(self.message.coinbase, TX_BYTES_MAX)

    def txs(self) -> Sequence[CheckedTx]:
        """All of them, once it is complete."""
        assert self.is_complete
        return [checked for checked in self._found if checked is not None]
