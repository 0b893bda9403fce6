"""Blocks, from several peers at once, in whatever order they come.

Each block is asked from one peer at a time. A peer that does not deliver loses its blocks to others.
Pure: events in, actions out.

Source: docs/p2p.md, "getblocks, block".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from consensus.errors import DecodeError, Violation
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderNode, Status
from p2p.actions import AcceptBlock, Action, Blame, Close, Send
from p2p.bounded import RecentCounts
from p2p.config import NetworkConfig
from p2p.messages import GETBLOCKS_MAX, GetBlocks, block_hash_of
from p2p.peer import Fault, Reason, is_to_blame
from p2p.ports import NodePort
from p2p.sync import PeerChain

WINDOW_HEIGHTS = 1_024
"""How far above the tip blocks are fetched."""
DOWNLOADING_MIN = 16
"""Blocks under way from which on a node counts as catching up."""
STALLS_MAX = 3
ALONE_FACTOR = 6
"""How many times longer a peer may take for blocks that nobody else has."""
TAKEOVER_S = 2.0
LATE_MAX = 128
SOURCES_MAX = 4 * WINDOW_HEIGHTS


class _Request:
    """A block that is under way."""

    __slots__ = ("arrived", "asked_at", "node", "peer")

    def __init__(self, node: HeaderNode, peer: int, asked_at: float) -> None:
        self.node = node
        self.peer = peer
        self.asked_at = asked_at
        self.arrived = False
        """It is being stored."""


class _Supplier:
    """A peer that blocks may be asked from."""

    def __init__(self, chain: PeerChain) -> None:
        self.chain = chain
        self.window = GETBLOCKS_MAX
        self.in_flight: dict[BlockHash, HeaderNode] = {}
        self.plan: deque[HeaderNode] = deque()
        """Headers on its chain whose blocks are still to be asked for, lowest first."""
        self.planned_to: HeaderNode | None = None
        self.late: RecentCounts[BlockHash] = RecentCounts(LATE_MAX)
        """What it was asked for and lost to another, and how often: each answer may still come."""
        self.lacks: dict[BlockHash, None] = {}
        """What it was asked for in vain."""
        self.progress_at = 0.0
        self.resting_until = 0.0
        self.stalls = 0
        self.accepting = 0

    def replan(self) -> None:
        self.plan.clear()
        self.planned_to = None


class BlockDownload:
    """Decides which block to ask from whom."""

    def __init__(
        self, node: NodePort, chains: Mapping[int, PeerChain], config: NetworkConfig
    ) -> None:
        self._node = node
        self._chains = chains
        self._config = config
        self._suppliers: dict[int, _Supplier] = {}
        self._requests: dict[BlockHash, _Request] = {}
        self._accepting: set[BlockHash] = set()
        self._sources: dict[BlockHash, int] = {}
        """Who sent a stored block, for the case that it is found invalid later."""
        self.held: set[BlockHash] = set()
        """Blocks that are not to be asked for now: they are being put together."""

    @property
    def is_catching_up(self) -> bool:
        return len(self._requests) >= DOWNLOADING_MIN

    def in_flight(self, peer: int) -> int:
        supplier = self._suppliers.get(peer)
        return len(supplier.in_flight) if supplier else 0

    def on_ready(self, peer: int) -> None:
        self._suppliers[peer] = _Supplier(self._chains[peer])

    def on_gone(self, peer: int) -> None:
        supplier = self._suppliers.pop(peer, None)
        if supplier is not None:
            self._release(supplier, list(supplier.in_flight))

    def fill(self, now: float) -> list[Action]:
        """Ask for what can be asked for. Call after anything that may have changed it."""
        actions: list[Action] = []
        for supplier in self._suppliers.values():
            actions += self._ask(supplier, now)
        return actions

    def _ask(self, supplier: _Supplier, now: float) -> list[Action]:
        room = supplier.window - len(supplier.in_flight)
        # In batches: a request for every single block would cost a message each.
        if room <= 0 or room < supplier.window // 2 or now < supplier.resting_until:
            return []
        best = supplier.chain.best
        if best is None or best.work <= self._node.tip.work or best.status is Status.INVALID:
            return []
        wanted = self._next_blocks(supplier, best, room)
        if not wanted:
            return []
        if not supplier.in_flight:
            supplier.progress_at = now
        for node in wanted:
            self._requests[node.hash] = _Request(node, supplier.chain.peer, now)
            supplier.in_flight[node.hash] = node
        return [Send(supplier.chain.peer, GetBlocks(tuple(node.hash for node in wanted)))]

    def _next_blocks(self, supplier: _Supplier, best: HeaderNode, room: int) -> list[HeaderNode]:
        wanted: list[HeaderNode] = []
        if len(supplier.plan) < room:
            self._extend_plan(supplier, best)
        plan = supplier.plan
        while plan and len(wanted) < room:
            node = plan.popleft()
            if (
                node.status is Status.HEADER
                and node.hash not in self._requests
                and node.hash not in self.held
                and node.hash not in supplier.lacks
            ):
                wanted.append(node)
        return wanted

    def _extend_plan(self, supplier: _Supplier, best: HeaderNode) -> None:
        """Plan up to the end of the window. Costs a step for each header newly in it."""
        tip = self._node.tip
        end = best.ancestor(min(best.height, tip.height + WINDOW_HEIGHTS))
        start = supplier.planned_to
        if start is end:
            return
        if start is None or start.height > end.height or end.ancestor(start.height) is not start:
            start = self._node.tree.fork(tip, end)
            supplier.plan.clear()
        supplier.planned_to = node = end
        found = []
        while node.height > start.height:
            if node.status is Status.HEADER:
                found.append(node)
            assert node.parent is not None
            node = node.parent
        supplier.plan.extend(reversed(found))

    def release(self, block_hash: BlockHash) -> None:
        """A block that was held may be asked for again."""
        self.held.discard(block_hash)
        for supplier in self._suppliers.values():
            supplier.replan()

    def _release(self, supplier: _Supplier, hashes: Iterable[BlockHash]) -> None:
        """Others may be asked for `hashes` now."""
        released = False
        for block_hash in hashes:
            supplier.in_flight.pop(block_hash, None)
            request = self._requests.get(block_hash)
            if request is not None and request.peer == supplier.chain.peer:
                del self._requests[block_hash]
                released = True
        if released:
            for other in self._suppliers.values():
                other.replan()

    def on_block(self, peer: int, raw: bytes, now: float) -> list[Action]:
        """A block came in."""
        supplier = self._suppliers[peer]
        try:
            block_hash = block_hash_of(raw)
        except DecodeError as error:
            return [Blame(peer, Fault.MALFORMED, str(error))]
        request = self._requests.get(block_hash)
        if block_hash in supplier.in_flight:
            del supplier.in_flight[block_hash]
            supplier.stalls = 0
            supplier.window = min(2 * supplier.window, GETBLOCKS_MAX)
        elif not supplier.late.take(block_hash):
            return [Blame(peer, Fault.UNREQUESTED, "block")]
        supplier.progress_at = now
        if block_hash in self._accepting or self._node.has_block(block_hash):
            if request is not None and request.peer == peer:
                del self._requests[block_hash]
            return self._ask(supplier, now)
        if request is not None and request.peer == peer:
            request.arrived = True
        supplier.accepting += 1
        self._accepting.add(block_hash)
        self._remember_source(block_hash, peer)
        return [*self._ask(supplier, now), AcceptBlock(peer, block_hash, raw)]

    def _remember_source(self, block_hash: BlockHash, peer: int) -> None:
        self._sources[block_hash] = peer
        if len(self._sources) > SOURCES_MAX:
            del self._sources[next(iter(self._sources))]

    def on_block_done(
        self, peer: int, block_hash: BlockHash, violation: Violation | None, now: float
    ) -> list[Action]:
        """The ledger stored the block, or said why not."""
        self._accepting.discard(block_hash)
        request = self._requests.get(block_hash)
        if request is not None and request.peer == peer:
            del self._requests[block_hash]
        supplier = self._suppliers.get(peer)
        if supplier is not None:
            supplier.accepting -= 1
            supplier.progress_at = now
        actions: list[Action] = []
        if violation is not None:
            self._sources.pop(block_hash, None)
            if supplier is not None:
                _remember(supplier.lacks, block_hash)
            for other in self._suppliers.values():
                other.replan()
            if is_to_blame(Fault.INVALID_BLOCK, violation):
                actions.append(Blame(peer, Fault.INVALID_BLOCK, str(violation)))
        return actions + self.fill(now)

    def on_block_invalid(self, node: HeaderNode, violation: Violation) -> list[Action]:
        """A stored block broke a rule when it was connected."""
        for supplier in self._suppliers.values():
            supplier.replan()
        peer = self._sources.pop(node.hash, None)
        if peer is None or not is_to_blame(Fault.INVALID_BLOCK, violation):
            return []
        return [Blame(peer, Fault.INVALID_BLOCK, str(violation))]

    def on_notfound(self, peer: int, hashes: Sequence[bytes], now: float) -> list[Action]:
        supplier = self._suppliers[peer]
        absent = [BlockHash(h) for h in hashes if h in supplier.in_flight]
        if not absent:
            return []
        for block_hash in absent:
            _remember(supplier.lacks, block_hash)
            # It may answer another question, for what is missing of the block; then this one still comes.
            supplier.late.add(block_hash)
        self._release(supplier, absent)
        return self.fill(now)

    def on_tick(self, now: float) -> list[Action]:
        """Move what does not come to other peers."""
        actions: list[Action] = []
        for supplier in self._suppliers.values():
            waited = now - supplier.progress_at
            if (
                supplier.in_flight
                and not supplier.accepting
                and waited >= self._config.block_timeout_s
            ):
                actions += self._on_stall(supplier, waited, now)
        return actions + self._take_over(now) + self.fill(now)

    def _on_stall(self, supplier: _Supplier, waited: float, now: float) -> list[Action]:
        first = min(supplier.in_flight.values(), key=lambda node: node.height)
        others = (s for s in self._suppliers.values() if s is not supplier)
        if not any(self._can_supply(other, first, now) for other in others):
            if waited < ALONE_FACTOR * self._config.block_timeout_s:
                return []
            return [Close(supplier.chain.peer, Reason.STALLED)]
        supplier.stalls += 1
        supplier.window = 1
        supplier.resting_until = now + self._config.block_timeout_s
        lost = list(supplier.in_flight)
        for block_hash in lost:
            supplier.late.add(block_hash)
        self._release(supplier, lost)
        if supplier.stalls >= STALLS_MAX:
            return [Close(supplier.chain.peer, Reason.STALLED)]
        return []

    def _can_supply(self, supplier: _Supplier, node: HeaderNode, now: float) -> bool:
        return (
            now >= supplier.resting_until
            and node.hash not in supplier.lacks
            and supplier.chain.has(node)
        )

    def _take_over(self, now: float) -> list[Action]:
        """Give the block that holds up the window to a peer that has nothing to do."""
        waiting = [request for request in self._requests.values() if not request.arrived]
        if not waiting:
            return []
        first = min(waiting, key=lambda request: request.node.height)
        if now - first.asked_at < TAKEOVER_S:
            return []
        end = self._node.tip.height + WINDOW_HEIGHTS
        for supplier in self._suppliers.values():
            best = supplier.chain.best
            if (
                not supplier.in_flight
                and best is not None
                and best.height > end
                and self._can_supply(supplier, first.node, now)
            ):
                block_hash = first.node.hash
                holder = self._suppliers[first.peer]
                holder.late.add(block_hash)
                del holder.in_flight[block_hash]
                self._requests[block_hash] = _Request(first.node, supplier.chain.peer, now)
                supplier.in_flight[block_hash] = first.node
                supplier.progress_at = now
                return [Send(supplier.chain.peer, GetBlocks((block_hash,)))]
        return []


def _remember(hashes: dict[BlockHash, None], block_hash: BlockHash) -> None:
    """Add to a set of which the oldest are forgotten."""
    hashes[block_hash] = None
    if len(hashes) > LATE_MAX:
        del hashes[next(iter(hashes))]
