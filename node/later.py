"""A result that comes later, to whoever waits for it with a function instead of a task.

With a task and futures instead, a payment handed in took 5 us more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any


class Later:
    """One result on its way through the functions that make an answer of it.

    Whoever makes one settles it in a later turn of the loop, when all of these are known.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[Callable[[Any], Any]] = []

    def then(self, step: Callable[[Any], Any]) -> Later:
        """Have `step` called with what the step before made of the result. It must not raise."""
        self._steps.append(step)
        return self

    def settle(self, result: object) -> None:
        """The result is there, or the exception that came instead."""
        for step in self._steps:
            result = step(result)

    def __await__(self) -> Generator[Any, None, Any]:
        """What the last step so far made."""
        made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def tell(result: Any) -> Any:
            if not made.done():  # whoever waited may have given up
                made.set_result(result)
            return result

        self.then(tell)
        return (yield from made)
