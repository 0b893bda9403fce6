"""Receipts: what they prove holds without a node, and whatever is changed in one is found."""

from __future__ import annotations

import hashlib
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.asset import asset_id
from consensus.codec import encode
from consensus.errors import Violation
from consensus.inclusion import prove_inclusion
from consensus.locks import lock_hash
from consensus.params import COIN, MAIN, REGTEST, Params
from consensus.tx import NATIVE, AssetDefinition, Issue, Key, Sha256, Tx, TxOut, make_tx, outpoint
from tests.support.chain import ALICE, BOB, DAVE, FEE, ToyChain, blocks_of, rebuilt
from wallet.errors import WalletError
from wallet.receipt import (
    Definition,
    Proven,
    Receipt,
    SpentValue,
    decode_receipt,
    digest_of,
    encode_receipt,
    is_linked,
    make_receipt,
    verify,
)

NOW = 1_900_000_000
MOVING = msgspec.structs.replace(
    REGTEST, name=b"moving", retarget=True, pow_limit_bits=0x2007FFFF, spacing_s=5
)
"""A network whose difficulty moves, and whose blocks are still found at once."""


def receipt_of(chain: ToyChain, height: int, position: int, depth: int) -> Receipt:
    node = chain.tip.ancestor(height)
    block = chain.blocks[node.hash]
    tx = block.txs[position]
    spent = chain.undo[node.hash][position - 1] if position else ()
    coins = [SpentValue(coin.asset, coin.amount) for coin in spent]
    headers = [chain.tip.ancestor(h).header.raw for h in range(height + 1, height + depth)]
    definitions = [
        Definition(tx.body.inputs[e.input_index], e.definition)
        for e in tx.body.issuances if isinstance(e, Issue)
    ]  # fmt: skip
    parent = chain.tip.ancestor(height - 1).header.raw
    proof = prove_inclusion(block.header, block.txs, position)
    return make_receipt(chain.params, tx, coins, definitions, parent, proof, headers)


@cache
def paid(params: Params = REGTEST) -> tuple[ToyChain, Receipt]:
    """A payment of Alice to Bob, three blocks deep."""
    chain = ToyChain(params)
    chain.fund(ALICE)
    (spent,) = chain.coins_of(ALICE)
    outputs = [TxOut(NATIVE, COIN, BOB.lock, b"rent"), TxOut(NATIVE, 4 * COIN - FEE, ALICE.lock)]
    chain.mine([chain.spend([spent], outputs)])
    chain.mine_empty(2)
    return chain, receipt_of(chain, chain.tip.height - 2, 1, 3)


def proven(receipt: Receipt, params: Params = REGTEST, now: int = NOW) -> Proven:
    return verify(decode_receipt(encode_receipt(receipt)), params, now)


def with_digest(receipt: Receipt) -> Receipt:
    """A forger's receipt: its digest is made anew."""
    return msgspec.structs.replace(receipt, digest=digest_of(receipt))


@pytest.mark.parametrize("params", [REGTEST, MOVING])
def test_receipt_proves_who_paid_whom_how_much_and_when(params: Params) -> None:
    chain, receipt = paid(params)
    found = proven(receipt, params, chain.tip.header.time)
    assert (found.height, found.depth) == (chain.tip.height - 2, 3)
    assert found.block.hash == chain.tip.ancestor(found.height).hash
    assert found.outputs[0] == TxOut(NATIVE, COIN, BOB.lock, b"rent")
    assert [payer.lock_hash for payer in found.payers] == [ALICE.lock]
    assert found.payers[0].lock == Key(ALICE.pubkey)
    assert found.payers[0].value.amount == 5 * COIN
    assert found.fee == FEE
    assert found.work >= found.least_work


def test_every_flipped_bit_of_every_byte_of_a_receipt_is_refused() -> None:
    _, receipt = paid()
    raw = encode_receipt(receipt)
    for at in range(8 * len(raw)):
        data = bytearray(raw)
        data[at // 8] ^= 1 << at % 8
        with pytest.raises(WalletError):
            decode_receipt(bytes(data))


def test_every_truncation_and_extension_of_a_receipt_is_refused() -> None:
    raw = encode_receipt(paid()[1])
    for data in (*(raw[:size] for size in range(len(raw))), raw + b"\0"):
        with pytest.raises(WalletError):
            decode_receipt(data)


def test_forger_who_mends_the_digest_changes_nothing_that_is_proven() -> None:
    _, receipt = paid()
    raw = encode_receipt(receipt)
    honest = proven(receipt)
    fields = ("tx", "height", "payers", "fee", "outputs", "definitions")
    for at in range(8 * len(raw)):
        data = bytearray(raw)
        data[at // 8] ^= 1 << at % 8
        try:
            forged = with_digest(msgspec.msgpack.decode(bytes(data), type=Receipt))
            found = proven(forged)
        except (WalletError, Violation, msgspec.DecodeError, UnicodeDecodeError):
            continue
        assert [getattr(found, f) for f in fields] == [getattr(honest, f) for f in fields]


@given(st.binary(max_size=300))
def test_bytes_that_are_no_receipt_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(WalletError) as caught:
        decode_receipt(data)
    assert "\n" not in str(caught.value)


def refusal(receipt: Receipt, params: Params = REGTEST, now: int = NOW) -> str:
    with pytest.raises(WalletError) as caught:
        proven(with_digest(receipt), params, now)
    return str(caught.value)


def test_receipt_of_another_network_is_named() -> None:
    assert "another network ('regtest')" in refusal(paid()[1], MAIN)


def test_other_transaction_than_the_one_in_the_block_is_refused() -> None:
    chain, receipt = paid()
    other = chain.pay(DAVE, BOB, COIN)
    changed = msgspec.structs.replace(receipt, tx=other.raw)
    assert "not the one that stands in the block" in refusal(changed)


def test_lie_about_what_was_spent_breaks_the_signature() -> None:
    _, receipt = paid()
    lie = (SpentValue(NATIVE, 6 * COIN),)
    assert "signature does not hold" in refusal(msgspec.structs.replace(receipt, coins=lie))


def test_headers_that_are_not_of_one_chain_are_refused() -> None:
    chain, receipt = paid()
    for headers in (receipt.headers[::-1], receipt.headers[1:], (chain.tree.genesis.header.raw,)):
        changed = msgspec.structs.replace(receipt, headers=headers)
        assert "does not stand on the one before" in refusal(changed)
    stranger = chain.tip.header.raw
    assert "does not stand on" in refusal(msgspec.structs.replace(receipt, parent=stranger))


def test_header_without_work_is_refused() -> None:
    chain, receipt = paid(MOVING)
    last = bytearray(receipt.headers[-1])
    reasons = set()
    for nonce in range(200):
        last[-4:] = nonce.to_bytes(4, "little")
        forged = msgspec.structs.replace(receipt, headers=(receipt.headers[0], bytes(last)))
        try:
            proven(with_digest(forged), MOVING, chain.tip.header.time)
        except WalletError as error:
            reasons.add(str(error).split(": ")[1])
    assert reasons == {"header-hash-above-target"}


def test_difficulty_of_another_place_in_the_chain_is_refused() -> None:
    chain, receipt = paid(MOVING)
    block = chain.blocks[chain.tip.ancestor(chain.tip.height - 2).hash]
    # The coinbase says the height; with another one another difficulty would be asked for.
    far = rebuilt(block, lambda txs: [*[_with_expiry(txs[0], chain.tip.height + 5_000)], *txs[1:]])
    inclusion = prove_inclusion(far.header, far.txs, 1)
    forged = msgspec.structs.replace(receipt, inclusion=inclusion, headers=())
    assert "header-bits-wrong" in refusal(forged, MOVING, chain.tip.header.time)


def _with_expiry(coinbase: Tx, expiry: int) -> Tx:
    return make_tx(msgspec.structs.replace(coinbase.body, expiry=expiry), coinbase.witnesses)


def test_blocks_of_the_future_are_refused() -> None:
    chain, receipt = paid()
    assert "header-time-too-new" in refusal(receipt, REGTEST, chain.tip.header.time - 86_400)


def test_coinbase_has_a_receipt_that_names_nobody_as_payer() -> None:
    chain, _ = paid()
    found = proven(receipt_of(chain, 5, 0, 2))
    assert (found.payers, found.fee, found.height) == ((), None, 5)


def test_first_block_stands_on_genesis_or_is_refused() -> None:
    chain, _ = paid()
    assert proven(receipt_of(chain, 1, 0, 1)).height == 1
    other = ToyChain()
    other.mine_empty(2)
    block = chain.blocks[chain.tip.ancestor(2).hash]
    lie = rebuilt(block, lambda txs: [_with_expiry(txs[0], 1)])
    forged = msgspec.structs.replace(
        receipt_of(chain, 2, 0, 1), inclusion=prove_inclusion(lie.header, lie.txs, 0),
        tx=lie.txs[0].raw,
    )  # fmt: skip
    assert "does not stand on genesis" in refusal(forged)


def test_block_on_genesis_is_the_first_or_is_refused() -> None:
    chain, _ = paid()
    block = chain.blocks[chain.tip.ancestor(1).hash]
    lie = rebuilt(block, lambda txs: [_with_expiry(txs[0], 500)])
    forged = msgspec.structs.replace(
        receipt_of(chain, 1, 0, 1), inclusion=prove_inclusion(lie.header, lie.txs, 0),
        tx=lie.txs[0].raw, headers=(),
    )  # fmt: skip
    assert "cannot stand on genesis" in refusal(forged)


def test_asset_is_named_by_its_own_definition_and_no_other() -> None:
    chain, _ = paid()
    chain = ToyChain()
    chain.fund(ALICE)
    (spent,) = chain.coins_of(ALICE)
    definition = AssetDefinition(b"SHARE", b"Shares", 2, b"", False)
    asset = asset_id(spent, definition)
    outputs = [TxOut(asset, 500, BOB.lock), TxOut(NATIVE, 5 * COIN - FEE, ALICE.lock)]
    chain.mine([chain.spend([spent], outputs, issuances=[Issue(0, definition, 500)])])
    receipt = receipt_of(chain, chain.tip.height, 1, 1)
    assert proven(receipt).definitions == {asset: definition}
    lie = msgspec.structs.replace(definition, decimals=0)
    forged = msgspec.structs.replace(receipt, definitions=(Definition(spent, lie),))
    assert asset not in proven(with_digest(forged)).definitions


def test_payment_that_no_signature_vouches_for_shows_no_fee() -> None:
    preimage = b"p" * 32
    digest = hashlib.sha256(preimage).digest()
    lock = Sha256(digest)
    chain = ToyChain()
    chain.fund(ALICE)
    (spent,) = chain.coins_of(ALICE)
    funding = chain.spend([spent], [TxOut(NATIVE, 4 * COIN, lock_hash(lock))])
    chain.mine([funding])
    spend = chain.spend(
        [outpoint(funding.txid, 0)], [TxOut(NATIVE, 3 * COIN, BOB.lock)], locks=[lock],
        preimages={digest: preimage},
    )  # fmt: skip
    chain.mine([spend])
    found = proven(receipt_of(chain, chain.tip.height, 1, 1))
    assert found.fee is None
    assert found.payers[0].lock == lock


def test_trusted_block_is_found_among_those_that_are_shown() -> None:
    chain, receipt = paid()
    found = proven(receipt)
    for block in blocks_of(chain, found.height - 2):
        assert is_linked(receipt, found, block.header.hash)
    assert not is_linked(receipt, found, chain.tip.ancestor(found.height - 2).hash)


def test_receipt_that_calls_itself_otherwise_or_newer_is_refused() -> None:
    _, receipt = paid()
    assert "does not call itself" in refusal(msgspec.structs.replace(receipt, magic=b"other"))
    assert "version 2" in refusal(msgspec.structs.replace(receipt, version=2))


def test_receipt_is_written_the_one_way_there_is() -> None:
    _, receipt = paid()
    raw = encode_receipt(receipt)
    assert raw == encode(receipt)
    longer = raw.replace(b"\x01\xc4\x07regtest", b"\xcc\x01\xc4\x07regtest", 1)
    assert longer != raw
    with pytest.raises(WalletError, match="non-canonical"):
        decode_receipt(longer)
