"""A small economy for pages to show: hours of blocks, assets, shared locks, and a queue.

Its own network, with real times and a difficulty that follows them. The same seed and the same moment
make the same chain.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from consensus.asset import asset_id
from consensus.block import Block
from consensus.hashes import AssetId, LockHash, to_text
from consensus.locks import lock_hash
from consensus.params import Params, params_from_mapping
from consensus.tx import (
    NATIVE,
    AfterHeight,
    AssetDefinition,
    Coin,
    Issue,
    Key,
    OutPoint,
    Pruned,
    Sha256,
    Threshold,
    Tx,
    TxOut,
    outpoint,
)
from tests.support.chain import Person, ToyChain, blocks_of, coins_made
from tests.support.daemon import Daemon, feed

BLOCKS = 250
RIPE = 112
"""Blocks before the first payment."""
PEOPLE = tuple(Person(number) for number in range(100, 124))
OWNERS = {person.lock: person for person in PEOPLE}
MINERS, ORCHARD, MINT, SHOP = PEOPLE[:4], PEOPLE[4], PEOPLE[5], PEOPLE[6]
PAID = Person(200)
"""Whose address is used once, for a payment that was asked for."""
SECRET = hashlib.sha256(b"the preimage of the showcase").digest()
FEE_PER_INPUT = 900
_MEMOS = (b"", b"", b"", b"rent", b"two loaves and a coffee", "三月房租".encode(), b"invoice 2041")
_SHARED = Threshold(2, tuple(Key(person.pubkey) for person in PEOPLE[7:10]))
_SHARED_OPEN = Threshold(2, (*_SHARED.children[:2], Pruned(PEOPLE[9].lock)))
_SWAP_BRANCHES = (
    Threshold(2, (Key(SHOP.pubkey), Sha256(hashlib.sha256(SECRET).digest()))),
    Threshold(2, (Key(MINT.pubkey), AfterHeight(9_000))),
)
_SWAP = Threshold(1, _SWAP_BRANCHES)
_SWAP_OPEN = Threshold(1, (_SWAP_BRANCHES[0], Pruned(lock_hash(_SWAP_BRANCHES[1]))))


class Showcase(NamedTuple):
    """A chain, what waits on it, and the paths of what is worth seeing."""

    entries: dict[str, object]
    """Of the network's file."""
    blocks: Sequence[Block]
    waiting: Sequence[Tx]
    paths: dict[str, str]

    def network(self, folder: Path) -> str:
        """Write the network's file; its path, as --network takes it."""
        path = folder / "showcase.toml"
        lines = [
            f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in self.entries.items()
        ]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def play(self, daemon: Daemon) -> None:
        """Give a node all of it."""
        feed(daemon, self.blocks)
        for tx in self.waiting:
            daemon.call("sendrawtransaction", tx.raw.hex())


class _Story:
    def __init__(self, params: Params, rng: random.Random) -> None:
        self.toy = ToyChain(params)
        self.rng = rng
        self.time = params.genesis_time

    def block(self, txs: Sequence[Tx] = ()) -> None:
        # Miners join: blocks come slowly at first, then faster than wanted.
        mean = 34 - 19 * self.toy.tip.height / BLOCKS
        self.time += 1 + min(150, round(self.rng.expovariate(1 / mean)))
        self.toy.mine(txs, self.rng.choice(MINERS).lock, self.time)

    def ready(self, least: int = 1_000_000) -> list[OutPoint]:
        """Coins that one key of somebody here can spend in the next block."""
        height = self.toy.tip.height + 1
        return [
            spent
            for spent, coin in self.toy.coins.items()
            if coin.lock in OWNERS and coin.asset == NATIVE and coin.amount >= least
            and not (coin.delayed and height - coin.height < 100)
        ]  # fmt: skip

    def payment(self, spent: OutPoint, coin: Coin, fee: int) -> Tx:
        """From whom the coin belongs to, to somebody, with change."""
        rng = self.rng
        amount = max(2, (coin.amount - fee) * rng.randint(5, 60) // 100)
        if amount > 100_000:
            amount -= amount % 10_000
        outputs = [
            TxOut(NATIVE, amount, rng.choice(PEOPLE).lock, rng.choice(_MEMOS)),
            TxOut(NATIVE, coin.amount - fee - amount, coin.lock),
        ]
        return self.toy.spend([spent], outputs, PEOPLE, extra_coins={spent: coin})

    def payments(self, count: int) -> list[Tx]:
        chosen = self.rng.sample(self.ready(), min(count, len(self.ready())))
        return [self.payment(each, self.toy.coins[each], FEE_PER_INPUT) for each in chosen]

    def hand_over(self, outputs: Sequence[TxOut], issue: AssetDefinition | None = None,
                  amount: int = 0, owner: LockHash | None = None) -> Tx:  # fmt: skip
        """Native `outputs` out of one large coin, perhaps with a new asset."""
        need = sum(output.amount for output in outputs) + FEE_PER_INPUT
        spent = max(self.ready(need), key=lambda each: self.toy.coins[each].amount)
        coin = self.toy.coins[spent]
        made = list(outputs)
        issuances = []
        if issue is not None and owner is not None:
            made.append(TxOut(asset_id(spent, issue), amount, owner))
            issuances.append(Issue(0, issue, amount))
        made.append(TxOut(NATIVE, coin.amount - need, coin.lock))
        return self.toy.spend([spent], made, PEOPLE, issuances)


def _spread(story: _Story) -> Tx:
    """One coin of a miner becomes many small ones."""
    spent = story.ready()[0]
    coin = story.toy.coins[spent]
    part = (coin.amount - 20_000) // 30
    outputs = [TxOut(NATIVE, part, story.rng.choice(PEOPLE).lock) for _ in range(30)]
    return story.toy.spend([spent], outputs, PEOPLE)


def _open_locks(story: _Story, funding: Tx, share: Tx, asset: AssetId) -> Tx:
    """Spend from a lock of three, from a swap, and pass an asset on, all in one."""
    coins = coins_made(funding, story.toy.tip.height)
    coins |= coins_made(share, story.toy.tip.height)
    inputs = [outpoint(funding.txid, 0), outpoint(funding.txid, 1)]
    inputs.append(next(each for each, coin in coins.items() if coin.asset == asset))
    outputs = [
        TxOut(NATIVE, 119_900_000, SHOP.lock, b"deposit back, thank you"),
        TxOut(asset, 25, SHOP.lock, "股份".encode()),
        TxOut(asset, 975, ORCHARD.lock),
        TxOut(NATIVE, 30_095_000, PAID.lock),
    ]
    return story.toy.spend(
        inputs, outputs, PEOPLE,
        locks=[_SHARED_OPEN, _SWAP_OPEN, Key(ORCHARD.pubkey)],
        preimages={hashlib.sha256(SECRET).digest(): SECRET}, expiry=story.toy.tip.height + 2_880,
    )  # fmt: skip


def _queue(story: _Story) -> list[Tx]:
    """Payments at many fee rates, one of which builds on another."""
    rng = story.rng
    chosen = rng.sample(story.ready(2_000_000), 26)
    rates = [
        1.2,
        1.2,
        1.5,
        2,
        2,
        2,
        2.5,
        3,
        3,
        4,
        4,
        5,
        6,
        6,
        8,
        9,
        10,
        12,
        15,
        15,
        18,
        22,
        30,
        41,
        60,
        75,
    ]
    txs = [
        story.payment(each, story.toy.coins[each], round(380 * rate))
        for each, rate in zip(chosen, rates, strict=True)
    ]
    made = coins_made(txs[-1], story.toy.tip.height + 1)
    child = next(
        each for each, coin in made.items() if coin.lock in OWNERS and coin.amount > 50_000
    )
    return [*txs, story.payment(child, made[child], 8_000)]


def tell(now: int, seed: int = 7) -> Showcase:
    """The chain, whose last block is a few seconds older than `now` (seconds since 1970)."""
    # Twice, since how long it takes says when it has to begin.
    begin = now - 4 * 3_600
    return _tell(now - 9 - (_tell(begin, seed).blocks[-1].header.time - begin), seed)


def _tell(genesis_time: int, seed: int) -> Showcase:
    entries: dict[str, object] = {
        "name": "showcase", "hrp": "stael", "ticker": "TAEL", "genesis_time": genesis_time,
        "half_life_blocks": 24, "spacing_s": 1, "pow_limit_bits": 0x207FFFFF,
    }  # fmt: skip
    params = params_from_mapping(entries)
    story = _Story(params, random.Random(seed))
    for _ in range(RIPE):
        story.block()
    story.block([_spread(story)])
    gold = AssetDefinition(b"GOLD", b"Gold in grams, vault 3", 3, bytes(range(32)), False)
    shares = AssetDefinition(b"SHARE", "Shares of the orchard 果园".encode(), 0, b"", False)
    story.block([story.hand_over([], gold, 250_000_000, MINT.lock)])
    while story.toy.tip.height < BLOCKS - 5:
        height = story.toy.tip.height
        story.block(story.payments(story.rng.choice((0, 1, 2, 3, 5, 8, 11)) if height % 7 else 14))
    funding = story.hand_over(
        [
            TxOut(NATIVE, 120_000_000, lock_hash(_SHARED)),
            TxOut(NATIVE, 30_000_000, lock_hash(_SWAP)),
        ]
    )
    story.block([funding])
    share = story.hand_over([], shares, 1_000, ORCHARD.lock)
    story.block([share, *story.payments(3)])
    asset = next(out.asset for out in share.body.outputs if out.asset)
    opened = _open_locks(story, funding, share, asset)
    story.block([opened, *story.payments(5)])
    rich = story.toy.tip
    while story.toy.tip.height < BLOCKS:
        story.block(story.payments(6))
    paths = {
        "overview": "/",
        "blocks": "/blocks",
        "block": f"/block/{to_text(rich.hash)}",
        "transaction": f"/tx/{to_text(opened.txid)}",
        "address": f"/address/{SHOP.address(params)}",
        "payment": (
            f"/pay?address={PAID.address(params)}&amount=0.30095&label=Orchard+shop"
            "&message=Deposit+for+order+2041"
        ),
        "assets": "/assets",
        "asset": f"/asset/{to_text(asset)}",
        "mempool": "/mempool",
        "peers": "/peers",
        "search": "/search?q=o",
    }
    return Showcase(entries, blocks_of(story.toy), _queue(story), paths)
