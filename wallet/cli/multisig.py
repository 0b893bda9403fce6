"""Commands for coins that several people hold together: `tael multisig …`."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

import click

from consensus.codec import encode
from consensus.hashes import LockHash, to_text
from consensus.locks import lock_hash
from consensus.tx import NATIVE, Key, Lock, Path, Threshold
from consensus.tx_rules import check_tx
from wallet.answers import ChainInfo, native_info, next_context
from wallet.book import Sent, SharedLock, SpentCoin
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import Assets, asset_infos, described
from wallet.cli.contacts import addressed, check_recipients
from wallet.cli.options import Group
from wallet.cli.output import amount_data, amount_text
from wallet.cli.send import pairs, payments_of, with_expiry
from wallet.cli.spend import (
    SpendOptions,
    draft_of,
    expiry_of,
    fee_guard,
    fee_of,
    gather,
    max_fee_rate_option,
    output_data,
    output_rows,
    proposal_options,
    submit,
)
from wallet.client import Client
from wallet.errors import NodeError, WalletError
from wallet.files import read_file, write_file
from wallet.keys import COSIGN, is_pubkey
from wallet.partial import FILE_BYTES_MAX, Partial, combine, decode_partial, encode_partial
from wallet.scan import Say
from wallet.sign import Situation, atoms_of, finish, sign_inputs, txid_of, witness_of

KEYS_MAX = 20


@click.group("multisig", cls=Group)
def multisig() -> None:
    """Coins that k of n people spend together."""


@multisig.command("key")
@click.option("--new", is_flag=True, help="One that was never given out.")
@click.pass_obj
def key(app: App, new: bool) -> None:
    """A public key of yours, to be given to the others."""
    with app.open_wallet() as wallet:
        index = wallet.book.next_index[COSIGN]
        if not new and index > 0:
            index -= 1
        if index >= wallet.book.next_index[COSIGN]:
            wallet.book.advance(COSIGN, index + 1)
            wallet.save()
        pubkey = wallet.keyring.pubkey(COSIGN, index).hex()
        app.out.result({"pubkey": pubkey, "index": index}, lambda: app.out.line(pubkey))


def threshold_lock(required: int, texts: tuple[str, ...]) -> Lock:
    """The lock that `required` of the keys open. Raises: WalletError.

    The keys are sorted, so that the same people get the same address in whatever order they stand.
    """
    pubkeys = []
    for text in texts:
        try:
            pubkey = bytes.fromhex(text)
        except ValueError:
            pubkey = b""
        if not is_pubkey(pubkey):
            raise WalletError(f"{text[:80]!r} is not a public key (66 hex digits)")
        pubkeys.append(pubkey)
    if len(set(pubkeys)) != len(pubkeys):
        raise WalletError("a public key is there twice")
    if not 1 <= required <= len(pubkeys) <= KEYS_MAX:
        raise WalletError(f"{required} of {len(pubkeys)} keys makes no lock (at most {KEYS_MAX})")
    return Threshold(required, tuple(Key(pubkey) for pubkey in sorted(pubkeys)))


@multisig.command("create")
@click.argument("required", type=click.IntRange(1, KEYS_MAX))
@click.argument("pubkeys", nargs=-1, required=True)
@click.option("--name", required=True, help="What to call it.")
@click.pass_obj
def create(app: App, required: int, pubkeys: tuple[str, ...], name: str) -> None:
    """A lock that REQUIRED of the PUBKEYS open; every cosigner does this with the same keys."""
    lock = threshold_lock(required, pubkeys)
    with app.open_wallet() as wallet:
        wallet.book.check_name(name)
        wallet.book.shared.append(SharedLock(name, lock))
        wallet.save()
        _show_lock(app, wallet, name, lock)


def _show_lock(app: App, wallet: Wallet, name: str, lock: Lock) -> None:
    address = app.address(lock_hash(lock))
    pubkeys = [atom.pubkey for _, atom in atoms_of(lock) if isinstance(atom, Key)]
    own = sum(wallet.keyring.secret_of(pubkey) is not None for pubkey in pubkeys)
    data = {
        "name": name,
        "address": address,
        "lock": encode(lock).hex(),
        "required": lock.required if isinstance(lock, Threshold) else 1,
        "keys": [pubkey.hex() for pubkey in pubkeys],
        "own_keys": own,
    }

    def show() -> None:
        app.out.line(address)
        app.out.line(f"{data['required']} of {len(pubkeys)} keys; {own} of them in this wallet.")

    app.out.result(data, show)


@multisig.command("address")
@click.argument("name")
@click.pass_obj
def address(app: App, name: str) -> None:
    """The address of the shared lock NAME, and its keys."""
    with app.open_wallet() as wallet:
        entry = wallet.book.shared_by_name(name)
        _show_lock(app, wallet, name, entry.lock)


@multisig.command("propose")
@click.argument("name")
@click.argument("recipients", nargs=-1, metavar="[ADDRESS AMOUNT]…")
@click.option("--to", multiple=True, metavar="ADDRESS=AMOUNT", help="One more recipient.")
@click.option("--asset", help="What to send: asset id or ticker (default: the native coin).")
@click.option("--memo", help="Text, or 0x and hex, that everybody can read; 128 bytes at most.")
@click.option("--out", "out", metavar="FILE", required=True, help="The file to make.")
@proposal_options
@click.pass_obj
def propose(
    app: App, /, name: str, recipients: tuple[str, ...], to: tuple[str, ...], asset: str | None,
    memo: str | None, out: str, **options: Any,
) -> None:  # fmt: skip
    """Write a payment from the shared lock NAME to FILE, for the cosigners to sign."""
    chosen = SpendOptions(**options)
    found = pairs(recipients, to)
    check_recipients(app, found)
    with app.open_wallet() as wallet:
        entry = wallet.book.shared_by_name(name)
        found = addressed(app, wallet.book, found)
        gathered = gather(app, wallet)
        fee = fee_of(chosen, gathered.rate)
        request = payments_of(app, found, gathered, asset, memo, fee, name)
        request = with_expiry(request, expiry_of(chosen, gathered.info))
        draft = draft_of(app, request, gathered, lock_hash(entry.lock), fee, name)
        empty: tuple[dict[Path, bytes], ...] = tuple({} for _ in draft.inputs)
        partial = Partial(app.network, wallet.book.chain_id, name, draft.body, draft.inputs, empty)
        if not chosen.dry_run:
            _write_new(out, partial)
        _show_partial(app, wallet, partial, gathered.infos, out)


def _load(app: App, wallet: Wallet, path: str) -> Partial:
    return decode_partial(
        read_file(FilePath(path).expanduser(), FILE_BYTES_MAX), wallet.book.chain_id
    )


def _write_new(path: str, partial: Partial) -> None:
    """Raises: WalletError rather than replace a file: it may hold the signatures of others."""
    target = FilePath(path).expanduser()
    if target.exists():
        raise WalletError(f"{target} exists already: give another --out, or remove it first")
    write_file(target, encode_partial(partial))


def _partial_data(
    app: App, wallet: Wallet, partial: Partial, infos: Assets, path: str
) -> dict[str, Any]:
    known = _spent_shared(wallet, partial)
    return {
        "file": path,
        "txid": to_text(txid_of(partial.body)),
        "fee": amount_data(partial.fee, infos[NATIVE].decimals),
        "expiry": partial.body.expiry,
        "outputs": [
            output_data(app, output, infos, output.lock in known) for output in partial.body.outputs
        ],
        "signatures": [len(items) for items in partial.signatures],
        "complete": _is_complete(partial),
    }


def _spent_shared(wallet: Wallet, partial: Partial) -> dict[LockHash, SharedLock]:
    """Those locks that the wallet shares and the transaction spends from. Only an output to one of
    them comes back: to another lock of the book, the coins may be gone for most who sign here."""
    spent = {entry.coin.lock for entry in partial.inputs}
    locks = {lock_hash(entry.lock): entry for entry in wallet.book.shared}
    return {lock: entry for lock, entry in locks.items() if lock in spent}


def _check_spends_one_shared_lock(wallet: Wallet, partial: Partial) -> None:
    """A file from somebody else may name any coin. Raises: WalletError if one is not shared: the
    keys of this wallet open its own coins too, and nobody means to sign those away here."""
    known = _spent_shared(wallet, partial)
    for index, entry in enumerate(partial.inputs):
        if entry.coin.lock not in known:
            address = wallet.keyring.address(entry.coin.lock)
            raise WalletError(
                f"input {index} spends a coin of {address}, which is no lock that this wallet "
                "shares: nothing was signed"
            )
    if len(known) > 1:
        names = ", ".join(sorted(entry.name for entry in known.values()))
        raise WalletError(f"the transaction spends several shared locks ({names}): not signed")


def _is_complete(partial: Partial) -> bool:
    return all(
        witness_of(entry.lock, Situation(entry.coin, None, items, {})) is not None
        for entry, items in zip(partial.inputs, partial.signatures, strict=True)
    )


def _show_partial(app: App, wallet: Wallet, partial: Partial, infos: Assets, path: str) -> None:
    data = _partial_data(app, wallet, partial, infos, path)
    app.out.result(data, lambda: _print_partial(app, wallet, partial, infos, path))


def _print_partial(app: App, wallet: Wallet, partial: Partial, infos: Assets, path: str) -> None:
    known = _spent_shared(wallet, partial)
    back = [i for i, output in enumerate(partial.body.outputs) if output.lock in known]
    app.out.line(f"Transaction {to_text(txid_of(partial.body))} in {path}:")
    for entry in partial.inputs:
        shared = known.get(entry.coin.lock)
        owner = f"shared lock {shared.name!r}" if shared else "NOT A SHARED LOCK OF THIS WALLET"
        amount = amount_text(entry.coin.amount, described(entry.coin.asset, infos))
        app.out.line(f"  From {wallet.keyring.address(entry.coin.lock)} ({owner}): {amount}")
    app.out.table(
        ("  To", ">Amount", "Memo"), output_rows(app, wallet, partial.body.outputs, back, infos)
    )
    if partial.body.issuances:
        app.out.line(f"  It issues assets: {len(partial.body.issuances)} issuances")
    app.out.line(
        f"  Fee {amount_text(partial.fee, infos[NATIVE])}, coins spent: {len(partial.inputs)}"
    )
    if partial.body.expiry:
        app.out.line(f"  Void after block {partial.body.expiry:,}")
    counts = sorted({len(items) for items in partial.signatures})
    state = "complete" if _is_complete(partial) else "more signatures are needed"
    app.out.line(f"  Signatures per input: {', '.join(map(str, counts))} ({state})")


def _names(app: App, wallet: Wallet, partial: Partial) -> Assets:
    """What the assets in a file are called. The node is asked only if there are any: who signs on a
    machine without one sees their ids."""

    async def work(client: Client, info: ChainInfo, say: Say) -> Assets:
        return await asset_infos(client, app.params, wallet.book, assets)

    assets = {output.asset for output in partial.body.outputs}
    assets |= {entry.coin.asset for entry in partial.inputs}
    native: Assets = {NATIVE: native_info(app.params)}
    if assets <= {NATIVE}:
        return native
    try:
        return app.ask_node(work)
    except NodeError as error:
        click.echo(f"warning: amounts of assets stand in base units: {error}", err=True)
        return native


@multisig.command("show")
@click.argument("file")
@click.pass_obj
def show(app: App, file: str) -> None:
    """What the transaction in FILE does, and how far it is signed."""
    with app.open_wallet() as wallet:
        partial = _load(app, wallet, file)
        _show_partial(app, wallet, partial, _names(app, wallet, partial), file)


@multisig.command("sign")
@click.argument("file")
@click.option("--out", metavar="FILE", help="Where to write it (default: the same file).")
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
@click.pass_obj
def sign(app: App, file: str, out: str | None, yes: bool) -> None:
    """Add the signatures of this wallet to FILE, after showing what it does."""
    with app.open_wallet() as wallet:
        partial = _load(app, wallet, file)
        _check_spends_one_shared_lock(wallet, partial)
        infos = _names(app, wallet, partial)
        if not app.settings.json:
            _print_partial(app, wallet, partial, infos, file)
        app.confirm("Sign it?", yes)
        made = sign_inputs(partial.body, partial.inputs, wallet.keyring.secret_of, partial.chain_id)
        if not any(made):
            raise WalletError("none of the keys that the transaction asks for is in this wallet")
        added = partial.add(made)
        target = out or file
        if target == file:
            write_file(FilePath(target).expanduser(), encode_partial(partial))
        else:
            _write_new(target, partial)
        data = _partial_data(app, wallet, partial, infos, target) | {"added": added}
        state = "It is complete." if data["complete"] else "It needs more signatures."
        app.out.result(
            data, lambda: app.out.line(f"Signatures added to {target}: {added}. {state}")
        )


@multisig.command("combine")
@click.argument("files", nargs=-1, required=True)
@click.option("--out", metavar="FILE", required=True, help="The file to make.")
@click.pass_obj
def combine_files(app: App, files: tuple[str, ...], out: str) -> None:
    """Bring the signatures of several FILES of one transaction together."""
    with app.open_wallet() as wallet:
        partial = combine([_load(app, wallet, file) for file in files])
        if out in files:
            write_file(FilePath(out).expanduser(), encode_partial(partial))
        else:
            _write_new(out, partial)
        _show_partial(app, wallet, partial, _names(app, wallet, partial), out)


@multisig.command("send")
@click.argument("file")
@click.option("--yes", is_flag=True, help="Do not ask before sending.")
@max_fee_rate_option
@click.pass_obj
def send(app: App, file: str, yes: bool, max_fee_rate: str | None) -> None:
    """Send the transaction in FILE, once enough people have signed it."""
    guard = fee_guard(max_fee_rate)
    with app.open_wallet() as wallet:
        partial = _load(app, wallet, file)

        async def work(client: Client, info: ChainInfo, say: Say) -> tuple[ChainInfo, Assets]:
            assets = {output.asset for output in partial.body.outputs}
            assets |= {entry.coin.asset for entry in partial.inputs}
            return info, await asset_infos(client, app.params, wallet.book, assets)

        info, infos = app.ask_node(work)
        tx = finish(partial.body, partial.inputs, partial.signatures, next_context(info))
        if not app.settings.json:
            _print_partial(app, wallet, partial, infos, file)
        app.confirm("Send it?", yes)
        inputs = tuple(SpentCoin(e.outpoint, e.coin, e.lock) for e in partial.inputs)
        wallet.book.add_sent(
            Sent(tx.txid, tx.raw, inputs, (), partial.fee, check_tx(tx).cost, app.env.now())
        )
        wallet.save()
        sent = submit(app, wallet, tx, guard)
        data = _partial_data(app, wallet, partial, infos, file) | {"sent": sent}
        state = "Sent" if sent else "In a block already, so nothing was sent:"
        app.out.result(data, lambda: app.out.line(f"{state} {to_text(tx.txid)}"))
