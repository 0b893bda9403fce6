"""Commands about issued assets: issue, reissue, destroy."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click
import msgspec

from consensus.asset import NAME_BYTES_MAX, authority_id, check_definition
from consensus.errors import Invalid, Rule
from consensus.hashes import to_text
from consensus.tx import BURN_LOCK, NATIVE, AssetDefinition, TxOut
from wallet.amounts import parse_amount
from wallet.build import MoreOf, NewAsset, Request, Shortage
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import asset_by_id, described, find_asset, new_infos
from wallet.cli.options import Command
from wallet.cli.send import memo_bytes, with_expiry
from wallet.cli.spend import (
    SpendOptions,
    expiry_of,
    gather,
    shortage_in_words,
    spend,
    spend_options,
)
from wallet.errors import WalletError
from wallet.files import read_file
from wallet.keys import RECEIVE
from wallet.sign import Spendable
from wallet.tracked import Place

_TERMS_BYTES_MAX = 64 * 1024 * 1024
_LIMITS = {
    Rule.ASSET_TICKER: "a ticker is 1 to 12 characters A-Z and 0-9",
    Rule.ASSET_NAME: f"a name is text of at least 1 and at most {NAME_BYTES_MAX} bytes",
}
"""What people may type, by the rule that says so."""


def _own_place(wallet: Wallet) -> Place:
    """Where new units go: the address that would be given out next."""
    return wallet.keyring.own(RECEIVE, wallet.book.next_index[RECEIVE])


def _origin(coins: list[Spendable]) -> Spendable:
    """The coin that an asset id derives from: a large one, which pays the fee as well."""
    native = [entry for entry in coins if entry.coin.asset == NATIVE]
    if not native:
        raise Shortage(NATIVE, 1)
    return max(native, key=lambda entry: (not entry.pending, entry.coin.amount, entry.outpoint))


def _terms_hash(path: str | None) -> bytes:
    if path is None:
        return b""
    return hashlib.sha256(read_file(Path(path).expanduser(), _TERMS_BYTES_MAX)).digest()


def _definition(
    ticker: str, name: str, decimals: int, terms: bytes, reissuable: bool
) -> AssetDefinition:
    """Raises: WalletError, naming the rule that is broken."""
    try:
        definition = AssetDefinition(ticker.encode(), name.encode(), decimals, terms, reissuable)
        check_definition(definition)
    except Invalid as violation:
        limit = _LIMITS.get(violation.rule)
        why = f"{violation.rule} ({limit})" if limit else str(violation.rule)
        raise WalletError(f"not a valid asset: {why}") from None
    except UnicodeEncodeError:
        raise WalletError("not a valid asset: ticker and name must be text") from None
    return definition


@click.command("issue", cls=Command)
@click.argument("ticker")
@click.argument("amount")
@click.option("--name", help="What it is, in words (default: the ticker).")
@click.option("--decimals", type=click.IntRange(0, 18), default=0, help="Places after the point.")
@click.option("--terms", metavar="FILE", help="A document whose hash becomes part of the asset id.")
@click.option("--reissuable", is_flag=True, help="Keep the right to issue more.")
@click.option("--to", metavar="ADDRESS", help="Who gets the units (default: this wallet).")
@spend_options
@click.pass_obj
def issue(
    app: App, /, ticker: str, amount: str, name: str | None, decimals: int, terms: str | None,
    reissuable: bool, to: str | None, **options: Any,
) -> None:  # fmt: skip
    """Make a new asset called TICKER and issue AMOUNT of it.

    Without --reissuable its id itself proves that there will never be more.
    """
    chosen = SpendOptions(**options)
    definition = _definition(ticker, name or ticker, decimals, _terms_hash(terms), reissuable)
    if ticker == app.params.ticker.decode():
        raise WalletError(f"{ticker} is what the native coin is called: choose another ticker")
    units = parse_amount(amount, decimals)
    target = None if to is None else app.decode_address(to)
    with app.open_wallet() as wallet:
        gathered = gather(app, wallet)
        place = _own_place(wallet)
        with shortage_in_words(gathered):
            origin = _origin(gathered.coins())
        new = NewAsset(origin.outpoint, definition, units)
        payments = [TxOut(new.asset, units, target or place.lock_hash)]
        if reissuable:
            payments.append(TxOut(authority_id(new.asset), 1, place.lock_hash))
        wallet.book.advance(RECEIVE, wallet.book.next_index[RECEIVE] + 1)
        request = Request(tuple(payments), (origin,), (new,), expiry_of(chosen, gathered.info))
        infos = {**gathered.infos, **new_infos(new.asset, definition)}
        gathered = msgspec.structs.replace(gathered, infos=infos)
        spend(app, wallet, request, gathered, chosen, note={"asset": to_text(new.asset)})


@click.command("reissue", cls=Command)
@click.argument("asset")
@click.argument("amount")
@click.option("--to", metavar="ADDRESS", help="Who gets the units (default: this wallet).")
@click.option("--last", is_flag=True, help="Destroy the right to issue more with it.")
@spend_options
@click.pass_obj
def reissue(
    app: App, /, asset: str, amount: str, to: str | None, last: bool, **options: Any
) -> None:
    """Issue AMOUNT more of ASSET, whose authority coin this wallet holds."""
    chosen = SpendOptions(**options)
    target = None if to is None else app.decode_address(to)
    with app.open_wallet() as wallet:
        given = asset_by_id(asset)
        gathered = gather(app, wallet, () if given is None else (given,))
        wanted = find_asset(asset, gathered.infos)
        if wanted == NATIVE:
            raise WalletError("the native coin is made by mining only")
        units = parse_amount(amount, described(wanted, gathered.infos).decimals)
        authority = authority_id(wanted)
        held = [entry for entry in gathered.coins() if entry.coin.asset == authority]
        if not held:
            raise WalletError("this wallet holds no authority coin of the asset")
        place = _own_place(wallet)
        wallet.book.advance(RECEIVE, wallet.book.next_index[RECEIVE] + 1)
        payments = (
            TxOut(wanted, units, target or place.lock_hash),
            TxOut(authority, 1, BURN_LOCK if last else place.lock_hash),
        )
        request = Request(
            payments, (held[0],), (MoreOf(wanted, units),), expiry_of(chosen, gathered.info)
        )
        spend(app, wallet, request, gathered, chosen, note={"asset": to_text(wanted)})


@click.command("destroy", cls=Command)
@click.argument("amount")
@click.option("--asset", required=True, help="Asset id or ticker.")
@click.option("--memo", help="Text, or 0x and hex, that everybody can read.")
@spend_options
@click.pass_obj
def destroy(app: App, /, amount: str, asset: str, memo: str | None, **options: Any) -> None:
    """Destroy AMOUNT of an asset for ever; its supply falls by as much."""
    chosen = SpendOptions(**options)
    with app.open_wallet() as wallet:
        gathered = gather(app, wallet)
        wanted = find_asset(asset, gathered.infos)
        units = parse_amount(amount, described(wanted, gathered.infos).decimals)
        request = Request((TxOut(wanted, units, BURN_LOCK, memo_bytes(memo)),))
        request = with_expiry(request, expiry_of(chosen, gathered.info))
        spend(app, wallet, request, gathered, chosen, note={"asset": to_text(wanted)})
