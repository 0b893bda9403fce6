"""Connecting a block to the coins before it, and taking it off again, as a difference of coins.

Neither touches a coin set: they read through a function and return a `Delta`. Taking off a block is
the same difference the other way round.

Source: docs/protocol.md, "Connecting a block".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from consensus.asset import asset_id, authority_id
from consensus.block import Block
from consensus.block_rules import CheckedBlock
from consensus.errors import Invalid, Rule
from consensus.hashes import AssetId, LockHash
from consensus.keys import SigCheck
from consensus.locks import BlockContext
from consensus.params import Params
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AssetDefinition,
    Coin,
    Height,
    Issue,
    OutPoint,
    Tx,
    outpoint,
)
from consensus.tx_rules import CheckedTx, Spend, Supply, check_spend, is_delayed

CoinReader = Callable[[OutPoint, LockHash], Coin | None]
"""Answers with the coin at an outpoint, or None. The lock is the one that the spender reveals: a
store may use it to find the coin, and may answer None where the lock is another one."""
KnownSpend = Callable[[CheckedTx, Sequence[Coin | None]], Spend | None]
"""Answers with what `check_spend` would find of a transaction and its coins, if that is known and
holds in any block, without the signatures that were verified already; None if it has to be asked."""


class SupplyChange(msgspec.Struct, gc=False):
    """What a block does to the supply of one asset."""

    issued: int = 0
    destroyed: int = 0


class Creation(msgspec.Struct, frozen=True, gc=False):
    """An asset that a block brings into being."""

    outpoint: OutPoint
    definition: AssetDefinition | None
    authority_of: bytes = b""


class Delta(msgspec.Struct, frozen=True):
    """How one block changes the ledger. `created` and `spent` share no outpoint."""

    created: dict[OutPoint, Coin]
    spent: dict[OutPoint, Coin]
    supply: dict[AssetId, SupplyChange]
    creations: dict[AssetId, Creation]
    """Assets first issued in the block."""
    undo: tuple[tuple[Coin, ...], ...]
    """The coins that each transaction but the coinbase spends, in the order of its inputs."""
    fees: int


class _DeltaBuilder:
    """Adds up transactions in their order."""

    def __init__(self, height: int) -> None:
        self.height = Height(height)
        self.created: dict[OutPoint, Coin] = {}
        self.spent: dict[OutPoint, Coin] = {}
        self.supply: defaultdict[AssetId, SupplyChange] = defaultdict(SupplyChange)
        self.creations: dict[AssetId, Creation] = {}
        self.undo: list[tuple[Coin, ...]] = []
        self.fees = 0

    def add(self, tx: Tx, coins: tuple[Coin, ...], fee: int) -> None:
        body, height, created = tx.body, self.height, self.created
        for spent, coin in zip(body.inputs, coins, strict=True):
            if created.pop(spent, None) is None:
                self.spent[spent] = coin
        if body.inputs:
            self.undo.append(coins)
            self.fees += fee
        txid, delayed = tx.txid, is_delayed(body, height)
        for index, output in enumerate(body.outputs):
            lock = output.lock
            if lock == BURN_LOCK:
                self.supply[output.asset].destroyed += output.amount
            else:
                created[outpoint(txid, index)] = Coin(
                    output.asset, output.amount, lock, height, delayed
                )
        for issuance in body.issuances:
            if isinstance(issuance, Issue):
                self._create(body.inputs[issuance.input_index], issuance)
            else:
                self.supply[issuance.asset].issued += issuance.amount

    def _create(self, origin: OutPoint, issue: Issue) -> None:
        asset = asset_id(origin, issue.definition)
        self.creations[asset] = Creation(origin, issue.definition)
        self.supply[asset].issued += issue.amount
        if issue.definition.reissuable:
            authority = authority_id(asset)
            self.creations[authority] = Creation(origin, None, asset)
            self.supply[authority].issued += 1

    def finish(self, coinbase: Tx) -> Delta:
        made = sum(output.amount for output in coinbase.body.outputs)
        if made != self.fees:
            self.supply[NATIVE].issued += made - self.fees
        return Delta(
            self.created, self.spent, dict(self.supply), self.creations, tuple(self.undo), self.fees
        )


class Connection:
    """Connects one block, some transactions at a time.

    `step` until it returns None, each time verifying the signatures it returns, then `finish`.
    Nothing is changed anywhere; the result is a `Delta`.
    """

    def __init__(
        self, block: CheckedBlock, ctx: BlockContext, params: Params, read: CoinReader,
        supply: Supply, known: KnownSpend = lambda checked, coins: None,
    ) -> None:  # fmt: skip
        """Raises: Invalid (coinbase-height)."""
        self._block = block
        self._ctx = ctx
        self._params = params
        self._read = read
        self._read_supply = supply
        self._known = known
        self._next = 0
        self._builder = _DeltaBuilder(ctx.height)
        if block.coinbase.body.expiry != ctx.height:
            raise Invalid(Rule.COINBASE_HEIGHT, block.coinbase.body.expiry, ctx.height)

    def has_spent(self, spent: OutPoint) -> bool:
        """Whether a transaction connected so far spends that coin of an earlier block."""
        return spent in self._builder.spent

    def _coin(self, spent: OutPoint, lock: LockHash) -> Coin | None:
        builder = self._builder
        coin = builder.created.get(spent)
        # One block may not spend a coin twice, from whatever side it comes (CVE-2018-17144).
        return coin or (None if spent in builder.spent else self._read(spent, lock))

    def _supply(self, asset: AssetId) -> int:
        change = self._builder.supply.get(asset)
        return self._read_supply(asset) + (change.issued - change.destroyed if change else 0)

    def step(self, cost: int) -> list[SigCheck] | None:
        """Connect more transactions, of about `cost` together; return the signatures to verify.

        None after the last. Raises: Invalid, Missing, Premature.
        """
        txs = self._block.txs
        first = last = self._next
        if first == len(txs):
            return None
        while cost > 0 and last < len(txs):
            cost -= txs[last].cost
            last += 1
        self._next = last
        checks: list[SigCheck] = []
        coin_at, supply, ctx, add = self._coin, self._supply, self._ctx, self._builder.add
        known = self._known
        for checked in txs[first:last]:
            tx = checked.tx
            coins = [
                coin_at(spent, opened.hash)
                for spent, opened in zip(tx.body.inputs, checked.locks, strict=True)
            ]
            spend = known(checked, coins) or check_spend(checked, coins, supply, ctx)
            checks += spend.checks
            add(tx, spend.coins, spend.fee)
        return checks

    def finish(self) -> Delta:
        """The rules that need every fee. Raises: Invalid (coinbase-amount)."""
        assert self._next == len(self._block.txs)
        coinbase = self._block.coinbase
        made = sum(output.amount for output in coinbase.body.outputs)
        most = self._params.subsidy_at(self._ctx.height) + self._builder.fees
        if self._ctx.height > 0 and made > most:
            raise Invalid(Rule.COINBASE_AMOUNT, made, most)
        self._builder.add(coinbase, (), 0)
        return self._builder.finish(coinbase)


def delta_of(block: Block, height: int, undo: Sequence[Sequence[Coin]]) -> Delta:
    """The difference that a block made when it was connected, from its undo data, unchecked.

    Used to take a block off: remove `created`, put back `spent`, subtract `supply`.
    """
    builder = _DeltaBuilder(height)
    for tx, coins in zip(block.txs[1:], undo, strict=True):
        spent = sum(coin.amount for coin in coins if coin.asset == NATIVE)
        kept = sum(output.amount for output in tx.body.outputs if output.asset == NATIVE)
        builder.add(tx, tuple(coins), spent - kept)
    builder.add(block.txs[0], (), 0)
    return builder.finish(block.txs[0])
