"""What has to hold after every block, and after every start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from consensus.connect import delta_of
from consensus.errors import StorageError
from consensus.hashes import AssetId, LockHash
from consensus.header_tree import HeaderNode
from consensus.tx import OutPoint, Tx, outpoint
from node.events import BlockConnected, BlockDisconnected, BlockInvalid, BlockStored, TipChanged
from node.ledger import RETURNING_PER_TURN, Ledger
from node.rpc import ports
from node.staging import Staging
from p2p.hub import Hub
from scripts.simulate.bounds import Suspicions, broken_bounds
from scripts.simulate.client import ASKED, Client
from scripts.simulate.forgery import low_work
from scripts.simulate.host import Host
from scripts.simulate.model import Model, State
from tests.support.economy import LOCKS

TASKS_MAX = 400
"""Tasks of one node at a time: a few for each of its peers."""
PAGE = 50
RECOUNTED_AFTER = 0.5
"""How often all coins are counted again after a reorganisation."""
BOUNDS_LOOKED_AT = 0.2
"""How often what is kept for peers is counted, when a node is looked at."""
REWOUND_MAX = 8
"""Blocks that are taken off at most, to see whether that gives what was before."""
LOOKS = 2
ENDING_LOOKS = 300
"""What a slow disk may take to let a process end: half a virtual minute."""
LOOKED_UP = 10
"""Coins of any time that are looked up after each block."""


class Broken(AssertionError):
    """Something that must hold does not."""


class Checker:
    """Looks at one node over all its lives."""

    def __init__(
        self, host: Host, model: Model, blocks: dict[bytes, bytes],
        report: Callable[[Host, str], None], tell: Callable[[Host, str, str], None],
    ) -> None:  # fmt: skip
        """`blocks` are the bytes of every block ever made; `report` hears of what does not hold."""
        self._host = host
        self._model = model
        self._blocks = blocks
        self._report = report
        self._tell = tell
        self._off = 0
        self._tip: HeaderNode | None = None
        self._seen: list[tuple[OutPoint, LockHash]] = []
        """Coins that blocks made which this node connected."""
        self._returning: list[Tx] = []
        """Payments of blocks that were taken off."""
        self.counts: Counter[str] = Counter()

    def watch(self, api: ports.Node) -> None:
        """Listen to a process that has just come up."""
        self._tip = api.ledger.tip
        self._off = 0
        self._returning = []
        bus = api.ledger.bus
        bus.subscribe(BlockConnected, self._on_connected)
        bus.subscribe(BlockDisconnected, self._on_disconnected)
        bus.subscribe(BlockInvalid, self._on_invalid)
        bus.subscribe(
            BlockStored, lambda event: self._host.spawn(partial(self._check_best, api.ledger))
        )
        bus.subscribe(TipChanged, lambda event: self._on_tip(event, api.ledger))

    def _on_connected(self, event: BlockConnected) -> None:
        self._blocks.setdefault(event.node.hash, event.block.raw)
        for tx in event.block.txs:
            for index, output in enumerate(tx.body.outputs):
                self._seen.append((outpoint(tx.txid, index), output.lock))
        broken = self.judge(event.node)
        if broken:
            self._report(self._host, f"connected a block that breaks {broken}")

    def judge(self, node: HeaderNode) -> str:
        """What the second implementation says of a block and all before it."""
        unknown = []
        at: HeaderNode | None = node
        while at is not None and at.height and not self._model.knows(at.hash):
            unknown.append(at)
            at = at.parent
        for member in reversed(unknown):
            broken = self._model.judge(member.hash, self._blocks[member.hash])
            if broken:
                return broken
        return self._model.judge(node.hash, self._blocks.get(node.hash, b""))

    def _on_disconnected(self, event: BlockDisconnected) -> None:
        self._off += 1
        self._returning += event.block.txs[1:]
        if any(tx.body.issuances for tx in event.block.txs):
            self.counts["issuance undone"] += 1

    def _on_invalid(self, event: BlockInvalid) -> None:
        self.counts["invalid block"] += 1
        raw = self._blocks.get(event.node.hash)
        if raw is None or any(n.hash not in self._blocks for n in _ancestors(event.node)):
            return  # of a stranger who never showed all of it
        if not self.judge(event.node):
            self._report(self._host, f"refused a valid block: {event.violation}")

    def _on_tip(self, event: TipChanged, ledger: Ledger) -> None:
        if self._tip is not None and event.tip.work <= self._tip.work:
            self._report(self._host, "its tip moved and gained no work")
        self._tip = event.tip
        if self._off:
            self.counts["reorganisation"] += 1
            self._host.spawn(partial(self.rewind, ledger))
            if self._host.rng.random() < RECOUNTED_AFTER:
                self._host.spawn(partial(self.recount, ledger))
            self._tell(self._host, "reorganised", f"{self._off} blocks off")
            self.counts["reorganisation of 2 or more"] += self._off >= 2
            if self._host.network.is_parted:
                self.counts["reorganisation in a partition"] += 1
        self._off = 0
        self._tell(self._host, "tip", f"{event.tip.height} {event.tip.hash[::-1].hex()}")
        try:
            self.check_rows(ledger)
        except StorageError as error:
            self._host.give_up(error)

    def check_rows(self, ledger: Ledger) -> None:
        """Supplies, and coins, balance and history of one lock, against the model."""
        if not self._model.knows(ledger.tip.hash):
            return
        state = self._model.state(ledger.tip.hash)
        for asset, supply in state.supplies.items():
            found = ledger.supply(AssetId(asset))
            if found != supply:
                self._report(self._host, f"supply of {asset.hex()[:8]} is {found}, not {supply}")
        lock = self._host.rng.choice(LOCKS)
        self._check_lock(ledger, lock, state)
        self._check_assets(ledger, state)
        self._check_coins(ledger, state)
        self._check_mempool(ledger)
        if len(ledger.mempool) and ledger.mempool.size_bytes > ledger.mempool.policy.size_bytes_max:
            self._report(self._host, "the mempool is larger than it may be")
        if self._host.tasks > TASKS_MAX:
            self._report(self._host, f"{self._host.tasks} tasks")

    def _check_lock(self, ledger: Ledger, lock: LockHash, state: State) -> None:
        wanted = {OutPoint(o): c for o, c in state.coins.items() if c[2] == lock}
        found = {}
        after = b""
        while page := ledger.coins_of(lock, after, PAGE):
            found.update(dict(page))
            after = page[-1][0]
        if found.keys() != wanted.keys():
            self._report(self._host, f"coins of a lock differ: {len(found)}, not {len(wanted)}")
        sums: Counter[bytes] = Counter()
        for coin in wanted.values():
            sums[coin[0]] += coin[1]
        balances = {bytes(a): b.balance for a, b in ledger.balances(lock).items() if b.balance}
        if balances != dict(sums):
            self._report(self._host, "the balance of a lock is not the sum of its coins")
        self._check_history(ledger, lock, sums)

    def _check_history(self, ledger: Ledger, lock: LockHash, balance: Counter[bytes]) -> None:
        sums: Counter[bytes] = Counter()
        after = b""
        while page := ledger.history(lock, after, PAGE):
            for entry in page:
                sums[entry.asset] += entry.received - entry.spent
                if not ledger.is_confirmed(entry.txid):
                    self._report(self._host, "a history names a transaction that is not confirmed")
            after = page[-1].cursor
        if +sums != balance:
            self._report(self._host, "the history of a lock does not add up to its balance")

    def _check_assets(self, ledger: Ledger, state: State) -> None:
        found: set[bytes] = set()
        after = AssetId(b"")
        while page := ledger.assets(after, PAGE):
            found |= {asset for asset, _ in page}
            after = page[-1][0]
        if found != {asset for asset in state.supplies if asset}:
            self._report(self._host, "an asset is missing, or one that nobody issued is there")

    def _check_coins(self, ledger: Ledger, state: State) -> None:
        """Coins of any time, looked up as the rules do: those that are there and no others."""
        for place, lock in self._host.rng.sample(self._seen, min(LOOKED_UP, len(self._seen))):
            coin, wanted = ledger.coin(place, lock), state.coins.get(place)
            if (coin is None) != (wanted is None):
                what = "missing" if coin is None else "there though it was spent"
                self._report(self._host, f"a coin is {what}")

    def _check_mempool(self, ledger: Ledger) -> None:
        """What waits can all be mined, and what blocks that were taken off held waits again."""
        waiting = {entry.tx.txid: entry.tx.raw for entry in ledger.mempool.entries()}
        # More than so many come back later, when others have had a turn.
        at_once = self._returning if len(self._returning) <= RETURNING_PER_TURN else []
        lost = [tx for tx in at_once if tx.txid not in waiting]
        self._returning = []
        broken, minable = self._model.judge_waiting(
            ledger.tip.hash, tuple(waiting.values()), [tx.raw for tx in lost]
        )
        if broken:
            self._report(self._host, f"a payment waits that breaks {broken}")
        if minable:
            self._report(self._host, "a payment of a block that was taken off does not wait")

    async def _check_best(self, ledger: Ledger) -> None:
        """Look twice: a block may come while this wakes up. A process whose disk failed, or holds
        what was not written, has to end soon, and this with it; or it goes on, and has the best block.
        """
        looked = 0
        while looked < (ENDING_LOOKS if self._host.may_end else LOOKS):
            await self._host.pause()
            await ledger.chain.settled()
            if all(node.work <= ledger.tip.work for node in ledger.tree if node.linked):
                return
            looked += 1
        self._report(self._host, "stays at a block though another has more work")

    def rewind(self, ledger: Ledger) -> None:
        """Take some blocks off, as a reorganisation would, and put them on again; nobody sees it."""
        tip = ledger.tip
        depth = min(self._host.rng.randint(1, REWOUND_MAX), tip.height)
        if not self._model.knows(tip.hash):
            return
        chain = ledger.chain
        staging, node, taken = chain.store.stage(), tip, []
        try:
            for _ in range(depth):
                _at_once(chain._connector.detach(node, staging))
                taken.append(node)
                assert node.parent is not None
                node = node.parent
            self._check_staged(staging, tip, node)
            for member in reversed(taken):
                undo = ledger.read_undo(member)
                assert undo is not None
                delta = delta_of(chain.archive.read(member), member.height, undo)
                staging.apply(delta, member.height, 1)
            self._check_staged(staging, tip, tip)
        except StorageError as error:
            self._host.give_up(error)
        self.counts["rewind"] += 1

    def _check_staged(self, staging: Staging, tip: HeaderNode, at: HeaderNode) -> None:
        """What is staged on the tip has to be the ledger behind the block `at`."""
        wanted, layer = self._model.state(at.hash), staging.layer
        coins = {place: tuple(coin) for place, coin in self._model.state(tip.hash).coins.items()}
        for place in layer.spent.keys() - layer.created.keys():
            coins.pop(place, None)
        coins.update((place, msgspec.structs.astuple(c)) for place, c in layer.created.items())
        if coins != {place: tuple(coin) for place, coin in wanted.coins.items()}:
            self._report(self._host, f"{tip.height - at.height} blocks undone leave other coins")
        for asset, supply in wanted.supplies.items():
            if staging.supply(AssetId(asset)) != supply:
                self._report(self._host, "blocks undone leave another supply")

    async def ask(self, api: ports.Node) -> None:
        """Look at the node as a client does."""
        host = self._host
        client = Client(
            host.dispatcher, self._model, self._blocks, host.rng, partial(self._report, host)
        )
        seen = host.rng.sample(self._seen, min(ASKED, len(self._seen)))
        if await client.look([place for place, _ in seen], host.is_damaged):
            self.counts["asked by a client"] += 1

    def check_network(self, hub: Hub, ledger: Ledger, suspicions: Suspicions) -> None:
        """Limits of what is kept for peers, and what is held against good ones."""
        for what in suspicions.held(hub):
            self._report(self._host, what)
        if self._host.rng.random() < BOUNDS_LOOKED_AT:
            for what in broken_bounds(hub):
                self._report(self._host, what)
        # Whoever has fewer blocks itself may believe in a chain of little work.
        if not self._host.began_anew and ledger.tree.get(low_work(ledger.params)[0].hash):
            self._report(self._host, "keeps headers of a chain of little work")

    async def recount(self, ledger: Ledger) -> None:
        """The whole coin set against the model."""
        try:
            found = await ledger.coin_set()
        except StorageError as error:
            self._host.give_up(error)
            return
        self.counts["recount"] += 1
        if not self._model.knows(found.block_hash):
            node = ledger.tree.get(found.block_hash)
            assert node is not None
            if self.judge(node):
                self._report(self._host, "stands at a block that breaks a rule")
                return
        if found.digest != self._model.digest(found.block_hash):
            self._report(self._host, f"the coin set at block {found.height} is wrong")
        state = self._model.state(found.block_hash)
        sums: Counter[bytes] = Counter()
        for coin in state.coins.values():
            sums[coin[0]] += coin[1]
        if +sums != +Counter(dict(state.supplies)):
            self._report(self._host, "supply is not issued minus destroyed")
        if +Counter({bytes(a): s for a, s in found.supply.items()}) != +sums:
            self._report(self._host, "the coins do not add up to the supply")


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, which gives others a turn now and then, without doing so: the chain could move."""
    with suppress(StopIteration):
        while True:
            work.send(None)


def _ancestors(node: HeaderNode) -> list[HeaderNode]:
    found = []
    while node.parent is not None and node.height:
        found.append(node)
        node = node.parent
    return found
