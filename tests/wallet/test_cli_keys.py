"""Commands about the wallet file: create, restore, words, passphrase, addresses, watching."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.locks import lock_hash
from consensus.params import COIN
from consensus.tx import Key, Older, Threshold
from tests.support.chain import ALICE, BOB
from tests.support.rpc_node import ToyNode, address_text, pay_from
from tests.support.wallet_cli import Tael
from wallet.keys import Account

ROOT = Path(__file__).parent.parent.parent
ABANDON = "abandon " * 11 + "about"


def restore(wallet: Tael, words: str, *args: str) -> None:
    file = wallet.folder / "words.txt"
    file.write_text(words + "\n")
    wallet.run("restore", "--words-file", str(file), *args)


def test_restored_wallet_has_the_same_addresses_and_money(
    node: ToyNode, alice: Tael, url: str
) -> None:
    words = alice.json("words", "--yes")["words"]
    again = Tael(alice.folder, url, 77)
    restore(again, words)
    assert again.balance() == alice.balance()
    assert again.json("info")["receiving"] == 3
    assert again.json("info")["xpub"] == alice.json("info")["xpub"]


def test_restore_finds_payments_behind_a_gap_and_stops_after_twenty(
    node: ToyNode, bob: Tael, url: str
) -> None:
    words = bob.json("words", "--yes")["words"]
    shown = [bob.json("address", "--new")["address"] for _ in range(45)]
    pay_from(node, shown[19], COIN)
    node.mine()
    pay_from(node, shown[44], COIN)
    node.mine()
    near, far = Tael(bob.folder, url, 78), Tael(bob.folder, url, 79)
    restore(near, words)
    assert near.json("info")["receiving"] == 20
    restore(far, words, "--gap", "30")
    assert far.balance()["confirmed"] == 2 * COIN


def test_first_address_is_that_of_the_documented_path(node: ToyNode, bob: Tael, url: str) -> None:
    wallet = Tael(bob.folder, url, 80)
    restore(wallet, ABANDON, "--offline")
    account = Account.from_words(ABANDON, 1, 0)
    lock = lock_hash(Key(account.pubkey(0, 0)))
    assert wallet.json("addresses")["addresses"] == []
    assert wallet.json("address")["address"] == address_text(node, lock)


def test_account_number_changes_every_address(bob: Tael, url: str) -> None:
    first, second = Tael(bob.folder, url, 81), Tael(bob.folder, url, 82)
    restore(first, ABANDON, "--offline")
    restore(second, ABANDON, "--offline", "--account", "1")
    assert first.json("address")["address"] != second.json("address")["address"]
    assert second.json("info")["path"] == "m/44'/1'/1'"


def test_words_are_not_shown_unless_asked_for(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 83)
    assert "words" not in wallet.json("create")
    words = wallet.json("words", "--yes")["words"].split()
    assert len(words) == 24
    assert "confirm with --yes" in wallet.fails("words")


def test_twelve_words_on_request(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 84)
    assert len(wallet.json("create", "--words", "12", "--show-words")["words"].split()) == 12


def test_existing_wallet_is_not_overwritten_by_create_or_restore(bob: Tael) -> None:
    before = bob.path.read_bytes()
    assert "there already" in bob.fails("create")
    file = bob.folder / "words.txt"
    file.write_text(ABANDON)
    assert "there already" in bob.fails("restore", "--words-file", str(file))
    assert bob.path.read_bytes() == before


def test_words_never_come_as_an_argument(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 85)
    assert wallet.invoke("restore", *ABANDON.split()).exit_code == 2
    assert "no terminal" in wallet.fails("restore")


def test_wrong_words_are_one_line_that_does_not_quote_them(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 86)
    file = tmp_path / "words.txt"
    file.write_text(ABANDON.replace("about", "able"))
    line = wallet.fails("restore", "--words-file", str(file))
    assert "checksum" in line
    assert "able" not in line
    assert not wallet.path.exists()


def test_wrong_passphrase_and_damaged_file_say_the_same(bob: Tael) -> None:
    good = bob.variables["TAEL_PASSPHRASE"]
    bob.variables["TAEL_PASSPHRASE"] = "wrong"
    wrong = bob.fails("info")
    bob.variables["TAEL_PASSPHRASE"] = good
    data = bytearray(bob.path.read_bytes())
    data[-1] ^= 1
    bob.path.write_bytes(data)
    assert bob.fails("info") == wrong
    assert "corrupt or wrong passphrase" in wrong


def test_passphrase_may_come_from_a_file_and_is_never_an_argument(bob: Tael) -> None:
    file = bob.folder / "passphrase"
    file.write_text("correct horse\n")
    bob.variables["TAEL_PASSPHRASE"] = None
    assert bob.invoke("info", "--passphrase-file", str(file)).exit_code == 0
    assert bob.invoke("info", "--passphrase", "correct horse").exit_code == 2
    assert "TAEL_PASSPHRASE" in bob.fails("info")


def test_changed_passphrase_opens_and_the_old_one_does_not(bob: Tael) -> None:
    file = bob.folder / "fresh"
    file.write_text("another")
    bob.run("change-passphrase", "--new-passphrase-file", str(file))
    assert "wrong passphrase" in bob.fails("info")
    bob.variables["TAEL_PASSPHRASE"] = "another"
    bob.run("info")


def test_empty_passphrase_is_refused(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 87)
    wallet.variables["TAEL_PASSPHRASE"] = ""
    assert "must not be empty" in wallet.fails("create")


def test_missing_wallet_names_the_remedy(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 88)
    assert "tael create" in wallet.fails("balance")


def test_wallet_of_another_network_is_refused(bob: Tael) -> None:
    result = bob.invoke("info", options={"--network": "test"})
    assert result.exit_code == 1
    assert "belongs to network 'regtest', not to 'test'" in result.stderr


def test_address_stays_until_it_is_paid_or_a_new_one_is_asked_for(node: ToyNode, bob: Tael) -> None:
    first = bob.json("address")["address"]
    assert bob.json("address")["address"] == first
    second = bob.json("address", "--new")["address"]
    assert second != first
    pay_from(node, second, COIN)
    bob.balance()
    assert bob.json("address")["address"] not in (first, second)


def test_label_is_kept_beside_the_address(bob: Tael) -> None:
    address = bob.json("address", "--new", "--label", "rent")["address"]
    rows = bob.json("addresses")["addresses"]
    assert [(row["address"], row["label"]) for row in rows] == [(address, "rent")]
    bob.run("label", address, "")
    assert bob.json("addresses")["addresses"][0]["label"] == ""


def test_more_than_twenty_unused_addresses_are_warned_of(bob: Tael) -> None:
    for _ in range(20):
        bob.run("address", "--new")
    result = bob.invoke("address", "--new")
    assert result.exit_code == 0
    assert "--gap" in result.stderr


def test_qr_code_is_drawn_above_the_address(bob: Tael) -> None:
    lines = bob.run("address", "--qr").splitlines()
    assert lines[-1].startswith("rtael1")
    assert len(lines) > 15
    assert "█" in lines[3]


def test_watched_address_is_counted_apart(node: ToyNode, alice: Tael, bob: Tael) -> None:
    theirs = alice.json("addresses")["addresses"][0]["address"]
    bob.run("watch", theirs, "--name", "alice")
    (watched,) = bob.json("balance")["watched"]
    assert watched["name"] == "alice"
    assert watched["assets"][0]["confirmed"]["units"] == 4 * COIN
    assert bob.balance()["confirmed"] == 0
    assert "not enough" in bob.fails("send", theirs, "1", "--yes")


def test_watched_account_finds_its_addresses(node: ToyNode, alice: Tael, bob: Tael) -> None:
    bob.run("watch", alice.json("info")["xpub"], "--name", "shop")
    (watched,) = bob.json("balance")["watched"]
    assert watched["assets"][0]["confirmed"]["units"] == 12 * COIN


def test_watch_only_wallet_sees_everything_and_spends_nothing(
    node: ToyNode, alice: Tael, bob: Tael, url: str
) -> None:
    public = Tael(alice.folder, url, 90)
    public.run("create", "--xpub", alice.json("info")["xpub"])
    assert public.balance() == alice.balance()
    assert public.json("address")["address"].startswith("rtael1")
    target = bob.json("address")["address"]
    assert "watch-only" in public.fails("send", target, "1", "--yes")
    assert "watch-only" in public.fails("words", "--yes")


def test_watched_lock_is_known_by_its_address(node: ToyNode, bob: Tael) -> None:
    lock = Threshold(1, (Key(ALICE.pubkey), Threshold(2, (Key(BOB.pubkey), Older(10)))))
    bob.run("watch", encode(lock).hex(), "--name", "escrow")
    (row,) = bob.json("addresses")["addresses"]
    assert (row["kind"], row["address"]) == ("shared", address_text(node, lock_hash(lock)))
    assert "the name 'escrow' is taken" in bob.fails("watch", row["address"], "--name", "escrow")
    assert "not the encoding of a lock" in bob.fails("watch", "9301", "--name", "x")


def _ask(args: list[str], answers: list[str], folder: Path) -> tuple[int, str]:
    """Run the real command at a terminal; type each answer when the command asks."""
    main, other = pty.openpty()
    variables = {k: v for k, v in os.environ.items() if not k.startswith("TAEL_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "wallet", *args], stdin=other, stdout=other, stderr=other,
        cwd=ROOT, env={**variables, "HOME": str(folder), "TERM": "dumb"}, start_new_session=True,
    )  # fmt: skip
    os.close(other)
    seen = b""
    answered = 0
    while True:
        if not select.select([main], [], [], 30)[0]:
            process.kill()
            raise AssertionError(f"stands still after {seen.decode()!r}")
        try:
            data = os.read(main, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not data:
            break
        seen += data
        # Only after a new question: a prompt throws away what was typed before it.
        if answers and seen[answered:].strip().endswith(b":"):
            answered = len(seen)
            os.write(main, answers.pop(0).encode() + b"\n")
    os.close(main)
    return process.wait(), seen.decode()


def test_at_a_terminal_the_passphrase_is_asked_for_and_not_echoed(tmp_path: Path) -> None:
    common = ["--network", "regtest", "--wallet", str(tmp_path / "w")]
    code, seen = _ask([*common, "create"], ["hocus pocus", "hocus pocus"], tmp_path)
    assert code == 0, seen
    assert "hocus" not in seen
    assert " 24. " in seen  # the words, to be written down
    code, seen = _ask([*common, "info"], ["hocus pocus"], tmp_path)
    assert code == 0, seen
    assert "m/44'/1'/0'" in seen
    code, seen = _ask([*common, "words"], ["hocus pocus", "n"], tmp_path)
    assert code == 1
    assert "nothing was done" in seen


def test_two_different_new_passphrases_are_refused(tmp_path: Path) -> None:
    args = ["--network", "regtest", "--wallet", str(tmp_path / "w"), "create"]
    code, seen = _ask(args, ["one", "two"], tmp_path)
    assert (code, (tmp_path / "w").exists()) == (1, False)
    assert "the two passphrases differ" in seen


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--nope",), "No such option '--nope' (see `tael --help`)"),
        (("nope",), "No such command 'nope' (see `tael --help`)"),
        (("history", "--limit", "x"), "(see `tael history --help`)"),
        (("multisig", "create"), "(see `tael multisig create --help`)"),
        (("send", "--memo"), "(see `tael send --help`)"),
    ],
)
def test_wrong_use_is_told_in_one_line(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    result = Tael(tmp_path, "http://127.0.0.1:1", 89).invoke(*args)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith(said)


def test_without_a_command_the_help_is_shown(tmp_path: Path) -> None:
    assert "Commands:" in Tael(tmp_path, "http://127.0.0.1:1", 89).invoke("multisig").output


def test_both_spellings_of_help_show_the_same(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 89)
    for command in ((), ("send",), ("invoice",), ("multisig", "create")):
        shown = wallet.invoke(*command, "-h")
        assert shown.exit_code == 0
        assert shown.output == wallet.invoke(*command, "--help").output


def test_lists_of_commands_break_off_no_sentence(tmp_path: Path) -> None:
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 89)
    for command in ((), ("multisig",), ("invoice",), ("receipt",), ("contacts",)):
        listed = wallet.invoke(*command, "--help").output.split("\nCommands:\n")[1]
        assert "..." not in listed, command


def test_group_with_a_default_says_where_the_options_of_that_stand(tmp_path: Path) -> None:
    shown = Tael(tmp_path, "http://127.0.0.1:1", 89).invoke("invoice", "--help").output
    assert "`tael invoice create --help` has its options." in " ".join(shown.split())


def test_a_refused_create_leaves_nothing_behind(tmp_path: Path) -> None:
    wallet = Tael(tmp_path / "fresh", "http://127.0.0.1:1", 90)
    wallet.variables["TAEL_PASSPHRASE"] = ""
    assert "must not be empty" in wallet.fails("create")
    wallet.variables["TAEL_PASSPHRASE"] = None
    assert "no terminal" in wallet.fails("create")
    assert not wallet.folder.exists()
    other = tmp_path / "not-a-wallet"
    backup = tmp_path / "lost.bak"  # what is left of a wallet that can still be restored from it
    for there in (other, backup):
        there.write_text("kept")
        assert "there already" in wallet.fails("create", "--wallet", str(there))
    assert "lost.bak: a wallet is there" in wallet.fails(
        "create", "--wallet", str(tmp_path / "lost")
    )
    assert sorted(tmp_path.iterdir()) == sorted((other, backup))
