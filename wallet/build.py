"""Bodies of transactions: what is paid, which coins pay it, the fee, the change.

Source: docs/wallet.md, "Fees and change".
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from consensus.asset import asset_id, authority_id
from consensus.codec import encode
from consensus.errors import Invalid, Rule
from consensus.hashes import AssetId, LockHash
from consensus.locks import SIGNATURE_BYTES
from consensus.params import AMOUNT_MAX, TX_COST_MAX
from consensus.tx import (
    NATIVE,
    OUTPOINT_BYTES,
    AssetDefinition,
    Body,
    Height,
    Issuance,
    Issue,
    OutPoint,
    Reissue,
    TxOut,
    make_tx,
)
from consensus.tx_rules import (
    COST_PER_GROWTH,
    COST_PER_INPUT,
    COST_PER_OUTPUT,
    COST_PER_SIGCHECK,
    check_tx,
    cost_of,
)
from wallet.amounts import NATIVE_DECIMALS, display_amount
from wallet.errors import WalletError
from wallet.select import select
from wallet.sign import Spendable, rehearse

RATE_UNIT = 1_000
"""Fee rates are base units of the native coin per this much cost."""
DUST_UNITS = 1_000
"""Change of no more than this goes to the fee: it would cost more to spend one day."""
_ROUNDS_MAX = 50


class Fee(msgspec.Struct, frozen=True):
    """What the sender pays: a rate, or an amount."""

    rate: int = 0
    """Base units per 1 000 cost."""
    fixed: int | None = None
    """Base units in all; None: by rate."""
    least: int = 0
    """Base units that a fee by rate has at least."""

    def of(self, cost: int) -> int:
        """The fee of a transaction of `cost`, rounded up."""
        if self.fixed is not None:
            return self.fixed
        return max(self.least, -(-cost * self.rate // RATE_UNIT))


class NewAsset(msgspec.Struct, frozen=True):
    """An asset to be made of the coin at `origin`, which is among the forced inputs."""

    origin: OutPoint
    definition: AssetDefinition
    amount: int

    @property
    def asset(self) -> AssetId:
        return asset_id(self.origin, self.definition)


class MoreOf(msgspec.Struct, frozen=True):
    """Units to be added to an asset; its authority coin is among the forced inputs."""

    asset: AssetId
    amount: int


class Request(msgspec.Struct, frozen=True):
    """What a transaction is to do."""

    payments: tuple[TxOut, ...]
    forced: tuple[Spendable, ...] = ()
    """Inputs that it spends in any case."""
    issuances: tuple[NewAsset | MoreOf, ...] = ()
    expiry: int = 0


class Draft(msgspec.Struct, frozen=True):
    """A transaction without its witnesses, and what is known of it."""

    body: Body
    inputs: tuple[Spendable, ...]
    fee: int
    """Base units of the native coin."""
    cost: int
    change: tuple[int, ...]
    """Positions of the outputs that come back to the wallet."""


def build(
    request: Request, coins: Sequence[Spendable], change_lock: LockHash, fee: Fee,
    rng: random.Random,
) -> Draft:  # fmt: skip
    """Choose inputs from `coins`, add change, and pay the fee.

    Coins that are not in a block yet are touched only if the others do not suffice.
    Raises: WalletError, naming the asset that is short.
    """
    try:
        return _build(request, [c for c in coins if not c.pending], change_lock, fee, rng)
    except Shortage:
        if not any(coin.pending for coin in coins):
            raise
        return _build(request, coins, change_lock, fee, rng)


class Shortage(WalletError):
    """The coins do not suffice."""

    def __init__(self, asset: AssetId, short: int) -> None:
        if asset == NATIVE:
            amount = display_amount(short, NATIVE_DECIMALS)
            text = f"not enough spendable coins: {amount} short, the fee included"
        else:
            text = f"not enough of asset {asset[::-1].hex()}: {short} base units short"
        super().__init__(text)
        self.asset = asset
        self.short = short


def needs(request: Request) -> dict[AssetId, int]:
    """What the payments ask for beyond what is issued and what the forced inputs bring."""
    wanted: defaultdict[AssetId, int] = defaultdict(int)
    wanted[NATIVE] = 0
    for payment in request.payments:
        wanted[payment.asset] += payment.amount
    for issuance in request.issuances:
        wanted[issuance.asset] -= issuance.amount
        if isinstance(issuance, NewAsset) and issuance.definition.reissuable:
            wanted[authority_id(issuance.asset)] -= 1
    for entry in request.forced:
        wanted[entry.coin.asset] -= entry.coin.amount
    return dict(wanted)


def _build(
    request: Request, coins: Sequence[Spendable], change_lock: LockHash, fee: Fee,
    rng: random.Random,
) -> Draft:  # fmt: skip
    wanted = needs(request)
    forced = {entry.outpoint for entry in request.forced}
    by_asset: defaultdict[AssetId, list[Spendable]] = defaultdict(list)
    for coin in coins:
        if coin.outpoint not in forced:
            by_asset[coin.coin.asset].append(coin)
    chosen = list(request.forced)
    change: dict[AssetId, int] = {}
    for asset, amount in wanted.items():
        if asset == NATIVE:
            continue
        pool = by_asset[asset]
        picked = select([entry.coin.amount for entry in pool], amount, 0, rng)
        if picked is None:
            raise Shortage(asset, amount - sum(entry.coin.amount for entry in pool))
        chosen += [pool[position] for position in picked]
        rest = sum(pool[position].coin.amount for position in picked) - amount
        if rest:
            change[asset] = rest
    if not request.forced and not chosen and wanted[NATIVE] <= 0:
        raise WalletError("nothing to pay")
    return _pay_fee(request, chosen, change, by_asset[NATIVE], change_lock, fee, rng)


def _pay_fee(
    request: Request, chosen: list[Spendable], change: dict[AssetId, int],
    pool: Sequence[Spendable], change_lock: LockHash, fee: Fee, rng: random.Random,
) -> Draft:  # fmt: skip
    """Add native inputs until payments and fee are covered; give back what is left over."""
    base = needs(request)[NATIVE]
    spend_fee = {entry.outpoint: _fee_of_input(entry, fee) for entry in pool}
    values = [entry.coin.amount - spend_fee[entry.outpoint] for entry in pool]
    # An output that grows the state, and one day the input that spends it.
    change_fee = Fee(fee.rate).of(COST_PER_OUTPUT + COST_PER_GROWTH + COST_PER_SIGCHECK)
    estimate = base + fee.of(_cost(request, chosen, change, change_lock))
    for _ in range(_ROUNDS_MAX):
        picked = select(values, estimate, change_fee, rng)
        if picked is None:
            short = estimate - sum(value for value in values if value > 0)
            raise Shortage(NATIVE, max(short, 1))
        inputs = chosen + [pool[position] for position in picked]
        rest = sum(pool[position].coin.amount for position in picked) - base
        short = fee.of(_cost(request, inputs, change, change_lock)) - rest
        if inputs and short <= 0:
            return _with_change(request, inputs, change, rest, change_lock, fee, change_fee, rng)
        # No input at all would make the transaction void, whatever it pays.
        estimate = max(estimate + short, estimate + 1, 1)
    raise WalletError("no set of coins fits; send a smaller amount or choose the fee yourself")


def _with_change(
    request: Request, inputs: list[Spendable], change: dict[AssetId, int], rest: int,
    change_lock: LockHash, fee: Fee, change_fee: int, rng: random.Random,
) -> Draft:  # fmt: skip
    """`rest` is what the native inputs bring beyond the payments."""
    # `rest` stands for the change, which is less and so not longer.
    with_native = {**change, NATIVE: max(rest, 1)}
    left = rest - fee.of(_cost(request, inputs, with_native, change_lock))
    if left > max(change_fee, DUST_UNITS):
        change = {**change, NATIVE: left}
        rest -= left
    return _shuffled(request, inputs, change, change_lock, rest, rng)


def _shuffled(
    request: Request, inputs: list[Spendable], change: dict[AssetId, int], change_lock: LockHash,
    fee: int, rng: random.Random,
) -> Draft:  # fmt: skip
    """The draft with its inputs and its change in places that tell nothing."""
    inputs = list(inputs)
    rng.shuffle(inputs)
    outputs = [(output, False) for output in request.payments]
    for output in _change_outputs(change, change_lock):
        outputs.insert(rng.randint(0, len(outputs)), (output, True))
    body = _body(request, inputs, [output for output, _ in outputs])
    positions = tuple(index for index, (_, is_change) in enumerate(outputs) if is_change)
    return Draft(body, tuple(inputs), fee, _cost_of_body(body, inputs), positions)


def _change_outputs(change: Mapping[AssetId, int], lock: LockHash) -> list[TxOut]:
    return [TxOut(asset, amount, lock) for asset, amount in change.items()]


def _body(request: Request, inputs: Sequence[Spendable], outputs: Sequence[TxOut]) -> Body:
    outpoints = tuple(entry.outpoint for entry in inputs)
    issuances: list[Issuance] = []
    for issuance in request.issuances:
        if isinstance(issuance, NewAsset):
            index = outpoints.index(issuance.origin)
            issuances.append(Issue(index, issuance.definition, issuance.amount))
        else:
            issuances.append(Reissue(issuance.asset, issuance.amount))
    return Body(1, outpoints, tuple(outputs), tuple(issuances), Height(request.expiry))


def _cost(
    request: Request, inputs: Sequence[Spendable], change: Mapping[AssetId, int],
    change_lock: LockHash,
) -> int:  # fmt: skip
    outputs = [*request.payments, *_change_outputs(change, change_lock)]
    if not inputs:  # a rough beginning; the search goes on until there is one
        return cost_of(0, 1, 1, len(outputs), len(request.issuances))
    return _cost_of_body(_body(request, inputs, outputs), inputs)


def _cost_of_body(body: Body, inputs: Sequence[Spendable]) -> int:
    """The cost that the signed transaction will have, by the rules of the ledger."""
    tx = make_tx(body, [rehearse(entry.lock, entry.coin) for entry in inputs])
    try:
        return check_tx(tx).cost
    except Invalid as violation:
        if violation.rule in (Rule.TX_COST, Rule.OVERSIZED):
            raise WalletError(
                f"{len(body.inputs)} coins and {len(body.outputs)} outputs are too many for one "
                f"transaction (cost at most {TX_COST_MAX}); send in several parts"
            ) from None
        raise WalletError(f"the transaction would be refused: {violation}") from None


def _fee_of_input(entry: Spendable, fee: Fee) -> int:
    """What one more input adds to a fee by rate, about."""
    if fee.fixed is not None:
        return 0
    witness = rehearse(entry.lock, entry.coin)
    signatures = sum(len(item) == SIGNATURE_BYTES for item in witness.items)
    return Fee(fee.rate).of(
        max(COST_PER_INPUT, COST_PER_SIGCHECK * signatures, OUTPOINT_BYTES + len(encode(witness)))
    )


def everything(coins: Sequence[Spendable], payment: TxOut, fee: Fee) -> Request:
    """The request that spends every coin of the payment's asset; its amount is worked out.

    Raises: WalletError, also if there are too many coins for one transaction.
    """
    forced = tuple(entry for entry in coins if entry.coin.asset == payment.asset)
    total = sum(entry.coin.amount for entry in forced)
    if not forced:
        raise Shortage(payment.asset, 1)
    if payment.asset != NATIVE:
        return Request((msgspec.structs.replace(payment, amount=total),), forced)
    whole = msgspec.structs.replace(payment, amount=AMOUNT_MAX)
    cost = _cost(Request((whole,), forced), forced, {}, payment.lock)
    amount = total - fee.of(cost)
    if amount <= DUST_UNITS:
        raise Shortage(NATIVE, DUST_UNITS + 1 - amount)
    return Request((msgspec.structs.replace(payment, amount=amount),), forced)
