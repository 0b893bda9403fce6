"""Proofs that a transaction stands in a block."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.block import root_over
from consensus.codec import encode
from consensus.errors import DecodeError, Invalid, Rule, Violation
from consensus.hashes import sha256d
from consensus.inclusion import (
    Inclusion,
    check_inclusion,
    decode_inclusion,
    encode_inclusion,
    path_of,
    prove_inclusion,
    root_from,
)
from consensus.tx import NATIVE, TxOut
from tests.support.chain import ALICE, BOB, ToyChain


def leaves(count: int) -> list[bytes]:
    return [sha256d(bytes([number])) for number in range(count)]


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_every_leaf_of_every_tree_leads_to_the_root(place: tuple[int, int]) -> None:
    count, position = place
    hashes = leaves(count)
    path = path_of(hashes, position)
    assert root_from(hashes[position], position, count, path) == root_over(hashes)
    assert root_from(sha256d(b"x"), position, count, path) != root_over(hashes)
    assert root_from(hashes[position], position, count, (*path, bytes(32))) is None
    if path:
        assert root_from(hashes[position], position, count, path[:-1]) is None


def chain_with(payments: int) -> ToyChain:
    chain = ToyChain()
    chain.fund(ALICE, payments)
    txs = []
    for spent in chain.coins_of(ALICE):
        amount = chain.coins[spent].amount - 10_000
        txs.append(chain.spend([spent], [TxOut(NATIVE, amount, BOB.lock)]))
    chain.mine(txs)
    return chain


@pytest.mark.parametrize("payments", [0, 1, 2, 3, 5])
def test_every_transaction_of_a_block_is_proven_with_its_height(payments: int) -> None:
    chain = chain_with(payments) if payments else ToyChain()
    if not payments:
        chain.mine_empty(1)
    block = chain.blocks[chain.tip.hash]
    for position, tx in enumerate(block.txs):
        proof = decode_inclusion(
            encode_inclusion(prove_inclusion(block.header, block.txs, position))
        )
        included = check_inclusion(proof)
        assert (included.txid, included.wtxid) == (tx.txid, tx.wtxid)
        assert (included.header, included.height) == (block.header, chain.tip.height)


def proof_of_second() -> Inclusion:
    chain = chain_with(3)
    block = chain.blocks[chain.tip.hash]
    return prove_inclusion(block.header, block.txs, 2)


def changed(proof: Inclusion, **fields: object) -> Inclusion:
    values = {name: getattr(proof, name) for name in proof.__struct_fields__}
    return Inclusion(**{**values, **fields})


def test_proof_of_something_else_is_refused() -> None:
    proof = proof_of_second()
    other = sha256d(b"other")
    for fields in (
        {"txid": other}, {"wtxid": other}, {"position": 1}, {"position": 3}, {"position": 9},
        {"position": 0}, {"count": 3}, {"path": ()}, {"path": (*proof.path, other)},
        {"header": bytes(80)},
    ):  # fmt: skip
        with pytest.raises(Invalid) as caught:
            check_inclusion(changed(proof, **fields))
        assert caught.value.rule is Rule.BLOCK_ROOT


def test_coinbase_of_a_proof_is_one() -> None:
    chain = chain_with(1)
    block = chain.blocks[chain.tip.hash]
    payment = block.txs[1]
    with pytest.raises(Invalid) as caught:
        check_inclusion(changed(prove_inclusion(block.header, block.txs, 1), coinbase=payment.raw))
    assert caught.value.rule is Rule.COINBASE_SHAPE


def test_limits_of_a_proof_are_held_while_it_is_read() -> None:
    proof = proof_of_second()
    for fields in (
        {"count": 0}, {"count": 2**20 + 1}, {"position": -1}, {"path": (bytes(32),) * 21},
        {"header": bytes(79)}, {"txid": bytes(31)},
    ):  # fmt: skip
        with pytest.raises(DecodeError):
            decode_inclusion(encode(changed(proof, **fields)))


def test_every_flipped_bit_of_a_proof_is_refused_or_moves_only_its_place() -> None:
    proof = proof_of_second()
    raw = encode_inclusion(proof)
    for at in range(8 * len(raw)):
        data = bytearray(raw)
        data[at // 8] ^= 1 << at % 8
        try:
            included = check_inclusion(decode_inclusion(bytes(data)))
        except Violation:
            continue
        # A field of the header that the root does not cover makes another header, whose work tells.
        assert (included.txid, included.wtxid) == (proof.txid, proof.wtxid)
