"""Where payments come from: words of a command line, a payment URI, a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from wallet.batch import FILE_BYTES_MAX, Row, parse_rows
from wallet.cli.app import App
from wallet.cli.send import ALL, memo_bytes, pairs
from wallet.errors import WalletError
from wallet.files import read_file
from wallet.journal import check_request_id
from wallet.uri import decode_uri, is_uri


class Source(msgspec.Struct, frozen=True):
    """What somebody asks to be paid."""

    id: str
    rows: Sequence[Row]
    """Empty: only the id was given."""
    name: str = ""
    """Of the file."""
    label: str = ""
    expires: int | None = None
    """Seconds since 1970."""

    def where(self, row: Row) -> str:
        """The beginning of an error about a row."""
        return f"{self.name}, line {row.line}: " if row.line else ""


def source_of(
    app: App, words: Sequence[str], request_id: str | None, csv_file: str | None,
    asset: str | None, memo: str | None,
) -> Source:  # fmt: skip
    """Read and check what can be checked without wallet and node. Raises: WalletError."""
    if words and is_uri(words[0]):
        return _from_uri(app, words, request_id, csv_file or asset, memo)
    if request_id is None:
        raise WalletError("give the payment a name with --request-id ID, or use tael send")
    check_request_id(request_id)
    if csv_file is not None:
        if words or asset is not None or memo is not None:
            raise WalletError("with --csv, recipients, assets and memos stand in the file")
        return _from_file(app, request_id, csv_file)
    rows = [
        Row(address, amount, asset or "", memo or "")
        for address, amount in (pairs(words, ()) if words else ())
    ]
    for row in rows:
        _check(app, row)
    return Source(request_id, rows)


def _check(app: App, row: Row) -> None:
    """Raises: WalletError."""
    app.decode_address(row.address)
    memo_bytes(row.memo)
    if row.amount == ALL:
        raise WalletError("`all` is another amount each time; say how much")


def _from_file(app: App, request_id: str, csv_file: str) -> Source:
    path = Path(csv_file).expanduser()
    data = read_file(path, FILE_BYTES_MAX)
    try:
        rows = parse_rows(data)
    except WalletError as error:
        raise WalletError(f"{path.name}, {error}") from None
    source = Source(request_id, rows, path.name)
    for row in rows:
        try:
            _check(app, row)
        except WalletError as error:
            raise WalletError(f"{source.where(row)}{error}") from None
    return source


def _from_uri(
    app: App, words: Sequence[str], request_id: str | None, other: str | None, memo: str | None
) -> Source:
    uri = decode_uri(words[0])
    app.decode_address(uri.address)
    if other is not None:
        raise WalletError("a payment URI says itself what is to be paid")
    if len(words) > 2 or (len(words) == 2 and uri.amount):
        raise WalletError("behind a payment URI stands at most an amount, if it has none itself")
    amount = uri.amount or (words[1] if len(words) == 2 else "")
    if not amount:
        raise WalletError("the payment URI names no amount: tael pay URI AMOUNT")
    if request_id is not None:
        name = check_request_id(request_id)
    elif uri.request:
        # With the address, so that nobody can take a name that somebody else uses.
        name = f"{uri.address}/{uri.request}"
    else:
        raise WalletError("the payment URI has no name; give it one with --request-id ID")
    row = Row(uri.address, amount, uri.asset, memo or "")
    _check(app, row)
    return Source(name, [row], label=uri.label, expires=uri.expires)
