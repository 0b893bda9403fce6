"""Whoever waits at a terminal sees how far it is; whoever has waited enough leaves nothing half done."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus.params import COIN
from tests.support.chain import DAVE, ToyChain
from tests.support.rpc_node import ToyNode, pay_from
from tests.support.terminal import Terminal
from tests.support.wallet_cli import Tael


class SlowNode(ToyNode):
    """Stops before it answers one method, until it is told to go on."""

    def __init__(self, chain: ToyChain) -> None:
        super().__init__(chain)
        self.slow = ""
        self.go_on = threading.Event()

    def answer(self, method: str, params: Any) -> Any:
        result = super().answer(method, params)  # acts first, as one whose answer is on its way
        if method == self.slow:
            self.go_on.wait(60)
        return result


@pytest.fixture
def node() -> SlowNode:
    chain = ToyChain()
    chain.mine_empty(110, DAVE.lock)
    return SlowNode(chain)


@pytest.fixture
def sit_at(node: SlowNode, alice: Tael) -> Iterator[Callable[..., Terminal]]:
    """Runs `tael` for alice on a terminal."""
    opened = []

    def run(*words: str) -> Terminal:
        home = alice.folder
        found = Terminal(
            [sys.executable, "-m", "wallet", *words], home, TAEL_NETWORK="regtest",
            TAEL_WALLET=str(alice.path), TAEL_DATADIR=str(home / "node"), TAEL_RPC=alice.url,
            TAEL_PASSPHRASE="correct horse", PYTHONPATH=str(Path(__file__).parents[2]), COLUMNS="100",
        )  # fmt: skip
        opened.append(found)
        return found

    yield run
    node.go_on.set()
    for terminal in opened:
        terminal.close()


def test_a_scan_shows_how_far_it_is_and_an_interrupt_leaves_no_file(
    node: SlowNode, alice: Tael, tmp_path: Path, sit_at: Callable[..., Terminal]
) -> None:
    before, files = alice.path.read_bytes(), sorted(tmp_path.iterdir())
    node.slow = "getrawtransaction"
    terminal = sit_at("export", "--csv", "history.csv")
    terminal.until("reading transactions")
    terminal.until("of 3")
    terminal.send_signal(signal.SIGINT)
    terminal.until("Aborted!")
    assert terminal.wait() == 1
    assert alice.path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == files
    node.slow = ""
    node.go_on.set()
    alice.run("export", "--csv", str(tmp_path / "history.csv"))


def test_an_interrupt_while_a_payment_is_sent_says_that_it_may_be_sent(
    node: SlowNode, alice: Tael, bob: Tael, sit_at: Callable[..., Terminal]
) -> None:
    node.slow = "sendrawtransaction"
    terminal = sit_at("send", bob.json("address")["address"], "1", "--yes")
    terminal.until("sending the transaction")
    terminal.send_signal(signal.SIGINT)
    terminal.until("was sent is unknown")
    assert terminal.wait() == 1
    node.slow = ""
    node.go_on.set()
    (waiting,) = node.mempool
    assert alice.json("history")["transactions"][0]["height"] is None
    node.mine()
    assert bob.balance()["confirmed"] == COIN
    assert waiting is not None


def test_a_restored_wallet_is_there_though_its_scan_was_interrupted(
    node: SlowNode, alice: Tael, tmp_path: Path, sit_at: Callable[..., Terminal]
) -> None:
    words = tmp_path / "words"
    words.write_text(alice.json("words", "--yes")["words"])
    pay_from(node, alice.json("address", "--new")["address"], COIN)
    node.mine()
    again = Tael(tmp_path, alice.url, 9)
    node.slow = "getaddressbalance"
    terminal = sit_at("restore", "--words-file", str(words), "--wallet", str(again.path))
    terminal.until("looking for used addresses")
    terminal.send_signal(signal.SIGINT)
    terminal.until("the wallet is restored")
    assert terminal.wait() == 1
    node.slow = ""
    node.go_on.set()
    assert again.balance() == alice.balance()
