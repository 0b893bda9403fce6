"""Issued assets: their ids, their definitions, and the record that the ledger keeps of each.

Source: docs/protocol.md, "Assets".
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

from consensus.codec import encode
from consensus.errors import Invalid, Rule
from consensus.hashes import AssetId, hash_asset, hash_authority
from consensus.params import AMOUNT_MAX
from consensus.tx import AssetDefinition, Height, Issuance, Issue, OutPoint

DECIMALS_MAX = 18
NAME_BYTES_MAX = 64
_TICKER = re.compile(rb"[A-Z0-9]{1,12}")


class AssetRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the ledger knows of an asset at some block."""

    definition: AssetDefinition | None
    """None for the native coin and for authority coins."""
    authority_of: bytes
    """The asset that this authority coin allows to reissue; else empty."""
    outpoint: bytes
    """The input that the id derives from; empty for the native coin."""
    height: Height
    """Height of the block that issued it first."""
    issued: int
    """Base units ever created (for the native coin: by coinbases, less the fees they collected)."""
    destroyed: int
    """Base units sent to the lock of zeros."""

    @property
    def supply(self) -> int:
        return self.issued - self.destroyed


def asset_id(outpoint: OutPoint, definition: AssetDefinition) -> AssetId:
    """Id of the asset that `definition` makes of an input. An outpoint is spent once, so an id is
    made once."""
    return hash_asset(encode((outpoint, definition)))


def authority_id(asset: AssetId) -> AssetId:
    """Id of the coin that allows more of `asset` to be issued."""
    return hash_authority(encode((asset,)))


def check_definition(definition: AssetDefinition) -> None:
    """Raises: Invalid (asset-ticker, asset-name, asset-decimals, asset-terms)."""
    if not _TICKER.fullmatch(definition.ticker):
        raise Invalid(Rule.ASSET_TICKER, definition.ticker[:16])
    if not _is_name(definition.name):
        raise Invalid(Rule.ASSET_NAME, definition.name[:NAME_BYTES_MAX])
    if not 0 <= definition.decimals <= DECIMALS_MAX:
        raise Invalid(Rule.ASSET_DECIMALS, definition.decimals)
    if len(definition.terms) not in (0, 32):
        raise Invalid(Rule.ASSET_TERMS, len(definition.terms))


def _is_name(name: bytes) -> bool:
    if not 1 <= len(name) <= NAME_BYTES_MAX:
        return False
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    # Category Cc is fixed for ever (U+0000–001F, 007F–009F); no other category may decide here,
    # since those change with the edition of Unicode.
    return all(unicodedata.category(character) != "Cc" for character in text)


def check_issuances(issuances: tuple[Issuance, ...], input_count: int) -> None:
    """Raises: Invalid (issuance-input, issuance-duplicate, issuance-amount, asset-…)."""
    seen: set[int | bytes] = set()
    for issuance in issuances:
        if isinstance(issuance, Issue):
            if not 0 <= issuance.input_index < input_count:
                raise Invalid(Rule.ISSUANCE_INPUT, issuance.input_index, input_count)
            check_definition(issuance.definition)
        key = issuance.input_index if isinstance(issuance, Issue) else issuance.asset
        if key in seen:
            raise Invalid(Rule.ISSUANCE_DUPLICATE, key)
        seen.add(key)
        if not 1 <= issuance.amount <= AMOUNT_MAX:
            raise Invalid(Rule.ISSUANCE_AMOUNT, issuance.amount)
