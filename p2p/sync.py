"""Headers first: learning which chains peers have, from one of them at a time.

Pure: events in, actions out. Blocks follow in `p2p.download`.

Source: docs/p2p.md, "getheaders, headers" and "announce".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from consensus.block import Header, decode_header
from consensus.errors import Invalid, Missing, Premature, Violation
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderNode, Status
from p2p.actions import Action, AddHeaders, Blame, Close, Send
from p2p.config import NetworkConfig
from p2p.messages import HEADERS_MAX, LOCATOR_HASHES_MAX, GetHeaders, Headers, Hello
from p2p.peer import Fault, Reason, is_to_blame
from p2p.ports import NodePort
from p2p.presync import Presync, Step, least_work, shows_enough

UNCONNECTING_MAX = 10
"""Announcements in a row whose parent is unknown before they count as faults."""
PREMATURE_RETRY_S = 10.0
STALLS_MAX = 2
TURN_S = 60.0
"""How long one peer is the only one asked for headers. Else one that sends easy ones, an answer at the
last moment each time, would keep us from all others for days."""
CHANGES_MAX = 2
"""How often the chain that a peer shows may become another while it does: it may reorganise."""
TURN_LONGER_S = 10.0
"""Who brings headers that are stored stays the only one if the next come within this time."""


class PeerChain:
    """What one peer is known, or says, to have."""

    def __init__(self, peer: int, is_inbound: bool, claimed: int, tip_hash: BlockHash) -> None:
        self.peer = peer
        self.is_inbound = is_inbound
        self.claimed = claimed
        """Work that it says to have. Only a reason to ask, never to believe."""
        self.tip_hash: BlockHash | None = tip_hash
        """The end of its chain, while that is not in our tree."""
        self.best: HeaderNode | None = None
        """The header with the most work that it is known to have."""
        self.told: HeaderNode | None = None
        """The end of the last headers that it got from us as an answer."""
        self.unanswered = 0
        self.deadline: float | None = None
        """When the answer to the last getheaders is due."""
        self.retry_at = 0.0
        self.stalls = 0
        self.unconnecting = 0
        self.is_ahead = False
        """Its chain goes on with a header that is too new by our clock, which may be the wrong one."""
        self.presync: Presync | None = None
        """Its chain, while that has still to show enough work."""
        self.changes = 0
        """How often that became another chain meanwhile."""
        self.owed = 0
        """Work that it showed before it did. Who reorganises has more afterwards."""

    def has(self, node: HeaderNode) -> bool:
        """Whether the peer is known to have `node`."""
        best = self.best
        return (
            best is not None and best.height >= node.height and best.ancestor(node.height) is node
        )

    def learn(self, node: HeaderNode) -> None:
        """The peer has `node`."""
        if node.status is Status.INVALID:
            return
        if self.best is None or node.work > self.best.work:
            self.best = node
        self.claimed = max(self.claimed, node.work)


class HeaderSync:
    """Asks peers for headers and answers those who ask."""

    def __init__(self, node: NodePort, config: NetworkConfig) -> None:
        self.chains: dict[int, PeerChain] = {}
        """By peer. Read by those who fetch and announce blocks."""
        self._node = node
        self._config = config
        self._syncing: int | None = None
        """The peer from which a longer run of headers is being fetched."""
        self._turn_ends = 0.0
        """When another may be asked beside it."""

    def on_ready(self, peer: int, is_inbound: bool, hello: Hello, now: float) -> list[Action]:
        chain = PeerChain(peer, is_inbound, int.from_bytes(hello.work, "big"), hello.tip)
        self.chains[peer] = chain
        self._resolve(chain)
        return self._start(now)

    def on_gone(self, peer: int, now: float) -> list[Action]:
        self.chains.pop(peer, None)
        if self._syncing == peer:
            self._syncing = None
        return self._start(now)

    def _resolve(self, chain: PeerChain) -> None:
        """See whether the end of the peer's chain is in the tree by now."""
        if chain.tip_hash is not None:
            node = self._node.tree.get(chain.tip_hash)
            if node is not None:
                chain.tip_hash = None
                chain.claimed = node.work
                chain.learn(node)

    def _start(self, now: float) -> list[Action]:
        """Ask a peer whose claim is news to us, unless one is being asked and has its turn."""
        if self._syncing is not None and now < self._turn_ends:
            return []
        able = [
            chain
            for chain in self.chains.values()
            if self._is_news(chain) and chain.deadline is None and now >= chain.retry_at
        ]
        if not able:
            return []
        chain = max(able, key=lambda chain: (not chain.is_inbound, chain.claimed))
        self._syncing = chain.peer
        self._turn_ends = now + TURN_S
        return [self._ask(chain, self._node.tree.best_header, now)]

    def _is_news(self, chain: PeerChain) -> bool:
        """Whether the peer claims more work than any header that we know, or than our tip with a
        chain that we do not know: the blocks of the best header may be withheld from us."""
        if chain.claimed > self._node.tree.best_header.work:
            return True
        return chain.tip_hash is not None and chain.claimed > self._node.tip.work

    def _ask(
        self, chain: PeerChain, start: HeaderNode, now: float, end: BlockHash | None = None
    ) -> Action:
        """Ask for what follows `start`, or `end`, which builds on it and is not in the tree."""
        chain.unanswered += 1
        chain.deadline = now + self._config.headers_timeout_s
        locator = self._node.tree.locator(start)
        if end is not None and end != start.hash:
            locator = [end, *locator[: LOCATOR_HASHES_MAX - 1]]
        return Send(chain.peer, GetHeaders(tuple(locator)))

    def on_getheaders(self, peer: int, message: GetHeaders) -> list[Action]:
        """Answer with what follows on our best chain."""
        tree, tip = self._node.tree, self._node.tip
        start = tree.genesis
        for block_hash in message.locator:
            known = tree.get(block_hash)
            if known is not None and is_on_chain(known, tip):
                start = known
                break
        end = tip.ancestor(min(tip.height, start.height + HEADERS_MAX))
        if message.stop:
            stop = tree.get(BlockHash(message.stop))
            if stop is not None and start.height < stop.height <= end.height:
                end = end.ancestor(stop.height)
        found = []
        if (chain := self.chains.get(peer)) is not None:
            chain.told = end
        while end is not start:
            found.append(end.header.raw)
            assert end.parent is not None
            end = end.parent
        return [Send(peer, Headers(tuple(found[::-1])))]

    def on_headers(self, peer: int, raws: Sequence[bytes], now: float) -> list[Action]:
        """The answer to a getheaders."""
        chain = self.chains[peer]
        if not chain.unanswered:
            return [Blame(peer, Fault.UNREQUESTED, "headers")]
        chain.unanswered -= 1
        chain.deadline = None
        chain.stalls = 0
        if not raws:
            return self._finish(chain, now)
        return self._add(chain, raws, True, now)

    def on_announce(self, peer: int, raws: Sequence[bytes], now: float) -> list[Action]:
        return self._add(self.chains[peer], raws, False, now)

    def _add(
        self, chain: PeerChain, raws: Sequence[bytes], is_answer: bool, now: float
    ) -> list[Action]:
        peer = chain.peer
        headers = tuple(map(decode_header, raws))
        for parent, child in pairwise(headers):
            if child.previous != parent.hash:
                return [Blame(peer, Fault.INVALID_HEADER, "headers that do not follow each other")]
        try:
            if is_answer and chain.presync is not None:
                return self._read(chain, chain.presync, headers, now)
            if shows_enough(self._node, headers):
                return [AddHeaders(peer, headers, is_answer)]
            if not is_answer:
                return self._unconnecting(chain, headers[-1].hash, is_answer, now)
            unknown = [header for header in headers if self._node.tree.get(header.hash) is None]
            start = self._node.tree.get(unknown[0].previous)
            assert start is not None
            chain.presync = Presync(start)
            return self._read(chain, chain.presync, unknown, now, len(headers))
        except Invalid as error:
            return [Blame(peer, Fault.INVALID_HEADER, str(error))]

    def _read(
        self, chain: PeerChain, presync: Presync, headers: Sequence[Header], now: float,
        count: int = 0,
    ) -> list[Action]:  # fmt: skip
        """`count`: how many headers the answer had, with those before `headers` that are known."""
        is_full = max(count, len(headers)) == HEADERS_MAX
        match presync.take(headers, max(least_work(self._node), chain.owed), is_full):
            case Step.ASK:
                if self._is_too_much(chain.peer, presync):
                    return self._finish(chain, now)
                if self._syncing is None:
                    self._syncing = chain.peer
                return [self._ask(chain, presync.start, now, presync.end)]
            case Step.STORE:
                return [AddHeaders(chain.peer, tuple(headers), True)]
            case Step.LAST:
                chain.presync = None
                chain.changes = chain.owed = 0
                chain.best = None  # it left the chain on which we met it
                return [AddHeaders(chain.peer, tuple(headers), True)]
            case Step.GIVE_UP:
                has_less = presync.work < chain.owed
                return self._different(chain) * has_less + self._finish(chain, now)
            case Step.DIFFERENT:
                return self._on_change(chain, presync, headers, now)

    def _different(self, chain: PeerChain) -> list[Action]:
        return [Blame(chain.peer, Fault.UNCONNECTING, "another chain")]

    def _on_change(
        self, chain: PeerChain, presync: Presync, headers: Sequence[Header], now: float
    ) -> list[Action]:
        """The chain is another than it was: read it anew, from what came now."""
        chain.presync = None
        chain.changes += 1
        chain.owed = max(chain.owed, presync.work)
        if chain.changes > CHANGES_MAX:
            return self._different(chain) + self._finish(chain, now)
        return self._add(chain, [header.raw for header in headers], True, now)

    def _is_too_much(self, peer: int, presync: Presync) -> bool:
        """Whether all chains that show work take too much memory, and another is worth more."""
        showing = {
            other.peer: other.presync for other in self.chains.values() if other.presync is not None
        }
        if sum(map(len, showing.values())) <= self._config.presync_answers_max:
            return False
        rivals = [(each.worth, -other) for other, each in showing.items() if not each.is_enough]
        return not presync.is_enough and (presync.worth, -peer) < max(rivals)

    def on_headers_added(
        self, peer: int, headers: Sequence[Header], is_answer: bool, violation: Violation | None,
        now: float,
    ) -> list[Action]:  # fmt: skip
        """The ledger took all `headers`, or those before the one that broke a rule."""
        chain = self.chains.get(peer)
        if chain is None:
            return []
        last = self._last_known(headers)
        # Who sends the same headers again and again is not asked for more.
        is_news = last is not None and (chain.best is None or last.work > chain.best.work)
        if last is not None:
            chain.learn(last)
            chain.unconnecting = 0
            chain.is_ahead = False
        for other in self.chains.values():
            self._resolve(other)
        if violation is not None and is_to_blame(Fault.INVALID_HEADER, violation):
            return [Blame(peer, Fault.INVALID_HEADER, str(violation))]
        if isinstance(violation, Premature):
            chain.is_ahead = True
            chain.retry_at = now + PREMATURE_RETRY_S
            chain.claimed = max(chain.claimed, self._node.tree.best_header.work + 1)
            if self._syncing == peer:
                self._syncing = None
            return self._start(now)
        if isinstance(violation, Missing):
            return self._unconnecting(chain, headers[-1].hash, is_answer, now)
        if not is_answer:
            return self._start(now)
        if chain.presync is not None and last is not None:
            return [self._ask(chain, last, now)]
        if len(headers) == HEADERS_MAX and last is not None and is_news:
            self._syncing = peer
            self._turn_ends = max(self._turn_ends, now + TURN_LONGER_S)
            return [self._ask(chain, last, now)]
        return self._finish(chain, now)

    def _last_known(self, headers: Sequence[Header]) -> HeaderNode | None:
        found = (self._node.tree.get(header.hash) for header in reversed(headers))
        return next((node for node in found if node is not None), None)

    def _unconnecting(
        self, chain: PeerChain, end: BlockHash, is_answer: bool, now: float
    ) -> list[Action]:
        if is_answer:
            blame: list[Action] = [Blame(chain.peer, Fault.UNCONNECTING, "answer")]
            return blame + self._finish(chain, now)
        chain.unconnecting += 1
        chain.tip_hash = end
        # What it announces is beyond what we know, so it probably has more.
        chain.claimed = max(chain.claimed, self._node.tree.best_header.work + 1)
        # What builds on a header that is too new for us is nobody's fault: else a node whose clock is
        # slow would send all its peers away. Nor is anybody to blame while a question of ours got no
        # answer in time: perhaps no question is heard, and so nothing that they announce connects.
        is_excused = chain.is_ahead or any(other.stalls for other in self.chains.values())
        too_often = chain.unconnecting > UNCONNECTING_MAX and not is_excused
        found: list[Action] = [Blame(chain.peer, Fault.UNCONNECTING)] if too_often else []
        return found + self._start(now)

    def _finish(self, chain: PeerChain, now: float) -> list[Action]:
        """The peer has no more headers for us, whatever it claimed."""
        chain.presync = None
        chain.owed = 0
        chain.claimed = chain.best.work if chain.best else 0
        chain.tip_hash = None
        if self._syncing == chain.peer:
            self._syncing = None
        return self._start(now)

    def on_tick(self, now: float) -> list[Action]:
        """Turn to another peer where one does not answer."""
        actions: list[Action] = []
        for chain in self.chains.values():
            if chain.deadline is not None and now >= chain.deadline:
                chain.deadline = None
                chain.presync = None
                chain.retry_at = now + self._config.headers_timeout_s
                chain.stalls += 1
                if self._syncing == chain.peer:
                    self._syncing = None
                if chain.stalls >= STALLS_MAX:
                    actions.append(Close(chain.peer, Reason.STALLED))
        return actions + self._start(now)

    def forget_invalid(self) -> None:
        """Some headers turned out to be invalid: nobody has them for us."""
        for chain in self.chains.values():
            if chain.best is not None and chain.best.status is Status.INVALID:
                chain.best = None
                chain.claimed = 0


def is_on_chain(node: HeaderNode, tip: HeaderNode) -> bool:
    """Whether `node` is `tip` or comes before it."""
    return node.height <= tip.height and tip.ancestor(node.height) is node
