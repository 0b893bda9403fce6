"""`tael pay`: payments under an id, made once whatever happens in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from consensus.hashes import AssetId, to_text
from consensus.tx import NATIVE, TxOut
from wallet.amounts import parse_amount
from wallet.answers import AssetInfo
from wallet.batch import PART_OUTPUTS_MAX, Row, parts_of, twin, write_rows
from wallet.book import check_label
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import Assets, asset_by_id, described, find_asset
from wallet.cli.once import check_not_lost, pay_once
from wallet.cli.options import Command
from wallet.cli.output import amount_data, amount_text, asset_data, memo_text
from wallet.cli.pay_from import Source, source_of
from wallet.cli.send import memo_bytes
from wallet.cli.spend import Gathered, SpendOptions, gather, spend_options
from wallet.errors import NotPaid, NotSettled, OtherPayment, WalletError
from wallet.files import write_file
from wallet.journal import PART_MARK, AssetName, Journal, Record
from wallet.standing import Standing, State

Outcome = tuple[Record, Standing | None]
_ORDER = (State.VOID, State.EXPIRED, State.UNSENT, State.WAITING, State.CONFIRMED)
"""What a batch is, if one of its parts is that and none comes before it here."""
OPEN = "open"
"""A part that was not begun."""


@click.command("pay", cls=Command)
@click.argument("recipients", nargs=-1, metavar="[URI | [ADDRESS AMOUNT]…]")
@click.option("--request-id", metavar="ID", help="What the payment is called; it is paid once.")
@click.option("--csv", "csv_file", metavar="FILE", help="Recipients from a file.")
@click.option("--asset", help="What to pay: asset id or ticker (default: the native coin).")
@click.option("--memo", help="Text, or 0x and hex, that everybody can read; 128 bytes at most.")
@click.option("--label", help="A note of your own, kept in the wallet.")
@click.option("--again", is_flag=True, help="Sign anew what was not mined and never will be.")
@click.option("--out", metavar="FILE", help="Write who was paid by which transaction as CSV.")
@spend_options
@click.pass_obj
def pay(
    app: App, /, recipients: tuple[str, ...], request_id: str | None, csv_file: str | None,
    asset: str | None, memo: str | None, label: str | None, again: bool, out: str | None,
    **options: Any,
) -> None:  # fmt: skip
    """Pay once: the same id never pays twice, however often and whenever it is asked.

    Asked again, it sends the very same transaction again, or says where it stands. With the id alone
    it only does that. Ends with 0 if the payment is confirmed or waiting, 3 if the id stands for
    another payment, 4 if it was not mined in its time (see --again), 5 if it is recorded and no node
    has it yet (ask again later), 1 or 2 if nothing was done.
    """
    chosen = SpendOptions(**options)
    target = _report_path(app, out, csv_file)
    source = source_of(app, recipients, request_id, csv_file, asset, memo)
    note = check_label(source.label if label is None else label)
    with app.open_wallet() as wallet:
        journal = wallet.journal(app)
        record = journal.load(source.id)
        if record is not None:
            check_same(app, record, source)
        else:
            record = _promise(app, wallet, source)
        stopped: WalletError | None = None
        if record.parts:
            outcomes, stopped = _pay_parts(app, wallet, journal, record, chosen, again)
        else:
            outcomes = [pay_once(app, wallet, journal, record, chosen, anew=again)]
        failures = [_failure_of(lambda: _note(wallet, outcomes, note))]
    failures.append(_failure_of(lambda: _tell(app, record, outcomes)))
    if target is not None:
        data = report(app, record, outcomes)
        failures.append(_failure_of(lambda: write_file(target, data)))
    _raise_what_is_left(record, outcomes, stopped)
    for text in filter(None, failures):
        raise NotSettled(f"{text}; ask again with the same id")


def _report_path(app: App, out: str | None, csv_file: str | None) -> Path | None:
    """Raises: WalletError before anything is paid."""
    if out is None:
        return None
    path = app.output_path(out)
    if csv_file is not None and path.resolve() == Path(csv_file).expanduser().resolve():
        raise WalletError(f"{out} is the file of the payments; give another to --out")
    return path


def _failure_of(step: Callable[[], None]) -> str:
    """What went wrong in a step behind the payment; it shall not look as if nothing had been paid."""
    try:
        step()
    except WalletError as error:
        return str(error)
    except OSError as error:
        return f"the output cannot be written: {error.strerror}"
    return ""


def _promise(app: App, wallet: Wallet, source: Source) -> Record:
    """The record of a new request; nothing is written yet. Raises: WalletError."""
    check_not_lost(wallet, source.id)
    if not source.rows:
        raise WalletError(
            f"there is no request {source.id}, and nobody to pay: tael pay ADDRESS AMOUNT"
        )
    if source.expires is not None and source.expires < app.env.now():
        raise WalletError("the payment URI has expired; ask for a new one")
    ids = (asset_by_id(row.asset) for row in source.rows if row.asset)
    gathered = gather(app, wallet, [asset for asset in ids if asset is not None])
    payments = outputs_of(app, source, gathered.infos)
    count = parts_of(len(payments))
    if count > 1:
        _check_enough(payments, gathered)
    names = []
    for asset in dict.fromkeys(output.asset for output in payments):
        info = described(asset, gathered.infos)
        names.append(AssetName(asset, info.ticker, info.decimals))
    return Record(
        id=source.id, chain_id=wallet.book.chain_id, payments=payments, assets=tuple(names),
        parts=count if count > 1 else 0, part_payments=PART_OUTPUTS_MAX if count > 1 else 0,
    )  # fmt: skip


def outputs_of(app: App, source: Source, infos: Assets) -> tuple[TxOut, ...]:
    """What the rows ask for. Raises: WalletError, with the line of a file that is wrong."""
    made: dict[TxOut, Row] = {}
    outputs = []
    for row in source.rows:
        try:
            asset = find_asset(row.asset or None, infos)
            amount = parse_amount(row.amount, described(asset, infos).decimals)
            output = TxOut(asset, amount, app.decode_address(row.address), memo_bytes(row.memo))
            if row.line and output in made:  # in other words, or parse_rows had seen it
                raise twin(made[output].line)
        except WalletError as error:
            raise WalletError(f"{source.where(row)}{error}") from None
        made[output] = row
        outputs.append(output)
    return tuple(outputs)


def _check_enough(payments: Sequence[TxOut], gathered: Gathered) -> None:
    """Before the first part of a batch is paid, there is enough for the last one. Raises: WalletError."""
    for asset, total in totals_of(payments).items():
        held = sum(e.coin.amount for e in gathered.coins() if e.coin.asset == asset)
        if held < total:
            info = described(asset, gathered.infos)
            raise WalletError(
                f"not enough {info.ticker}: {amount_text(total, info)} to pay, "
                f"{amount_text(held, info)} to spend"
            )


def totals_of(payments: Sequence[TxOut]) -> dict[AssetId, int]:
    """Base units by asset."""
    totals: defaultdict[AssetId, int] = defaultdict(int)
    for output in payments:
        totals[output.asset] += output.amount
    return dict(totals)


def infos_of(record: Record) -> dict[AssetId, AssetInfo]:
    """The assets of a record, as they were called."""
    return {name.asset: AssetInfo(name.asset, name.ticker, name.decimals) for name in record.assets}


def check_same(app: App, record: Record, source: Source) -> None:
    """Raises: OtherPayment if `source` asks for something else than is recorded."""
    if not source.rows:
        return
    native = app.params.ticker.decode("ascii")
    known = {name.ticker: name for name in record.assets}
    known |= {to_text(name.asset): name for name in record.assets if name.asset != NATIVE}
    wanted = []
    for row in source.rows:
        name = known.get(row.asset or native)
        if name is None:
            break
        amount = parse_amount(row.amount, name.decimals)
        wanted.append(
            TxOut(name.asset, amount, app.decode_address(row.address), memo_bytes(row.memo))
        )
    if tuple(wanted) != record.payments:
        raise OtherPayment(
            f"request {record.id} stands for another payment already ({_summary(app, record)}); "
            "nothing was paid"
        )


def _summary(app: App, record: Record) -> str:
    infos = infos_of(record)
    first = record.payments[0]
    text = (
        f"{amount_text(first.amount, described(first.asset, infos))} to {app.address(first.lock)}"
    )
    return text + (f" and {len(record.payments) - 1} more" if len(record.payments) > 1 else "")


def _pay_parts(
    app: App, wallet: Wallet, journal: Journal, record: Record, options: SpendOptions, again: bool
) -> tuple[list[Outcome], WalletError | None]:
    """The parts of a batch in their order, as far as that goes, and what stopped it."""
    if journal.load(record.id) is None:
        if not app.settings.json:
            _show_totals(app, record)
        if options.dry_run:
            return [], None
        app.confirm(f"Pay all in {record.parts} transactions?", options.yes)
        journal.save(record)
    options = msgspec.structs.replace(options, yes=True)
    outcomes: list[Outcome] = []
    for number in range(record.parts):
        part_id = f"{record.id}{PART_MARK}{number + 1}"
        rows = slice(number * record.part_payments, (number + 1) * record.part_payments)
        part = journal.load(part_id) or Record(
            id=part_id, chain_id=record.chain_id, payments=record.payments[rows],
            assets=record.assets,
        )  # fmt: skip
        try:
            outcomes.append(pay_once(app, wallet, journal, part, options, anew=again))
        except WalletError as error:
            if not outcomes:
                raise
            return outcomes, error
        now = outcomes[-1][1]
        if now is None or now.state not in (State.WAITING, State.CONFIRMED):
            break  # the next would spend the coins of this one
    return outcomes, None


def _show_totals(app: App, record: Record) -> None:
    infos = infos_of(record)
    app.out.line(f"{len(record.payments):,} payments in {record.parts} transactions:")
    rows = [
        (f"  {amount_text(total, described(asset, infos))}", to_text(asset))
        for asset, total in totals_of(record.payments).items()
    ]
    app.out.table((">  Total", "Asset id"), rows)


def _note(wallet: Wallet, outcomes: Sequence[Outcome], label: str) -> None:
    changed = False
    for _, now in outcomes:
        if label and now is not None and wallet.book.labels.get(to_text(now.txid)) != label:
            wallet.book.labels[to_text(now.txid)] = label
            changed = True
    if changed:
        wallet.save()


def _tell(app: App, record: Record, outcomes: Sequence[Outcome]) -> None:
    """What came of it."""
    reached = [now for _, now in outcomes if now is not None]
    infos = infos_of(record)
    data = {
        "request_id": record.id,
        "state": _state_of(record, reached),
        "parts": [_part_data(part, now) for part, now in outcomes if now is not None],
        "totals": [
            {**asset_data(info), **amount_data(total, info.decimals)}
            for asset, total in totals_of(record.payments).items()
            for info in (described(asset, infos),)
        ],
        "payments": len(record.payments),
    }

    def show() -> None:
        for now in reached:
            if now.state is State.CONFIRMED:
                where = f"in block {now.height:,}, confirmations: {now.confirmations:,}"
            elif now.state is State.WAITING:
                where = f"waiting to be mined, until block {now.expiry:,}"
            else:
                continue  # of which the error tells
            app.out.line(f"Request {record.id}: {to_text(now.txid)} {where}")

    app.out.result(data, show)


def _raise_what_is_left(
    record: Record, outcomes: Sequence[Outcome], stopped: WalletError | None
) -> None:
    """Raises: NotPaid, NotSettled."""
    reached = [now for _, now in outcomes if now is not None]
    state = _state_of(record, reached)
    worst = next((now for now in reached if now.state == state), None)
    if stopped is not None:
        raise NotSettled(
            f"{len(outcomes)} of {record.parts} transactions are made; the next one: {stopped} (do the same "
            "again to go on)"
        )
    if worst is None:
        return
    if state == State.VOID:
        raise NotPaid(
            f"request {record.id} was not mined until block {worst.expiry:,} and never will be; nobody was "
            "paid: sign it anew with --again"
        )
    if state == State.EXPIRED:
        raise NotSettled(
            f"request {record.id} was not mined until block {worst.expiry:,}; a reorganisation could still "
            f"bring that back, so it can be signed anew only from block {worst.final_at:,}"
        )
    if state == State.UNSENT:
        raise NotSettled(
            f"request {record.id} is recorded as {to_text(worst.txid)}, and the node does not take it now: "
            f"{worst.reason or 'it was not asked to'} (ask again with the same id)"
        )


def _state_of(record: Record, reached: Sequence[Standing]) -> str:
    for state in _ORDER[:3]:
        if any(now.state is state for now in reached):
            return state
    if len(reached) < max(record.parts, 1):
        return OPEN
    return next(state for state in _ORDER if any(now.state is state for now in reached))


def _part_data(part: Record, now: Standing) -> dict[str, Any]:
    return {
        "request_id": part.id,
        "state": now.state,
        "txid": to_text(now.txid),
        "height": now.height,
        "confirmations": now.confirmations,
        "expiry": now.expiry,
        "final_at": now.final_at,
        "reason": now.reason,
        "attempts": [to_text(entry.txid) for entry in part.attempts],
        "payments": len(part.payments),
    }


def report(app: App, record: Record, outcomes: Sequence[Outcome]) -> bytes:
    """Every payment with the transaction that makes it, as CSV; empty where there is none yet."""
    standing_at = dict(enumerate(now for _, now in outcomes))
    infos = infos_of(record)
    rows = []
    for number, output in enumerate(record.payments):
        now = standing_at.get(number // record.part_payments if record.parts else 0)
        info = described(output.asset, infos)
        rows.append(
            (
                app.address(output.lock), amount_data(output.amount, info.decimals)["amount"],
                to_text(output.asset), memo_text(output.memo),
                to_text(now.txid) if now else "", now.state if now else OPEN,
                str(now.height or "") if now else "",
            )
        )  # fmt: skip
    return write_rows(("address", "amount", "asset", "memo", "txid", "state", "height"), rows)
