"""The journal of payments: what is in it stays, and what is in doubt is not paid again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from consensus.params import COIN
from tests.support.chain import DAVE
from tests.support.rpc_node import ToyNode, pay_from
from tests.support.wallet_cli import Tael
from wallet.standing import FINAL_DEPTH


@pytest.fixture
def shop(bob: Tael) -> str:
    """An address to pay to."""
    return str(bob.json("address")["address"])


def journal_of(wallet: Tael) -> Path:
    return wallet.path.with_name(wallet.path.name + ".pay")


def pay(wallet: Tael, shop: str, *args: str) -> str:
    """The txid of the payment of one coin under the id 7."""
    said = wallet.json("pay", shop, "1", "--request-id", "7", "--yes", *args)
    return str(said["parts"][0]["txid"])


def test_journal_shows_neither_ids_nor_addresses_to_who_reads_the_disk(
    alice: Tael, shop: str
) -> None:
    alice.run("pay", shop, "1", "--request-id", "order-of-Bob", "--yes")
    (file,) = journal_of(alice).iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert journal_of(alice).stat().st_mode & 0o777 == 0o700
    for secret in (b"order-of-Bob", shop.encode()):
        assert secret not in file.read_bytes() + file.name.encode()


def test_every_changed_byte_of_a_record_stops_the_payment(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    pay(alice, shop)
    (file,) = journal_of(alice).iterdir()
    whole = file.read_bytes()
    for at in range(0, len(whole), 29):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        told = alice.fails("pay", shop, "1", "--request-id", "7", "--yes")
        assert "damaged, so it is not paid again" in told
    for size in (0, 5, 9, 20, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert "damaged" in alice.fails("pay", shop, "1", "--request-id", "7", "--yes")
    assert len(node.mempool) == 1


def test_record_of_one_id_does_not_pass_for_another(alice: Tael, shop: str) -> None:
    pay(alice, shop)
    (first,) = journal_of(alice).iterdir()
    alice.run("pay", shop, "2", "--request-id", "8", "--yes")
    (second,) = set(journal_of(alice).iterdir()) - {first}
    shutil.copy(first, second)
    assert "damaged" in alice.fails("pay", "--request-id", "8")


def test_wallet_put_back_from_an_old_copy_pays_nothing_twice(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copy(alice.path, old)
    first = pay(alice, shop)
    shutil.copy(old, alice.path)
    assert pay(alice, shop) == first
    assert alice.json("info")["sent"] == 1


def test_journal_that_is_gone_stops_the_payment(node: ToyNode, alice: Tael, shop: str) -> None:
    first = pay(alice, shop)
    shutil.rmtree(journal_of(alice))
    told = alice.fails("pay", shop, "1", "--request-id", "7", "--yes")
    assert first in told
    assert "is gone: put it back" in told
    assert len(node.mempool) == 1


def test_lost_part_of_a_batch_stops_it(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wallet.cli.pay.PART_OUTPUTS_MAX", 1)
    monkeypatch.setattr("wallet.batch.PART_OUTPUTS_MAX", 1)
    file = tmp_path / "two.csv"
    file.write_text(f"address,amount\n{shop},1\n{shop},2\n")
    args = ("--csv", str(file), "--request-id", "both", "--yes")
    assert len(alice.json("pay", *args)["parts"]) == 2
    files = sorted(journal_of(alice).iterdir(), key=lambda path: path.stat().st_mtime_ns)
    files[1].unlink()  # the first is that of the batch, then come the parts
    assert "request both#1 was paid by" in alice.fails("pay", *args)
    assert len(node.mempool) == 2


def test_new_passphrase_leaves_the_journal_readable(alice: Tael, shop: str) -> None:
    first = pay(alice, shop)
    new = alice.folder / "new"
    new.write_text("another horse\n")
    alice.run("change-passphrase", "--new-passphrase-file", str(new))
    alice.variables["TAEL_PASSPHRASE"] = "another horse"
    assert pay(alice, shop) == first


def test_wallet_restored_from_its_words_knows_what_it_paid(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    words.write_text(alice.json("words", "--yes")["words"])
    first = pay(alice, shop)
    for left in (alice.path, alice.path.with_name(alice.path.name + ".bak")):
        left.unlink()
    alice.run("restore", "--words-file", str(words))
    assert pay(alice, shop) == first
    assert len(node.mempool) == 1


def test_link_to_a_wallet_has_the_same_journal(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    first = pay(alice, shop)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link.wallet"
    link.symlink_to(alice.path)
    alice.path = link
    assert pay(alice, shop) == first
    assert link.is_symlink()


def test_coins_of_a_request_are_not_spent_on_something_else(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    pay(alice, shop)
    (tx, _, _) = node.mempool.pop(next(iter(node.mempool)))
    sent = alice.json("send", shop, "2", "--yes")
    other = next(tx for tx, _, _ in node.mempool.values())
    assert sent["sent"]
    assert not set(other.body.inputs) & set(tx.body.inputs)


def test_third_transaction_conflicts_with_both_before_it(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    made = []
    for number in range(3):
        pay(alice, shop, "--expiry", "+3", *(("--again",) if number else ()))
        made.append(node.mempool.pop(next(iter(node.mempool)))[0])
        pay_from(node, str(alice.json("address", "--new")["address"]), 3 * COIN)
        node.mine()
        node.chain.mine_empty(3 + FINAL_DEPTH, DAVE.lock)
    for old in made[:2]:
        assert set(made[2].body.inputs) & set(old.body.inputs)
    assert len({tx.txid for tx in made}) == 3


@pytest.mark.parametrize("bad", ["", "x" * 65, "a b", "a#1", "é", "a\n"])
def test_id_that_could_be_mistaken_is_refused(alice: Tael, shop: str, bad: str) -> None:
    assert "a request id has" in alice.fails("pay", shop, "1", "--request-id", bad, "--yes")


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["1"], "every recipient needs an amount"),
        (["SHOP", "all", "--request-id", "7"], "another amount each time"),
        (["SHOP", "1"], "give the payment a name"),
        (["--request-id", "8"], "there is no request 8"),
        (["tael:SHOP", "--request-id", "7"], "names no amount"),
        (["tael:SHOP?amount=1"], "has no name"),
        (["tael:SHOP?amount=1&request=1", "2"], "at most an amount"),
        (["tael:SHOP?amount=1&request=1", "--asset", "X"], "says itself"),
        (["SHOP", "1", "--csv", "f", "--request-id", "7"], "stand in the file"),
        (["--csv", "/nowhere", "--request-id", "7"], "no such file"),
        (["tael:SHOP?amount=1&req-x=1&request=1"], "does not know"),
    ],
)
def test_payment_that_is_not_clear_is_refused_before_anything_is_asked(
    node: ToyNode, alice: Tael, shop: str, args: list[str], reason: str
) -> None:
    words = [word.replace("SHOP", shop) for word in args]
    if words == ["1"]:
        words += ["--request-id", "7"]
    assert reason in alice.fails("pay", *words, "--yes")
    assert not node.mempool


def test_wrong_line_of_a_file_is_named_and_nothing_is_paid(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path
) -> None:
    file = tmp_path / "pay.csv"
    for line, reason in (
        (f"{shop[:-1]}q,1", "pay.csv, line 3: "),
        (f"{shop},1.123456789", "pay.csv, line 3: "),
        (f"{shop},0", "pay.csv, line 3: "),
        (f"{shop},all", "pay.csv, line 3: "),
    ):
        file.write_text(f"address,amount\n{shop},2\n{line}\n")
        told = alice.fails("pay", "--csv", str(file), "--request-id", "7", "--yes")
        assert told.startswith(reason)
    assert not node.mempool


def test_wallet_without_keys_has_no_journal(
    node: ToyNode, alice: Tael, shop: str, tmp_path: Path, url: str
) -> None:
    looker = Tael(tmp_path, url, 9)
    looker.run("create", "--xpub", alice.json("info")["xpub"])
    assert "watch-only" in looker.fails("pay", shop, "1", "--request-id", "7", "--yes")


def test_record_that_cannot_be_looked_at_is_not_taken_for_absent(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    old = alice.path.read_bytes()
    alice.run("pay", shop, "1", "--request-id", "7", "--yes")
    alice.path.write_bytes(old)  # so that only the journal knows
    (record,) = journal_of(alice).iterdir()
    record.unlink()
    record.symlink_to(record)
    assert "symbolic links" in alice.fails("pay", shop, "1", "--request-id", "7", "--yes")
    assert len(node.mempool) == 1
