"""A node for clients: a chain, an asset, payments mined and waiting, a peer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.clients.served import Served, serve
from tests.support.daemon import Daemon, running, wait_for

OFFERS = ("--events", "--stratum", "127.0.0.1:0", "--zmq", "127.0.0.1:0", "--ready-tip-age", "1")
"""Parts that are off by default, and a demand that a chain of tests does not meet."""


@contextmanager
def serving(make: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that has it all."""
    peer = Daemon(make.mktemp("peer"))
    with running(peer):
        served = serve(make.mktemp("node"), "--connect", peer.p2p, *OFFERS)
        with running(served.daemon):
            served.fill()
            wait_for(lambda: served.daemon.call("getconnectioncount"), "the peer is connected")
            yield served


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For all who only ask."""
    with serving(tmp_path_factory) as served:
        yield served


@pytest.fixture(scope="module")
def own_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For a module that changes what the node has, and stops it."""
    with serving(tmp_path_factory) as served:
        yield served
