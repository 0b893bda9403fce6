"""Where an address is kept: a slot of a bucket that nobody outside can compute.

Who names an address chooses neither its slot nor what lies there: both follow from a secret of this
node. One who names many fills the few buckets of his own group, whatever he names. Pure.

Source: docs/p2p.md, "Connections".
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Generic, TypeVar

from p2p.ports import Endpoint, RandomSource

SECRET_BYTES = 32
SLOTS = 16
"""Addresses in one bucket."""
NEW_BUCKETS = 256
NEW_BUCKETS_PER_SOURCE = 16
TRIED_BUCKETS = 64
"""All that was tried of one group is in one of them."""

T = TypeVar("T", bound=Hashable)


def _number(secret: bytes, *parts: object) -> int:
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, key=secret, digest_size=8).digest(), "big")


def new_slot(secret: bytes, source: str, group: str, endpoint: Endpoint) -> int:
    """The place in the table of new addresses, for one of `group` that `source` named."""
    spread = _number(secret, "spread", source, group) % NEW_BUCKETS_PER_SOURCE
    bucket = _number(secret, "new", source, spread) % NEW_BUCKETS
    return bucket * SLOTS + _number(secret, "slot", bucket, endpoint) % SLOTS


def tried_slot(secret: bytes, group: str, endpoint: Endpoint) -> int:
    """The place in the table of tried addresses."""
    bucket = _number(secret, "tried", group) % TRIED_BUCKETS
    return bucket * SLOTS + _number(secret, "tried slot", bucket, endpoint) % SLOTS


class Bag(Generic[T]):
    """Distinct items, of which one is drawn in no time."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._places: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        if item not in self._places:
            self._places[item] = len(self._items)
            self._items.append(item)

    def remove(self, item: T) -> None:
        last, place = self._items.pop(), self._places.pop(item)
        if last != item:
            self._items[place] = last
            self._places[last] = place

    def draw(self, rng: RandomSource) -> T:
        """Any of them; there must be one."""
        return self._items[int(rng.random() * len(self._items))]  # a tenth of what randrange takes


class Table:
    """Addresses in their slots, and by group."""

    def __init__(self) -> None:
        self.slots: dict[int, Endpoint] = {}
        self._groups: Bag[str] = Bag()
        self._members: dict[str, Bag[Endpoint]] = {}

    def __len__(self) -> int:
        return len(self.slots)

    def add(self, slot: int, group: str, endpoint: Endpoint) -> None:
        """`slot` must be free."""
        self.slots[slot] = endpoint
        self._groups.add(group)
        self._members.setdefault(group, Bag()).add(endpoint)

    def remove(self, slot: int, group: str) -> None:
        members = self._members[group]
        members.remove(self.slots.pop(slot))
        if not members:
            del self._members[group]
            self._groups.remove(group)

    def draw(self, rng: RandomSource) -> tuple[str, Endpoint]:
        """A group, then one of it: many addresses of a network weigh no more than one of another.
        The table must not be empty."""
        group = self._groups.draw(rng)
        return group, self._members[group].draw(rng)
