"""Compact blocks: who sends them at once, and what becomes of one that came.

A block is passed on as soon as its header and its root are checked, before it is connected. So it may
be invalid, and nobody is blamed for that; whoever has connected it says so by `announce`, and only then
is it fetched whole, where it could not be put together. Pure: events in, actions out.

Source: docs/p2p.md, "compactmode", "compact, getblocktxs, blocktxs".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from consensus.block import Block, decode_header
from consensus.errors import DecodeError, Violation
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderNode, Status
from p2p.actions import Action, AddBlockTxs, AddCompact, AddHeaders, Blame, Send
from p2p.bounded import RecentCounts, RecentSet
from p2p.compact import Reconstruction, can_be_compact, make_compact
from p2p.config import NetworkConfig
from p2p.download import BlockDownload
from p2p.messages import (
    BLOCK_TXS_MAX,
    COMPACT_VERSION,
    FRAME_BYTES_MAX,
    SALT_BYTES,
    BlockTxs,
    Compact,
    CompactMode,
    GetBlockTxs,
    NotFound,
)
from p2p.peer import Fault
from p2p.ports import NodePort, RandomSource
from p2p.relay import BlockAnnouncer
from p2p.serving import LENGTH_BYTES

CHOSEN_MAX = 3
"""Peers that are asked to send new blocks at once."""
CHOOSE_INTERVAL_S = 10.0
"""Least time between two changes of that choice."""
ATTEMPTS_MAX = 8
"""Blocks being put together at once, counted once for each peer that sent one."""
ATTEMPTS_PER_BLOCK_MAX = 3
SERVED_MAX = 3
"""The last blocks of which transactions are handed out."""
LATE_MAX = 32
BLOCK_TXS_BYTES_MAX = FRAME_BYTES_MAX - 64
"""Of transactions in one answer, with the length before each."""


class _Peer:
    """What concerns compact blocks of one peer."""

    def __init__(self, is_inbound: bool) -> None:
        self.is_inbound = is_inbound
        self.wants = False
        """It asked us for compact blocks."""
        self.was_chosen = False
        """We asked it for them, now or earlier."""
        self.served: RecentSet[BlockHash] = RecentSet(LATE_MAX)
        """Blocks of which it was given transactions: once each."""
        self.late: RecentCounts[BlockHash] = RecentCounts(LATE_MAX)
        """Blocks of which it was asked for transactions in vain; they may still come."""


class _Attempt:
    """A block that one peer sent and that is being put together."""

    def __init__(self, block: Reconstruction) -> None:
        self.block = block
        self.deadline = inf
        """When the transactions that were asked for have to be there."""


class BlockRelay:
    """Sends, receives and completes compact blocks."""

    def __init__(
        self, node: NodePort, announcer: BlockAnnouncer, download: BlockDownload,
        config: NetworkConfig, rng: RandomSource,
    ) -> None:  # fmt: skip
        self._node = node
        self._announcer = announcer
        self._download = download
        self._config = config
        self._rng = rng
        self._peers: dict[int, _Peer] = {}
        self._chosen: dict[int, None] = {}
        """Who brought a block last stands last."""
        self._choose_at = 0.0
        self._attempts: dict[tuple[BlockHash, int], _Attempt] = {}
        self._held_until: dict[BlockHash, float] = {}
        """When a block may be fetched whole though it is still being put together. The first that was asked
        for the rest decides: else peers that withhold one after the other would keep it from us for ever."""
        self._served: dict[BlockHash, tuple[bytes, ...]] = {}
        """Their transactions but the coinbase."""

    # Whom we ask for blocks at once

    def on_ready(self, peer: int, is_inbound: bool, version: int) -> list[Action]:
        if version < COMPACT_VERSION:
            return []
        self._peers[peer] = _Peer(is_inbound)
        return self._choose(peer) if len(self._chosen) < CHOSEN_MAX else []

    def on_gone(self, peer: int) -> list[Action]:
        self._peers.pop(peer, None)
        for key in [key for key in self._attempts if key[1] == peer]:
            self._end(key)
        if peer not in self._chosen:
            return []
        del self._chosen[peer]
        rest = [other for other in self._peers if other not in self._chosen]
        # One that we opened first: it was not chosen by an attacker.
        rest.sort(key=lambda other: self._peers[other].is_inbound)
        return self._choose(rest[0]) if rest else []

    def _choose(self, peer: int) -> list[Action]:
        self._chosen[peer] = None
        self._peers[peer].was_chosen = True
        return [Send(peer, CompactMode(1))]

    def on_delivered(self, peer: int, now: float) -> list[Action]:
        """A peer brought a block that was new to us: the next may come from it soon, too."""
        if peer in self._chosen:
            del self._chosen[peer]
            self._chosen[peer] = None
            return []
        if peer not in self._peers or self._download.is_catching_up or now < self._choose_at:
            return []
        self._choose_at = now + CHOOSE_INTERVAL_S
        ended: list[Action] = []
        if len(self._chosen) >= CHOSEN_MAX:
            last = self._replaceable(self._peers[peer].is_inbound)
            del self._chosen[last]
            ended = [Send(last, CompactMode(0))]
        return ended + self._choose(peer)

    def _replaceable(self, by_inbound: bool) -> int:
        """Who has to make room. The only one that we opened stays, if others connected to us."""
        opened = [peer for peer in self._chosen if not self._peers[peer].is_inbound]
        spare = opened[0] if by_inbound and len(opened) == 1 else None
        return next(peer for peer in self._chosen if peer != spare)

    # Sending

    def on_mode(self, peer: int, wanted: int) -> list[Action]:
        state = self._peers.get(peer)
        if state is not None:
            state.wants = bool(wanted)
        return []

    def on_block_stored(self, node: HeaderNode, block: Block, now: float) -> list[Action]:
        """A block passed the rules that need no context: pass it on if it will be the next tip."""
        message: Compact | None = None
        for key in [key for key in self._attempts if key[0] == node.hash]:
            rebuilt = self._attempts[key].block
            # The root has shown that its ids are right: it can go on as it came.
            message = rebuilt.message if rebuilt.is_complete else message
            self._announcer.note_seen(key[1], node)
            self._end(key)
        if self._download.is_catching_up:
            return []
        if node.parent is not self._node.tip or not can_be_compact(block):
            return []
        wanting = [peer for peer, state in self._peers.items() if state.wants]
        unaware = self._announcer.take_early(wanting, node, now)
        if not unaware:
            return []
        self._served[node.hash] = tuple(tx.raw for tx in block.txs[1:])
        if len(self._served) > SERVED_MAX:
            del self._served[next(iter(self._served))]
        message = message or make_compact(block, self._rng.randbytes(SALT_BYTES))
        return [Send(peer, message) for peer in unaware]

    def on_getblocktxs(self, peer: int, message: GetBlockTxs) -> list[Action]:
        state, raws = self._peers.get(peer), self._served.get(message.hash, ())
        refusal: list[Action] = [Send(peer, NotFound((message.hash,)))]
        if state is None or message.indexes[-1] >= len(raws):
            return refusal
        # Once: an honest peer asks no second time, and the answer may be large.
        if message.hash in state.served:
            return refusal
        state.served.add(message.hash)
        wanted = tuple(raws[index] for index in message.indexes)
        if sum(map(len, wanted)) + LENGTH_BYTES * len(wanted) > BLOCK_TXS_BYTES_MAX:
            return refusal
        return [Send(peer, BlockTxs(message.hash, wanted))]

    # Receiving

    def on_compact(self, peer: int, message: Compact) -> list[Action]:
        """A block came. It is worth a try if it may become the tip; else its header will come again."""
        state = self._peers.get(peer)
        if state is None or not state.was_chosen:
            return [Blame(peer, Fault.UNREQUESTED, "compact block")]
        header = decode_header(message.header)
        known = self._node.tree.get(header.hash)
        if known is not None:
            self._announcer.note_seen(peer, known)
            if known.status is not Status.HEADER:
                return []
        parent = self._node.tree.get(header.previous)
        if parent is None:
            return [AddHeaders(peer, (header,), False)]
        if parent.status is not Status.STORED or self._download.is_catching_up:
            return []
        same = sum(block_hash == header.hash for block_hash, _ in self._attempts)
        key = header.hash, peer
        crowded = len(self._attempts) >= ATTEMPTS_MAX or same >= ATTEMPTS_PER_BLOCK_MAX
        if crowded or key in self._attempts or peer not in self._chosen:
            return []
        attempt = self._attempts[key] = _Attempt(Reconstruction(peer, message))
        if header.hash not in self._held_until:
            self._download.held.add(header.hash)
        return [AddCompact(peer, attempt.block)]

    def on_header_refused(self, action: AddCompact | AddBlockTxs) -> None:
        """The header of a compact block broke a rule, or has to wait."""
        key = action.block.hash, action.peer
        if key in self._attempts:
            self._end(key)

    def on_compact_done(
        self, action: AddCompact | AddBlockTxs, violation: Violation | None, now: float
    ) -> list[Action]:
        """The ledger took the block, or it is not complete, or it broke a rule."""
        block = action.block
        node = self._node.tree.get(block.hash)
        if node is not None:
            self._announcer.note_seen(block.peer, node)
        key = block.hash, block.peer
        attempt = self._attempts.get(key)
        if violation is None and block.is_complete:
            if attempt is not None:
                self._end(key)
            return self.on_delivered(block.peer, now) + self._download.fill(now)
        if attempt is None:  # it came from elsewhere meanwhile
            return []
        if violation is None and 0 < len(block.missing) <= BLOCK_TXS_MAX:
            attempt.deadline = now + self._config.compact_timeout_s
            self._held_until.setdefault(block.hash, attempt.deadline)
            return [Send(block.peer, GetBlockTxs(block.hash, block.missing))]
        self._end(key)
        return self._blame(action, violation) + self._download.fill(now)

    def _blame(self, action: AddCompact | AddBlockTxs, violation: Violation | None) -> list[Action]:
        """Who sent a block is not to blame for what only connecting it shows, nor for a root that does
        not fit: one of our own transactions may have the id of another."""
        if action.block.is_refused or isinstance(violation, DecodeError):
            return [Blame(action.peer, Fault.INVALID_BLOCK, str(violation))]
        return []

    def on_blocktxs(self, peer: int, message: BlockTxs) -> list[Action]:
        state = self._peers.get(peer)
        attempt = self._attempts.get((message.hash, peer))
        if state is None or attempt is None or attempt.deadline == inf:
            if state is not None and state.late.take(message.hash):
                return []
            return [Blame(peer, Fault.UNREQUESTED, "transactions of a block")]
        attempt.deadline = inf
        if len(message.transactions) != len(attempt.block.missing):
            self._end((message.hash, peer))
            return [Blame(peer, Fault.INVALID_BLOCK, "other transactions than asked for")]
        return [AddBlockTxs(peer, attempt.block, message.transactions)]

    def on_notfound(self, peer: int, hashes: Sequence[bytes], now: float) -> list[Action]:
        gone = [BlockHash(h) for h in hashes if (h, peer) in self._attempts]
        for block_hash in gone:
            self._end((block_hash, peer))
        return self._download.fill(now) if gone else []

    def on_tick(self, now: float) -> None:
        """Whoever does not send what is missing had its time: others may be asked for the block."""
        for key in [key for key, a in self._attempts.items() if now >= a.deadline]:
            self._end(key)
        for block_hash, until in self._held_until.items():
            if now >= until and block_hash in self._download.held:
                self._download.release(block_hash)

    def _end(self, key: tuple[BlockHash, int]) -> None:
        attempt = self._attempts.pop(key)
        block_hash, peer = key
        state = self._peers.get(peer)
        if state is not None and attempt.deadline < inf:
            state.late.add(block_hash)
        if not any(other == block_hash for other, _ in self._attempts):
            self._held_until.pop(block_hash, None)
            self._download.release(block_hash)
