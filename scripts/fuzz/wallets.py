"""Targets: what the wallet reads: its file, files of cosigners, answers of a node, and what people type."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from consensus.address import encode_address
from consensus.block import genesis
from consensus.codec import encode
from consensus.hashes import AssetId, Txid, to_text
from consensus.locks import lock_hash
from consensus.params import AMOUNT_MAX, COIN, MEMO_BYTES_MAX, REGTEST
from consensus.tx import NATIVE, Body, Coin, Height, Key, Threshold, TxOut, outpoint
from node.rpc import json
from scripts.fuzz import mutate
from scripts.fuzz.target import Target, need
from tests.support import second
from tests.support.chain import ALICE, BOB, CAROL
from wallet.amounts import display_amount, format_amount, parse_amount, parse_rate
from wallet.answers import (
    AddressBalance,
    DeltaPage,
    MempoolPage,
    UtxoPage,
    ask,
    check_chain,
    fee_rate,
    fetch_asset,
    fetch_tx,
    next_context,
)
from wallet.book import Book, SharedLock, WatchedAddress, decode_book, encode_book
from wallet.cli.multisig import threshold_lock
from wallet.cli.send import memo_bytes, pairs
from wallet.errors import NodeError, WalletError
from wallet.keys import Account, check_words, words_of
from wallet.keystore import Cost, create_keystore, open_keystore
from wallet.message import sign_message, verify_message
from wallet.partial import Partial, combine, decode_partial, encode_partial
from wallet.sign import Spendable, sign_inputs

CHAIN = b"\x11" * 32
HRP = "rtael"
CHEAP = Cost(iterations=1, lanes=1, memory_kib=8)
COST_AT = slice(10, 22)
"""Where a wallet file says what one guess of the passphrase costs."""
SHARED = Threshold(2, (Key(ALICE.pubkey), Key(BOB.pubkey), Key(CAROL.pubkey)))
TEXT = "Grüße"
SECRETS = {person.pubkey: person.key.secret for person in (ALICE, BOB)}
_FOLDER = tempfile.TemporaryDirectory(prefix="tael-fuzz-")
_WALLET = Path(_FOLDER.name) / "w.wallet"
_SEPARATORS = str.maketrans("", "", ", _")


def _sealed() -> bytes:
    """A wallet file that the passphrase opens."""
    path = Path(_FOLDER.name) / "sealed.wallet"
    create_keystore(path, "pass", b"payload", CHEAP, bytes)
    return path.read_bytes()


SEALED = _sealed()


def wallet_file(data: bytes) -> None:
    """Whatever is changed in it, the file does not open; as it was, it does."""
    if len(data) >= COST_AT.stop and data[COST_AT] != SEALED[COST_AT]:
        # What costs much is known by its price; the fuzzer shall not pay it.
        data = data[: COST_AT.start] + SEALED[COST_AT] + data[COST_AT.stop :]
    _WALLET.write_bytes(data)
    try:
        _, payload = open_keystore(_WALLET, "pass", bytes)
    except WalletError as error:
        need(data != SEALED, "a sound file opens")
        need("\n" not in str(error), "the error is one line")
        return
    need(data == SEALED and payload == b"payload", "only the file that was written opens")


def book(data: bytes) -> None:
    try:
        found = decode_book(data)
    except WalletError:
        return
    again = decode_book(encode_book(found))
    need(encode_book(again) == encode_book(found), "a book reads back as it was written")
    need("word" not in repr(found), "words stay out of what is printed")
    found.watched_names()
    found.advance(0, 5)
    need(found.next_index[0] >= 5, "an index only grows")


def partial(data: bytes) -> None:
    try:
        found = decode_partial(data, CHAIN)
    except WalletError as error:
        need(bool(str(error)), "the error says what is wrong")
        return
    again = decode_partial(encode_partial(found), CHAIN)
    need(encode_partial(again) == encode_partial(found), "a file reads back as it was written")
    need(found.fee >= 0, "nothing is paid that nobody had")
    need(len(found.inputs) == len(found.signatures) == len(found.body.inputs), "inputs are whole")
    for entry in found.inputs:
        need(lock_hash(entry.lock) == entry.coin.lock, "a lock is that of its coin")
    need(combine([found, again]) is found, "a file combines with itself")


def signature(data: bytes) -> None:
    """A signed message, as somebody pastes it; both implementations judge it."""
    for lock in (Key(ALICE.pubkey), SHARED):
        digest = lock_hash(lock)
        address = encode_address(HRP, digest)
        try:
            ours = verify_message(address, digest, TEXT, data.decode("latin-1"))
            raw = base64.b64decode(data, validate=True)
        except WalletError:
            continue
        try:
            other = second.is_message_signed(HRP, address, TEXT, raw)
        except second.BrokenRule:
            other = False
        need(ours == other, "both judge a signature the same")


def amount(data: bytes) -> None:
    """First byte: the decimals of the asset."""
    decimals = data[0] % 19 if data else 8
    text = data[1:].decode("utf-8", "surrogateescape")
    try:
        units = parse_amount(text, decimals)
    except WalletError as error:
        need("\n" not in str(error), "the error is one line")
    else:
        plain = Decimal(text.translate(_SEPARATORS))
        need(1 <= units <= AMOUNT_MAX, "an amount is in its range")
        need(plain.scaleb(decimals) == units, "an amount is what decimal arithmetic says")
        need(parse_amount(format_amount(units, decimals), decimals) == units, "reads back")
        shown = display_amount(units, decimals).replace(",", "")
        need(parse_amount(shown, decimals) == units, "what people see is the amount")
    try:
        rate = parse_rate(text)
    except WalletError:
        return
    plain = Decimal(text.translate(_SEPARATORS))
    need(plain.scaleb(8) == rate <= AMOUNT_MAX, "a rate is what decimal arithmetic says")


def payment(data: bytes) -> None:
    """Words of a command line, one a line: recipients, amounts, a memo, keys of a shared lock."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        found = pairs(lines[: len(lines) // 2 * 2], lines[len(lines) // 2 * 2 :])
        need(all(len(pair) == 2 for pair in found), "recipients come with amounts")
    except WalletError:
        need(len(lines) % 2 == 1, "pairs are pairs")
    for line in lines:
        try:
            need(len(memo_bytes(line)) <= MEMO_BYTES_MAX, "a memo fits")
        except WalletError:
            continue
    try:
        lock = threshold_lock(len(lines[0]), tuple(lines))
    except WalletError:
        pass
    else:
        need(second.lock_hash(second.read(encode(lock))) == lock_hash(lock), "one lock for both")
    for line in lines[:4]:
        _words_and_keys(line)


def _words_and_keys(line: str) -> None:
    with suppress(WalletError):
        words = check_words(line)
        need(check_words(words) == words, "checked words stay as they are")
    try:
        account = Account.from_xpub(line, 1)
    except WalletError:
        return
    need(not account.has_secrets, "an extended public key spends nothing")
    need(len(account.pubkey(0, 0)) == 33, "an account has keys")


class _Stranger:
    """A node that answers every question with the same."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    async def call(self, method: str, *params: Any) -> Any:
        return self._answer


def answers(data: bytes) -> None:
    """What a hostile node answers: everything the wallet asks is refused, or is what it says."""
    try:
        node = _Stranger(json.decode(data))
    except json.JsonError:
        return
    asyncio.run(_ask_everything(node))


async def _ask_everything(node: _Stranger) -> None:
    txid = Txid(b"\x33" * 32)
    with suppress(NodeError):
        need((await fetch_tx(node, txid)).txid == txid, "a transaction has the id that was asked")
    with suppress(WalletError):
        rate = await fee_rate(node, 3)
        need(rate is None or 0 <= rate <= AMOUNT_MAX, "a rate is an amount")
    with suppress(NodeError):
        info = await check_chain(node, REGTEST)
        need(info.chainid == to_text(genesis(REGTEST).header.hash), "the chain is the wallet's")
        next_context(info)
    made = second.asset_id(bytes(36), [b"A", b"A", 0, b"", False])
    for asset in (NATIVE, AssetId(made)):
        with suppress(NodeError):
            found = await fetch_asset(node, asset)
            need(found.asset == asset, "an asset is the one that was asked for")
    for shape in (UtxoPage, MempoolPage, DeltaPage, AddressBalance):
        with suppress(NodeError):
            await ask(node, shape, "x")


def _books() -> Iterator[bytes]:
    made = Book(
        network="regtest", chain_id=CHAIN, created=1, words=None, account=0, xpub="tpub",
        shared=[SharedLock("board", SHARED)], watched=[WatchedAddress("shop", ALICE.lock)],
        labels={"a": "b"},
    )  # fmt: skip
    yield encode_book(made)


def _partials() -> Iterator[bytes]:
    spot = outpoint(b"\x22" * 32, 1)
    coin = Coin(NATIVE, 3 * COIN, lock_hash(SHARED), Height(7), False)
    body = Body(1, (spot,), (TxOut(NATIVE, COIN, BOB.lock, b"memo"),), (), Height(0))
    inputs = (Spendable(spot, coin, SHARED),)
    signed = tuple(sign_inputs(body, inputs, SECRETS.get, CHAIN))
    for signatures in (signed, ({},)):
        yield encode_partial(Partial("regtest", CHAIN, "board", body, inputs, signatures))


def _signatures() -> Iterator[bytes]:
    for lock in (Key(ALICE.pubkey), SHARED):
        address = encode_address(HRP, lock_hash(lock))
        yield sign_message(address, lock, TEXT, SECRETS.get).encode()


def _payments() -> Iterator[bytes]:
    words = words_of(bytes(16))
    xpub = Account.from_words(words, 1, 0).xpub
    yield f"{ALICE.address()}\n1.5\n{BOB.address()}=2".encode()
    yield "\n".join(person.pubkey.hex() for person in (ALICE, BOB)).encode()
    yield f"0x00ff\n{words}\n{xpub}\n".encode()


def _answers() -> Iterator[bytes]:
    chain = to_text(genesis(REGTEST).header.hash)
    yield b'{"chain":"regtest","chainid":"%b","blocks":1,"mediantime":2,"bestblockhash":"a"}' % (
        chain.encode()
    )
    yield b'{"feerate":"0.00001"}'
    yield b'{"feerate":1e-5}'
    yield b'{"utxos":[{"address":"a","txid":"b","outputIndex":1,"asset":"","satoshis":1,"height":1,' \
          b'"delayed":false}],"cursor":null}'  # fmt: skip
    yield b'{"asset":"","ticker":"A","name":"A","decimals":0,"outpoint":"%b:0","supply":1}' % (
        b"00" * 32
    )
    yield b'{"balance":1,"received":2,"assets":[{"asset":"","balance":1,"received":1}]}'
    yield b'"00"'


TARGETS = (
    Target("wallet-file", "no changed byte opens a wallet", wallet_file, lambda: [SEALED], 256),
    Target("wallet-book", "the payload of a wallet reads back", book, _books, 2_048,
           mutate.packed),
    Target(
        "partial", "a cosigner's file: one error, or what it promises holds", partial, _partials,
        mutate=mutate.written,
    ),
    Target("signature", "a signed message in both implementations", signature, _signatures, 1_024),
    Target(
        "amount", "an amount is what decimal arithmetic says, and reads back", amount,
        lambda: [b"\x081.5", b"\x0012", b"\x120.000000000000000001", b"\x089223372036854775807"],
        96,
    ),
    Target(
        "payment", "recipients, memos, keys and words as typed: one error, or sound", payment,
        _payments, 1_024,
    ),
    Target(
        "answers", "answers of a hostile node: refused, or what was asked for", answers, _answers,
        1_024, mutate.written,
    ),
)  # fmt: skip
