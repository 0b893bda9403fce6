"""Transactions that break a rule on purpose, each with the name of the rule that refuses it.

One table for every way in: each is tried by JSON-RPC and by a peer, alone and in a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from consensus.asset import asset_id, authority_id
from consensus.block import Block
from consensus.hashes import AssetId
from consensus.locks import lock_hash
from consensus.params import AMOUNT_MAX, COIN
from consensus.sighash import SCOPE_SPONSORED
from consensus.tx import (
    NATIVE,
    AssetDefinition,
    Coin,
    Height,
    Issue,
    Key,
    OutPoint,
    Pruned,
    Reissue,
    Threshold,
    Tx,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)
from tests.support.chain import ALICE, BOB, CAROL, FEE, ToyChain, sign_tx

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
GOLD = AssetDefinition(b"GOLD", b"Gold", 0, b"", True)
TIN = AssetDefinition(b"TIN", b"Tin", 0, b"", False)
GOLD_LEFT = 10
"""How much more gold there may ever be."""
TWINS = Threshold(1, (Key(CAROL.pubkey), Key(CAROL.pubkey)))
"""Two branches that the same key opens."""
LOCK_OF_TWINS = lock_hash(TWINS)
_COINBASE_RULE = "coinbase-misplaced"


class Stage:
    """A chain on which there is something to attack. The coins of Carol are for attackers."""

    def __init__(self) -> None:
        self.chain = chain = ToyChain()
        self.old, *_ = chain.fund(ALICE, 4)
        self.old_coin: Coin = chain.coins[self.old]
        self.original: Block | None = None
        """The good block that an attack last put something else behind the header of."""
        self.gold: AssetId = asset_id(self.old, GOLD)
        self.authority = authority_id(self.gold)
        supply = AMOUNT_MAX - GOLD_LEFT
        outputs = [
            TxOut(NATIVE, COIN, CAROL.lock), TxOut(NATIVE, COIN, CAROL.lock),
            TxOut(NATIVE, COIN, LOCK_OF_TWINS), TxOut(self.gold, supply, CAROL.lock),
            TxOut(self.authority, 1, CAROL.lock),
        ]  # fmt: skip
        made = chain.spend([self.old], outputs, issuances=[Issue(0, GOLD, supply)])
        chain.mine([made])
        self.coin, self.sibling, self.twins, self.gold_coin, self.authority_coin = (
            outpoint(made.txid, index) for index in range(len(outputs))
        )

    def honest(self) -> Tx:
        """A payment that breaks no rule."""
        return self.chain.pay(ALICE, BOB, 100_000)

    def spend(self, *outputs: TxOut, inputs: tuple[OutPoint, ...] = ()) -> Tx:
        """What Carol signs; she keeps what is left of her gold and its authority."""
        return self.chain.spend(inputs or (self.coin,), outputs)


class Attack(NamedTuple):
    """A transaction that must not get in."""

    threat: str
    rule: str
    """What refuses it."""
    build: Callable[[Stage], bytes]
    rule_in_block: str = ""
    """What refuses it in a block, if that is another rule."""
    is_blameless: bool = False
    """Whether an honest peer may relay such a transaction, so that nobody is cut off for it."""


# Encodings


def _with_version(encoded: bytes) -> Callable[[Stage], bytes]:
    """The version of the body in other bytes."""
    return lambda stage: stage.honest().raw.replace(b"\x92\x95\x01", b"\x92\x95" + encoded, 1)


def _with_body(**changes: object) -> Callable[[Stage], bytes]:
    def build(stage: Stage) -> bytes:
        tx = stage.honest()
        return make_tx(msgspec.structs.replace(tx.body, **changes), tx.witnesses).raw

    return build


# Amounts


def _paying(*amounts: int) -> Callable[[Stage], bytes]:
    return lambda stage: stage.spend(*(TxOut(NATIVE, n, BOB.lock) for n in amounts)).raw


def _gold_out(*amounts: int) -> Callable[[Stage], bytes]:
    def build(stage: Stage) -> bytes:
        outputs = [TxOut(stage.gold, amount, BOB.lock) for amount in amounts]
        return stage.spend(*outputs, inputs=(stage.gold_coin, stage.coin)).raw

    return build


def _issued(amount: int, paid: int) -> Callable[[Stage], bytes]:
    def build(stage: Stage) -> bytes:
        tin = TxOut(asset_id(stage.coin, TIN), paid, BOB.lock)
        rest = TxOut(NATIVE, COIN - FEE, BOB.lock)
        return stage.chain.spend(
            [stage.coin], [tin, rest], issuances=[Issue(0, TIN, amount)]
        ).raw  # fmt: skip

    return build


def _reissued(stage: Stage, amount: int, with_authority: bool) -> bytes:
    inputs, outputs = [stage.coin], [TxOut(stage.gold, amount, BOB.lock)]
    if with_authority:
        inputs.append(stage.authority_coin)
        outputs.append(TxOut(stage.authority, 1, BOB.lock))
    return stage.chain.spend(inputs, outputs, issuances=[Reissue(stage.gold, amount)]).raw


# Coins


def _twice(stage: Stage) -> bytes:
    tx = stage.honest()
    body = msgspec.structs.replace(tx.body, inputs=tx.body.inputs * 2)
    return make_tx(body, tx.witnesses * 2).raw


def _long_gone(stage: Stage) -> bytes:
    outputs = [TxOut(NATIVE, COIN, BOB.lock)]
    known = {stage.old: stage.old_coin}
    return stage.chain.spend([stage.old], outputs, extra_coins=known).raw


def _young(stage: Stage) -> bytes:
    coinbase = stage.chain.blocks[stage.chain.tip.hash].txs[0]
    return stage.chain.spend(
        [outpoint(coinbase.txid, 0)], [TxOut(NATIVE, COIN, ALICE.lock)]
    ).raw  # fmt: skip


def _without_inputs(stage: Stage) -> bytes:
    body = msgspec.structs.replace(stage.honest().body, inputs=())
    return make_tx(body, ()).raw


def _loose_coinbase(stage: Stage) -> bytes:
    height = Height(stage.chain.tip.height + 1)
    return make_coinbase(height, [TxOut(NATIVE, COIN, CAROL.lock)], bytes(8)).raw


# Witnesses


def _with_item(change: Callable[[bytes], bytes]) -> Callable[[Stage], bytes]:
    """The signature of a payment, changed."""

    def build(stage: Stage) -> bytes:
        tx = stage.honest()
        witness = tx.witnesses[0]
        return make_tx(tx.body, [Witness(witness.lock, (change(witness.items[0]),))]).raw

    return build


def _high(item: bytes) -> bytes:
    s = ORDER - int.from_bytes(item[33:], "big")
    return item[:33] + s.to_bytes(32, "big")


def _with_witness(*change: Witness) -> Callable[[Stage], bytes]:
    return lambda stage: make_tx(stage.honest().body, change).raw


def _foreign_lock(stage: Stage) -> bytes:
    tx = stage.honest()
    return make_tx(tx.body, [Witness(Key(BOB.pubkey), tx.witnesses[0].items)]).raw


def _of_sibling(stage: Stage) -> bytes:
    output = TxOut(NATIVE, COIN - FEE, BOB.lock)
    signed = stage.spend(output, inputs=(stage.sibling,))
    body = msgspec.structs.replace(signed.body, inputs=(stage.coin,))
    return make_tx(body, signed.witnesses).raw


def _of_other_branch(stage: Stage) -> bytes:
    key = Key(CAROL.pubkey)
    hidden = Pruned(CAROL.lock)
    output = TxOut(NATIVE, COIN - FEE, BOB.lock)
    first, second = Threshold(1, (key, hidden)), Threshold(1, (hidden, key))
    signed = stage.chain.spend([stage.twins], [output], [CAROL], locks=[first])
    return make_tx(signed.body, [Witness(second, signed.witnesses[0].items)]).raw


def _all_hidden(stage: Stage) -> bytes:
    output = TxOut(NATIVE, COIN - FEE, BOB.lock)
    hidden = Threshold(1, (Pruned(CAROL.lock), Pruned(CAROL.lock)))
    body = msgspec.structs.replace(stage.spend(output).body, inputs=(stage.twins,))
    return make_tx(body, [Witness(hidden, ())]).raw


def _sponsored_native(stage: Stage) -> bytes:
    output = TxOut(NATIVE, COIN - FEE, BOB.lock)
    return stage.chain.spend([stage.coin], [output], [CAROL], scope=SCOPE_SPONSORED).raw


def _of_another_chain(stage: Stage) -> bytes:
    tx, chain = stage.honest(), stage.chain
    coins = [chain.coins[spent] for spent in tx.body.inputs]
    return sign_tx(tx.body, coins, [Key(ALICE.pubkey)], [ALICE], bytes(32)).raw


TRANSACTIONS: Mapping[str, Attack] = {
    "bytes that mean nothing": Attack("2", "malformed", lambda s: b"\xc1" + s.honest().raw),
    "an integer in two bytes": Attack("2", "non-canonical", _with_version(b"\xcc\x01")),
    "an integer in nine bytes": Attack(
        "2", "non-canonical", _with_version(b"\xcf" + bytes(7) + b"\1")
    ),
    "true for 1": Attack("2", "malformed", _with_version(b"\xc3")),
    "1.0 for 1": Attack("2", "malformed", _with_version(b"\xcb\x3f\xf0" + bytes(6))),
    "another version": Attack("22", "tx-version", _with_body(version=2)),
    "one coin twice": Attack("20", "tx-duplicate-input", _twice),
    "a coin that an old block spent": Attack("20", "coin-missing", _long_gone, "", True),
    "an amount of -1": Attack("21", "output-amount-range", _paying(-1)),
    "an amount of 0": Attack("21", "output-amount-range", _paying(0)),
    "an amount of 2**63": Attack("21", "output-amount-range", _paying(AMOUNT_MAX + 1)),
    "an amount of 2**64 - 1": Attack("21", "output-amount-range", _paying(2**64 - 1)),
    "2**63 - 1 twice": Attack("21", "overspend", _paying(AMOUNT_MAX, AMOUNT_MAX)),
    "a sum that wraps round": Attack(
        "21", "overspend", _paying(AMOUNT_MAX, AMOUNT_MAX, COIN + 2 - FEE)
    ),
    "2**63 - 1 of an asset twice": Attack(
        "21", "asset-imbalance", _gold_out(AMOUNT_MAX, AMOUNT_MAX)
    ),
    "a sum of an asset that wraps round": Attack(
        "21", "asset-imbalance", _gold_out(AMOUNT_MAX, AMOUNT_MAX, AMOUNT_MAX + 2 - GOLD_LEFT)
    ),
    "an issue of -1": Attack("21", "issuance-amount", _issued(-1, 1)),
    "an issue of 2**63": Attack("21", "issuance-amount", _issued(AMOUNT_MAX + 1, 1)),
    "more paid than issued": Attack("21", "asset-imbalance", _issued(10, 11)),
    "more issued than there may be": Attack(
        "21", "asset-supply", lambda s: _reissued(s, GOLD_LEFT + 1, True), "", True
    ),
    "an issue without its authority": Attack(
        "21", "issuance-authority", lambda s: _reissued(s, 1, False)
    ),
    "no inputs": Attack("22", "tx-inputs-empty", _without_inputs, _COINBASE_RULE),
    "a coinbase by itself": Attack("22", "coinbase-loose", _loose_coinbase, _COINBASE_RULE, True),
    "no outputs": Attack("22", "tx-outputs-empty", _with_body(outputs=())),
    "the outpoint of nothing": Attack(
        "22", "coin-missing", _with_body(inputs=(OutPoint(bytes(32) + b"\xff" * 4),)), "", True
    ),
    "more paid than there is": Attack("22", "overspend", _paying(COIN + 1)),
    "a coinbase that is too young": Attack("22", "coin-immature", _young, "", True),
    "a memo that is too long": Attack(
        "22", "output-memo-size", _with_body(outputs=(TxOut(NATIVE, COIN, BOB.lock, bytes(129)),))
    ),
    "a height that has passed": Attack("22", "tx-expired", _with_body(expiry=Height(50)), "", True),
    "the lock of another": Attack("22", "lock-mismatch", _foreign_lock),
    "high s": Attack("25", "bad-signature", _with_item(_high)),
    "a flipped bit of s": Attack(
        "25", "bad-signature", _with_item(lambda item: item[:-1] + bytes((item[-1] ^ 1,)))
    ),
    "r of 0": Attack(
        "25", "bad-signature", _with_item(lambda item: item[:1] + bytes(32) + item[33:])
    ),
    "s of 0": Attack("25", "bad-signature", _with_item(lambda item: item[:33] + bytes(32))),
    "r of the order": Attack(
        "25", "bad-signature",
        _with_item(lambda item: item[:1] + ORDER.to_bytes(32, "big") + item[33:]),
    ),
    "a scope that is none": Attack(
        "25", "signature-scope", _with_item(lambda item: b"\3" + item[1:])
    ),
    "a byte behind a signature": Attack(
        "25", "witness-item-size", _with_item(lambda item: item + b"\0")
    ),
    "a witness that is missing": Attack("25", "witness-count", _with_witness()),
    "a witness without its signature": Attack(
        "25", "witness-items", _with_witness(Witness(Key(ALICE.pubkey), ()))
    ),
    "a root that is pruned": Attack(
        "26a", "lock-root-pruned", _with_witness(Witness(Pruned(ALICE.lock), ()))
    ),
    "a threshold of 0": Attack(
        "26a", "lock-threshold",
        _with_witness(Witness(Threshold(0, (Pruned(ALICE.lock),)), ())),
    ),
    "a threshold of which nothing is shown": Attack("26a", "lock-threshold", _all_hidden),
    "a signature of a sibling": Attack("26b", "bad-signature", _of_sibling),
    "a signature of another branch": Attack("26b", "bad-signature", _of_other_branch),
    "a sponsored signature on a native coin": Attack(
        "26b", "signature-sponsored-native", _sponsored_native
    ),
    "a signature for another chain": Attack("26b", "bad-signature", _of_another_chain),
}  # fmt: skip
