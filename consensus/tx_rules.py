"""The rules of one transaction: first those that need nothing else, then those that need its coins.

Rules return work instead of doing it: `check_spend` gives back the signatures to be verified, and
the caller verifies them in bulk on every core.

Source: docs/protocol.md, "Transaction rules".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from consensus.asset import asset_id, authority_id, check_issuances
from consensus.errors import Invalid, Missing, Premature, Rule
from consensus.hashes import AssetId
from consensus.keys import SigCheck, sig_check
from consensus.locks import LOCKS, SIGNATURE_BYTES, BlockContext, OpenedLock, open_lock
from consensus.params import (
    AMOUNT_MAX,
    COINBASE_MATURITY,
    EXPIRY_MARGIN,
    MEMO_BYTES_MAX,
    TX_BYTES_MAX,
    TX_COST_MAX,
    UINT32_MAX,
)
from consensus.sighash import (
    SCOPE_ALL,
    SCOPE_SPONSORED,
    SCOPES,
    coins_digest,
    digest_all,
    digest_sponsored,
    terms_digest,
)
from consensus.tx import NATIVE, Body, Coin, Issue, Key, Tx, TxOut, Witness

COST_PER_SIGCHECK = 200
COST_PER_INPUT = 150
COST_PER_NODE = 20
COST_PER_OUTPUT = 100
COST_PER_GROWTH = 100
COST_PER_ISSUANCE = 1_000

Supply = Callable[[AssetId], int]
"""Answers with the present supply of an issued asset: issued less destroyed, in base units."""


class CheckedTx(msgspec.Struct, frozen=True, gc=False):
    """A transaction that passed every rule that needs no context."""

    tx: Tx
    locks: tuple[OpenedLock, ...]
    """The locks that its witnesses reveal, one per input."""
    cost: int
    """What it takes of a block's cost limit; fee rates are per cost."""
    sigchecks: int


class Spend(msgspec.Struct, frozen=True, gc=False):
    """The outcome of `check_spend`."""

    fee: int
    """Base units of the native coin."""
    checks: tuple[SigCheck, ...]
    """Signatures still to be verified."""
    coins: tuple[Coin, ...]
    """What it spends, in the order of its inputs."""


def cost_of(
    size: int, sigchecks: int, inputs: int, outputs: int, issuances: int, nodes: int = 0
) -> int:
    """The share of a block that a transaction takes: its bytes, or what it costs to check or keep.

    Inputs without keys and outputs that grow the state pay for that; a signature and a node of a
    lock (`nodes` counts those of all inputs) pay for their time.
    """
    base = max(
        size, COST_PER_SIGCHECK * sigchecks, COST_PER_INPUT * inputs, COST_PER_OUTPUT * outputs,
        COST_PER_NODE * nodes,
    )  # fmt: skip
    growth = outputs - inputs
    if growth > 0:
        base += COST_PER_GROWTH * growth
    return base + COST_PER_ISSUANCE * issuances


def check_outputs(outputs: tuple[TxOut, ...]) -> None:
    """Raises: Invalid (output-asset-size, output-amount-range, output-memo-size)."""
    for output in outputs:
        if output.asset and len(output.asset) != 32:
            raise Invalid(Rule.OUTPUT_ASSET_SIZE, len(output.asset))
        if not 1 <= output.amount <= AMOUNT_MAX:  # CVE-2010-5139 began with one too large
            raise Invalid(Rule.OUTPUT_AMOUNT_RANGE, output.amount)
        if len(output.memo) > MEMO_BYTES_MAX:
            raise Invalid(Rule.OUTPUT_MEMO_SIZE, len(output.memo))


def _check_body(body: Body) -> None:
    if body.version != 1:
        raise Invalid(Rule.TX_VERSION, body.version)
    if not body.inputs:
        raise Invalid(Rule.TX_INPUTS_EMPTY)
    if not body.outputs:
        raise Invalid(Rule.TX_OUTPUTS_EMPTY)
    # Duplicates here, else one coin counts twice (CVE-2018-17144).
    if len(body.inputs) > 1 and len(set(body.inputs)) != len(body.inputs):
        raise Invalid(Rule.TX_DUPLICATE_INPUT)
    if not 0 <= body.expiry <= UINT32_MAX:
        raise Invalid(Rule.TX_EXPIRY_RANGE, body.expiry)
    check_outputs(body.outputs)
    if body.issuances:
        check_issuances(body.issuances, len(body.inputs))


def _open_witness(witness: Witness) -> OpenedLock:
    opened, items = open_lock(witness.lock), witness.items
    sizes = opened.item_sizes
    if len(items) != len(sizes):
        raise Invalid(Rule.WITNESS_ITEMS, len(items), len(sizes))
    for item, size in zip(items, sizes, strict=True):
        if len(item) != size:
            raise Invalid(Rule.WITNESS_ITEM_SIZE, len(item), size)
        if size == SIGNATURE_BYTES and item[0] not in SCOPES:
            raise Invalid(Rule.SIGNATURE_SCOPE, item[0])
    return opened


def check_tx(tx: Tx) -> CheckedTx:
    """Check `tx`, which is not a coinbase, as far as that needs no context.

    Raises: Invalid, with the first rule of docs/protocol.md that it breaks.
    """
    body, size = tx.body, len(tx.raw)
    if size > TX_BYTES_MAX:
        raise Invalid(Rule.OVERSIZED, size, TX_BYTES_MAX)
    _check_body(body)
    inputs = len(body.inputs)
    if len(tx.witnesses) != inputs:
        raise Invalid(Rule.WITNESS_COUNT, len(tx.witnesses), inputs)
    locks: list[OpenedLock] = []
    sigchecks = nodes = 0
    for witness in tx.witnesses:
        opened = _open_witness(witness)
        locks.append(opened)
        sigchecks += opened.item_sizes.count(SIGNATURE_BYTES)
        nodes += opened.nodes
    cost = cost_of(size, sigchecks, inputs, len(body.outputs), len(body.issuances), nodes)
    if cost > TX_COST_MAX:
        raise Invalid(Rule.TX_COST, cost, TX_COST_MAX)
    return CheckedTx(tx, tuple(locks), cost, sigchecks)


def is_delayed(body: Body, height: int) -> bool:
    """Whether outputs of a transaction mined at `height` mature like those of a coinbase.

    A reorganisation of one block can kill a transaction that was mined just before its expiry, and
    with it everything that was spent from it.
    """
    return not body.inputs or (body.expiry != 0 and body.expiry - height < EXPIRY_MARGIN)


def check_spend(
    checked: CheckedTx, coins: Sequence[Coin | None], supply: Supply, ctx: BlockContext
) -> Spend:
    """Check a transaction against the coins it spends, given in the order of its inputs.

    Returns the fee and the signatures still to be verified.
    Raises: Missing (a coin is absent), Premature (not yet spendable), Invalid (never valid).
    """
    body = checked.tx.body
    if body.expiry and ctx.height > body.expiry:
        raise Invalid(Rule.TX_EXPIRED, body.expiry, ctx.height)
    found: list[Coin] = []
    is_delayed_spent = False
    for outpoint, opened, coin in zip(body.inputs, checked.locks, coins, strict=True):
        if coin is None:
            raise Missing(Rule.COIN_MISSING, outpoint)
        if opened.hash != coin.lock:
            raise Invalid(Rule.LOCK_MISMATCH, outpoint)
        is_delayed_spent = is_delayed_spent or coin.delayed
        found.append(coin)
    if is_delayed_spent:
        _check_maturity(body, found, ctx.height)
    checks = _check_atoms(checked, found, ctx)
    return Spend(_check_balance(body, found, supply), checks, tuple(found))


def _check_maturity(body: Body, coins: Sequence[Coin], height: int) -> None:
    for outpoint, coin in zip(body.inputs, coins, strict=True):
        if coin.delayed and height - coin.height < COINBASE_MATURITY:
            raise Premature(Rule.COIN_IMMATURE, outpoint, coin.height + COINBASE_MATURITY)


def _check_atoms(
    checked: CheckedTx, coins: Sequence[Coin], ctx: BlockContext
) -> tuple[SigCheck, ...]:
    """Check every revealed atom but the signatures; return those."""
    tx = checked.tx
    checks: list[SigCheck] = []
    all_coins = terms = b""
    for outpoint, witness, opened, coin in zip(
        tx.body.inputs, tx.witnesses, checked.locks, coins, strict=True
    ):
        next_item = iter(witness.items).__next__
        for path, atom in opened.atoms:
            if type(atom) is not Key:
                kind = LOCKS[type(atom)]
                assert kind.check is not None
                kind.check(atom, coin, next_item() if kind.item_bytes else b"", ctx)
                continue
            item = next_item()
            if item[0] == SCOPE_ALL:
                all_coins = all_coins or coins_digest(coins)
                digest = digest_all(ctx.chain_id, path, outpoint, coin, tx.txid, all_coins)
            else:
                assert item[0] == SCOPE_SPONSORED
                # A sponsored signature leaves the native side open, so on a native coin it would
                # let anyone take the coin.
                if coin.asset == NATIVE:
                    raise Invalid(Rule.SIGNATURE_SPONSORED_NATIVE, outpoint)
                terms = terms or terms_digest(tx.body)
                digest = digest_sponsored(ctx.chain_id, path, outpoint, coin, terms)
            checks.append(sig_check(atom.pubkey, digest, item[1:]))
    return tuple(checks)


def _check_balance(body: Body, coins: Sequence[Coin], supply: Supply) -> int:
    """The fee, after every asset was seen to balance."""
    native = 0
    issued: dict[AssetId, int] = {}
    for coin in coins:
        if coin.asset:
            issued[coin.asset] = issued.get(coin.asset, 0) + coin.amount
        else:
            native += coin.amount
    for issuance in body.issuances:
        if isinstance(issuance, Issue):
            asset = asset_id(body.inputs[issuance.input_index], issuance.definition)
            if issuance.definition.reissuable:
                authority = authority_id(asset)
                issued[authority] = issued.get(authority, 0) + 1
        else:
            asset = AssetId(issuance.asset)
            authority = authority_id(asset)
            if not any(coin.asset == authority for coin in coins):
                raise Invalid(Rule.ISSUANCE_AUTHORITY, asset)
            if supply(asset) + issuance.amount > AMOUNT_MAX:
                raise Invalid(Rule.ASSET_SUPPLY, asset, issuance.amount)
        issued[asset] = issued.get(asset, 0) + issuance.amount
    for output in body.outputs:
        if output.asset:
            issued[output.asset] = issued.get(output.asset, 0) - output.amount
        else:
            native -= output.amount
    for asset, difference in issued.items():
        if difference:
            raise Invalid(Rule.ASSET_IMBALANCE, asset, difference)
    if native < 0:
        raise Invalid(Rule.OVERSPEND, -native)
    return native
