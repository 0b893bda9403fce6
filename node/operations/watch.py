"""What is known of a node that runs beside what it does: counts, its pulse, whether it is ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from node.config import MEGABYTE, Config
from node.operations.pulse import Pulse
from node.operations.readiness import Demands, Readiness, Reason
from node.operations.tally import CallTally, LedgerTally


def demands_of(config: Config) -> Demands:
    """What a configuration asks of a node that is ready."""
    return Demands(
        config.ready_behind, config.ready_tip_age, config.ready_free_mb * MEGABYTE
    )  # fmt: skip


class Watch:
    """Handed to whoever shows how the node is."""

    def __init__(
        self, readiness: Readiness, demands: Demands, methods: Iterable[str],
        monotonic: Callable[[], float],
    ) -> None:  # fmt: skip
        """`methods`: the names of those of the JSON-RPC. `monotonic` gives seconds."""
        self.demands = demands
        """Replaced when the configuration is read again."""
        self.calls = CallTally(methods)
        self.happened = LedgerTally()
        self.pulse = Pulse(monotonic)
        self._readiness = readiness

    def reasons(self) -> list[Reason]:
        """Why the node is not ready; empty if it is."""
        return self._readiness.reasons(self.demands)

    def free_bytes(self) -> int | None:
        """Room on the disk of the data directory; None if it cannot be told."""
        return self._readiness.free_bytes()
