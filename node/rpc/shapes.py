"""Transactions, coins and headers in the shapes that Bitcoin clients know.

`value` is native coin only; of any other asset `asset` and `assetamount` (base units) stand beside a
value of zero, so that a program that adds up values stays right. `vsize` is the cost by which fees
are measured, `weight` four times that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import assert_never, cast

import msgspec

from consensus.address import encode_address
from consensus.asset import asset_id, authority_id
from consensus.block import Header
from consensus.hashes import HASH_BYTES, LockHash, to_text
from consensus.header_tree import HeaderNode
from consensus.locks import count_nodes
from consensus.params import LOCK_DEPTH_MAX, UINT32_MAX, Params
from consensus.pow import target_of
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AfterHeight,
    AfterTime,
    Body,
    Coin,
    Issue,
    Key,
    Lock,
    Older,
    OutPoint,
    Pruned,
    Sha256,
    Threshold,
    Tx,
    TxOut,
    Witness,
)
from consensus.tx_rules import cost_of
from node.ledger import Ledger
from node.rpc.json import amount, fragment
from node.rpc.results.chain import HeaderInfo
from node.rpc.results.transactions import (
    DecodedTransaction,
    Input,
    Issuance,
    Output,
    Prevout,
    Transaction,
    Worth,
)

LOCK_PREFIX = "5120"
"""A lock as a script: witness version 1 and 32 bytes, as addresses encode it."""
WEIGHT_PER_COST = 4
ADDRESSES_KEPT = 20_000
SCRIPTS_KEPT = 20_000
_SIGNATURE_ITEM = 65
_DIFFICULTY_ONE = target_of(0x1D00FFFF)


def script_hex(lock: LockHash) -> str:
    """A lock in the form of a script; explorers hash it to look an address up."""
    return LOCK_PREFIX + lock.hex()


@lru_cache(ADDRESSES_KEPT)
def _encode_address(hrp: bytes, lock: LockHash) -> str:
    return encode_address(hrp.decode(), lock)


def address_of(lock: LockHash, network: Params) -> str:
    # The same few addresses fill most answers, and each takes a hundred microseconds to write.
    return _encode_address(network.hrp, lock)


@lru_cache(SCRIPTS_KEPT)
def _write_script(hrp: bytes, lock: LockHash) -> msgspec.Raw:
    if lock == BURN_LOCK:
        return fragment({"asm": "destroyed", "hex": script_hex(lock), "type": "burn"})
    return fragment({
        "asm": f"lock {lock.hex()}",
        "hex": script_hex(lock),
        "address": _encode_address(hrp, lock),
        "type": "lock",
    })  # fmt: skip


def show_script(lock: LockHash, network: Params) -> msgspec.Raw:
    # A block names the same locks again and again, and they are half of what is said of it.
    return _write_script(network.hrp, lock)


def show_worth(asset: bytes, units: int) -> Worth:
    """`value`, and for another asset what stands beside it."""
    if asset == NATIVE:
        return {"value": amount(units)}
    return {"value": amount(0), "asset": to_text(asset), "assetamount": units}


def words(lock: Lock, depth: int = 1) -> str:
    """A lock in plain words."""
    if depth > LOCK_DEPTH_MAX:
        return "…"  # no valid lock is that deep
    match lock:
        case Key(pubkey):
            return f"key {pubkey.hex()}"
        case Threshold(required, children):
            inner = ", ".join(words(child, depth + 1) for child in children)
            count = {1: "any", len(children): "all"}.get(required, str(required))
            return f"{count} of ({inner})"
        case AfterHeight(height):
            return f"after height {height}"
        case AfterTime(time):
            return f"after time {time}"
        case Older(blocks):
            return f"older than {blocks} blocks"
        case Sha256(digest):
            return f"sha256 {digest.hex()}"
        case Pruned(digest):
            return f"pruned {digest.hex()}"
        case _:
            assert_never(lock)


def show_output(output: TxOut, index: int, network: Params) -> Output:
    is_native = output.asset == NATIVE
    shown: Output = {
        "value": amount(output.amount if is_native else 0),
        "n": index,
        "scriptPubKey": show_script(output.lock, network),
    }
    if not is_native:
        shown["asset"], shown["assetamount"] = to_text(output.asset), output.amount
    if output.memo:
        shown["memo"] = output.memo.hex()
    return shown


def show_coin(coin: Coin, network: Params) -> Prevout:
    """A coin as `prevout` of the input that spends it."""
    return {
        "generated": coin.delayed,
        "height": coin.height,
        **show_worth(coin.asset, coin.amount),
        "scriptPubKey": show_script(coin.lock, network),
    }


def split_outpoint(spent: OutPoint) -> tuple[str, int]:
    """Txid in text form, and output index."""
    return to_text(spent[:HASH_BYTES]), int.from_bytes(spent[HASH_BYTES:], "big")


def _show_inputs(tx: Tx, coins: Sequence[Coin] | None, network: Params) -> list[Input]:
    if tx.is_coinbase:
        extranonce = b"".join(item for witness in tx.witnesses for item in witness.items)
        return [{"coinbase": extranonce.hex(), "sequence": UINT32_MAX}]
    shown: list[Input] = []
    for index, spent in enumerate(tx.body.inputs):
        txid, vout = split_outpoint(spent)
        entry: Input = {
            "txid": txid,
            "vout": vout,
            "scriptSig": {"asm": "", "hex": ""},
            "sequence": UINT32_MAX,
        }
        if index < len(tx.witnesses):
            witness = tx.witnesses[index]
            entry["lock"] = words(witness.lock)
            entry["txinwitness"] = [item.hex() for item in witness.items]
        if coins is not None:
            entry["prevout"] = show_coin(coins[index], network)
        shown.append(entry)
    return shown


def _show_issuances(body: Body) -> list[Issuance]:
    shown: list[Issuance] = []
    for issuance in body.issuances:
        if not isinstance(issuance, Issue):
            shown.append({"asset": to_text(issuance.asset), "amount": issuance.amount})
            continue
        entry: Issuance = {"vin": issuance.input_index, "amount": issuance.amount}
        if 0 <= issuance.input_index < len(body.inputs):
            asset = asset_id(body.inputs[issuance.input_index], issuance.definition)
            entry["asset"] = to_text(asset)
            if issuance.definition.reissuable:
                entry["authority"] = to_text(authority_id(asset))
        definition = issuance.definition
        entry["ticker"] = definition.ticker.decode("ascii", "replace")
        entry["name"] = definition.name.decode("utf-8", "replace")
        entry["decimals"] = definition.decimals
        entry["terms"] = definition.terms.hex()
        entry["reissuable"] = definition.reissuable
        shown.append(entry)
    return shown


def cost_of_tx(tx: Tx) -> int:
    """What a valid transaction takes of a block's cost limit."""
    return cost_of_parts(tx.body, tx.witnesses, len(tx.raw))


def cost_of_parts(body: Body, witnesses: Sequence[Witness], size: int) -> int:
    """The same from its parts and its size in bytes."""
    signatures = nodes = 0
    for witness in witnesses:
        for item in witness.items:
            signatures += len(item) == _SIGNATURE_ITEM
        if body.inputs:
            nodes += count_nodes(witness.lock)
    return cost_of(
        size, signatures, len(body.inputs), len(body.outputs), len(body.issuances), nodes
    )


def fee_of(body: Body, coins: Sequence[Coin]) -> int:
    """Base units of native coin that go in and do not come out."""
    spent = sum(coin.amount for coin in coins if coin.asset == NATIVE)
    return spent - sum(output.amount for output in body.outputs if output.asset == NATIVE)


def show_decoded(
    tx: Tx, network: Params, coins: Sequence[Coin] | None = None
) -> DecodedTransaction:
    """A transaction; with the coins that it spends also each `prevout`."""
    cost = cost_of_tx(tx)
    shown: DecodedTransaction = {
        "txid": to_text(tx.txid),
        "hash": to_text(tx.wtxid),
        "version": tx.body.version,
        "size": len(tx.raw),
        "vsize": cost,
        "weight": WEIGHT_PER_COST * cost,
        "locktime": 0,
        "expiry": tx.body.expiry,
        "vin": _show_inputs(tx, coins, network),
        "vout": [show_output(output, n, network) for n, output in enumerate(tx.body.outputs)],
    }
    if tx.body.issuances:
        shown["issuances"] = _show_issuances(tx.body)
    return shown


def show_tx(tx: Tx, network: Params, coins: Sequence[Coin] | None = None) -> Transaction:
    """The same with its hex, and with the coins that it spends also its fee."""
    shown = cast(Transaction, show_decoded(tx, network, coins))  # nobody else has seen it yet
    if coins is not None and not tx.is_coinbase:
        shown["fee"] = amount(fee_of(tx.body, coins))
    shown["hex"] = tx.raw.hex()
    return shown


def difficulty(bits: int) -> float:
    """How many times harder than the easiest target of Bitcoin."""
    return _DIFFICULTY_ONE / target_of(bits)


def confirmations(ledger: Ledger, node: HeaderNode) -> int:
    """1 for the tip; −1 off the best chain."""
    return ledger.tip.height - node.height + 1 if ledger.is_on_best_chain(node) else -1


def show_header(ledger: Ledger, node: HeaderNode) -> HeaderInfo:
    header: Header = node.header
    shown: HeaderInfo = {
        "hash": to_text(header.hash),
        "confirmations": confirmations(ledger, node),
        "height": node.height,
        "version": header.version,
        "versionHex": f"{header.version:08x}",
        "merkleroot": to_text(header.root),
        "time": header.time,
        "mediantime": node.median_time(),
        "nonce": header.nonce,
        "bits": f"{header.bits:08x}",
        "target": f"{target_of(header.bits):064x}",
        "difficulty": difficulty(header.bits),
        "chainwork": f"{node.work:064x}",
        "nTx": ledger.tx_count(node),
    }
    if node.parent is not None:
        shown["previousblockhash"] = to_text(node.parent.hash)
    if ledger.is_on_best_chain(node) and node is not ledger.tip:
        shown["nextblockhash"] = to_text(ledger.tip.ancestor(node.height + 1).hash)
    return shown
