"""A client of one node: asks by JSON-RPC, and compares what it is told with the model."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from node.rpc import json
from node.rpc.dispatch import Dispatcher
from node.rpc.errors import Code
from node.rpc.method import Role
from scripts.simulate.model import Model, State
from tests.support import second, second_rules
from tests.support.economy import LOCKS

COIN = 100_000_000
MATURITY = 100
ASKED = 6
"""Coins that are there, and coins of any time, that are asked for."""
HRP = "sim"


class Answered(Exception):
    """The node answers with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


class Client:
    """Knows no more of a node than its dispatcher, which gets and gives bytes."""

    def __init__(
        self, dispatcher: Dispatcher[Any], model: Model, blocks: Mapping[bytes, bytes],
        rng: random.Random, report: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._dispatcher = dispatcher
        self._model = model
        self._blocks = blocks
        self._rng = rng
        self._report = report

    async def _ask(self, method: str, *params: object) -> Any:
        """Raises: Answered."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        reply = await self._dispatcher.answer(msgspec.json.encode(body), Role.READ)
        answer = json.decode(reply.body)
        assert isinstance(answer, dict)
        if "error" in answer:
            raise Answered(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    def _compare(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            told = f"a client is told that {what} is {found!r:.200}, not {wanted!r:.200}"
            self._report(told)

    async def look(self, seen: Sequence[bytes], is_damaged: bool) -> bool:
        """Ask for a little of everything; `seen` are outpoints of any time.

        Returns whether the answers could be compared. A damaged disk may give an error.
        """
        try:
            return await self._look(seen)
        except Answered as error:
            if error.code == Code.WARMING_UP or (is_damaged and error.code == Code.DATABASE):
                return False
            self._report(f"a client gets the error {error}")
            return False

    async def _look(self, seen: Sequence[bytes]) -> bool:
        best = second_hash(await self._ask("getbestblockhash"))
        if not self._model.knows(best):
            return False
        state = self._model.state(best)
        self._compare("the height", await self._ask("getblockcount"), state.height)
        waiting = await self._check_mempool(best)
        await self._check_coins(state, waiting, seen)
        await self._check_lock(state, best, waiting)
        # All so far were answered without a pause; what follows holds for any tip.
        if state.height:
            await self._check_block(best, self._rng.randint(1, state.height))
        return True

    async def _check_mempool(self, best: bytes) -> list[Any]:
        """What waits, as the second implementation reads it."""
        txids = await self._ask("getrawmempool")
        raws = [bytes.fromhex(await self._ask("getrawtransaction", txid)) for txid in txids]
        read = [second.read_transaction(second.read(raw)) for raw in raws]
        self._compare("what waits", txids, [second.text_form(second.txid_of(tx[0])) for tx in read])
        self._compare("the size", (await self._ask("getmempoolinfo"))["size"], len(txids))
        broken, _ = self._model.judge_waiting(best, raws, ())
        if broken:
            self._report(f"a client is shown a payment that breaks {broken}")
        return read

    async def _check_coins(self, state: State, waiting: list[Any], seen: Sequence[bytes]) -> None:
        made = _made_by(waiting)
        spent = {place for tx in waiting for place in tx[0][1]}
        rng = self._rng
        places = [*seen, *rng.sample(sorted(made), min(ASKED, len(made)))]
        places += rng.sample(sorted(state.coins), min(ASKED, len(state.coins)))
        for place in places:
            txid, index = second.text_form(place[:32]), int.from_bytes(place[32:], "big")
            coin = state.coins.get(place)
            depth = state.height - coin[3] + 1 if coin is not None else 0
            told = await self._ask("gettxout", txid, index, False)
            self._compare("a coin", _coin_told(told), coin and _coin_wanted(coin, depth))
            coin = None if place in spent else coin or made.get(place)
            told = await self._ask("gettxout", txid, index)
            self._compare("a coin or none", _coin_told(told), coin and _coin_wanted(coin, depth))

    async def _check_lock(self, state: State, best: bytes, waiting: list[Any]) -> None:
        lock = self._rng.choice(LOCKS)
        address = second.address_of(HRP, lock)
        told = await self._ask("getaddressbalance", {"addresses": [address]})
        coins = [coin for coin in state.coins.values() if coin[2] == lock]
        sums: defaultdict[bytes, int] = defaultdict(int)
        for coin in coins:
            sums[coin[0]] += coin[1]
        young = [coin for coin in coins if coin[4] and state.height + 1 - coin[3] < MATURITY]
        self._compare("the block of a balance", told["bestblock"], second.text_form(best))
        self._compare("a balance", told["balance"], sums[b""])
        immature = sum(coin[1] for coin in young if not coin[0])
        self._compare("an immature balance", told["immature"], immature)
        balances = {second_hash(row["asset"]): row["balance"] for row in told["assets"]}
        wanted = {asset: amount for asset, amount in sums.items() if asset and amount}
        found = {asset: amount for asset, amount in balances.items() if amount}
        self._compare("what a lock has of assets", found, wanted)
        known = {**_made_by(waiting), **state.coins}
        gone = [known[place] for tx in waiting for place in tx[0][1] if known[place][2] == lock]
        come = [out for tx in waiting for out in tx[0][2] if out[2] == lock]
        change = sum(out[1] for out in come if not out[0]) - sum(c[1] for c in gone if not c[0])
        self._compare("what waits of a balance", told["unconfirmed"], change)

    async def _check_block(self, best: bytes, height: int) -> None:
        """Some block: its bytes, its transactions, and the coins that they spend."""
        block = self._model.ancestor(best, height)
        text, raw = second.text_form(block), self._blocks[block]
        self._compare("the bytes of a block", await self._ask("getblock", text, 0), raw.hex())
        told = await self._ask("getblock", text)
        transactions = second.read(raw)[1]
        txids = [second.text_form(second.txid_of(tx[0])) for tx in transactions]
        self._compare("the payments of a block", told["tx"], txids)
        self._compare("the height of a block", told["height"], height)
        before = second.header_fields(raw[3:83])[0]
        self._compare("the block before", told["previousblockhash"], second.text_form(before))
        told = await self._ask("getblock", text, 2)
        known = {**_made_by(transactions), **self._model.state(before).coins}
        for shown, tx in zip(told["tx"], transactions, strict=True):
            coins = [known[place] for place in tx[0][1]]
            found = [_worth_told(spent["prevout"]) for spent in shown["vin"] if "prevout" in spent]
            self._compare("what a block spends", found, [(c[0], c[1], c[2].hex()) for c in coins])


def second_hash(text: str) -> bytes:
    """A hash of its text, which is reversed."""
    return bytes.fromhex(text)[::-1]


def _made_by(transactions: Sequence[Any]) -> dict[bytes, list[Any]]:
    """Outputs of payments by their outpoints, of which the height and whether they mature is open."""
    made = {}
    for tx in transactions:
        txid = second.txid_of(tx[0])
        for index, (asset, amount, lock, *_) in enumerate(tx[0][2]):
            if lock != second_rules.BURN:
                made[txid + index.to_bytes(4, "big")] = [asset, amount, lock, 0, None]
    return made


def _worth_told(told: Mapping[str, Any]) -> tuple[bytes, int, str]:
    """Asset, amount and lock of an answer."""
    lock = told["scriptPubKey"]["hex"].removeprefix("5120")
    if "asset" in told:
        return second_hash(told["asset"]), told["assetamount"], lock
    return b"", int(Decimal(told["value"]) * COIN), lock


def _coin_told(told: Mapping[str, Any] | None) -> object:
    if told is None:
        return None
    matures = told["coinbase"] if told["confirmations"] else None
    return _worth_told(told), told["confirmations"], matures


def _coin_wanted(coin: Sequence[Any], depth: int) -> object:
    return (coin[0], coin[1], coin[2].hex()), depth, coin[4]
