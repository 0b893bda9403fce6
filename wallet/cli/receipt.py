"""`tael receipt`: a file that shows that a payment was mined, and the check of one, without a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from consensus.block import decode_header
from consensus.codec import encode
from consensus.errors import Violation
from consensus.hashes import Txid, from_text, to_text
from consensus.inclusion import decode_inclusion
from consensus.tx import BURN_LOCK, NATIVE, Key, Lock, Threshold, TxOut
from wallet.amounts import NATIVE_DECIMALS
from wallet.answers import (
    AssetInfo,
    ChainInfo,
    Node,
    ask,
    bytes_of,
    fetch_asset,
    fetch_tx,
    native_info,
)
from wallet.cli.app import App
from wallet.cli.assets_of import told_apart, unnamed
from wallet.cli.options import DefaultGroup
from wallet.cli.output import amount_data, amount_text, asset_data, memo_text, time_text
from wallet.client import Client
from wallet.errors import NodeError, RpcError, WalletError
from wallet.files import read_file, write_file
from wallet.receipt import (
    HEADERS_MAX,
    RECEIPT_BYTES_MAX,
    Definition,
    Proven,
    Receipt,
    SpentValue,
    decode_receipt,
    encode_receipt,
    is_linked,
    make_receipt,
    name_of,
    verify,
    work_text,
)
from wallet.scan import Say
from wallet.standing import look_up

CONFIRMATIONS_DEFAULT = 100
_HEADER_HEX_MAX = 160


@click.group("receipt", cls=DefaultGroup)
def receipt() -> None:
    """Show that a payment was mined: tael receipt TXID -o FILE, tael receipt verify FILE."""


@receipt.command("write")
@click.argument("txid")
@click.option("-o", "--out", required=True, metavar="FILE", help="Where to.")
@click.option("--confirmations", type=click.IntRange(1, HEADERS_MAX + 1),
              default=CONFIRMATIONS_DEFAULT, help="Blocks to show at most (default: 100).")  # fmt: skip
@click.pass_obj
def write(app: App, txid: str, out: str, confirmations: int) -> None:
    """Write the receipt of TXID, a transaction that is in a block."""
    try:
        wanted = Txid(bytes_of(txid))
    except NodeError:
        raise WalletError(f"{txid[:80]!r} is no transaction id") from None

    path = app.output_path(out)

    async def work(client: Client, info: ChainInfo, say: Say) -> Receipt:
        return await _fetch(app, client, wanted, confirmations, say)

    made = app.ask_node(work)
    # Not a byte is handed out that would not hold elsewhere.
    proven = verify(made, app.params, app.env.now())
    write_file(path, encode_receipt(made))
    data = {"txid": to_text(wanted), "file": out, "height": proven.height, "depth": proven.depth}
    app.out.result(
        data,
        lambda: app.out.line(
            f"Receipt of {to_text(wanted)}, block {proven.height:,}, blocks shown: {proven.depth:,}, in {out}"
        ),
    )


async def _fetch(app: App, node: Node, txid: Txid, confirmations: int, say: Say) -> Receipt:
    """Everything that a receipt holds. Raises: WalletError."""
    found = await look_up(node, txid)
    if found is None or not found.confirmations or not found.blockhash:
        raise WalletError(f"{to_text(txid)} is in no block yet, so there is nothing to show")
    tx = await fetch_tx(node, txid)
    proof = await ask(node, str, "gettxoutproof", [to_text(txid)], found.blockhash)
    try:
        inclusion = decode_inclusion(bytes.fromhex(proof))
    except (ValueError, Violation):
        raise NodeError("the node answered gettxoutproof with no proof") from None
    coins = []
    for number, spent in enumerate(tx.body.inputs):
        say("asking what was spent", number, len(tx.body.inputs))
        parent = await fetch_tx(node, Txid(spent[:32]))
        index = int.from_bytes(spent[32:], "big")
        if index >= len(parent.body.outputs):
            raise NodeError("the node answered getrawtransaction with another transaction")
        output = parent.body.outputs[index]
        coins.append(SpentValue(output.asset, output.amount))
    definitions = []
    for asset in sorted({output.asset for output in tx.body.outputs if output.asset != NATIVE}):
        info = await fetch_asset(node, asset)
        if info.definition is not None and info.origin is not None:
            definitions.append(Definition(info.origin, info.definition))
    depth = min(found.confirmations, confirmations)
    height = await _height_of(node, found.confirmations)
    headers = await _headers(node, height, depth, found.blockhash, say)
    before = await _header(node, to_text(decode_header(inclusion.header).previous))
    return make_receipt(app.params, tx, coins, definitions, before, inclusion, headers)


async def _height_of(node: Node, confirmations: int) -> int:
    return await ask(node, int, "getblockcount") - confirmations + 1


async def _header(node: Node, block_hash: str) -> bytes:
    text = await ask(node, str, "getblockheader", block_hash, False)
    try:
        raw = bytes.fromhex(text[:_HEADER_HEX_MAX])
        if to_text(decode_header(raw).hash) == block_hash:
            return raw
    except (ValueError, Violation):
        pass
    raise NodeError("the node answered getblockheader with another header")


async def _headers(node: Node, height: int, depth: int, block_hash: str, say: Say) -> list[bytes]:
    """The headers behind the block, walked back from the last so that they are of one chain."""
    headers: list[bytes] = []
    name = await ask(node, str, "getblockhash", height + depth - 1)
    while name != block_hash:
        if len(headers) >= depth - 1:
            raise NodeError("the chain has changed meanwhile; ask again")
        say("asking for headers", len(headers), depth - 1)
        headers.append(await _header(node, name))
        name = to_text(decode_header(headers[-1]).previous)
    return headers[::-1]


@receipt.command("verify")
@click.argument("file")
@click.option("--checkpoint", metavar="HASH", help="A block that you trust and that must be shown.")
@click.option(
    "--against-node", is_flag=True, help="Ask the node, too, whether its chain has the block."
)
@click.pass_obj
def verify_file(app: App, file: str, checkpoint: str | None, against_node: bool) -> None:
    """Check the receipt FILE. Needs neither wallet nor node."""
    found = decode_receipt(read_file(Path(file).expanduser(), RECEIPT_BYTES_MAX))
    proven = verify(found, app.params, app.env.now())
    if checkpoint is not None and not is_linked(found, proven, _hash_of(checkpoint)):
        raise WalletError(
            "the receipt holds, but the block that you trust is not among those it shows"
        )
    confirmations = _ask(app, proven) if against_node else None
    data = _data(app, proven) | {
        "checkpoint": checkpoint is not None, "confirmations": confirmations
    }  # fmt: skip
    app.out.result(data, lambda: _show(app, proven, checkpoint is not None, confirmations))


def _hash_of(text: str) -> bytes:
    try:
        found = from_text(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise WalletError(f"{text[:80]!r} is no block hash")
    return found


def _ask(app: App, proven: Proven) -> int:
    """Confirmations of the block in the node's chain. Raises: WalletError if it has it not."""

    async def work(client: Client, info: ChainInfo, say: Say) -> int:
        try:
            name = await ask(client, str, "getblockhash", proven.height)
        except RpcError:
            name = ""
        return info.blocks - proven.height + 1 if name == name_of(proven.block) else 0

    confirmations = app.ask_node(work)
    if confirmations < 1:
        raise WalletError(
            f"the receipt is sound in itself, but the node has another block at height {proven.height:,}: "
            "the payment is not in its chain"
        )
    return confirmations


def info_of(app: App, proven: Proven, output: TxOut) -> AssetInfo:
    """The asset of an output, as the receipt proves it to be."""
    native = native_info(app.params)
    if output.asset == NATIVE:
        return native
    definition = proven.definitions.get(output.asset)
    if definition is None:
        return unnamed(output.asset)
    ticker = definition.ticker.decode("ascii")
    info = AssetInfo(output.asset, ticker, definition.decimals, definition)
    return told_apart(info, native.ticker)


def _data(app: App, proven: Proven) -> dict[str, Any]:
    fee = None if proven.fee is None else amount_data(proven.fee, NATIVE_DECIMALS)
    return {
        "txid": to_text(proven.tx.txid),
        "network": app.network,
        "block": name_of(proven.block),
        "height": proven.height,
        "time": proven.block.time,
        "tip": name_of(proven.tip),
        "depth": proven.depth,
        "work": str(proven.work),
        "least_work": str(proven.least_work),
        "fee": fee,
        "from": [
            {
                "address": app.address(payer.lock_hash), "lock": encode(payer.lock).hex(),
                "asset": to_text(payer.value.asset),
                "units": None if proven.fee is None else payer.value.amount,
            }
            for payer in proven.payers
        ],
        "to": [
            {
                "address": None if output.lock == BURN_LOCK else app.address(output.lock),
                **asset_data(info), **amount_data(output.amount, info.decimals),
                "memo": output.memo.hex(),
            }
            for output in proven.outputs
            for info in (info_of(app, proven, output),)
        ],
    }  # fmt: skip


def lock_text(lock: Lock) -> str:
    """What was revealed to spend, in words."""
    match lock:
        case Key(pubkey):
            return f"signed by the key {pubkey.hex()}"
        case Threshold(required, children):
            return f"opened by {required} of {len(children)} conditions"
        case _:
            return "opened by a condition without a key"


def _show(app: App, proven: Proven, is_trusted: bool, confirmations: int | None) -> None:
    line = app.out.line
    line(f"Proven: transaction {to_text(proven.tx.txid)}")
    line(
        f"  stands in block {proven.height:,} ({name_of(proven.block)}), "
        f"mined {time_text(proven.block.time)} UTC by its own word"
    )
    line(
        f"  blocks shown from it on: {proven.depth:,}, which took {work_text(proven.work)} to find"
    )
    line("It pays:")
    app.out.table(
        ("  To", ">Amount", "Memo"),
        [
            (
                "  (destroyed)" if output.lock == BURN_LOCK else f"  {app.address(output.lock)}",
                amount_text(output.amount, info_of(app, proven, output)), memo_text(output.memo),
            )
            for output in proven.outputs
        ],
    )  # fmt: skip
    line("It was paid from:" if proven.payers else "It is the coinbase: newly made, from nobody.")
    for payer in dict.fromkeys((p.lock_hash, lock_text(p.lock)) for p in proven.payers):
        line(f"  {app.address(payer[0])}, {payer[1]}")
    if proven.fee is not None:
        line(f"  Fee {amount_text(proven.fee, native_info(app.params))}")
    if confirmations is not None:
        line(
            f"The node that was asked has its block in its chain, confirmations: {confirmations:,}"
        )
    elif is_trusted:
        line("The block that you trust is among those shown.")
    line("Not proven:")
    if confirmations is None and not is_trusted:
        line(
            "  that these blocks are of the chain that everybody follows. To find as many of the easiest "
            f"kind takes {work_text(proven.least_work)}: if that is little to who gave you this, compare a "
            "block with one you trust (--checkpoint HASH, --against-node)"
        )
    if confirmations is None:
        line("  that no reorganisation came after the last block shown")
    line("  who the people behind the addresses are, and whether the money was spent since")
