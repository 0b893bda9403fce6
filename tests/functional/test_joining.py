"""How a node comes to its first peers: by name, over IPv6, pinned; and what chain it takes then."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from p2p.ports import Endpoint
from tests.support.chain import ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running, wait_for, wait_for_one_tip

QUIET = ("--verify-processes", "0", "--outbound", "0")
_FINGERPRINT = re.compile(r"certificate ([0-9a-f]{64})")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def free_port(family: socket.AddressFamily, host: str) -> int:
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def fingerprint(node: Daemon) -> str:
    found = wait_for(
        lambda: next(filter(None, map(_FINGERPRINT.search, node.log)), None), "it shows itself"
    )
    assert found is not None
    return found[1]


def peers(node: Daemon) -> list[str]:
    return [str(peer["addr"]) for peer in node.call("getpeerinfo")]


def test_a_peer_is_reached_by_the_name_of_its_host(tmp_path: Path) -> None:
    first = Daemon(tmp_path / "first", *QUIET)
    with running(first):
        named = f"localhost:{first.p2p_port}"
        pinned = f"{named}#{fingerprint(first)}"
        feed(first, blocks_of(_chain(3)))
        for text in (named, pinned):
            second = Daemon(tmp_path / text[-5:], *QUIET, "--connect", text)
            with running(second):
                wait_for_one_tip([first, second])
                assert peers(second) == [named]


def test_peers_meet_over_ipv6_pinned_or_not(tmp_path: Path) -> None:
    # Where the loopback interface has no IPv6, at least the rest is tried.
    able = has_ipv6()
    family, host = (socket.AF_INET6, "::1") if able else (socket.AF_INET, "127.0.0.1")
    place = str(Endpoint(host, free_port(family, host)))
    first = Daemon(tmp_path / "first", *QUIET)
    try:
        first.start("--p2p", place)  # the last of two counts
        wait_for(lambda: any(f"peers at {place}" in line for line in first.log), "it listens")
        feed(first, blocks_of(_chain(3)))
        right, wrong = fingerprint(first), "00" * 32
        for text in (place, f"{place}#{right}"):
            second = Daemon(tmp_path / text[-5:], *QUIET, "--connect", text)
            with running(second):
                wait_for_one_tip([first, second])
                assert peers(second) == [place]
        stranger = Daemon(tmp_path / "stranger", *QUIET, "--connect", f"{place}#{wrong}")
        with running(stranger):
            wait_for(lambda: any("not the pinned" in line for line in stranger.log), "it refuses")
            assert peers(stranger) == []
    finally:
        if first.is_running:
            first.kill()


def test_a_new_node_takes_no_chain_of_less_work_than_it_was_told(tmp_path: Path) -> None:
    chain = _chain(5)
    first = Daemon(tmp_path / "first", *QUIET)
    with running(first):
        feed(first, blocks_of(chain))
        more = hex(chain.tip.work + 1)
        second = Daemon(tmp_path / "second", *QUIET, "--connect", first.p2p)
        try:
            second.start("--least-work", more)
            wait_for(lambda: second.call("getpeerinfo"), "they have met")
            # Its answer to our question for headers comes before this pong.
            wait_for(lambda: "pingtime" in second.call("getpeerinfo")[0], "it was heard")
            info = second.call("getblockchaininfo")
            assert (info["headers"], info["initialblockdownload"]) == (0, True)
            feed(first, [chain.mine()])
            wait_for_one_tip([first, second])
            assert second.call("getblockchaininfo")["initialblockdownload"] is False
        finally:
            if second.is_running:
                second.kill()


def _chain(count: int) -> ToyChain:
    chain = ToyChain()
    chain.mine_empty(count)
    return chain
