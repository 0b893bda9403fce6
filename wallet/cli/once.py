"""One payment under one id: the straight line that can be cut anywhere and is never walked twice.

    look for the record → none: build, ask the node, confirm, sign, record, note in the wallet, send
                        → there: see where it stands, send the very same again

The record is on the disk before anything signed leaves this process.
"""

from __future__ import annotations

import msgspec

from consensus.hashes import to_text
from consensus.tx import OutPoint
from wallet.answers import ChainInfo, native_info
from wallet.book import Sent
from wallet.build import Request
from wallet.cli.app import App, Wallet, Work
from wallet.cli.spend import (
    Gathered,
    SpendOptions,
    change_place,
    check_unsigned,
    draft_of,
    entry_of,
    expiry_of,
    fee_guard,
    fee_of,
    gather,
    show,
    sign_own,
)
from wallet.client import Client
from wallet.errors import NodeError, NotSettled, WalletError
from wallet.journal import PART_MARK, Journal, Record
from wallet.keys import CHANGE
from wallet.refusals import explain_refusal
from wallet.scan import Say
from wallet.sign import Spendable
from wallet.standing import Standing, State, send_again, standing

EXPIRY_DEFAULT = "+480"
"""Blocks in which a payment may be mined: four hours on main."""


def pay_once(
    app: App, wallet: Wallet, journal: Journal, record: Record, options: SpendOptions,
    *, anew: bool = False,
) -> tuple[Record, Standing | None]:  # fmt: skip
    """Pay `record`, or see where it stands; None after a dry run of one that is new.

    `anew` signs one anew that is void. Raises: WalletError, NotSettled.
    """
    if record.attempts:
        _recall(wallet, record)
        now = _resume(app, record, options.dry_run)
        if now.state is not State.VOID or not anew:
            return record, now
    else:
        check_not_lost(wallet, record.id)
    return _pay(app, wallet, journal, record, options)


def check_not_lost(wallet: Wallet, request_id: str) -> None:
    """Raises: WalletError if the wallet paid a request, or a part of it, that has no record."""
    for entry in reversed(wallet.book.sent):
        if request_id in (entry.request, entry.request.partition(PART_MARK)[0]):
            raise WalletError(
                f"request {entry.request} was paid by {to_text(entry.txid)}, but its record in "
                f"{wallet.keystore.path.name}.pay is gone: put it back from a copy"
            )


def _recall(wallet: Wallet, record: Record) -> None:
    """Put into the wallet what the record knows: it was ended in between, or is an older copy."""
    known = wallet.book.sent_by_id()
    lost = [entry for entry in record.attempts if entry.txid not in known]
    if not lost:
        return
    for entry in lost:
        wallet.book.add_sent(entry)
        _advance(wallet, entry)
    wallet.save()


def _advance(wallet: Wallet, entry: Sent) -> None:
    """The address of its change is in use."""
    if any(
        entry.tx().body.outputs[at].lock == change_place(wallet).lock_hash for at in entry.change
    ):
        wallet.book.advance(CHANGE, wallet.book.next_index[CHANGE] + 1)


def _resume(app: App, record: Record, is_dry: bool) -> Standing:
    async def work(client: Client, info: ChainInfo, say: Say) -> Standing:
        now = await standing(client, record.attempts)
        if now.state is not State.UNSENT or is_dry:
            return now
        say("sending the same transaction again")
        return await send_again(client, record.attempts, now)

    return _asked(app, record, work)


def _asked(app: App, record: Record, work: Work[Standing]) -> Standing:
    """What the node says of a payment that is recorded. Raises: NotSettled if it says nothing."""
    try:
        now = app.ask_node(work)
    except NodeError as error:
        raise _not_settled(record, str(error)) from None
    except KeyboardInterrupt:  # which says nothing of whether the node has it already
        raise _not_settled(record, "the command was interrupted") from None
    reason = now.reason and explain_refusal(now.reason, native_info(app.params).ticker)
    return msgspec.structs.replace(now, reason=reason)


def _not_settled(record: Record, reason: str) -> NotSettled:
    txid = to_text(record.attempts[-1].txid)
    return NotSettled(
        f"request {record.id} is recorded as {txid}, but {reason}; ask again with the same id"
    )


def _pay(
    app: App, wallet: Wallet, journal: Journal, record: Record, options: SpendOptions
) -> tuple[Record, Standing | None]:
    """Make the transaction of a request that has none that could be mined."""
    gathered = gather(app, wallet, {output.asset for output in record.payments})
    expiry = expiry_of(with_default_expiry(options), gathered.info)
    request = Request(record.payments, old_coins(record, gathered), (), expiry)
    fee = fee_of(options, gathered.rate)
    draft = draft_of(app, request, gathered, change_place(wallet).lock_hash, fee)
    check_unsigned(app, draft, fee_guard(options.max_fee_rate))
    if options.dry_run:
        if not app.settings.json:
            show(app, wallet, draft, gathered.infos, "Would send")
        return record, None
    if not app.settings.json:
        show(app, wallet, draft, gathered.infos, "To send")
    app.confirm("Send it?", options.yes)
    entry = entry_of(app, draft, sign_own(wallet, draft, gathered), request=record.id)
    record = record.with_attempt(entry)
    # From here on the same id means this transaction: it is on the disk before any node sees it.
    journal.save(record)
    if draft.change:
        wallet.book.advance(CHANGE, wallet.book.next_index[CHANGE] + 1)
    wallet.book.add_sent(entry)
    try:
        wallet.save()
    except WalletError as error:  # a code that says "nothing is recorded" would be wrong now
        raise _not_settled(record, str(error)) from None

    async def work(client: Client, info: ChainInfo, say: Say) -> Standing:
        say("sending the transaction")
        return await send_again(client, record.attempts, Standing(State.UNSENT, entry.txid, expiry))

    return record, _asked(app, record, work)


def with_default_expiry(options: SpendOptions) -> SpendOptions:
    """A payment under an id always expires: else its end could never be known."""
    if options.expiry is not None:
        return options
    return msgspec.structs.replace(options, expiry=EXPIRY_DEFAULT)


def old_coins(record: Record, gathered: Gathered) -> tuple[Spendable, ...]:
    """Of every void transaction of the request a coin that it would have spent, if it is still there.

    The new one spends them too, so that no reorganisation, however deep, can have it mined beside one
    of the others.
    """
    chosen: dict[OutPoint, Spendable] = {}
    coins = {entry.outpoint: entry for entry in gathered.coins()}
    for attempt in record.attempts:
        spent = [entry.outpoint for entry in attempt.inputs]
        if not any(outpoint in chosen for outpoint in spent):
            chosen |= {at: coins[at] for at in [at for at in spent if at in coins][:1]}
    return tuple(chosen.values())
