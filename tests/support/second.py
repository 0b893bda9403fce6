"""A second implementation of the formats, written from docs/protocol.md alone.

Plain lists and bytes, `msgpack`, `hashlib` and `cryptography`; nothing from `consensus`. Slow and
small on purpose: if it agrees with the vectors, the document suffices.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes as ossl
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
LENGTHS_OF_LOCKS = {0: 2, 1: 3, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2}


class BrokenRule(Exception):
    """`rule` is the name in the document, `kind` the kind of refusal."""

    def __init__(self, rule: str, kind: str = "Invalid") -> None:
        super().__init__(rule)
        self.rule, self.kind = rule, kind


def need(holds: bool, rule: str, kind: str = "Invalid") -> None:
    """Raise the name of a rule that does not hold."""
    if not holds:
        raise BrokenRule(rule, kind)


def readable(holds: bool) -> None:
    need(holds, "malformed", "DecodeError")


# Encoding


def enc(value: Any) -> bytes:
    """Canonical MessagePack: the shortest form of everything."""
    packed = msgpack.packb(value, use_bin_type=True)
    assert isinstance(packed, bytes)
    return packed


def read(data: bytes) -> Any:
    """Lists, integers, booleans and bytes, whatever form they have."""
    try:
        return msgpack.unpackb(
            data, raw=False, strict_map_key=False, max_bin_len=len(data), max_array_len=len(data)
        )
    # TypeError: a map whose key is a list.
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError):
        raise BrokenRule("malformed", "DecodeError") from None


def an_int(value: Any) -> int:
    readable(type(value) is int)
    return int(value)


def a_bytes(value: Any, size: int | None = None) -> bytes:
    readable(type(value) is bytes and (size is None or len(value) == size))
    return bytes(value)


def a_bool(value: Any) -> bool:
    readable(type(value) is bool)
    return bool(value)


def a_list(value: Any) -> list[Any]:
    readable(type(value) is list)
    return list(value)


def fields(value: Any, count: int) -> list[Any]:
    """The first `count` elements; surplus ones make the bytes non-canonical, later."""
    elements = a_list(value)
    readable(len(elements) >= count)
    return elements[:count]


def read_transaction(value: Any) -> list[Any]:
    """`[body, witnesses]` with nothing in it but what the document names."""
    body, witnesses = fields(value, 2)
    return [read_body(body), [read_witness(witness) for witness in a_list(witnesses)]]


def read_body(value: Any) -> list[Any]:
    version, inputs, outputs, issuances, expiry = fields(value, 5)
    return [
        an_int(version),
        [a_bytes(outpoint, 36) for outpoint in a_list(inputs)],
        [read_output(output) for output in a_list(outputs)],
        [read_issuance(issuance) for issuance in a_list(issuances)],
        an_int(expiry),
    ]


def read_output(value: Any) -> list[Any]:
    asset, amount, lock, memo = fields([*a_list(value), b""], 4)
    return [a_bytes(asset), an_int(amount), a_bytes(lock, 32), a_bytes(memo)]


def read_issuance(value: Any) -> list[Any]:
    kind = an_int(fields(value, 1)[0])
    readable(kind in (0, 1))
    if kind == 1:
        _, asset, amount = fields(value, 3)
        return [1, a_bytes(asset, 32), an_int(amount)]
    _, index, definition, amount = fields(value, 4)
    ticker, name, decimals, terms, reissuable = fields(definition, 5)
    made = [a_bytes(ticker), a_bytes(name), an_int(decimals), a_bytes(terms), a_bool(reissuable)]
    return [0, an_int(index), made, an_int(amount)]


def read_witness(value: Any) -> list[Any]:
    lock, items = fields(value, 2)
    return [read_lock(lock), [a_bytes(item) for item in a_list(items)]]


def read_lock(value: Any) -> list[Any]:
    kind = an_int(fields(value, 1)[0])
    readable(kind in LENGTHS_OF_LOCKS)
    parts = fields(value, LENGTHS_OF_LOCKS[kind])[1:]
    if kind == 1:
        return [1, an_int(parts[0]), [read_lock(child) for child in a_list(parts[1])]]
    if kind in (2, 3, 4):
        return [kind, an_int(parts[0])]
    return [kind, a_bytes(parts[0], 33 if kind == 0 else 32)]


def decode_transaction(data: bytes) -> list[Any]:
    """A transaction that comes alone."""
    need(len(data) <= 100_000, "oversized", "DecodeError")
    transaction = read_transaction(read(data))
    need(enc(transaction) == data, "non-canonical", "DecodeError")
    return transaction


# Hashes


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    return sha256(sha256(data))


def tagged(tag: str, data: bytes) -> bytes:
    return sha256(sha256(tag.encode()) * 2 + data)


def text_form(digest: bytes) -> str:
    return digest[::-1].hex()


def txid_of(body: Any) -> bytes:
    return tagged("Tael/txid", enc(body))


def wtxid_of(transaction: Any) -> bytes:
    return tagged("Tael/wtxid", enc(transaction))


def asset_id(outpoint: bytes, definition: Any) -> bytes:
    return tagged("Tael/asset", enc([outpoint, definition]))


def authority_id(asset: bytes) -> bytes:
    return tagged("Tael/authority", enc([asset]))


def coin_set_hash(coins: Sequence[tuple[bytes, Sequence[Any]]]) -> bytes:
    """`coins` are pairs of outpoint and `[asset, amount, lock, height, delayed]`."""
    ordered = sorted(coins, key=lambda pair: pair[1][2] + pair[0])
    return tagged("Tael/coinset", b"".join(enc([place, *coin]) for place, coin in ordered))


# Locks


def lock_hash(lock: Any) -> bytes:
    """Of a lock with any branches pruned."""
    if lock[0] == 6:
        return bytes(lock[1])
    if lock[0] == 1:
        return tagged("Tael/lock", enc([1, lock[1], [lock_hash(child) for child in lock[2]]]))
    return tagged("Tael/lock", enc(lock))


def atoms_of(lock: Any, path: bytes = b"") -> list[tuple[bytes, Any]]:
    """Every atom that is shown and its path, depth first."""
    if lock[0] == 6:
        return []
    if lock[0] != 1:
        return [(path, lock)]
    below = [atoms_of(child, path + bytes([index])) for index, child in enumerate(lock[2])]
    return list(itertools.chain.from_iterable(below))


def count_nodes(lock: Any) -> int:
    return 1 + (sum(count_nodes(child) for child in lock[2]) if lock[0] == 1 else 0)


# Signatures


def coins_digest(coins: Sequence[Sequence[Any]]) -> bytes:
    return tagged("Tael/coins", enc([list(coin[:3]) for coin in coins]))


def digest(
    scope: int, chain: bytes, path: bytes, index: int, body: Any, coins: Sequence[Sequence[Any]]
) -> bytes:
    """What the key at `path` of input `index` signs."""
    start = [chain, path, body[1][index], list(coins[index][:3])]
    if scope == 1:
        return tagged("Tael/sighash/all", enc([*start, txid_of(body), coins_digest(coins)]))
    version, _, outputs, issuances, expiry = body
    kept = [output for output in outputs if output[0]]
    terms = tagged("Tael/terms", enc([version, expiry, issuances, kept]))
    return tagged("Tael/sighash/sponsored", enc([*start, terms]))


def is_signed(pubkey: bytes, digest_signed: bytes, signature: bytes) -> bool:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (1 <= r < ORDER and 1 <= s <= ORDER // 2):
        return False
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), pubkey)
        scheme = ec.ECDSA(Prehashed(ossl.SHA256()))
        key.verify(encode_dss_signature(r, s), digest_signed, scheme)
    except (ValueError, InvalidSignature):
        return False
    return True


def is_message_signed(hrp: str, address: str, text: str, signature: bytes) -> bool:
    """`signature` is the witness, no longer in base64."""
    lock, items = read_witness(read(signature))
    atoms = atoms_of(lock)
    keys = [(path, atom[1]) for path, atom in atoms if atom[0] == 0]
    is_fit = lock_hash(lock) == lock_of(hrp, address) and enc([lock, items]) == signature
    if not is_fit or not keys or len(keys) != len(items) or any(atom[0] == 5 for _, atom in atoms):
        return False
    for (path, pubkey), item in zip(keys, items, strict=True):
        signed = tagged("Tael/message", enc([address.encode(), path, text.encode()]))
        if len(item) != 65 or item[0] != 1 or not is_signed(pubkey, signed, item[1:]):
            return False
    return True


# Blocks


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, by its recursive definition."""

    def below(hashed: list[bytes]) -> bytes:
        if len(hashed) == 1:
            return hashed[0]
        split = 1 << (len(hashed) - 1).bit_length() - 1
        return tagged("Tael/node", below(hashed[:split]) + below(hashed[split:]))

    if not leaves:
        return tagged("Tael/empty", b"")
    return below([tagged("Tael/leaf", leaf) for leaf in leaves])


def others_root(transactions: Sequence[Any]) -> bytes:
    """R: of all transactions but the coinbase."""
    return tree_root([txid_of(tx[0]) + wtxid_of(tx) for tx in transactions[1:]])


def block_root(coinbase: bytes, others: bytes) -> bytes:
    return sha256d(sha256d(coinbase) + others)


def make_header(
    version: int, previous: bytes, root: bytes, time: int, bits: int, nonce: int
) -> bytes:
    def u32(number: int) -> bytes:
        return number.to_bytes(4, "little")

    return u32(version) + previous + root + u32(time) + u32(bits) + u32(nonce)


def header_fields(raw: bytes) -> tuple[bytes, bytes, int, int]:
    """Previous, root, time, bits."""
    time, bits = (int.from_bytes(raw[at : at + 4], "little") for at in (68, 72))
    return raw[4:36], raw[36:68], time, bits


def coinbase_of(height: int, outputs: Sequence[Any], extranonce: bytes) -> list[Any]:
    return [[1, [], list(outputs), [], height], [[[6, bytes(32)], [extranonce]]]]


def params_hash(params: Sequence[Any]) -> bytes:
    return tagged("Tael/params", enc(list(params)))


def genesis(params: Sequence[Any]) -> bytes:
    """The genesis block of the 13 parameters, in their order."""
    time, bits, allocations = params[3], params[10], params[12]
    outputs = [[b"", 1, bytes(32), params_hash(params)]]
    outputs += [[b"", amount, lock, b""] for lock, amount in allocations]
    coinbase = coinbase_of(0, outputs, bytes(8))
    root = block_root(enc(coinbase), others_root([coinbase]))
    return enc([make_header(1 << 29, bytes(32), root, time, bits, 0), [coinbase]])


def subsidy(first: int, halving_blocks: int, height: int) -> int:
    return first >> height // halving_blocks


# Difficulty


def target_of(bits: int) -> int:
    exponent, mantissa = bits >> 24, bits & 0x7FFFFF
    return 0 if bits & 0x800000 else mantissa * 256**exponent // 256**3


def bits_of(target: int) -> int:
    digits = target.to_bytes(40, "big").lstrip(b"\x00")
    if digits[0] >= 0x80:
        digits = b"\x00" + digits
    return len(digits) << 24 | int.from_bytes((digits + b"\x00\x00")[:3], "big")


def is_canonical(bits: int) -> bool:
    return 1 <= target_of(bits) < 2**256 and bits_of(target_of(bits)) == bits


def work_of(bits: int) -> int:
    return 2**256 // (target_of(bits) + 1)


def next_bits(params: Sequence[Any], parent_height: int, parent_time: int) -> int:
    """Bits of the child of a block of that height and time."""
    genesis_time, interval, half_life_blocks = params[3:6]
    limit_bits, retarget = params[10], params[11]
    if not retarget:
        return int(limit_bits)
    half_life = half_life_blocks * interval
    drift = parent_time - (genesis_time - interval) - interval * (parent_height + 1)
    exponent = abs(drift) * 65536 // half_life
    exponent = -exponent if drift < 0 else exponent
    shifts = exponent >> 16
    fraction = exponent - (shifts << 16)
    rise = 195766423245049 * fraction + 971821376 * fraction**2 + 5127 * fraction**3 + 2**47
    target = target_of(limit_bits) * (65536 + (rise >> 48))
    target = (target << shifts if shifts >= 0 else target >> -shifts) >> 16
    return int(limit_bits) if target >= target_of(limit_bits) else bits_of(max(target, 1))


# Addresses

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def _polymod(values: Sequence[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            check ^= generator * (top >> bit & 1)
    return check


def _checked(hrp: str, values: Sequence[int]) -> int:
    return _polymod([*(ord(c) >> 5 for c in hrp), 0, *(ord(c) & 31 for c in hrp), *values])


def address_of(hrp: str, lock: bytes) -> str:
    number = int.from_bytes(lock, "big") << 4
    values = [1, *(number >> 5 * place & 31 for place in reversed(range(52)))]
    rest = _checked(hrp, [*values, 0, 0, 0, 0, 0, 0]) ^ 0x2BC830A3
    values += [rest >> 5 * place & 31 for place in reversed(range(6))]
    return hrp + "1" + "".join(ALPHABET[value] for value in values)


def lock_of(hrp: str, text: str) -> bytes:
    """Raises ValueError for what is no address."""
    if len(text) > 90 or text not in (text.lower(), text.upper()):
        raise ValueError(text)
    text = text.lower()
    prefix, values = text[: len(hrp) + 1], [ALPHABET.index(c) for c in text[len(hrp) + 1 :]]
    if prefix != hrp + "1" or len(values) != 59 or values[0] != 1:
        raise ValueError(text)
    number = 0
    for value in values[1:53]:
        number = number << 5 | value
    if _checked(hrp, values) != 0x2BC830A3 or number & 15:
        raise ValueError(text)
    return (number >> 4).to_bytes(32, "big")
