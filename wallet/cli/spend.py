"""The straight line of every command that spends: gather, build, show, confirm, sign, save, send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from consensus.hashes import AssetId, LockHash, to_text
from consensus.locks import BlockContext
from consensus.params import COINBASE_MATURITY
from consensus.tx import BURN_LOCK, NATIVE, Key, OutPoint, Tx, TxOut, make_tx
from wallet.amounts import (
    NATIVE_DECIMALS,
    display_amount,
    format_amount,
    parse_amount,
    parse_rate,
)
from wallet.answers import (
    Acceptance,
    AssetInfo,
    ChainInfo,
    ask,
    fee_rate,
    native_info,
    next_context,
)
from wallet.book import Book, Sent, SpentCoin
from wallet.build import Draft, Fee, Request, Shortage, build
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import Assets, asset_infos, described
from wallet.cli.options import combined
from wallet.cli.output import amount_data, amount_text, asset_data, memo_text
from wallet.client import MINED_ALREADY, Client
from wallet.contacts import names_by_lock
from wallet.errors import NodeSilent, RpcError, WalletError
from wallet.keys import CHANGE
from wallet.refusals import explain_refusal
from wallet.scan import Held, Say, discover, holdings, spendables
from wallet.sign import Spendable, finish, rehearse, sign_inputs
from wallet.tracked import Kind, Place

DEFAULT_RATE = 1_000
"""Base units per 1 000 cost where the node has no estimate: the usual least that is relayed."""
ESTIMATE_MAX = 1_000_000
"""A node's estimate above this is not followed blindly: a thousand times the usual least."""
TARGET_BLOCKS = 6
EXPIRY_BLOCKS_MAX = 1_000_000
_ONLY_UNSIGNED = "bad-signature"


class SpendOptions(msgspec.Struct, frozen=True):
    """The options of every spending command."""

    fee: str | None
    fee_rate: str | None
    expiry: str | None
    dry_run: bool
    yes: bool
    max_fee_rate: str | None = None


_MAX_FEE_RATE = click.option(
    "--max-fee-rate", metavar="RATE",
    help="Let the node take a fee up to this rate, 0 for any (default: the node's guard, 0.1).",
)  # fmt: skip
_OPTIONS = (
    click.option("--fee", metavar="AMOUNT", help="Fee in all, in native coins."),
    click.option("--fee-rate", metavar="RATE", help="Fee in native coins per 1000 cost."),
    click.option("--expiry", metavar="HEIGHT|+BLOCKS", help="Last block that may hold it."),
    click.option("--dry-run", is_flag=True, help="Build and check it, but do not send."),
    click.option("--yes", is_flag=True, help="Do not ask before sending."),
    _MAX_FEE_RATE,
)
_PROPOSAL_OPTIONS = (
    *_OPTIONS[:3],
    click.option("--dry-run", is_flag=True, help="Show it, but do not write FILE."),
    click.option("--yes", is_flag=True, help="Changes nothing: a proposal asks nothing."),
)


def spend_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a spending command; they arrive as keyword arguments."""
    decorated: Callable[..., Any] = combined(_OPTIONS)(function)
    return decorated


def proposal_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `spend_options`, of a command that writes a file and sends nothing."""
    decorated: Callable[..., Any] = combined(_PROPOSAL_OPTIONS)(function)
    return decorated


def max_fee_rate_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option for a command that sends what was built before."""
    decorated: Callable[..., Any] = _MAX_FEE_RATE(function)
    return decorated


def fee_guard(text: str | None) -> tuple[str, ...]:
    """What `--max-fee-rate` adds to a question to the node. Raises: WalletError."""
    return () if text is None else (format_amount(parse_rate(text), NATIVE_DECIMALS),)


class Gathered(msgspec.Struct, frozen=True):
    """What the node said before a transaction is built."""

    info: ChainInfo
    held: list[Held]
    infos: Assets
    rate: int | None
    """The node's estimate, base units per 1 000 cost."""
    promised: frozenset[OutPoint] = frozenset()
    """Coins of requests that may still be paid: to spend them on something else would prevent that."""

    @property
    def ctx(self) -> BlockContext:
        return next_context(self.info)

    def coins(self, name: str = "") -> list[Spendable]:
        """Own coins that can be spent, or those of the shared lock `name`."""
        found = spendables(self.held, Kind.SHARED if name else Kind.OWN, name)
        return [entry for entry in found if entry.outpoint not in self.promised]


def gather(app: App, wallet: Wallet, more_assets: Iterable[AssetId] = ()) -> Gathered:
    """Ask for the wallet's coins, what assets they are, and the usual fee rate."""

    async def work(client: Client, info: ChainInfo, say: Say) -> Gathered:
        await discover(client, wallet.keyring, say)
        held = await holdings(client, wallet.keyring, wallet.keyring.places().values(), info, say)
        assets = [*(entry.coin.asset for entry in held), *more_assets]
        infos = await asset_infos(client, app.params, wallet.book, assets)
        rate = await fee_rate(client, TARGET_BLOCKS)
        return Gathered(info, held, infos, rate, promised_coins(wallet.book, info))

    return app.ask_node(work)


def promised_coins(book: Book, info: ChainInfo) -> frozenset[OutPoint]:
    """What the requests spend that are not over."""
    open_ones = (
        entry for entry in book.sent if entry.request and entry.tx().body.expiry > info.blocks
    )
    return frozenset(spent.outpoint for entry in open_ones for spent in entry.inputs)


def fee_of(options: SpendOptions, estimate: int | None) -> Fee:
    """The fee that the options ask for, by the node's estimate if by none. Raises: WalletError."""
    if options.fee is not None and options.fee_rate is not None:
        raise WalletError("give --fee or --fee-rate, not both")
    if options.fee is not None:
        return Fee(fixed=parse_amount(options.fee, NATIVE_DECIMALS))
    if options.fee_rate is not None:
        return Fee(rate=parse_rate(options.fee_rate))
    if estimate is not None and estimate > ESTIMATE_MAX:
        raise WalletError(
            f"the node asks for {display_amount(estimate, NATIVE_DECIMALS)} per 1,000 cost, which is "
            "very much; if you want to pay that, say so with --fee-rate"
        )
    return Fee(rate=DEFAULT_RATE if estimate is None else estimate)


def expiry_of(options: SpendOptions, info: ChainInfo) -> int:
    """The expiry height; 0 is never. Raises: WalletError."""
    text = options.expiry
    if text is None:
        return 0
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        raise WalletError("--expiry takes a block height, or + and a number of blocks from now")
    height = int(digits) + (info.blocks if text.startswith("+") else 0)
    if not info.blocks < height <= info.blocks + EXPIRY_BLOCKS_MAX:
        raise WalletError(f"--expiry {text} is not ahead of the chain, which is at {info.blocks}")
    return height


def change_place(wallet: Wallet) -> Place:
    """The lock that change goes to."""
    return wallet.keyring.own(CHANGE, wallet.book.next_index[CHANGE])


@contextmanager
def shortage_in_words(gathered: Gathered, name: str = "") -> Iterator[None]:
    """Tell what is short as people write it, and which coins of the wallet, or of the shared lock
    `name`, cannot be spent yet. Raises: WalletError."""
    try:
        yield
    except Shortage as error:
        info = described(error.asset, gathered.infos)
        text = str(error)
        if error.asset != NATIVE:
            text = f"not enough {info.ticker}: {display_amount(error.short, info.decimals)} short"
        kind = Kind.SHARED if name else Kind.OWN
        unspendable = [
            held
            for held in gathered.held
            if (held.place.kind, held.place.name, held.coin.asset) == (kind, name, error.asset)
            and held.place.lock is not None and not held.is_leaving and held.spendable is None
        ]  # fmt: skip
        young = [held for held in unspendable if not held.is_pending]
        if young:
            first = min(held.coin.height for held in young) + COINBASE_MATURITY
            text += f"; {_sum_text(young, info)} more is immature, the first of it until block {first:,}"
        waiting = [held for held in unspendable if held.is_pending]
        if waiting:
            text += f"; {_sum_text(waiting, info)} more waits to be mined"
        raise WalletError(text) from None


def _sum_text(held: Iterable[Held], info: AssetInfo) -> str:
    return amount_text(sum(entry.coin.amount for entry in held), info)


def draft_of(
    app: App, request: Request, gathered: Gathered, change: LockHash, fee: Fee, name: str = ""
) -> Draft:
    """A transaction without signatures, of the wallet's own coins or those of the shared lock `name`.

    Raises: WalletError.
    """
    with shortage_in_words(gathered, name):
        return build(request, gathered.coins(name), change, fee, app.env.rng)


def spend(
    app: App, wallet: Wallet, request: Request, gathered: Gathered, options: SpendOptions,
    *, fee: Fee | None = None, note: dict[str, Any] | None = None, replaces: Sent | None = None,
    label: str | None = None,
) -> None:  # fmt: skip
    """Build, show, confirm, sign, save and send; print the result."""
    fee = fee or fee_of(options, gathered.rate)
    guard = fee_guard(options.max_fee_rate)
    change = change_place(wallet)
    draft = draft_of(app, request, gathered, change.lock_hash, fee)
    tx = sign_own(wallet, draft, gathered)
    data = describe(app, draft, tx, gathered.infos, sent=False) | (note or {})
    if options.dry_run:
        check_with_node(app, tx, guard)
        app.out.result(data, lambda: show(app, wallet, draft, gathered.infos, "Would send"))
        return
    if replaces is not None and replaces.request:
        # What a request records is sent again without a guard, so the guard has to see it before.
        check_unsigned(app, draft, guard)
    if not app.settings.json:
        show(app, wallet, draft, gathered.infos, "To send")
    app.confirm("Send it?", options.yes)
    if draft.change:
        wallet.book.advance(CHANGE, wallet.book.next_index[CHANGE] + 1)
    if label is None and replaces is not None:
        label = wallet.book.labels.get(to_text(replaces.txid))
    if label is not None:
        wallet.book.note(to_text(tx.txid), label)
    record(app, wallet, draft, tx, replaces)
    submit(app, wallet, tx, guard)
    app.out.result(data | {"sent": True}, lambda: app.out.line(f"Sent {to_text(tx.txid)}"))


def sign_own(wallet: Wallet, draft: Draft, gathered: Gathered) -> Tx:
    """Sign a draft that spends the wallet's own coins only. Raises: WalletError."""
    places = {entry.outpoint: entry.place for entry in gathered.held}
    secrets: dict[bytes, bytes] = {}
    for entry in draft.inputs:
        place = places.get(entry.outpoint)
        if place is not None and place.kind is Kind.OWN and isinstance(entry.lock, Key):
            secrets[entry.lock.pubkey] = wallet.keyring.secret_at(place)

    def secret_of(pubkey: bytes) -> bytes | None:
        found = secrets.get(pubkey)
        return wallet.keyring.secret_of(pubkey) if found is None else found

    chain_id = wallet.book.chain_id
    signatures = sign_inputs(draft.body, draft.inputs, secret_of, chain_id)
    return finish(draft.body, draft.inputs, signatures, gathered.ctx)


def record(app: App, wallet: Wallet, draft: Draft, tx: Tx, replaces: Sent | None) -> None:
    """Save the transaction before it is sent: a crash afterwards loses nothing."""
    entry = entry_of(app, draft, tx, replaces)
    if entry.request:  # else the request would know nothing of what stands in for its payment
        wallet.journal(app).add_attempt(entry)
    wallet.book.add_sent(entry)
    wallet.save()


def entry_of(
    app: App, draft: Draft, tx: Tx, replaces: Sent | None = None, request: str = ""
) -> Sent:
    """What the wallet remembers of a transaction."""
    inputs = tuple(SpentCoin(entry.outpoint, entry.coin, entry.lock) for entry in draft.inputs)
    return Sent(
        tx.txid, tx.raw, inputs, draft.change, draft.fee, draft.cost, app.env.now(),
        replaces.txid if replaces else None, replaces.request if replaces else request,
    )  # fmt: skip


def check_with_node(app: App, tx: Tx, guard: tuple[str, ...]) -> None:
    """Ask the node whether it would take `tx`. Raises: WalletError."""

    async def work(client: Client, info: ChainInfo, say: Say) -> list[Acceptance]:
        say("asking the node to check the transaction")
        return await ask(client, list[Acceptance], "testmempoolaccept", [tx.raw.hex()], *guard)

    answers = app.ask_node(work)
    if len(answers) != 1 or not answers[0].allowed:
        reason = answers[0].reason if answers else "no reason given"
        raise WalletError(f"the node would refuse the transaction: {_told(app, reason)}")


def check_unsigned(app: App, draft: Draft, guard: tuple[str, ...]) -> None:
    """Ask the node whether it would take the transaction, before it is signed and recorded.

    It is shown with blank signatures: a node that keeps what it was only asked about has nothing that
    could be mined. Raises: WalletError.
    """
    blank = make_tx(draft.body, [rehearse(entry.lock, entry.coin) for entry in draft.inputs])

    async def work(client: Client, info: ChainInfo, say: Say) -> list[Acceptance]:
        say("asking the node to check the transaction")
        return await ask(client, list[Acceptance], "testmempoolaccept", [blank.raw.hex()], *guard)

    answers = app.ask_node(work)
    if len(answers) == 1 and (answers[0].allowed or answers[0].reject_reason == _ONLY_UNSIGNED):
        return
    reason = answers[0].reason if answers else "no reason given"
    raise WalletError(f"the node would refuse the transaction: {_told(app, reason)}")


def submit(app: App, wallet: Wallet, tx: Tx, guard: tuple[str, ...]) -> bool:
    """Hand `tx` to the node; forget it again if the node refuses. False: it is mined already.

    Raises: WalletError.
    """

    async def work(client: Client, info: ChainInfo, say: Say) -> str:
        say("sending the transaction")
        return await ask(client, str, "sendrawtransaction", tx.raw.hex(), *guard)

    try:
        app.ask_node(work)
    except (NodeSilent, KeyboardInterrupt):
        raise WalletError(
            f"the node did not answer; whether {to_text(tx.txid)} was sent is unknown: look at "
            "`tael history` before you pay again"
        ) from None
    except RpcError as error:
        if error.code == MINED_ALREADY:  # another cosigner was faster
            return False
        wallet.book.forget_sent(tx.txid)
        wallet.save()
        reason = _told(app, error.message)
        raise WalletError(f"the node refused the transaction: {reason}") from None
    return True


def _told(app: App, reason: str) -> str:
    return explain_refusal(reason, native_info(app.params).ticker)


def describe(app: App, draft: Draft, tx: Tx, infos: Assets, sent: bool) -> dict[str, Any]:
    """A transaction for programs."""
    return {
        "txid": to_text(tx.txid),
        "sent": sent,
        "fee": amount_data(draft.fee, infos[NATIVE].decimals),
        "cost": draft.cost,
        "expiry": draft.body.expiry,
        "outputs": [
            output_data(app, output, infos, index in draft.change)
            for index, output in enumerate(draft.body.outputs)
        ],
        "hex": tx.raw.hex(),
    }


def output_data(app: App, output: TxOut, infos: Assets, is_change: bool) -> dict[str, Any]:
    """An output for programs."""
    info = described(output.asset, infos)
    return {
        "address": None if output.lock == BURN_LOCK else app.address(output.lock),
        **asset_data(info),
        **amount_data(output.amount, info.decimals),
        "memo": output.memo.hex(),
        "change": is_change,
    }


def show(app: App, wallet: Wallet, draft: Draft, infos: Assets, title: str) -> None:
    """A transaction for people."""
    native = infos[NATIVE]
    places = wallet.keyring.places().values()
    own = {place.lock_hash for place in places if place.kind is Kind.OWN}
    back = [index for index, output in enumerate(draft.body.outputs) if output.lock in own]
    app.out.line(f"{title}:")
    app.out.table(
        ("  To", ">Amount", "Memo"),
        output_rows(app, wallet, draft.body.outputs, [*draft.change, *back], infos),
    )
    rate = -(-draft.fee * 1_000 // draft.cost)
    app.out.line(
        f"  Fee {amount_text(draft.fee, native)} for a cost of {draft.cost:,} "
        f"({amount_text(rate, native)} per 1,000), coins spent: {len(draft.inputs)}"
    )
    if draft.body.expiry:
        app.out.line(f"  Void after block {draft.body.expiry:,}")


def output_rows(
    app: App, wallet: Wallet, outputs: Sequence[TxOut], back: Sequence[int], infos: Assets
) -> list[tuple[str, str, str]]:
    """Rows of a table: where to, how much, memo. `back` are positions of what comes back."""
    rows = []
    names = names_by_lock(wallet.book)
    for index, output in enumerate(outputs):
        where = "(destroyed)" if output.lock == BURN_LOCK else app.address(output.lock)
        suffix = f" ({names[output.lock]})" if output.lock in names else ""
        suffix = " (back to you)" if index in back else suffix
        amount = amount_text(output.amount, described(output.asset, infos))
        rows.append((f"  {where}{suffix}", amount, memo_text(output.memo)))
    return rows
