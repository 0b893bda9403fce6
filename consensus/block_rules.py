"""The rules of a block that need nothing but the block.

They run in steps of some transactions each, so that a node can serve others in between.

Source: docs/protocol.md, "Block rules".
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from consensus.block import (
    Block,
    Header,
    block_pieces,
    block_root,
    decode_header,
    decode_parts,
    make_block,
    transactions_root,
)
from consensus.errors import DecodeError, Invalid, Rule
from consensus.params import BLOCK_BYTES_MAX, BLOCK_COST_MAX
from consensus.tx import Tx, identify, is_coinbase_witness
from consensus.tx_rules import COST_PER_INPUT, CheckedTx, check_outputs, check_tx, cost_of

TRANSACTIONS_MAX = 1 + BLOCK_COST_MAX // COST_PER_INPUT
"""The coinbase and as many of the cheapest transactions as a block can pay for."""


class CheckedBlock(msgspec.Struct, frozen=True, gc=False):
    """A block that passed every rule that needs no context."""

    block: Block
    txs: tuple[CheckedTx, ...]
    """Every transaction but the coinbase."""
    cost: int

    @property
    def coinbase(self) -> Tx:
        return self.block.txs[0]


def check_coinbase(tx: Tx) -> int:
    """Check a coinbase on its own; return its cost.

    Raises: Invalid (tx-version, coinbase-shape, output-…, coinbase-asset).
    """
    body = tx.body
    if body.version != 1:
        raise Invalid(Rule.TX_VERSION, body.version)
    if body.issuances or not is_coinbase_witness(tx.witnesses):
        raise Invalid(Rule.COINBASE_SHAPE)
    check_outputs(body.outputs)
    if any(output.asset for output in body.outputs):
        raise Invalid(Rule.COINBASE_ASSET)
    return cost_of(len(tx.raw), 0, 0, len(body.outputs), 0)


class BlockCheck:
    """The context-free check of one block, in steps.

    `while not check.step(10_000): ...` and then `check.finish()`. Every call raises DecodeError or
    Invalid as soon as a rule is seen to be broken.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        parts = decode_parts(data)
        self.header = decode_header(parts.header)
        self._transactions = parts.transactions
        self._rest = map(identify, parts.transactions)
        if not parts.transactions:
            raise Invalid(Rule.BLOCK_EMPTY)
        # None costs less than its input, so this many cannot fit; said before any is looked at.
        if len(parts.transactions) > TRANSACTIONS_MAX:
            raise Invalid(Rule.BLOCK_COST, len(parts.transactions), TRANSACTIONS_MAX)
        self._txs: list[Tx] = []
        self._checked: list[CheckedTx] = []
        self._cost = 0

    def step(self, cost: int) -> bool:
        """Check more transactions, of about `cost` together; return whether that was all."""
        stop = self._cost + cost
        txs, checked = self._txs, self._checked
        for tx in self._rest:
            if tx.is_coinbase != (not txs):
                raise Invalid(Rule.COINBASE_MISPLACED, len(txs))
            if not txs:
                self._cost += check_coinbase(tx)
            else:
                done = check_tx(tx)
                checked.append(done)
                self._cost += done.cost
            txs.append(tx)
            if self._cost >= stop:
                break
        if self._cost > BLOCK_COST_MAX:
            raise Invalid(Rule.BLOCK_COST, self._cost, BLOCK_COST_MAX)
        return len(self._txs) == len(self._transactions)

    def is_of_header(self) -> bool:
        """Whether these are the transactions that the header means, be they valid or not.

        Only then does a broken rule say anything of the block and of what is built on it.
        """
        txs = [identify(tx) for tx in self._transactions]
        return block_root(txs[0].raw, transactions_root(txs[1:])) == self.header.root

    def finish(self) -> CheckedBlock:
        """The rules that need the whole block."""
        assert len(self._txs) == len(self._transactions)
        pieces = block_pieces(self.header.raw, [tx.raw for tx in self._txs])
        if b"".join(pieces) != self._data:
            raise DecodeError(Rule.NON_CANONICAL)
        root = block_root(self._txs[0].raw, transactions_root(self._txs[1:]))
        # A wrong root says nothing of the block that the header means: whoever sent these
        # transactions is to blame, and the right ones may still come (CVE-2012-2459).
        if root != self.header.root:
            raise Invalid(Rule.BLOCK_ROOT, root, self.header.root)
        block = Block(self.header, tuple(self._txs), self._data)
        return CheckedBlock(block, tuple(self._checked), self._cost)


def check_known(header: Header, coinbase: Tx, txs: Sequence[CheckedTx]) -> CheckedBlock:
    """The same rules for a block of transactions that passed `check_tx` before.

    Raises: Invalid. Any rule but `block-root` says that the block of `header` breaks it.
    """
    root = block_root(coinbase.raw, transactions_root([checked.tx for checked in txs]))
    if root != header.root:
        raise Invalid(Rule.BLOCK_ROOT, root, header.root)
    if not coinbase.is_coinbase:
        raise Invalid(Rule.COINBASE_MISPLACED, 0)
    cost = check_coinbase(coinbase) + sum(checked.cost for checked in txs)
    if cost > BLOCK_COST_MAX:
        raise Invalid(Rule.BLOCK_COST, cost, BLOCK_COST_MAX)
    block = make_block(header, (coinbase, *(checked.tx for checked in txs)))
    if len(block.raw) > BLOCK_BYTES_MAX:
        raise Invalid(Rule.OVERSIZED, len(block.raw), BLOCK_BYTES_MAX)
    return CheckedBlock(block, tuple(txs), cost)


def check_block(data: bytes) -> CheckedBlock:
    """Decode a block and check it as far as that needs no context.

    Raises: DecodeError, Invalid.
    """
    check = BlockCheck(data)
    while not check.step(BLOCK_COST_MAX):
        pass
    return check.finish()
