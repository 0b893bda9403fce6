"""What this node is willing to relay and to mine: choices of its operator, not rules of the ledger.

Pure: every function gets what it judges, and raises Refused. A fee rate is an integer of base units
of the native coin per 1 000 cost.

Source: docs/protocol.md, "Policy".
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from consensus.errors import Refused, Rule
from consensus.tx import BURN_LOCK, NATIVE
from consensus.tx_rules import COST_PER_SIGCHECK, CheckedTx
from node.mempool_entry import Entry

COST_UNIT = 1_000
"""Fee rates are given for this much cost."""
RETURNED_ANCESTORS_MAX = 200
"""Limit for what comes back from a disconnected block. It was mined once, so the ordinary limit would
lose payments; without any, one block holding one long chain would make the work quadratic."""


class Policy(msgspec.Struct, frozen=True):
    """What an operator may set. The defaults suit a public network."""

    min_fee_rate: int = 1_000
    """Least fee rate that is relayed."""
    incremental_fee_rate: int = 1_000
    """What a replacement pays on top for being relayed, and the step of the floor."""
    ancestors_max: int = 25
    """Longest line of unconfirmed transactions, the newcomer included."""
    ancestors_cost_max: int = 101_000
    descendants_max: int = 25
    descendants_cost_max: int = 101_000
    replacement: bool = True
    """Whether a better-paying transaction may take the place of others."""
    replaced_max: int = 100
    """How many transactions one newcomer may push out."""
    expiry_margin_blocks: int = 3
    """A transaction must be minable in at least this many more blocks."""
    size_bytes_max: int = 300_000_000
    """Memory that the mempool may take."""
    age_max_s: int = 336 * 3_600
    """How long a transaction waits before it is given up."""
    floor_half_life_s: int = 3_600
    """How fast the floor falls again after the mempool was full."""


def fee_at(rate: int, cost: int) -> int:
    """The least fee that pays `rate` for `cost`."""
    return -(-rate * cost // COST_UNIT)


def rate_of(fee: int, cost: int) -> int:
    """The fee rate, rounded down."""
    return fee * COST_UNIT // cost


def check_form(checked: CheckedTx, height: int, policy: Policy) -> None:
    """Refuse what burdens everyone for no use. `height` is that of the next block.

    Raises: Refused (expires-too-soon, dust).
    """
    body = checked.tx.body
    if body.expiry and body.expiry - height < policy.expiry_margin_blocks - 1:
        raise Refused(Rule.EXPIRES_TOO_SOON, body.expiry, height)
    dust = fee_at(policy.min_fee_rate, COST_PER_SIGCHECK)
    for output in body.outputs:
        # Nobody will ever pay more for spending a coin than it is worth, so it stays for good. What
        # is destroyed is never stored, and what an asset is worth is not for this node to say.
        if output.asset == NATIVE and output.amount < dust and output.lock != BURN_LOCK:
            raise Refused(Rule.DUST, output.amount, dust)


def check_fee(
    fee: int, cost: int, floor_rate: int, policy: Policy, rate_max: int | None = None
) -> None:
    """Raises: Refused (fee-too-low, fee-below-floor, fee-absurd)."""
    if fee < (least := fee_at(policy.min_fee_rate, cost)):
        raise Refused(Rule.FEE_TOO_LOW, fee, least)
    if fee < (least := fee_at(floor_rate, cost)):
        raise Refused(Rule.FEE_BELOW_FLOOR, fee, least)
    if rate_max is not None and fee > (most := rate_max * cost // COST_UNIT):
        raise Refused(Rule.FEE_ABSURD, fee, most)


def check_ancestors(entry: Entry, policy: Policy) -> None:
    """Raises: Refused (mempool-ancestors)."""
    if entry.ancestor_count > policy.ancestors_max:
        raise Refused(Rule.MEMPOOL_ANCESTORS, entry.ancestor_count, policy.ancestors_max)
    if entry.parents and entry.ancestor_cost > policy.ancestors_cost_max:
        raise Refused(Rule.MEMPOOL_ANCESTORS, entry.ancestor_cost, policy.ancestors_cost_max)


def check_descendants(
    entry: Entry, ancestor: Entry, gone: Collection[Entry], policy: Policy
) -> None:
    """Check `ancestor` as it would be with `entry` below it and its descendants `gone` away.

    Raises: Refused (mempool-descendants).
    """
    count = ancestor.descendant_count + 1 - len(gone)
    if count > policy.descendants_max:
        raise Refused(Rule.MEMPOOL_DESCENDANTS, count, policy.descendants_max)
    cost = ancestor.descendant_cost + entry.cost - sum(child.cost for child in gone)
    if cost > policy.descendants_cost_max:
        raise Refused(Rule.MEMPOOL_DESCENDANTS, cost, policy.descendants_cost_max)


def is_burden(entry: Entry, ancestor: Entry) -> bool:
    """Whether a miner who wants `ancestor` would leave `entry` for later.

    A tenth of difference is allowed, since equal rates differ a little by rounding.
    """
    return entry.mining_score * 10 < ancestor.mining_score * 9


def check_pinning(entry: Entry, ancestor: Entry, others: Collection[Entry]) -> None:
    """Keep whoever is paid from making `ancestor` too dear to replace.

    A replacement pays the fees of everything that it pushes out. A payee could hang a large child
    with a poor rate on a payment: it would not be mined soon, cost him nothing, and its fee would
    bar the payer's next offer. So descendants that a miner would leave for later may together pay
    no more than the ancestor itself: twice its fee, and a little for relay, is always enough.

    `others` are the descendants that `ancestor` has already. Raises: Refused (fee-below-parent).
    """
    if not is_burden(entry, ancestor):
        return
    burden = entry.fee + sum(other.fee for other in others if is_burden(other, ancestor))
    if burden > ancestor.fee:
        raise Refused(Rule.FEE_BELOW_PARENT, burden, ancestor.fee)


def check_replacement(
    entry: Entry, conflicts: Collection[Entry], gone: Collection[Entry],
    ancestors: Collection[Entry], policy: Policy,
) -> None:  # fmt: skip
    """Check that `entry` may push out `gone`: its direct `conflicts` and all their descendants.

    Raises: Refused (mempool-conflict, replacement-…).
    """
    if not policy.replacement:
        raise Refused(Rule.MEMPOOL_CONFLICT, next(iter(conflicts)).tx.txid[::-1])
    if len(gone) > policy.replaced_max:
        raise Refused(Rule.REPLACEMENT_COUNT, len(gone), policy.replaced_max)
    for other in ancestors:
        if other in gone:
            raise Refused(Rule.REPLACEMENT_SPENDS_CONFLICT, other.tx.txid[::-1])
    for other in conflicts:
        if entry.fee * other.cost <= other.fee * entry.cost:
            raise Refused(Rule.REPLACEMENT_FEE, "fee rate", other.tx.txid[::-1])
    # With its unconfirmed parents counted in, else a high rate on top of poor parents would replace
    # what is mined next by what is never mined.
    for other in gone:
        if entry.mining_score <= other.mining_score:
            raise Refused(Rule.REPLACEMENT_FEE, "fee rate with parents", other.tx.txid[::-1])
    # It pays for what it pushes out, and for its own relay: else replacing is free bandwidth.
    least = sum(other.fee for other in gone) + fee_at(policy.incremental_fee_rate, entry.cost)
    if entry.fee < least:
        raise Refused(Rule.REPLACEMENT_FEE, entry.fee, least)
