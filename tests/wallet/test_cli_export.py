"""`tael export`: the files add up to the balance, by the word of the `ledger` program."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from consensus.address import decode_address
from consensus.params import COIN
from consensus.tx import NATIVE, TxOut
from tests.support.chain import DAVE
from tests.support.daemon import Daemon, running, wait_for
from tests.support.rpc_node import ToyNode, pay_from
from tests.support.wallet_cli import Tael
from wallet.export import COLUMNS

HOSTILE = (
    "=1+1 [=2001-01-01]\n    Assets:Wallet  1000 TAEL\ninclude /etc/passwd ; date:2001-01-01, :tag:"
)


def ledger(journal: Path, *args: str) -> str:
    """What ledger-cli says of a file, with nothing left that it only warns of."""
    program = shutil.which("ledger")
    assert program, "ledger is missing: on Debian, apt install ledger"
    done = subprocess.run(
        [program, "--args-only", "--pedantic", "--file", str(journal), *args],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def booked(journal: Path, account: str) -> dict[str, Decimal]:
    """The balance of an account and all below it, by commodity."""
    form = "%(quantity(amount))|%(commodity(amount))\n"
    printed = ledger(journal, "register", account, "--format", form)
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for line in printed.splitlines():
        number, _, commodity = line.partition("|")
        sums[commodity.strip('"')] += Decimal(number)
    return {commodity: total for commodity, total in sums.items() if total}


def commodity(row: dict[str, str]) -> str:
    return row["ticker"] if not row["asset"] else f"{row['ticker']}#{row['asset'][:16]}"


def told(wallet: Tael, column: str) -> dict[str, Decimal]:
    """A column of `tael balance`, by commodity."""
    found = {}
    for row in wallet.json("balance")["assets"]:
        found[commodity(row)] = Decimal(row[column]["amount"])
    return {name: total for name, total in found.items() if total}


def rows_of(wallet: Tael, *options: str) -> list[dict[str, str]]:
    return list(
        csv.DictReader(io.StringIO(wallet.run("export", "--csv", "-", *options), newline=""))
    )


def mine_to(node: ToyNode, wallet: Tael, count: int) -> None:
    node.mine(count, decode_address("rtael", wallet.json("address")["address"]))


@pytest.fixture
def busy(node: ToyNode, alice: Tael, bob: Tael) -> Tael:
    """Alice after all that a wallet does: rewards, payments in and out, assets made and destroyed."""
    mine_to(node, alice, 2)
    node.mine(99)
    mine_to(node, alice, 3)
    bobs = bob.json("address")["address"]
    alice.run("send", bobs, "1.5", "--memo", "rent", "--label", "for May", "--yes")
    alice.run("issue", "GOLD", "1000.50", "--decimals", "2", "--reissuable", "--yes")
    node.mine()
    alice.run("send", bobs, "12.34", "--asset", "GOLD", "--yes")
    node.mine()
    alice.run("destroy", "100", "--asset", "GOLD", "--yes")
    node.mine()
    alice.run("reissue", "GOLD", "7", "--yes")
    alice.run("send", alice.json("address", "--new")["address"], "0.25", "--expiry", "+3", "--yes")
    node.mine()
    return alice


def test_ledger_counts_what_the_wallet_has_of_each_asset(busy: Tael, tmp_path: Path) -> None:
    journal = tmp_path / "books.ledger"
    busy.run("export", "--ledger", str(journal))
    assert told(busy, "immature")
    assert booked(journal, "Assets:Wallet:Available") == told(busy, "confirmed")
    assert booked(journal, "Assets:Wallet:Immature") == told(busy, "immature")
    assert not booked(journal, "Equity:Joint")
    everything = ledger(journal, "balance").strip().splitlines()
    assert everything[-1].strip() == "0"


def test_rows_add_up_to_the_balance_of_each_asset(busy: Tael) -> None:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    rows = rows_of(busy)
    for row in rows:
        sums[commodity(row)] += Decimal(row["amount"])
    expected = told(busy, "confirmed")
    for name, amount in told(busy, "immature").items():
        expected[name] = expected.get(name, Decimal(0)) + amount
    assert {name: total for name, total in sums.items() if total} == expected
    causes = {row["cause"] for row in rows}
    assert causes == {"mined", "received", "sent", "fee", "issued", "destroyed"}
    (rent,) = [row for row in rows if row["memo"] == "rent"]
    assert (rent["amount"], rent["cause"], rent["label"]) == ("-1.50000000", "sent", "for May")
    assert tuple(rent) == COLUMNS


def test_years_in_parts_end_where_the_whole_does(busy: Tael, node: ToyNode, tmp_path: Path) -> None:
    middle = node.chain.tip.height - 3
    last = tmp_path / "second.ledger"
    busy.run("export", "--ledger", str(last), "--from", str(middle))
    assert booked(last, "Assets:Wallet:Available") == told(busy, "confirmed")
    assert booked(last, "Assets:Wallet:Immature") == told(busy, "immature")
    first = tmp_path / "first.ledger"
    busy.run("export", "--ledger", str(first), "--to", str(middle - 1))
    opened = {name: -amount for name, amount in booked(last, "Equity:Opening").items()}
    assert booked(first, "Assets") == opened
    every, early, late = (
        rows_of(busy), rows_of(busy, "--to", str(middle - 1)), rows_of(busy, "--from", str(middle)),
    )  # fmt: skip
    assert early + late == every


def test_a_restored_wallet_exports_the_same(busy: Tael, tmp_path: Path, url: str) -> None:
    words = tmp_path / "words"
    words.write_text(busy.json("words", "--yes")["words"])
    again = Tael(tmp_path, url, 7)
    again.run("restore", "--words-file", str(words))
    mine = [{**row, "label": ""} for row in rows_of(busy)]
    assert rows_of(again) == mine


def test_words_of_strangers_are_neither_formulas_nor_directives(
    node: ToyNode, alice: Tael, tmp_path: Path
) -> None:
    lock = decode_address("rtael", alice.json("address")["address"])
    spent = next(s for s in node.chain.coins_of(DAVE) if node.chain.coins[s].amount > COIN)
    change = node.chain.coins[spent].amount - COIN - 2_000
    outputs = [TxOut(NATIVE, COIN, lock, HOSTILE.encode()), TxOut(NATIVE, change, DAVE.lock)]
    node.submit(node.chain.spend([spent], outputs))
    node.mine()
    journal = tmp_path / "books.ledger"
    alice.run("export", "--ledger", str(journal))
    assert booked(journal, "Assets") == {"TAEL": Decimal(13)}
    assert "2001" not in ledger(journal, "register", "--format", "%(date)\n")
    assert ledger(journal, "tags").split() == ["txid"]
    memo = rows_of(alice)[-1]["memo"]
    assert memo.startswith("'=1+1")
    assert "\n" not in memo


def test_shared_coins_are_counted_apart(
    node: ToyNode, alice: Tael, bob: Tael, tmp_path: Path
) -> None:
    keys = [wallet.json("multisig", "key")["pubkey"] for wallet in (alice, bob)]
    alice.run("multisig", "create", "2", *keys, "--name", "board: [us]")
    alice.run("send", alice.json("multisig", "address", "board: [us]")["address"], "3", "--yes")
    node.mine()
    journal = tmp_path / "books.ledger"
    alice.run("export", "--ledger", str(journal))
    assert booked(journal, "Assets:Shared") == {"TAEL": Decimal(3)}
    assert booked(journal, "Assets:Wallet") == told(alice, "confirmed")
    assert not booked(journal, "Equity:Transfers")
    assert not booked(journal, "Expenses:Sent")
    rows = [row for row in rows_of(alice) if row["cause"] == "transfer"]
    assert [(row["where"], row["amount"]) for row in rows] == [
        ("", "-3.00000000"), ("board: [us]", "3.00000000"),
    ]  # fmt: skip


def test_what_is_watched_is_counted_when_asked_for(
    node: ToyNode, alice: Tael, bob: Tael, tmp_path: Path
) -> None:
    address = bob.json("address")["address"]
    alice.run("watch", address, "--name", "bob")
    pay_from(node, address, COIN)
    node.mine()
    assert {row["where"] for row in rows_of(alice)} == {""}
    assert {row["where"] for row in rows_of(alice, "--watched")} == {"", "bob"}


def test_waiting_payments_are_in_no_book(node: ToyNode, alice: Tael, bob: Tael) -> None:
    before = rows_of(alice)
    alice.run("send", bob.json("address")["address"], "1", "--yes")
    assert rows_of(alice) == before


def test_thousands_are_separated_only_where_asked(node: ToyNode, alice: Tael) -> None:
    alice.run("issue", "GOLD", "1234567", "--yes")
    node.mine()
    assert "1234567" in {row["amount"] for row in rows_of(alice)}
    assert "1,234,567" in {row["amount"] for row in rows_of(alice, "--thousands")}


def test_files_that_are_there_stay_unless_said_otherwise(alice: Tael, tmp_path: Path) -> None:
    target = tmp_path / "history.csv"
    target.write_text("mine")
    assert "exists already" in alice.fails("export", "--csv", str(target))
    assert target.read_text() == "mine"
    alice.run("export", "--csv", str(target), "--replace")
    assert target.read_bytes().startswith(b"height,time,txid,")
    assert "is the wallet" in alice.fails("export", "--csv", str(alice.path), "--replace")
    twice = (
        "--csv",
        str(tmp_path / "a"),
        "--ledger",
        str(tmp_path / "." / ".." / tmp_path.name / "a"),
    )
    assert "need two files" in alice.fails("export", *twice)
    assert "say what to write" in alice.fails("export")
    assert "is behind" in alice.fails("export", "--csv", "-", "--from", "100000")


def test_a_node_that_leaves_something_out_is_noticed(node: ToyNode, alice: Tael) -> None:
    alice.run("send", alice.json("address", "--new")["address"], "5", "--yes")
    node.mine()
    (first,) = node.getaddressdeltas(
        {"addresses": [alice.json("addresses")["addresses"][0]["address"]]}
    )["deltas"][:1]
    node.overrides["getaddressdeltas"] = {"deltas": [], "cursor": None}
    assert rows_of(alice) == []
    node.overrides["getaddressdeltas"] = {"deltas": [{**first, "satoshis": 1}], "cursor": None}
    assert "does not add up" in alice.fails("export", "--csv", "-")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    node = Daemon(tmp_path / "node")
    with running(node):
        yield node


def test_real_node_and_ledger_agree(daemon: Daemon, tmp_path: Path) -> None:
    carol, dave = (Tael(tmp_path, daemon.url, seed) for seed in (11, 12))
    mine = carol.create()
    daemon.call("generatetoaddress", 103, mine)
    carol.run("issue", "SHARE", "1000", "--yes")
    carol.run("send", dave.create(), "1.25", "--memo", "hello", "--yes")
    daemon.call("generatetoaddress", 2, mine)
    carol.run("send", dave.json("address")["address"], "25", "--asset", "SHARE", "--yes")
    daemon.call("generatetoaddress", 1, mine)
    wait_for(lambda: carol.json("balance")["height"] == 106, "the node has all blocks")
    for wallet in (carol, dave):
        journal = tmp_path / f"{wallet.seed}.ledger"
        wallet.run("export", "--ledger", str(journal))
        assert booked(journal, "Assets:Wallet:Available") == told(wallet, "confirmed")
        assert booked(journal, "Assets:Wallet:Immature") == told(wallet, "immature")
