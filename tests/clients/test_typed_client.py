"""`wallet.client` as a program of somebody else uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar, assert_type

import pytest

from consensus.params import COIN
from node.rpc.methods import METHODS
from scripts import make_client
from tests.clients.calls import calling
from tests.clients.served import PAID, Served
from tests.support.daemon import Daemon, running
from wallet.client import Client, endpoint
from wallet.errors import NodeError, NodeSilent, RpcError
from wallet.rpc.chain import BlockInfo, FullBlockInfo, HeaderInfo, UnspentOutput
from wallet.rpc.mempool import MempoolEntry
from wallet.rpc.transactions import Transaction

T = TypeVar("T")
PAID_COINS = Decimal(PAID) / COIN


@pytest.fixture(scope="module")
def node(own_node: Served) -> Served:
    return own_node


def ask(served: Served, scenario: Callable[[Client], Awaitable[T]]) -> T:
    """What `scenario` makes of a client of the node."""

    async def run() -> T:
        at = endpoint(served.daemon.url, served.daemon.datadir / ".cookie")
        async with Client(at) as client:
            return await scenario(client)

    return asyncio.run(run())


def test_modules_of_the_client_are_what_the_table_says() -> None:
    assert make_client.main(["--check"]) == 0, "python -m scripts.make_client"


def test_every_method_of_the_table_is_a_method_of_the_client() -> None:
    names = {make_client.NAMES.get(name, name) for name in METHODS}
    assert names <= set(dir(Client))


def test_short_answers_are_plain_values(node: Served) -> None:
    async def scenario(client: Client) -> None:
        height = assert_type(await client.getblockcount(), int)
        assert height == node.chain.tip.height
        assert assert_type(await client.getblockhash(height), str) == node.names["block"]
        assert assert_type(await client.getdifficulty(), float) > 0
        assert await client.gettxout("00" * 32, 0) is None

    ask(node, scenario)


def test_objects_have_their_members_and_amounts_are_exact(node: Served) -> None:
    async def scenario(client: Client) -> None:
        info = await client.getblockchaininfo()
        assert (info.chain, info.blocks) == ("regtest", node.chain.tip.height)
        coin = assert_type(
            await client.gettxout(node.names["mined"], 0, include_mempool=False),
            UnspentOutput | None,
        )
        assert coin is not None
        assert (coin.value, coin.asset) == (PAID_COINS, None)
        balance = await client.getaddressbalance([node.names["address"]])
        assert (balance.balance, balance.assets[0].ticker) == (PAID, "GOLD")
        page = await client.getaddressutxos({"addresses": [node.names["address"]], "limit": 1})
        assert len(page.utxos) == 1
        assert page.cursor is not None
        following = await client.getaddressutxos([node.names["address"]], 1, page.cursor)
        assert following.cursor is None

    ask(node, scenario)


def test_a_parameter_chooses_the_type_of_the_answer(node: Served) -> None:
    async def scenario(client: Client) -> None:
        block, mined = node.names["block"], node.names["mined"]
        assert bytes.fromhex(assert_type(await client.getblock(block, 0), str))
        assert mined in assert_type(await client.getblock(block), BlockInfo).tx
        whole = assert_type(await client.getblock(block, 2), FullBlockInfo)
        assert whole.tx[1].vout[0].value == PAID_COINS
        assert assert_type(await client.getblockheader(block), HeaderInfo).hash == block
        assert len(assert_type(await client.getblockheader(block, False), str)) == 160
        shown = assert_type(await client.getrawtransaction(mined, 2), Transaction)
        assert shown.fee == Decimal("0.0001")
        waiting = assert_type(await client.getrawmempool(True), dict[str, MempoolEntry])
        assert waiting[node.names["child"]].depends == [node.names["parent"]]
        assert waiting[node.names["child"]].bip125_replaceable

    ask(node, scenario)


def test_a_value_that_chooses_no_shape_is_told(node: Served) -> None:
    async def scenario(client: Client) -> None:
        with pytest.raises(ValueError, match=r"getblock takes one of \[0, 1, 2\], not 7"):
            await client.ask_either({0: str, 1: BlockInfo, 2: FullBlockInfo}, 7, "getblock")

    ask(node, scenario)


def test_an_error_has_its_code(node: Served) -> None:
    async def scenario(client: Client) -> None:
        with pytest.raises(RpcError) as raised:
            await client.getblockhash(10**6)
        assert (raised.value.code, raised.value.message) == (-8, "Block height out of range")
        with pytest.raises(RpcError) as raised:
            await client.sendrawtransaction("00", Decimal("0.5"))
        assert raised.value.code == -22

    ask(node, scenario)


def test_calls_may_be_made_at_the_same_time(node: Served) -> None:
    async def scenario(client: Client) -> None:
        heights = range(60)
        hashes = await asyncio.gather(*[client.getblockhash(height) for height in heights])
        headers = await asyncio.gather(*[client.getblockheader(each) for each in hashes])
        assert [header.height for header in headers] == list(heights)

    ask(node, scenario)


def test_node_that_takes_longer_than_it_may_is_silent(node: Served) -> None:
    async def run() -> None:
        at = endpoint(node.daemon.url, node.daemon.datadir / ".cookie")
        async with Client(at) as client:
            while (await client.getevents(-1, wait=1)).events:
                pass  # some of the chain that was handed in may still be on their way to the log
        async with Client(at, answer_timeout_s=0.3) as client:
            await client.getevents(-1, wait=20)

    with pytest.raises(NodeSilent):
        asyncio.run(run())


def test_an_answer_of_another_shape_is_an_error_in_one_line(node: Served) -> None:
    async def scenario(client: Client) -> None:
        with pytest.raises(NodeError, match="unknown shape") as raised:
            await client.ask(BlockInfo, "getblockchaininfo")
        assert "\n" not in str(raised.value)

    ask(node, scenario)


def test_the_node_describes_itself_to_the_client(node: Served) -> None:
    async def scenario(client: Client) -> None:
        document = await client.discover()
        assert [method["name"] for method in document["methods"]] == list(METHODS)

    ask(node, scenario)


def test_every_answer_of_a_node_fits_its_type(node: Served, tmp_path: Path) -> None:
    # Last of those that share the node, since it ends with `stop`.
    async def scenario(client: Client) -> None:
        with calling(node, tmp_path) as calls:
            for method, params in calls:
                await getattr(client, make_client.NAMES.get(method, method))(*params)

    ask(node, scenario)
    assert node.daemon.wait() == 0


def test_the_client_changes_what_the_node_does(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)

    async def scenario() -> None:
        async with Client(endpoint(daemon.url, tmp_path / ".cookie")) as client:
            address = "rtael1phw35uycnhvfw3avnjr9prmssx0s8vus47rvt2sp0xqshtg8mywzsl55uyz"
            made = await client.generatetoaddress(2, address)
            assert made[-1] == await client.getbestblockhash()
            assert (await client.getaddressbalance([address])).immature == 10 * COIN
            assert await client.stop() == "Tael node stopping"

    with running(daemon):
        asyncio.run(scenario())
        assert daemon.wait() == 0
