"""`taeld` as a process: what is typed wrong, damaged or full ends in one clear line, never a traceback."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.chain import ALICE, BOB
from tests.support.command import NO_PORTS, complaint, taeld
from tests.support.daemon import ROOT, Daemon, RpcFailure, running, wait_for


def answers(daemon: Daemon) -> bool:
    try:
        return bool(daemon.call("getblockcount"))
    except OSError:
        return False


def assert_no_traceback(daemon: Daemon) -> None:
    assert not any("Traceback" in line for line in daemon.log), "\n".join(daemon.log)


def test_help_tells_a_newcomer_every_option_with_an_example() -> None:
    outcome = taeld("--help")
    assert outcome.returncode == 0
    for option in (
        "--network",
        "--datadir",
        "--rpc",
        "--p2p",
        "--connect",
        "--mine-to",
        "--reindex",
    ):
        assert option in outcome.stdout
    assert "Examples" in outcome.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--netwrok", "test"),
        ("--mempool-mb", "many"),
        ("--log-level", "loud"),
        ("stray",),
        ("--rpc",),
    ],
)
def test_an_option_typed_wrong_is_named(arguments: tuple[str, ...]) -> None:
    outcome = taeld(*arguments)
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--network", "mainnet"), "mainnet"),
        (("--network", "absent.toml"), "absent.toml"),
        (("--rpc", "127.0.0.1:99999"), "99999"),
        (("--p2p", "a b"), "p2p"),
        (("--connect", "x:y"), "connect"),
        (("--mempool-mb", "0"), "mempool-mb"),
        (("--mine-to", "rtael1nonsense"), "mine-to"),
        (("--config", "absent.toml"), "absent.toml"),
        (("--rpc-user", "nonsense"), "rpc-user"),
        (("--rpc", "192.0.2.1:29931"), "192.0.2.1"),
        (("--rpc", "no-such-host.invalid:29931"), "no-such-host.invalid"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], part: str
) -> None:
    options = ("--network", "regtest", *NO_PORTS, "--datadir", str(tmp_path / "node"))
    assert part in complaint(taeld(*options, *arguments))


@pytest.mark.parametrize("option", ["--rpc", "--p2p"])
def test_a_port_that_is_taken_is_told_with_its_address_once(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ("--network", "regtest", *NO_PORTS, "--datadir", str(tmp_path), option, place)
        line = complaint(taeld(*options))
    assert line == f"taeld: cannot listen at {place}: Address already in use; give another {option}"


def test_a_node_that_knows_nobody_says_once_how_to_find_somebody(tmp_path: Path) -> None:
    hint = "no other node is known yet: start with --connect"
    for options, count in (((), 1), (("--connect", "127.0.0.1:9"), 0), (("--outbound", "0"), 0)):
        daemon = Daemon(tmp_path, *options, network="test")
        with running(daemon):
            assert sum(hint in line for line in daemon.log) == count
            assert daemon.stop() == 0


@pytest.mark.parametrize("place", ["file", "file/below", "n" * 300, "~nobody-at-all/x"])
def test_a_data_directory_that_cannot_be_used_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = place if place.startswith("~") else str(tmp_path / place)
    line = complaint(taeld("--network", "regtest", *NO_PORTS, "--datadir", path))
    assert "datadir" in line


@pytest.mark.parametrize("name", ["state", "blocks", "undo", "mempool.dat", "peers.dat", ".cookie"])
def test_something_else_where_the_node_keeps_its_own_is_one_line_that_names_it(
    tmp_path: Path, name: str
) -> None:
    if "." in name:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(b"mine")
    assert name in complaint(taeld("--network", "regtest", *NO_PORTS, "--datadir", str(tmp_path)))


def test_a_directory_of_another_network_is_refused(tmp_path: Path) -> None:
    with running(Daemon(tmp_path)) as _:
        pass
    line = complaint(taeld("--network", "test", *NO_PORTS, "--datadir", str(tmp_path)))
    assert "another network" in line


def test_a_damaged_database_is_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        daemon.call("generatetoaddress", 20, ALICE.address())
        tip = daemon.tip
        assert daemon.stop() == 0
        (table,) = (tmp_path / "state").glob("*.ldb")
        data = bytearray(table.read_bytes())
        data[100] ^= 4  # among the headers, which are read at every start
        table.write_bytes(data)
        line = complaint(taeld("--network", "regtest", *NO_PORTS, "--datadir", str(tmp_path)))
        assert "reading the database: Corruption" in line
        assert "--reindex" in line
        daemon.start("--reindex")
        assert daemon.tip == tip
        assert daemon.stop() == 0
        assert_no_traceback(daemon)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_written(tmp_path: Path, number: signal.Signals) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        daemon.call("generatetoaddress", 5, ALICE.address())
        tip = daemon.tip
        os.kill(daemon.pid, number)
        assert daemon.wait() == 0
        assert_no_traceback(daemon)
        assert any("state written at block 5" in line for line in daemon.log)
        assert not (tmp_path / ".cookie").exists()
        daemon.start()
        assert daemon.tip == tip


def test_a_signal_while_it_starts_ends_it_too(tmp_path: Path) -> None:
    for pause_s in (0.0, 0.05, 0.1, 0.2):
        daemon = Daemon(tmp_path).start(ready=False)
        wait_for(daemon.log.copy, "it says something")
        time.sleep(pause_s)
        daemon.stop()
        assert_no_traceback(daemon)


def test_killed_and_started_again_it_goes_on(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        for count in (3, 30):
            daemon.call("generatetoaddress", count, ALICE.address())
            tip = daemon.tip
            daemon.kill()
            daemon.start()
            assert daemon.tip == tip
        assert_no_traceback(daemon)


def test_a_full_disk_ends_it_in_one_line_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        daemon.call("generatetoaddress", 10, ALICE.address())
        size = (tmp_path / "blocks" / "blk00000.dat").stat().st_size
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size + 1_000, size + 1_000))
        with pytest.raises((RpcFailure, OSError, AssertionError)):
            daemon.call("generatetoaddress", 100, BOB.address())
        assert daemon.wait() == 1
        assert_no_traceback(daemon)
        (line,) = [line for line in daemon.log if line.startswith("taeld: ")]
        assert "make room" in line
        daemon.start()
        assert daemon.call("getblockcount") >= 10
        daemon.call("generatetoaddress", 3, BOB.address())
        assert daemon.stop() == 0


def test_a_disk_that_is_full_when_it_stops_shows_in_the_exit_code(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        daemon.call("generatetoaddress", 10, ALICE.address())
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (100, 100))
        assert daemon.stop() == 1
        assert_no_traceback(daemon)
        (line,) = [line for line in daemon.log if line.startswith("taeld: ")]
        assert "make room" in line
        daemon.start()
        assert daemon.call("getblockcount") == 10
        assert daemon.stop() == 0


def test_a_disk_without_room_for_the_cookie_is_told_with_a_remedy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "node", "--network", "regtest", *NO_PORTS, "--datadir"]
    # The certificate would need room before.
    assert (
        taeld("--certificate", "--network", "regtest", "--datadir", str(tmp_path)).returncode == 0
    )
    line = complaint(
        subprocess.run(
            ["sh", "-c", 'ulimit -f 0 && exec "$@"', "sh", *command, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    )
    assert ".cookie" in line
    assert "make room" in line


def test_with_few_descriptors_and_many_silent_clients_it_lives(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (64, 64))
        daemon.call("generatetoaddress", 3, ALICE.address())
        silent = []
        for _ in range(100):
            client = socket.create_connection(("127.0.0.1", daemon.rpc_port), 5)
            silent.append(client)
        time.sleep(0.5)
        assert daemon.is_running
        for client in silent:
            client.close()
        wait_for(lambda: answers(daemon), "it answers again")
        daemon.call("generatetoaddress", 3, ALICE.address())
        assert daemon.call("getblockcount") == 6
        assert daemon.stop() == 0
        assert_no_traceback(daemon)


def test_help_that_cannot_be_written_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "node", "--help"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == "taeld: the output cannot be written: No space left on device"
