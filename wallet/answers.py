"""What the wallet asks of a node, and the shapes of the answers it accepts.

A node is not trusted with more than it must be: shapes are checked here, chain and asset definitions
are verified by hash, and signatures commit to every coin.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, TypeVar

import msgspec

from consensus.asset import asset_id, authority_id
from consensus.block import genesis
from consensus.errors import DecodeError
from consensus.hashes import AssetId, Txid, from_text, to_text
from consensus.locks import BlockContext
from consensus.params import TX_BYTES_MAX, Params
from consensus.tx import NATIVE, AssetDefinition, OutPoint, Tx, decode_tx, outpoint
from wallet.amounts import NATIVE_DECIMALS, parse_rate
from wallet.errors import NodeError

T = TypeVar("T")
_EXPONENT_MAX = 20


class Node(Protocol):
    """Somebody who answers JSON-RPC."""

    async def call(self, method: str, *params: Any) -> Any:
        """Raises: NodeError."""
        ...


class ChainInfo(msgspec.Struct, frozen=True):
    """From getblockchaininfo."""

    chain: str
    chainid: str
    blocks: int
    mediantime: int
    bestblockhash: str
    initialblockdownload: bool = False
    headers: int = 0


class Utxo(msgspec.Struct, frozen=True):
    """From getaddressutxos."""

    address: str
    txid: str
    outputIndex: int
    asset: str
    satoshis: int
    height: int
    delayed: bool


class UtxoPage(msgspec.Struct, frozen=True):
    utxos: list[Utxo]
    cursor: str | None = None


class MempoolEntry(msgspec.Struct, frozen=True):
    """From getaddressmempool: an output to an address, or (negative) a coin of it that is spent."""

    address: str
    txid: str
    index: int
    asset: str
    satoshis: int
    timestamp: int = 0
    prevtxid: str = ""
    prevout: int = 0


class MempoolPage(msgspec.Struct, frozen=True):
    entries: list[MempoolEntry]
    cursor: str | None = None


class Delta(msgspec.Struct, frozen=True):
    """From getaddressdeltas: what one transaction did to one address and asset."""

    address: str
    txid: str
    height: int
    blockindex: int
    asset: str
    satoshis: int


class DeltaPage(msgspec.Struct, frozen=True):
    deltas: list[Delta]
    cursor: str | None = None


class AssetBalance(msgspec.Struct, frozen=True):
    asset: str
    balance: int
    received: int
    unconfirmed: int = 0


class AddressBalance(msgspec.Struct, frozen=True):
    """From getaddressbalance."""

    balance: int
    received: int
    unconfirmed: int = 0
    immature: int = 0
    assets: list[AssetBalance] = []

    @property
    def is_used(self) -> bool:
        """Whether anything was ever paid to the addresses."""
        return bool(self.received or self.unconfirmed or self.assets)


class FeeEstimate(msgspec.Struct, frozen=True):
    """From estimatesmartfee; the rate is native coins per 1 000 cost."""

    feerate: str | int | None = None


class Acceptance(msgspec.Struct, frozen=True):
    """From testmempoolaccept."""

    allowed: bool
    reject_reason: str = msgspec.field(default="", name="reject-reason")
    reject_details: str = msgspec.field(default="", name="reject-details")

    @property
    def reason(self) -> str:
        return self.reject_details or self.reject_reason


class AssetInfo(msgspec.Struct, frozen=True):
    """An asset as the wallet shows it."""

    asset: AssetId
    ticker: str
    decimals: int
    definition: AssetDefinition | None = None
    """None for the native coin and for authority coins."""
    authority_of: AssetId = NATIVE
    supply: int | None = None
    height: int | None = None
    authority_supply: int | None = None
    """Coins left that allow more to be issued; None where there never is one, or it is not told."""
    origin: OutPoint | None = None
    """Of which, with the definition, the id is made."""


class _AssetAnswer(msgspec.Struct, frozen=True):
    """From getasset."""

    asset: str
    ticker: str = ""
    name: str = ""
    decimals: int = 0
    terms: str = ""
    reissuable: bool = False
    outpoint: str = ""
    authority_of: str = ""
    supply: int | None = None
    height: int | None = None
    authority_supply: int | None = None


async def ask(node: Node, shape: type[T], method: str, *params: Any) -> T:
    """Call `method` and check the shape of its answer. Raises: NodeError."""
    answer = await node.call(method, *params)
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise NodeError(f"the node answered {method} in an unknown shape: {error}") from None


async def check_chain(node: Node, params: Params) -> ChainInfo:
    """The state of the node's chain, after seeing that it is the wallet's. Raises: NodeError."""
    info = await ask(node, ChainInfo, "getblockchaininfo")
    wanted = to_text(genesis(params).header.hash)
    if info.chainid != wanted:
        raise NodeError(
            f"the node runs another network ({info.chain[:32]!r}, chain id {info.chainid[:16]}…); "
            f"this wallet is for {params.name.decode()!r}, chain id {wanted[:16]}…"
        )
    return info


def next_context(info: ChainInfo) -> BlockContext:
    """The context of the block after the node's tip."""
    return BlockContext(bytes_of(info.chainid), info.blocks + 1, info.mediantime)


def bytes_of(text: str, size: int = 32) -> bytes:
    """A hash from its text form. Raises: NodeError."""
    try:
        found = from_text(text)
    except ValueError:
        found = b""
    if len(found) != size:
        raise NodeError(f"the node wrote {text[:80]!r} where a hash belongs")
    return found


def asset_of(text: str) -> AssetId:
    """An asset id from its text form, which is empty for the native coin. Raises: NodeError."""
    return AssetId(bytes_of(text)) if text else NATIVE


def outpoint_of(txid: str, index: int) -> OutPoint:
    """Raises: NodeError."""
    if not 0 <= index < 2**32:
        raise NodeError("the node wrote an output index out of range")
    return outpoint(bytes_of(txid), index)


async def fetch_tx(node: Node, txid: Txid) -> Tx:
    """A transaction by its id, verified to have that id. Raises: NodeError."""
    raw = await ask(node, str, "getrawtransaction", to_text(txid), 0)
    try:
        tx = decode_tx(bytes.fromhex(raw), TX_BYTES_MAX)
    except (ValueError, DecodeError):
        tx = None
    if tx is None or tx.txid != txid:
        raise NodeError("the node answered getrawtransaction with another transaction")
    return tx


async def fee_rate(node: Node, blocks: int) -> int | None:
    """Base units per 1 000 cost to be mined within `blocks`; None if the node has no estimate."""
    estimate = await ask(node, FeeEstimate, "estimatesmartfee", blocks)
    if estimate.feerate is None:
        return None
    try:
        rate = Decimal(estimate.feerate)  # a JSON number may have an exponent
    except InvalidOperation:
        raise NodeError("the node answered estimatesmartfee with no number") from None
    if not rate.is_finite() or abs(rate.adjusted()) > _EXPONENT_MAX:
        raise NodeError("the node answered estimatesmartfee with an absurd number")
    return parse_rate(f"{rate:f}")


def native_info(params: Params) -> AssetInfo:
    """The native coin of a network."""
    return AssetInfo(NATIVE, params.ticker.decode("ascii"), NATIVE_DECIMALS)


async def fetch_asset(node: Node, asset: AssetId) -> AssetInfo:
    """What an asset is. Its definition is checked against its id, so that no node can lie about
    where the decimal point stands. Raises: NodeError.
    """
    answer = await ask(node, _AssetAnswer, "getasset", to_text(asset))
    if answer.authority_of:
        of = asset_of(answer.authority_of)
        if authority_id(of) != asset:
            raise NodeError(f"the node lies about the authority coin {to_text(asset)}")
        return AssetInfo(asset, f"{answer.ticker[:12]}*", 0, None, of, answer.supply, answer.height)
    definition = AssetDefinition(
        answer.ticker.encode(), answer.name.encode(), answer.decimals,
        _terms(answer.terms), answer.reissuable,
    )  # fmt: skip
    origin = _origin(answer.outpoint)
    if asset_id(origin, definition) != asset:
        raise NodeError(f"the node lies about the definition of asset {to_text(asset)}")
    return AssetInfo(
        asset, answer.ticker, answer.decimals, definition, NATIVE, answer.supply, answer.height,
        answer.authority_supply, origin,
    )  # fmt: skip


def _terms(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NodeError("the node wrote something else where the hash of terms belongs") from None


def _origin(text: str) -> OutPoint:
    txid, _, index = text.partition(":")
    if not index.isdecimal() or len(index) > 10:
        raise NodeError("the node wrote something else where an outpoint belongs")
    return outpoint_of(txid, int(index))
