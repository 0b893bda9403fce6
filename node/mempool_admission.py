"""Whether a transaction may enter the mempool: the rules of the ledger, then those of this node.

Cheap checks come before dear ones, and signatures last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from consensus.errors import Invalid, Missing, Refused, Rule
from consensus.hashes import AssetId, LockHash, Txid
from consensus.keys import SigCheck
from consensus.locks import BlockContext
from consensus.tx import Coin, OutPoint, Tx, is_coinbase_witness
from consensus.tx_rules import CheckedTx, check_spend, check_tx
from node.mempool_entry import Entry, ancestors_of, with_descendants
from node.mempool_graph import Graph
from node.policy import (
    RETURNED_ANCESTORS_MAX,
    Policy,
    check_ancestors,
    check_descendants,
    check_fee,
    check_form,
    check_pinning,
    check_replacement,
)


class ChainView(Protocol):
    """The few questions that the mempool asks of the ledger. Always about the present tip."""

    def coin(self, spent: OutPoint, lock: LockHash) -> Coin | None:
        """A confirmed coin. It may have another lock than the spender reveals."""

    def coin_at(self, spent: OutPoint) -> Coin | None:
        """A confirmed coin, whatever its lock. Dear: it may read the transaction that made it."""

    def supply(self, asset: AssetId) -> int:
        """Present supply of an issued asset."""

    def context(self) -> BlockContext:
        """The context of the next block."""

    def is_confirmed(self, txid: Txid) -> bool:
        """Whether a block of the best chain holds the transaction."""


class Verdict(msgspec.Struct, frozen=True):
    """A transaction that may enter if its signatures hold, and what has to leave for it."""

    entry: Entry
    replaced: Collection[Entry]
    checks: tuple[SigCheck, ...]
    """Its signatures."""
    ctx: BlockContext
    """The context of the next block when it was judged."""


class _Found(msgspec.Struct, frozen=True):
    """A transaction that keeps the rules of the ledger, signatures aside."""

    entry: Entry
    ancestors: set[Entry]
    checks: tuple[SigCheck, ...]


class Admission:
    """Judges transactions against the ledger and what waits already. Changes nothing."""

    def __init__(
        self, view: ChainView, graph: Graph, policy: Policy,
        verify: Callable[[Sequence[SigCheck]], bool],
    ) -> None:  # fmt: skip
        self._view = view
        self._graph = graph
        self._policy = policy
        self._verify = verify

    def set_policy(self, policy: Policy) -> None:
        """Judge by another one from now on."""
        self._policy = policy

    def judge(self, tx: Tx, time: float, floor_rate: int, fee_rate_max: int | None) -> Verdict:
        """Check a newcomer by every rule. Raises: Invalid, Missing, Premature, Refused."""
        verdict = self.examine(tx, time, floor_rate, fee_rate_max)
        self.check_signatures(verdict)
        return verdict

    def examine(self, tx: Tx, time: float, floor_rate: int, fee_rate_max: int | None) -> Verdict:
        """Check a newcomer by every rule but its signatures. Raises: like `judge`."""
        if tx.is_coinbase and is_coinbase_witness(tx.witnesses):
            raise Refused(Rule.COINBASE_LOOSE)
        if tx.txid in self._graph.entries:
            raise Refused(Rule.ALREADY_IN_MEMPOOL, tx.txid[::-1])
        ctx = self._view.context()
        found = self._find(check_tx(tx), time, ctx)
        entry, ancestors = found.entry, found.ancestors
        check_form(entry.checked, entry.height, self._policy)
        check_fee(entry.fee, entry.cost, floor_rate, self._policy, fee_rate_max)
        replaced = self._replaced(entry, ancestors)
        if ancestors:
            self._check_family(entry, ancestors, replaced)
        return Verdict(entry, replaced, found.checks, ctx)

    def examine_again(
        self, verdict: Verdict, floor_rate: int, fee_rate_max: int | None
    ) -> Verdict:  # fmt: skip
        """What `examine` finds now of what it judged a moment ago. Raises: like `judge`."""
        entry = verdict.entry
        if entry.parents or self._view.context() is not verdict.ctx:
            return self.examine(entry.tx, entry.time, floor_rate, fee_rate_max)
        # Its coins are confirmed, and so they still are: the tip is the same.
        if entry.tx.txid in self._graph.entries:
            raise Refused(Rule.ALREADY_IN_MEMPOOL, entry.tx.txid[::-1])
        check_fee(entry.fee, entry.cost, floor_rate, self._policy, fee_rate_max)
        return msgspec.structs.replace(verdict, replaced=self._replaced(entry, set()))

    def check_signatures(self, verdict: Verdict) -> None:
        """Last, since it costs more than everything before together. Raises: Invalid."""
        if not self._verify(verdict.checks):
            raise Invalid(Rule.BAD_SIGNATURE)

    def judge_returning(self, tx: Tx, time: float, former: Entry | None) -> Entry:
        """Check what was mined or waited before, by the rules of the ledger alone.

        Policy let it in once, or a miner did, and does not ask again; and its signatures hold
        whatever the tip is. Raises: Invalid, Missing, Premature, Refused.
        """
        if tx.txid in self._graph.entries or self._graph.spenders(tx.body.inputs):
            raise Refused(Rule.MEMPOOL_CONFLICT, tx.txid[::-1])
        checked = former.checked if former else check_tx(tx)
        return self._find(checked, time, self._view.context()).entry

    def _find(self, checked: CheckedTx, time: float, ctx: BlockContext) -> _Found:
        """Collect the coins and check them."""
        entries = self._graph.entries
        coins: list[Coin | None] = []
        parents: dict[Entry, None] = {}
        for spent, opened in zip(checked.tx.body.inputs, checked.locks, strict=True):
            parent = entries.get(Txid(spent[:32]))
            if parent is None:
                coins.append(self._view.coin(spent, opened.hash))
            else:
                parents[parent] = None
                coins.append(self._graph.coin(spent, ctx.height))
        ancestors = ancestors_of(parents, RETURNED_ANCESTORS_MAX) if parents else set()
        if len(ancestors) > RETURNED_ANCESTORS_MAX:
            raise Refused(Rule.MEMPOOL_ANCESTORS, len(ancestors), RETURNED_ANCESTORS_MAX)

        def supply(asset: AssetId) -> int:
            unconfirmed = sum(entry.supplies.get(asset, 0) for entry in ancestors)
            return self._view.supply(asset) + unconfirmed

        try:
            spend = check_spend(checked, coins, supply, ctx)
        except Missing as missing:
            # What was mined has spent its own coins, so only now is there a reason to look.
            if self._view.is_confirmed(checked.tx.txid):
                raise Refused(Rule.ALREADY_CONFIRMED, checked.tx.txid[::-1]) from None
            # Gone, or there under another lock: once for a transaction, as it costs the sender
            # nothing to name hundreds of coins.
            if self._view.coin_at(missing.data[0]) is not None:
                raise Invalid(Rule.LOCK_MISMATCH, missing.data[0]) from None
            raise
        spent_coins = [coin for coin in coins if coin is not None]
        entry = Entry(checked, spent_coins, spend.fee, time, ctx.height, tuple(parents), ancestors)
        return _Found(entry, ancestors, spend.checks)

    def _replaced(self, entry: Entry, ancestors: set[Entry]) -> set[Entry]:
        """What `entry` would push out because it spends the same coins. Raises: Refused."""
        conflicts = self._graph.spenders(entry.tx.body.inputs)
        if not conflicts:
            return set()
        # Before they are collected: there may be as many conflicts as inputs, each with a family.
        if len(conflicts) > self._policy.replaced_max:
            raise Refused(Rule.REPLACEMENT_COUNT, len(conflicts), self._policy.replaced_max)
        gone = with_descendants(conflicts)
        check_replacement(entry, conflicts, gone, ancestors, self._policy)
        return gone

    def _check_family(self, entry: Entry, ancestors: set[Entry], leaving: set[Entry]) -> None:
        """The limits on lines of unconfirmed transactions. Raises: Refused."""
        check_ancestors(entry, self._policy)
        for ancestor in ancestors:
            others = with_descendants(ancestor.children)
            check_descendants(entry, ancestor, others & leaving, self._policy)
            check_pinning(entry, ancestor, others - leaving)
