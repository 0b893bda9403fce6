"""Addresses of other nodes: heard of, tried, discouraged.

An attacker can name any number of addresses. So what one source can fill is bounded, where an
address comes to lie is a secret, and what lies there stays while it is good (`p2p.buckets`). Pure;
the book is kept over a restart as bytes.

Source: docs/p2p.md, "getaddr, addr" and "Connections".
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
import logging
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

from consensus.codec import decode, decoder_of, encode
from consensus.errors import DecodeError, Rule
from p2p.buckets import (
    NEW_BUCKETS,
    NEW_BUCKETS_PER_SOURCE,
    SECRET_BYTES,
    SLOTS,
    TRIED_BUCKETS,
    Table,
    new_slot,
    tried_slot,
)
from p2p.messages import ADDRESSES_MAX, AddrEntry, Port
from p2p.ports import Endpoint, RandomSource

NEW_MAX = NEW_BUCKETS * SLOTS
NEW_PER_SOURCE_MAX = NEW_BUCKETS_PER_SOURCE * SLOTS
TRIED_MAX = TRIED_BUCKETS * SLOTS
TRIED_PER_GROUP_MAX = SLOTS
DISCOURAGED_MAX = 10_000
DISCOURAGE_S = 86_400
SEEN_S_MAX = 30 * 86_400
"""Addresses that nobody saw for longer are not passed on and not dialled."""
RETRY_FIRST_S = 60
RETRY_LAST_S = 86_400
FAILURES_MAX = 10
FAILURES_STALE = 3
"""An address that never answered gives way to another after so many."""
CHALLENGES_MAX = 16
DRAWS_MAX = 24
"""Looking through the whole book would cost an attacker nothing and us much."""
DRAWS_PER_ENTRY = 8
ANCHORS_MAX = 8
"""Peers to which we were connected when the book was written."""
SAMPLE_FRACTION = 4
SAMPLE_MIN = 16
"""A small network would not find together if only a part of few addresses were told."""
CACHED_MAX = 8_192
"""Addresses whose scope and group are at hand: to work them out takes longer than all else here."""

log = logging.getLogger(__name__)


class Scope(enum.IntEnum):
    """How far an address reaches."""

    LOOPBACK = 0
    PRIVATE = 1
    PUBLIC = 2


@lru_cache(maxsize=CACHED_MAX)
def scope_of(host: str) -> Scope | None:
    """None if `host` is no address that a node could have."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_multicast or address.is_unspecified:
        return None
    if address.is_loopback:
        return Scope.LOOPBACK
    if address.is_global:
        return Scope.PUBLIC
    return Scope.PRIVATE if address.is_private else None


@lru_cache(maxsize=CACHED_MAX)
def group_of(endpoint: Endpoint) -> str:
    """Addresses that one operator can easily have many of share a group."""
    scope = scope_of(endpoint.host)
    if scope is not Scope.PUBLIC:
        return str(endpoint)
    address = ipaddress.ip_address(endpoint.host)
    prefix = 16 if address.version == 4 else 32
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


def network_of(host: str) -> str:
    """Likewise for who connects to us, whose ports say nothing: inside, each host is a group."""
    return group_of(Endpoint(host, 0)) if scope_of(host) is Scope.PUBLIC else host


class Entry(msgspec.Struct, array_like=True):
    """What is known of an address. Times are seconds since 1970, 0 for never."""

    ip: Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)]
    port: Port
    source: str
    """Group of whoever told us first."""
    seen: int
    tried: bool = False
    """Whether we were connected to it."""
    last_try: int = 0
    last_success: int = 0
    failures: int = 0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.of(self.ip, self.port)

    def is_due(self, now: int) -> bool:
        """Whether it may be dialled again."""
        wait = min(RETRY_FIRST_S << min(self.failures, 20), RETRY_LAST_S) if self.failures else 0
        return now - self.last_try >= wait

    def is_stale(self, now: int) -> bool:
        """Whether it gives way to another."""
        limit = FAILURES_MAX if self.tried else FAILURES_STALE
        return now - self.seen > SEEN_S_MAX or self.failures >= limit


class _File(msgspec.Struct, array_like=True):
    version: int
    entries: list[Entry]
    discouraged: dict[str, int]
    anchors: Annotated[list[tuple[str, int]], msgspec.Meta(max_length=ANCHORS_MAX)]
    secret: bytes = b""
    """What the slots follow from; version 2 had none."""


_FILE = decoder_of(_File)
FILE_VERSION = 3
OLD_VERSION = 2
"""Still read: it had no secret and no checksum."""
_OLD_START = bytes((0x94, OLD_VERSION))
"""An array of four, which begins with the version."""
_CHECKSUM_BYTES = 32


def _read(data: bytes) -> _File:
    """What `AddressBook.dump` wrote, now or in the version before. Raises: DecodeError."""
    is_old = data.startswith(_OLD_START)
    body = data if is_old else data[:-_CHECKSUM_BYTES]
    if not is_old and hashlib.sha256(body).digest() != data[-_CHECKSUM_BYTES:]:
        raise DecodeError(Rule.MALFORMED, "address book is damaged: checksum differs")
    file: _File = decode(_FILE, body)
    if file.version != (OLD_VERSION if is_old else FILE_VERSION):
        raise DecodeError(Rule.MALFORMED, "address book of version", file.version)
    if len(file.secret) != (0 if is_old else SECRET_BYTES):
        raise DecodeError(Rule.MALFORMED, "address book", file.secret)
    return file


class AddressBook:
    """Every address that may be dialled, and every one that may not."""

    def __init__(self, rng: RandomSource, data: bytes | None = None) -> None:
        """`data` is what `dump` made. Raises: DecodeError."""
        self._rng = rng
        self._secret = rng.randbytes(SECRET_BYTES)
        self._entries: dict[Endpoint, Entry] = {}
        self._new = Table()
        self._tried = Table()
        self._challenges: dict[Endpoint, Endpoint] = {}
        """Tried addresses that have to answer once more, and what answered in their place."""
        self._discouraged: dict[str, int] = {}
        self.anchors: list[Endpoint] = []
        """Peers that this node had connected to when it stopped; dialled first."""
        if data is not None:
            self._fill(_read(data))

    def _fill(self, file: _File) -> None:
        self._secret = file.secret or self._secret
        known: set[Endpoint] = set()
        for entry in file.entries:
            if len(entry.ip) not in (4, 16):
                raise DecodeError(Rule.MALFORMED, "address book", entry.ip)
            if entry.failures < 0 or entry.endpoint in known:
                raise DecodeError(Rule.MALFORMED, "address book", str(entry.endpoint))
            known.add(entry.endpoint)
            if not self._insert(entry, 0) and entry.tried:  # of version 2, which had other slots
                self._try_as(entry, False, 0)
        self._discouraged = file.discouraged
        self.anchors = [Endpoint(host, port) for host, port in file.anchors]

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return endpoint in self._entries

    def dump(self, connected: Sequence[Endpoint] = ()) -> bytes:
        """`connected`: peers to which this node itself connected, those with the longest stay
        first; the anchors of the next start."""
        anchors = [(host, port) for host, port in connected[:ANCHORS_MAX]]
        entries = list(self._entries.values())
        body = encode(_File(FILE_VERSION, entries, self._discouraged, anchors, self._secret))
        return body + hashlib.sha256(body).digest()

    def _place_of(self, entry: Entry) -> tuple[Table, int, str]:
        """Table, slot and group of an entry, whether it lies there or not."""
        endpoint = entry.endpoint
        group = group_of(endpoint)
        if entry.tried:
            return self._tried, tried_slot(self._secret, group, endpoint), group
        return self._new, new_slot(self._secret, entry.source, group, endpoint), group

    def _insert(self, entry: Entry, now: int) -> bool:
        """Put an entry into its slot; return whether that was free, or what lay there stale."""
        table, slot, group = self._place_of(entry)
        occupant = table.slots.get(slot)
        if occupant is not None:
            # Else whoever names enough addresses pushes out all others.
            if not self._entries[occupant].is_stale(now):
                return False
            self.remove(occupant)
        table.add(slot, group, entry.endpoint)
        self._entries[entry.endpoint] = entry
        return True

    def remove(self, endpoint: Endpoint) -> None:
        entry = self._entries.pop(endpoint, None)
        if entry is None:
            return
        table, slot, group = self._place_of(entry)
        table.remove(slot, group)
        self._challenges.pop(endpoint, None)

    def add(self, endpoint: Endpoint, source: Endpoint, seen: int, now: int) -> bool:
        """Someone at `source` says that a node was seen at `endpoint`; return whether it is kept."""
        scope, told_by = scope_of(endpoint.host), scope_of(source.host)
        # Nobody outside can name hosts inside, or have us knock at them.
        if scope is None or told_by is None or told_by > scope or endpoint.port == 0:
            return False
        seen = min(seen, now)
        if now - seen > SEEN_S_MAX:
            return False
        known = self._entries.get(endpoint)
        if known is not None:
            known.seen = max(known.seen, seen)
            return True
        packed = ipaddress.ip_address(endpoint.host).packed
        return self._insert(Entry(packed, endpoint.port, group_of(source), seen), now)

    def on_dialled(self, endpoint: Endpoint, now: int) -> None:
        entry = self._entries.get(endpoint)
        if entry is not None:
            entry.last_try = now

    def on_failed(self, endpoint: Endpoint, now: int) -> None:
        """It could not be reached, or is no node of this network."""
        entry = self._entries.get(endpoint)
        if entry is None:
            return
        entry.failures += 1
        rival = self._challenges.pop(endpoint, None)
        challenger = None if rival is None else self._entries.get(rival)
        if challenger is not None and not challenger.tried:
            self._try_as(entry, False, now)
            self._try_as(challenger, True, now)
        elif entry.failures >= FAILURES_MAX and not entry.tried:
            self.remove(endpoint)

    def _try_as(self, entry: Entry, tried: bool, now: int) -> bool:
        """Move an entry to the other table; it is gone if there is no room."""
        self.remove(entry.endpoint)
        entry.tried = tried
        return self._insert(entry, now)

    def on_success(self, endpoint: Endpoint, now: int) -> None:
        """A node of this network answered there."""
        entry = self._entries.get(endpoint)
        if entry is None:
            if scope_of(endpoint.host) is None:
                return  # a host name, which the operator gave
            packed = ipaddress.ip_address(endpoint.host).packed
            entry = Entry(packed, endpoint.port, group_of(endpoint), now)
        entry.failures = 0
        entry.seen = entry.last_success = now
        if not self._try_as(entry, True, now):
            self._challenge(entry)
            self._try_as(entry, False, now)

    def _challenge(self, entry: Entry) -> None:
        """Have what lies in the tried slot of `entry` answer once more, or give way to it."""
        if len(self._challenges) < CHALLENGES_MAX:
            _, slot, _ = self._place_of(entry)
            self._challenges.setdefault(self._tried.slots[slot], entry.endpoint)

    def choose(
        self, now: int, groups: Collection[str], busy: Collection[Endpoint]
    ) -> Endpoint | None:
        """An address to dial, outside `groups` and not among `busy`; None if none was found."""
        return self._draw(
            (self._new, self._tried),
            lambda group, found: group not in groups and found not in busy,
            now,
        )

    def feeler(self, now: int, busy: Collection[Endpoint]) -> Endpoint | None:
        """An address to try once, only to learn whether a node is there."""
        for endpoint in tuple(self._challenges):
            if endpoint not in busy and not self.is_discouraged(endpoint.host, now):
                return endpoint
            del self._challenges[endpoint]  # it is connected, so it is there; or not to be asked
        return self._draw(
            (self._new,),
            lambda _, found: found not in busy and not self._entries[found].last_success,
            now,
        )

    def _draw(
        self, tables: Sequence[Table], is_wanted: Callable[[str, Endpoint], bool], now: int
    ) -> Endpoint | None:
        """An address that may be dialled, of any of `tables` that holds one."""
        filled = [table for table in tables if len(table)]
        if not filled:
            return None
        for _ in range(min(DRAWS_MAX, DRAWS_PER_ENTRY * len(self._entries))):
            group, found = filled[self._rng.random() < 0.5 and len(filled) > 1].draw(self._rng)
            if is_wanted(group, found) and self._is_able(found, now):
                return found
        return None

    def _is_able(self, endpoint: Endpoint, now: int) -> bool:
        entry = self._entries[endpoint]
        return (
            entry.is_due(now)
            and now - entry.seen <= SEEN_S_MAX
            and not self.is_discouraged(endpoint.host, now)
        )

    def sample(self, asker: Endpoint, now: int) -> tuple[AddrEntry, ...]:
        """A random part of the book, of what `asker` would believe."""
        scope = scope_of(asker.host)
        if scope is None:
            return ()
        found = [
            AddrEntry(entry.ip, entry.port, entry.seen)
            for endpoint, entry in self._entries.items()
            if now - entry.seen <= SEEN_S_MAX
            and (scope_of(endpoint.host) or Scope.LOOPBACK) >= scope
        ]
        self._rng.shuffle(found)
        part = max(SAMPLE_MIN, len(found) // SAMPLE_FRACTION)
        return tuple(found[: min(part, ADDRESSES_MAX)])

    def discourage(self, host: str, now: int) -> None:
        """Have nothing to do with `host` for a while."""
        self._discouraged.pop(host, None)
        self._discouraged[host] = now + DISCOURAGE_S
        if len(self._discouraged) > DISCOURAGED_MAX:
            del self._discouraged[next(iter(self._discouraged))]

    def is_discouraged(self, host: str, now: int) -> bool:
        until = self._discouraged.get(host)
        if until is None:
            return False
        if now >= until:
            del self._discouraged[host]
            return False
        return True


def load_book(rng: RandomSource, data: bytes | None) -> AddressBook:
    """The book that `data` holds, or an empty one: a node can do without its addresses."""
    try:
        return AddressBook(rng, data)
    except DecodeError as error:
        log.warning("the address book cannot be read and is begun anew: %s", error)
        return AddressBook(rng)
