"""`tael` alone: what is there, and what to do next, in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.daemon import Daemon, running
from tests.support.rpc_node import ToyNode
from tests.support.wallet_cli import Tael, environment
from wallet.cli.app import App
from wallet.cli.main import tael


def runs(shown: Any) -> list[str]:
    return [step["run"] for step in shown["next"] if step["run"]]


def alone(home: Path, *options: str) -> Any:
    """What `tael` says in an empty home."""
    result = CliRunner().invoke(
        tael,
        [*options, "--json"],
        obj=App(environment(1)),
        env={"HOME": str(home)},
        prog_name="tael",
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_new_machine_is_told_to_make_a_wallet_and_to_start_a_node(tmp_path: Path) -> None:
    assert runs(alone(tmp_path)) == [
        "tael create", "tael restore", "taeld --connect HOST:PORT", "tael", "tael --help",
    ]  # fmt: skip
    assert runs(alone(tmp_path, "--network", "regtest"))[2] == "taeld --network regtest"
    (tmp_path / ".tael" / "main").mkdir(parents=True)
    assert runs(alone(tmp_path))[2] == "taeld"


def test_options_that_were_typed_stand_in_what_is_to_be_typed_next(tmp_path: Path) -> None:
    shown = alone(tmp_path, "--wallet", "my wallet", "--datadir", "there")
    assert runs(shown)[0] == "tael --wallet 'my wallet' --datadir there create"
    assert runs(shown)[2] == "taeld --datadir there --connect HOST:PORT"


def test_a_wallet_without_a_node_is_told_to_start_one(tmp_path: Path) -> None:
    wallet = tmp_path / ".tael" / "wallets" / "main.wallet"
    wallet.parent.mkdir(parents=True)
    wallet.write_bytes(b"never read here")
    shown = alone(tmp_path)
    assert shown["wallet"]["exists"]
    assert runs(shown)[0] == "taeld --connect HOST:PORT"


def test_with_all_there_the_balance_is_shown(alice: Tael) -> None:
    assert "12.00000000" in alice.run()
    shown = alice.json()
    assert shown["balance"][0]["confirmed"]["units"] == 1_200_000_000
    assert shown["node"]["height"] == 113
    assert not any(run.endswith((" create", " balance")) for run in runs(shown))


def test_no_passphrase_is_asked_for(alice: Tael) -> None:
    alice.variables = {"TAEL_PASSPHRASE": None}
    shown = alice.json("status")
    assert shown["balance"] is None
    assert any(run.endswith(" balance") for run in runs(shown))


def test_a_node_that_catches_up_says_how_far_it_is(node: ToyNode, alice: Tael) -> None:
    node.overrides["getblockchaininfo"] = {
        **node.getblockchaininfo(), "headers": 452, "initialblockdownload": True,
    }  # fmt: skip
    assert "catching up: block 113 of 452 (25 %)" in alice.run()
    assert "wait for the node" in alice.run()


def test_a_first_node_of_a_public_network_is_told_to_name_a_peer(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "node", network="test")
    with running(daemon):
        wallet = Tael(tmp_path, daemon.url, network="test")
        wallet.create()
        shown = wallet.json()
        assert shown["node"]["answers"]
        assert runs(shown)[0].endswith("--connect HOST:PORT")
        assert "knows no block yet" in wallet.run()


@pytest.mark.parametrize("password", ["wrong", "::"])
def test_what_is_wrong_with_the_node_is_told(alice: Tael, password: str) -> None:
    (alice.folder / "node" / ".cookie").write_text(f"user:{password}")
    shown = alice.json()
    assert "refused the password" in shown["node"]["error"]
    assert "taeld" not in " ".join(runs(shown)[:-1]).split()


def test_a_network_that_is_none_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        tael, ["--network", "nope"], obj=App(environment(1)), env={"HOME": str(tmp_path)}
    )
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "is not a network" in result.stderr
