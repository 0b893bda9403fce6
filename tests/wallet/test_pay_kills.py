"""`tael pay` is ended at every step, by itself or with the power, and asked again: it has paid once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.params import COIN
from tests.support.fragile import lose_power
from tests.support.rpc_node import ToyNode, pay_from
from tests.support.tael_forks import ENDED, Ended, Forks
from tests.support.wallet_cli import Tael
from wallet.batch import PART_OUTPUTS_MAX

AMOUNT = COIN // 10
FILES = ("*.wallet", "*.bak", "*.new", "*.request")
"""Names of what a loss of power may tear."""


@pytest.fixture
def forks() -> Iterator[Forks]:
    """A process that runs `tael` in others."""
    found = Forks()
    yield found
    found.close()


class Payer:
    """A wallet in a folder of its own, whose processes end where they are told to."""

    def __init__(self, wallet: Tael, url: str, forks: Forks, node: ToyNode) -> None:
        self._url, self._forks, self._node = url, forks, node
        self.folder = wallet.folder / "purse"
        self.folder.mkdir()
        os.rename(wallet.path, self.folder / wallet.path.name)
        wallet.path = self.folder / wallet.path.name
        self.wallet = wallet
        self._address = str(wallet.json("address")["address"])

    def refill(self) -> None:
        """A fresh coin in a block, so that nothing hangs on what came before."""
        self._node.mine()
        pay_from(self._node, self._address, COIN)
        self._node.mine()

    def pay(self, *args: str, seed: int, at: int = -1) -> Ended:
        words = [
            "--network", "regtest", "--wallet", str(self.wallet.path), "--rpc", self._url,
            "--datadir", str(self.wallet.folder / "node"), "pay", *args, "--yes",
        ]  # fmt: skip
        return self._forks.run(words, self.folder, seed, at)

    def lose_power(self, ended: Ended, rng: random.Random) -> None:
        journal = self.folder / f"{self.wallet.path.name}.pay"
        lose_power(ended.journal, [self.folder, journal], rng, FILES)


@pytest.mark.parametrize("takes_power", [False, True])
def test_payment_that_was_ended_anywhere_is_made_once_when_asked_again(
    node: ToyNode, alice: Tael, bob: Tael, url: str, forks: Forks, takes_power: bool
) -> None:
    shop = str(bob.json("address")["address"])
    payer, rng = Payer(alice, url, forks, node), random.Random(7)
    for number in range(2):  # the second shall be as those that follow
        payer.refill()
        steps = payer.pay(shop, "0.1", "--request-id", f"whole-{number}", seed=100 + number).steps
    assert steps.count("ask sendrawtransaction") == 1
    for number, at in enumerate(range(len(steps)), 3):
        args = (shop, "0.1", "--request-id", f"order-{at}")
        payer.refill()
        ended = payer.pay(*args, seed=200 + at, at=at)
        assert (ended.code, len(ended.steps)) == (ENDED, at + 1)
        if takes_power:
            payer.lose_power(ended, rng)
        # It may be ended again while it finds out what became of it.
        payer.pay(*args, seed=250 + at, at=rng.randrange(len(steps)))
        if rng.random() < 0.5:
            node.mine()  # what was sent is confirmed before anybody asks again
        assert payer.pay(*args, seed=300 + at).code == 0, steps[at]
        node.mine()
        assert node.balance_of(shop) == number * AMOUNT, steps[at]


def test_batch_that_was_ended_between_its_parts_pays_everybody_once(
    node: ToyNode, alice: Tael, bob: Tael, url: str, forks: Forks
) -> None:
    shop = str(bob.json("address")["address"])
    payer, rng = Payer(alice, url, forks, node), random.Random(8)
    file = alice.folder / "batch.csv"
    count = PART_OUTPUTS_MAX + 1
    rows = [f"{shop},0.001,{number}" for number in range(count)]
    file.write_text("\n".join(["address,amount,memo", *rows]) + "\n")
    for number in range(2):
        payer.refill()
        args = ("--csv", str(file), "--request-id", f"whole-{number}")
        steps = payer.pay(*args, seed=1 + number).steps
    assert steps.count("ask sendrawtransaction") == 2
    for number, at in enumerate(rng.sample(range(len(steps)), 8), 3):
        args = ("--csv", str(file), "--request-id", f"salaries-{at}")
        payer.refill()
        ended = payer.pay(*args, seed=500 + at, at=at)
        assert (ended.code, len(ended.steps)) == (ENDED, at + 1)
        if rng.random() < 0.5:
            node.mine()
        assert payer.pay(*args, seed=600 + at).code == 0, steps[at]
        node.mine()
        assert node.balance_of(shop) == number * count * COIN // 1_000, steps[at]


def test_two_processes_that_pay_one_id_at_once_pay_once(
    node: ToyNode, alice: Tael, bob: Tael, url: str
) -> None:
    shop = str(bob.json("address")["address"])
    command = [
        sys.executable, "-m", "wallet", "--network", "regtest", "--wallet", str(alice.path),
        "--rpc", url, "--datadir", str(alice.folder / "node"),
        "pay", shop, "0.1", "--request-id", "both", "--yes",
    ]  # fmt: skip
    environment = {**os.environ, "TAEL_PASSPHRASE": "correct horse"}
    root = Path(__file__).resolve().parents[2]
    both = [subprocess.Popen(command, env=environment, cwd=root) for _ in range(3)]
    assert [process.wait(60) for process in both] == [0, 0, 0]
    node.mine()
    assert node.balance_of(shop) == AMOUNT
