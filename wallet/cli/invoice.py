"""Commands that ask for money: invoice, invoices."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import click
import segno

from wallet.amounts import parse_amount
from wallet.answers import AssetInfo, ChainInfo, fetch_asset, native_info
from wallet.book import Invoice
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import asset_by_id, find_asset
from wallet.cli.options import Command, DefaultGroup
from wallet.cli.output import amount_data, amount_text, asset_data, time_text
from wallet.cli.receive import warn_of_gap
from wallet.cli.view import look
from wallet.client import Client
from wallet.errors import WalletError
from wallet.files import write_file
from wallet.invoices import CONFIRMATIONS_DEFAULT, InvoiceStanding, judge, uri_of
from wallet.keys import RECEIVE
from wallet.scan import Incoming, Say, incoming

CONFIRMATIONS_MAX = 1_000_000
SPAN_MAX_S = 10 * 366 * 86_400
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PNG_SCALE = 8
"""Pixels of a module of a QR code."""

confirmations_option = click.option(
    "--confirmations", type=click.IntRange(1, CONFIRMATIONS_MAX), default=CONFIRMATIONS_DEFAULT,
    help="Blocks from which a payment counts (default: 1).",
)  # fmt: skip


@click.group("invoice", cls=DefaultGroup)
def invoice() -> None:
    """Ask to be paid: tael invoice AMOUNT. tael invoice show ID tells what became of it."""


@invoice.command("create")
@click.argument("amount")
@click.option("--asset", help="What to be paid: asset id or ticker (default: the native coin).")
@click.option("--memo", default="", help="What for; shown to who pays, not in the ledger.")
@click.option("--label", default="", help="Who is paid; shown to who pays.")
@click.option("--expires", metavar="SPAN", help="Ask until then: 90s, 15m, 2h, 7d.")
@click.option("--svg", metavar="FILE", help="Draw the QR code into a file.")
@click.option("--png", metavar="FILE", help="The same as a bitmap.")
@click.option("--qr/--no-qr", default=True, help="Draw it in the terminal (default).")
@click.pass_obj
def create(
    app: App, amount: str, asset: str | None, memo: str, label: str, expires: str | None,
    svg: str | None, png: str | None, qr: bool,
) -> None:  # fmt: skip
    """Ask for AMOUNT at a fresh address: shows the payment URI and its QR code."""
    span = None if expires is None else _span(expires)
    with app.open_wallet() as wallet:
        info = _asset_info(app, wallet, asset)
        book = wallet.book
        index = book.next_index[RECEIVE]
        now = app.env.now()
        made = Invoice(
            number=max((entry.number for entry in book.invoices), default=0) + 1,
            index=index, lock=wallet.keyring.own(RECEIVE, index).lock_hash,
            asset=info.asset, ticker=info.ticker, decimals=info.decimals,
            amount=parse_amount(amount, info.decimals), memo=memo, label=label,
            created=now, expires=None if span is None else now + span,
        )  # fmt: skip
        uri = uri_of(made, app.address(made.lock))
        draw_files(app, uri, svg, png)
        warn_of_gap(book, index)
        book.advance(RECEIVE, index + 1)
        book.add_invoice(made)
        wallet.save()
    app.out.result(invoice_data(app, made), lambda: _show(app, made, qr))


def _span(text: str) -> int:
    match = _SPAN.fullmatch(text)
    span = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 1 <= span <= SPAN_MAX_S:
        raise WalletError("--expires takes a span of time up to ten years: 90s, 15m, 2h, 7d")
    return span


def _asset_info(app: App, wallet: Wallet, asset: str | None) -> AssetInfo:
    """What an invoice is in; the native coin needs no node."""
    native = native_info(app.params)
    if asset is None or asset == native.ticker:
        return native
    wanted = asset_by_id(asset)
    if wanted is None:
        infos = look(app, wallet).infos
        return infos[find_asset(asset, infos)]

    async def work(client: Client, info: ChainInfo, say: Say) -> AssetInfo:
        return await fetch_asset(client, wanted)

    return app.ask_node(work)


def draw_files(app: App, text: str, svg: str | None, png: str | None) -> None:
    """A QR code in files. Raises: WalletError."""
    code = segno.make(text, error="m", micro=False)
    for path, kind in ((svg, "svg"), (png, "png")):
        if path is not None:
            drawn = io.BytesIO()
            code.save(drawn, kind=kind, scale=_PNG_SCALE)
            write_file(app.output_path(path), drawn.getvalue())


def draw(app: App, text: str) -> None:
    """A QR code in the terminal."""
    drawing = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out=drawing, compact=True)
    app.out.line(drawing.getvalue())


def invoice_data(app: App, entry: Invoice) -> dict[str, Any]:
    """An invoice for programs."""
    address = app.address(entry.lock)
    info = AssetInfo(entry.asset, entry.ticker, entry.decimals)
    return {
        "id": str(entry.number),
        "address": address,
        "uri": uri_of(entry, address),
        **asset_data(info),
        **amount_data(entry.amount, entry.decimals),
        "memo": entry.memo,
        "label": entry.label,
        "created": entry.created,
        "expires": entry.expires,
    }


def standing_data(entry: Invoice, now: InvoiceStanding, tip: int) -> dict[str, Any]:
    """What became of an invoice, for programs."""
    return {
        "state": now.state,
        "confirmed": amount_data(now.confirmed, entry.decimals),
        "unconfirmed": amount_data(now.unconfirmed, entry.decimals),
        "payments": [
            {
                "txid": payment.txid[::-1].hex(),
                "asset": payment.asset[::-1].hex(),
                "units": payment.amount,
                "height": payment.height,
                "confirmations": 0 if payment.height is None else tip - payment.height + 1,
            }
            for payment in now.payments
        ],
    }


def amount_of(entry: Invoice, units: int) -> str:
    """An amount of what an invoice is in, for people."""
    return amount_text(units, AssetInfo(entry.asset, entry.ticker, entry.decimals))


def _show(app: App, entry: Invoice, qr: bool) -> None:
    uri = uri_of(entry, app.address(entry.lock))
    if qr:
        draw(app, uri)
    until = "" if entry.expires is None else f", until {time_text(entry.expires)} UTC"
    app.out.line(f"Invoice {entry.number}: {amount_of(entry, entry.amount)}{until}")
    app.out.line(uri)


def ask_standings(
    app: App, entries: Sequence[Invoice], confirmations: int
) -> tuple[int, list[InvoiceStanding]]:
    """The height of the chain, and what became of invoices."""
    addresses = [app.address(entry.lock) for entry in entries]

    async def work(client: Client, info: ChainInfo, say: Say) -> tuple[int, list[Incoming]]:
        return info.blocks, await incoming(client, addresses, say)

    tip, payments = app.ask_node(work)
    found: dict[str, list[Incoming]] = {address: [] for address in addresses}
    for payment in payments:
        if payment.address in found:
            found[payment.address].append(payment)
    now = app.env.now()
    return tip, [
        judge(entry, found[address], tip, confirmations, now)
        for entry, address in zip(entries, addresses, strict=True)
    ]


@invoice.command("show")
@click.argument("number", metavar="ID")
@click.option("--svg", metavar="FILE", help="Draw the QR code into a file.")
@click.option("--png", metavar="FILE", help="The same as a bitmap.")
@click.option("--qr/--no-qr", default=True, help="Draw it in the terminal (default).")
@confirmations_option
@click.pass_obj
def show(
    app: App, number: str, svg: str | None, png: str | None, qr: bool, confirmations: int
) -> None:
    """What became of the invoice ID."""
    with app.open_wallet() as wallet:
        entry = wallet.book.invoice_by_number(number)
    draw_files(app, uri_of(entry, app.address(entry.lock)), svg, png)
    tip, (now,) = ask_standings(app, [entry], confirmations)

    def text() -> None:
        _show(app, entry, qr)
        app.out.line(f"{now.state}: {amount_of(entry, now.confirmed)} confirmed")
        for payment in now.payments:
            where = "waiting" if payment.height is None else f"block {payment.height:,}"
            own = payment.asset == entry.asset
            what = amount_of(entry, payment.amount) if own else "another asset"
            app.out.line(f"  {payment.txid[::-1].hex()}  {where}  {what}")

    app.out.result(invoice_data(app, entry) | standing_data(entry, now, tip), text)


@click.command("invoices", cls=Command)
@confirmations_option
@click.pass_obj
def invoices(app: App, confirmations: int) -> None:
    """Every invoice, and what became of it."""
    with app.open_wallet() as wallet:
        entries = list(wallet.book.invoices)
    tip, found = ask_standings(app, entries, confirmations) if entries else (None, [])
    pairs = list(zip(entries, found, strict=True))
    data = {
        "height": tip,
        "invoices": [
            invoice_data(app, entry) | standing_data(entry, now, tip or 0) for entry, now in pairs
        ],
    }

    def text() -> None:
        app.out.table(
            (">Id", "State", ">Amount", ">Confirmed", "Until (UTC)", "Memo"),
            [
                (
                    str(entry.number), now.state, amount_of(entry, entry.amount),
                    amount_of(entry, now.confirmed),
                    "" if entry.expires is None else time_text(entry.expires), entry.memo,
                )
                for entry, now in pairs
            ],
        )  # fmt: skip

    app.out.result(data, text)
