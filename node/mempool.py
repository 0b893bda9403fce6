"""The mempool: transactions that wait to be mined, each valid in the next block on the present tip.

Synchronous, and without I/O.

transaction in:  submit → decode → Admission.judge → add → event
block in:        block_connected: mined out, conflicts out
reorganisation:  block_disconnected, …, block_connected, …, tip_changed: what was mined comes back
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_

from consensus.block import Block
from consensus.errors import Invalid, Missing, Premature, Refused, Rule, Violation
from consensus.hashes import LockHash, Txid, Wtxid
from consensus.keys import SigCheck
from consensus.params import EXPIRY_MARGIN, TX_BYTES_MAX
from consensus.tx import Coin, OutPoint, Tx, decode_tx, outpoint
from consensus.tx_rules import CheckedTx, Spend, is_delayed
from node.events import Emit, Removal, TxAdded, TxRemoved
from node.fees import FeeEstimator, Floor, RateHistogram, estimate
from node.mempool_admission import Admission, ChainView, Verdict
from node.mempool_entry import Entry, ancestors_of, with_descendants
from node.mempool_file import Kept, dump_file, load_file
from node.mempool_graph import Graph
from node.mempool_return import Returning
from node.policy import Policy, rate_of

REFUSED_MAX = 50_000
"""How many refusals are remembered; the oldest is forgotten first."""
TIDIED_PER_TURN = 500
"""Confirmed entries that the indexes are rid of before others get a turn: half a millisecond."""
_NOT_REMEMBERED = (
    Rule.ALREADY_IN_MEMPOOL, Rule.ALREADY_CONFIRMED, Rule.RECENTLY_REFUSED, Rule.FEE_ABSURD,
)  # fmt: skip
"""Refusals that say something of the moment or of the caller, not of the transaction."""


class Mempool:
    """Transactions that wait, under the limits of a policy."""

    def __init__(
        self, view: ChainView, policy: Policy, clock: Callable[[], float], emit: Emit,
        verify: Callable[[Sequence[SigCheck]], bool],
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970. `verify` checks signatures at once, and may remember
        them so that the block they come in need not check them again."""
        self.policy = policy
        self._view = view
        self._clock = clock
        self._emit = emit
        self._graph = Graph()
        self._admission = Admission(view, self._graph, policy, verify)
        self._refused: dict[Wtxid, str] = {}
        self._returning = Returning()
        self._floor = Floor(policy.incremental_fee_rate, policy.floor_half_life_s)
        self._waiting = RateHistogram()
        self._past = FeeEstimator()
        self.sequence = 1
        """Number of the next change that is told and no block's doing. Whoever hears of one finds its own by
        one lower."""

    def set_policy(self, policy: Policy) -> None:
        """Judge by another policy from now on, and drop what it has no room for."""
        self.policy = policy
        self._admission.set_policy(policy)
        self._trim()

    # Questions

    def __len__(self) -> int:
        return len(self._graph)

    def __contains__(self, txid: object) -> bool:
        return txid in self._graph.entries

    def get(self, txid: Txid) -> Entry | None:
        return self._graph.entries.get(txid)

    def by_wtxid(self, wtxid: Wtxid) -> Entry | None:
        return self._graph.by_wtxid.get(wtxid)

    def known_spend(self, checked: CheckedTx, coins: Sequence[Coin | None]) -> Spend | None:
        """What is known of a transaction in a block that spends `coins`, without asking the rules.

        Its signatures were verified when it came, or by a block that it was in. None unless it
        waits here with the same witness and no rule that it keeps looks at heights, times or
        supplies: then its coins, which its outpoints name with all that they hold, are all that
        counts.
        """
        entry = self._graph.by_wtxid.get(checked.tx.wtxid)
        if entry is None or entry.contextual or entry.tx.body.expiry or entry.supplies:
            return None
        if all(map(is_, coins, entry.coins)):  # as a rule they are kept: the very same objects
            return Spend(entry.fee, (), entry.coins)
        found: list[Coin] = []
        for coin, former in zip(coins, entry.coins, strict=True):
            # It may stand in another block than when the payment came, and so be another coin.
            if coin is None or coin.delayed or coin.lock != former.lock:
                return None
            assert (coin.asset, coin.amount) == (former.asset, former.amount)
            found.append(coin)
        return Spend(entry.fee, (), tuple(found))

    def entries(self) -> Iterator[Entry]:
        """Every entry in order of arrival, parents before their children."""
        return iter(self._graph.entries.values())

    def ranked(self) -> Iterator[Entry]:
        """Every entry, best for a miner first."""
        return iter(self._graph.ranking)

    def ancestors(self, txid: Txid) -> list[Entry]:
        """The unconfirmed transactions that it builds on, in order of arrival."""
        entry = self._graph.entries.get(txid)
        found = ancestors_of(entry.parents) if entry else ()
        return sorted(found, key=lambda other: other.sequence)

    def descendants(self, txid: Txid) -> list[Entry]:
        """The transactions that build on it, in order of arrival."""
        entry = self._graph.entries.get(txid)
        found = with_descendants(entry.children) if entry else ()
        return sorted(found, key=lambda other: other.sequence)

    def touching(self, lock: LockHash) -> list[Entry]:
        """Entries that pay to `lock` or spend from it, in order of arrival."""
        return self._graph.touching(lock)

    def spender(self, spent: OutPoint) -> Entry | None:
        return self._graph.spender(spent)

    def coin(self, spent: OutPoint) -> Coin | None:
        """A coin that an entry makes and no entry spends, as if it were mined in the next block."""
        if self._graph.spender(spent) is not None:
            return None
        return self._graph.coin(spent, self._view.context().height)

    def is_recently_refused(self, wtxid: Wtxid) -> bool:
        """Whether it was refused since the tip changed last. By wtxid, since a bad witness says
        nothing of the good one that the same txid may come with."""
        return wtxid in self._refused

    @property
    def version(self) -> int:
        """Another number whenever the content changed."""
        return self._graph.version

    @property
    def is_returning(self) -> bool:
        """Whether some of what a reorganisation took out is still to be looked at again."""
        return bool(self._returning)

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory taken."""
        return self._graph.size_bytes

    @property
    def cost(self) -> int:
        return self._graph.cost

    @property
    def fees(self) -> int:
        return self._graph.fees

    @property
    def floor_rate(self) -> int:
        """The fee rate, base units per 1 000 cost, below which nothing enters."""
        now, size_max = self._clock(), self.policy.size_bytes_max
        return max(self.policy.min_fee_rate, self._floor.rate(now, self.size_bytes, size_max))

    def estimate_fee_rate(self, target_blocks: int) -> int:
        """Base units per 1 000 cost to pay for being mined within so many blocks."""
        return estimate(target_blocks, self._waiting, self._past, self.floor_rate)

    def waiting_costs(self) -> list[tuple[int, int]]:
        """Fee rates, ascending, and how much cost waits that pays from there to the next."""
        return self._waiting.costs()

    # Transactions in

    def submit(self, raw: bytes, *, retry: bool = False, fee_rate_max: int | None = None) -> Entry:
        """Check a transaction by every rule and let it in.

        `retry`: check again what was refused since the tip changed last. `fee_rate_max` guards the
        sender against a fee that he did not mean, in base units per 1 000 cost.
        Raises: DecodeError, Invalid, Missing, Premature, Refused. Nothing changes then, except that
        `mempool-full` may have pushed out others that paid even less.
        """
        tx = decode_tx(raw, TX_BYTES_MAX)
        if not retry and tx.wtxid in self._refused:
            raise Refused(Rule.RECENTLY_REFUSED, self._refused[tx.wtxid])
        try:
            verdict = self._judge(tx, fee_rate_max)
            self._enter(verdict)
        except (Invalid, Premature, Refused) as violation:
            self._remember_refused(tx.wtxid, violation)
            raise
        self._refused.pop(tx.wtxid, None)
        return verdict.entry

    def examine(self, raw: bytes, fee_rate_max: int | None) -> Verdict:
        """What `submit` finds out without the signatures; nothing enters or is remembered.

        Raises: like `submit`.
        """
        tx = decode_tx(raw, TX_BYTES_MAX)
        return self._admission.examine(tx, self._clock(), self.floor_rate, fee_rate_max)

    def submit_examined(self, examined: Verdict, fee_rate_max: int | None) -> Entry:
        """Like `submit` with `retry`, for what was examined a moment ago. Raises: like `submit`."""
        tx = examined.entry.tx
        try:
            verdict = self._admission.examine_again(examined, self.floor_rate, fee_rate_max)
            self._admission.check_signatures(verdict)
            self._enter(verdict)
        except (Invalid, Premature, Refused) as violation:
            self._remember_refused(tx.wtxid, violation)
            raise
        self._refused.pop(tx.wtxid, None)
        return verdict.entry

    def test(self, raw: bytes, *, fee_rate_max: int | None = None) -> Entry:
        """The verdict of `submit`, without entering and without remembering.

        Only `mempool-full` cannot be foretold: the floor rises when it happens.
        """
        return self.test_tx(decode_tx(raw, TX_BYTES_MAX), fee_rate_max=fee_rate_max)

    def test_tx(self, tx: Tx, *, fee_rate_max: int | None = None) -> Entry:
        """The same of a transaction that is decoded already."""
        return self._judge(tx, fee_rate_max).entry

    def _judge(self, tx: Tx, fee_rate_max: int | None) -> Verdict:
        return self._admission.judge(tx, self._clock(), self.floor_rate, fee_rate_max)

    def _remember_refused(self, wtxid: Wtxid, violation: Violation) -> None:
        if violation.rule in _NOT_REMEMBERED:
            return
        self._refused[wtxid] = str(violation)
        if len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]

    def _enter(self, verdict: Verdict) -> None:
        entry = verdict.entry
        if verdict.replaced:
            self._remove(verdict.replaced, Removal.REPLACED, by=entry.tx.txid)
        self._add(entry)
        self._trim(spare=entry)
        if not entry.is_in:
            raise Refused(Rule.MEMPOOL_FULL, self.floor_rate)
        self._tell_added(entry.tx)

    def _add(self, entry: Entry) -> None:
        self._graph.add(entry)
        self._waiting.add(entry.fee, entry.cost)

    def _remove(
        self, roots: Iterable[Entry], reason: Removal, *, silent: Entry | None = None,
        by: Txid | None = None,
    ) -> None:  # fmt: skip
        for entry in self._graph.remove(root for root in roots if root.is_in):
            self._waiting.add(entry.fee, entry.cost, -1)
            if entry is not silent:
                self._tell_removed(entry.tx, reason, by)

    def _tell_added(self, tx: Tx) -> None:
        self.sequence += 1
        self._emit(TxAdded(tx))

    def _tell_removed(self, tx: Tx, reason: Removal, by: Txid | None = None) -> None:
        if reason is not Removal.CONFIRMED:
            self.sequence += 1
        self._emit(TxRemoved(tx.txid, tx.wtxid, reason, by))

    def _trim(self, spare: Entry | None = None) -> None:
        """Drop what is worth least until the rest fits; of `spare` nobody was told yet."""
        while self.size_bytes > self.policy.size_bytes_max:
            least = self._graph.least_worth()
            fee, cost = max(
                (least.fee, least.cost), (least.descendant_fee, least.descendant_cost),
                key=lambda pair: rate_of(*pair),
            )  # fmt: skip
            self._floor.raise_to(rate_of(fee, cost), self._clock())
            self._remove([least], Removal.EVICTED, silent=spare)

    # Blocks in and out. The view shows the new tip already when these are called.

    def block_connected(self, block: Block) -> None:
        """What was mined leaves, and so does what spends the same coins otherwise."""
        while self.tidy():  # of the block before
            pass
        height = block.txs[0].body.expiry
        cost = 0
        alone: list[tuple[int, int]] = []
        # While a node catches up, nothing waits, and blocks come by the hundred.
        txs = block.txs[1:] if self._graph.entries else ()
        entry_of = self._graph.entries.get
        for tx in txs:
            entry = entry_of(tx.txid)
            if entry is None:
                cost += len(tx.raw)
                rivals = self._graph.spenders(tx.body.inputs)
                if rivals:
                    self._remove(rivals, Removal.CONFLICT, by=tx.txid)
                continue
            cost += entry.cost
            if entry.ancestor_count == entry.descendant_count == 1:
                alone.append((entry.fee, entry.cost))
            elif entry.children and is_delayed(tx.body, height):
                self._remove(entry.children, Removal.UNMINABLE)
            self._graph.confirm(entry)
            self._waiting.add(entry.fee, entry.cost, -1)
            self._tell_removed(entry.tx, Removal.CONFIRMED)
        self._graph.settle()
        self._past.block_connected(cost if txs else len(block.raw), alone)
        self._floor.block_connected(self._clock())

    def tidy(self) -> bool:
        """Do some of what nobody had to wait for when a block was connected; whether more is left."""
        return self._graph.tidy(TIDIED_PER_TURN)

    def block_disconnected(self, block: Block) -> None:
        """What spends the coins of `block` steps aside; `tip_changed` lets it in again if it can.

        Blocks are disconnected from the tip down.
        """
        spent = (outpoint(tx.txid, i) for tx in block.txs for i in range(len(tx.body.outputs)))
        self._step_aside(self._graph.spenders(spent))
        self._returning.add_block(block)

    def _step_aside(self, roots: Iterable[Entry]) -> None:
        for entry in self._graph.remove(roots):
            self._waiting.add(entry.fee, entry.cost, -1)
            self._returning.add_entry(entry)

    def tip_changed(self, returning_max: int | None = None) -> bool:
        """Make every entry valid for the new tip again.

        At most `returning_max` transactions come back from disconnected blocks at once; returns
        whether more are waiting, for which `bring_back` is to be called.
        """
        self._refused.clear()
        self._drop_expired(self._view.context().height)
        if self._returning.reorganised:
            # Heights and times may have gone back, and supplies may have changed.
            self._step_aside(list(self._graph.contextual))
            self._returning.seal()
        return self.bring_back(returning_max)

    def _drop_expired(self, height: int) -> None:
        for expiry in [e for e in self._graph.by_expiry if e - height < EXPIRY_MARGIN]:
            # Those of a later height may have gone already with those of an earlier one.
            ending = sorted(self._graph.by_expiry.get(expiry, ()), key=lambda e: e.sequence)
            if expiry < height:
                self._remove(ending, Removal.EXPIRED)
                continue
            for entry in ending:  # mined now, its outputs would mature like a coinbase
                if entry.is_in and entry.children:
                    self._remove(entry.children, Removal.UNMINABLE)
        # In order of arrival, so the first that is young enough ends it. What came back after a
        # reorganisation stands further back and may stay for longer; no harm is in that.
        oldest = self._clock() - self.policy.age_max_s
        old = []
        for entry in self._graph.entries.values():
            if entry.time >= oldest:
                break
            old.append(entry)
        self._remove(old, Removal.EXPIRED)

    def bring_back(self, count: int | None = None) -> bool:
        """Let up to `count` of what was mined or stepped aside in again; whether more is left."""
        for tx, entry in self._returning.take(count):
            time = entry.time if entry else self._clock()
            try:
                self._add(self._admission.judge_returning(tx, time, entry))
            except (Invalid, Missing, Premature, Refused) as violation:
                if entry is not None:
                    mined = violation.rule is Rule.ALREADY_CONFIRMED
                    reason = Removal.CONFIRMED if mined else Removal.UNMINABLE
                    self._tell_removed(tx, reason)
                continue
            if entry is None:
                self._tell_added(tx)
        self._trim()
        return bool(self._returning)

    # Over a restart

    def dump(self) -> bytes:
        """Everything that waits, as the bytes of a file. What a reorganisation is still bringing back
        is judged first, or a stop at that moment would lose it."""
        self.bring_back()
        kept = [Kept(entry.tx.raw, int(entry.time)) for entry in self.entries()]
        return dump_file(self._view.context().chain_id, kept)

    def load(self, data: bytes) -> Iterator[Entry | Violation]:
        """Submit what `dump` wrote, one transaction for each step of the iterator.

        Raises at once: DecodeError, if the file is damaged or not for this node. Nothing is let in
        then, and the text says why.
        """
        return self._load(load_file(data, self._view.context().chain_id))

    def _load(self, kept: Iterable[Kept]) -> Iterator[Entry | Violation]:
        for item in kept:
            try:
                entry = self.submit(item.raw)
                entry.time = min(entry.time, item.time)
                yield entry
            except Violation as violation:
                yield violation
