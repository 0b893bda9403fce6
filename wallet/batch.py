"""Many payments in one file of comma-separated values: read strictly, and answered the same way.

The first line names the columns: `address` and `amount`, and if need be `asset` and `memo`. Whatever is
odd refuses the whole file, with the number of its line, before anything is paid.

Source: docs/payments.md, "Many at once".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wallet.errors import WalletError

FILE_BYTES_MAX = 4 * 1024 * 1024
ROWS_MAX = 10_000
FIELD_MAX = 300
"""Characters of one field: an address has 90, a memo in hex 258."""
PART_OUTPUTS_MAX = 200
"""Payments of one transaction: at most 40 000 of the 100 000 cost that one may have, so that there is
room for the coins that pay them."""
_NEEDED = ("address", "amount")
_ALLOWED = (*_NEEDED, "asset", "memo")


class Row(NamedTuple):
    """A payment as somebody wrote it."""

    address: str
    amount: str
    asset: str = ""
    """Id or ticker; empty for the native coin."""
    memo: str = ""
    line: int = 0
    """Of the file; 0: typed."""


def parse_rows(data: bytes) -> list[Row]:
    """The payments of a file. Raises: WalletError, with the number of the line that is wrong."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WalletError(f"line {line}: not UTF-8") from None
    if "\0" in text:
        raise WalletError(f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: a zero byte")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    columns: Sequence[str] = ()
    try:
        for fields in reader:
            if not columns:
                columns = _columns(fields)
            else:
                rows.append(_row(columns, fields, reader.line_num))
            if len(rows) > ROWS_MAX:
                raise WalletError(f"line {reader.line_num}: more than {ROWS_MAX:,} payments")
    except csv.Error as error:
        raise WalletError(f"line {reader.line_num}: {error}") from None
    if not rows:
        raise WalletError("line 1: there is no payment in it")
    _check_twins(rows)
    return rows


def _columns(fields: Sequence[str]) -> Sequence[str]:
    unknown = [name for name in fields if name not in _ALLOWED]
    if unknown:
        raise WalletError(
            f"line 1: it must name the columns, {', '.join(_ALLOWED)}; {unknown[0][:40]!r} is none"
        )
    for name in _ALLOWED:
        if fields.count(name) > 1:
            raise WalletError(f"line 1: the column {name} stands twice")
    for name in _NEEDED:
        if name not in fields:
            raise WalletError(f"line 1: the column {name} is missing")
    return fields


def _row(columns: Sequence[str], fields: Sequence[str], line: int) -> Row:
    if len(fields) != len(columns):
        raise WalletError(f"line {line}: {len(fields)} fields, where {len(columns)} are expected")
    named: Mapping[str, str] = dict(zip(columns, fields, strict=True))
    for name, value in named.items():
        if len(value) > FIELD_MAX or not value.isprintable() or value != value.strip():
            raise WalletError(
                f"line {line}: {name} is too long, or holds blanks at its ends or unprintable signs"
            )
    for name in _NEEDED:
        if not named[name]:
            raise WalletError(f"line {line}: {name} is empty")
    return Row(**named, line=line)


def _check_twins(rows: Iterable[Row]) -> None:
    """Two rows that are the same are more often a slip than a wish."""
    seen: dict[Row, int] = {}
    for row in rows:
        known = seen.setdefault(row._replace(line=0), row.line)
        if known != row.line:
            raise WalletError(f"line {row.line}: {twin(known)}")


def twin(line: int) -> WalletError:
    """What is said of a row that pays the same as that of `line`."""
    return WalletError(f"the same as line {line}; if both are meant, give them different memos")


def write_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A file of comma-separated values.

    A cell that a spreadsheet would take for a formula is left as it is: amounts and addresses never
    begin that way, and a memo is what was asked for.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode("utf-8", "surrogateescape")


def parts_of(count: int) -> int:
    """How many transactions `count` payments take."""
    return -(-count // PART_OUTPUTS_MAX)
