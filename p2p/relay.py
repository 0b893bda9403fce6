"""Passing on what is new: transactions by inventory, blocks by their headers.

Transactions are announced by wtxid in batches, after a short random delay that hides where they
started, and asked from one peer at a time. Pure: events in, actions out.

Source: docs/p2p.md, "inv, gettxs, txs" and "announce".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from consensus.errors import Missing, Violation
from consensus.hashes import Wtxid, hash_wtxid
from consensus.header_tree import HeaderNode
from consensus.params import TX_BYTES_MAX
from consensus.tx import Tx, decode_tx
from p2p.actions import Action, Blame, Send, ServeTxs, SubmitTx
from p2p.bounded import RecentCounts, RecentSet
from p2p.config import NetworkConfig
from p2p.messages import ANNOUNCE_MAX, INV_MAX, Announce, GetTxs, Inv
from p2p.orphans import Orphanage
from p2p.peer import Fault, is_to_blame
from p2p.ports import NodePort, RandomSource
from p2p.sync import PeerChain, is_on_chain

KNOWN_MAX = 20_000
"""Wtxids remembered of each peer."""
QUEUE_MAX = 5_000
"""Wtxids waiting to be announced to a peer, or to be asked from it."""
IN_FLIGHT_MAX = 1_000
"""Transactions asked from one peer."""
OTHERS_MAX = 8
"""Further peers remembered that announced a transaction which is under way."""
RECENT_MAX = 5_000
"""Wtxids announced to a peer that becomes ready."""
INV_INTERVAL_S = 0.01
"""Least time between two announcements to a peer: in a flood many payments share an `inv`, a `gettxs` and a
`txs`, which took 15 µs of CPU off each payment at each node; and a peer's budget of `inv` suffices."""
ANNOUNCE_INTERVAL_S = 0.1


class _TxPeer:
    """What concerns transactions of one peer."""

    def __init__(self, peer: int, is_inbound: bool) -> None:
        self.peer = peer
        self.is_inbound = is_inbound
        self.known: RecentSet[Wtxid] = RecentSet(KNOWN_MAX)
        """What it announced to us or we to it."""
        self.to_announce: RecentSet[Wtxid] = RecentSet(QUEUE_MAX)
        self.flush_at = inf
        self.next_flush = 0.0
        """When the next announcement may go out at the earliest."""
        self.to_ask: RecentSet[Wtxid] = RecentSet(QUEUE_MAX)
        self.in_flight: set[Wtxid] = set()
        self.late: RecentCounts[Wtxid] = RecentCounts(IN_FLIGHT_MAX)
        """What it did not send in time; it may still come."""


class _Want:
    """A transaction that is under way."""

    __slots__ = ("deadline", "others", "peer")

    def __init__(self, peer: int, deadline: float, others: list[int]) -> None:
        self.peer = peer
        self.deadline = deadline
        self.others = others


class TxRelay:
    """Decides which transaction to announce to whom, and to ask from whom."""

    def __init__(self, node: NodePort, config: NetworkConfig, rng: RandomSource) -> None:
        self.wake_at = inf
        """When `on_wake` is to be called."""
        self.orphans = Orphanage()
        self._node = node
        self._config = config
        self._rng = rng
        self._peers: dict[int, _TxPeer] = {}
        self._wants: dict[Wtxid, _Want] = {}
        """In the order of their deadlines."""
        self._submitting: dict[Wtxid, int] = {}
        self._recent: RecentSet[Wtxid] = RecentSet(RECENT_MAX)
        self._orphans_due = False
        self._retell_at = inf

    def on_ready(self, peer: int, now: float, is_inbound: bool = True) -> None:
        state = self._peers[peer] = _TxPeer(peer, is_inbound)
        for wtxid in self._recent:
            self._queue(state, wtxid, now)

    def on_gone(self, peer: int, now: float) -> list[Action]:
        state = self._peers.pop(peer, None)
        if state is None:
            return []
        for wtxid in [w for w, sender in self._submitting.items() if sender == peer]:
            del self._submitting[wtxid]
        return self._turn_to_others(state.in_flight, now)

    def _queue(self, state: _TxPeer, wtxid: Wtxid, now: float) -> None:
        state.to_announce.add(wtxid)
        if state.flush_at == inf:
            self._plan_flush(state, now)
            self.wake_at = min(self.wake_at, state.flush_at)

    def _plan_flush(self, state: _TxPeer, now: float) -> None:
        delayed = now + self._rng.uniform(*self._config.tx_delay_s)
        state.flush_at = max(delayed, state.next_flush)

    def on_wake(self, now: float) -> list[Action]:
        """Send the announcements that are due."""
        actions: list[Action] = []
        for state in self._peers.values():
            if now < state.flush_at:
                continue
            state.flush_at = inf
            batch = tuple(
                wtxid
                for wtxid in state.to_announce.take(INV_MAX)
                if wtxid not in state.known and self._node.tx_raw(wtxid) is not None
            )
            for wtxid in batch:
                state.known.add(wtxid)
            if batch:
                state.next_flush = now + INV_INTERVAL_S
                actions.append(Send(state.peer, Inv(batch)))
            if state.to_announce:
                self._plan_flush(state, now)
        self.wake_at = min((state.flush_at for state in self._peers.values()), default=inf)
        return actions

    def on_tx_added(self, tx: Tx, now: float) -> list[Action]:
        """The mempool took a transaction: announce it, and try again what waited for it."""
        self._recent.add(tx.wtxid)
        if self._retell_at == inf:
            self._plan_retelling(now)
        for state in self._peers.values():
            if tx.wtxid not in state.known:
                self._queue(state, tx.wtxid, now)
        return [
            SubmitTx(orphan.peer, orphan.tx.wtxid, orphan.tx.raw)
            for orphan in self.orphans.children_of(tx.txid)
        ]

    def _plan_retelling(self, now: float) -> None:
        self._retell_at = now + self._rng.uniform(*self._config.tx_retell_s)

    def _retell(self, now: float) -> list[Action]:
        """Announce everything that waits once more, to all: who refused it may take it by now.

        Whether a payment enters can depend on which came first, so what one peer refused may be
        left with us alone. All nodes do this, so it does not show where a payment began.
        """
        waiting = [wtxid for wtxid in self._recent if self._node.tx_raw(wtxid) is not None]
        self._retell_at = inf
        if waiting:
            self._plan_retelling(now)
        for state in self._peers.values():
            for wtxid in waiting:
                state.known.add(wtxid)
        return [
            Send(peer, Inv(tuple(waiting[start : start + INV_MAX])))
            for peer in self._peers
            for start in range(0, len(waiting), INV_MAX)
        ]

    def try_orphans_later(self) -> None:
        """Have all orphans tried on the next tick: their parents may have come in a block, and blocks can
        come fast."""
        self._orphans_due = True

    def _is_known(self, wtxid: Wtxid) -> bool:
        return wtxid in self._submitting or wtxid in self.orphans or self._node.has_tx(wtxid)

    def on_inv(self, peer: int, wtxids: Sequence[Wtxid], now: float) -> list[Action]:
        """A peer announced transactions."""
        state = self._peers[peer]
        for wtxid in wtxids:
            state.known.add(wtxid)
            want = self._wants.get(wtxid)
            if want is not None:
                if want.peer != peer and peer not in want.others:
                    self._remember_other(state, want.others)
            elif not self._is_known(wtxid):
                state.to_ask.add(wtxid)
        return self._ask(state, now)

    def _remember_other(self, state: _TxPeer, others: list[int]) -> None:
        """Whom we dialled is asked first, and has a place whatever crowd announced before: those who dial us
        can be many, say that they have what others have, and never send it."""
        dialled = sum(not self._peers[other].is_inbound for other in others if other in self._peers)
        if not state.is_inbound:
            others.insert(dialled, state.peer)
            del others[OTHERS_MAX:]
        elif len(others) < OTHERS_MAX:
            others.append(state.peer)

    def _ask(self, state: _TxPeer, now: float) -> list[Action]:
        room = min(IN_FLIGHT_MAX - len(state.in_flight), INV_MAX)
        batch: list[Wtxid] = []
        while state.to_ask and len(batch) < room:
            for wtxid in state.to_ask.take(room - len(batch)):
                if wtxid not in self._wants and not self._is_known(wtxid):
                    self._want(state, wtxid, [], now)
                    batch.append(wtxid)
        return [Send(state.peer, GetTxs(tuple(batch)))] if batch else []

    def _want(self, state: _TxPeer, wtxid: Wtxid, others: list[int], now: float) -> None:
        self._wants[wtxid] = _Want(state.peer, now + self._config.tx_timeout_s, others)
        state.in_flight.add(wtxid)

    def _turn_to_others(self, wtxids: Iterable[Wtxid], now: float) -> list[Action]:
        """Ask the next peer that announced each of `wtxids`; without one, give up."""
        asked: defaultdict[int, list[Wtxid]] = defaultdict(list)
        for wtxid in tuple(wtxids):
            want = self._wants.pop(wtxid)
            holder = self._peers.get(want.peer)
            if holder is not None:
                holder.in_flight.discard(wtxid)
                holder.late.add(wtxid)
            others = [peer for peer in want.others if peer in self._peers]
            if not others or self._is_known(wtxid):
                continue
            following = self._peers[others[0]]
            if len(following.in_flight) < IN_FLIGHT_MAX:
                self._want(following, wtxid, others[1:], now)
                asked[others[0]].append(wtxid)
            else:
                following.to_ask.add(wtxid)
        return [
            Send(peer, GetTxs(tuple(batch[start : start + INV_MAX])))
            for peer, batch in asked.items()
            for start in range(0, len(batch), INV_MAX)
        ]

    def on_gettxs(self, peer: int, wtxids: Sequence[Wtxid]) -> list[Action]:
        """Serve what was announced on this connection, so that nobody can probe the mempool."""
        known = self._peers[peer].known
        wanted = tuple(wtxid for wtxid in wtxids if wtxid in known)
        missing = tuple(wtxid for wtxid in wtxids if wtxid not in known)
        return [ServeTxs(peer, wanted, missing)]

    def on_txs(self, peer: int, raws: Sequence[bytes], now: float) -> list[Action]:
        """Transactions came in."""
        state = self._peers[peer]
        submit: list[Action] = []
        blame: list[Action] = []
        for raw in raws:
            wtxid = Wtxid(hash_wtxid(raw))
            want = self._wants.get(wtxid)
            if want is not None and want.peer == peer:
                del self._wants[wtxid]
                state.in_flight.discard(wtxid)
            elif not state.late.take(wtxid):
                blame = [Blame(peer, Fault.UNREQUESTED, "transaction")]
                continue
            if not self._is_known(wtxid):
                self._submitting[wtxid] = peer
                submit.append(SubmitTx(peer, wtxid, raw))
        return blame + self._ask(state, now) + submit

    def on_tx_done(
        self, peer: int, wtxid: Wtxid, raw: bytes, violation: Violation | None, now: float
    ) -> list[Action]:
        """The mempool took the transaction, or said why not."""
        self._submitting.pop(wtxid, None)
        if isinstance(violation, Missing):
            self.orphans.add(decode_tx(raw, TX_BYTES_MAX), peer, now)
            return []
        self.orphans.remove(wtxid)
        if violation is not None and is_to_blame(Fault.INVALID_TX, violation):
            return [Blame(peer, Fault.INVALID_TX, str(violation))]
        return []

    def on_notfound(self, peer: int, hashes: Sequence[bytes], now: float) -> list[Action]:
        in_flight = self._peers[peer].in_flight
        absent = [Wtxid(h) for h in hashes if h in in_flight]
        return self._turn_to_others(absent, now)

    def on_tick(self, now: float) -> list[Action]:
        """Turn to others for what did not come; try orphans again after a change of the tip."""
        overdue = []
        for wtxid, want in self._wants.items():
            if now < want.deadline:
                break
            overdue.append(wtxid)
        actions = self._turn_to_others(overdue, now)
        for state in self._peers.values():
            actions += self._ask(state, now)
        self.orphans.expire(now)
        if now >= self._retell_at:
            actions += self._retell(now)
        if self._orphans_due:
            self._orphans_due = False
            actions += [SubmitTx(o.peer, o.tx.wtxid, o.tx.raw) for o in self.orphans]
        return actions


class _AnnouncePeer:
    def __init__(self) -> None:
        self.sent: HeaderNode | None = None
        self.early: HeaderNode | None = None
        """What it got before it was connected here: it is told when that is so."""
        self.early_at = 0.0
        self.next_at = 0.0
        self.is_due = False


class BlockAnnouncer:
    """Tells peers of a new tip: at once, or together where blocks come fast."""

    def __init__(self, node: NodePort, chains: Mapping[int, PeerChain]) -> None:
        self.wake_at = inf
        self._node = node
        self._chains = chains
        self._peers: dict[int, _AnnouncePeer] = {}

    def on_ready(self, peer: int) -> None:
        self._peers[peer] = _AnnouncePeer()

    def on_gone(self, peer: int) -> None:
        self._peers.pop(peer, None)

    def on_tip_changed(self, now: float) -> list[Action]:
        for state in self._peers.values():
            state.is_due = True
        return self.on_wake(now)

    def on_wake(self, now: float) -> list[Action]:
        """Send the announcements that are due."""
        actions: list[Action] = []
        self.wake_at = inf
        for peer, state in self._peers.items():
            if not state.is_due:
                continue
            if now < state.next_at:
                self.wake_at = min(self.wake_at, state.next_at)
                continue
            state.is_due = False
            actions += self._announce(peer, state, now)
        return actions

    def _announce(self, peer: int, state: _AnnouncePeer, now: float) -> list[Action]:
        tip, chain = self._node.tip, self._chains[peer]
        if state.early is tip and not chain.has(tip):
            state.early = None
            state.next_at = now + ANNOUNCE_INTERVAL_S
            return [Send(peer, Announce((tip.header.raw,)))]
        if self._is_known(chain, state, tip):
            return []
        if chain.claimed > tip.work:
            return []
        found, node = [tip.header.raw], tip
        while node.parent is not None and not self._is_known(chain, state, node.parent):
            node = node.parent
            found.append(node.header.raw)
            if len(found) > ANNOUNCE_MAX:
                found = [tip.header.raw]
                break
        state.sent = tip
        state.next_at = now + ANNOUNCE_INTERVAL_S
        return [Send(peer, Announce(tuple(reversed(found))))]

    def take_early(self, peers: Iterable[int], node: HeaderNode, now: float) -> list[int]:
        """Those of `peers` that know the parent of `node` and not `node`; they are sent it now."""
        found = []
        parent = node.parent
        assert parent is not None
        for peer in peers:
            state, chain = self._peers[peer], self._chains[peer]
            if now < state.early_at or chain.claimed > node.work:
                continue
            if self._is_known(chain, state, parent) and not self._is_known(chain, state, node):
                state.sent = state.early = node
                state.early_at = now + ANNOUNCE_INTERVAL_S
                found.append(peer)
        return found

    def note_seen(self, peer: int, node: HeaderNode) -> None:
        """The peer sent us `node`, and need not be told of it."""
        state = self._peers.get(peer)
        if state is not None and (state.sent is None or node.work > state.sent.work):
            state.sent = node

    def _is_known(self, chain: PeerChain, state: _AnnouncePeer, node: HeaderNode) -> bool:
        for end in (state.sent, chain.told):
            if end is not None and is_on_chain(node, end):
                return True
        return node.parent is None or chain.has(node)
