"""Files that somebody names are never written over the wallet, nor over what belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rpc_node import ToyNode
from tests.support.wallet_cli import Tael


@pytest.mark.parametrize("ending", ["", ".bak", ".lock", ".pay/x.request"])
@pytest.mark.parametrize("command", ["pay", "receipt", "invoice", "show", "contacts", "export"])
def test_no_command_writes_over_the_wallet_or_what_belongs_to_it(
    node: ToyNode, alice: Tael, bob: Tael, ending: str, command: str
) -> None:
    shop = str(bob.json("address")["address"])
    alice.run("invoice", "1", "--no-qr")
    txid = alice.json("pay", shop, "1", "--request-id", "1", "--yes")["parts"][0]["txid"]
    node.mine()
    file = str(alice.path.with_name(alice.path.name)) + ending
    commands = {
        "pay": ("pay", shop, "1", "--request-id", "7", "--yes", "--out", file),
        "receipt": ("receipt", txid, "-o", file),
        "invoice": ("invoice", "1", "--svg", file),
        "show": ("invoice", "show", "1", "--png", file),
        "contacts": ("contacts", "export", file, "--replace"),
        "export": ("export", "--csv", file, "--replace"),
    }
    before = alice.path.read_bytes()
    assert "is the wallet, or belongs to it" in alice.fails(*commands[command])
    assert alice.path.read_bytes() == before
    assert not node.mempool


def test_report_of_a_batch_is_not_written_over_its_file_or_a_device(
    node: ToyNode, alice: Tael, bob: Tael, tmp_path: Path
) -> None:
    file = tmp_path / "may.csv"
    file.write_text(f"address,amount\n{bob.json('address')['address']},1\n")
    args = ("pay", "--csv", str(file), "--request-id", "may", "--yes", "--out")
    assert "is the file of the payments" in alice.fails(*args, str(file))
    assert "is no file" in alice.fails(*args, "/dev/null")
    assert "is no file" in alice.fails(*args, str(tmp_path))
    assert not node.mempool
