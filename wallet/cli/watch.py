"""`tael watch`: payments as they happen; with --name, something to be counted from now on."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from consensus.codec import decode_canonical, decoder_of
from consensus.errors import Violation
from consensus.hashes import AssetId, to_text
from consensus.locks import lock_hash
from consensus.tx import Lock
from wallet.answers import AssetInfo, check_chain
from wallet.book import Book, Invoice, SharedLock, WatchedAccount, WatchedAddress
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import asset_infos, described
from wallet.cli.invoice import amount_of, confirmations_option, standing_data
from wallet.cli.options import Command
from wallet.cli.output import amount_data, amount_text, asset_data
from wallet.client import Client, endpoint
from wallet.errors import NodeError, NotPaid, NotSettled, WalletError, printable
from wallet.invoices import PAID_STATES, InvoiceStanding, InvoiceState, judge
from wallet.keys import Account, coin_type
from wallet.watching import Change, Poll, Snapshot, Watcher

INTERVAL_DEFAULT_S = 2
INTERVAL_MAX_S = 3_600
TIMEOUT_MAX_S = 365 * 86_400
ADDRESSES_MAX = 10_000
_INVOICE_DIGITS_MAX = 9
_LOCK = decoder_of(Lock)


@click.command("watch", cls=Command)
@click.argument("what", required=False)
@click.option("--name", help="Count WHAT among the wallet's things from now on, under this name.")
@click.option("--since", type=click.IntRange(0, 2**32 - 1), metavar="HEIGHT",
              help="Tell what was mined after this block, too.")  # fmt: skip
@click.option("--interval", type=click.IntRange(1, INTERVAL_MAX_S), default=INTERVAL_DEFAULT_S,
              help="Seconds between two looks (default: 2).")  # fmt: skip
@click.option(
    "--timeout", type=click.IntRange(1, TIMEOUT_MAX_S), help="Give up after so many seconds."
)
@confirmations_option
@click.pass_obj
def watch(
    app: App, what: str | None, name: str | None, since: int | None, interval: int,
    timeout: int | None, confirmations: int,
) -> None:  # fmt: skip
    """See payments as they happen: to the wallet, to an address, or to the invoice WHAT.

    Of an invoice it ends when that is paid (0) or has expired with nothing on its way (4); else it
    goes on until it is interrupted, or ends with 5 after --timeout. It goes on by itself when the node
    was away. With --json each thing that happens is one line; --since resumes at a height.

    With --name it does not wait: WHAT is an address, an extended public key (xpub…) or a lock in hex,
    and is counted from now on. A lock that holds a key of this wallet can also be spent, with
    `tael multisig propose`.
    """
    if name is not None:
        if what is None:
            raise WalletError("--name needs something to watch: tael watch WHAT --name NAME")
        _watch_from_now_on(app, what, name)
        return
    invoice: Invoice | None = None
    with app.open_wallet() as wallet:
        book = wallet.book
        if what is None:
            places = wallet.keyring.places().values()
            addresses = [app.address(place.lock_hash) for place in places]
        elif what.isascii() and what.isdecimal() and len(what) <= _INVOICE_DIGITS_MAX:
            invoice = book.invoice_by_number(what)
            addresses = [app.address(invoice.lock)]
        else:
            app.decode_address(what)
            addresses = [what.lower()]
    if len(addresses) > ADDRESSES_MAX:
        raise WalletError(f"{len(addresses):,} addresses are too many to be watched at once")
    live = Live(app, book, addresses, since, invoice, confirmations)
    asyncio.run(_follow(live, interval, timeout))


async def _follow(live: Live, interval_s: int, limit_s: int | None) -> None:
    """Look again and again. Raises: NotPaid, NotSettled."""
    try:
        async with asyncio.timeout(limit_s):
            while True:
                if await live.look():
                    return
                await asyncio.sleep(interval_s)
    except TimeoutError:
        raise NotSettled(f"nothing more to wait for: {limit_s} seconds are over") from None
    except asyncio.CancelledError:
        return  # a person has seen enough


class Live:
    """One thing that is watched."""

    def __init__(
        self, app: App, book: Book, addresses: Sequence[str], since: int | None,
        invoice: Invoice | None, confirmations: int,
    ) -> None:  # fmt: skip
        self._app = app
        self._book = book
        # Of an invoice everything counts that ever came; of a wallet what comes from now on.
        self._since = 0 if invoice is not None and since is None else since
        self._invoice = invoice
        self._confirmations = confirmations
        self._source = Poll(addresses, lambda *said: None)
        self._watcher: Watcher | None = None
        self._infos: dict[AssetId, AssetInfo] = {}
        self._is_away = False
        self._state: InvoiceState | None = None

    async def look(self) -> bool:
        """Tell what is new; whether the end has come. Raises: NotPaid."""
        try:
            # Anew each time: a node that was started again has another password.
            async with Client(endpoint(self._app.rpc_url, self._app.cookie_path)) as client:
                await check_chain(client, self._app.params)
                now = await self._source.snapshot(client)
                missing = {p.asset for p in now.payments} - self._infos.keys()
                if missing or not self._infos:
                    self._infos |= await asset_infos(client, self._app.params, self._book, missing)
        except NodeError as error:
            if not self._is_away:
                click.echo(f"waiting for the node: {printable(str(error))}", err=True)
            self._is_away = True
            return False
        self._is_away = False
        if self._watcher is None:
            self._watcher = Watcher(now.height if self._since is None else self._since)
        for change in self._watcher.look(now):
            self._tell(change, now)
        return self._invoice is not None and self._is_over(self._invoice, now)

    def _tell(self, change: Change, now: Snapshot) -> None:
        payment = change.payment
        info = described(payment.asset, self._infos)
        depth = 0 if payment.height is None else now.height - payment.height + 1
        data = {
            "event": change.what,
            "txid": to_text(payment.txid),
            "address": payment.address,
            **asset_data(info),
            **amount_data(payment.amount, info.decimals),
            "height": payment.height,
            "confirmations": depth,
            "tip": now.height,
            "label": self._book.labels.get(payment.address, ""),
        }
        where = "" if payment.height is None else f"  block {payment.height:,}"
        amount = amount_text(payment.amount, info)
        self._line(
            data, f"{change.what:<9}  {amount}  {to_text(payment.txid)}  {payment.address}{where}"
        )

    def _is_over(self, invoice: Invoice, now: Snapshot) -> bool:
        found = judge(invoice, now.payments, now.height, self._confirmations, self._app.env.now())
        if found.state is not self._state:
            self._state = found.state
            data = standing_data(invoice, found, now.height)
            self._line(
                {"event": "invoice", "id": str(invoice.number), **data, "tip": now.height},
                _invoice_text(invoice, found),
            )
        if found.state is InvoiceState.EXPIRED:
            raise NotPaid(f"invoice {invoice.number} has expired, and nothing was paid")
        return found.state in PAID_STATES

    def _line(self, data: dict[str, Any], text: str) -> None:
        self._app.out.line(json.dumps(data) if self._app.settings.json else text)
        sys.stdout.flush()  # whoever reads a pipe shall not wait for the next one


def _invoice_text(invoice: Invoice, now: InvoiceStanding) -> str:
    return (
        f"invoice {invoice.number} is {now.state}: {amount_of(invoice, now.confirmed)} of "
        f"{amount_of(invoice, invoice.amount)} confirmed"
    )


def _watch_from_now_on(app: App, what: str, name: str) -> None:
    with app.open_wallet() as wallet:
        wallet.book.check_name(name)
        shown = _add(app, wallet, what, name)
        wallet.save()
        app.out.result(
            {"name": name, "watched": shown}, lambda: app.out.line(f"Watching {shown} as {name}")
        )


def _add(app: App, wallet: Wallet, what: str, name: str) -> str:
    """Note it in the book; how it is shown. Raises: WalletError."""
    book = wallet.book
    if what[1:4] == "pub":
        account = Account.from_xpub(what, coin_type(app.params))
        book.accounts.append(WatchedAccount(name, account.xpub))
        return account.xpub
    if (lock := _lock_of(what)) is not None:
        book.shared.append(SharedLock(name, lock))
        return wallet.keyring.address(lock_hash(lock))
    book.watched.append(WatchedAddress(name, app.decode_address(what)))
    return what


def _lock_of(text: str) -> Lock | None:
    """The lock that `text` is the hex encoding of; None if it is not hex. Raises: WalletError."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    try:
        lock: Lock = decode_canonical(_LOCK, data)
        lock_hash(lock)
    except Violation as violation:
        raise WalletError(f"not the encoding of a lock: {violation}") from None
    return lock
