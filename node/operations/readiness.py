"""Whether users can be sent to this node now, and if not, every reason why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from consensus.errors import StorageError
from node.config import MEGABYTE
from node.ledger import Ledger


class Reason(NamedTuple):
    """One thing that stands in the way."""

    name: str
    """For programs; stays the same from version to version."""
    detail: str
    """For people."""


class Demands(NamedTuple):
    """What the operator asks of a node that is ready."""

    behind_max: int
    """Blocks that may be missing to the best header."""
    tip_age_s_max: int
    """How old the tip may be; 0: that does not matter."""
    free_bytes_min: int
    """Room on the disk of the data directory."""


class Readiness:
    """Judges a node that runs."""

    def __init__(
        self, ledger: Ledger, clock: Callable[[], float], datadir: Path,
        free_bytes: Callable[[Path], int],
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970; `free_bytes` is that of the machine."""
        self._ledger = ledger
        self._clock = clock
        self._datadir = datadir
        self._free_bytes = free_bytes

    def free_bytes(self) -> int | None:
        """Room on the disk of the data directory; None if it cannot be told."""
        try:
            return self._free_bytes(self._datadir)
        except OSError:
            return None

    def reasons(self, demands: Demands) -> list[Reason]:
        """Why the node is not ready; empty if it is."""
        return [*self._of_chain(demands), *self._of_disk(demands)]

    def _of_chain(self, demands: Demands) -> list[Reason]:
        ledger = self._ledger
        tip, best = ledger.tip, ledger.tree.best_header
        found = []
        behind = best.height - tip.height
        if ledger.is_syncing:
            found.append(Reason("syncing", f"at block {tip.height}, {best.height} known"))
        elif behind > demands.behind_max:
            found.append(Reason("behind", f"{behind} blocks behind the best header"))
        age = int(self._clock()) - tip.header.time
        if demands.tip_age_s_max and age > demands.tip_age_s_max:
            found.append(Reason("old-tip", f"the last block is {age} s old"))
        return found

    def _of_disk(self, demands: Demands) -> list[Reason]:
        found = []
        try:
            self._ledger.chain.store.check_flushes()
        except StorageError as error:
            found.append(Reason("storage", error.what))
        free = self.free_bytes()
        if free is None:
            found.append(Reason("disk", "the disk of the data directory does not answer"))
        elif free < max(1, demands.free_bytes_min):
            found.append(Reason("disk-full", f"{free // MEGABYTE} MB can be written"))
        return found
