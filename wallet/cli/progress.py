"""What a command is at, for whoever waits at a terminal; programs and files see nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from wallet.errors import printable
from wallet.scan import Say

T = TypeVar("T")
AFTER_S = 1.0
"""What is done before that needs no words."""
_EVERY_S = 0.1


class _Latest:
    """The last thing that was said."""

    def __init__(self) -> None:
        self.text = "working"
        self.done = 0
        self.total = 0

    def __call__(self, text: str, done: int = 0, total: int = 0, /) -> None:
        self.text, self.done, self.total = text, done, total


async def with_progress(run: Callable[[Say], Awaitable[T]]) -> T:
    """Run it; after a second show on stderr what it is at, if that is a terminal."""
    latest = _Latest()
    task = asyncio.ensure_future(run(latest))
    await asyncio.wait({task}, timeout=AFTER_S)
    console = Console(stderr=True, highlight=False)
    if not task.done() and console.is_terminal:
        await _show(task, latest, console)
    return await task


async def _show(task: asyncio.Future[T], latest: _Latest, console: Console) -> None:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn("{task.fields[count]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as shown:
        line = shown.add_task(latest.text, total=None, count="")
        while not task.done():
            count = f"{latest.done:,}" if latest.done else ""
            if latest.total:
                count = f"{latest.done:,} of {latest.total:,}"
            shown.update(
                line, description=printable(latest.text), completed=latest.done,
                total=latest.total or None, count=count,
            )  # fmt: skip
            await asyncio.wait({task}, timeout=_EVERY_S)
