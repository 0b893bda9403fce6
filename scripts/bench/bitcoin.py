"""The chain that the peers are measured with: the same payments as Bitcoin transactions.

Litecoin Core and libbitcoinkernel get the same transactions in blocks of their own regtest networks,
which differ in the first block and in the hash of the proof of work. Coins are pay-to-witness-key-hash;
every payment has one input, two outputs and one ECDSA signature (BIP143), about 141 virtual bytes.
Nothing here is a wallet: only what a measured chain needs.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import coincurve
import msgspec

from scripts.bench.workload import FEE, FIRST_COINS, KEYS, SEED, Payment

MAGIC = bytes.fromhex("fabfb5da")
"""Before each block in the files of both regtest networks."""
COIN = 100_000_000
MATURITY = 100
FIRST_BLOCKS = 10
"""Blocks whose coinbases share the first coins out."""
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_TIME = 1_296_688_602
_BITS = 0x207FFFFF
_TARGET = 0x7FFFFF << 8 * (0x20 - 3)
_VERSION = 0x20000000
_TX_VERSION = struct.pack("<I", 2)
_SEQUENCE = b"\xff\xff\xff\xff"
_SIGHASH_ALL = struct.pack("<I", 1)
_NO_LOCKTIME = bytes(4)


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def scrypt(data: bytes) -> bytes:
    """What Litecoin compares with the target."""
    return hashlib.scrypt(data, salt=data, n=1024, r=1, p=1, dklen=32)


def _varint(number: int) -> bytes:
    if number < 0xFD:
        return bytes((number,))
    if number <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", number)
    return b"\xfe" + struct.pack("<I", number)


def _merkle_root(hashes: Sequence[bytes]) -> bytes:
    row = list(hashes)
    while len(row) > 1:
        if len(row) % 2:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def _address(key_hash: bytes) -> str:
    """Base58Check of a key hash of a test network."""
    payload = b"\x6f" + key_hash
    number = int.from_bytes(payload + sha256d(payload)[:4], "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return text


class Chain(msgspec.Struct, frozen=True):
    """A regtest network."""

    name: str
    genesis: bytes
    work_hash: Callable[[bytes], bytes]


def _genesis(message: bytes, output_key: str, root_check: str, nonce: int) -> bytes:
    """The first block, which pays to a bare key. Its text is not ASCII in both networks."""
    script = b"\x04\xff\xff\x00\x1d\x01\x04" + bytes((len(message),)) + message
    key = bytes.fromhex(output_key)
    tx = (
        struct.pack("<I", 1) + b"\x01" + bytes(32) + b"\xff" * 4 + _varint(len(script)) + script
        + _SEQUENCE + b"\x01" + struct.pack("<q", 50 * COIN)
        + _varint(len(key) + 2) + bytes((len(key),)) + key + b"\xac" + _NO_LOCKTIME
    )  # fmt: skip
    root = sha256d(tx)
    assert root[::-1].hex().startswith(root_check), "not the block that everyone knows"
    header = struct.pack("<I32s32sIII", 1, bytes(32), root, _TIME, _BITS, nonce)
    return header + b"\x01" + tx


BITCOIN = Chain(
    "bitcoin",
    _genesis(
        b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks",
        "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
        "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f",
        "4a5e1e4b", 2,
    ),
    sha256d,
)  # fmt: skip
LITECOIN = Chain(
    "litecoin",
    _genesis(
        "NY Times 05/Oct/2011 Steve Jobs, Apple’s Visionary, Dies at 56".encode(),
        "040184710fa689ad5023690c80f3a49c8f13f8d45b8c857fbcbc8bc4a8e4d3eb4b"
        "10f4d4604fa08dce601aaf0f470216fe1b51850b4acf21b179c45070ac7b03a9",
        "97ddfbba", 0,
    ),
    scrypt,
)  # fmt: skip


class _Person:
    def __init__(self, number: int) -> None:
        self.key = coincurve.PrivateKey(hashlib.sha256(b"tael bench %d" % number).digest())
        self.pubkey = self.key.public_key.format()
        sha = hashlib.sha256(self.pubkey).digest()
        self.key_hash = hashlib.new("ripemd160", sha).digest()
        self.script = b"\x16\x00\x14" + self.key_hash
        """With its length."""
        self.script_code = b"\x19\x76\xa9\x14" + self.key_hash + b"\x88\xac"


class _Coin(msgspec.Struct, frozen=True):
    txid: bytes
    index: int
    amount: int
    owner: _Person


class BitcoinWorkload:
    """Transactions of a chain, then more that wait; blocks come from `blocks_of`."""

    def __init__(self, payments: int, per_block: int) -> None:
        self._payments = payments
        self._per_block = per_block
        self._people = [_Person(number) for number in range(KEYS)]
        self._random = random.Random(SEED)
        self._coins: deque[_Coin] = deque()
        self.address = _address(self._people[0].key_hash)
        """Of the kind that both regtest networks know."""

    def bodies(self) -> Iterator[list[tuple[bytes, bytes, bytes]]]:
        """For each block its transactions: whole, txid, wtxid. The coinbase is the first."""
        left, height, due = self._payments, 0, deque[tuple[int, list[_Coin]]]()
        while left:
            height += 1
            while due and due[0][0] <= height:
                self._coins += due.popleft()[1]
            ready = height > MATURITY + FIRST_BLOCKS
            paid = [
                self._pay() for _ in range(min(left, self._per_block, len(self._coins)) * ready)
            ]
            left -= len(paid)
            coinbase, coins = self._coinbase(height, [wtxid for _, _, wtxid, _ in paid])
            due.append((height + MATURITY, coins))
            yield [coinbase, *(tx[:3] for tx in paid)]
            for *_, made in paid:
                self._coins += made

    def waiting(self, count: int) -> Iterator[Payment]:
        """Payments for after the last block; each spends another confirmed coin."""
        for _ in range(count):
            spent = self._coins[0]
            raw, txid, _, _ = self._pay()
            yield Payment(raw, txid[::-1].hex(), spent.txid[::-1].hex(), spent.index)

    def _pay(self) -> tuple[bytes, bytes, bytes, list[_Coin]]:
        coin = self._coins.popleft()
        payer, payee = coin.owner, self._random.choice(self._people)
        amount = coin.amount // 2
        change = coin.amount - amount - FEE
        spent = coin.txid + struct.pack("<I", coin.index)
        outputs = (
            struct.pack("<q", amount) + payee.script + struct.pack("<q", change) + payer.script
        )
        preimage = (
            _TX_VERSION + sha256d(spent) + sha256d(_SEQUENCE) + spent + payer.script_code
            + struct.pack("<q", coin.amount) + _SEQUENCE + sha256d(outputs) + _NO_LOCKTIME
            + _SIGHASH_ALL
        )  # fmt: skip
        signature = payer.key.sign(sha256d(preimage), hasher=None) + b"\x01"
        middle = b"\x01" + spent + b"\x00" + _SEQUENCE + b"\x02" + outputs
        witness = b"\x02" + bytes((len(signature),)) + signature + b"\x21" + payer.pubkey
        txid = sha256d(_TX_VERSION + middle + _NO_LOCKTIME)
        raw = _TX_VERSION + b"\x00\x01" + middle + witness + _NO_LOCKTIME
        made = [_Coin(txid, 0, amount, payee), _Coin(txid, 1, change, payer)]
        return raw, txid, sha256d(raw), made

    def _coinbase(
        self, height: int, wtxids: list[bytes]
    ) -> tuple[tuple[bytes, bytes, bytes], list[_Coin]]:
        """The first blocks share out the first coins; the rest of what could be claimed is not."""
        each = FIRST_COINS // FIRST_BLOCKS
        owners = self._people[(height - 1) * each : height * each] if height <= FIRST_BLOCKS else []
        value = 50 * COIN // each
        commitment = sha256d(_merkle_root([bytes(32), *wtxids]) + bytes(32))
        outputs = b"".join(struct.pack("<q", value) + owner.script for owner in owners)
        outputs += bytes(8) + b"\x26\x6a\x24\xaa\x21\xa9\xed" + commitment
        # BIP34, and at least two bytes; heights up to 16 have an opcode of their own.
        number = bytes((0x50 + height,)) if height <= 16 else _script_number(height)
        script = number + b"\x01\x00"
        middle = (
            b"\x01" + bytes(32) + b"\xff" * 4 + _varint(len(script)) + script + _SEQUENCE
            + _varint(len(owners) + 1) + outputs
        )  # fmt: skip
        txid = sha256d(_TX_VERSION + middle + _NO_LOCKTIME)
        raw = _TX_VERSION + b"\x00\x01" + middle + b"\x01\x20" + bytes(32) + _NO_LOCKTIME
        coins = [_Coin(txid, index, value, owner) for index, owner in enumerate(owners)]
        return (raw, txid, sha256d(raw)), coins


def _script_number(number: int) -> bytes:
    data = number.to_bytes((number.bit_length() + 8) // 8, "little")
    return bytes((len(data),)) + data


class BlockMaker:
    """Puts bodies into the blocks of one network."""

    def __init__(self, chain: Chain) -> None:
        self._work_hash = chain.work_hash
        self._parent = sha256d(chain.genesis[:80])
        self._time = _TIME

    def make(self, body: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
        """The next block."""
        self._time += 150
        root = _merkle_root([txid for _, txid, _ in body])
        nonce = 0
        while True:
            header = struct.pack(
                "<I32s32sIII", _VERSION, self._parent, root, self._time, _BITS, nonce
            )
            if int.from_bytes(self._work_hash(header), "little") <= _TARGET:
                break
            nonce += 1
        self._parent = sha256d(header)
        return header + _varint(len(body)) + b"".join(raw for raw, _, _ in body)
