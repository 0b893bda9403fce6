"""Commands that look: balance, utxos, history, assets, asset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click
import msgspec

from consensus.hashes import AssetId, Txid, to_text
from consensus.tx import NATIVE, AssetDefinition, Tx, TxOut
from wallet.amounts import display_amount
from wallet.answers import AssetInfo, ChainInfo, fetch_asset, fetch_tx
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import Assets, asset_by_id, asset_infos, described, find_asset
from wallet.cli.options import Command
from wallet.cli.output import amount_data, amount_text, asset_data, memo_text, time_text
from wallet.client import Client
from wallet.contacts import names_by_lock
from wallet.errors import RpcError
from wallet.scan import Balance, Event, Held, Say, balances, discover, events, holdings
from wallet.tracked import Kind

HISTORY_DEFAULT = 25


class Looked(msgspec.Struct, frozen=True):
    """What the node said of the wallet's coins."""

    info: ChainInfo
    held: list[Held]
    infos: Assets


def look(app: App, wallet: Wallet) -> Looked:
    """Ask for everything that the wallet has and watches."""

    async def work(client: Client, info: ChainInfo, say: Say) -> Looked:
        await discover(client, wallet.keyring, say)
        held = await holdings(client, wallet.keyring, wallet.keyring.places().values(), info, say)
        infos = await asset_infos(
            client, app.params, wallet.book, (entry.coin.asset for entry in held)
        )
        return Looked(info, held, infos)

    before = (wallet.book.next_index, wallet.book.used_index, list(wallet.book.accounts))
    looked = app.ask_node(work)
    if before != (wallet.book.next_index, wallet.book.used_index, wallet.book.accounts):
        wallet.save()
    return looked


def _balance_data(totals: Mapping[AssetId, Balance], infos: Assets) -> list[dict[str, Any]]:
    rows = []
    for asset in sorted(totals):
        info, balance = described(asset, infos), totals[asset]
        rows.append(
            {
                **asset_data(info),
                "confirmed": amount_data(balance.confirmed, info.decimals),
                "unconfirmed": amount_data(balance.unconfirmed, info.decimals),
                "immature": amount_data(balance.immature, info.decimals),
            }
        )
    return rows


def balance_data(looked: Looked, kind: Kind) -> list[dict[str, Any]]:
    """What the wallet has of one kind, for programs."""
    return _balance_data(_totals(looked, kind), looked.infos)


def balance_table(app: App, looked: Looked, kind: Kind) -> None:
    """What the wallet has of one kind, for people."""
    rows = [row[1:] for row in _balance_rows("", _totals(looked, kind), looked.infos)]
    app.out.table(("Asset", ">Confirmed", ">Unconfirmed", ">Immature", "Asset id"), rows)


def _totals(looked: Looked, kind: Kind) -> dict[AssetId, Balance]:
    return {NATIVE: Balance()} | balances(e for e in looked.held if e.place.kind is kind)


def _balance_rows(
    name: str, totals: Mapping[AssetId, Balance], infos: Assets
) -> Iterable[tuple[str, ...]]:
    for asset in sorted(totals):
        info, balance = described(asset, infos), totals[asset]
        amounts = (balance.confirmed, balance.unconfirmed, balance.immature)
        yield (
            name, info.ticker, *[display_amount(amount, info.decimals) for amount in amounts],
            to_text(asset),
        )  # fmt: skip


@click.command("balance", cls=Command)
@click.pass_obj
def balance(app: App) -> None:
    """What the wallet has, by asset.

    Unconfirmed is what waiting transactions add or (negative) take away; immature coins are too
    young to be spent.
    """
    with app.open_wallet() as wallet:
        looked = look(app, wallet)
        own = _totals(looked, Kind.OWN)
        groups: dict[str, dict[AssetId, Balance]] = {}
        shared = {entry.name for entry in wallet.book.shared}
        for name in (*sorted(shared), *wallet.book.watched_names()):
            held = [entry for entry in looked.held if entry.place.name == name]
            groups[name] = {NATIVE: Balance()} | balances(held)
        data = {
            "network": app.network,
            "height": looked.info.blocks,
            "bestblock": looked.info.bestblockhash,
            "syncing": looked.info.initialblockdownload,
            "assets": _balance_data(own, looked.infos),
            "shared": [
                {"name": name, "assets": _balance_data(totals, looked.infos)}
                for name, totals in groups.items() if name in shared
            ],
            "watched": [
                {"name": name, "assets": _balance_data(totals, looked.infos)}
                for name, totals in groups.items() if name not in shared
            ],
        }  # fmt: skip

        def show() -> None:
            if looked.info.initialblockdownload:
                app.out.line("The node is still catching up: these figures are not the last.")
            rows = [*_balance_rows("", own, looked.infos)]
            for name, totals in groups.items():
                rows += _balance_rows(name if name in shared else f"{name} (watched)", totals,
                                      looked.infos)  # fmt: skip
            app.out.table(
                ("Where", "Asset", ">Confirmed", ">Unconfirmed", ">Immature", "Asset id"), rows
            )

        app.out.result(data, show)


@click.command("utxos", cls=Command)
@click.option("--asset", help="Only of this asset: its id or ticker.")
@click.pass_obj
def utxos(app: App, asset: str | None) -> None:
    """The coins of the wallet, one by one."""
    with app.open_wallet() as wallet:
        looked = look(app, wallet)
        wanted = None if asset is None else find_asset(asset, looked.infos)
        held = [entry for entry in looked.held if wanted is None or entry.coin.asset == wanted]
        held.sort(key=lambda entry: (entry.coin.height, entry.outpoint))
        rows = [_coin_data(app, entry, looked) for entry in held]

        def show() -> None:
            app.out.table(
                ("Coin", ">Amount", ">Height", "State", "Address"),
                [
                    (
                        f"{row['txid']}:{row['index']}",
                        amount_text(row["units"], described(entry.coin.asset, looked.infos)),
                        "" if entry.is_pending else str(entry.coin.height),
                        row["state"], row["address"],
                    )
                    for row, entry in zip(rows, held, strict=True)
                ],
            )  # fmt: skip

        app.out.result({"height": looked.info.blocks, "utxos": rows}, show)


def _coin_data(app: App, entry: Held, looked: Looked) -> dict[str, Any]:
    info = described(entry.coin.asset, looked.infos)
    return {
        "txid": to_text(entry.outpoint[:32]),
        "index": int.from_bytes(entry.outpoint[32:], "big"),
        "address": app.address(entry.place.lock_hash),
        "kind": entry.place.kind.value,
        "name": entry.place.name,
        **asset_data(info),
        **amount_data(entry.coin.amount, info.decimals),
        "height": None if entry.is_pending else entry.coin.height,
        "state": _state(entry),
    }


def _state(entry: Held) -> str:
    if entry.is_leaving:
        return "being spent"
    if entry.is_pending:
        return "unconfirmed"
    return "spendable" if entry.is_mature else "immature"


@click.command("history", cls=Command)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=HISTORY_DEFAULT,
              help="How many, newest first (default: 25).")  # fmt: skip
@click.pass_obj
def history(app: App, limit: int) -> None:
    """What came in and went out, newest first."""
    with app.open_wallet() as wallet:

        async def work(
            client: Client, info: ChainInfo, say: Say
        ) -> tuple[ChainInfo, list[Event], dict[Txid, Tx], Assets]:
            await discover(client, wallet.keyring, say)
            found = await events(client, wallet.keyring, wallet.keyring.places().values(), say)
            txs: dict[Txid, Tx] = {}
            for event in found[:limit]:
                say("reading transactions", len(txs), min(limit, len(found)))
                try:
                    txs[event.txid] = await fetch_tx(client, event.txid)
                except RpcError:  # its memos are not shown then; what it did is known
                    continue
            assets = {asset for event in found[:limit] for asset in event.changes}
            return info, found, txs, await asset_infos(client, app.params, wallet.book, assets)

        info, all_events, txs, infos = app.ask_node(work)
        found = all_events[:limit]
        rows = [_event_data(wallet, event, txs.get(event.txid), info, infos) for event in found]
        waiting = _unseen(wallet, {event.txid for event in all_events})

        def show() -> None:
            app.out.table(
                (">Height", "Where", "Txid", ">Amount", "Memo", "Label"),
                [
                    _event_cells(row, _amounts(event, infos))
                    for row, event in zip(rows, found, strict=True)
                ],
            )
            for entry in waiting:
                app.out.line(
                    f"Sent {time_text(entry['time'])} UTC but not known to the node: {entry['txid']}"
                )

        app.out.result({"height": info.blocks, "transactions": rows, "unknown": waiting}, show)


def _event_cells(row: Mapping[str, Any], amounts: str) -> tuple[str, ...]:
    height = "waiting" if row["height"] is None else str(row["height"])
    memos = " ".join(memo_text(bytes.fromhex(memo)) for memo in row["memos"])
    return (
        height,
        row["where"],
        row["txid"],
        amounts,
        memos,
        row["label"] or ", ".join(row["contacts"]),
    )


def _amounts(event: Event, infos: Assets) -> str:
    texts = [
        ("+" if amount > 0 else "") + amount_text(amount, described(asset, infos))
        for asset, amount in event.changes.items()
    ]
    return ", ".join(texts) or "to itself"


def _event_data(
    wallet: Wallet, event: Event, tx: Tx | None, info: ChainInfo, infos: Assets
) -> dict[str, Any]:
    sent = wallet.book.sent_by_id().get(event.txid)
    outputs = tx.body.outputs if tx else ()
    # Of a payment that came in, the memos on own outputs; of one that went out, all of them.
    # One that several outputs carry is one message.
    memos = dict.fromkeys(
        output.memo.hex()
        for output in outputs
        if output.memo and (sent is not None or output.lock in event.places)
    )
    return {
        "txid": to_text(event.txid),
        "where": event.name,
        "height": event.height,
        "confirmations": 0 if event.height is None else info.blocks - event.height + 1,
        "changes": [
            {**asset_data(described(asset, infos)),
             **amount_data(amount, described(asset, infos).decimals)}
            for asset, amount in event.changes.items()
        ],
        "memos": list(memos),
        "fee": None if sent is None else amount_data(sent.fee, infos[NATIVE].decimals),
        "time": None if sent is None else sent.time,
        "label": _label(wallet, event),
        "contacts": [] if sent is None else _contacts(wallet, outputs),
    }  # fmt: skip


def _label(wallet: Wallet, event: Event) -> str:
    """The note on the transaction, else those on the addresses it touched."""
    labels = wallet.book.labels
    addresses = sorted(wallet.keyring.address(lock) for lock in event.places)
    noted = [labels[address] for address in addresses if address in labels]
    return labels.get(to_text(event.txid)) or ", ".join(noted)


def _contacts(wallet: Wallet, outputs: Iterable[TxOut]) -> list[str]:
    names = names_by_lock(wallet.book)
    return list(dict.fromkeys(names[out.lock] for out in outputs if out.lock in names))


def _unseen(wallet: Wallet, seen: set[Txid]) -> list[dict[str, Any]]:
    """Transactions that were sent but that the node knows nothing of, nor of a replacement."""
    replaced = {entry.replaces for entry in wallet.book.sent if entry.txid in seen}
    return [
        {"txid": to_text(entry.txid), "time": entry.time, "hex": entry.raw.hex()}
        for entry in wallet.book.sent
        if entry.txid not in seen and entry.txid not in replaced
    ]


@click.command("assets", cls=Command)
@click.pass_obj
def assets(app: App) -> None:
    """The assets that the wallet holds."""
    with app.open_wallet() as wallet:
        looked = look(app, wallet)
        held = [info for info in looked.infos.values() if info.asset != NATIVE]
        rows = [_info_data(info) for info in held]

        def show() -> None:
            app.out.table(
                ("Asset id", "Ticker", "Name", ">Decimals", ">Supply"),
                [(row["asset"], row["ticker"], row["name"], str(row["decimals"]),
                  _supply_text(info)) for row, info in zip(rows, held, strict=True)],
            )  # fmt: skip

        app.out.result({"assets": rows}, show)


def _supply_text(info: AssetInfo) -> str:
    return "?" if info.supply is None else display_amount(info.supply, info.decimals)


def _authority_left(info: AssetInfo) -> bool | None:
    """Whether anybody can still issue more. None if the node does not tell."""
    if info.definition is None or not info.definition.reissuable:
        return False
    return None if info.authority_supply is None else info.authority_supply > 0


def _info_data(info: AssetInfo) -> dict[str, Any]:
    definition = info.definition or AssetDefinition(b"", b"", info.decimals, b"", False)
    supply = None if info.supply is None else amount_data(info.supply, info.decimals)
    return {
        **asset_data(info),
        "name": definition.name.decode("utf-8", "replace"),
        "terms": definition.terms.hex(),
        "reissuable": definition.reissuable,
        "authority_left": _authority_left(info),
        "authority_of": to_text(info.authority_of),
        "supply": supply,
        "height": info.height,
    }


@click.command("asset", cls=Command)
@click.argument("asset")
@click.pass_obj
def asset(app: App, asset: str) -> None:
    """What one asset is: ASSET is its id, or the ticker of one that the wallet holds."""
    wanted = asset_by_id(asset)
    if wanted is not None:

        async def work(client: Client, info: ChainInfo, say: Say) -> AssetInfo:
            return await fetch_asset(client, wanted)

        info = app.ask_node(work)
    else:
        with app.open_wallet() as wallet:
            looked = look(app, wallet)
            info = looked.infos[find_asset(asset, looked.infos)]
    data = _info_data(info)

    def show() -> None:
        left = "?" if data["authority_left"] is None else data["authority_left"]
        shown = {**data, "supply": _supply_text(info), "authority_left": left}
        app.out.table(("", ""), [(key, str(value)) for key, value in shown.items()])

    app.out.result(data, show)
