"""Coins that several people hold together, end to end over a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus.address import decode_address
from consensus.codec import encode
from consensus.hashes import to_text
from consensus.locks import lock_hash
from consensus.params import COIN
from consensus.tx import NATIVE, Body, Height, Key, Older, Threshold, TxOut
from tests.support.rpc_node import RpcFault, ToyNode, address_text, pay_from
from tests.support.wallet_cli import Tael
from wallet.keys import RECEIVE, Account
from wallet.partial import Partial, encode_partial
from wallet.sign import Spendable


@pytest.fixture
def board(node: ToyNode, new_wallet: Callable[[int], Tael]) -> tuple[Tael, Tael, Tael]:
    """Three wallets with a lock of 2 of 3 keys called board, which holds 10 TAEL."""
    wallets = (new_wallet(11), new_wallet(12), new_wallet(13))
    keys = [wallet.json("multisig", "key")["pubkey"] for wallet in wallets]
    shown = [
        wallet.json("multisig", "create", "2", *keys[turn:], *keys[:turn], "--name", "board")
        for turn, wallet in enumerate(wallets)
    ]
    assert len({row["address"] for row in shown}) == 1
    assert [row["own_keys"] for row in shown] == [1, 1, 1]
    for _ in range(4):
        pay_from(node, shown[0]["address"], 5 * COIN // 2)
        node.mine()
    return wallets


def propose(wallet: Tael, name: str, *args: str) -> str:
    file = str(wallet.folder / name)
    wallet.json("multisig", "propose", "board", *args, "--out", file)
    return file


def test_two_of_three_sign_one_after_the_other_and_send(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    first, second, _ = board
    address = bob.json("address")["address"]
    file = propose(first, "p.json", address, "6", "--memo", "rent")
    assert first.json("multisig", "sign", file, "--yes")["complete"] is False
    signed = second.json("multisig", "sign", file, "--yes")
    assert signed["complete"] is True
    sent = second.json("multisig", "send", file, "--yes")
    node.mine()
    assert node.balance_of(address) == 6 * COIN
    assert sent["txid"] == signed["txid"]
    (shared,) = first.json("balance")["shared"]
    fee = sent["fee"]["units"]
    assert shared["assets"][0]["confirmed"]["units"] == 4 * COIN - fee


def test_two_copies_signed_apart_are_combined(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    first, second, third = board
    file = propose(first, "p.json", bob.json("address")["address"], "1")
    copies = [str(first.folder / "b.json"), str(first.folder / "c.json")]
    second.run("multisig", "sign", file, "--out", copies[0], "--yes")
    third.run("multisig", "sign", file, "--out", copies[1], "--yes")
    joined = str(first.folder / "joined.json")
    assert first.json("multisig", "combine", *copies, "--out", joined)["complete"] is True
    first.run("multisig", "send", joined, "--yes")
    assert len(node.mempool) == 1


def test_one_signature_is_not_enough(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    first = board[0]
    file = propose(first, "p.json", bob.json("address")["address"], "1")
    first.run("multisig", "sign", file, "--yes")
    assert "missing: a signature of" in first.fails("multisig", "send", file, "--yes")
    assert not node.mempool


def test_what_is_signed_is_shown_before(board: tuple[Tael, Tael, Tael], bob: Tael) -> None:
    first, second, _ = board
    address = bob.json("address")["address"]
    file = propose(first, "p.json", address, "1.25")
    result = second.invoke("multisig", "sign", file)
    assert result.exit_code == 1
    assert "confirm with --yes" in result.stderr
    assert address in result.stdout
    assert "1.25000000" in result.stdout
    assert "back to you" in result.stdout
    assert json.loads(Path(file).read_text())["inputs"][0]["signatures"] == {}


def test_stranger_has_nothing_to_sign_with(board: tuple[Tael, Tael, Tael], bob: Tael) -> None:
    file = propose(board[0], "p.json", bob.json("address")["address"], "1")
    assert "no lock that this wallet shares" in bob.fails("multisig", "sign", file, "--yes")


def test_file_that_spends_a_coin_of_the_signer_himself_is_not_signed(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    victim = board[0]
    pay_from(node, victim.json("address")["address"], 3 * COIN)
    node.mine()
    pubkey = Account.from_xpub(victim.json("info")["xpub"], 1).pubkey(RECEIVE, 0)
    spent, coin = next(
        (spent, coin)
        for spent, coin in node.chain.coins.items()
        if coin.lock == lock_hash(Key(pubkey))
    )
    thief = decode_address(node.hrp, bob.json("address")["address"])
    body = Body(1, (spent,), (TxOut(NATIVE, 2 * COIN, thief, b"rent"),), (), Height(0))
    partial = Partial(
        "regtest", node.chain.chain_id, "board", body, (Spendable(spent, coin, Key(pubkey)),), ({},)
    )
    file = victim.folder / "rent.json"
    file.write_bytes(encode_partial(partial))
    before = file.read_bytes()
    assert "no lock that this wallet shares" in victim.fails("multisig", "sign", str(file), "--yes")
    assert "NOT A SHARED LOCK" in victim.run("multisig", "show", str(file))
    assert file.read_bytes() == before


def test_multisig_all_leaves_nothing(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    file = propose(board[0], "p.json", bob.json("address")["address"], "all")
    for wallet in board[:2]:
        wallet.run("multisig", "sign", file, "--yes")
    board[0].run("multisig", "send", file, "--yes")
    node.mine()
    (shared,) = board[0].json("balance")["shared"]
    assert shared["assets"][0]["confirmed"]["units"] == 0


def _changed(file: str, change: Callable[[dict[str, Any]], None]) -> str:
    data = json.loads(Path(file).read_text())
    change(data)
    path = Path(file).with_name("changed.json")
    path.write_text(json.dumps(data))
    return str(path)


def _hide_amount(data: dict[str, Any]) -> None:
    data["inputs"][0]["amount"] -= 100


def test_false_amount_in_the_file_makes_a_worthless_signature(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    first, second, third = board
    file = propose(first, "p.json", bob.json("address")["address"], "1")
    false = _changed(file, _hide_amount)
    second.run("multisig", "sign", false, "--yes")
    third.run("multisig", "sign", false, "--yes")
    assert "bad-signature" in first.fails("multisig", "send", false, "--yes")
    mixed = json.loads(Path(file).read_text())
    mixed["inputs"][0]["signatures"] = json.loads(Path(false).read_text())["inputs"][0][
        "signatures"
    ]
    Path(file).write_text(json.dumps(mixed))
    assert "is wrong" in first.fails("multisig", "send", file, "--yes")
    assert not node.mempool


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.update(chainid="00" * 32), "another chain"),
        (lambda d: d.update(txid="00" * 32), "not that of its body"),
        (lambda d: d.update(body=d["body"] + "00"), "body of the transaction is wrong"),
        (lambda d: d.update(body="zz"), "body of the transaction is wrong"),
        (lambda d: d.update(extra=1), "unknown field"),
        (lambda d: d.update(version=2), "has version 2; this tael knows 1"),
        (lambda d: d["inputs"].clear(), "does not list each coin"),
        (lambda d: d["inputs"][0].update(lock="00"), "input 0 is wrong"),
        (lambda d: d["inputs"][0].update(amount=0), "input 0 is wrong"),
        (lambda d: d["inputs"][0].update(amount=1), "pays more than its coins hold"),
        (lambda d: d["inputs"][0].update(height=-1), "input 0 is wrong"),
        (lambda d: d["inputs"][0].update(asset="ff"), "input 0 is wrong"),
        (lambda d: d["inputs"][0]["signatures"].update({"00": "00" * 65}), "is wrong"),
        (lambda d: d["inputs"][0]["signatures"].update({"x": "y"}), "not hex"),
    ],
)
def test_tampered_file_is_refused(
    board: tuple[Tael, Tael, Tael], bob: Tael, change: Callable[[dict[str, Any]], None],
    complaint: str,
) -> None:  # fmt: skip
    file = propose(board[0], "p.json", bob.json("address")["address"], "2")
    assert complaint in board[1].fails("multisig", "sign", _changed(file, change), "--yes")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\xff", '{"format": 1}'])
def test_what_is_no_partial_transaction_is_one_line(
    board: tuple[Tael, Tael, Tael], text: str
) -> None:
    path = board[0].folder / "x.json"
    path.write_text(text, "latin-1")
    assert "not a partially signed" in board[0].fails("multisig", "show", str(path))


def test_files_of_two_transactions_do_not_combine(
    board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    address = bob.json("address")["address"]
    files = [propose(board[0], f"{n}.json", address, str(n)) for n in (1, 2)]
    line = board[0].fails("multisig", "combine", *files, "--out", str(bob.folder / "j"))
    assert "not of one transaction" in line


def test_wrong_keys_make_no_lock(bob: Tael) -> None:
    key = bob.json("multisig", "key")["pubkey"]
    assert "not a public key" in bob.fails("multisig", "create", "1", "05" * 33, "--name", "x")
    assert "twice" in bob.fails("multisig", "create", "1", key, key, "--name", "x")
    assert "makes no lock" in bob.fails("multisig", "create", "2", key, "--name", "x")
    assert "no shared lock" in bob.fails("multisig", "address", "nobody")


def test_restored_cosigner_signs_after_naming_the_lock_again(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael, url: str
) -> None:
    first, second, _ = board
    keys = first.json("multisig", "address", "board")["keys"]
    file = propose(first, "p.json", bob.json("address")["address"], "1")
    first.run("multisig", "sign", file, "--yes")
    again = Tael(second.folder, url, 99)
    words = again.folder / "words.txt"
    words.write_text(second.json("words", "--yes")["words"])
    again.run("restore", "--words-file", str(words))
    again.run("multisig", "create", "2", *keys, "--name", "the board")
    assert again.json("multisig", "sign", file, "--yes")["complete"] is True


def test_lock_with_a_way_out_by_time_is_spent_alone_when_old(
    node: ToyNode, new_wallet: Callable[[int], Tael], bob: Tael
) -> None:
    wallet = new_wallet(14)
    mine = bytes.fromhex(wallet.json("multisig", "key")["pubkey"])
    theirs = bytes.fromhex(bob.json("multisig", "key")["pubkey"])
    both = Threshold(2, (Key(mine), Key(theirs)))
    lock = Threshold(1, (both, Threshold(2, (Key(mine), Older(5)))))
    wallet.run("watch", encode(lock).hex(), "--name", "board")
    pay_from(node, address_text(node, lock_hash(lock)), COIN)
    node.mine()
    file = propose(wallet, "p.json", bob.json("address")["address"], "0.5")
    wallet.run("multisig", "sign", file, "--yes")
    assert "5 blocks old" in wallet.fails("multisig", "send", file, "--yes")
    node.mine(4)
    sent = wallet.json("multisig", "send", file, "--yes")
    assert [to_text(txid) for txid in node.mempool] == [sent["txid"]]


def test_cosigner_without_a_node_signs(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    first, second, _ = board
    file = propose(first, "p.json", bob.json("address")["address"], "1")
    first.run("multisig", "sign", file, "--yes")
    offline = ("--rpc", "http://127.0.0.1:1")
    assert second.json("multisig", "sign", file, "--yes", *offline)["complete"] is True


def test_cosigner_without_a_node_takes_no_asset_for_native_coins(
    node: ToyNode, board: tuple[Tael, Tael, Tael], alice: Tael, bob: Tael
) -> None:
    first, second, _ = board
    shared = first.json("multisig", "address", "board")["address"]
    asset = alice.json("issue", "GOLD", "777", "--to", shared, "--yes")["asset"]
    node.mine()
    file = propose(first, "p.json", bob.json("address")["address"], "7", "--asset", asset)
    result = second.invoke("multisig", "show", file, options={"--rpc": "http://127.0.0.1:1"})
    assert result.exit_code == 0, result.output
    spent = [line for line in result.stdout.splitlines() if line.startswith("  From ")]
    assert len([line for line in spent if line.endswith(f": 777 {asset[:8]}…")]) == 1, spent


def test_history_tells_own_coins_and_shared_ones_apart(
    node: ToyNode, board: tuple[Tael, Tael, Tael]
) -> None:
    first = board[0]
    pay_from(node, first.json("address")["address"], 4 * COIN)
    node.mine()
    shared = first.json("multisig", "address", "board")["address"]
    sent = first.json("send", shared, "1", "--yes")
    rows = {
        row["where"]: row["changes"][0]["units"]
        for row in first.json("history")["transactions"]
        if row["txid"] == sent["txid"]
    }
    assert rows == {"": -COIN - sent["fee"]["units"], "board": COIN}


def test_second_sender_is_not_told_of_a_failure(
    node: ToyNode, board: tuple[Tael, Tael, Tael], bob: Tael
) -> None:
    first, second, _ = board
    file = propose(first, "p.json", bob.json("address")["address"], "1")
    for wallet in (first, second):
        wallet.run("multisig", "sign", file, "--yes")
    first.run("multisig", "send", file, "--yes")
    node.mine()
    node.faults["sendrawtransaction"] = RpcFault(-27, "already-confirmed")
    assert second.json("multisig", "send", file, "--yes")["sent"] is False
    assert "In a block already" in second.run("multisig", "send", file, "--yes")
    assert second.json("info")["sent"] == 1


def test_file_that_is_there_is_not_replaced(board: tuple[Tael, Tael, Tael], bob: Tael) -> None:
    address = bob.json("address")["address"]
    file = Path(propose(board[0], "p.json", address, "1"))
    before = file.read_bytes()
    args = ("multisig", "propose", "board", address, "2", "--out", str(file))
    assert "exists already" in board[0].fails(*args)
    assert file.read_bytes() == before
