"""A receipt: one file that shows, without any node, that a payment was mined.

    [magic, version, network, chain id, transaction, coins, definitions, parent, inclusion, headers, digest]

Canonical MessagePack. What it proves rests on work: whoever would forge it has to find the blocks that
it shows. The digest at the end is no part of the proof; it tells damage from forgery.

Source: docs/payments.md, "Receipts".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from consensus.asset import asset_id, check_definition
from consensus.block import HEADER_BYTES, Header, decode_header, genesis
from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import Invalid, Rule, Violation
from consensus.hashes import HASH_BYTES, AssetId, BlockHash, LockHash, tagged, to_text
from consensus.header_tree import check_pow
from consensus.inclusion import Inclusion, check_inclusion
from consensus.keys import are_signed
from consensus.locks import BlockContext
from consensus.params import AMOUNT_MAX, BLOCK_BYTES_MAX, TX_BYTES_MAX, UINT32_MAX, Params
from consensus.pow import asert_bits, work_of
from consensus.sighash import SCOPE_ALL
from consensus.tx import (
    AssetDefinition,
    Bytes32,
    Coin,
    Height,
    Lock,
    OutPoint,
    Tx,
    TxOut,
    decode_tx,
    is_coinbase_witness,
)
from consensus.tx_rules import check_spend, check_tx
from wallet.errors import WalletError

MAGIC = b"tael-receipt"
VERSION = 1
HEADERS_MAX = 2_000
"""Headers behind that of the block: 160 kB, and sixteen hours of blocks on main."""
RECEIPT_BYTES_MAX = 2 * BLOCK_BYTES_MAX
_INPUTS_MAX = 10_000
_DEFINITIONS_MAX = 1_000
_digest = tagged("Tael/receipt")

_RawHeader = Annotated[bytes, msgspec.Meta(min_length=HEADER_BYTES, max_length=HEADER_BYTES)]


class SpentValue(msgspec.Struct, frozen=True, array_like=True):
    """What an input spends; its lock is the one that the witness reveals."""

    asset: AssetId
    amount: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]


class Definition(msgspec.Struct, frozen=True, array_like=True):
    """What an asset is, with the outpoint that makes its id."""

    origin: Annotated[OutPoint, msgspec.Meta(min_length=36, max_length=36)]
    definition: AssetDefinition


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """The file. `make_receipt` fills it, `verify` believes none of it."""

    magic: bytes
    version: int
    network: bytes
    chain_id: Bytes32
    tx: bytes
    """The transaction, whole."""
    coins: Annotated[tuple[SpentValue, ...], msgspec.Meta(max_length=_INPUTS_MAX)]
    """What its inputs spend, in their order; empty for a coinbase."""
    definitions: Annotated[tuple[Definition, ...], msgspec.Meta(max_length=_DEFINITIONS_MAX)]
    """Of the assets that it pays, as far as they are known."""
    parent: _RawHeader
    """The header before that of the block: the difficulty follows from it."""
    inclusion: Inclusion
    headers: Annotated[tuple[_RawHeader, ...], msgspec.Meta(max_length=HEADERS_MAX)]
    """Those behind that of the block, in their order."""
    digest: Bytes32
    """Of everything before it."""


class Payer(msgspec.Struct, frozen=True):
    """An input: the lock that was revealed, and what stood under it."""

    lock_hash: LockHash
    lock: Lock
    value: SpentValue


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt proves, if nobody has spent `work` on a lie."""

    tx: Tx
    height: Height
    block: Header
    tip: Header
    """The last header that is shown."""
    depth: int
    """Confirmations that are shown, the block itself included."""
    work: int
    """Hashes that finding the shown blocks takes, on average."""
    least_work: int
    """Hashes that as many blocks of the easiest target take."""
    payers: tuple[Payer, ...]
    fee: int | None
    """Base units of the native coin; None if no signature vouches for what was spent."""
    outputs: tuple[TxOut, ...]
    definitions: dict[AssetId, AssetDefinition]


_RECEIPT = decoder_of(Receipt)
_WRONG = "not a sound receipt: "


def make_receipt(
    params: Params, tx: Tx, coins: Sequence[SpentValue], definitions: Sequence[Definition],
    parent: bytes, inclusion: Inclusion, headers: Sequence[bytes],
) -> Receipt:  # fmt: skip
    """A receipt from its parts, sealed against damage."""
    bare = Receipt(
        MAGIC, VERSION, params.name, genesis(params).header.hash, tx.raw, tuple(coins),
        tuple(definitions), parent, inclusion, tuple(headers), bytes(HASH_BYTES),
    )  # fmt: skip
    return msgspec.structs.replace(bare, digest=digest_of(bare))


def digest_of(receipt: Receipt) -> bytes:
    """The digest that belongs at the end of `receipt`, whatever stands there."""
    found: bytes = _digest(encode(msgspec.structs.replace(receipt, digest=bytes(HASH_BYTES))))
    return found


def encode_receipt(receipt: Receipt) -> bytes:
    """The bytes of the file."""
    return encode(receipt)


def decode_receipt(data: bytes) -> Receipt:
    """Raises: WalletError for what is damaged, of another version, or no receipt."""
    if len(data) > RECEIPT_BYTES_MAX:
        raise WalletError(f"{_WRONG}larger than {RECEIPT_BYTES_MAX} bytes")
    try:
        receipt: Receipt = decode_canonical(_RECEIPT, data)
    except Violation as violation:
        raise WalletError(f"{_WRONG}{violation}") from None
    if receipt.magic != MAGIC:
        raise WalletError(f"{_WRONG}it does not call itself one")
    if receipt.version != VERSION:
        raise WalletError(f"the receipt has version {receipt.version}; this tael knows {VERSION}")
    if receipt.digest != digest_of(receipt):
        raise WalletError(f"{_WRONG}it was damaged on its way (the digest at its end does not fit)")
    return receipt


def verify(receipt: Receipt, params: Params, now: int) -> Proven:
    """What `receipt` proves on the network `params`; `now` is in seconds since 1970.

    Raises: WalletError, naming what does not hold.
    """
    if receipt.chain_id != genesis(params).header.hash:
        name = receipt.network[:32].decode("ascii", "replace")
        raise WalletError(f"the receipt is of another network ({name!r}); choose it with --network")
    try:
        return _verify(receipt, params, now)
    except Violation as violation:
        raise WalletError(f"{_WRONG}{violation}") from None


def _verify(receipt: Receipt, params: Params, now: int) -> Proven:
    tx = decode_tx(receipt.tx, BLOCK_BYTES_MAX)
    included = check_inclusion(receipt.inclusion)
    if (tx.txid, tx.wtxid) != (included.txid, included.wtxid):
        raise WalletError(f"{_WRONG}the transaction is not the one that stands in the block")
    if not 1 <= included.height <= UINT32_MAX:
        raise WalletError(f"{_WRONG}the height of the block is out of range")
    shown = [included.header, *(decode_header(raw) for raw in receipt.headers)]
    check_headers(decode_header(receipt.parent), shown, included.height, params, now)
    payers, fee = _payers(receipt, tx, BlockHash(receipt.chain_id), included.height)
    return Proven(
        tx=tx, height=included.height, block=included.header, tip=shown[-1], depth=len(shown),
        work=sum(work_of(header.bits) for header in shown),
        least_work=len(shown) * work_of(params.pow_limit_bits),
        payers=payers, fee=fee, outputs=tx.body.outputs, definitions=_definitions(receipt),
    )  # fmt: skip


def check_headers(
    parent: Header, headers: Sequence[Header], height: int, params: Params, now: int
) -> None:
    """Check `headers` on `parent`, the first of which claims `height`, by every rule that needs no
    more of the chain than that. Raises: WalletError, Invalid.

    The median of times reaches further back, and the height is the miner's word: so whoever spends
    little work can only claim a place far from now, in time or in height, where the target is easy.
    """
    start = genesis(params).header
    if (height == 1) != (parent.hash == start.hash):
        wrong = "does not" if height == 1 else "cannot"
        raise WalletError(f"{_WRONG}block {height} {wrong} stand on genesis")
    if parent.hash != start.hash:  # which needs no work
        check_pow(parent)
    for number, header in enumerate(headers, height):
        if header.previous != parent.hash:
            raise WalletError(f"{_WRONG}header {number} does not stand on the one before it")
        check_pow(header)
        wanted = params.pow_limit_bits
        if params.retarget:
            since = parent.time - (start.time - params.interval_s)
            half_life_s = params.half_life_blocks * params.interval_s
            wanted = asert_bits(
                start.bits, since, number - 1, params.interval_s, half_life_s, start.bits
            )
        if header.bits != wanted:
            raise Invalid(Rule.HEADER_BITS_WRONG, f"{header.bits:08x}", f"{wanted:08x}")
        if header.time < parent.time + params.spacing_s:
            raise Invalid(Rule.HEADER_TIME_SPACING, header.time, parent.time)
        if header.time > now + params.future_s:
            raise Invalid(Rule.HEADER_TIME_TOO_NEW, header.time, now)
        parent = header


def _payers(
    receipt: Receipt, tx: Tx, chain_id: BlockHash, height: Height
) -> tuple[tuple[Payer, ...], int | None]:
    """Who paid, and the fee: the signatures vouch for both."""
    if tx.is_coinbase:
        is_whole = receipt.inclusion.position == 0 and is_coinbase_witness(tx.witnesses)
        if not is_whole or receipt.coins:
            raise WalletError(f"{_WRONG}a payment without inputs is none")
        return (), None
    if len(tx.raw) > TX_BYTES_MAX or len(receipt.coins) != len(tx.body.inputs):
        raise WalletError(f"{_WRONG}the coins are not those that the transaction spends")
    checked = check_tx(tx)
    # The lock is the one that was revealed. How old the coins were and what the time was, the block
    # knows: whoever mined it has checked that, or nobody followed him.
    coins = [
        Coin(value.asset, value.amount, opened.hash, Height(0), False)
        for value, opened in zip(receipt.coins, checked.locks, strict=True)
    ]
    ctx = BlockContext(chain_id, height, UINT32_MAX)
    spend = check_spend(checked, coins, lambda asset: 0, ctx)
    if not are_signed(spend.checks):
        raise WalletError(
            f"{_WRONG}a signature does not hold, or the coins are not those it spends"
        )
    vouched = any(
        len(item) == 65 and item[0] == SCOPE_ALL
        for witness in tx.witnesses
        for item in witness.items
    )
    payers = tuple(
        Payer(opened.hash, witness.lock, value)
        for opened, witness, value in zip(checked.locks, tx.witnesses, receipt.coins, strict=True)
    )
    return payers, spend.fee if vouched else None


def _definitions(receipt: Receipt) -> dict[AssetId, AssetDefinition]:
    """The definitions by the ids that they make."""
    found = {}
    for entry in receipt.definitions:
        check_definition(entry.definition)
        found[asset_id(entry.origin, entry.definition)] = entry.definition
    return found


def is_linked(receipt: Receipt, proven: Proven, block_hash: bytes) -> bool:
    """Whether a block that is trusted is among those that are shown."""
    shown = [receipt.parent, proven.block.raw, *receipt.headers]
    return any(decode_header(raw).hash == block_hash for raw in shown)


def work_text(work: int) -> str:
    """Hashes as people say them: about 2 to the power of."""
    return f"about 2^{max(work.bit_length() - 1, 0)} hashes"


def name_of(header: Header) -> str:
    """Text form of a block hash."""
    return to_text(header.hash)
