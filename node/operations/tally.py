"""Counts of what happened since the node began to count, for whoever asks now and then.

They are kept only while somebody can ask (`--web`), and cost next to nothing: a call of
the JSON-RPC a third of a microsecond.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable

from node.events import (
    BlockConnected,
    BlockDisconnected,
    BlockInvalid,
    EventBus,
    TipChanged,
    TxAdded,
    TxRemoved,
)
from node.histogram import Histogram
from node.rpc.errors import RpcError

CALL_BOUNDS_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
UNKNOWN = "unknown"
"""Stands for all methods that do not exist: who makes names up shall not fill the memory."""


class CallTally:
    """Calls of the JSON-RPC: how long they took by method, and how they failed."""

    def __init__(self, methods: Iterable[str]) -> None:
        """`methods`: those that exist."""
        self.seconds = {name: Histogram(CALL_BOUNDS_S) for name in (*methods, UNKNOWN)}
        self.errors: Counter[tuple[str, int]] = Counter()
        """By method and error code."""
        self._others = self.seconds[UNKNOWN]
        self._find = self.seconds.get

    def note(self, method: str, seconds: float, error: RpcError | None) -> None:
        """A call has ended, well or with an error. Written out, as each call comes here."""
        found = self._find(method)
        if found is None:
            found, method = self._others, UNKNOWN
        found.counts[bisect_left(CALL_BOUNDS_S, seconds)] += 1
        found.sum += seconds
        if error is not None:
            self.errors[method, int(error.code)] += 1


class LedgerTally:
    """What happened to the chain and to waiting transactions."""

    def __init__(self) -> None:
        self.connected = self.disconnected = self.invalid = 0
        """Blocks."""
        self.reorganisations = 0
        self.added = 0
        """Transactions that entered the mempool."""
        self.removed: Counter[str] = Counter()
        """Those that left it, by reason."""
        self._came_off = False

    def listen(self, bus: EventBus) -> Callable[[], None]:
        """Count from now on; call the result to end that."""
        ends = [
            bus.subscribe(BlockConnected, self._on_connected),
            bus.subscribe(BlockDisconnected, self._on_disconnected),
            bus.subscribe(BlockInvalid, self._on_invalid),
            bus.subscribe(TipChanged, self._on_tip),
            bus.subscribe(TxAdded, self._on_added),
            bus.subscribe(TxRemoved, self._on_removed),
        ]

        def end() -> None:
            for unsubscribe in ends:
                unsubscribe()

        return end

    def _on_connected(self, event: BlockConnected) -> None:
        self.connected += 1

    def _on_disconnected(self, event: BlockDisconnected) -> None:
        self.disconnected += 1
        self._came_off = True

    def _on_invalid(self, event: BlockInvalid) -> None:
        self.invalid += 1

    def _on_tip(self, event: TipChanged) -> None:
        self.reorganisations += self._came_off
        self._came_off = False

    def _on_added(self, event: TxAdded) -> None:
        self.added += 1

    def _on_removed(self, event: TxRemoved) -> None:
        self.removed[event.reason] += 1
