"""Vectors of what everything else is made of: encodings, tagged hashes, locks, assets, addresses."""

from __future__ import annotations

from typing import Any

from consensus.address import AddressError, bech32m_encode, decode_address, encode_address
from consensus.asset import asset_id, authority_id
from consensus.codec import encode
from consensus.errors import DecodeError
from consensus.hashes import tagged, to_text
from consensus.locks import lock_hash, open_lock
from consensus.params import NETWORKS
from consensus.tx import (
    AfterHeight,
    AfterTime,
    AssetDefinition,
    Key,
    Lock,
    Older,
    Pruned,
    Sha256,
    Threshold,
    decode_tx,
)
from scripts.vectors.common import DIGEST, Json, body_of, funds, label, pay, place, sign_funds
from tests.support.chain import ALICE, BOB, CAROL, DAVE
from wallet.message import sign_message

TAGS = (
    "Tael/txid", "Tael/wtxid", "Tael/lock", "Tael/asset", "Tael/authority", "Tael/coins",
    "Tael/terms",
    "Tael/sighash/all", "Tael/sighash/sponsored", "Tael/message", "Tael/params", "Tael/leaf",
    "Tael/node", "Tael/empty", "Tael/coinset",
)  # fmt: skip

KEYS = tuple(Key(person.pubkey) for person in (ALICE, BOB, CAROL, DAVE))


def hidden(lock: Lock) -> Pruned:
    """`lock` shown as its hash alone."""
    return Pruned(lock_hash(lock))


TWO_OF_THREE = Threshold(2, KEYS[:3])
TWO_OF_THREE_OPENED = Threshold(2, (KEYS[0], hidden(KEYS[1]), KEYS[2]))
EVERY_ATOM = Threshold(
    5, (KEYS[0], AfterHeight(900), AfterTime(1_795_460_000), Older(10), Sha256(DIGEST))
)
ESCROW = Threshold(
    1,
    (
        Threshold(2, (KEYS[0], KEYS[1])),
        Threshold(2, (AfterHeight(5_000), KEYS[0])),
        Threshold(2, (Sha256(DIGEST), KEYS[1])),
    ),
)
ESCROW_BY_BOTH = Threshold(1, (ESCROW.children[0], *map(hidden, ESCROW.children[1:])))
ESCROW_BY_PREIMAGE = Threshold(1, (*map(hidden, ESCROW.children[:2]), ESCROW.children[2]))


def nested(levels: int, lock: Lock) -> Lock:
    """`lock` inside `levels` thresholds of one child."""
    for _ in range(levels):
        lock = Threshold(1, (lock,))
    return lock


WIDEST = Threshold(1, (KEYS[0], *[Pruned(label(f"branch {n}")) for n in range(62)]))
"""64 nodes: the threshold and 63 children."""

OPENED: dict[str, Lock] = {
    "a key": KEYS[0],
    "after a height": AfterHeight(900),
    "after a time": AfterTime(1_795_460_000),
    "older than ten blocks": Older(10),
    "a preimage": Sha256(DIGEST),
    "largest parameters": Threshold(3, (AfterHeight(2**32 - 1), AfterTime(2**32 - 1), Older(1))),
    "two of three, the second pruned": TWO_OF_THREE_OPENED,
    "two of three, the first pruned": Threshold(2, (hidden(KEYS[0]), KEYS[1], KEYS[2])),
    "every atom": EVERY_ATOM,
    "escrow by both": ESCROW_BY_BOTH,
    "escrow by preimage": ESCROW_BY_PREIMAGE,
    "eight levels": nested(7, KEYS[0]),
    "64 nodes": WIDEST,
}
"""Locks as a witness may show them."""

WHOLE: dict[str, Lock] = {
    "two of three": TWO_OF_THREE,
    "escrow": ESCROW,
    "any of two": Threshold(1, (KEYS[0], KEYS[1])),
    "any of two, the other way round": Threshold(1, (KEYS[1], KEYS[0])),
}
"""Locks as who makes them sees them: nothing pruned."""

NOTE = AssetDefinition(b"NOTE", "Bon de trésor".encode(), 2, label("terms"), True)
SHARE = AssetDefinition(b"SHARE1", b"One share", 0, b"", False)

INTEGERS = (
    0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1,
    -1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63),
)  # fmt: skip


def encodings() -> Json:
    """Values and their canonical bytes, then a transaction in bytes that are not canonical."""
    return {
        "integers": [{"value": value, "encoding": encode(value).hex()} for value in INTEGERS],
        "booleans": [{"value": value, "encoding": encode(value).hex()} for value in (False, True)],
        "bytes": [
            {"length": length, "filled_with": "61", "first_bytes": encode(b"a" * length)[:6].hex()}
            for length in (0, 1, 255, 256, 65_535, 65_536)
        ],
        "arrays": [
            {"length": length, "of": 0, "first_bytes": encode([0] * length)[:6].hex()}
            for length in (0, 1, 15, 16, 65_535, 65_536)
        ],
        "refused_transactions": _other_encodings(),
    }


def _other_encodings() -> list[Json]:
    spent = funds(KEYS[0], 10_000)
    body = body_of([place(0)], [pay(9_000, BOB.lock, memo=b"memo")])
    good = sign_funds(body, [spent], [ALICE]).raw
    head, inputs, amount = b"\x92\x95\x01\x91\xc4\x24", place(0), b"\xcd" + (9_000).to_bytes(2)
    assert good.startswith(head + inputs)
    end = len(good) - 1
    changes: list[tuple[str, bytes]] = [
        ("a byte too many", good + b"\x00"),
        ("a byte too few", good[:end]),
        ("nothing", b""),
        ("the transaction as array16", b"\xdc\x00\x02" + good[1:]),
        ("the transaction as array32", b"\xdd\x00\x00\x00\x02" + good[1:]),
        ("the transaction as a map", b"\x82" + good[1:]),
        ("a third element", b"\x93" + good[1:] + b"\x00"),
        ("a body of four elements", b"\x92\x94" + good[2:]),
        ("version as uint8", b"\x92\x95\xcc\x01" + good[3:]),
        ("version as uint16", b"\x92\x95\xcd\x00\x01" + good[3:]),
        ("version as uint32", b"\x92\x95\xce\x00\x00\x00\x01" + good[3:]),
        ("version as uint64", b"\x92\x95\xcf" + (1).to_bytes(8) + good[3:]),
        ("version as int8", b"\x92\x95\xd0\x01" + good[3:]),
        ("version as int64", b"\x92\x95\xd3" + (1).to_bytes(8) + good[3:]),
        ("version as float32", b"\x92\x95\xca\x3f\x80\x00\x00" + good[3:]),
        ("version as float64", b"\x92\x95\xcb\x3f\xf0" + bytes(6) + good[3:]),
        ("version as true", b"\x92\x95\xc3" + good[3:]),
        ("version as nil", b"\x92\x95\xc0" + good[3:]),
        ("version as an extension", b"\x92\x95\xd4\x01\x01" + good[3:]),
        ("an outpoint as bin16", good.replace(b"\xc4\x24", b"\xc5\x00\x24", 1)),
        ("an outpoint as bin32", good.replace(b"\xc4\x24", b"\xc6\x00\x00\x00\x24", 1)),
        ("an outpoint as a string", good.replace(b"\xc4\x24", b"\xd9\x24", 1)),
        ("an outpoint of 35 bytes", good.replace(b"\xc4\x24" + inputs, b"\xc4\x23" + inputs[1:])),
        ("an amount as uint32", good.replace(amount, b"\xce\x00\x00" + amount[1:])),
        ("an output without memo", good.replace(b"\xc4\x04memo", b"").replace(b"\x94\xc4", b"\x93\xc4")),
        ("an output of five elements",
         good.replace(b"\xc4\x04memo", b"\xc4\x04memo\x00").replace(b"\x94\xc4", b"\x95\xc4")),
        ("a memo as a string", good.replace(b"\xc4\x04memo", b"\xa4memo")),
        ("the kind of a lock as uint8", good.replace(b"\x92\x00\xc4\x21", b"\x92\xcc\x00\xc4\x21")),
        ("a lock of an unknown kind", good.replace(b"\x92\x00\xc4\x21", b"\x92\x07\xc4\x21")),
    ]  # fmt: skip
    cases = []
    for name, raw in changes:
        assert raw != good, name
        try:
            decode_tx(raw, 100_000)
        except DecodeError as error:
            cases.append({"name": name, "raw": raw.hex(), "rule": str(error.rule)})
        else:
            raise AssertionError(name)
    return cases


def hashes() -> Json:
    """Every tag over two inputs."""
    return {
        "tagged": [
            {"tag": tag, "data": data.hex(), "digest": tagged(tag)(data).hex()}
            for tag in TAGS
            for data in (b"", b"Tael")
        ]
    }


def locks() -> Json:
    """Locks as a witness shows them, and whole ones."""
    opened: list[Json] = []
    for name, lock in OPENED.items():
        shape = open_lock(lock)
        opened.append({
            "name": name,
            "encoding": encode(lock).hex(),
            "hash": shape.hash.hex(),
            "atoms": [{"path": path.hex(), "atom": encode(atom).hex()} for path, atom in shape.atoms],
        })  # fmt: skip
    whole = [
        {"name": name, "encoding": encode(lock).hex(), "hash": lock_hash(lock).hex()}
        for name, lock in WHOLE.items()
    ]
    return {"opened": opened, "whole": whole}


def assets() -> Json:
    """Ids of assets and of their authority coins, in text form."""
    made = []
    for number, definition in enumerate((NOTE, SHARE)):
        asset = asset_id(place(number), definition)
        made.append({
            "outpoint": place(number).hex(),
            "definition": encode(definition).hex(),
            "asset": to_text(asset),
            "authority": to_text(authority_id(asset)),
        })  # fmt: skip
    return {"assets": made}


def addresses() -> Json:
    """Lock hashes and their addresses, then texts that are none."""
    good = [
        {"hrp": params.hrp.decode(), "lock": lock.hex(), "address": encode_address(hrp, lock)}
        for params in NETWORKS.values()
        for hrp in (params.hrp.decode(),)
        for lock in (ALICE.lock, lock_hash(ESCROW), bytes(32), b"\xff" * 32)
    ]
    text = encode_address("tael", ALICE.lock)
    wrong: list[tuple[str, str]] = [
        ("one character changed", text[:-1] + ("q" if text[-1] != "q" else "p")),
        ("two characters swapped", text[:10] + text[11] + text[10] + text[12:]),
        ("small and capital letters", text[:20] + text[20:].upper()),
        ("another network", encode_address("ttael", ALICE.lock)),
        ("no separator", text.replace("1", "")),
        ("version 0", bech32m_encode("tael", b"\x00" + _fives(ALICE.lock))),
        ("version 2", bech32m_encode("tael", b"\x02" + _fives(ALICE.lock))),
        ("31 bytes", bech32m_encode("tael", b"\x01" + _fives(ALICE.lock[:31]))),
        ("33 bytes", bech32m_encode("tael", b"\x01" + _fives(ALICE.lock + b"\x00"))),
        ("filling bits that are not zero", _with_filling(ALICE.lock)),
        ("nothing", ""),
    ]
    refused: list[dict[str, Any]] = []
    for name, bad in wrong:
        try:
            decode_address("tael", bad)
        except AddressError:
            refused.append({"name": name, "hrp": "tael", "text": bad})
        else:
            raise AssertionError(name)
    upper = {"hrp": "tael", "text": text.upper(), "lock": ALICE.lock.hex()}
    return {"addresses": good, "also_accepted": [upper], "refused": refused}


def messages() -> Json:
    """Signed texts."""
    secrets = {person.pubkey: person.key.secret for person in (ALICE, CAROL)}
    cases = []
    for lock, text in ((KEYS[0], "Grüße"), (KEYS[0], ""), (TWO_OF_THREE, "we agree")):
        address = encode_address("tael", lock_hash(lock))
        cases.append({
            "hrp": "tael",
            "address": address,
            "text": text,
            "signature": sign_message(address, lock, text, secrets.get),
        })  # fmt: skip
    return {"messages": cases}


def _fives(data: bytes) -> bytes:
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return bytes(int(bits[start : start + 5], 2) for start in range(0, len(bits), 5))


def _with_filling(lock: bytes) -> str:
    values = _fives(lock)
    return bech32m_encode("tael", bytes([1, *values[:-1], values[-1] | 1]))
