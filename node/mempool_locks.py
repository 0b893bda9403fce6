"""Which waiting transactions touch a lock."""

from __future__ import annotations

from collections.abc import Collection

from consensus.hashes import LockHash
from node.mempool_entry import Entry


class ByLock:
    """Entries by the locks that they pay to or spend from.

    Most locks have one entry, which stands here by itself: a set for each would take 0.4 us and 216
    bytes more.
    """

    def __init__(self) -> None:
        self._users: dict[LockHash, Entry | set[Entry]] = {}

    def of(self, lock: LockHash) -> Collection[Entry]:
        users = self._users.get(lock)
        if users is None:
            return ()
        return users if isinstance(users, set) else (users,)

    def add(self, entry: Entry) -> None:
        for coin in entry.coins:
            self._add(coin.lock, entry)
        for output in entry.tx.body.outputs:
            self._add(output.lock, entry)

    def _add(self, lock: LockHash, entry: Entry) -> None:
        users = self._users.setdefault(lock, entry)
        if users is not entry:
            if isinstance(users, set):
                users.add(entry)
            else:
                self._users[lock] = {users, entry}

    def remove(self, entry: Entry) -> None:
        for coin in entry.coins:
            self._remove(coin.lock, entry)
        for output in entry.tx.body.outputs:
            self._remove(output.lock, entry)

    def _remove(self, lock: LockHash, entry: Entry) -> None:
        users = self._users.get(lock)
        if users is entry:
            del self._users[lock]
        elif isinstance(users, set):  # else removed already: a payment and its change share a lock
            users.discard(entry)
            if len(users) == 1:
                self._users[lock] = users.pop()
