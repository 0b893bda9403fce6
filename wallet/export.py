"""A wallet's history as files for others: comma-separated values, and plain-text accounting.

Memos, and the names of assets, are strangers' words: no spreadsheet shall take them for a formula, and no
accounting program for a directive, a date or a tag.

Source: docs/wallet.md, "Export"; RFC 4180; the journal format of ledger-cli, which hledger reads too.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from consensus.hashes import AssetId, LockHash, to_text
from consensus.tx import NATIVE
from wallet.amounts import display_amount, format_amount
from wallet.answers import AssetInfo
from wallet.errors import printable
from wallet.statement import Account, Cause, Entry, Matured, Movement, Purse, totals
from wallet.tracked import Kind

COLUMNS = (
    "height", "time", "txid", "where", "cause", "asset", "ticker", "amount", "address", "contact",
    "memo", "label",
)  # fmt: skip
_FORMULA_STARTS = "=+-@\t\r＝＋－＠"
_ID_DIGITS = 16
"""Of an asset id, after its ticker: 64 bits, so that nobody makes another that looks the same."""
_WIDE = str.maketrans({":": "：", "[": "［", "]": "］", ",": "，", ";": "；", "|": "｜"})
_COUNTERPARTS = {
    Cause.MINED: "Income:Mined",
    Cause.RECEIVED: "Income:Received",
    Cause.SENT: "Expenses:Sent",
    Cause.FEE: "Expenses:Fees",
    Cause.TRANSFER: "Equity:Transfers",
    Cause.ISSUED: "Equity:Issued",
    Cause.DESTROYED: "Expenses:Destroyed",
    Cause.JOINT: "Equity:Joint",
}
_OPENING = "Equity:Opening"
_TAGS = ("txid", "label")


class Names(msgspec.Struct, frozen=True):
    """How things are called in an export."""

    assets: Mapping[AssetId, AssetInfo]
    address: Callable[[LockHash], str]
    contacts: Mapping[LockHash, str]
    labels: Mapping[str, str]
    """By address or txid."""


class Span(msgspec.Struct, frozen=True):
    """The blocks that are exported, both ends included."""

    first: int
    last: int
    opened: int
    """When the first of them was made, seconds since 1970."""


def to_csv(entries: Iterable[Entry], names: Names, span: Span, thousands: bool = False) -> bytes:
    """One row for each movement; the amounts of a place and an asset add up to its balance."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        if not span.first <= entry.height <= span.last:
            continue
        for movement in entry.movements:
            writer.writerow(_row(entry, movement, names, thousands))
    return out.getvalue().encode("utf-8", "replace")


def _row(entry: Entry, movement: Movement, names: Names, thousands: bool) -> Sequence[str]:
    info = names.assets[movement.asset]
    address = "" if movement.lock is None else names.address(movement.lock)
    number = display_amount if thousands else format_amount
    contact = "" if movement.lock is None else names.contacts.get(movement.lock, "")
    label = names.labels.get(to_text(entry.txid)) or names.labels.get(address, "")
    return (
        str(entry.height), _time(entry.time), to_text(entry.txid), _cell(movement.purse.name),
        movement.cause, to_text(movement.asset), _cell(info.ticker),
        number(movement.units, info.decimals), address, _cell(contact),
        _cell(_memo(movement.memo)), _cell(label),
    )  # fmt: skip


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula (an apostrophe says so, where one could)."""
    plain = printable(text)
    return f"'{plain}" if plain.lstrip()[:1] and plain.lstrip()[0] in _FORMULA_STARTS else plain


def _memo(memo: bytes) -> str:
    try:
        return memo.decode("utf-8")
    except UnicodeDecodeError:
        return f"0x{memo.hex()}"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def to_journal(
    entries: Sequence[Entry], matured: Sequence[Matured], times: Mapping[int, int], names: Names,
    span: Span,
) -> bytes:  # fmt: skip
    """Plain-text accounting, every transaction of which adds up to nothing in each commodity."""
    return _Journal(names, span).written(entries, matured, times).encode("utf-8", "replace")


class _Journal:
    def __init__(self, names: Names, span: Span) -> None:
        self._names = names
        self._span = span
        self._commodities = _commodities(names.assets)
        self._lines: list[str] = []
        self._accounts: set[str] = set()

    def written(
        self, entries: Sequence[Entry], matured: Sequence[Matured], times: Mapping[int, int]
    ) -> str:
        first, last = self._span.first, self._span.last
        before = [e for e in entries if e.height < first], [m for m in matured if m.height < first]
        self._opening(totals(*before))
        # What a block matures can be spent in the next one, not in itself: so it stands last.
        moves = {move.height: move for move in matured if first <= move.height <= last}
        by_height: defaultdict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            if first <= entry.height <= last:
                by_height[entry.height].append(entry)
        for height in sorted({*moves, *by_height}):
            for entry in by_height[height]:
                self._entry(entry)
            if height in moves:
                title = f"{_date(times[height])} * ({height}) matured"
                self._transaction(title, [], self._posted(moves[height].postings))
        return "\n".join([*self._declared(), *self._lines])

    def _declared(self) -> list[str]:
        """What is used below, so that the programs can be strict about all other names."""
        span = self._span
        lines = [f"; Made by tael export: blocks {span.first} to {span.last}, dates in UTC.", ""]
        for asset, commodity in self._commodities.items():
            lines += [f"; {commodity}: asset {to_text(asset) or 'of the network'}"]
            lines += [f"commodity {commodity}", ""]
        lines += [f"account {account}" for account in sorted(self._accounts)]
        return [*lines, *(f"tag {tag}" for tag in _TAGS), ""]

    def _opening(self, sums: Mapping[tuple[Account, AssetId], int]) -> None:
        if not sums:
            return
        against: defaultdict[AssetId, int] = defaultdict(int)
        for (_, asset), units in sums.items():
            against[asset] -= units
        title = f"{_date(self._span.opened)} * ({self._span.first}) opening"
        rows = [(_OPENING, self._amount(asset, units), "") for asset, units in against.items()]
        self._transaction(title, [], self._posted(sums) + rows)

    def _entry(self, entry: Entry) -> None:
        causes = list(dict.fromkeys(movement.cause for movement in entry.movements))
        main = next((cause for cause in causes if cause is not Cause.FEE), Cause.FEE)
        label = self._names.labels.get(to_text(entry.txid), "")
        notes = [f"txid: {to_text(entry.txid)}", *([f"label: {_plain(label)}"] if label else [])]
        rows = self._posted(entry.postings)
        transfers: defaultdict[AssetId, int] = defaultdict(int)
        for movement in entry.movements:
            if movement.cause is Cause.TRANSFER:
                transfers[movement.asset] -= movement.units
                continue
            amount = self._amount(movement.asset, -movement.units)
            rows.append((_COUNTERPARTS[movement.cause], amount, self._note(movement)))
        rows += [
            (_COUNTERPARTS[Cause.TRANSFER], self._amount(asset, units), "")
            for asset, units in transfers.items() if units
        ]  # fmt: skip
        self._transaction(f"{_date(entry.time)} * ({entry.height}) {main}", notes, rows)

    def _note(self, movement: Movement) -> str:
        parts = []
        if movement.lock is not None:
            address = self._names.address(movement.lock)
            parts.append(address)
            known = (self._names.contacts.get(movement.lock), self._names.labels.get(address))
            parts += [f"({_plain(text)})" for text in known if text]
        if movement.memo:
            parts.append(f"memo {_plain(_memo(movement.memo))}")
        return " ".join(parts)

    def _posted(
        self, postings: Mapping[tuple[Account, AssetId], int]
    ) -> list[tuple[str, str, str]]:
        return [
            (_account(account), self._amount(asset, units), "")
            for (account, asset), units in postings.items()
        ]

    def _amount(self, asset: AssetId, units: int) -> str:
        return (
            f"{format_amount(units, self._names.assets[asset].decimals)} {self._commodities[asset]}"
        )

    def _transaction(
        self, title: str, notes: Sequence[str], rows: Sequence[tuple[str, str, str]]
    ) -> None:
        self._accounts |= {account for account, _, _ in rows}
        self._lines.append(title)
        self._lines += [f"    ; {note}" for note in notes]
        self._lines += [
            f"    {account}  {amount}" + (f"  ; {note}" if note else "")
            for account, amount, note in rows
        ]
        self._lines.append("")


def _account(account: Account) -> str:
    purse, is_immature = account
    return f"Assets:{_purse(purse)}:{'Immature' if is_immature else 'Available'}"


def _purse(purse: Purse) -> str:
    if purse.kind is Kind.OWN:
        return "Wallet"
    # Two blanks would end the name of an account, and a bracket at its start means something else.
    name = " ".join(_plain(purse.name).split()).replace("(", "（").replace(")", "）")
    return f"{purse.kind.value.capitalize()}:{name}"


def _plain(text: str) -> str:
    """Strangers' words without the signs that accounting programs read in comments and names."""
    return printable(text).translate(_WIDE)


def _commodities(assets: Mapping[AssetId, AssetInfo]) -> dict[AssetId, str]:
    """A name for each asset that no other has. Tickers are not unique, and anybody may choose one."""
    short = {asset: to_text(asset)[:_ID_DIGITS] for asset in assets}
    taken = Counter(short.values())
    named = {}
    for asset, info in assets.items():
        if asset == NATIVE:
            named[asset] = f'"{info.ticker}"'
            continue
        digits = short[asset] if taken[short[asset]] == 1 else to_text(asset)
        # What may not stand in a name of the program is in no ticker that the ledger lets through.
        named[asset] = f'"{printable(info.ticker).split("#")[0].strip(chr(34))}#{digits}"'
    return named
