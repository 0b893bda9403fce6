"""What the typed methods need: somebody who asks a node and checks the shape of the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

Addresses = Sequence[str] | Mapping[str, object]
"""Addresses, one address, or `{"addresses": […], "limit": 100, "cursor": "…"}`."""


class Caller(ABC):
    """Asks one node."""

    @abstractmethod
    async def ask(self, shape: Any, method: str, *params: object) -> Any:
        """The result of `method`, as a value of the type `shape`. A parameter of None counts as absent.

        Raises: as `wallet.client.Client.call`; also NodeError if the answer has another shape.
        """

    async def ask_either(
        self, shapes: Mapping[int, Any], chosen: int, method: str, *params: object
    ) -> Any:
        """The same, of the shape that belongs to what was `chosen`. Raises: ValueError if none does."""
        if chosen not in shapes:
            raise ValueError(f"{method} takes one of {list(shapes)}, not {chosen!r}")
        return await self.ask(shapes[chosen], method, *params)
