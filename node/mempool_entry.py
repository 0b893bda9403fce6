"""A waiting transaction, and what it is worth together with its relatives.

Relatives are unconfirmed only: parents make coins that it spends, children spend coins that it
makes. Sums over ancestors and descendants include the transaction itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from consensus.asset import asset_id, authority_id
from consensus.hashes import AssetId
from consensus.tx import BURN_LOCK, Body, Coin, Issue, Key, Reissue, Sha256, Tx
from consensus.tx_rules import CheckedTx

Rank = tuple[int, int]
"""Negative mining score, then order of arrival."""
_SCORE_SHIFT = 32
_NO_CHANGES: Mapping[AssetId, int] = MappingProxyType({})
# Memory, as measured with tracemalloc over many shapes, and a tenth for what the allocator wastes.
_BYTES_BASE = 1_300
_BYTES_PER_INPUT = 900
_BYTES_PER_OUTPUT = 380


def score(fee: int, cost: int) -> int:
    """A fee rate fine enough to rank by."""
    return (fee << _SCORE_SHIFT) // cost


class Entry:
    """A transaction in the mempool. Only `mempool_graph` changes one after it was made."""

    __slots__ = (
        "ancestor_cost", "ancestor_count", "ancestor_fee", "checked", "children", "coins",
        "contextual", "cost", "descendant_cost", "descendant_count", "descendant_fee", "fee",
        "height", "is_in", "parents", "rank", "sequence", "shown", "size_bytes", "supplies",
        "time", "tx",
    )  # fmt: skip

    def __init__(
        self, checked: CheckedTx, coins: Sequence[Coin], fee: int, time: float, height: int,
        parents: Sequence[Entry], ancestors: Collection[Entry],
    ) -> None:  # fmt: skip
        body = checked.tx.body
        self.checked = checked
        self.tx: Tx = checked.tx
        self.coins = tuple(coins)
        """What it spends, in the order of its inputs."""
        self.fee = fee
        self.cost = checked.cost
        self.time = time
        """When it came, seconds since 1970."""
        self.height = height
        """Height of the next block when it came."""
        self.parents = tuple(parents)
        self.children: tuple[Entry, ...] = ()
        self.ancestor_count = 1 + len(ancestors)
        self.ancestor_cost = self.cost
        self.ancestor_fee = fee
        for ancestor in ancestors:
            self.ancestor_cost += ancestor.cost
            self.ancestor_fee += ancestor.fee
        self.descendant_count = 1
        self.descendant_cost = self.cost
        self.descendant_fee = fee
        self.sequence = 0
        """Rank of arrival: parents have a lower one than their children."""
        self.rank: Rank = (0, 0)
        """Its place in the order in which a miner wants them; set while it is in the mempool."""
        self.is_in = False
        """Whether it is in the mempool at present."""
        self.size_bytes = (
            _BYTES_BASE + 5 * len(checked.tx.raw) // 2 + _BYTES_PER_INPUT * len(body.inputs)
            + _BYTES_PER_OUTPUT * len(body.outputs)
        )  # fmt: skip
        """What it takes of memory, indexes included."""
        self.contextual = is_contextual(checked, self.coins)
        """Whether a reorganisation may make it invalid while its coins stay."""
        self.supplies = supply_changes(body)
        """What it adds to the supply of issued assets, or takes from it; nearly always empty."""
        self.shown = b""
        """What JSON-RPC writes of it in a template, kept by the first that is asked for."""

    @property
    def is_alone(self) -> bool:
        """Whether it has no relatives, and leaves every supply as it is."""
        return self.ancestor_count == 1 == self.descendant_count and not self.supplies

    @property
    def mining_score(self) -> int:
        """What a miner gets per cost who has to take the ancestors along."""
        own = score(self.fee, self.cost)
        if self.ancestor_count == 1:
            return own
        return min(own, score(self.ancestor_fee, self.ancestor_cost))

    @property
    def keeping_score(self) -> int:
        """What the mempool loses per cost when this and its descendants go."""
        own = score(self.fee, self.cost)
        if self.descendant_count == 1:
            return own
        return max(own, score(self.descendant_fee, self.descendant_cost))

    def __repr__(self) -> str:
        return f"Entry({self.tx.txid[::-1].hex()[:16]}, fee {self.fee}, cost {self.cost})"


def is_contextual(checked: CheckedTx, coins: Iterable[Coin]) -> bool:
    """Whether a rule that it has to keep looks at heights, times or supplies."""
    for coin in coins:
        if coin.delayed:
            return True
    for lock in checked.locks:
        for _, atom in lock.atoms:
            if type(atom) is not Key and type(atom) is not Sha256:
                return True
    return any(isinstance(issuance, Reissue) for issuance in checked.tx.body.issuances)


def supply_changes(body: Body) -> Mapping[AssetId, int]:
    """What `body` issues less what it destroys, by asset; the native coin left out."""
    if not body.issuances and not any(output.asset for output in body.outputs):
        return _NO_CHANGES  # one value shared by nearly all, for the sake of memory
    changes: dict[AssetId, int] = {}
    for issuance in body.issuances:
        if isinstance(issuance, Issue):
            asset = asset_id(body.inputs[issuance.input_index], issuance.definition)
            if issuance.definition.reissuable:
                changes[authority_id(asset)] = 1
        else:
            asset = AssetId(issuance.asset)
        changes[asset] = changes.get(asset, 0) + issuance.amount
    for output in body.outputs:
        if output.asset and output.lock == BURN_LOCK:
            changes[output.asset] = changes.get(output.asset, 0) - output.amount
    return changes or _NO_CHANGES


def ancestors_of(parents: Iterable[Entry], enough: int | None = None) -> set[Entry]:
    """The parents and everything that they build on; may stop at more than `enough`."""
    found: set[Entry] = set()
    waiting = list(parents)
    while waiting and (enough is None or len(found) <= enough):
        entry = waiting.pop()
        if entry not in found:
            found.add(entry)
            waiting += entry.parents
    return found


def with_descendants(roots: Iterable[Entry]) -> set[Entry]:
    """The roots and everything that builds on them."""
    found: set[Entry] = set()
    waiting = list(roots)
    while waiting:
        entry = waiting.pop()
        if entry not in found:
            found.add(entry)
            waiting += entry.children
    return found
