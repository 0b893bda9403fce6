"""What transactions did to a wallet, as an accountant wants it: what came, went, cost, was made, was lost.

Pure: transactions and own locks in, entries out. The movements of a purse and an asset add up to its
balance, as each coin is followed from the output that makes it to the input that spends it.

Source: docs/wallet.md, "Export".
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from consensus.hashes import AssetId, LockHash, Txid
from consensus.params import COINBASE_MATURITY
from consensus.tx import BURN_LOCK, NATIVE, OutPoint, Tx, TxOut, outpoint
from consensus.tx_rules import is_delayed
from wallet.tracked import Kind


class Purse(msgspec.Struct, frozen=True, order=True):
    """Coins that are counted together: the wallet's own, a shared lock, or something watched."""

    kind: Kind
    name: str = ""
    """Empty for the wallet's own."""


class Cause(enum.StrEnum):
    """Why an amount changed."""

    MINED = "mined"
    """The reward of a block, fees of its transactions included."""
    RECEIVED = "received"
    SENT = "sent"
    FEE = "fee"
    TRANSFER = "transfer"
    """To or from another purse of the same wallet."""
    ISSUED = "issued"
    DESTROYED = "destroyed"
    JOINT = "joint"
    """What is left of a transaction that several purses or strangers paid for together."""


class Movement(msgspec.Struct, frozen=True):
    """An amount that came into a purse or, below zero, left it."""

    cause: Cause
    purse: Purse
    asset: AssetId
    units: int
    lock: LockHash | None = None
    """Where it was paid to; None where that is no one place."""
    memo: bytes = b""


class MinedTx(msgspec.Struct, frozen=True):
    """A transaction and the block that holds it."""

    tx: Tx
    height: int
    time: int
    """Of the block, seconds since 1970."""


Account = tuple[Purse, bool]
"""A purse, and whether its immature coins are meant."""


class Entry(msgspec.Struct, frozen=True):
    """What one transaction did."""

    txid: Txid
    height: int
    time: int
    movements: tuple[Movement, ...]
    is_immature: bool
    """Whether what it paid in can be spent only when it is older."""

    @property
    def matures_at(self) -> int:
        """The height from which what it paid in can be spent in the next block."""
        return self.height + (COINBASE_MATURITY - 1 if self.is_immature else 0)

    postings: dict[tuple[Account, AssetId], int] = {}
    """The change of each account; what comes in to an immature one moves on at `matures_at`."""


class _Spent(msgspec.Struct, frozen=True):
    purse: Purse
    asset: AssetId
    amount: int


def entries_of(txs: Iterable[MinedTx], purses: Mapping[LockHash, Purse]) -> Iterator[Entry]:
    """The entries of `txs`, which stand as they were mined and are all that ever touched `purses`."""
    coins: dict[OutPoint, _Spent] = {}
    for mined in txs:
        tx = mined.tx
        spent = [coins.pop(point) for point in tx.body.inputs if point in coins]
        for index, output in enumerate(tx.body.outputs):
            purse = purses.get(output.lock)
            if purse is not None:
                made = _Spent(purse, output.asset, output.amount)
                coins[outpoint(tx.txid, index)] = made
        movements = tuple(_movements(tx, spent, purses))
        immature = is_delayed(tx.body, mined.height)
        postings = _postings(tx, spent, purses, immature)
        if movements or postings:
            yield Entry(tx.txid, mined.height, mined.time, movements, immature, postings)


def _movements(
    tx: Tx, spent: Sequence[_Spent], purses: Mapping[LockHash, Purse]
) -> Iterator[Movement]:
    payers = {entry.purse for entry in spent}
    if not spent:
        yield from _incoming(
            tx.body.outputs, Cause.MINED if tx.is_coinbase else Cause.RECEIVED, purses
        )
    elif len(payers) == 1 and len(spent) == len(tx.body.inputs):
        (payer,) = payers
        yield from _outgoing(tx, spent, payer, purses)
        others = [output for output in tx.body.outputs if purses.get(output.lock) != payer]
        yield from _incoming(others, Cause.TRANSFER, purses)
    else:
        for (purse, asset), units in _net(tx, spent, purses).items():
            if units:
                yield Movement(Cause.JOINT, purse, asset, units)


def _incoming(
    outputs: Iterable[TxOut], cause: Cause, purses: Mapping[LockHash, Purse]
) -> Iterator[Movement]:
    for output in outputs:
        purse = purses.get(output.lock)
        if purse is not None:
            yield Movement(cause, purse, output.asset, output.amount, output.lock, output.memo)


def _outgoing(
    tx: Tx, spent: Sequence[_Spent], payer: Purse, purses: Mapping[LockHash, Purse]
) -> Iterator[Movement]:
    """Of a transaction that `payer` paid for alone. Change is no movement."""
    left: defaultdict[AssetId, int] = defaultdict(int)
    for coin in spent:
        left[coin.asset] += coin.amount
    for output in tx.body.outputs:
        left[output.asset] -= output.amount
        to = purses.get(output.lock)
        if to == payer:
            continue
        cause = Cause.SENT if to is None else Cause.TRANSFER
        if output.lock == BURN_LOCK:
            cause = Cause.DESTROYED
        yield Movement(cause, payer, output.asset, -output.amount, output.lock, output.memo)
    for asset, units in left.items():
        if units < 0:
            yield Movement(Cause.ISSUED, payer, asset, -units)
        elif units > 0:
            yield Movement(Cause.FEE if asset == NATIVE else Cause.DESTROYED, payer, asset, -units)


def _net(
    tx: Tx, spent: Iterable[_Spent], purses: Mapping[LockHash, Purse]
) -> dict[tuple[Purse, AssetId], int]:
    """The change of each purse, by asset."""
    net: defaultdict[tuple[Purse, AssetId], int] = defaultdict(int)
    for coin in spent:
        net[coin.purse, coin.asset] -= coin.amount
    for output in tx.body.outputs:
        purse = purses.get(output.lock)
        if purse is not None:
            net[purse, output.asset] += output.amount
    return net


def _postings(
    tx: Tx, spent: Iterable[_Spent], purses: Mapping[LockHash, Purse], immature: bool
) -> dict[tuple[Account, AssetId], int]:
    # What is spent is mature, or it could not be spent.
    postings: defaultdict[tuple[Account, AssetId], int] = defaultdict(int)
    for coin in spent:
        postings[(coin.purse, False), coin.asset] -= coin.amount
    for output in tx.body.outputs:
        purse = purses.get(output.lock)
        if purse is not None:
            postings[(purse, immature), output.asset] += output.amount
    return {key: units for key, units in postings.items() if units}


class Matured(msgspec.Struct, frozen=True):
    """Coins that became old enough to be spent."""

    height: int
    postings: dict[tuple[Account, AssetId], int]


def matured_by(entries: Iterable[Entry], height: int) -> list[Matured]:
    """What became spendable up to the block at `height`, one for each height, in order."""
    found: dict[int, defaultdict[tuple[Account, AssetId], int]] = {}
    for entry in entries:
        if not entry.is_immature or entry.matures_at > height:
            continue
        moves = found.setdefault(entry.matures_at, defaultdict(int))
        for ((purse, immature), asset), units in entry.postings.items():
            if immature:
                moves[(purse, True), asset] -= units
                moves[(purse, False), asset] += units
    return [Matured(at, dict(moves)) for at, moves in sorted(found.items())]


def totals(
    entries: Iterable[Entry], matured: Iterable[Matured]
) -> dict[tuple[Account, AssetId], int]:
    """What the accounts hold after all of these."""
    sums: defaultdict[tuple[Account, AssetId], int] = defaultdict(int)
    for postings in (*(e.postings for e in entries), *(m.postings for m in matured)):
        for key, units in postings.items():
            sums[key] += units
    return {key: units for key, units in sorted(sums.items()) if units}
