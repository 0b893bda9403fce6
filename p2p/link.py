"""One connection: its wire, its peer, and a bounded queue of what is to be sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from consensus.hashes import BlockHash, Wtxid
from p2p.bounded import WorkBudget
from p2p.messages import Message, encode_message
from p2p.peer import Peer, Reason
from p2p.ports import Clock, NodePort, Wire
from p2p.serving import block_messages, tx_messages
from p2p.session import Session, State

BLOCKS_ASKED_MAX = 64
"""Blocks that a peer may have asked for and not yet got."""
TXS_ASKED_MAX = 10_000
"""Transactions likewise."""


class Link:
    """A connection that is being served."""

    def __init__(self, peer: Peer, wire: Wire, session: Session, work: WorkBudget) -> None:
        self.peer = peer
        self.work = work
        """Time that the peer may take up for nothing."""
        self.wire = wire
        self.session = session
        self.reason: Reason | None = None
        """Why it ends, once it does."""
        self.is_busy = False
        """A message of the peer is being worked on."""
        self.ready_at: float | None = None
        self.sending_since: float | None = None
        self.queued_bytes = 0
        self._blocks_asked = 0
        self._txs_asked = 0
        self._queue: deque[bytes | Iterator[Message]] = deque()
        self._wake = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self.reason is None and self.session.state is State.READY

    def send(self, message: Message) -> None:
        """Queue a message."""
        frame = encode_message(message)
        self.queued_bytes += len(frame)
        self._queue.append(frame)
        self._wake.set()

    def serve_blocks(self, node: NodePort, hashes: Sequence[BlockHash]) -> bool:
        """Queue answers, each made when it can be sent; False if the peer asked for too much."""
        if self._blocks_asked + len(hashes) > BLOCKS_ASKED_MAX:
            return False
        self._blocks_asked += len(hashes)
        self._queue.append(self._blocks(node, hashes))
        self._wake.set()
        return True

    def _blocks(self, node: NodePort, hashes: Sequence[BlockHash]) -> Iterator[Message]:
        for message in block_messages(node, hashes):
            self._blocks_asked -= 1
            yield message

    def serve_txs(self, node: NodePort, wtxids: Sequence[Wtxid], refused: Sequence[Wtxid]) -> bool:
        """Likewise. An honest peer can come to ask for too many, if it reads slowly."""
        count = len(wtxids) + len(refused)
        if self._txs_asked + count > TXS_ASKED_MAX:
            return False
        self._txs_asked += count
        self._queue.append(self._txs(node, wtxids, refused))
        self._wake.set()
        return True

    def _txs(
        self, node: NodePort, wtxids: Sequence[Wtxid], refused: Sequence[Wtxid]
    ) -> Iterator[Message]:
        yield from tx_messages(node, wtxids, refused)
        self._txs_asked -= len(wtxids) + len(refused)

    async def write(self, clock: Clock) -> None:
        """Send what is queued, for ever. Raises: OSError when the connection has ended."""
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            item = self._queue.popleft()
            if isinstance(item, bytes):
                self.queued_bytes -= len(item)
                await self._send(item, clock)
            else:
                for message in item:
                    await self._send(encode_message(message), clock)

    async def _send(self, frame: bytes, clock: Clock) -> None:
        self.sending_since = clock.monotonic()
        await self.wire.send(frame)
        self.sending_since = None
        self.peer.bytes_sent += len(frame)
        self.peer.last_send = clock.now()
