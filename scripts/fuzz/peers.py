"""Targets: what strangers send over the network."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

from consensus.block import decode_header
from consensus.block_rules import check_block, check_known
from consensus.errors import DecodeError, Violation
from consensus.params import COIN
from consensus.tx import NATIVE, AssetDefinition, Issue, TxOut, decode_tx
from consensus.tx_rules import check_tx
from p2p.addrbook import AddressBook
from p2p.compact import Reconstruction, make_compact
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
    Inv,
    Message,
    NotFound,
    Ping,
    Pong,
    Txs,
    block_hash_of,
    decode_message,
    encode_message,
)
from p2p.ports import Endpoint
from scripts.fuzz import conversation, mutate
from scripts.fuzz.conversation import AGAIN, FRAME, MINE, PAUSE, frames_of, payments, write_steps
from scripts.fuzz.target import Target, need
from tests.support import second
from tests.support.chain import ALICE, BOB
from tests.support.raw_peer import hello_of

CHECKSUM_BYTES = 32
SALT = b"8 bytes."
NOW = 1_800_000_000
_POOL = [decode_tx(raw, len(raw)) for raw in payments(conversation.fresh_node(), 4)]
_LOOP = conversation.Loop()


def message(data: bytes) -> None:
    try:
        found = decode_message(data)
    except DecodeError:
        return
    need(encode_message(found) == data, "a message has one encoding")
    need(len(data) <= MESSAGES[data[1]].bytes_max, "a message is bounded by its kind")
    need(second.enc(second.read(data)) == data, "both encode the message to the same bytes")
    if isinstance(found, BlockMessage):
        try:
            known = block_hash_of(found.raw)
        except DecodeError:
            return
        need(known == decode_header(found.raw[3:83]).hash, "the hash is that of the header")


def session(data: bytes) -> None:
    _LOOP.run_until_complete(conversation.play(data))


def compact(data: bytes) -> None:
    """First byte: which transactions wait. Then a compact block with its length, then the answer to
    what is missing, each transaction with its length."""
    size = int.from_bytes(data[1:3], "big")
    try:
        found = decode_message(data[3 : 3 + size])
    except DecodeError:
        return
    if not isinstance(found, Compact):
        return
    made = Reconstruction(1, found)
    waiting = data[0]
    made.match(check_tx(tx) for at, tx in enumerate(_POOL) if waiting >> at & 1)
    need(len(made.missing) <= len(found.ids) // 6, "no more is missing than was named")
    rest = data[3 + size :]
    try:
        for index in made.missing:
            size = int.from_bytes(rest[:2], "big")
            made.add(index, rest[2 : 2 + size])
            rest = rest[2 + size :]
        coinbase = made.coinbase()
        if not made.is_complete:
            return
        checked = check_known(made.header, coinbase, made.txs())
    except Violation:
        return
    block = checked.block
    whole = check_block(block.raw)  # raises, if the short way lets pass what the long way does not
    need(whole.block.header.hash == made.hash, "what was put together is what was named")
    need([tx.raw for tx in whole.block.txs] == [tx.raw for tx in block.txs], "nothing was lost")


def peers_file(data: bytes) -> None:
    # The checksum keeps a fuzzer out: what a sound one covers is read too.
    for whole in (data, data + hashlib.sha256(data).digest()):
        rng = random.Random(1)
        try:
            book = AddressBook(rng, whole)
        except DecodeError:
            continue
        _use_book(book, rng)


def _use_book(book: AddressBook, rng: random.Random) -> None:
    kept = book.dump()
    need(AddressBook(rng, kept).dump() == kept, "a book reads back what it wrote")
    need(len(book) == len(AddressBook(rng, kept)), "no address is counted twice")
    found = book.sample(Endpoint("9.9.9.9", 1), NOW)
    encode_message(Addr(found))
    for host in ("8.8.8.8", "10.0.0.1", "127.0.0.1", "2001:4860::1"):
        endpoint = Endpoint(host, 4_000)
        book.add(endpoint, Endpoint("8.8.4.4", 1), NOW, NOW)
        book.on_dialled(endpoint, NOW)
        book.on_success(endpoint, NOW)
        book.on_failed(endpoint, NOW)
        book.is_discouraged(host, NOW)
    for _ in range(8):
        chosen = book.choose(NOW, (), ()) or book.feeler(NOW, ())
        if chosen is not None:
            book.on_success(chosen, NOW)
            need(chosen in book, "what was chosen is in the book")
    for entry in found:
        endpoint = Endpoint.of(entry.ip, entry.port)
        book.on_success(endpoint, NOW)
        book.remove(endpoint)
        need(endpoint not in book, "what was removed is gone")
    AddressBook(rng, book.dump())


def _messages() -> Iterator[Message]:
    node = conversation.fresh_node()
    node.mine(3)
    raws = payments(node, 3)
    txs = [decode_tx(raw, len(raw)) for raw in raws]
    header = node.tip.header
    block = node.chain.template(txs)
    yield hello_of(node)
    yield from (Ping(0), Ping(1 << 40), Pong(300), GetAddr(), CompactMode(1))
    entries = (AddrEntry(bytes((9, 2, 2, 2)), 4_000, NOW), AddrEntry(b" \x01" * 8, 1, 0))
    yield Addr(entries)
    yield GetHeaders((header.hash, node.chain_id), bytes(32))
    yield GetHeaders((node.chain_id,))
    yield Headers((header.raw, header.raw))
    wtxids = tuple(tx.wtxid for tx in txs)
    yield from (Inv(wtxids), GetTxs(wtxids), Txs(tuple(raws)), NotFound(wtxids))
    yield from (GetBlocks((header.hash,)), BlockMessage(block.raw), Announce((block.header.raw,)))
    yield make_compact(block, SALT)
    yield from (GetBlockTxs(block.header.hash, (0, 2)), BlockTxs(block.header.hash, tuple(raws)))


def _sessions() -> Iterator[bytes]:
    """Conversations as they are among honest nodes, and some that are not."""
    node = conversation.fresh_node()
    start = hello_of(node)
    raws = payments(node, 3)
    txs = [decode_tx(raw, len(raw)) for raw in raws]
    wtxids = tuple(tx.wtxid for tx in txs)
    blocks = [node.chain.template(txs)]
    for _ in range(2):
        node.chain.connect(blocks[-1].raw)
        blocks.append(node.chain.template())
    heads = tuple(block.header.raw for block in blocks)
    fresh = conversation.fresh_node()
    paying = (Inv(wtxids), Txs(tuple(raws)))
    short = make_compact(blocks[0], SALT)
    lacking = BlockTxs(blocks[0].header.hash, tuple(raws))
    yield write_steps(frames_of(fresh, *paying, GetTxs(wtxids)))
    # Who says that he has more work is asked for headers, then for blocks.
    brought = frames_of(node, Headers(heads), *(BlockMessage(block.raw) for block in blocks))
    yield write_steps(brought)
    yield write_steps([(MINE, b"\0"), *brought, (PAUSE, b"\x10")])  # ours gives way to a longer one
    yield write_steps([*frames_of(fresh, *paying), *brought[1:], (AGAIN, b"\x01"), *brought])
    rest = (
        Announce(heads[1:2]),
        BlockMessage(blocks[1].raw),
        GetBlockTxs(blocks[0].header.hash, (1,)),
    )
    yield write_steps(frames_of(fresh, CompactMode(1), short, lacking, *rest))
    yield write_steps(frames_of(fresh, *paying, short, *rest))
    yield write_steps([*frames_of(fresh, *paying, short), (MINE, b"\0"), (PAUSE, b"\x10")])
    yield write_steps([*frames_of(fresh, *paying), (MINE, b"\0"), (PAUSE, b"\x10")])
    yield write_steps(
        [*frames_of(fresh, *_messages()), (AGAIN, b"\x01"), *frames_of(fresh, GetAddr())]
    )
    for one in _messages():
        yield write_steps([*frames_of(fresh, one), (PAUSE, b"\x20")])
        yield write_steps([(MINE, b"\0"), *frames_of(fresh, Announce(heads[:1]), one)])
    yield write_steps([(PAUSE, b"\xff"), (FRAME, encode_message(start)), (PAUSE, b"\xff")])


def _compacts() -> Iterator[bytes]:
    node = conversation.fresh_node()
    block = node.chain.template(_POOL)
    frame = encode_message(make_compact(block, SALT))
    for waiting in (0, 3, 15):
        missing = [tx.raw for at, tx in enumerate(_POOL) if not waiting >> at & 1]
        rest = b"".join(len(raw).to_bytes(2, "big") + raw for raw in missing)
        yield bytes((waiting,)) + len(frame).to_bytes(2, "big") + frame + rest
    spot = node.chain.coins_of(ALICE)[5]
    issue = Issue(0, AssetDefinition(b"GOLD", b"Gold", 2, b"", True), 5)
    kept = [TxOut(NATIVE, COIN - 90_000, BOB.lock)]
    block = node.chain.template([node.chain.spend([spot], kept, issuances=[issue])])
    frame = encode_message(make_compact(block, SALT))
    yield b"\0" + len(frame).to_bytes(2, "big") + frame


def _books() -> Iterator[bytes]:
    book = AddressBook(random.Random(1))
    yield book.dump()
    yield book.dump()[:-CHECKSUM_BYTES]
    for number in range(6):
        endpoint = Endpoint(f"{20 + number}.1.1.1", 4_000 + number)
        book.add(endpoint, Endpoint("8.8.4.4", 1), NOW - number, NOW)
    book.add(Endpoint("2001:4860:4860::8888", 1), Endpoint("8.8.4.4", 1), NOW, NOW)
    book.on_success(Endpoint("20.1.1.1", 4_000), NOW)
    book.on_failed(Endpoint("21.1.1.1", 4_001), NOW)
    book.discourage("22.1.1.1", NOW)
    yield book.dump()
    yield book.dump()[:-CHECKSUM_BYTES]


TARGETS = (
    Target(
        "message", "one frame: canonical, bounded by its kind, the same bytes from msgpack",
        message, lambda: [encode_message(each) for each in _messages()],
        mutate=mutate.packed,
    ),
    Target(
        "session", "steps of a stranger before the real hub: no error of ours, a friend is served",
        session, _sessions, 6_000, mutate.steps,
    ),
    Target(
        "compact", "a block put together from what waits passes the checks of a whole one",
        compact, _compacts,
    ),
    Target(
        "peers-file", "peers.dat: reads back what it wrote, every use of it works",
        peers_file, _books, 2_048, mutate.packed,
    ),
)  # fmt: skip
