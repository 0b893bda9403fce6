"""`litecoin-cli`, the command line of Litecoin Core 0.21, against a node."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.clients.served import PAID, Served
from tests.support.daemon import Daemon, running

Ran = subprocess.CompletedProcess[str]
Ask = Callable[..., Ran]


def program() -> str:
    found = shutil.which("litecoin-cli")
    assert found, "litecoin-cli is missing: on Debian, apt install litecoind"
    return found


def command(datadir: Path, port: int, *words: str) -> Sequence[str]:
    """The words of a call to the node of that cookie and port."""
    return [
        program(), "-regtest", "-rpcconnect=127.0.0.1", f"-rpcport={port}",
        f"-datadir={datadir.parent}", f"-rpccookiefile={datadir / '.cookie'}", *words,
    ]  # fmt: skip


def run(words: Sequence[str]) -> Ran:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def ask(node: Served) -> Ask:
    """Runs the program with some words."""
    return lambda *words: run(command(node.daemon.datadir, node.daemon.rpc_port, *words))


def test_getinfo_shows_chain_and_connections(ask: Ask, node: Served) -> None:
    ran = ask("-getinfo")
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert shown["blocks"] == shown["headers"] == node.chain.tip.height
    assert shown["chain"] == "regtest"
    assert shown["connections"] == {"in": 0, "out": 1, "total": 1}
    assert "balance" not in shown, "the node keeps no wallet"


@pytest.mark.parametrize("level", ["0", "1", "2", "3", "4"])
def test_netinfo_lists_the_peers_at_every_level(ask: Ask, level: str) -> None:
    ran = ask("-netinfo", level)
    assert ran.returncode == 0, ran.stderr
    assert "/tael:" in ran.stdout
    peers = [line for line in ran.stdout.splitlines() if line.startswith("out  full  ipv4")]
    assert len(peers) == (level != "0"), "a line for each peer from level 1 on"
    assert all(("127.0.0.1:" in line) == (level in "24") for line in peers)
    assert all(("2/tael:" in line) == (level in "34") for line in peers)


def test_named_parameters_may_be_strings(ask: Ask, node: Served) -> None:
    ran = ask("-named", "getblock", f"blockhash={node.names['block']}", "verbosity=2")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["tx"][1]["txid"] == node.names["mined"]


def test_methods_that_it_does_not_know_get_strings(ask: Ask, node: Served) -> None:
    address = node.names["address"]
    query = json.dumps({"addresses": [address], "limit": "1"})
    for words in (["getaddressbalance", address], ["getaddressbalance", query]):
        ran = ask(*words)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["balance"] == PAID
    page = json.loads(ask("getaddressutxos", address, "1").stdout)
    assert len(page["utxos"]) == 1
    assert page["cursor"]
    named = ask("-named", "listassets", "limit=1")
    assert json.loads(named.stdout)["assets"][0]["asset"] == node.names["gold"]


def test_amounts_are_shown_digit_by_digit(ask: Ask, node: Served) -> None:
    assert '"value": 2.00000000' in ask("getrawtransaction", node.names["mined"], "1").stdout


def test_help_lists_methods_and_explains_one(ask: Ask) -> None:
    assert "\ngetaddressbalance addresses" in ask("help").stdout
    assert ask("help", "getblock").stdout.startswith("getblock blockhash")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["getblockhash", "999999"], -8),
        (["getblock", "00" * 32], -5),
        (["sendrawtransaction", "00"], -22),
        (["nonsense"], -32601),
        (["getwalletinfo"], -32601),
    ],
)
def test_errors_end_with_their_code_as_status(ask: Ask, words: list[str], code: int) -> None:
    ran = ask(*words)
    assert ran.stderr.startswith(f"error code: {code}\n")
    assert ran.returncode == -code % 256, "of an exit status the system keeps one byte"


def test_wrong_password_is_told_as_such(node: Served) -> None:
    ran = run([
        program(), "-regtest", f"-rpcport={node.daemon.rpc_port}",
        f"-datadir={node.daemon.datadir.parent}", "-rpcuser=x", "-rpcpassword=y", "getblockcount",
    ])  # fmt: skip
    assert ran.returncode == 1
    assert "Authorization failed" in ran.stderr


def test_data_directory_of_a_network_is_found_by_its_usual_place(tmp_path: Path) -> None:
    # As below ~/.tael: the folder of the network holds the cookie.
    daemon = Daemon(tmp_path / "regtest")
    with running(daemon):
        words = [program(), "-regtest", f"-rpcport={daemon.rpc_port}", f"-datadir={tmp_path}"]
        assert run([*words, "getblockcount"]).stdout == "0\n"
        stopped = run([*words, "stop"])
        assert stopped.stdout == "Tael node stopping\n"
        assert daemon.wait() == 0


@pytest.fixture
def free_port() -> int:
    """A port that no connection gets by itself: a client that tries one of those can meet itself."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no port is free from 20,000 to 32,000")


def test_rpcwait_that_began_before_the_node_gets_its_answer(tmp_path: Path, free_port: int) -> None:
    daemon = Daemon(tmp_path / "regtest")
    daemon.rpc_port = free_port
    waiting = subprocess.Popen(
        command(daemon.datadir, free_port, "-rpcwait", "getblockcount"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with running(daemon):
            answer, complaint = waiting.communicate(timeout=30)
            assert (answer, waiting.returncode) == ("0\n", 0), complaint
    finally:
        waiting.kill()
        waiting.wait()
