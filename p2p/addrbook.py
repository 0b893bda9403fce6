"""Addresses of other nodes: heard of, tried, discouraged.

An attacker can name any number of addresses. So what one source can fill is bounded, what one group
of addresses can fill is bounded, and a group is drawn before an address within it. Pure; the book is
kept over a restart as bytes.

Source: docs/p2p.md, "getaddr, addr" and "Connections".
"""

from __future__ import annotations

import enum
import ipaddress
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

import msgspec

from consensus.codec import decode, decoder_of, encode
from consensus.errors import DecodeError, Rule
from p2p.messages import ADDRESSES_MAX, AddrEntry, Port
from p2p.ports import Endpoint, RandomSource

NEW_MAX = 4_096
NEW_PER_SOURCE_MAX = 64
NEW_PER_GROUP_MAX = 64
TRIED_MAX = 1_024
TRIED_PER_GROUP_MAX = 16
DISCOURAGED_MAX = 10_000
DISCOURAGE_S = 86_400
SEEN_S_MAX = 30 * 86_400
"""Addresses that nobody saw for longer are not passed on and not dialled."""
RETRY_FIRST_S = 60
RETRY_LAST_S = 86_400
FAILURES_MAX = 10
ANCHORS_MAX = 8
"""Peers to which we were connected when the book was written."""
SAMPLE_FRACTION = 4
SAMPLE_MIN = 16
"""A small network would not find together if only a part of few addresses were told."""

log = logging.getLogger(__name__)


class Scope(enum.IntEnum):
    """How far an address reaches."""

    LOOPBACK = 0
    PRIVATE = 1
    PUBLIC = 2


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


class _File(msgspec.Struct, array_like=True):
    version: int
    entries: list[Entry]
    discouraged: dict[str, int]
    anchors: Annotated[list[tuple[str, int]], msgspec.Meta(max_length=ANCHORS_MAX)]


_FILE = decoder_of(_File)
FILE_VERSION = 2


class _Groups:
    """Endpoints by a key, to count and draw from."""

    def __init__(self) -> None:
        self.members: dict[str, dict[Endpoint, None]] = {}

    def add(self, key: str, endpoint: Endpoint) -> None:
        self.members.setdefault(key, {})[endpoint] = None

    def remove(self, key: str, endpoint: Endpoint) -> None:
        group = self.members[key]
        del group[endpoint]
        if not group:
            del self.members[key]

    def of(self, key: str) -> Collection[Endpoint]:
        return self.members.get(key, {})


class AddressBook:
    """Every address that may be dialled, and every one that may not."""

    def __init__(self, rng: RandomSource, data: bytes | None = None) -> None:
        """`data` is what `dump` made. Raises: DecodeError."""
        self._rng = rng
        self._entries: dict[Endpoint, Entry] = {}
        self._new = _Groups()
        self._tried = _Groups()
        self._sources = _Groups()
        self._discouraged: dict[str, int] = {}
        self._counts = {False: 0, True: 0}
        self.anchors: list[Endpoint] = []
        """Peers that this node had connected to when it stopped; dialled first."""
        if data is not None:
            file: _File = decode(_FILE, data)
            if file.version != FILE_VERSION:
                raise DecodeError(Rule.MALFORMED, "address book of version", file.version)
            for entry in file.entries:
                if len(entry.ip) not in (4, 16):
                    raise DecodeError(Rule.MALFORMED, "address book", entry.ip)
                if entry.failures < 0 or entry.endpoint in self._entries:
                    raise DecodeError(Rule.MALFORMED, "address book", str(entry.endpoint))
                self._insert(entry)
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
        return encode(_File(FILE_VERSION, list(self._entries.values()), self._discouraged, anchors))

    def _table(self, tried: bool) -> _Groups:
        return self._tried if tried else self._new

    def _insert(self, entry: Entry) -> None:
        endpoint = entry.endpoint
        self._entries[endpoint] = entry
        self._counts[entry.tried] += 1
        self._table(entry.tried).add(group_of(endpoint), endpoint)
        if not entry.tried:
            self._sources.add(entry.source, endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        entry = self._entries.pop(endpoint, None)
        if entry is None:
            return
        self._counts[entry.tried] -= 1
        self._table(entry.tried).remove(group_of(endpoint), endpoint)
        if not entry.tried:
            self._sources.remove(entry.source, endpoint)

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
        origin, group = group_of(source), group_of(endpoint)
        self._make_room(self._sources.of(origin), NEW_PER_SOURCE_MAX)
        self._make_room(self._new.of(group), NEW_PER_GROUP_MAX)
        if self._counts[False] >= NEW_MAX:
            self._make_room(self._new.of(self._draw_key(self._new.members)), 1)
        packed = ipaddress.ip_address(endpoint.host).packed
        self._insert(Entry(packed, endpoint.port, origin, seen))
        return True

    def _make_room(self, members: Collection[Endpoint], size_max: int) -> None:
        """Drop one of `members`, if there are so many, so that another can come."""
        if len(members) >= size_max:
            self.remove(self._draw(members))

    def _draw(self, members: Collection[Endpoint]) -> Endpoint:
        return tuple(members)[self._rng.randrange(len(members))]

    def _draw_key(self, groups: Mapping[str, object]) -> str:
        return tuple(groups)[self._rng.randrange(len(groups))]

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
        if entry.failures >= FAILURES_MAX and not entry.tried:
            self.remove(endpoint)

    def on_success(self, endpoint: Endpoint, now: int) -> None:
        """A node of this network answered there."""
        entry = self._entries.get(endpoint)
        if entry is None:
            if scope_of(endpoint.host) is None:
                return  # a host name, which the operator gave
            packed = ipaddress.ip_address(endpoint.host).packed
            entry = Entry(packed, endpoint.port, group_of(endpoint), now)
        else:
            self.remove(endpoint)
        group = group_of(endpoint)
        if len(self._tried.of(group)) >= TRIED_PER_GROUP_MAX:
            self._demote(self._tried.of(group))
        elif self._counts[True] >= TRIED_MAX:
            self._demote(self._tried.of(self._draw_key(self._tried.members)))
        entry.tried = True
        entry.failures = 0
        entry.seen = entry.last_success = now
        self._insert(entry)

    def _demote(self, members: Collection[Endpoint]) -> None:
        """Forget that the one of `members` was tried whose success is longest ago."""
        endpoint = min(members, key=lambda member: self._entries[member].last_success)
        entry = self._entries[endpoint]
        self.remove(endpoint)
        entry.tried = False
        self._make_room(self._sources.of(entry.source), NEW_PER_SOURCE_MAX)
        self._make_room(self._new.of(group_of(endpoint)), NEW_PER_GROUP_MAX)
        self._insert(entry)

    def choose(
        self, now: int, groups: Collection[str], busy: Collection[Endpoint]
    ) -> Endpoint | None:
        """An address to dial, outside `groups` and not among `busy`; None if there is none."""
        tables = [self._tried, self._new]
        if self._rng.random() < 0.5:
            tables.reverse()
        for table in tables:
            keys = [key for key in table.members if key not in groups]
            self._rng.shuffle(keys)
            for key in keys:
                able = [e for e in table.members[key] if e not in busy and self._is_able(e, now)]
                if able:
                    return self._draw(able)
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
