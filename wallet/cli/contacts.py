"""`tael contacts`: the address book; and who is meant where a command takes a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from consensus.hashes import LockHash
from wallet.book import Book, Contact
from wallet.cli.app import App
from wallet.cli.options import DefaultGroup
from wallet.contacts import (
    FILE_BYTES_MAX,
    add_contact,
    find_contact,
    looks_like_address,
    normal_name,
    parse_contacts,
    remove_contact,
    rename_contact,
    write_contacts,
)
from wallet.errors import WalletError
from wallet.files import read_file, write_file


def check_recipients(app: App, recipients: Sequence[tuple[str, str]]) -> None:
    """See that what looks like an address is one, before a passphrase is asked for.

    Raises: WalletError.
    """
    for text, _ in recipients:
        if not text or _is_meant_as_address(app, text):
            app.decode_address(text)


def addressed(app: App, book: Book, recipients: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The recipients with the addresses of contacts in place of their names. Raises: WalletError."""
    return [
        (text if _is_meant_as_address(app, text) else app.address(find_contact(book, text).lock), amount)
        for text, amount in recipients
    ]  # fmt: skip


def _is_meant_as_address(app: App, text: str) -> bool:
    prefix = app.params.hrp.decode("ascii") + "1"
    return text.lower().startswith(prefix) or looks_like_address(text)


@click.group("contacts", cls=DefaultGroup)
def contacts() -> None:
    """Names for other people's addresses, to be used in `tael send NAME AMOUNT`.

    Without a command it lists them.
    """


@contacts.command("list")
@click.pass_obj
def list_them(app: App) -> None:
    """Every contact, by name."""
    with app.open_wallet() as wallet:
        rows = [_data(app, entry) for entry in _sorted(wallet.book)]

        def show() -> None:
            app.out.table(("Name", "Address"), [(row["name"], row["address"]) for row in rows])

        app.out.result({"contacts": rows}, show)


@contacts.command("add")
@click.argument("name")
@click.argument("address")
@click.pass_obj
def add(app: App, name: str, address: str) -> None:
    """Call ADDRESS by NAME from now on."""
    lock = app.decode_address(address)
    with app.open_wallet() as wallet:
        _check_no_prefix(app, name)
        add_contact(wallet.book, Contact(name, lock))
        wallet.save()
        _tell(app, wallet.book.contacts[-1], "Added")


@contacts.command("remove")
@click.argument("name")
@click.pass_obj
def remove(app: App, name: str) -> None:
    """Forget a contact."""
    with app.open_wallet() as wallet:
        gone = remove_contact(wallet.book, name)
        wallet.save()
        _tell(app, gone, "Removed")


@contacts.command("rename")
@click.argument("name")
@click.argument("new")
@click.pass_obj
def rename(app: App, name: str, new: str) -> None:
    """Call a contact by another name."""
    with app.open_wallet() as wallet:
        _check_no_prefix(app, new)
        renamed = rename_contact(wallet.book, name, new)
        wallet.save()
        _tell(app, renamed, "Renamed")


@contacts.command("import")
@click.argument("file")
@click.pass_obj
def import_them(app: App, file: str) -> None:
    """Add the contacts of a CSV file with the columns name and address: all of them, or none."""
    rows = parse_contacts(read_file(Path(file).expanduser(), FILE_BYTES_MAX))
    with app.open_wallet() as wallet:
        known = {(entry.name, entry.lock) for entry in wallet.book.contacts}
        added = 0
        for line, name, address in rows:
            try:
                entry = Contact(normal_name(name), app.decode_address(address))
                if (entry.name, entry.lock) in known:
                    continue
                _check_no_prefix(app, name)
                add_contact(wallet.book, entry)
            except WalletError as error:
                raise WalletError(f"line {line}: {error}; nothing was added") from None
            added += 1
        if added:
            wallet.save()
        app.out.result(
            {"added": added, "known": len(rows) - added},
            lambda: app.out.line(f"Added {added:,} contacts, {len(rows) - added:,} were known."),
        )


@contacts.command("export")
@click.argument("file")
@click.option("--replace", is_flag=True, help="Write over a FILE that is there.")
@click.pass_obj
def export_them(app: App, file: str, replace: bool) -> None:
    """Write the contacts to a CSV file, which `import` reads."""
    path = app.output_path(file)
    if path.exists() and not replace:
        raise WalletError(f"{file} exists already: give another, or --replace")
    with app.open_wallet() as wallet:
        rows = [(entry.name, app.address(entry.lock)) for entry in _sorted(wallet.book)]
    write_file(path, write_contacts(rows))
    app.out.result(
        {"contacts": len(rows), "file": file},
        lambda: app.out.line(f"Wrote {len(rows):,} contacts to {file}"),
    )


def _check_no_prefix(app: App, name: str) -> None:
    """Raises: WalletError for what `tael send` would take for an address of this network."""
    if _is_meant_as_address(app, name):
        raise WalletError(f"the name {name[:100]!r} looks like an address")


def _sorted(book: Book) -> list[Contact]:
    return sorted(book.contacts, key=lambda entry: (entry.name.casefold(), entry.name))


def _data(app: App, entry: Contact) -> dict[str, Any]:
    return {"name": entry.name, "address": app.address(entry.lock)}


def _tell(app: App, entry: Contact, what: str) -> None:
    address = app.address(LockHash(entry.lock))
    app.out.result(_data(app, entry), lambda: app.out.line(f"{what} {entry.name}  {address}"))
