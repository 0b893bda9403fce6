"""Targets: what the rules read. The second implementation has to say the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consensus.address import (
    AddressError,
    bech32m_decode,
    bech32m_encode,
    decode_address,
    encode_address,
)
from consensus.asset import asset_id, authority_id, check_definition
from consensus.block import (
    decode_block,
    decode_header,
    decode_parts,
    encode_block,
    make_header,
    transaction_count,
)
from consensus.block_rules import check_block
from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import DecodeError, Invalid, Rule, Violation
from consensus.locks import count_nodes, lock_hash, open_lock
from consensus.params import LOCK_NODES_MAX, TX_BYTES_MAX
from consensus.tx import AssetDefinition, Lock, OutPoint, Witness, decode_tx, identify, make_tx
from consensus.tx_rules import check_tx
from scripts.fuzz import mutate
from scripts.fuzz.target import Target, need
from tests.support import second, second_rules
from tests.support.vectors import load, raw_of

MALFORMED = ("DecodeError", "malformed")
NOT_CANONICAL = ("DecodeError", "non-canonical")
SAME = {"malformed", "non-canonical"}
"""Bytes that are both may be given either name."""
SEED_BYTES_MAX = 4_000
HRP = "tael"
_DEFINITION = decoder_of(AssetDefinition)
_LOCK = decoder_of(Lock)
_WITNESS = decoder_of(Witness)
_SPENT = OutPoint(bytes(36))

Verdict = tuple[str, str] | None
"""Kind and rule; None is accepted."""


def verdict_of(read: Any, data: bytes) -> Verdict:
    """What our side says."""
    try:
        read(data)
    except Violation as violation:
        return type(violation).__name__, str(violation.rule)
    return None


def other_verdict_of(read: Any, data: bytes) -> Verdict:
    """What the second implementation says."""
    try:
        read(data)
    except second.BrokenRule as broken:
        return broken.kind, broken.rule
    return None


def agree(ours: Verdict, other: Verdict) -> None:
    """Raises: Broken, unless both verdicts are one."""
    both = ours is not None and other is not None and {ours[1], other[1]} == SAME
    need(ours == other or both, f"we say {ours}, the second implementation {other}")


def transaction(data: bytes) -> None:
    def other(raw: bytes) -> None:
        second_rules.check_alone(second.decode_transaction(raw))

    agree(
        verdict_of(lambda raw: check_tx(decode_tx(raw, TX_BYTES_MAX)), data),
        other_verdict_of(other, data),
    )
    try:
        tx = decode_tx(data, TX_BYTES_MAX)
    except DecodeError:
        return
    again = make_tx(tx.body, tx.witnesses)
    need(again.raw == data == tx.raw, "a transaction has one encoding")
    need((again.txid, again.wtxid) == (tx.txid, tx.wtxid), "a transaction has one identity")
    plain = second.decode_transaction(data)
    need(second.txid_of(plain[0]) == tx.txid, "both have the same txid")
    need(second.wtxid_of(plain) == tx.wtxid, "both have the same wtxid")


def block(data: bytes) -> None:
    ours, other = verdict_of(check_block, data), other_verdict_of(second_rules.check_block, data)
    if ours != other:
        _read_by_one(data, ours, other)
    try:
        found = decode_block(data)
    except DecodeError:
        need(ours is not None and other is not None, f"refused by both: {ours}, {other}")
        return
    need(ours == other, f"canonical bytes have one verdict: {ours}, {other}")
    need(found.raw == data, "a block has one encoding")
    need(transaction_count(data) == len(found.txs), "the count of transactions can be read alone")
    raw, _ = second.read(data)
    need(found.header.raw == raw, "both see the same header")
    need(found.header.hash == second.sha256d(raw), "both have the same hash")


def _read_by_one(data: bytes, ours: Verdict, other: Verdict) -> None:
    """What stands in surplus elements may be passed over, or be found malformed. Who passes over it
    says what both say of the canonical encoding of what was read; and if that breaks no rule
    before B11, that this is not it. Raises: Broken."""
    unlike = f"we say {ours}, the second implementation {other}"
    need(MALFORMED in (ours, other), unlike)
    if other == MALFORMED:
        parts = decode_parts(data)
        txs = [identify(tx) for tx in parts.transactions]
        said, canonical = ours, encode_block(decode_header(parts.header), txs)
    else:
        raw, listed = second.fields(second.read(data), 2)
        said, canonical = other, second.enc([raw, [*map(second.read_transaction, listed)]])
    need(canonical != data, unlike)
    within = verdict_of(check_block, canonical)
    agree(within, other_verdict_of(second_rules.check_block, canonical))
    is_found_later = within is None or within[1] == Rule.BLOCK_ROOT
    need(said == (NOT_CANONICAL if is_found_later else within), f"{unlike}; within is {within}")


def header(data: bytes) -> None:
    try:
        found = decode_header(data)
    except DecodeError:
        need(len(data) != 80, "80 bytes are a header")
        return
    fields = (found.previous, found.root, found.time, found.bits)
    need(fields == second.header_fields(data), "both read the same fields")
    made = make_header(found.version, *fields, found.nonce)
    need(made.raw == data, "a header has one encoding")
    need(made.hash == second.sha256d(data), "the hash is SHA-256d")


def lock(data: bytes) -> None:
    try:
        found: Lock = decode_canonical(_LOCK, data)
    except DecodeError:
        return
    need(encode(found) == data, "a lock has one encoding")
    plain = second.read_lock(second.read(data))
    need(second.enc(plain) == data, "both read the same lock")
    need(count_nodes(found) == second.count_nodes(plain), "both count the same nodes")

    def others_check(raw: bytes) -> None:
        second_rules.check_lock(plain)

    try:
        opened = open_lock(found)
    except Invalid as error:
        agree(("Invalid", str(error.rule)), other_verdict_of(others_check, data))
    else:
        agree(None, other_verdict_of(others_check, data))
        need(opened.hash == second.lock_hash(plain), "both hash a lock to the same")
        need(opened.nodes == count_nodes(found) <= LOCK_NODES_MAX, "nodes are bounded")
        atoms = [(path, encode(atom)) for path, atom in opened.atoms]
        others = [(path, second.enc(atom)) for path, atom in second.atoms_of(plain)]
        need(atoms == others, "both find the same atoms")
    try:
        need(lock_hash(found) == second.lock_hash(plain), "a whole lock hashes to the same")
    except Invalid:
        return


def witness(data: bytes) -> None:
    try:
        found: Witness = decode_canonical(_WITNESS, data)
    except DecodeError:
        return
    plain = second.read_witness(second.read(data))
    need(second.enc(plain) == encode(found) == data, "a witness has one encoding")
    need(list(found.items) == plain[1], "both see the same items")


def asset(data: bytes) -> None:
    """The definition, as an issuance of a transaction holds it."""
    try:
        found: AssetDefinition = decode_canonical(_DEFINITION, data)
    except DecodeError:
        return
    plain = second.read(data)
    need(second.enc(plain) == encode(found) == data, "a definition has one encoding")

    def check(raw: bytes) -> None:
        check_definition(found)

    def others_check(raw: bytes) -> None:
        second_rules.check_issuances([[0, 0, plain, 1]], 1)

    agree(verdict_of(check, data), other_verdict_of(others_check, data))
    made = asset_id(_SPENT, found)
    need(made == second.asset_id(_SPENT, plain), "both have the same asset id")
    need(authority_id(made) == second.authority_id(made), "both have the same authority")


def address(data: bytes) -> None:
    """Text, as somebody types it."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        hrp, values = bech32m_decode(text)
    except AddressError:
        hrp, values = "", b""
    else:
        need(bech32m_encode(hrp, values) == text.lower(), "bech32m has one form but for its case")
    try:
        ours: bytes | None = decode_address(HRP, text)
    except AddressError:
        ours = None
    try:
        other: bytes | None = second.lock_of(HRP, text)
    except ValueError:
        other = None
    need(ours == other, "both read the same address")
    if ours is not None:
        need(encode_address(HRP, ours) == text.lower(), "an address has one form but for its case")
        need(second.address_of(HRP, ours) == text.lower(), "both write the same address")


def _raws(name: str, *keys: str) -> Iterator[bytes]:
    for key in keys:
        for case in load(name)[key]:
            raw = raw_of(case)
            if len(raw) <= SEED_BYTES_MAX:
                yield raw


def _transactions() -> Iterator[bytes]:
    yield from _raws("transactions", "transactions")
    yield from _raws("refused_transactions", "transactions")
    yield from _raws("encodings", "refused_transactions")


def _blocks() -> Iterator[bytes]:
    yield from _raws("blocks", "blocks")
    yield from _raws("refused_blocks", "blocks")


def _locks() -> Iterator[bytes]:
    for key in ("opened", "whole"):
        for case in load("locks")[key]:
            yield bytes.fromhex(case["encoding"])
    for raw in _transactions():
        try:
            for found in decode_tx(raw, TX_BYTES_MAX).witnesses:
                yield encode(found.lock)
        except DecodeError:
            continue


def _witnesses() -> Iterator[bytes]:
    for raw in _raws("transactions", "transactions"):
        for found in decode_tx(raw, TX_BYTES_MAX).witnesses:
            yield encode(found)


def _addresses() -> Iterator[bytes]:
    vectors = load("addresses")
    for case in vectors["addresses"]:
        yield case["address"].encode()
    for case in (*vectors["also_accepted"], *vectors["refused"]):
        yield case["text"].encode()


TARGETS = (
    Target(
        "transaction", "one verdict and identity in both implementations; canonical",
        transaction, _transactions, 6_000, mutate.packed,
    ),
    Target(
        "block", "one verdict and hash in both implementations; canonical",
        block, _blocks, 8_000, mutate.block,
    ),
    Target(
        "header", "fields and hash in both implementations; canonical", header,
        lambda: [bytes.fromhex(case["raw"]) for case in load("headers")["run"]], 96,
    ),
    Target("lock", "shape, hash, atoms in both implementations; canonical", lock, _locks, 2_048,
           mutate.packed),
    Target("witness", "lock and items in both implementations; canonical", witness, _witnesses,
           mutate=mutate.packed),
    Target(
        "asset", "definition, its verdict and id in both implementations; canonical", asset,
        lambda: [bytes.fromhex(case["definition"]) for case in load("assets")["assets"]], 256,
        mutate.packed,
    ),
    Target("address", "bech32m text in both implementations; one form", address, _addresses, 128),
)  # fmt: skip
