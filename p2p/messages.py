"""Every message that peers exchange: structs, caps, and one table.

A message is a MessagePack array `[id, field, …]` in canonical form. Caps on bytes are checked before
decoding, caps on entries while decoding, so that a few bytes cannot become many objects.

Source: docs/p2p.md, "Messages".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

import msgspec

from consensus.block import HEADER_BYTES
from consensus.block_rules import TRANSACTIONS_MAX
from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import DecodeError, Rule
from consensus.hashes import BlockHash, Wtxid, sha256d
from consensus.params import BLOCK_BYTES_MAX, TX_BYTES_MAX, UINT32_MAX

PROTOCOL_VERSION = 2
COMPACT_VERSION = 2
"""The least version that knows compact blocks."""
LOCATOR_HASHES_MAX = 64
HEADERS_MAX = 2_000
ANNOUNCE_MAX = 8
INV_MAX = 1_000
GETBLOCKS_MAX = 32
ADDRESSES_MAX = 500
TXS_BYTES_MAX = 262_144
SHORT_ID_BYTES = 6
SHORT_IDS_BYTES_MAX = SHORT_ID_BYTES * (TRANSACTIONS_MAX - 1)
SALT_BYTES = 8
BLOCK_TXS_MAX = 10_000
"""Transactions of one block that may be asked for; whoever lacks more asks for the whole block."""
AGENT_BYTES_MAX = 64
FRAME_BYTES_MAX = BLOCK_BYTES_MAX + 7
"""The largest message: a block, with the array, the id and a length before it."""

U16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=UINT32_MAX)]
U64 = Annotated[int, msgspec.Meta(ge=0)]
"""MessagePack has no larger integers than 64 bits."""
Port = Annotated[int, msgspec.Meta(ge=1, le=2**16 - 1)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
BlockHashField = Annotated[BlockHash, msgspec.Meta(min_length=32, max_length=32)]
WtxidField = Annotated[Wtxid, msgspec.Meta(min_length=32, max_length=32)]
Text32 = Annotated[bytes, msgspec.Meta(min_length=1, max_length=32)]
HeaderField = Annotated[bytes, msgspec.Meta(min_length=HEADER_BYTES, max_length=HEADER_BYTES)]
TxField = Annotated[bytes, msgspec.Meta(min_length=1, max_length=TX_BYTES_MAX)]
Wtxids = Annotated[tuple[WtxidField, ...], msgspec.Meta(max_length=INV_MAX)]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """Who speaks, and what its best chain is. The first message each way."""

    version: U32
    services: U64
    chain: BlockHashField
    """Hash of genesis."""
    nonce: Nonce
    """Drawn for this connection: a node that sees its own is talking to itself."""
    network: Text32
    """Printable ASCII, for messages to people."""
    agent: Annotated[bytes, msgspec.Meta(max_length=AGENT_BYTES_MAX)]
    """Printable ASCII."""
    port: U16
    """Where the sender listens; 0 if it does not."""
    height: U32
    tip: BlockHashField
    work: Annotated[bytes, msgspec.Meta(min_length=1, max_length=32)]
    """Cumulative work of the tip, big-endian without leading zeros."""


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Are you there?"""

    nonce: U64


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The answer to a ping, with its nonce."""

    nonce: U64


class GetAddr(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Asks for addresses of other nodes."""


class AddrEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a node was seen."""

    ip: Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)]
    """4 or 16 bytes."""
    port: Port
    seen: U32
    """Seconds since 1970."""


class Addr(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The answer to a getaddr."""

    addresses: Annotated[tuple[AddrEntry, ...], msgspec.Meta(max_length=ADDRESSES_MAX)]


class GetHeaders(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Asks for what follows the first hash of the locator on the receiver's best chain."""

    locator: Annotated[tuple[BlockHashField, ...], msgspec.Meta(max_length=LOCATOR_HASHES_MAX)]
    stop: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    """Last header wanted; empty for no limit."""


class Headers(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Headers in order: the answer to a getheaders."""

    headers: Annotated[tuple[HeaderField, ...], msgspec.Meta(max_length=HEADERS_MAX)]


class Inv(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Announces transactions."""

    wtxids: Wtxids


class GetTxs(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Asks for announced transactions."""

    wtxids: Wtxids


class Txs(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Transactions that were asked for."""

    transactions: Annotated[tuple[TxField, ...], msgspec.Meta(max_length=INV_MAX)]


class GetBlocks(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Asks for blocks."""

    hashes: Annotated[tuple[BlockHashField, ...], msgspec.Meta(max_length=GETBLOCKS_MAX)]


class BlockMessage(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """A block that was asked for."""

    raw: Annotated[bytes, msgspec.Meta(max_length=BLOCK_BYTES_MAX)]


class NotFound(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Wtxids or block hashes that were asked for and are not at hand."""

    hashes: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=INV_MAX)]


class Announce(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """The sender's best chain now ends with these headers."""

    headers: Annotated[tuple[HeaderField, ...], msgspec.Meta(min_length=1, max_length=ANNOUNCE_MAX)]


class CompactMode(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """Whether the sender wants new blocks at once, as `Compact`."""

    wanted: Annotated[int, msgspec.Meta(ge=0, le=1)]


class Compact(msgspec.Struct, frozen=True, array_like=True, tag=15, gc=False):
    """A block whose transactions the receiver is expected to have."""

    header: HeaderField
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    """Drawn by whoever made the message: with the hash of the block, the key of the short ids."""
    coinbase: TxField
    ids: Annotated[bytes, msgspec.Meta(max_length=SHORT_IDS_BYTES_MAX)]
    """Short ids of all other transactions in their order, one after the other."""


class GetBlockTxs(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """Asks for transactions of a block that came as `Compact`."""

    hash: BlockHashField
    indexes: Annotated[tuple[U16, ...], msgspec.Meta(min_length=1, max_length=BLOCK_TXS_MAX)]
    """Ascending; 0 is the transaction after the coinbase."""


class BlockTxs(msgspec.Struct, frozen=True, array_like=True, tag=17, gc=False):
    """The transactions that a `GetBlockTxs` asked for, in its order."""

    hash: BlockHashField
    transactions: Annotated[
        tuple[TxField, ...], msgspec.Meta(min_length=1, max_length=BLOCK_TXS_MAX)
    ]


Message = (
    Hello | Ping | Pong | GetAddr | Addr | GetHeaders | Headers
    | Inv | GetTxs | Txs | GetBlocks | BlockMessage | NotFound | Announce
    | CompactMode | Compact | GetBlockTxs | BlockTxs
)  # fmt: skip


class Kind(msgspec.Struct, frozen=True):
    """A row of the table of messages."""

    name: str
    struct: type[msgspec.Struct]
    bytes_max: int
    per_minute: int
    """How many a peer may send in the long run."""
    burst: int
    """How many at once."""
    bytes_per_minute: int
    """How many bytes of such messages a peer may send in the long run, and at once."""
    decoder: msgspec.msgpack.Decoder[Any]


def _kind(
    name: str, struct: type[msgspec.Struct], bytes_max: int, per_minute: int, burst: int,
    bytes_per_minute: int,
) -> Kind:  # fmt: skip
    return Kind(name, struct, bytes_max, per_minute, burst, bytes_per_minute, decoder_of(struct))


MESSAGES: Mapping[int, Kind] = {
    0: _kind("hello", Hello, 256, 60, 60, 15_360),
    1: _kind("ping", Ping, 11, 60, 60, 660),
    2: _kind("pong", Pong, 11, 60, 60, 660),
    3: _kind("getaddr", GetAddr, 2, 2, 2, 4),
    4: _kind("addr", Addr, 13_505, 2, 2, 27_010),
    5: _kind("getheaders", GetHeaders, 2_215, 6_000, 600, 8_000_000),
    6: _kind("headers", Headers, 164_005, 6_000, 600, 600_000_000),
    7: _kind("inv", Inv, 34_005, 6_000, 3_000, 60_000_000),
    8: _kind("gettxs", GetTxs, 34_005, 6_000, 3_000, 60_000_000),
    9: _kind("txs", Txs, TXS_BYTES_MAX, 30_000, 3_000, 600_000_000),
    10: _kind("getblocks", GetBlocks, 1_093, 30_000, 3_000, 30_000_000),
    11: _kind("block", BlockMessage, FRAME_BYTES_MAX, 60_000, 6_000, 6_000_000_000),
    12: _kind("notfound", NotFound, 34_005, 6_000, 600, 60_000_000),
    13: _kind("announce", Announce, 659, 1_200, 600, 600_000),
    14: _kind("compactmode", CompactMode, 3, 60, 60, 180),
    15: _kind("compact", Compact, 260_100, 1_200, 600, 60_000_000),
    16: _kind("getblocktxs", GetBlockTxs, 30_039, 600, 60, 6_000_000),
    17: _kind("blocktxs", BlockTxs, FRAME_BYTES_MAX, 600, 60, 400_000_000),
}
"""Every message by its id."""

IDS: Mapping[type, int] = {kind.struct: number for number, kind in MESSAGES.items()}


def encode_message(message: Message) -> bytes:
    """The frame that carries `message`."""
    return encode(message)


def decode_message(frame: bytes) -> Message:
    """Decode a frame within its caps.

    Raises: DecodeError (malformed, non-canonical, oversized).
    """
    if len(frame) < 2 or frame[0] & 0xF0 != 0x90:
        raise DecodeError(Rule.MALFORMED, "not a message")
    kind = MESSAGES.get(frame[1])
    if kind is None:
        raise DecodeError(Rule.MALFORMED, "unknown message", frame[1])
    if len(frame) > kind.bytes_max:
        raise DecodeError(Rule.OVERSIZED, kind.name, len(frame), kind.bytes_max)
    message: Message = decode_canonical(kind.decoder, frame)
    match message:
        case Hello(network=network, agent=agent, work=work):
            if not (is_printable(network) and is_printable(agent)):
                raise DecodeError(Rule.MALFORMED, "hello: not printable")
            if work[0] == 0:
                raise DecodeError(Rule.NON_CANONICAL, "hello: work")
        case Addr(addresses=addresses):
            if not all(_is_address(entry.ip) for entry in addresses):
                raise DecodeError(Rule.MALFORMED, "addr: not an address")
        case GetHeaders(stop=stop):
            if len(stop) not in (0, 32):
                raise DecodeError(Rule.MALFORMED, "getheaders: stop")
        case Compact(ids=ids):
            if len(ids) % SHORT_ID_BYTES:
                raise DecodeError(Rule.MALFORMED, "compact: ids")
        case GetBlockTxs(indexes=indexes):
            if any(low >= high for low, high in pairwise(indexes)):
                raise DecodeError(Rule.MALFORMED, "getblocktxs: not ascending")
        case _:
            pass
    return message


def is_printable(text: bytes) -> bool:
    """Whether `text` can go into a log as it is: printable ASCII only."""
    return all(0x20 <= byte < 0x7F for byte in text)


def _is_address(ip: bytes) -> bool:
    return len(ip) == 4 or (len(ip) == 16 and ip[:12] != bytes(10) + b"\xff\xff")


def encode_work(work: int) -> bytes:
    """Big-endian, without leading zeros."""
    return work.to_bytes((work.bit_length() + 7) // 8, "big")


_BLOCK_START = b"\x92\xc4\x50"
"""How a block begins: an array of two, the first of them 80 bytes."""


def block_hash_of(raw: bytes) -> BlockHash:
    """Hash of the block whose encoding is `raw`, which is not decoded. Raises: DecodeError."""
    start = len(_BLOCK_START)
    if raw[:start] != _BLOCK_START or len(raw) < start + HEADER_BYTES:
        raise DecodeError(Rule.MALFORMED, "not a block")
    return BlockHash(sha256d(raw[start : start + HEADER_BYTES]))
