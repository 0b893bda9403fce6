"""What a command prints: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consensus.hashes import to_text
from wallet.amounts import display_amount, format_amount
from wallet.answers import AssetInfo
from wallet.errors import printable

_WIDTH = 1_000
"""Wider than any row: a terminal wraps what is too long, but no address is ever cut."""


class Output:
    """Prints the result of one command, in the form that was asked for."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True, width=_WIDTH)

    def result(self, data: Mapping[str, Any], text: Callable[[], None]) -> None:
        """Print `data` as JSON, or else call `text`, which prints for people."""
        if self.as_json:
            click.echo(json.dumps(data, indent=2))
        else:
            text()

    def line(self, text: str) -> None:
        """Text for people, without anything that a terminal would obey."""
        click.echo("\n".join(printable(part) for part in text.split("\n")))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table; columns whose name begins with `>` are aligned to the right."""
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
        for column in columns:
            right = column.startswith(">")
            table.add_column(
                column.lstrip(">"), justify="right" if right else "left", no_wrap=True,
                overflow="ignore",
            )  # fmt: skip
        for row in rows:
            # Labels, memos and names are other people's words: never text with markup in it.
            table.add_row(*[Text(printable(cell)) for cell in row])
        with self._console.capture() as printed:
            self._console.print(table)
        # The last column is filled up to its width, and whoever copies a row copies the blanks too.
        for row_text in printed.get().splitlines():
            click.echo(row_text.rstrip())


def amount_data(units: int, decimals: int) -> dict[str, Any]:
    """An amount for programs: exact text, and the integer that it stands for."""
    return {"amount": format_amount(units, decimals), "units": units}


def amount_text(units: int, info: AssetInfo) -> str:
    """An amount for people, with what it is an amount of."""
    return f"{display_amount(units, info.decimals)} {info.ticker}"


def asset_data(info: AssetInfo) -> dict[str, Any]:
    """How every command names an asset: its id is empty for the native coin."""
    return {"asset": to_text(info.asset), "ticker": info.ticker, "decimals": info.decimals}


def memo_text(memo: bytes) -> str:
    """A memo as text, or as hex if it is not."""
    try:
        return printable(memo.decode("utf-8"))
    except UnicodeDecodeError:
        return f"0x{memo.hex()}"


def time_text(seconds: int) -> str:
    """A time in UTC, as the field writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
