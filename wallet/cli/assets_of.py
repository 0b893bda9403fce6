"""What the assets of a command are called and how many decimals they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consensus.hashes import AssetId, from_text, to_text
from consensus.params import Params
from consensus.tx import NATIVE
from wallet.answers import AssetInfo, Node, fetch_asset, native_info
from wallet.errors import RpcError, WalletError

ID_LENGTH = 64
Assets = Mapping[AssetId, AssetInfo]


async def asset_infos(
    node: Node, params: Params, assets: Iterable[AssetId]
) -> dict[AssetId, AssetInfo]:
    """What the node knows of `assets`; the native coin is always among them.

    An asset whose first issue is not in a block yet has no name: its amounts stand in base units.
    """
    infos = {NATIVE: native_info(params)}
    for asset in assets:
        if asset not in infos:
            try:
                infos[asset] = await fetch_asset(node, asset)
            except RpcError:
                infos[asset] = AssetInfo(asset, to_text(asset)[:8] + "…", 0)
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
    return infos.get(asset) or AssetInfo(asset, to_text(asset)[:8] + "…", 0)
