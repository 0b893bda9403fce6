"""Targets: what strangers hand to whoever pays or is paid: payment URIs, files of payments, receipts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import msgspec

from consensus.errors import Violation
from consensus.hashes import Txid
from consensus.inclusion import check_inclusion, decode_inclusion, encode_inclusion, prove_inclusion
from consensus.params import COIN, REGTEST
from consensus.tx import NATIVE, TxOut
from scripts.fuzz import mutate
from scripts.fuzz.target import Target, need
from tests.support.chain import ALICE, BOB, FEE, ToyChain
from wallet.batch import FIELD_MAX, parse_rows, write_rows
from wallet.errors import WalletError
from wallet.receipt import (
    Receipt,
    SpentValue,
    decode_receipt,
    digest_of,
    encode_receipt,
    make_receipt,
    verify,
)
from wallet.uri import URI_MAX, PaymentUri, decode_uri, encode_uri, is_uri

NOW = 2**32 - 1


@cache
def _paid() -> tuple[ToyChain, Receipt]:
    """A payment of Alice to Bob, three blocks deep, and its receipt."""
    chain = ToyChain()
    chain.fund(ALICE)
    (spent,) = chain.coins_of(ALICE)
    outputs = [TxOut(NATIVE, COIN, BOB.lock, b"rent"), TxOut(NATIVE, 4 * COIN - FEE, ALICE.lock)]
    block = chain.mine([chain.spend([spent], outputs)])
    parent = chain.tip.parent
    assert parent is not None
    chain.mine_empty(2)
    behind = [chain.tip.ancestor(parent.height + 2 + n).header.raw for n in range(2)]
    proof = prove_inclusion(block.header, block.txs, 1)
    coins = [SpentValue(NATIVE, 5 * COIN)]
    return chain, make_receipt(REGTEST, block.txs[1], coins, [], parent.header.raw, proof, behind)


@cache
def _true_txids() -> frozenset[Txid]:
    """Of the block of the receipt that is fed."""
    chain, receipt = _paid()
    block = chain.blocks[check_inclusion(receipt.inclusion).header.hash]
    return frozenset(tx.txid for tx in block.txs)


def uri(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = decode_uri(text)
    except WalletError as error:
        need("\n" not in str(error), "the error is one line")
        return
    need(is_uri(text) and len(text) <= URI_MAX, "only what calls itself a payment URI is one")
    need(found.label.isprintable() and found.message.isprintable(), "no text repaints a terminal")
    need(decode_uri(encode_uri(found)) == found, "a URI reads back as it was written")


def payments_file(data: bytes) -> None:
    try:
        rows = parse_rows(data)
    except WalletError as error:
        need(str(error).startswith("line ") and "\n" not in str(error), "the line is named")
        return
    need(len({row._replace(line=0) for row in rows}) == len(rows) > 0, "no payment stands twice")
    need(all(len(cell) <= FIELD_MAX for row in rows for cell in row[:4]), "fields are bounded")
    again = parse_rows(write_rows(("address", "amount", "asset", "memo"), [r[:4] for r in rows]))
    need([r[:4] for r in again] == [r[:4] for r in rows], "a file reads back as it was written")


def receipt(data: bytes) -> None:
    """As it is, and as a forger would hand it on, who makes the digest anew."""
    with suppress(WalletError):
        found = decode_receipt(data)
        need(encode_receipt(found) == data, "a receipt has one form")
    try:
        forged = msgspec.msgpack.decode(data, type=Receipt)
        forged = msgspec.structs.replace(forged, digest=digest_of(forged))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    try:
        proven = verify(decode_receipt(encode_receipt(forged)), REGTEST, NOW)
    except WalletError as error:
        need("\n" not in str(error), "the error is one line")
        return
    need(proven.tx.txid in _true_txids(), "no payment is proven that was not mined")
    need(proven.depth == len(forged.headers) + 1, "confirmations are those that are shown")


def inclusion(data: bytes) -> None:
    try:
        proof = decode_inclusion(data)
    except Violation:
        return
    need(encode_inclusion(proof) == data, "a proof has one form")
    try:
        found = check_inclusion(proof)
    except Violation:
        return
    need(found.txid in _true_txids(), "nothing is proven that is not in the block")


def _uris() -> Iterator[bytes]:
    address = ALICE.address()
    yield f"tael:{address}".encode()
    yield encode_uri(
        PaymentUri(
            address=address, amount="1.5", asset="ab" * 32, label="Käse & Brot", message="7",
            request="a-1", expires=2**32 - 1,
        )
    ).encode()  # fmt: skip
    yield f"TAEL:{address.upper()}?req-amount=1&x=%41&label=a+b".encode()


def _files() -> Iterator[bytes]:
    yield f"address,amount\n{ALICE.address()},1.5\n{BOB.address()},2\n".encode()
    yield 'memo,asset,amount,address\r\n"a, ""b""",TAEL,1,x\r\n,,2,y'.encode("utf-8-sig")


TARGETS = (
    Target("uri", "a payment URI: one error, or it reads back", uri, _uris, 512),
    Target(
        "payments-file", "a file of payments: the line that is wrong, or it reads back",
        payments_file, _files, 512,
    ),
    Target(
        "receipt", "a receipt, also with its digest made anew: nothing false is proven", receipt,
        lambda: [encode_receipt(_paid()[1])], 2_048, mutate.packed,
    ),
    Target(
        "inclusion", "a proof: nothing is proven that is not in the block", inclusion,
        lambda: [encode_inclusion(_paid()[1].inclusion)], 1_024, mutate.packed,
    ),
)  # fmt: skip
