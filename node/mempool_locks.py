"""Which waiting transactions touch a lock."""

from __future__ import annotations

from collections import deque
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
        self._gone: deque[Entry] = deque()
        """Entries of the last block that still stand in `_users`."""

    def of(self, lock: LockHash) -> Collection[Entry]:
        self.tidy(len(self._gone))
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

    def remove_later(self, entry: Entry) -> None:
        """Take out an entry that does not come back. Nobody notices that `tidy` does it: half of the time
        that a block takes to leave the mempool, 1.7 ms of 2,000 payments, before its tip is told."""
        self._gone.append(entry)

    def tidy(self, count: int) -> bool:
        """Take out up to `count` of them; whether more are left."""
        for _ in range(min(count, len(self._gone))):
            self.remove(self._gone.popleft())
        return bool(self._gone)

    def remove(self, entry: Entry) -> None:
        users_of = self._users
        locks = [coin.lock for coin in entry.coins]
        locks += [output.lock for output in entry.tx.body.outputs]
        for lock in locks:
            users = users_of.get(lock)
            if users is entry:
                del users_of[lock]
            elif isinstance(users, set):  # else removed already: payment and change share a lock
                users.discard(entry)
                if len(users) == 1:
                    users_of[lock] = users.pop()
