"""The block to be mined next: its transactions, its header fields, and a coinbase to be filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from consensus.block import (
    HEADER_BYTES,
    VERSION,
    Block,
    Header,
    block_root,
    make_block,
    make_header,
    transactions_root,
)
from consensus.block_rules import check_coinbase
from consensus.errors import Refused, Rule
from consensus.hashes import AssetId, LockHash
from consensus.header_tree import HeaderNode, HeaderTree, earliest_time, expected_bits
from consensus.params import AMOUNT_MAX, BLOCK_BYTES_MAX, BLOCK_COST_MAX, Params
from consensus.pow import target_of
from consensus.tx import EXTRANONCE_BYTES, NATIVE, Tx, TxOut, make_coinbase
from consensus.tx_rules import CheckedTx
from node.mempool import Mempool
from node.mempool_entry import Entry
from node.selection import Selection

FRAMING_BYTES = 1 + 2 + HEADER_BYTES + 5
"""What a block has beside its transactions: two array headers, one of them of any length, and the
header as bytes."""
GENESIS_AGE_MAX_S = 3_600


class Mined(NamedTuple):
    """A block in parts that were checked when they came, except for the coinbase."""

    header: Header
    coinbase: Tx
    txs: Sequence[CheckedTx]

    @property
    def block(self) -> Block:
        return make_block(self.header, (self.coinbase, *(checked.tx for checked in self.txs)))


class Choice:
    """The transactions of a template beside the coinbase."""

    def __init__(self, parent: HeaderNode, version: int, entries: Sequence[Entry]) -> None:
        """`version` is that of the mempool."""
        self.parent = parent
        self.version = version
        self.entries = tuple(entries)
        self.fees = sum(entry.fee for entry in entries)
        self.cost = sum(entry.cost for entry in entries)
        self.shown: bytes | None = None
        """How it stands in an answer, once that was made."""

    @cached_property
    def checked(self) -> tuple[CheckedTx, ...]:
        return tuple(entry.checked for entry in self.entries)

    @property
    def txs(self) -> tuple[Tx, ...]:
        return tuple(entry.tx for entry in self.entries)

    @cached_property
    def others_root(self) -> bytes:
        """The root over them. Most of the work of a template, and not everybody needs it."""
        return transactions_root(self.txs)


class Template(msgspec.Struct, frozen=True):
    """A block without extranonce and nonce. It is valid with any time from `time_min` on that is
    not too far ahead of the clocks of others."""

    parent: HeaderNode
    bits: int
    time: int
    """Seconds since 1970: now, or the earliest that is allowed."""
    time_min: int
    now: int
    """The clock when it was made."""
    choice: Choice
    value: int
    """Base units that the coinbase pays: subsidy and fees."""
    payout: LockHash

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is mined beside the coinbase, in order."""
        return self.choice.entries

    @property
    def height(self) -> int:
        return self.parent.height + 1

    @property
    def target(self) -> int:
        return target_of(self.bits)

    def coinbase(self, extranonce: bytes) -> Tx:
        """The coinbase; `extranonce` are its last 8 bytes."""
        return _coinbase(self.height, self.value, self.payout, extranonce)

    def header(self, coinbase: Tx, time: int | None = None, nonce: int = 0) -> Header:
        root = block_root(coinbase.raw, self.choice.others_root)
        return make_header(VERSION, self.parent.hash, root, time or self.time, self.bits, nonce)

    def mined(self, extranonce: bytes, time: int, nonce: int) -> Mined:
        """The block that a miner found."""
        coinbase = self.coinbase(extranonce)
        return Mined(self.header(coinbase, time, nonce), coinbase, self.choice.checked)


def _coinbase(height: int, value: int, payout: LockHash, extranonce: bytes) -> Tx:
    outputs = [TxOut(NATIVE, value, payout)] if value else []
    return make_coinbase(height, outputs, extranonce)


def is_genesis_stale(tip: HeaderNode, params: Params, now: float) -> bool:
    """Whether the network is about to begin long after its genesis says.

    The difficulty follows the time since genesis, so thousands of the easiest blocks would come in
    one burst, and whoever has the most power would own them.
    """
    late = now - tip.header.time > GENESIS_AGE_MAX_S
    return tip.height == 0 and params.retarget and late


class TemplateBuilder:
    """Builds templates from the mempool. While nothing changes, only the time is set anew."""

    def __init__(
        self, tree: HeaderTree, mempool: Mempool, supply: Callable[[AssetId], int],
        clock: Callable[[], float], allow_stale_genesis: bool = False,
    ) -> None:  # fmt: skip
        """`supply`: of an asset at the tip. `clock` gives seconds since 1970."""
        self._tree = tree
        self._mempool = mempool
        self._supply = supply
        self._clock = clock
        self._allow_stale_genesis = allow_stale_genesis
        self._last: Choice | None = None

    def build(self, tip: HeaderNode, payout: LockHash) -> Template:
        """A template on `tip`, which the mempool follows. Raises: Refused (genesis-stale)."""
        params = self._tree.params
        now = self._clock()
        if not self._allow_stale_genesis and is_genesis_stale(tip, params, now):
            age_s = int(now) - tip.header.time
            remedy = "--mine-stale-genesis mines a first block all the same"
            raise Refused(Rule.GENESIS_STALE, f"genesis is {age_s} s old: {remedy}")
        choice = self._choose(tip)
        time_min = earliest_time(tip, params)
        return Template(
            parent=tip,
            bits=expected_bits(tip, self._tree.genesis, params),
            time=max(int(now), time_min),
            time_min=time_min,
            now=int(now),
            choice=choice,
            value=min(params.subsidy_at(tip.height + 1) + choice.fees, AMOUNT_MAX),
            payout=payout,
        )

    def _choose(self, tip: HeaderNode) -> Choice:
        last, version = self._last, self._mempool.version
        if last is not None and last.parent is tip and last.version == version:
            return last
        # The dearest coinbase that a template can have; so the choice holds for every payout.
        example = _coinbase(
            tip.height + 1, AMOUNT_MAX, LockHash(bytes(32)), bytes(EXTRANONCE_BYTES)
        )
        # A transaction costs no less than its bytes, so this bounds the bytes of the block too.
        cost_max = min(BLOCK_COST_MAX, BLOCK_BYTES_MAX - FRAMING_BYTES)
        selection = Selection(
            self._mempool.ranked(), cost_max - check_coinbase(example), self._supply
        )
        selection.run()
        self._last = Choice(tip, version, selection.chosen)
        return self._last
