"""Commands that pay: send, bump."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from consensus.hashes import Txid, from_text, to_text
from consensus.params import MEMO_BYTES_MAX
from consensus.tx import NATIVE, Issue, TxOut
from wallet.amounts import parse_amount
from wallet.book import Sent
from wallet.build import Fee, MoreOf, NewAsset, Request, everything
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import described, find_asset
from wallet.cli.contacts import addressed, check_recipients
from wallet.cli.options import Command
from wallet.cli.spend import (
    Gathered,
    SpendOptions,
    expiry_of,
    fee_of,
    gather,
    shortage_in_words,
    spend,
    spend_options,
)
from wallet.errors import WalletError
from wallet.sign import Spendable

ALL = "all"
RELAY_RATE = 1_000
"""What a replacement adds to the fee of what it replaces, per 1 000 cost."""


def memo_bytes(text: str | None) -> bytes:
    """The memo of an output: text, or bytes as 0x…. Raises: WalletError."""
    if text is None:
        return b""
    if text.startswith("0x"):
        try:
            memo = bytes.fromhex(text[2:])
        except ValueError:
            raise WalletError("a memo that begins with 0x must be hex") from None
    else:
        memo = text.encode("utf-8", "surrogateescape")
    if len(memo) > MEMO_BYTES_MAX:
        raise WalletError(f"a memo has at most {MEMO_BYTES_MAX} bytes, this one has {len(memo)}")
    return memo


def pairs(words: Sequence[str], to: Sequence[str]) -> list[tuple[str, str]]:
    """Recipients and amounts from both ways of writing them. Raises: WalletError."""
    if len(words) % 2:
        raise WalletError("every recipient needs an amount: ADDRESS AMOUNT [ADDRESS AMOUNT …]")
    found = list(zip(words[::2], words[1::2], strict=True))
    for entry in to:
        address, separator, amount = entry.rpartition("=")
        if not separator:
            raise WalletError("--to takes ADDRESS=AMOUNT")
        found.append((address, amount))
    if not found:
        raise WalletError("nobody to pay: tael send ADDRESS AMOUNT")
    return found


def payments_of(
    app: App, recipients: Sequence[tuple[str, str]], gathered: Gathered, asset: str | None,
    memo: str | None, fee: Fee, name: str = "",
) -> Request:  # fmt: skip
    """The request that pays `recipients` from the wallet's own coins, or from the shared lock `name`.

    Raises: WalletError.
    """
    wanted = find_asset(asset, gathered.infos)
    info = described(wanted, gathered.infos)
    note = memo_bytes(memo)
    if recipients[0][1] == ALL:
        if len(recipients) > 1:
            raise WalletError("`all` goes to one recipient only")
        lock = app.decode_address(recipients[0][0])
        with shortage_in_words(gathered, name):
            return everything(gathered.coins(name), TxOut(wanted, 1, lock, note), fee)
    outputs = [
        TxOut(wanted, parse_amount(amount, info.decimals), app.decode_address(address), note)
        for address, amount in recipients
    ]
    return Request(tuple(outputs))


@click.command("send", cls=Command)
@click.argument("recipients", nargs=-1, metavar="[ADDRESS AMOUNT]…")
@click.option("--to", multiple=True, metavar="ADDRESS=AMOUNT", help="One more recipient.")
@click.option("--asset", help="What to send: asset id or ticker (default: the native coin).")
@click.option("--memo", help="Text, or 0x and hex, that everybody can read; 128 bytes at most.")
@click.option("--label", help="A note of your own, kept in the wallet.")
@spend_options
@click.pass_obj
def send(
    app: App, /, recipients: tuple[str, ...], to: tuple[str, ...], asset: str | None,
    memo: str | None, label: str | None, **options: Any,
) -> None:  # fmt: skip
    """Pay AMOUNT to ADDRESS, for as many pairs as you like. AMOUNT may be `all`.

    In place of an address, the name of a contact will do, exactly as `tael contacts` shows it.
    """
    chosen = SpendOptions(**options)
    found = pairs(recipients, to)
    check_recipients(app, found)
    with app.open_wallet() as wallet:
        found = addressed(app, wallet.book, found)
        gathered = gather(app, wallet)
        fee = fee_of(chosen, gathered.rate)
        request = payments_of(app, found, gathered, asset, memo, fee)
        request = with_expiry(request, expiry_of(chosen, gathered.info))
        spend(app, wallet, request, gathered, chosen, label=label)


def with_expiry(request: Request, expiry: int) -> Request:
    """The request, void after `expiry`."""
    return Request(request.payments, request.forced, request.issuances, expiry)


def _find_sent(wallet: Wallet, text: str) -> Sent:
    try:
        sent = wallet.book.sent_by_id().get(Txid(from_text(text)))
    except ValueError:
        sent = None
    if sent is None:
        raise WalletError(f"{text[:64]!r} is no transaction that this wallet sent")
    return sent


def replacement(wallet: Wallet, sent: Sent) -> Request:
    """The request that does again what `sent` does, with the same coins. Raises: WalletError."""
    body = sent.tx().body
    kept = tuple(
        output
        for index, output in enumerate(body.outputs)
        if not (index in sent.change and output.asset == NATIVE)
    )
    issuances = tuple(
        NewAsset(body.inputs[entry.input_index], entry.definition, entry.amount)
        if isinstance(entry, Issue)
        else MoreOf(entry.asset, entry.amount)
        for entry in body.issuances
    )
    forced = tuple(Spendable(e.outpoint, e.coin, e.lock) for e in sent.inputs)
    return Request(kept, forced, issuances, body.expiry)


@click.command("bump", cls=Command)
@click.argument("txid")
@spend_options
@click.pass_obj
def bump(app: App, /, txid: str, **options: Any) -> None:
    """Send TXID again with a higher fee, in its place.

    It spends the same coins, so only one of the two can ever be mined.
    """
    chosen = SpendOptions(**options)
    if chosen.expiry is not None:
        raise WalletError("the replacement expires when the original does")
    with app.open_wallet() as wallet:
        sent = _find_sent(wallet, txid)
        gathered = gather(app, wallet)
        own = {entry.outpoint for entry in gathered.held}
        if any(entry.outpoint not in own for entry in sent.inputs):
            raise WalletError(f"{txid} is mined already, or something else spent its coins")
        if any(entry.replaces == sent.txid for entry in wallet.book.sent):
            raise WalletError(f"{txid} was bumped already; bump its replacement")
        # The replaced transaction's own outputs go away with it.
        theirs = [e for e in gathered.held if e.outpoint[:32] != sent.txid]
        gathered = Gathered(gathered.info, theirs, gathered.infos, gathered.rate, gathered.promised)
        old_rate = -(-sent.fee * 1_000 // sent.cost)
        fee = fee_of(chosen, gathered.rate)
        if fee.fixed is None:
            fee = Fee(rate=max(fee.rate, old_rate + RELAY_RATE), least=sent.fee + sent.cost)
        elif fee.fixed <= sent.fee:
            raise WalletError("the new fee must be above the old one")
        note = {"replaces": to_text(sent.txid)}
        spend(app, wallet, replacement(wallet, sent), gathered, chosen, fee=fee, note=note,
              replaces=sent)  # fmt: skip
