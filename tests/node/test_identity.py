"""Key, certificate and members file of a node: kept, guarded, and refused in one clear line."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from node.config import ConfigError
from node.identity import check_members_owner
from p2p.tls import make_identity
from tests.support.command import NO_PORTS, complaint, taeld
from tests.support.daemon import Daemon, RpcFailure, running, wait_for


def certificate(datadir: Path) -> str:
    outcome = taeld("--network", "regtest", "--datadir", str(datadir), "--certificate")
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_a_certificate_is_made_once_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "node")
    with running(daemon):
        first = daemon.call("getnetworkinfo")["certificate"]
        assert f"# fingerprint {first}\n" in certificate(tmp_path / "node")
        path = tmp_path / "node" / "peer.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert any(first in line for line in daemon.log)
        daemon.stop()
        daemon.start()
        assert daemon.call("getnetworkinfo")["certificate"] == first


@pytest.mark.parametrize("damage", ["garbled", "foreign key", "open"])
def test_an_identity_that_cannot_be_used_is_kept_and_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "peer.pem"
    key, mark, rest = make_identity().partition(b"-----BEGIN CERT")
    other = make_identity().partition(b"-----BEGIN CERT")[0]
    data = {"garbled": b"no", "foreign key": other + mark + rest}.get(damage, key + mark + rest)
    path.write_bytes(data)
    path.chmod(0o644 if damage == "open" else 0o600)
    line = complaint(taeld("--network", "regtest", *NO_PORTS, "--datadir", str(tmp_path)))
    assert str(path) in line
    assert "remove it" in line
    assert path.read_bytes() == data


@pytest.mark.parametrize("fault", ["absent", "empty", "bad entry", "open", "key"])
def test_a_members_file_that_cannot_be_used_is_told(tmp_path: Path, fault: str) -> None:
    members = tmp_path / "members.pem"
    text = certificate(tmp_path / "other")
    if fault == "bad entry":
        text += "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    if fault == "key":
        text = (tmp_path / "other" / "peer.pem").read_text()
    if fault != "absent":
        members.write_text("" if fault == "empty" else text)
        members.chmod(0o666 if fault == "open" else 0o644)
    outcome = taeld(
        "--network", "regtest", *NO_PORTS, "--datadir", str(tmp_path / "node"),
        "--members", str(members),
    )  # fmt: skip
    line = complaint(outcome)
    assert "JSON-RPC at" not in outcome.stderr
    assert str(members) in line
    assert ("entry 2" in line) == (fault == "bad entry")
    assert ("private key" in line) == (fault == "key")


def test_real_nodes_of_one_members_file_find_each_other(tmp_path: Path) -> None:
    members = tmp_path / "members.pem"
    members.write_text(certificate(tmp_path / "a") + certificate(tmp_path / "b"))
    members.chmod(0o644)
    a = Daemon(tmp_path / "a", "--members", str(members))
    with running(a):
        pin = a.call("getnetworkinfo")["certificate"]
        b = Daemon(tmp_path / "b", "--members", str(members), "--connect", f"{a.p2p}#{pin}")
        with running(b):
            wait_for(lambda: a.call("getconnectioncount"), "they are connected")


def test_real_node_refuses_a_peer_with_another_certificate_than_the_pinned(tmp_path: Path) -> None:
    a = Daemon(tmp_path / "a")
    with running(a):
        b = Daemon(tmp_path / "b", "--connect", f"{a.p2p}#{'ab' * 32}")
        with running(b):
            wait_for(lambda: any("not the pinned" in line for line in b.log), "it is told")
            assert b.call("getconnectioncount") == 0
            assert not any("Traceback" in line for line in a.log + b.log)


def test_both_sides_say_in_a_line_that_a_stranger_was_refused_by_members(tmp_path: Path) -> None:
    members = tmp_path / "members.pem"
    members.write_text(certificate(tmp_path / "other"))
    members.chmod(0o644)
    member = Daemon(tmp_path / "member", "--members", str(members))
    with running(member):
        own = member.call("getnetworkinfo")["certificate"]
        assert any(
            "lacks this node's own certificate" in line and own in line for line in member.log
        )
        stranger = Daemon(tmp_path / "stranger", "--connect", member.p2p)
        with running(stranger):
            theirs = stranger.call("getnetworkinfo")["certificate"]
            wait_for(
                lambda: any("members file lacks" in line for line in stranger.log), "it is told"
            )
            assert any(theirs in line for line in stranger.log if "members file lacks" in line)
            stranger.call("addnode", f"127.0.0.1:{member.p2p_port}", "onetry")
            told = [line for line in member.log if "refused a connection" in line]
            assert len(told) == 1
            assert "127.0.0.1: its certificate is not among the members" in told[0]


def test_a_node_added_with_a_fingerprint_is_believed_with_that_certificate_alone(
    tmp_path: Path,
) -> None:
    a, b = Daemon(tmp_path / "a"), Daemon(tmp_path / "b")
    with running(a, b):
        pin = a.call("getnetworkinfo")["certificate"]
        b.call("addnode", f"{a.p2p}#{'ab' * 32}", "add")
        wait_for(lambda: any("not the pinned" in line for line in b.log), "it is told")
        b.call("addnode", a.p2p, "remove")
        b.call("addnode", f"{a.p2p}#{pin}", "add")
        (peer,) = wait_for(lambda: b.call("getpeerinfo"), "they are connected")
        assert (peer["encrypted"], peer["certificate"]) == (True, pin)
        (peer,) = wait_for(lambda: a.call("getpeerinfo"), "they are connected")
        assert peer["encrypted"]
        assert "certificate" not in peer  # who accepts a connection asks members alone


def test_a_fingerprint_of_one_try_leaves_nothing_behind(tmp_path: Path) -> None:
    a, b = Daemon(tmp_path / "a"), Daemon(tmp_path / "b", "--log-level", "debug")

    def try_wrong(count: int) -> None:
        b.call("addnode", f"{a.p2p}#{'ab' * 32}", "onetry")
        wait_for(lambda: sum("not the pinned" in line for line in b.log) >= count, "it is refused")

    with running(a, b):
        pin = a.call("getnetworkinfo")["certificate"]
        try_wrong(1)
        assert b.call("getpeerinfo") == []
        b.call("addnode", a.p2p, "onetry")
        wait_for(lambda: b.call("getpeerinfo"), "a try without a fingerprint believes it")
        b.call("disconnectnode", a.p2p)
        b.call("addnode", f"{a.p2p}#{pin}", "add")
        wait_for(lambda: b.call("getpeerinfo"), "they are connected")
        try_wrong(2)
        for peer in b.call("getpeerinfo"):
            b.call("disconnectnode", "", peer["id"])
        wait_for(lambda: b.call("getpeerinfo"), "what was pinned to stay is believed")


@pytest.mark.parametrize(
    ("mode", "owner", "fault"),
    [
        (0o644, 1_000, ""), (0o600, 1_000, ""), (0o644, 0, ""), (0o664, 1_000, "others may write"),
        (0o646, 0, "others may write"), (0o600, 1_001, "belongs to another user (number 1001)"),
    ],
)  # fmt: skip
def test_a_members_file_that_another_user_may_write_is_refused(
    mode: int, owner: int, fault: str
) -> None:
    path = Path("members.pem")
    found = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, owner, 100, 0, 0, 0))
    if not fault:
        check_members_owner(path, found, 1_000)
        return
    with pytest.raises(ConfigError, match=re.escape(fault)):
        check_members_owner(path, found, 1_000)


def test_a_fingerprint_is_not_taken_where_nothing_is_encrypted(tmp_path: Path) -> None:
    node = Daemon(tmp_path / "node", "--p2p-tls", "off")
    with running(node), pytest.raises(RpcFailure, match="p2p-tls is off"):
        node.call("addnode", f"127.0.0.1:9#{'ab' * 32}", "add")
