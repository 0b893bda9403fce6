"""Blocks that break a rule on purpose, each with the name of the rule that refuses it.

Tried by `submitblock` and by a peer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from consensus.block import Block, make_block, make_header
from consensus.params import AMOUNT_MAX, COIN
from consensus.pow import hash_as_number, target_of
from consensus.tx import (
    NATIVE,
    Coin,
    Height,
    OutPoint,
    Transaction,
    Tx,
    TxOut,
    Witness,
    identify,
    make_coinbase,
    make_tx,
    outpoint,
)
from tests.support.attacks import Stage
from tests.support.chain import ALICE, BOB, CAROL, FEE, ToyChain, rebuilt, solve


class BlockAttack(NamedTuple):
    """A block that must not get in."""

    threat: str
    rule: str
    build: Callable[[Stage], bytes]


def block_with(stage: Stage, raw: bytes) -> bytes:
    """A solved block that holds the bytes of a bad transaction."""
    payment = stage.honest()
    honest = stage.chain.template([payment])
    try:
        tx = identify(msgspec.msgpack.decode(raw, type=Transaction))
    except msgspec.DecodeError:
        return honest.raw.replace(payment.raw, raw)
    block = rebuilt(honest, lambda txs: [txs[0], tx])
    return block.raw.replace(tx.raw, raw)


# Blocks


def _of(*build: Callable[[Stage], Tx]) -> Callable[[Stage], bytes]:
    return lambda stage: stage.chain.template([make(stage) for make in build]).raw


def _to(payee: bytes) -> Callable[[Stage], Tx]:
    return lambda stage: stage.spend(TxOut(NATIVE, COIN - FEE, ALICE.lock, payee))


def _family(stage: Stage, *order: int) -> bytes:
    """A parent and two children that spend its coin, in any order."""
    chain, parent = stage.chain, _to(b"")(stage)
    made = {outpoint(parent.txid, 0): Coin(NATIVE, COIN - FEE, ALICE.lock, Height(1), False)}
    children = [
        chain.spend(list(made), [TxOut(NATIVE, COIN // 2, BOB.lock, memo)], extra_coins=made)
        for memo in (b"1", b"2")
    ]
    return chain.template([(parent, *children)[place] for place in order]).raw


def _minting(*amounts: int, height: int = 0) -> Callable[[Stage], bytes]:
    """A block whose coinbase makes so much."""

    def build(stage: Stage) -> bytes:
        outputs = [TxOut(NATIVE, amount, CAROL.lock) for amount in amounts]
        at = Height(height or stage.chain.tip.height + 1)
        coinbase = make_coinbase(at, outputs, bytes(8))
        return stage.chain.template(coinbase=coinbase).raw

    return build


def _own_coinbase(stage: Stage) -> bytes:
    chain = stage.chain
    height = Height(chain.tip.height + 1)
    coinbase = make_coinbase(height, [TxOut(NATIVE, COIN, CAROL.lock)], bytes(8))
    made = {outpoint(coinbase.txid, 0): Coin(NATIVE, COIN, CAROL.lock, height, True)}
    spender = chain.spend(list(made), [TxOut(NATIVE, COIN - FEE, BOB.lock)], extra_coins=made)
    return chain.template([spender], coinbase=coinbase).raw


def _two_coinbases(stage: Stage) -> bytes:
    return rebuilt(stage.chain.template(), lambda txs: [txs[0], txs[0]]).raw


def _mutated(change: Callable[[Block], Block]) -> Callable[[Stage], bytes]:
    """Other transactions behind the header of a good block."""

    def build(stage: Stage) -> bytes:
        chain = stage.chain
        outputs = [[TxOut(NATIVE, chain.coins[s].amount - FEE, ALICE.lock)] for s in own(chain)]
        txs = [chain.spend([s], paid) for s, paid in zip(own(chain), outputs, strict=True)]
        stage.original = chain.template(txs)
        return change(stage.original).raw

    return build


def own(chain: ToyChain) -> list[OutPoint]:
    """Coins of Alice for three payments in one block."""
    return chain.coins_of(ALICE)[:3]


def forged(tx: Tx) -> Tx:
    item = tx.witnesses[0].items[0]
    bad = Witness(tx.witnesses[0].lock, (item[:-1] + bytes((item[-1] ^ 1,)),))
    return make_tx(tx.body, [bad, *tx.witnesses[1:]])


def _headed(solved: bool = True, **changes: int) -> Callable[[Stage], bytes]:
    """A block whose header differs, with a proof of work for its own target or without."""

    def build(stage: Stage) -> bytes:
        block = stage.chain.template()
        fields = {name: getattr(block.header, name) for name in _HEADER} | changes
        if "back" in changes:
            fields["time"] = stage.chain.tip.median_time() - fields.pop("back")
        changed = make_block(make_header(**fields), block.txs)
        if solved:
            return solve(changed).raw if target_of(fields["bits"]) else changed.raw
        while hash_as_number(changed.header.hash) <= target_of(fields["bits"]):
            fields["nonce"] += 1
            changed = make_block(make_header(**fields), block.txs)
        return changed.raw

    return build


_HEADER = ("version", "previous", "root", "time", "bits", "nonce")

BLOCKS: Mapping[str, BlockAttack] = {
    "one coin in two payments": BlockAttack("20", "coin-missing", _of(_to(b"1"), _to(b"2"))),
    "one payment twice": BlockAttack("20", "coin-missing", _of(_to(b""), _to(b""))),
    "a coin of the block itself spent twice": BlockAttack(
        "20", "coin-missing", lambda s: _family(s, 0, 1, 2)
    ),
    "a child before its parent": BlockAttack("20", "coin-missing", lambda s: _family(s, 1, 0)),
    "a coinbase that makes 2**63 - 1 twice": BlockAttack(
        "21", "coinbase-amount", _minting(AMOUNT_MAX, AMOUNT_MAX)
    ),
    "a coinbase that wraps round": BlockAttack(
        "21", "coinbase-amount", _minting(AMOUNT_MAX, AMOUNT_MAX, COIN + 2)
    ),
    "a coinbase of -1": BlockAttack("21", "output-amount-range", _minting(COIN, -1)),
    "a unit more than the subsidy": BlockAttack("22", "coinbase-amount", _minting(5 * COIN + 1)),
    "a coinbase of another height": BlockAttack(
        "22", "coinbase-height", _minting(COIN, height=7)
    ),
    "a coin of its own coinbase": BlockAttack("22", "coin-missing", _own_coinbase),
    "two coinbases": BlockAttack("22", "coinbase-misplaced", _two_coinbases),
    "no transactions": BlockAttack(
        "22", "block-empty", lambda s: make_block(s.chain.template().header, ()).raw
    ),
    "the last transaction doubled": BlockAttack(
        "18", "block-root", _mutated(lambda b: make_block(b.header, (*b.txs, b.txs[-1])))
    ),
    "transactions in another order": BlockAttack(
        "18", "block-root",
        _mutated(lambda b: make_block(b.header, (b.txs[0], *b.txs[:0:-1]))),
    ),
    "a transaction left out": BlockAttack(
        "18", "block-root", _mutated(lambda b: make_block(b.header, b.txs[:-1]))
    ),
    "a witness exchanged": BlockAttack(
        "18", "block-root",
        _mutated(lambda b: make_block(b.header, (*b.txs[:-1], forged(b.txs[-1])))),
    ),
    "a time up to the median": BlockAttack("23", "header-time-too-old", _headed(back=0)),
    "bits of zero": BlockAttack("24", "header-bits-invalid", _headed(bits=0)),
    "bits that are negative": BlockAttack("24", "header-bits-invalid", _headed(bits=0x20FFFFFF)),
    "bits over 256 bits": BlockAttack("24", "header-bits-invalid", _headed(bits=0x227FFFFF)),
    "bits that are not canonical": BlockAttack(
        "24", "header-bits-invalid", _headed(bits=0x2100007F)
    ),
    "bits that are too easy or too hard": BlockAttack(
        "24", "header-bits-wrong", _headed(bits=0x207FFFFE)
    ),
    "a hash above the target": BlockAttack("24", "header-hash-above-target", _headed(False)),
    "a witness that does not hold": BlockAttack(
        "26c", "bad-signature", lambda s: s.chain.template([forged(s.honest())]).raw
    ),
}  # fmt: skip


def child_of(parent: Block, block: Block) -> Block:
    """`block` moved on top of `parent`, one second later."""
    height = Height(parent.txs[0].body.expiry + 1)
    coinbase = make_coinbase(height, block.txs[0].body.outputs, bytes(8))
    moved = rebuilt(block, lambda txs: [coinbase, *txs[1:]])
    header = moved.header
    return solve(
        make_block(
            make_header(
                header.version, parent.header.hash, header.root, parent.header.time + 1,
                header.bits, 0,
            ),
            moved.txs,
        )
    )  # fmt: skip
