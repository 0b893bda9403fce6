"""The codec of messages: one encoding each, caps before work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec import array_header, encode
from consensus.errors import DecodeError, Rule
from consensus.hashes import BlockHash, Wtxid
from p2p.messages import (
    MESSAGES,
    Addr,
    AddrEntry,
    Announce,
    BlockMessage,
    BlockTxs,
    Compact,
    CompactMode,
    GetAddr,
    GetBlocks,
    GetBlockTxs,
    GetHeaders,
    GetTxs,
    Headers,
    Hello,
    Inv,
    Message,
    NotFound,
    Ping,
    Pong,
    Txs,
    block_hash_of,
    decode_message,
    encode_message,
    encode_work,
)
from p2p.peer import SCORES, Reason
from tests.support.chain import ToyChain

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "p2p.md"

u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
hashes = st.binary(min_size=32, max_size=32)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.encode)
some_hashes = st.lists(hashes, max_size=20).map(tuple)
headers = st.lists(st.binary(min_size=80, max_size=80), min_size=1, max_size=8).map(tuple)
entries = st.builds(
    AddrEntry,
    st.binary(min_size=4, max_size=4) | st.just(b"\x20" + bytes(15)),
    st.integers(1, 2**16 - 1),
    u32,
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello, u32, u64, hashes, st.binary(min_size=8, max_size=8),
        printable.filter(lambda text: 1 <= len(text) <= 32),
        printable.filter(lambda text: len(text) <= 64), u16, u32, hashes,
        st.integers(1, 2**256 - 1).map(encode_work),
    ),
    st.builds(Ping, u64),
    st.builds(Pong, u64),
    st.just(GetAddr()),
    st.builds(Addr, st.lists(entries, max_size=9).map(tuple)),
    st.builds(GetHeaders, some_hashes, st.just(b"") | hashes),
    st.builds(Headers, headers),
    st.builds(Announce, headers),
    st.builds(Inv, some_hashes),
    st.builds(GetTxs, some_hashes),
    st.builds(Txs, st.lists(st.binary(min_size=1, max_size=300), max_size=9).map(tuple)),
    st.builds(GetBlocks, some_hashes),
    st.builds(BlockMessage, st.binary(max_size=300)),
    st.builds(NotFound, some_hashes),
    st.builds(CompactMode, st.integers(0, 1)),
    st.builds(
        Compact, st.binary(min_size=80, max_size=80), st.binary(min_size=8, max_size=8),
        st.binary(min_size=1, max_size=300), st.integers(0, 20).map(lambda count: b"sixsix" * count),
    ),
    st.builds(
        GetBlockTxs, hashes,
        st.sets(st.integers(0, 2**16 - 1), min_size=1, max_size=20).map(sorted).map(tuple),
    ),
    st.builds(
        BlockTxs, hashes,
        st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=9).map(tuple),
    ),
)  # fmt: skip


@given(messages)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(messages, st.data())
def test_a_changed_frame_is_refused_or_means_another_message(
    message: Message, data: st.DataObject
) -> None:
    frame = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_message(bytes(frame))
    except DecodeError:
        return
    assert encode_message(decoded) == frame


def forms_of(value: Any) -> list[bytes]:
    """`value` in every form that MessagePack has for it, its parts in the shortest."""
    match value:
        case int():
            fits = [w for w in (1, 2, 4, 8) if value < 1 << 8 * w]
            forms = [
                bytes((0xCC + (1, 2, 4, 8).index(w),)) + value.to_bytes(w, "big") for w in fits
            ]
            forms.append(encode(float(value)))
        case bytes():
            fits = [w for w in (1, 2, 4) if len(value) < 1 << 8 * w]
            forms = [
                bytes((first + (1, 2, 4).index(w),)) + len(value).to_bytes(w, "big") + value
                for w in fits
                for first in (0xC4, 0xD9)
            ]
        case _:
            body = b"".join(map(encode, value))
            forms = [b"\xdc" + len(value).to_bytes(2, "big") + body]
            forms.append(b"\xdd" + len(value).to_bytes(4, "big") + body)
    return [form for form in forms if form != encode(value)]


def places(value: Any) -> int:
    """Parts of a value, itself included."""
    return 1 + sum(map(places, value)) if isinstance(value, list) else 1


def wide(value: Any, place: int, data: st.DataObject) -> bytes:
    """`value` in MessagePack, its part number `place` in another form than the shortest."""
    if place == 0:
        return data.draw(st.sampled_from(forms_of(value)))
    place -= 1
    parts = []
    for part in value:
        size = places(part)
        parts.append(wide(part, place, data) if 0 <= place < size else encode(part))
        place -= size
    return array_header(len(value)) + b"".join(parts)


@given(messages, st.data())
def test_every_encoding_but_one_is_refused(message: Message, data: st.DataObject) -> None:
    canonical = encode_message(message)
    parts = msgspec.msgpack.decode(canonical)
    other = wide(parts, data.draw(st.integers(0, places(parts) - 1)), data)
    assert other != canonical
    with pytest.raises(DecodeError):
        decode_message(other)


LARGEST: tuple[Message, ...] = (
    Hello(2**32 - 1, 2**64 - 1, BlockHash(bytes(32)), bytes(8), b"n" * 32, b"a" * 64, 65_535,
          2**32 - 1, BlockHash(bytes(32)), b"\xff" * 32),
    Ping(2**64 - 1),
    Pong(2**64 - 1),
    GetAddr(),
    Addr((AddrEntry(b"\x20" + bytes(15), 65_535, 2**32 - 1),) * 500),
    GetHeaders((BlockHash(bytes(32)),) * 64, bytes(32)),
    Headers((bytes(80),) * 2_000),
    Inv((Wtxid(bytes(32)),) * 1_000),
    Txs((bytes(100_000),) * 2),
    BlockMessage(bytes(4_000_000)),
    Announce((bytes(80),) * 8),
    CompactMode(1),
    Compact(bytes(80), bytes(8), bytes(100_000), bytes(159_996)),
    GetBlockTxs(BlockHash(bytes(32)), tuple(range(55_536, 65_536))),
    BlockTxs(BlockHash(bytes(32)), (bytes(99_990),) * 40),
)  # fmt: skip


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_the_largest_message_of_a_kind_is_within_its_cap(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


TOO_LARGE = {
    "entries of inv": encode((7, (bytes(32),) * 1_001)),
    "entries of addr": encode((4, ((bytes(4), 1, 0),) * 501)),
    "entries of headers": encode((6, (bytes(80),) * 2_001)),
    "entries of announce": encode((13, (bytes(80),) * 9)),
    "entries of getblocks": encode((10, (bytes(32),) * 33)),
    "entries of a locator": encode((5, (bytes(32),) * 65, b"")),
    "bytes of a block": encode((11, bytes(4_000_001))),
    "bytes of txs": encode((9, (bytes(100_000),) * 3)),
    "bytes of a transaction": encode((9, (bytes(100_001),))),
    "entries of blocktxs": encode((17, bytes(32), (b"x",) * 10_001)),
    "entries of getblocktxs": encode((16, bytes(32), tuple(range(10_001)))),
    "ids of compact": encode((15, bytes(80), bytes(8), b"x", bytes(160_002))),
    "bytes of a coinbase": encode((15, bytes(80), bytes(8), bytes(100_001), b"")),
    "bytes of blocktxs": encode((17, bytes(32), (bytes(100_000),) * 41)),
    "bytes of an agent": encode((0, 1, 0, bytes(32), bytes(8), b"n", b"a" * 65, 0, 0, bytes(32), b"\x01")),
}  # fmt: skip


@pytest.mark.parametrize("frame", TOO_LARGE.values(), ids=TOO_LARGE)
def test_one_more_than_a_cap_is_refused(frame: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_message(frame)
    assert caught.value.rule in (Rule.MALFORMED, Rule.OVERSIZED)


def hello_with(**changes: Any) -> bytes:
    return encode_message(msgspec.structs.replace(LARGEST[0], **changes))


BAD_FIELDS = {
    "work with a leading zero": hello_with(work=b"\x00\x01"),
    "an agent with a line feed": hello_with(agent=b"a\nb"),
    "a network that is not ASCII": hello_with(network="täl".encode()),
    "an address of five bytes": encode((4, ((bytes(5), 1, 0),))),
    "an IPv4 address mapped into IPv6": encode((4, ((bytes(10) + b"\xff\xff" + bytes(4), 1, 0),))),
    "an address with port 0": encode((4, ((bytes(4), 0, 0),))),
    "half a stop hash": encode((5, (), bytes(16))),
    "an empty announcement": encode((13, ())),
    "an empty transaction": encode((9, (b"",))),
    "a short id of five bytes": encode((15, bytes(80), bytes(8), b"x", bytes(11))),
    "a header of 79 bytes": encode((15, bytes(79), bytes(8), b"x", b"")),
    "indexes that do not ascend": encode((16, bytes(32), (1, 1))),
    "no indexes": encode((16, bytes(32), ())),
    "no transactions of a block": encode((17, bytes(32), ())),
    "a third mode": encode((14, 2)),
    "a negative nonce": encode((1, -1)),
}


@pytest.mark.parametrize("frame", BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_a_field_outside_its_range_is_refused(frame: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_message(frame)


def test_many_empty_arrays_are_refused_before_they_become_objects() -> None:
    for byte in (b"\x90", b"\x80", b"\xc0"):
        frame = b"\x92\x06\xdd\x00\x0f\xff\xff" + byte * 150_000
        with pytest.raises(DecodeError):
            decode_message(frame)


def test_every_message_is_in_the_table_under_its_own_id() -> None:
    assert {kind.struct for kind in MESSAGES.values()} == set(get_args(Message))
    for number, kind in MESSAGES.items():
        assert kind.struct.__struct_config__.tag == number


def test_the_hash_of_a_block_is_read_off_its_bytes() -> None:
    block = ToyChain().template()
    assert block_hash_of(block.raw) == block.header.hash
    for bad in (b"", b"\x93" + block.raw[1:], block.raw[:50]):
        with pytest.raises(DecodeError):
            block_hash_of(bad)


def test_the_document_lists_every_message_with_its_numbers() -> None:
    rows = re.findall(
        r"^\| (\d+) \| `(\w+)` \| (.+?) \| ([\d ]+) \| (.+?) \| ([\d ]+) \|$",
        DOCUMENT.read_text().replace("\u202f", " "), re.MULTILINE,
    )  # fmt: skip
    listed = {int(number): row for number, *row in rows}
    assert set(listed) == set(MESSAGES)
    for number, kind in MESSAGES.items():
        name, _, size, rate, bytes_rate = listed[number]
        assert name == kind.name
        assert int(size.replace(" ", "")) == kind.bytes_max
        assert int(bytes_rate.replace(" ", "")) == kind.bytes_per_minute
        if kind.struct is not Hello:
            numbers = [int(text) for text in re.findall(r"\d+", rate.replace(" ", ""))]
            assert numbers == [kind.per_minute, kind.burst]
    for number, _, fields, *_ in rows:
        wanted = MESSAGES[int(number)].struct.__struct_fields__
        assert all(field in fields for field in wanted)


def test_the_document_lists_every_fault_and_every_reason() -> None:
    text = DOCUMENT.read_text()
    for fault, score in SCORES.items():
        assert re.search(rf"^\| `{fault}` \| {score}\b", text, re.MULTILINE), fault
    for reason in Reason:
        assert reason is Reason.LOST or f"`{reason}`" in text
