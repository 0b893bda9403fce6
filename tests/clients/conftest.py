"""One node for the clients of a module: a chain, an asset, payments mined and waiting, a peer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.served import Served, serve
from tests.support.daemon import Daemon, running, wait_for


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    peer = Daemon(tmp_path_factory.mktemp("peer"))
    with running(peer):
        served = serve(tmp_path_factory.mktemp("node"), "--connect", peer.p2p)
        with running(served.daemon):
            served.fill()
            wait_for(lambda: served.daemon.call("getconnectioncount"), "the peer is connected")
            yield served
