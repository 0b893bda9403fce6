"""Payments as a shop and its customer make them, with a real node between their wallets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.address import encode_address
from consensus.hashes import hash_lock
from consensus.params import COIN
from tests.support.daemon import ROOT, Daemon, running, wait_for
from tests.support.wallet_cli import Tael


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "node")
    with running(daemon):
        yield daemon


@pytest.fixture
def customer(node: Daemon, tmp_path: Path) -> Tael:
    """A wallet with a hundred coins to spend."""
    wallet = Tael(tmp_path, node.url, 1)
    address = wallet.create()
    node.call("generatetoaddress", 120, address)
    return wallet


@pytest.fixture
def shop(node: Daemon, tmp_path: Path) -> Tael:
    wallet = Tael(tmp_path, node.url, 2)
    wallet.create()
    return wallet


def somebody(number: int) -> str:
    """An address of one of many people."""
    return encode_address("rtael", hash_lock(number.to_bytes(4, "big")))


def mine(node: Daemon, blocks: int = 1) -> None:
    node.call("generatetoaddress", blocks, somebody(0))


def received(node: Daemon, address: str) -> int:
    """Base units in blocks."""
    return int(node.call("getaddressbalance", {"addresses": [address]})["received"])


def test_invoice_is_paid_once_seen_live_and_shown_by_a_receipt(
    node: Daemon, customer: Tael, shop: Tael, tmp_path: Path
) -> None:
    invoice = shop.json("invoice", "1.5", "--memo", "two chairs", "--label", "Shop")
    watching = subprocess.Popen(
        [
            sys.executable, "-m", "wallet", "--network", "regtest", "--wallet", str(shop.path),
            "--rpc", node.url, "--datadir", str(node.datadir), "--json",
            "watch", invoice["id"], "--confirmations", "2", "--interval", "1", "--timeout", "60",
        ],
        cwd=ROOT, env={**os.environ, "TAEL_PASSPHRASE": "correct horse"}, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    paid = customer.json("pay", invoice["uri"], "--yes")
    txid = paid["parts"][0]["txid"]
    assert customer.json("pay", invoice["uri"], "--yes")["parts"][0]["txid"] == txid
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert first["event"] in ("invoice", "seen")  # whichever it was started early enough for
    mine(node, 2)
    rest = [json.loads(line) for line in watching.stdout]
    assert watching.wait(30) == 0
    assert rest[-1]["state"] == "paid"
    assert any(line["event"] == "confirmed" and line["txid"] == txid for line in rest)

    file = str(tmp_path / "chairs.receipt")
    assert shop.json("receipt", txid, "-o", file)["depth"] == 2
    assert customer.json("receipt", "verify", file, "--against-node")["confirmations"] == 2
    node.stop()  # what follows needs no node
    shown = customer.json("receipt", "verify", file)
    outputs = {row["address"]: row["units"] for row in shown["to"]}
    assert outputs[invoice["address"]] == 3 * COIN // 2
    assert (shown["txid"], shown["depth"]) == (txid, 2)
    assert int(shown["fee"]["units"]) > 0
    text = customer.run("receipt", "verify", file)
    assert "Not proven:" in text
    assert customer.json("receipt", "verify", file, "--checkpoint", shown["tip"])["checkpoint"]
    other = "--checkpoint", "00" * 32
    assert "not among those" in customer.fails("receipt", "verify", file, *other)


def test_payment_that_the_node_would_refuse_leaves_no_record(
    node: Daemon, customer: Tael, shop: Tael
) -> None:
    address = shop.json("address")["address"]
    told = customer.fails("pay", address, "0.00000001", "--request-id", "7", "--yes")
    assert "worth less than it would cost to spend" in told
    # So the same id is still free for the right amount.
    paid = customer.json("pay", address, "0.5", "--request-id", "7", "--yes")
    assert paid["state"] == "waiting"
    mine(node)
    assert received(node, address) == COIN // 2


def test_bumped_payment_is_the_same_request_and_paid_once(
    node: Daemon, customer: Tael, shop: Tael
) -> None:
    address = shop.json("address")["address"]
    first = customer.json("pay", address, "0.5", "--request-id", "7", "--yes")["parts"][0]
    bumped = customer.json("bump", first["txid"], "--yes")
    again = customer.json("pay", address, "0.5", "--request-id", "7", "--yes")["parts"][0]
    assert (again["state"], again["txid"]) == ("waiting", bumped["txid"])
    assert again["attempts"] == [first["txid"], bumped["txid"]]
    mine(node)
    done = customer.json("pay", "--request-id", "7")["parts"][0]
    assert (done["state"], done["txid"]) == ("confirmed", bumped["txid"])
    assert received(node, address) == COIN // 2


def test_payment_that_a_reorganisation_took_away_is_sent_again(
    node: Daemon, customer: Tael, shop: Tael, tmp_path: Path
) -> None:
    other = Daemon(tmp_path / "other")
    with running(other):
        for height in range(1, 121):
            raw = node.call("getblock", node.call("getblockhash", height), 0)
            assert other.call("submitblock", raw) is None
        address = shop.json("address")["address"]
        paid = customer.json("pay", address, "0.5", "--request-id", "7", "--yes")["parts"][0]
        node.call("generatetoaddress", 1, address)
        assert customer.json("pay", "--request-id", "7")["parts"][0]["state"] == "confirmed"
        hashes = other.call("generatetoaddress", 3, customer.json("address", "--new")["address"])
        for name in hashes:
            node.call("submitblock", other.call("getblock", name, 0))
        wait_for(lambda: node.tip == hashes[-1], "the other chain is followed")
        again = customer.json("pay", address, "0.5", "--request-id", "7", "--yes")["parts"][0]
        assert (again["state"], again["txid"]) == ("waiting", paid["txid"])
        node.call("generatetoaddress", 1, address)
        assert customer.json("pay", "--request-id", "7")["parts"][0]["state"] == "confirmed"


def test_batch_is_paid_in_parts_and_resumes_after_the_node_was_away(
    node: Daemon, customer: Tael, tmp_path: Path
) -> None:
    rows = [f"{somebody(number)},0.01" for number in range(450)]
    file = tmp_path / "salaries.csv"
    file.write_text("address,amount\n" + "\n".join(rows) + "\n")
    args = ("--csv", str(file), "--request-id", "may", "--yes")
    dry = customer.json("pay", *args, "--dry-run")
    assert (dry["state"], dry["payments"], dry["totals"][0]["amount"]) == (
        "open",
        450,
        "4.50000000",
    )
    out = tmp_path / "paid.csv"
    done = customer.json("pay", *args, "--out", str(out))
    assert [part["state"] for part in done["parts"]] == ["waiting"] * 3
    node.stop()
    assert "ask again with the same id" in customer.fails("pay", *args)
    node.start()
    assert customer.json("pay", *args)["state"] == "waiting"
    node.call("generatetoaddress", 1, customer.json("address")["address"])
    final = customer.json("pay", "--request-id", "may", "--out", str(out))
    assert final["state"] == "confirmed"
    assert [p["txid"] for p in final["parts"]] == [p["txid"] for p in done["parts"]]
    lines = out.read_text().splitlines()
    assert len(lines) == 451
    assert {line.split(",")[5] for line in lines[1:]} == {"confirmed"}
    assert lines[1].startswith(rows[0].split(",")[0])
