"""How vectors write bytes, coins and contexts, and the cast of people and locks that they share.

Nothing here is random: keys come from small numbers and signatures are deterministic, so every run
writes the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from consensus.block import genesis
from consensus.errors import Violation
from consensus.hashes import AssetId, LockHash
from consensus.locks import BlockContext, lock_hash
from consensus.params import REGTEST
from consensus.tx import NATIVE, Body, Coin, Height, Issuance, Lock, OutPoint, Tx, TxOut, outpoint
from tests.support.chain import sign_tx

Json = dict[str, Any]

CHAIN_ID = genesis(REGTEST).header.hash
CONTEXT = BlockContext(CHAIN_ID, 1_000, 1_795_465_000)
"""The block that spends of vectors stand in."""
PREIMAGE = b"thirty-two bytes nobody guesses."
DIGEST = hashlib.sha256(PREIMAGE).digest()


class Funds(NamedTuple):
    """A coin to be spent, and the lock that opens it."""

    coin: Coin
    lock: Lock


def label(text: str) -> bytes:
    """32 bytes that look like a hash and come from a name."""
    return hashlib.sha256(text.encode("ascii")).digest()


def funds(
    lock: Lock, amount: int, asset: AssetId = NATIVE, height: int = 500, delayed: bool = False
) -> Funds:
    return Funds(Coin(asset, amount, lock_hash(lock), Height(height), delayed), lock)


def place(number: int) -> OutPoint:
    """The outpoint of the coin of input `number`."""
    return outpoint(label(f"funding {number}"), number)


def body_of(
    inputs: Sequence[OutPoint],
    outputs: Sequence[TxOut],
    issuances: Sequence[Issuance] = (),
    expiry: int = 0,
    version: int = 1,
) -> Body:
    return Body(version, tuple(inputs), tuple(outputs), tuple(issuances), Height(expiry))


def sign_funds(body: Body, spent: Sequence[Funds], people: Sequence[Any], scope: int = 1) -> Tx:
    """`body` signed for the coins it spends, every lock shown as `spent` has it."""
    coins, locks = [f.coin for f in spent], [f.lock for f in spent]
    return sign_tx(body, coins, locks, people, CHAIN_ID, {DIGEST: PREIMAGE}, scope)


def coin_json(coin: Coin | None) -> list[Any] | None:
    """`[asset, amount, lock, height, delayed]`, bytes as hex in their natural order."""
    if coin is None:
        return None
    return [coin.asset.hex(), coin.amount, coin.lock.hex(), coin.height, coin.delayed]


def context_json(ctx: BlockContext) -> Json:
    return {
        "chain_id": ctx.chain_id.hex(),
        "height": ctx.height,
        "median_time": ctx.median_time,
    }


def supplies_json(supplies: Mapping[AssetId, int]) -> Json:
    return {asset.hex(): supply for asset, supply in supplies.items()}


def refusal_json(error: Violation) -> Json:
    return {"kind": type(error).__name__, "rule": str(error.rule)}


def raw_json(raw: bytes, unit: bytes = b"") -> str | list[list[Any]]:
    """Hex; where `unit` repeats, pieces of `[hex, times]` to be joined, so that large cases stay
    small on disk."""
    if not unit:
        return raw.hex()
    start = raw.find(unit * 100)
    assert start >= 0
    times = 1
    while raw.startswith(unit, start + times * len(unit)):
        times += 1
    end = start + times * len(unit)
    return [[raw[:start].hex(), 1], [unit.hex(), times], [raw[end:].hex(), 1]]


def pay(amount: int, lock: LockHash, asset: AssetId = NATIVE, memo: bytes = b"") -> TxOut:
    return TxOut(asset, amount, lock, memo)
