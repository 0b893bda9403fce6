"""Which locks are the wallet's: its own keys, locks it shares, and what it only watches."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from consensus.address import encode_address
from consensus.hashes import LockHash
from consensus.locks import key_lock, lock_hash
from consensus.params import Params
from consensus.tx import Key, Lock
from wallet.book import Book, SharedLock
from wallet.errors import WalletError
from wallet.keys import CHAINS, CHANGE, COSIGN, RECEIVE, Account, coin_type

GAP_LIMIT = 20
"""Addresses in a row without a payment after which nobody looks further (BIP44)."""
_COSIGN_SEARCH = 100
"""Keys given to cosigners leave no trace on the chain: after a restore this many are tried."""


class Kind(enum.StrEnum):
    """Whose coins stand under a lock."""

    OWN = "own"
    SHARED = "shared"
    WATCHED = "watched"


class Place(msgspec.Struct, frozen=True):
    """A lock that the wallet asks about."""

    lock_hash: LockHash
    kind: Kind
    name: str
    """Name of the shared lock or of the watched thing; empty for the wallet's own."""
    chain: int | None = None
    index: int | None = None
    """Where the key is derived; None for locks that are not one derived key."""
    lock: Lock | None = None
    """None if only the hash is known."""


class Keyring:
    """The account's keys and the locks that follow from them. Derivations are done once."""

    def __init__(self, params: Params, book: Book) -> None:
        self.params = params
        self.book = book
        self.hrp = params.hrp.decode("ascii")
        self._coin = coin_type(params)
        self.account = (
            Account.from_xpub(book.xpub, self._coin)
            if book.words is None
            else Account.from_words(book.words, self._coin, book.account)
        )
        self._pubkeys: dict[tuple[int, int], bytes] = {}
        self._watched: dict[str, Account] = {}

    def pubkey(self, chain: int, index: int) -> bytes:
        """33 bytes."""
        key = (chain, index)
        if key not in self._pubkeys:
            self._pubkeys[key] = self.account.pubkey(chain, index)
        return self._pubkeys[key]

    def address(self, lock: bytes) -> str:
        """The address of a lock hash on this network."""
        return encode_address(self.hrp, lock)

    def own(self, chain: int, index: int) -> Place:
        """The lock of one own key."""
        pubkey = self.pubkey(chain, index)
        return Place(key_lock(pubkey), Kind.OWN, "", chain, index, Key(pubkey))

    def shared(self, entry: SharedLock) -> Place:
        """A lock that the wallet shares."""
        return Place(lock_hash(entry.lock), Kind.SHARED, entry.name, lock=entry.lock)

    def watched(self, position: int, chain: int, index: int) -> Place:
        """One address of a watched account."""
        entry = self.book.accounts[position]
        account = self._watched.setdefault(entry.xpub, Account.from_xpub(entry.xpub, self._coin))
        lock = Key(account.pubkey(chain, index))
        return Place(lock_hash(lock), Kind.WATCHED, entry.name, chain, index, lock)

    def places(self, ahead: int = GAP_LIMIT) -> dict[LockHash, Place]:
        """Every lock to ask about, own keys `ahead` of the last one used included."""
        return {place.lock_hash: place for place in self._places(ahead)}

    def _places(self, ahead: int) -> Iterator[Place]:
        for position, entry in enumerate(self.book.accounts):
            for chain in (RECEIVE, CHANGE):
                for index in range(entry.next_index[chain] + ahead):
                    yield self.watched(position, chain, index)
        for watched in self.book.watched:
            yield Place(watched.lock, Kind.WATCHED, watched.name)
        # Later ones win: what is watched and own is own.
        for shared in self.book.shared:
            yield self.shared(shared)
        for chain in (RECEIVE, CHANGE):
            for index in range(self.book.next_index[chain] + ahead):
                yield self.own(chain, index)

    def secret_of(self, pubkey: bytes) -> bytes | None:
        """The private key of an own public key, else None. For locks shared with others."""
        if not self.account.has_secrets:
            return None
        for chain in CHAINS:
            least = _COSIGN_SEARCH if chain == COSIGN else GAP_LIMIT
            for index in range(max(self.book.next_index[chain] + GAP_LIMIT, least)):
                if self.pubkey(chain, index) == pubkey:
                    return self.account.secret(chain, index)
        return None

    def secret_at(self, place: Place) -> bytes:
        """The private key of an own place. Raises: WalletError."""
        if place.chain is None or place.index is None or place.kind is not Kind.OWN:
            raise WalletError(f"the wallet has no key for {self.address(place.lock_hash)}")
        return self.account.secret(place.chain, place.index)
