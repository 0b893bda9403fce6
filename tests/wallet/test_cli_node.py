"""What `tael` says when the node is not there, not ready, or not what it should be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consensus.params import COIN
from tests.support.rpc_node import PASSWORD, USER, RpcFault, ToyNode, pay_from
from tests.support.wallet_cli import Tael

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def answering(data: bytes) -> Iterator[str]:
    """Somebody who answers every connection with `data` and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                connection.recv(65_536)
                connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_no_node_is_one_line(bob: Tael) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    line = bob.fails("balance", "--rpc", f"http://127.0.0.1:{port}")
    assert "no node answers" in line


def test_missing_cookie_names_the_remedies(bob: Tael) -> None:
    line = bob.fails("balance", "--datadir", str(bob.folder / "elsewhere"))
    assert "start taeld" in line


def test_wrong_password_is_one_line_that_does_not_show_it(bob: Tael, url: str) -> None:
    bob.variables["TAEL_RPC"] = url.replace("//", "//user:hunter2@")
    line = bob.fails("balance")
    assert "refused the password" in line
    assert "hunter2" not in line


def test_user_and_password_in_the_url_are_used(bob: Tael, url: str) -> None:
    with_user = url.replace("//", f"//{USER}:{PASSWORD}@")
    bob.variables["TAEL_RPC"] = with_user
    bob.run("balance", "--datadir", str(bob.folder / "elsewhere"))


def test_a_password_that_is_typed_is_refused_and_not_shown(bob: Tael, url: str) -> None:
    line = bob.fails("balance", "--rpc", url.replace("//", "//user:hunter2@"))
    assert "TAEL_RPC" in line
    assert "hunter2" not in line


def test_node_that_warms_up_is_named(node: ToyNode, bob: Tael) -> None:
    node.faults["getblockchaininfo"] = RpcFault(-28, "Reading the block index…")
    assert "still starting: Reading the block index…" in bob.fails("balance")


def test_node_of_another_chain_is_refused(node: ToyNode, bob: Tael) -> None:
    node.overrides["getblockchaininfo"] = {**node.getblockchaininfo(), "chainid": "ab" * 32}
    assert "another network" in bob.fails("balance")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"id\":1,\"result\":NaN}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"[" * 60_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"id\":1,\"error\":{\"code\":\"x\"}}  ",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
    ids=["text", "404", "null", "NaN", "nesting", "odd error", "ssh", "nothing"],
)  # fmt: skip
def test_what_is_no_node_is_one_line(bob: Tael, answer: bytes) -> None:
    with answering(answer) as url:
        line = bob.fails("balance", "--rpc", url)
    assert "is not a node" in line or "did not answer" in line


@pytest.mark.parametrize(
    ("status", "part"),
    [
        ("429 Too Many Requests", "refused the password"),
        ("503 Service Unavailable", "too many calls"),
    ],
)
def test_a_node_that_has_no_time_is_told_from_what_is_no_node(
    bob: Tael, status: str, part: str
) -> None:
    with answering(f"HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nbusy".encode()) as url:
        line = bob.fails("balance", "--rpc", url)
    assert part in line
    assert "is not a node" not in line


def test_rows_of_a_table_end_where_their_text_does(alice: Tael) -> None:
    for command in ("balance", "utxos", "history", "assets"):
        lines = alice.run(command).splitlines()
        assert lines
        assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(
    "url", ["ftp://x:1", "http://", "127.0.0.1", "http://h:99999", "http://[::1"]
)
def test_wrong_rpc_address_is_one_line(bob: Tael, url: str) -> None:
    assert "must look like" in bob.fails("balance", "--rpc", url)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("getaddressutxos", {"utxos": [{"txid": "zz"}]}),
        ("getaddressutxos", []),
        ("getaddressmempool", {"entries": [{"satoshis": 1.5}]}),
        ("getblockchaininfo", "yes"),
        ("estimatesmartfee", {"feerate": "cheap"}),
        ("estimatesmartfee", {"feerate": -1}),
        ("estimatesmartfee", {"feerate": "1e999999999"}),
    ],
)
def test_answer_of_an_unknown_shape_is_one_line(
    node: ToyNode, alice: Tael, bob: Tael, method: str, answer: object
) -> None:
    address = bob.json("address")["address"]
    node.overrides[method] = answer
    alice.fails("send", address, "1", "--yes")
    assert not node.mempool


def test_answer_about_an_address_not_asked_for_is_refused(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    target = alice.json("addresses")["addresses"][0]["address"]
    node.overrides["getaddressutxos"] = node.getaddressutxos({"addresses": [target]})
    assert "not asked for" in bob.fails("balance")


def test_raw_transaction_that_is_another_one_is_refused(node: ToyNode, alice: Tael) -> None:
    node.overrides["getrawtransaction"] = node.chain.blocks[node.chain.tip.hash].txs[0].raw.hex()
    assert "another transaction" in alice.fails("history")


def test_private_currency_is_one_file(tmp_path: Path) -> None:
    file = tmp_path / "thaler.toml"
    file.write_text(
        'name = "thaler"\nhrp = "thr"\nticker = "THALER"\ngenesis_time = 1795435200\n'
        "subsidy = 7\npow_limit_bits = 0x207fffff\n"
    )
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 60, str(file))
    assert wallet.create().startswith("thr1")
    assert wallet.json("info")["path"] == "m/44'/1795'/0'"
    file.write_text('name = "thaler"\nhrp = "thr"\nticker = "THALER"\ngenesis_time = 1795435201\n')
    said = wallet.fails("info")
    assert "another network of the name 'thaler'" in said
    assert "restore it from its words" in said
    file.write_text("name = 5")
    assert "name must be" in wallet.fails("info")
    file.write_text("[[")
    assert "not a TOML file" in wallet.fails("info")


def test_unknown_network_is_one_line(bob: Tael) -> None:
    result = bob.invoke("info", options={"--network": "moon"})
    assert (result.exit_code, "is not a network" in result.stderr) == (1, True)


def test_common_options_stand_before_or_after_and_beat_the_environment(bob: Tael) -> None:
    bob.variables["TAEL_NETWORK"] = "main"
    assert bob.json("info")["network"] == "regtest"
    assert bob.invoke("info", "--network", "test").exit_code == 1


def test_real_process_creates_is_paid_and_pays(
    node: ToyNode, url: str, tmp_path: Path, new_wallet: Callable[[int], Tael]
) -> None:
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith("TAEL_")},
        "HOME": str(tmp_path / "home"), "TAEL_PASSPHRASE": "correct horse",
        "TAEL_NETWORK": "regtest", "TAEL_RPC": url, "TAEL_DATADIR": str(tmp_path / "node"),
    }  # fmt: skip

    def run(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "wallet", *args], capture_output=True, text=True, cwd=ROOT,
            env=variables, stdin=subprocess.DEVNULL, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    address = json.loads(run("create", "--json").stdout)["address"]
    assert (tmp_path / "home/.tael/wallets/regtest.wallet").exists()
    pay_from(node, address, 3 * COIN)
    node.mine()
    target = new_wallet(70).json("address")["address"]
    sent = json.loads(run("send", target, "1", "--yes", "--json").stdout)
    node.mine()
    assert node.balance_of(target) == COIN
    text = run("balance").stdout
    left = 2 * COIN - sent["fee"]["units"]
    assert f"1.{left % COIN:08d}" in text
    assert run("send", target, "5", "--yes", code=1).stderr.startswith("Error: not enough")
    assert "3.00000000" in run("history").stdout


def test_programs_see_no_progress(
    node: ToyNode, bob: Tael, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wallet.cli.progress.AFTER_S", 0.0)
    result = bob.invoke("balance", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    json.loads(result.stdout)


def test_version_is_that_of_the_project(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wallet = Tael(tmp_path, "http://127.0.0.1:1", 61)
    assert wallet.run("--version") == f"tael {project['version']}\n"


def test_arguments_that_are_no_text_are_one_line(bob: Tael) -> None:
    odd = "\udcff"
    address = bob.json("address")["address"]
    for args in (
        ("sign-message", address, odd),
        ("issue", "A", "1", "--name", odd, "--yes"),
        ("label", address, odd),
        ("asset", odd),
        ("watch", odd, "--name", "x"),
        ("watch", address, "--name", odd),
        ("multisig", "create", "1", odd, "--name", "x"),
        ("multisig", "show", odd),
        ("send", odd, "1"),
        ("bump", odd),
        ("balance", "--network", odd),
        ("balance", "--rpc", odd),
        ("balance", "--wallet", odd),
    ):
        bob.fails(*args)


def test_two_payments_at_once_spend_different_coins(
    node: ToyNode, alice: Tael, bob: Tael, url: str
) -> None:
    address = bob.json("address")["address"]
    variables = {**os.environ, "TAEL_PASSPHRASE": "correct horse"}
    args = [
        "--network", "regtest", "--wallet", str(alice.path), "--rpc", url,
        "--datadir", str(alice.folder / "node"), "send", address, "3", "--yes",
    ]  # fmt: skip
    running = [
        subprocess.Popen([sys.executable, "-m", "wallet", *args], cwd=ROOT, env=variables,
                         stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]  # fmt: skip
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(node.mempool) == 2
    node.mine()
    assert node.balance_of(address) == 6 * COIN


def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "wallet", "--help"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "output cannot be written: No space left on device" in line
