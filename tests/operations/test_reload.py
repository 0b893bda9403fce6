"""Settings of a real node that change while it runs."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import Config
from node.operations.reload import LIVE
from node.rpc.auth import make_user, user_line
from node.rpc.method import Role
from tests.operations.kit import get
from tests.support.daemon import Daemon, running, wait_for

ALICE = user_line(make_user("alice", "one", "salt", Role.ADMIN))
BOB = user_line(make_user("bob", "two", "salt", Role.READ))
DONE = "configuration read again"
REFUSED = "configuration not read again, nothing has changed"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "node").mkdir()
    write(tmp_path / "node", f'rpc-user = ["{ALICE}"]')
    found = Daemon(tmp_path / "node", "--web", "127.0.0.1:0", "--outbound", "0")
    with running(found):
        wait_for(lambda: "web" in found.doors, "the web server listens")
        yield found


def write(datadir: Path, *lines: str) -> None:
    (datadir / "taeld.toml").write_text("\n".join(lines) + "\n")


def reload(daemon: Daemon, *lines: str) -> list[str]:
    """Write a configuration, have it read, and return what the log says of that."""
    write(daemon.datadir, *lines)
    before = len(daemon.log)
    os.kill(daemon.pid, signal.SIGHUP)

    def told() -> list[str]:
        new = daemon.log[before:]
        return new if any(DONE in line or REFUSED in line for line in new) else []

    return wait_for(told, "the node says what it made of it")


class Client:
    """A connection to the JSON-RPC that stays open."""

    def __init__(self, daemon: Daemon, login: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.rpc_port, timeout=10)
        self._login = "Basic " + base64.b64encode(login.encode()).decode()

    def status(self) -> int:
        """Of one call."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getblockcount"})
        headers = {"Content-Type": "application/json", "Authorization": self._login}
        self._connection.request("POST", "/", body, headers)
        response = self._connection.getresponse()
        response.read()
        return response.status


def test_user_that_is_taken_off_is_out_on_connections_that_are_open(daemon: Daemon) -> None:
    alice = Client(daemon, "alice:one")
    assert [alice.status() for _ in range(3)] == [200, 200, 200]
    told = reload(daemon, f'rpc-user = ["{BOB}"]')
    assert any(f"{DONE}; changed: rpc-user" in line for line in told)
    assert alice.status() == 401
    assert Client(daemon, "bob:two").status() == 200
    assert daemon.call("getblockcount") == 0, "the cookie stays"


def test_users_of_the_web_server_are_the_same(daemon: Daemon) -> None:
    def status(login: bytes) -> int:
        shown = "Basic " + base64.b64encode(login).decode()
        headers = {"X-Forwarded-For": "203.0.113.9", "Authorization": shown}
        return get(daemon, "/metrics", **headers)[0].status

    assert (status(b"alice:one"), status(b"bob:two")) == (200, 401)
    reload(daemon, f'rpc-user = ["{BOB}"]')
    assert (status(b"alice:one"), status(b"bob:two")) == (401, 200)


def test_fees_and_sizes_change_at_once(daemon: Daemon) -> None:
    reload(daemon, "min-fee-rate = 5000", "mempool-mb = 7")
    info = daemon.call("getmempoolinfo")
    assert info["maxmempool"] == 7_000_000
    assert float(info["minrelaytxfee"]) == 0.00005
    reload(daemon, "mempool-mb = 9")
    info = daemon.call("getmempoolinfo")
    assert info["maxmempool"] == 9_000_000
    assert float(info["minrelaytxfee"]) == 0.00001


def test_mempool_becomes_smaller_bit_by_bit_to_its_limit(daemon: Daemon) -> None:
    reload(daemon, "mempool-mb = 20")
    reload(daemon, "mempool-mb = 2")
    wait_for(lambda: daemon.call("getmempoolinfo")["maxmempool"] == 2_000_000, "it is small")


def test_peers_to_connect_to_are_added_and_taken_off(daemon: Daemon, tmp_path: Path) -> None:
    other = Daemon(tmp_path / "other", "--outbound", "0")
    with running(other):
        reload(daemon, f'connect = ["{other.p2p}"]')
        wait_for(lambda: other.call("getconnectioncount") == 1, "they are connected")
        reload(daemon)
        (peer,) = other.call("getpeerinfo")
        other.call("disconnectnode", "", peer["id"])
        wait_for(lambda: other.call("getconnectioncount") == 0, "they are not connected")
        added = daemon.call("addnode", other.p2p, "add")
        assert added is None, "it was taken off the list, so it can be added"


def test_level_of_the_log_changes_at_once(daemon: Daemon) -> None:
    reload(daemon, 'log-level = "debug"')
    told = reload(daemon, 'log-level = "info"', "log-json = true")
    assert any(DONE in line for line in told)
    reload(daemon, 'log-level = "info"', "log-json = true", "min-fee-rate = 3")
    assert "min-fee-rate" in json.loads(daemon.log[-1])["message"]


def test_what_needs_a_new_start_is_named_in_one_line(daemon: Daemon) -> None:
    told = reload(daemon, "listen = false", "index = false", "mempool-mb = 8")
    assert any(f"{DONE}; changed: rpc-user, mempool-mb" in line for line in told)
    later = "these change with the next start only: listen, index"
    wait_for(lambda: any(later in line for line in daemon.log), "they are named")


def test_what_was_typed_counts_more_than_the_file(daemon: Daemon) -> None:
    told = reload(daemon, "outbound = 5", f'rpc-user = ["{ALICE}"]')
    assert any(f"{DONE}; changed: nothing" in line for line in told)


@pytest.mark.parametrize(
    "lines",
    [
        ["this is no TOML"],
        ["mempool-mb = 0"],
        ["unheard-of = 1"],
        ['rpc-user = ["no user"]', "mempool-mb = 5"],
        ['log-file = "/dev/null/log"', "mempool-mb = 5"],
        ["mempool-mb = 5", 'connect = ["127.0.0.1:1", "127.0.0.1:2#00"]'],
    ],
)
def test_configuration_that_is_wrong_changes_nothing(daemon: Daemon, lines: list[str]) -> None:
    alice = Client(daemon, "alice:one")
    told = reload(daemon, *lines)
    assert any(REFUSED in line for line in told)
    assert daemon.call("getmempoolinfo")["maxmempool"] == 300_000_000
    assert alice.status() == 200


def test_fingerprint_for_an_open_connection_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    other = Daemon(tmp_path / "other", "--outbound", "0")
    with running(other):
        assert any("connect" in line for line in reload(daemon, f'connect = ["{other.p2p}"]'))
        told = reload(daemon, f'connect = ["{other.p2p}#{"00" * 32}"]')
        reason = f"another fingerprint of {other.p2p} needs a new start"
        assert any(reason in line for line in told), daemon.log


def test_settings_that_need_no_new_start_exist() -> None:
    assert set(LIVE) <= set(Config.__struct_fields__)
