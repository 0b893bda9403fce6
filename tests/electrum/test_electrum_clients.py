"""A client library of others, unchanged: aiorpcX, by which Electrum wallets and ElectrumX speak."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiorpcx

from consensus.hashes import to_text
from tests.support.chain import ALICE, BOB
from tests.support.daemon import Daemon, feed, running
from tests.support.economy import blocks_of, ripe_chain
from tests.support.electrum import electrum_port, scripthash_of_lock, status_of

LIMIT_S = 20


def test_aiorpcx_asks_batches_and_hears_of_a_payment(tmp_path: Path) -> None:
    toy = ripe_chain()
    tx = toy.pay(ALICE, BOB, 70_000)
    hashed, txid = scripthash_of_lock(BOB.lock), to_text(tx.txid)
    daemon = Daemon(tmp_path, "--electrum", "127.0.0.1:0")

    async def talk() -> None:
        port = electrum_port(daemon)
        news: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

        async def hear(request: Any) -> None:
            await news.put((request.method, request.args))

        async with aiorpcx.connect_rs("127.0.0.1", port) as session:
            session.handle_request = hear
            ask = session.send_request
            assert await ask("server.version", ["aiorpcX", ["1.4", "1.4.2"]])
            tip = await ask("blockchain.headers.subscribe")
            assert tip["height"] == toy.tip.height
            assert await ask("blockchain.scripthash.subscribe", [hashed]) is None
            assert await ask("blockchain.transaction.broadcast", [tx.raw.hex()]) == txid
            wanted = status_of([{"tx_hash": txid, "height": 0}])
            assert await news.get() == ("blockchain.scripthash.subscribe", [hashed, wanted])
            async with session.send_batch() as batch:
                batch.add_request("blockchain.scripthash.get_balance", [hashed])
                batch.add_request("blockchain.scripthash.get_history", [hashed])
                batch.add_request("blockchain.nothing")
            balance, history, error = batch.results
            assert balance == {"confirmed": 0, "unconfirmed": 70_000}
            assert history == [{"tx_hash": txid, "height": 0, "fee": 10_000}]
            assert isinstance(error, aiorpcx.RPCError)
            toy.mine([tx])
            await asyncio.to_thread(feed, daemon, blocks_of(toy)[-1:])
            wanted = status_of([{"tx_hash": txid, "height": toy.tip.height}])
            heard = [await news.get(), await news.get()]
            assert ("blockchain.scripthash.subscribe", [hashed, wanted]) in heard

    with running(daemon):
        feed(daemon, blocks_of(toy))
        asyncio.run(asyncio.wait_for(talk(), LIMIT_S))
