"""Commands about the wallet file and its keys: create, restore, words, change-passphrase, info."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from consensus.block import genesis
from consensus.hashes import to_text
from wallet.answers import ChainInfo
from wallet.book import Book, encode_book
from wallet.cli.app import App, Wallet, check_passphrase, read_passphrase
from wallet.cli.options import Command
from wallet.client import Client
from wallet.errors import NodeError, WalletError
from wallet.files import read_file
from wallet.keys import (
    ENTROPY_BYTES,
    RECEIVE,
    Account,
    check_words,
    coin_type,
    words_of,
)
from wallet.scan import Say, discover
from wallet.tracked import GAP_LIMIT

_WORDS_BYTES_MAX = 10_000
_HARDENED = "m/44'/{coin}'/{account}'"
_ADVICE = (
    "Write these words down, in order, on paper. Whoever has them has the money;",
    "without them a lost file or a forgotten passphrase is the end of it.",
)
account_option = click.option(
    "--account", type=click.IntRange(0, 2**31 - 1), default=0, help="BIP44 account (default: 0)."
)


def _book(app: App, words: str | None, xpub: str, account: int) -> Book:
    return Book(
        network=app.network, chain_id=genesis(app.params).header.hash, created=app.env.now(),
        words=words, account=account, xpub=xpub,
    )  # fmt: skip


def _path(app: App, account: int) -> str:
    return _HARDENED.format(coin=coin_type(app.params), account=account)


def _report(app: App, wallet: Wallet, more: dict[str, Any], lines: list[str]) -> None:
    data = {
        "wallet": str(app.wallet_path),
        "network": app.network,
        "address": wallet.keyring.address(wallet.keyring.own(RECEIVE, 0).lock_hash),
        **more,
    }

    def text() -> None:
        app.out.line(f"Wallet {data['wallet']} for network {app.network}")
        app.out.line(f"First address: {data['address']}")
        for line in lines:
            app.out.line(line)

    app.out.result(data, text)


@click.command("create", cls=Command)
@click.option("--words", "count", type=click.Choice(["12", "24"]), default="24", help="How many.")
@click.option("--show-words", is_flag=True, help="Print the words even if nobody sits there.")
@click.option("--xpub", help="Make a watch-only wallet of this extended public key instead.")
@account_option
@click.pass_obj
def create(app: App, count: str, show_words: bool, xpub: str | None, account: int) -> None:
    """Make a new wallet.

    Its words are all that is needed to restore it: write them down on paper.
    """
    if xpub is not None:
        watched = Account.from_xpub(xpub, coin_type(app.params))
        wallet = app.create_wallet(_book(app, None, watched.xpub, account))
        _report(app, wallet, {"watch_only": True}, ["Watch-only: it can spend nothing."])
        return
    words = words_of(app.env.entropy(ENTROPY_BYTES[int(count)]))
    made = Account.from_words(words, coin_type(app.params), account)
    wallet = app.create_wallet(_book(app, words, made.xpub, account))
    shown = show_words or (sys.stdout.isatty() and not app.settings.json)
    lines = ["Show its words with `tael words`, and write them down on paper."]
    if shown:
        lines = ["", *_numbered(words), "", *_ADVICE]
    more: dict[str, Any] = {"watch_only": False, "path": _path(app, account)}
    _report(app, wallet, more | ({"words": words} if show_words else {}), lines)


def _numbered(words: str) -> list[str]:
    listed = words.split()
    cells = [f"{number:2}. {word:<10}" for number, word in enumerate(listed, 1)]
    return ["  ".join(cells[row : row + 4]).rstrip() for row in range(0, len(cells), 4)]


@click.command("restore", cls=Command)
@click.option("--words-file", metavar="FILE", help="File that holds the words; else a prompt asks.")
@click.option("--gap", type=click.IntRange(1, 10_000), default=GAP_LIMIT,
              help="Unused addresses in a row after which to stop looking (default: 20).")  # fmt: skip
@click.option("--offline", is_flag=True, help="Do not look for used addresses now.")
@account_option
@click.pass_obj
def restore(app: App, words_file: str | None, gap: int, offline: bool, account: int) -> None:
    """Make a wallet from its words, and find the addresses that were used."""
    words = check_words(_read_words(app, words_file))
    made = Account.from_words(words, coin_type(app.params), account)
    wallet = app.create_wallet(_book(app, words, made.xpub, account))
    found: dict[str, Any] = {"found": None}
    lines = ["Not looked for used addresses; `tael balance` finds them."]
    if not offline:

        async def work(client: Client, info: ChainInfo, say: Say) -> None:
            await discover(client, wallet.keyring, say, gap)

        try:
            app.ask_node(work)
        except KeyboardInterrupt:
            raise WalletError(
                "interrupted: the wallet is restored, but was not searched for used addresses; "
                "`tael balance` does that"
            ) from None
        except NodeError as error:
            raise WalletError(
                f"the wallet is restored, but was not searched for used addresses: {error}"
            ) from None
        wallet.save()
        used, change, _ = wallet.book.next_index
        found = {"found": {"receiving": used, "change": change}}
        lines = [f"Found {used} used receiving addresses and {change} of change."]
    _report(app, wallet, {"watch_only": False, "path": _path(app, account), **found}, lines)


def _read_words(app: App, words_file: str | None) -> str:
    if words_file is None:
        return app.prompt("Words, in order, with spaces between", hidden=True)
    data = read_file(Path(words_file).expanduser(), _WORDS_BYTES_MAX)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise WalletError(f"{words_file}: not a text file") from None


@click.command("words", cls=Command)
@click.option("--yes", is_flag=True, help="Do not ask whether anybody is looking.")
@click.pass_obj
def words(app: App, yes: bool) -> None:
    """Show the words of the wallet, to be written down."""
    with app.open_wallet() as wallet:
        secret = wallet.book.words
        if secret is None:
            raise WalletError("this wallet is watch-only: it has no words")
        app.confirm("Whoever sees the words has the money. Show them?", yes)

        def text() -> None:
            for line in _numbered(secret):
                app.out.line(line)

        app.out.result({"words": secret, "path": _path(app, wallet.book.account)}, text)


@click.command("change-passphrase", cls=Command)
@click.option("--new-passphrase-file", metavar="FILE", help="File whose first line is the new one.")
@click.pass_obj
def change_passphrase(app: App, new_passphrase_file: str | None) -> None:
    """Encrypt the wallet file anew under another passphrase."""
    with app.open_wallet() as wallet:
        if new_passphrase_file is not None:
            fresh = read_passphrase(Path(new_passphrase_file).expanduser())
        else:
            fresh = app.prompt("New passphrase", hidden=True)
            if app.prompt("The same again", hidden=True) != fresh:
                raise WalletError("the two passphrases differ")
        check_passphrase(fresh)
        wallet.keystore.change_passphrase(fresh, app.env.cost, encode_book(wallet.book))
        line = "The passphrase is changed. Copies of the old file still open with the old one."
        app.out.result(
            {"wallet": str(app.wallet_path), "changed": True}, lambda: app.out.line(line)
        )


@click.command("info", cls=Command)
@click.pass_obj
def info(app: App) -> None:
    """What this wallet is: network, path, public key, how many addresses."""
    with app.open_wallet() as wallet:
        book = wallet.book
        account = wallet.keyring.account
        data = {
            "wallet": str(app.wallet_path),
            "network": book.network,
            "chainid": to_text(book.chain_id),
            "watch_only": book.words is None,
            "created": book.created,
            "path": _path(app, book.account),
            "xpub": account.xpub,
            "fingerprint": account.fingerprint,
            "receiving": book.next_index[0],
            "change": book.next_index[1],
            "cosigner": book.next_index[2],
            "shared": [entry.name for entry in book.shared],
            "watched": book.watched_names(),
            "sent": len(book.sent),
        }
        app.out.result(
            data, lambda: app.out.table(("", ""), [(k, _cell(v)) for k, v in data.items()])
        )


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
