"""Commands about addresses: address, addresses, label, watch."""

from __future__ import annotations

import io
import re
from typing import Any

import click
import segno

from consensus.locks import lock_hash
from wallet.book import Book
from wallet.cli.app import App, Wallet
from wallet.cli.options import Command
from wallet.keys import CHANGE, RECEIVE
from wallet.tracked import GAP_LIMIT

_TXID = re.compile(r"[0-9a-fA-F]{64}")


@click.command("address", cls=Command)
@click.option("--new", is_flag=True, help="One that was never given out.")
@click.option("--label", help="A note of your own, kept in the wallet.")
@click.option("--qr", is_flag=True, help="Draw it for a camera.")
@click.pass_obj
def address(app: App, new: bool, label: str | None, qr: bool) -> None:
    """An address to be paid at.

    Without --new it is the last one given out, as long as nobody has paid to it.
    """
    with app.open_wallet() as wallet:
        book = wallet.book
        index = book.next_index[RECEIVE]
        # That of an invoice is for whoever pays the invoice, and for nobody else.
        asked = {entry.index for entry in book.invoices}
        free = [at for at in range(book.used_index, index) if at not in asked]
        if free and not new:
            index = free[-1]
        place = wallet.keyring.own(RECEIVE, index)
        text = wallet.keyring.address(place.lock_hash)
        warn_of_gap(book, index)
        if label is not None:
            book.note(text, label)
        if index >= book.next_index[RECEIVE] or label is not None:
            book.advance(RECEIVE, index + 1)
            wallet.save()
        data = {"address": text, "index": index, "label": book.labels.get(text, "")}

        def show() -> None:
            if qr:
                # Capital letters make a smaller picture; bech32 means the same in either.
                drawing = io.StringIO()
                segno.make(text.upper(), error="m").terminal(out=drawing, compact=True)
                app.out.line(drawing.getvalue())
            app.out.line(text)

        app.out.result(data, show)


def warn_of_gap(book: Book, index: int) -> None:
    """Tell if a restore would not find the address `index` by itself."""
    if index - book.used_index >= GAP_LIMIT:
        click.echo(
            f"warning: {GAP_LIMIT} addresses before this one are unused; after a restore, use "
            f"`tael restore --gap {index - book.used_index + GAP_LIMIT}`",
            err=True,
        )


@click.command("label", cls=Command)
@click.argument("what", metavar="ADDRESS|TXID")
@click.argument("text")
@click.pass_obj
def label(app: App, what: str, text: str) -> None:
    """Note TEXT beside an address or a transaction; an empty text removes the note.

    `tael history` shows it.
    """
    kind, key = "address", what
    if _TXID.fullmatch(what):
        kind, key = "txid", what.lower()
    else:
        key = app.address(app.decode_address(what))  # also of one in capitals
    with app.open_wallet() as wallet:
        wallet.book.note(key, text)
        wallet.save()
        app.out.result({kind: key, "label": text}, lambda: app.out.line(f"{key}  {text}"))


@click.command("addresses", cls=Command)
@click.option("--change", is_flag=True, help="Those of change, too.")
@click.pass_obj
def addresses(app: App, change: bool) -> None:
    """Every address of the wallet, with its labels."""
    with app.open_wallet() as wallet:
        rows = _address_rows(wallet, change)

        def show() -> None:
            app.out.table(
                ("Address", "Kind", ">Index", "Label"),
                [(r["address"], r["kind"], _index_text(r["index"]), r["label"]) for r in rows],
            )

        app.out.result({"addresses": rows}, show)


def _index_text(index: int | None) -> str:
    return "" if index is None else str(index)


def _address_rows(wallet: Wallet, change: bool) -> list[dict[str, Any]]:
    keyring, book = wallet.keyring, wallet.book
    rows: list[dict[str, Any]] = []

    def add(lock: bytes, kind: str, index: int | None, name: str) -> None:
        text = keyring.address(lock)
        label = book.labels.get(text, name)
        rows.append({"address": text, "kind": kind, "index": index, "label": label})

    for index in range(book.next_index[RECEIVE]):
        add(keyring.own(RECEIVE, index).lock_hash, "receiving", index, "")
    for index in range(book.next_index[CHANGE] if change else 0):
        add(keyring.own(CHANGE, index).lock_hash, "change", index, "")
    for entry in book.shared:
        add(lock_hash(entry.lock), "shared", None, entry.name)
    for watched in book.watched:
        add(watched.lock, "watched", None, watched.name)
    for position, account in enumerate(book.accounts):
        for index in range(account.next_index[0] + 1):
            add(keyring.watched(position, RECEIVE, index).lock_hash, "watched", index, account.name)
    return rows
