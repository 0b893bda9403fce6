"""Hands what happens to the planners that it concerns. Pure, apart from reading the clock.

A new message needs a row in `p2p.messages.MESSAGES` and a case here.
"""

from __future__ import annotations

from typing import assert_never

from consensus.block import Block
from consensus.errors import Rule, Violation
from consensus.header_tree import HeaderNode
from consensus.tx import Tx
from p2p.actions import (
    AcceptBlock,
    Action,
    AddBlockTxs,
    AddCompact,
    AddHeaders,
    Blame,
    Send,
    ServeBlocks,
    SubmitTx,
)
from p2p.addrbook import AddressBook
from p2p.blockrelay import BlockRelay
from p2p.config import NetworkConfig
from p2p.download import BlockDownload
from p2p.messages import (
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
)
from p2p.peer import Fault, Peer
from p2p.ports import Clock, Endpoint, NodePort, RandomSource
from p2p.relay import BlockAnnouncer, TxRelay
from p2p.sync import HeaderSync


class Router:
    """Every planner of one node."""

    def __init__(
        self, node: NodePort, config: NetworkConfig, book: AddressBook, clock: Clock,
        rng: RandomSource,
    ) -> None:  # fmt: skip
        self.headers = HeaderSync(node, config)
        self.download = BlockDownload(node, self.headers.chains, config)
        self.txs = TxRelay(node, config, rng)
        self.announcer = BlockAnnouncer(node, self.headers.chains)
        self.blocks = BlockRelay(node, self.announcer, self.download, config, rng)
        self._book = book
        self._clock = clock

    @property
    def wake_at(self) -> float:
        """When `on_wake` is due."""
        return min(self.txs.wake_at, self.announcer.wake_at)

    def on_ready(self, peer: Peer, hello: Hello) -> list[Action]:
        """Hellos were exchanged."""
        now = self._clock.monotonic()
        actions = self.headers.on_ready(peer.id, peer.is_inbound, hello, now)
        self.download.on_ready(peer.id)
        self.txs.on_ready(peer.id, now, peer.is_inbound)
        self.announcer.on_ready(peer.id)
        actions += self.blocks.on_ready(peer.id, peer.is_inbound, hello.version)
        if peer.is_inbound:
            self._learn_listener(peer)
        else:
            peer.asked_addr = True
            actions.append(Send(peer.id, GetAddr()))
        return actions + self.download.fill(now)

    def _learn_listener(self, peer: Peer) -> None:
        endpoint = peer.listens_at()
        if endpoint is not None:
            wall = self._clock.now()
            self._book.add(endpoint, peer.endpoint, wall, wall)

    def on_gone(self, peer: Peer) -> list[Action]:
        """The connection of a peer that was ready has ended."""
        now = self._clock.monotonic()
        actions = self.headers.on_gone(peer.id, now)
        self.download.on_gone(peer.id)
        self.announcer.on_gone(peer.id)
        actions += self.blocks.on_gone(peer.id)
        actions += self.txs.on_gone(peer.id, now)
        return actions + self.download.fill(now)

    def on_message(self, peer: Peer, message: Message) -> list[Action]:
        """A peer that is ready sent `message`."""
        now = self._clock.monotonic()
        match message:
            case GetHeaders():
                return self.headers.on_getheaders(peer.id, message)
            case Headers(headers):
                return self.headers.on_headers(peer.id, headers, now)
            case Announce(headers):
                return self.headers.on_announce(peer.id, headers, now)
            case GetBlocks(hashes):
                return [ServeBlocks(peer.id, hashes)] if hashes else []
            case BlockMessage(raw):
                return self.download.on_block(peer.id, raw, now)
            case CompactMode(wanted):
                return self.blocks.on_mode(peer.id, wanted)
            case Compact():
                return self.blocks.on_compact(peer.id, message)
            case GetBlockTxs():
                return self.blocks.on_getblocktxs(peer.id, message)
            case BlockTxs():
                return self.blocks.on_blocktxs(peer.id, message)
            case Inv(wtxids):
                if self.download.is_catching_up:
                    return []
                return self.txs.on_inv(peer.id, wtxids, now)
            case GetTxs(wtxids):
                return self.txs.on_gettxs(peer.id, wtxids) if wtxids else []
            case Txs(transactions):
                return self.txs.on_txs(peer.id, transactions, now)
            case NotFound(hashes):
                actions = self.download.on_notfound(peer.id, hashes, now)
                actions += self.blocks.on_notfound(peer.id, hashes, now)
                return actions + self.txs.on_notfound(peer.id, hashes, now)
            case GetAddr():
                return self._on_getaddr(peer)
            case Addr(addresses):
                return self._on_addr(peer, addresses)
            case Hello() | Ping() | Pong():  # the session took care of them
                return []
            case _:
                assert_never(message)

    def _on_getaddr(self, peer: Peer) -> list[Action]:
        # Those to whom we connected could read the book by asking again and again.
        if not peer.is_inbound or peer.gave_addr:
            return []
        peer.gave_addr = True
        return [Send(peer.id, Addr(self._book.sample(peer.endpoint, self._clock.now())))]

    def _on_addr(self, peer: Peer, addresses: tuple[AddrEntry, ...]) -> list[Action]:
        if not peer.asked_addr:
            return [Blame(peer.id, Fault.UNREQUESTED, "addr")]
        peer.asked_addr = False
        now = self._clock.now()
        for entry in addresses:
            self._book.add(Endpoint.of(entry.ip, entry.port), peer.endpoint, entry.seen, now)
        return []

    def on_headers_added(self, action: AddHeaders, violation: Violation | None) -> list[Action]:
        now = self._clock.monotonic()
        actions = self.headers.on_headers_added(
            action.peer, action.headers, action.is_answer, violation, now
        )
        return actions + self.download.fill(now)

    def on_block_done(self, action: AcceptBlock, violation: Violation | None) -> list[Action]:
        now = self._clock.monotonic()
        actions = self.download.on_block_done(action.peer, action.block_hash, violation, now)
        if violation is None:
            actions += self.blocks.on_delivered(action.peer, now)
        return actions

    def on_compact_done(
        self, action: AddCompact | AddBlockTxs, violation: Violation | None
    ) -> list[Action]:
        now, block = self._clock.monotonic(), action.block
        if block.is_header_good or violation is None:
            return self.blocks.on_compact_done(action, violation, now)
        self.blocks.on_header_refused(action)
        if violation.rule is Rule.BLOCK_KNOWN_INVALID:
            # Its sender has not connected it yet, and need not know what we know.
            return []
        return self.headers.on_headers_added(action.peer, (block.header,), False, violation, now)

    def on_block_stored(self, node: HeaderNode, block: Block) -> list[Action]:
        return self.blocks.on_block_stored(node, block, self._clock.monotonic())

    def on_tx_done(self, action: SubmitTx, violation: Violation | None) -> list[Action]:
        now = self._clock.monotonic()
        return self.txs.on_tx_done(action.peer, action.wtxid, action.raw, violation, now)

    def on_tx_added(self, tx: Tx) -> list[Action]:
        return self.txs.on_tx_added(tx, self._clock.monotonic())

    def on_tip_changed(self) -> list[Action]:
        now = self._clock.monotonic()
        self.txs.try_orphans_later()
        return self.announcer.on_tip_changed(now) + self.download.fill(now)

    def on_header_added(self) -> list[Action]:
        return self.download.fill(self._clock.monotonic())

    def on_block_invalid(self, node: HeaderNode, violation: Violation) -> list[Action]:
        self.headers.forget_invalid()
        actions = self.download.on_block_invalid(node, violation)
        return actions + self.download.fill(self._clock.monotonic())

    def on_wake(self) -> list[Action]:
        """Announcements are due."""
        now = self._clock.monotonic()
        return self.txs.on_wake(now) + self.announcer.on_wake(now)

    def on_tick(self) -> list[Action]:
        """Deadlines are looked at."""
        now = self._clock.monotonic()
        self.blocks.on_tick(now)
        return self.headers.on_tick(now) + self.download.on_tick(now) + self.txs.on_tick(now)
