"""A node on a socket and wallets that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consensus.address import decode_address
from consensus.params import COIN
from tests.support.chain import DAVE, ToyChain
from tests.support.rpc_node import ToyNode, pay_from, serve
from tests.support.wallet_cli import Tael


@pytest.fixture
def node() -> ToyNode:
    """A regtest chain on which DAVE has coins to pay with."""
    chain = ToyChain()
    chain.mine_empty(110, DAVE.lock)
    return ToyNode(chain)


@pytest.fixture
def url(node: ToyNode, tmp_path: Path) -> Iterator[str]:
    """Where the node answers; its cookie lies in tmp_path/node."""
    with serve(node, tmp_path / "node") as address:
        yield address


@pytest.fixture
def new_wallet(tmp_path: Path, url: str) -> Callable[[int], Tael]:
    """Makes wallets by seed."""

    def make(seed: int) -> Tael:
        wallet = Tael(tmp_path, url, seed)
        wallet.create()
        return wallet

    return make


@pytest.fixture
def alice(node: ToyNode, new_wallet: Callable[[int], Tael]) -> Tael:
    """A wallet with three coins of 4 TAEL in blocks."""
    wallet = new_wallet(1)
    for _ in range(3):
        address = wallet.json("address", "--new")["address"]
        pay_from(node, address, 4 * COIN)
        node.mine()
    return wallet


@pytest.fixture
def bob(new_wallet: Callable[[int], Tael]) -> Tael:
    """An empty wallet."""
    return new_wallet(2)


def lock_of(address: str) -> bytes:
    """The lock of a regtest address."""
    return decode_address("rtael", address)
