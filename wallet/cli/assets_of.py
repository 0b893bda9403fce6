"""What the assets of a command are called and how many decimals they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from consensus.asset import asset_id, authority_id
from consensus.hashes import AssetId, from_text, to_text
from consensus.params import Params
from consensus.tx import NATIVE, AssetDefinition, Issue
from wallet.answers import AssetInfo, Node, fetch_asset, native_info
from wallet.book import Book
from wallet.errors import RpcError, WalletError

ID_LENGTH = 64
Assets = Mapping[AssetId, AssetInfo]


async def asset_infos(
    node: Node, params: Params, book: Book, assets: Iterable[AssetId]
) -> dict[AssetId, AssetInfo]:
    """What the node and the wallet know of `assets`; the native coin is always among them.

    A stranger's asset whose first issue is not in a block yet has no name: its amounts stand in base
    units.
    """
    infos = {NATIVE: native_info(params)}
    for asset in assets:
        if asset in infos:
            continue
        try:
            infos[asset] = await fetch_asset(node, asset)
        except RpcError:
            infos[asset] = own_issues(book).get(asset) or unnamed(asset)
    return {asset: told_apart(info, infos[NATIVE].ticker) for asset, info in infos.items()}


def told_apart(info: AssetInfo, native_ticker: str) -> AssetInfo:
    """Anybody may issue an asset with the ticker of the native coin: it never looks like that."""
    if info.asset == NATIVE or info.ticker.rstrip("*") != native_ticker:
        return info
    return msgspec.structs.replace(info, ticker=f"{info.ticker}#{to_text(info.asset)[:8]}")


def unnamed(asset: AssetId) -> AssetInfo:
    """An asset of which nothing but the id is known."""
    return AssetInfo(asset, to_text(asset)[:8] + "…", 0)


def new_infos(asset: AssetId, definition: AssetDefinition) -> dict[AssetId, AssetInfo]:
    """An asset that is being made, and its authority coin."""
    ticker = definition.ticker.decode("ascii", "replace")
    authority = authority_id(asset)
    return {
        asset: AssetInfo(asset, ticker, definition.decimals, definition),
        authority: AssetInfo(authority, f"{ticker}*", 0, None, asset),
    }


def own_issues(book: Book) -> dict[AssetId, AssetInfo]:
    """The assets that the wallet itself has issued, also if no block holds them yet."""
    infos: dict[AssetId, AssetInfo] = {}
    for sent in book.sent:
        body = sent.tx().body
        for entry in body.issuances:
            if isinstance(entry, Issue):
                asset = asset_id(body.inputs[entry.input_index], entry.definition)
                infos |= new_infos(asset, entry.definition)
    return infos


def find_asset(text: str | None, infos: Assets) -> AssetId:
    """The asset that a person means: an id, or a ticker that only one asset of the wallet has.

    Tickers are not unique, so one that fits two assets is refused. Raises: WalletError.
    """
    if text is None or text == infos[NATIVE].ticker:
        return NATIVE
    if (given := asset_by_id(text)) is not None:
        return given
    named = [info.asset for info in infos.values() if info.ticker == text and info.definition]
    if not named:
        raise WalletError(f"the wallet holds no asset called {text[:64]!r}; give the asset id")
    if len(named) > 1:
        ids = ", ".join(to_text(asset) for asset in named)
        raise WalletError(f"several assets are called {text!r}; give the id: {ids}")
    return named[0]


def asset_by_id(text: str) -> AssetId | None:
    """The asset whose id `text` is; None if it has not the form of one. Raises: WalletError."""
    if len(text) != ID_LENGTH:
        return None
    try:
        return AssetId(from_text(text))
    except ValueError:
        raise WalletError(f"{text!r} is not an asset id") from None


def described(asset: AssetId, infos: Assets) -> AssetInfo:
    """What is known of `asset`; at least its id."""
    return infos.get(asset) or unnamed(asset)
