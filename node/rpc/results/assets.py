"""Shapes: issued assets."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from node.rpc.described import Cursor, Hash, Hex, Says, Units
from node.rpc.results.addresses import AssetLabel


class AssetInfo(AssetLabel):
    """An asset, and how much of it there is."""

    supply: Annotated[Units, Says("issued less destroyed")]
    issued: Units
    destroyed: Units
    height: Annotated[int, Says("of the block that first issued it")]
    outpoint: NotRequired[Annotated[str, Says("TXID:N; with the definition it makes the id")]]
    authority_of: NotRequired[Annotated[Hash, Says("of an authority coin: of which asset")]]
    name: NotRequired[Annotated[str, Says("this and what follows: of an asset with a definition")]]
    terms: NotRequired[Hex]
    reissuable: NotRequired[bool]
    authority: NotRequired[Annotated[Hash, Says("the coin that allows more to be issued")]]
    authority_supply: NotRequired[Annotated[Units, Says("how many of those there still are")]]


class AssetPage(TypedDict):
    """A page of assets."""

    assets: list[AssetInfo]
    cursor: Cursor
