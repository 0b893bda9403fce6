"""What must be true: every block judged a second time, by rules that share no code with the node.

The second implementation keeps a dictionary of coins for each block, and no index, cache or undo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple

from consensus.hashes import BlockHash
from consensus.params import Params
from tests.support import second, second_rules
from tests.support.second import BrokenRule

FAR_FUTURE = 2**32
"""The model has no clock: what is too new for a node is not wrong."""


class State(NamedTuple):
    """The ledger behind one block."""

    height: int
    coins: Mapping[bytes, second_rules.Coin]
    supplies: Mapping[bytes, int]
    txids: frozenset[bytes]


class Model:
    """Every block that anybody ever made, with the ledger behind it if it is valid."""

    def __init__(self, params: Params) -> None:
        self._params = [getattr(params, name) for name in Params.__struct_fields__]
        self._params[12] = [[a.lock, a.amount] for a in params.allocations]
        self._headers = second_rules.Headers(self._params)
        genesis = second.genesis(self._params)
        block = second_rules.check_block(genesis)
        self.chain_id = BlockHash(second.sha256d(block.header))
        change = second_rules.Change({}, set(), Counter(), Counter(), 0)
        second_rules._apply(block.transactions[0], 0, change)
        supply = sum(output[1] for output in block.transactions[0][0][2])
        supplies = {b"": supply - change.destroyed[b""]}
        self._states: dict[bytes, State] = {
            self.chain_id: State(0, change.created, supplies, frozenset())
        }
        self._broken: dict[bytes, str] = {}
        self._digests: dict[bytes, bytes] = {}

    def copy(self) -> Model:
        """Another model that knows the same blocks."""
        twin = copy(self)
        twin._headers = copy(self._headers)
        twin._headers.known = dict(self._headers.known)
        twin._states, twin._broken = dict(self._states), dict(self._broken)
        twin._digests = dict(self._digests)
        return twin

    def knows(self, block_hash: bytes) -> bool:
        """Whether it is a valid block that was judged."""
        return block_hash in self._states

    def judge(self, block_hash: bytes, raw: bytes) -> str:
        """The rule that a block breaks, or an empty text; its parent was judged before."""
        if block_hash in self._states:
            return ""
        if block_hash not in self._broken:
            try:
                self._states[block_hash] = self._connect(raw)
            except BrokenRule as broken:
                self._broken[block_hash] = broken.rule
        return self._broken.get(block_hash, "")

    def _connect(self, raw: bytes) -> State:
        block = second_rules.check_block(raw)
        block_hash = second.sha256d(block.header)
        previous = second.header_fields(block.header)[0]
        if previous not in self._states:
            raise BrokenRule("header-parent-invalid")
        known = self._headers.known.get(block_hash) or self._headers.add(block.header, FAR_FUTURE)
        parent = self._states[previous]
        place = second_rules.Place(self.chain_id, known.height, self._headers.median_time(previous))
        change = second_rules.connect(block, self._params, place, parent.coins, parent.supplies)
        coins = dict(parent.coins)
        for spent in change.spent:
            del coins[spent]
        coins.update(change.created)
        supplies = Counter(parent.supplies)
        supplies.update(change.issued)
        supplies.subtract(change.destroyed)
        txids = frozenset(second.txid_of(tx[0]) for tx in block.transactions)
        return State(known.height, coins, supplies, txids)

    def judge_waiting(
        self, block_hash: bytes, waiting: Sequence[bytes], others: Sequence[bytes]
    ) -> tuple[str, list[bytes]]:
        """What the rules say of payments for the block after a valid one, signatures aside.

        Returns the rule that the first of `waiting` breaks, mined in this order, or an empty text,
        and those of `others` that could be mined behind them.
        """
        state = self._states[block_hash]
        place = second_rules.Place(
            self.chain_id, state.height + 1, self._headers.median_time(block_hash)
        )
        coins, supplies = dict(state.coins), Counter(state.supplies)
        for raw in waiting:
            try:
                _mine(raw, coins, supplies, place)
            except BrokenRule as broken:
                return broken.rule, []
        found = []
        for raw in others:
            with suppress(BrokenRule):
                _mine(raw, coins, supplies, place)
                found.append(raw)
        return "", found

    def state(self, block_hash: bytes) -> State:
        """The ledger behind a valid block."""
        return self._states[block_hash]

    def ancestor(self, block_hash: bytes, height: int) -> bytes:
        """The block at `height` on the way from a valid block to genesis."""
        known = self._headers.known
        while known[block_hash].height > height:
            block_hash = known[block_hash].previous
        return block_hash

    def digest(self, block_hash: bytes) -> bytes:
        """The coin-set hash behind a valid block."""
        if block_hash not in self._digests:
            coins: list[tuple[bytes, Any]] = list(self._states[block_hash].coins.items())
            self._digests[block_hash] = second.coin_set_hash(coins)
        return self._digests[block_hash]


def _mine(
    raw: bytes, coins: dict[bytes, second_rules.Coin], supplies: Counter[bytes],
    place: second_rules.Place,
) -> None:  # fmt: skip
    """Change coins and supplies as a payment does. Raises: BrokenRule; then nothing is changed."""
    transaction = second.read_transaction(second.read(raw))
    inputs = transaction[0][1]
    second_rules.check_with_coins(
        transaction, [coins.get(outpoint) for outpoint in inputs], supplies, place
    )
    change = second_rules.Change({}, set(), Counter(), Counter(), 0)
    second_rules._apply(transaction, place.height, change)
    for outpoint in inputs:
        del coins[outpoint]
    coins.update(change.created)
    supplies.update(change.issued)
    supplies.subtract(change.destroyed)
