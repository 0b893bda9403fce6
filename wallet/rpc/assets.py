"""Methods of a node: assets. Written by `python -m scripts.make_client`."""

from __future__ import annotations

import msgspec

from wallet.rpc.caller import Caller


class AssetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An asset, and how much of it there is."""

    asset: str
    ticker: str
    decimals: int
    supply: int
    """Issued less destroyed."""
    issued: int
    destroyed: int
    height: int
    """Of the block that first issued it."""
    outpoint: str | None = None
    """TXID:N; with the definition it makes the id."""
    authority_of: str | None = None
    """Of an authority coin: of which asset."""
    name: str | None = None
    """This and what follows: of an asset with a definition."""
    terms: str | None = None
    reissuable: bool | None = None
    authority: str | None = None
    """The coin that allows more to be issued."""
    authority_supply: int | None = None
    """How many of those there still are."""


class AssetPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of assets."""

    assets: list[AssetInfo]
    cursor: str | None
    """Ask for the next page with it; null at the end."""


class AssetsMethods(Caller):
    """Methods of the category assets."""

    async def listassets(self, limit: int | None = None, cursor: str | None = None) -> AssetPage:
        """Issued assets in the order of their ids: `assets`, each as by getasset, and `cursor`.

        The next page is asked for with the cursor of the last, which is null at the end.
        """
        found: AssetPage = await self.ask(AssetPage, "listassets", limit, cursor)
        return found

    async def getasset(self, asset: str) -> AssetInfo:
        """What an asset is, and how much of it there is.

        `supply` is `issued` less `destroyed`, in base units. `outpoint` (TXID:N) and the definition
        make the id, so that a client can check them. `authority` is the id of the coin that allows more
        to be issued, and `authority_supply` how many of those coins there still are: with 0 nobody can
        issue more, whatever `reissuable` in the definition once promised. Asked for that id, the answer
        has `authority_of`. The empty id, or the ticker, is the native coin.
        """
        found: AssetInfo = await self.ask(AssetInfo, "getasset", asset)
        return found
