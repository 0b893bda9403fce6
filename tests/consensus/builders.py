"""Coins and transactions out of nothing, for rules that look at one transaction and its coins."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.errors import Invalid, Rule
from consensus.hashes import AssetId, LockHash
from consensus.keys import are_signed
from consensus.locks import BlockContext
from consensus.tx import (
    NATIVE,
    Body,
    Coin,
    Height,
    Issuance,
    Key,
    Lock,
    OutPoint,
    Tx,
    TxOut,
    outpoint,
)
from consensus.tx_rules import Spend, check_spend, check_tx
from tests.support.chain import ALICE, BOB, CAROL, DAVE, Person

CHAIN = b"c" * 32
HEIGHT, MEDIAN = 1_000, 1_800_000_000
CONTEXT = BlockContext(CHAIN, HEIGHT, MEDIAN)
PEOPLE = (ALICE, BOB, CAROL, DAVE)
GOLD, SILVER = AssetId(b"g" * 32), AssetId(b"s" * 32)


def spent(number: int) -> OutPoint:
    return outpoint(number.to_bytes(32, "big"), number)


def coin(
    amount: int,
    asset: AssetId = NATIVE,
    lock: LockHash = ALICE.lock,
    height: int = 10,
    delayed: bool = False,
) -> Coin:
    return Coin(asset, amount, lock, Height(height), delayed)


def pay(amount: int, asset: AssetId = NATIVE, payee: Person = BOB) -> TxOut:
    return TxOut(asset, amount, payee.lock)


def body_of(
    coins: Sequence[Coin],
    outputs: Sequence[TxOut],
    issuances: Sequence[Issuance] = (),
    expiry: int = 0,
) -> Body:
    inputs = tuple(spent(number) for number in range(len(coins)))
    return Body(1, inputs, tuple(outputs), tuple(issuances), Height(expiry))


def keys_of(coins: Sequence[Coin]) -> list[Lock]:
    owners = {person.lock: Key(person.pubkey) for person in PEOPLE}
    return [owners[coin.lock] for coin in coins]


def verdict(
    tx: Tx,
    coins: Sequence[Coin | None],
    supplies: dict[AssetId, int] | None = None,
    ctx: BlockContext = CONTEXT,
) -> Spend:
    spend = check_spend(check_tx(tx), coins, lambda asset: (supplies or {}).get(asset, 0), ctx)
    if not are_signed(spend.checks):
        raise Invalid(Rule.BAD_SIGNATURE)
    return spend
