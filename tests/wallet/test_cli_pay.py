"""`tael pay`: an id pays once, whatever happens between two calls."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from consensus.params import COIN
from tests.support.chain import DAVE
from tests.support.rpc_node import RpcFault, ToyNode, pay_from
from tests.support.wallet_cli import Tael
from wallet.cli.app import Wallet
from wallet.cli.output import Output
from wallet.errors import WalletError
from wallet.standing import FINAL_DEPTH


@pytest.fixture
def shop(bob: Tael) -> str:
    """An address to pay to."""
    return str(bob.json("address")["address"])


def pay(wallet: Tael, *args: str) -> dict[str, object]:
    """The first part of what `tael pay` says; it must succeed."""
    said = wallet.json("pay", *args, "--yes")
    part: dict[str, object] = said["parts"][0]
    return part


def exit_code(wallet: Tael, *args: str) -> int:
    return wallet.invoke(*args).exit_code


def test_same_id_pays_once_however_often_it_is_asked(node: ToyNode, alice: Tael, shop: str) -> None:
    first = pay(alice, shop, "1.5", "--request-id", "order-7")
    assert first["state"] == "waiting"
    assert pay(alice, shop, "1.5", "--request-id", "order-7")["txid"] == first["txid"]
    assert pay(alice, "--request-id", "order-7")["txid"] == first["txid"]
    node.mine()
    again = pay(alice, shop, "1.5", "--request-id", "order-7")
    assert (again["state"], again["confirmations"]) == ("confirmed", 1)
    assert again["height"] == node.chain.tip.height
    node.mine()
    assert node.balance_of(shop) == 3 * COIN // 2


def test_same_id_for_another_payment_is_refused_with_a_code_of_its_own(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    pay(alice, shop, "1.5", "--request-id", "7")
    other = alice.json("address")["address"]
    for args in ((shop, "1.6"), (other, "1.5"), (shop, "1.5", "--memo", "x"), (shop, "1.5") * 2):
        told = alice.fails("pay", *args, "--request-id", "7", "--yes")
        assert "stands for another payment already (1.50000000 TAEL to" in told
        assert exit_code(alice, "pay", *args, "--request-id", "7", "--yes") == 3
    node.mine()
    assert node.balance_of(shop) == 3 * COIN // 2


def test_evicted_payment_is_sent_again_as_it_was(node: ToyNode, alice: Tael, shop: str) -> None:
    first = pay(alice, shop, "1", "--request-id", "7")
    node.mempool.clear()
    assert pay(alice, shop, "1", "--request-id", "7")["txid"] == first["txid"]
    assert len(node.mempool) == 1


def test_payment_that_the_node_never_heard_of_is_sent_when_it_is_back(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    node.faults["sendrawtransaction"] = RpcFault(-26, "fee-below-floor: 1, 2")
    told = alice.fails("pay", shop, "1", "--request-id", "7", "--yes")
    assert "is recorded as" in told
    assert exit_code(alice, "pay", "--request-id", "7") == 5
    assert not node.mempool
    node.faults.clear()
    assert pay(alice, "--request-id", "7")["state"] == "waiting"
    node.mine()
    assert node.balance_of(shop) == COIN


def test_node_that_breaks_off_has_the_payment_only_once(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    node.silent.add("sendrawtransaction")
    assert exit_code(alice, "pay", shop, "1", "--request-id", "7", "--yes") == 5
    node.silent.clear()
    assert pay(alice, shop, "1", "--request-id", "7")["state"] == "waiting"
    assert len(node.mempool) == 1


def test_expired_payment_is_signed_anew_only_when_nothing_can_revive_it(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    first = pay(alice, shop, "1", "--request-id", "7", "--expiry", "+5")
    old = {spent for tx, _, _ in node.mempool.values() for spent in tx.body.inputs}
    node.mempool.clear()
    node.chain.mine_empty(5, DAVE.lock)
    told = alice.fails("pay", shop, "1", "--request-id", "7", "--yes", "--again")
    expiry = int(str(first["expiry"]))
    assert f"only from block {expiry + FINAL_DEPTH}" in told
    assert exit_code(alice, "pay", "--request-id", "7", "--again", "--yes") == 5
    node.chain.mine_empty(FINAL_DEPTH, DAVE.lock)
    assert exit_code(alice, "pay", shop, "1", "--request-id", "7", "--yes") == 4
    second = pay(alice, shop, "1", "--request-id", "7", "--again")
    assert second["state"] == "waiting"
    assert second["txid"] != first["txid"]
    assert second["attempts"] == [first["txid"], second["txid"]]
    # They spend a common coin: whatever becomes of the chain, one of the two can be mined.
    (tx, _, _) = next(iter(node.mempool.values()))
    assert set(tx.body.inputs) & old


@pytest.fixture
def parts_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every payment of a batch is a transaction of its own."""
    divide_by(monkeypatch, 1)


def batch(folder: Path, *lines: str) -> str:
    """A file of payments."""
    file = folder / "batch.csv"
    file.write_text("\n".join(["address,amount,memo", *lines]) + "\n")
    return str(file)


@pytest.mark.usefixtures("parts_of_one")
def test_batch_that_stops_midway_tells_how_far_it_came_and_goes_on(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    file = batch(tmp_path, *(f"{shop},3.9999,{n}" for n in range(3)))
    out = tmp_path / "out.csv"
    args = ("--csv", file, "--request-id", "b", "--yes", "--out", str(out))
    result = alice.invoke("pay", *args, "--fee", "0.0002")
    assert "2 of 3 transactions are made; the next one: not enough" in result.stderr
    assert result.exit_code == 5
    assert [line.split(",")[5] for line in out.read_text().splitlines()[1:]] == [
        "waiting", "waiting", "open"
    ]  # fmt: skip
    node.mine()
    pay_from(node, str(alice.json("address", "--new")["address"]), 4 * COIN)
    node.mine()
    assert alice.json("pay", *args)["state"] == "waiting"
    node.mine()
    assert alice.json("pay", *args)["state"] == "confirmed"
    assert node.balance_of(shop) == 3 * 399_990_000


def test_batch_goes_on_as_it_was_divided_when_it_was_begun(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = batch(tmp_path, *(f"{shop},2.9,{n}" for n in range(4)))
    args = ("--csv", file, "--request-id", "b", "--yes")
    divide_by(monkeypatch, 2)
    assert "1 of 2 transactions are made" in alice.fails(
        "pay", *args, "--fee", "0.3", "--max-fee-rate", "0"
    )
    node.mine()
    divide_by(monkeypatch, 1)  # as a later version might do it
    said = alice.json("pay", *args)
    assert [part["payments"] for part in said["parts"]] == [2, 2]
    node.mine()
    assert node.balance_of(shop) == 4 * 29 * COIN // 10


def divide_by(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """So many payments are one transaction of a batch."""
    monkeypatch.setattr("wallet.cli.pay.PART_OUTPUTS_MAX", size)
    monkeypatch.setattr("wallet.batch.PART_OUTPUTS_MAX", size)


@pytest.mark.usefixtures("parts_of_one")
def test_batch_shows_its_totals_and_asks_once(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    file = batch(tmp_path, f"{shop},1,a", f"{shop},2,b")
    shown = alice.run("pay", "--csv", file, "--request-id", "b", "--dry-run")
    assert "2 payments in 2 transactions" in shown
    assert "3.00000000 TAEL" in shown
    assert not node.mempool
    assert "confirm with --yes" in alice.fails("pay", "--csv", file, "--request-id", "b")
    assert alice.invoke("pay", "--request-id", "b").exit_code == 1  # nothing is recorded


@pytest.mark.usefixtures("parts_of_one")
def test_batch_with_another_line_is_another_payment(alice: Tael, shop: str, tmp_path: Path) -> None:
    args = ("--request-id", "b", "--yes")
    alice.run("pay", "--csv", batch(tmp_path, f"{shop},1,a", f"{shop},2,b"), *args)
    for lines in ([f"{shop},1,a"], [f"{shop},1,a", f"{shop},2,c"], [f"{shop},2,b", f"{shop},1,a"]):
        assert exit_code(alice, "pay", "--csv", batch(tmp_path, *lines), *args) == 3


@pytest.mark.usefixtures("parts_of_one")
def test_batch_for_which_there_is_not_enough_is_not_begun(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    file = batch(tmp_path, f"{shop},1,a", f"{shop},99,b")
    told = alice.fails("pay", "--csv", file, "--request-id", "b", "--yes")
    assert "not enough TAEL: 100.00000000 TAEL to pay, 12.00000000 TAEL to spend" in told
    assert not node.mempool


def test_report_that_cannot_be_written_does_not_look_like_no_payment(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    args = ("pay", shop, "1", "--request-id", "7", "--yes", "--out", "/nowhere/x.csv")
    assert exit_code(alice, *args) == 5
    assert len(node.mempool) == 1


def test_payment_in_words_says_where_it_stands(node: ToyNode, alice: Tael, shop: str) -> None:
    shown = alice.run("pay", shop, "1", "--request-id", "7", "--yes")
    assert "waiting to be mined, until block" in shown
    node.mine()
    assert "confirmations: 1" in alice.run("pay", "--request-id", "7")


def test_asset_is_paid_once_by_ticker_or_id(node: ToyNode, alice: Tael, shop: str) -> None:
    issued = alice.json("issue", "SHARE", "100", "--decimals", "2", "--yes")
    node.mine()
    args = (shop, "1.25", "--request-id", "7", "--yes")
    first = alice.json("pay", *args, "--asset", "SHARE")["parts"][0]["txid"]
    asset = next(o["asset"] for o in issued["outputs"] if o["asset"])
    assert alice.json("pay", *args, "--asset", asset)["parts"][0]["txid"] == first
    assert exit_code(alice, "pay", *args) == 3


def test_bump_that_the_guard_of_the_node_refuses_is_not_recorded(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    first = pay(alice, shop, "1", "--request-id", "7")
    told = alice.fails("bump", str(first["txid"]), "--fee", "2.5", "--yes")
    assert "above" in told
    # What is recorded is sent again without a guard: this fee was refused and must never be paid.
    node.mempool.clear()
    again = pay(alice, "--request-id", "7")
    assert again["attempts"] == [first["txid"]]
    assert [fee for _, _, fee in node.mempool.values()] < [COIN]


def test_node_without_an_index_does_not_make_a_payment_void(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    pay(alice, shop, "1", "--request-id", "7")
    node.mine(600)
    node.faults["getrawtransaction"] = RpcFault(-5, "No such mempool or confirmed transaction")
    node.overrides["getindexinfo"] = {}
    result = alice.invoke("pay", "--request-id", "7", "--again", "--yes")
    assert "the node keeps no index" in result.stderr
    assert result.exit_code == 5
    assert not node.mempool


def test_label_or_answer_that_cannot_be_written_does_not_look_like_no_payment(
    node: ToyNode, alice: Tael, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saves = Wallet.save, iter((True, False))

    def save_once(wallet: Wallet) -> None:
        if not next(saves):
            raise WalletError("the disk is full")
        save(wallet)

    def result(self: Output, data: object, text: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Wallet, "save", save_once)
        said = alice.invoke("pay", shop, "1", "--request-id", "7", "--yes", "--label", "x")
    assert (said.exit_code, len(node.mempool)) == (5, 1)
    assert "the disk is full; ask again with the same id" in said.stderr
    monkeypatch.setattr(Output, "result", result)
    assert exit_code(alice, "pay", "--request-id", "7") == 5


def test_interrupt_while_the_node_is_asked_does_not_look_like_no_payment(
    node: ToyNode, alice: Tael, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("wallet.cli.once.send_again", interrupted)
        said = alice.invoke("pay", shop, "1", "--request-id", "7", "--yes")
    assert "the command was interrupted; ask again" in said.stderr
    assert said.exit_code == 5
    assert pay(alice, shop, "1", "--request-id", "7")["state"] == "waiting"
    assert len(node.mempool) == 1


def test_wallet_that_cannot_be_saved_behind_the_record_has_the_code_of_what_is_recorded(
    node: ToyNode, alice: Tael, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(wallet: Wallet) -> None:
        raise WalletError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Wallet, "save", save)
        assert exit_code(alice, "pay", shop, "1", "--request-id", "7", "--yes") == 5
    assert not node.mempool
    assert pay(alice, shop, "1", "--request-id", "7")["state"] == "waiting"


def test_same_payment_written_in_two_ways_is_refused(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    file = batch(tmp_path, f"{shop},1.0,May", f"{shop.upper()},1,May")
    told = alice.fails("pay", "--csv", file, "--request-id", "b", "--yes")
    assert "line 3: the same as line 2" in told
    assert not node.mempool
