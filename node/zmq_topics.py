"""News over ZeroMQ, in the topics that Bitcoin Core publishes (docs/zmq.md).

A message has three frames: the topic, a body, and how many messages of the topic came before, as a
little-endian number of four bytes. Events are noted at once and sent a moment later, in their order, so
that no payment and no block waits for it.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from consensus.block import Block
from consensus.hashes import Txid
from consensus.header_tree import HeaderNode
from consensus.tx import Tx
from node.config import ConfigError
from node.events import (
    BlockConnected,
    BlockDisconnected,
    EventBus,
    Removal,
    TipChanged,
    TxAdded,
    TxRemoved,
)
from node.rpc import ports
from node.rpc.results.network import Publication
from p2p.ports import Endpoint

HASHBLOCK, HASHTX, RAWBLOCK, RAWTX, SEQUENCE = TOPICS = (
    b"hashblock", b"hashtx", b"rawblock", b"rawtx", b"sequence",
)  # fmt: skip
HIGH_WATER = 1_000
"""Messages that wait for a subscriber; of more it is told nothing, and its counters have a gap."""
COMMAND_BYTES_MAX = 128
"""What a subscriber may send at once: who it is, or the beginning of a topic. ZeroMQ takes 60 bytes of
memory for each byte of a topic that nobody asked for before."""
ZAP_DOMAIN = b"tael"
"""With one, ZeroMQ refuses peers of its first protocol, who need show nothing and have no limits."""
HANDSHAKE_MS = 2_000
"""Time for who connects to say that it speaks ZeroMQ."""
BACKLOG = 16
"""Connections that the system keeps until they are accepted."""
NOTED_BYTES_MAX = 16 << 20
"""Events that wait to be sent; what is beyond that is sent at once."""
MESSAGES_PER_TURN = 50
_NOTE_BYTES = 500
_COUNTER_MASK = 2**32 - 1


class _Added(NamedTuple):
    tx: Tx
    number: int
    """Of the change of the mempool."""


class _Removed(NamedTuple):
    txid: Txid
    number: int


class _Moved(NamedTuple):
    """A block came to the best chain, or left it."""

    node: HeaderNode
    block: Block
    is_connected: bool


class _Tip(NamedTuple):
    node: HeaderNode
    block: Block


_Note = _Added | _Removed | _Moved | _Tip


class ZmqPublisher:
    """One PUB socket for all topics: a door of the node (node/doors.py)."""

    option = "zmq"

    def __init__(self, node: ports.Node, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._node = node
        self._context: Any = None
        self._socket: Any = None
        self._dont_wait = 0
        self._counts: Counter[bytes] = Counter()
        self._notes: deque[_Note] = deque()
        self._noted_bytes = 0
        self._wake = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._ends: list[Callable[[], None]] = []
        self._last: tuple[HeaderNode, Block] | None = None
        """The block that was connected last."""

    # Life

    async def start(self) -> None:
        """Raises: OSError (the port is taken), ConfigError (pyzmq is not installed)."""
        zmq = _load()
        host, port = self.endpoint
        # ZeroMQ takes a name for that of a network card.
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        place = Endpoint(str(found[0][4][0]), port)
        self._dont_wait = zmq.DONTWAIT
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        for option, value in (
            (zmq.SNDHWM, HIGH_WATER), (zmq.LINGER, 0), (zmq.MAXMSGSIZE, COMMAND_BYTES_MAX),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS), (zmq.BACKLOG, BACKLOG), (zmq.TCP_KEEPALIVE, 1),
            (zmq.IPV6, int(":" in place.host)), (zmq.ZAP_DOMAIN, ZAP_DOMAIN),
        ):  # fmt: skip
            self._socket.setsockopt(option, value)
        try:
            self._socket.bind(f"tcp://{place}")
        except zmq.ZMQError as error:
            raise OSError(error.errno, error.strerror) from None
        address = self._socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        self.endpoint = self.endpoint._replace(port=int(address.rpartition(":")[2]))
        self._node.publications.extend(
            Publication(type=f"pub{topic.decode()}", address=address, hwm=HIGH_WATER)
            for topic in TOPICS
        )
        self._listen(self._node.ledger.bus)
        self._sending = asyncio.create_task(self._send_all())

    def _listen(self, bus: EventBus) -> None:
        self._ends = [
            bus.subscribe(TxAdded, self._on_added),
            bus.subscribe(TxRemoved, self._on_removed),
            bus.subscribe(BlockConnected, self._on_connected),
            bus.subscribe(BlockDisconnected, self._on_disconnected),
            bus.subscribe(TipChanged, self._on_tip),
        ]

    async def close(self) -> None:
        while self._ends:
            self._ends.pop()()
        self._node.publications.clear()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._context is not None:
            self._context.destroy(linger=0)

    # Events

    @property
    def _number(self) -> int:
        """Of the change that the mempool is telling of."""
        return self._node.ledger.mempool.sequence - 1

    def _on_added(self, event: TxAdded) -> None:
        self._note(_Added(event.tx, self._number))

    def _on_removed(self, event: TxRemoved) -> None:
        if event.reason is not Removal.CONFIRMED:  # of those the block tells
            self._note(_Removed(event.txid, self._number))

    def _on_connected(self, event: BlockConnected) -> None:
        self._last = event.node, event.block
        self._note(_Moved(event.node, event.block, True))

    def _on_disconnected(self, event: BlockDisconnected) -> None:
        self._note(_Moved(event.node, event.block, False))

    def _on_tip(self, event: TipChanged) -> None:
        # Who catches up with years of blocks wants no news of each.
        if self._last is not None and self._last[0] is event.tip:
            if not self._node.ledger.is_syncing:
                self._note(_Tip(*self._last))
            self._last = None

    def _note(self, note: _Note) -> None:
        self._notes.append(note)
        self._noted_bytes += _size(note)
        self._wake.set()
        while self._noted_bytes > NOTED_BYTES_MAX:
            for _ in self._send_next():
                pass

    # Sending

    async def _send_all(self) -> None:
        sent = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._notes:
                for _ in self._send_next():
                    sent += 1
                    if sent % MESSAGES_PER_TURN == 0:
                        await asyncio.sleep(0)

    def _send_next(self) -> Iterator[None]:
        """Send what there is to tell of an event, a message for each step."""
        note = self._notes.popleft()
        self._noted_bytes -= _size(note)
        for topic, body in _messages(note):
            count = self._counts[topic]
            self._counts[topic] = (count + 1) & _COUNTER_MASK
            # A PUB socket never waits: it passes over who is too slow.
            self._socket.send_multipart(
                [topic, body, count.to_bytes(4, "little")], flags=self._dont_wait
            )
            yield


def _load() -> Any:
    """pyzmq. Not at the top of this module: most nodes do without it. Raises: ConfigError."""
    try:
        return importlib.import_module("zmq")
    except ImportError:
        # Not of this project's extra: no index has a package of its name, until a stranger takes it.
        raise ConfigError(
            f"zmq: pyzmq is not installed: {sys.executable} -m pip install pyzmq"
        ) from None


def _messages(note: _Note) -> Iterator[tuple[bytes, bytes]]:
    """Topics and bodies, in their order. Hashes are written as the JSON-RPC shows them."""
    match note:
        case _Added(tx, number):
            yield from _of_tx(tx)
            yield SEQUENCE, tx.txid[::-1] + b"A" + number.to_bytes(8, "little")
        case _Removed(txid, number):
            yield SEQUENCE, txid[::-1] + b"R" + number.to_bytes(8, "little")
        case _Moved(node, block, is_connected):
            for tx in block.txs:
                yield from _of_tx(tx)
            yield SEQUENCE, node.hash[::-1] + (b"C" if is_connected else b"D")
        case _Tip(node, block):
            yield HASHBLOCK, node.hash[::-1]
            yield RAWBLOCK, block.raw


def _of_tx(tx: Tx) -> Iterator[tuple[bytes, bytes]]:
    yield HASHTX, tx.txid[::-1]
    yield RAWTX, tx.raw


def _size(note: _Note) -> int:
    match note:
        case _Added(tx, _):
            return _NOTE_BYTES + len(tx.raw)
        case _Moved(_, block, _):
            return _NOTE_BYTES + len(block.raw)
        case _:
            return _NOTE_BYTES
