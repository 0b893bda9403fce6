"""Peers that keep no rules: what they say, to whom, and how they come back when they are cut off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence

from consensus.block import Block, Header, decode_header
from consensus.hashes import BlockHash, Wtxid, hash_wtxid
from consensus.header_tree import HeaderNode
from p2p.compact import make_compact
from p2p.messages import (
    ANNOUNCE_MAX,
    INV_MAX,
    Addr,
    Announce,
    Compact,
    GetAddr,
    GetBlocks,
    GetHeaders,
    GetTxs,
    Headers,
    Inv,
    Message,
    NotFound,
    Ping,
    encode_message,
)
from p2p.peer import Reason
from scripts.simulate import plan
from scripts.simulate.caller import STAY_S, Caller, Line, Street
from scripts.simulate.forgery import Bench, NoCoins, low_work, mutated
from scripts.simulate.host import P2P_PORT, Host
from scripts.simulate.plan import Habit
from tests.support.block_attacks import forged

CROWD = 121
"""Connections of a crowd: a few more than a node has places."""
CROWD_EVERY_S = 0.08
CROWD_STAY_S = 60.0
LISTENS = 0.05
FLOOD = 120
FLOOD_INVS = 8
"""Announcements of as many payments that are not there as fit: more than a node keeps in mind."""
STRAYS = 110
"""More orphans than a node keeps."""
SLOW_REQUESTS = 60
GREEDY = 0.2
"""How often one that reads nothing asks for all that it may, until it is cut off."""
GREEDY_BURST = 280
GREEDY_REQUESTS = 2_400
GREEDY_EVERY_S = 0.022
WITHHELD_MAX = 3
RELAYED_S = 3.0
"""Until then a payment was asked for and came."""
REWRITTEN = (12, 30)
"""Blocks that a branch replaces with fewer ones."""


class NoNode(Exception):
    """The node is not up."""


class Stranger(Caller):
    """One of them. It knows what every node knows."""

    def __init__(
        self, number: int, manner: plan.Stranger, street: Street, rng: random.Random
    ) -> None:  # fmt: skip
        super().__init__(number, street, rng)
        self._manner = manner
        self._was_crowd = False

    def start(self) -> None:
        super().start()
        self._spawn(self._live())

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / self._manner.pause_s))
            habit = self._rng.choice(self._manner.habits)
            host = self._rng.choice(self._street.hosts)
            self._street.counts[f"stranger: {habit}"] += 1
            try:
                await self._do(habit, host)
            except (OSError, NoNode, NoCoins) as error:
                self._street.counts[f"stranger: {type(error).__name__}"] += 1

    async def _do(self, habit: Habit, host: Host) -> None:
        match habit:
            case Habit.JUNK:
                await self._junk(host)
            case Habit.FLOOD:
                await self._flood(host)
            case Habit.SPAM:
                await self._spam(host)
            case Habit.BLOCKS:
                if self._rng.random() < 0.15:
                    await self._belie(host)
                else:
                    await self._show([host], self._bad_branch(host))
            case Habit.MUTATE:
                await self._mutate()
            case Habit.WITHHOLD:
                await self._withhold(host)
            case Habit.REWRITE:
                await self._rewrite(host)
            case Habit.COMPACT:
                await self._compact(host)
            case Habit.PAYMENTS:
                await self._pay(host, [self._bench(host).bad_payment()])
            case Habit.ORPHANS:
                await self._orphans(host)
            case Habit.DOUBLE:
                await self._double()
            case Habit.CROWD:
                await self._crowd(host)
            case Habit.SLOW:
                self._spawn(self._read_slowly(host))

    # What it makes

    def _bench(self, host: Host) -> Bench:
        """Raises: NoNode, NoCoins."""
        api, model = host.api, self._street.model
        if api is None or host.is_recovering or not model.knows(api.ledger.tip.hash):
            raise NoNode
        tip = api.ledger.tip
        return Bench(api.ledger, tip, model.state(tip.hash), self._rng)

    def _fork(self, host: Host) -> tuple[Header, Bench]:
        """A good block beside the tip of a node or the block before, and where to build on it.

        Raises: NoNode, NoCoins.
        """
        bench, api, model = self._bench(host), host.api, self._street.model
        assert api is not None
        parent = bench.chain.tip.parent
        assert parent is not None
        if self._rng.random() < 0.5:
            parent = parent.parent or parent
        block = bench.chain_of(1, parent, 0)[0]
        self._register(block, block.raw)
        broken = model.judge(block.header.hash, block.raw)
        assert not broken, broken
        tip = HeaderNode(block.header, parent)
        return block.header, Bench(api.ledger, tip, model.state(block.header.hash), self._rng)

    def _register(self, block: Block, raw: bytes) -> None:
        """From now on it can be asked for, and judged."""
        street, block_hash = self._street, block.header.hash
        self._bodies[block_hash] = block
        self._blocks[block_hash] = raw
        street.blocks.setdefault(block_hash, block.raw)

    def _bad_blocks(self, bench: Bench) -> list[Header]:
        """A block that breaks a rule, and now and then a good one on it."""
        raw = bench.bad_block()
        header = decode_header(raw[3:83])
        block_hash, street = header.hash, self._street
        self._blocks[block_hash] = raw
        street.blocks.setdefault(block_hash, raw)
        broken = street.model.judge(block_hash, raw)
        street.counts["invalid block made"] += bool(broken)
        street.tell(self.name, "made", f"{block_hash[::-1].hex()[:16]} {broken}")
        found = [header]
        if self._rng.random() < 0.3:
            parent = HeaderNode(header, bench.chain.tip)
            for child in bench.chain_of(1, parent, 0):
                self._register(child, child.raw)
                found.append(child.header)
        return found

    def _bad_branch(self, host: Host) -> list[Header]:
        """Blocks for one node, one of them bad. Raises: NoNode, NoCoins."""
        chance = self._rng.random()
        if chance < 0.2 and (found := self._hurried(host)):
            return found
        if chance < 0.5:  # a reorganisation that fails midway
            header, bench = self._fork(host)
            return [header, *self._bad_blocks(bench)]
        return self._bad_blocks(self._bench(host))

    def _hurried(self, host: Host) -> list[Header]:
        """A payment that waits, in a block in which it may not be yet, and a good block on that.

        Nothing if none waits that is too early. Raises: NoNode, NoCoins.
        """
        bench, api, model = self._bench(host), host.api, self._street.model
        parent = bench.chain.tip.parent
        assert api is not None
        assert parent is not None
        early = [
            checked.tx
            for checked in api.ledger.waiting_txs()
            if model.judge_waiting(parent.hash, [checked.tx.raw], ())[0] not in ("", "coin-missing")
        ]
        if not early:
            return []
        self._street.counts["payment too early in a block"] += 1
        payment = self._rng.choice(early)
        block = bench.chain.template([payment], parent=parent, time=int(self._street.now()))
        (child,) = bench.chain_of(1, HeaderNode(block.header, parent), 0)
        for made in (block, child):
            self._register(made, made.raw)
        return [block.header, child.header]

    # What it does

    async def _show(self, hosts: Iterable[Host], headers: Sequence[Header]) -> None:
        """Announce blocks; who asks for them gets them."""
        for host in hosts:
            line = await self._meet(host)
            await line.send(Announce(tuple(h.raw for h in headers[:ANNOUNCE_MAX])))

    async def _belie(self, host: Host) -> None:
        """A payment that the node knows and believes, in a block with another signature."""
        payment = self._bench(host).payment()
        await self._pay(host, [payment.raw])
        await asyncio.sleep(RELAYED_S)
        block = self._bench(host).chain.template([forged(payment)])
        self._register(block, block.raw)
        await self._show([host], [block.header])

    async def _junk(self, host: Host) -> None:
        kind = self._rng.randrange(6)
        if kind == 0:  # before hello
            wire = await self._dial(host)
            await wire.send(self._rng.choice((b"", b"\x91", self._rng.randbytes(40))))
            self._spawn(self._serve(Line(wire)))
        elif kind == 1:
            line = Line(await self._dial(host))
            await line.send(self._rng.choice((Ping(1), GetAddr(), Inv(()), NotFound(()))))
            self._spawn(self._serve(line))
        elif kind == 2:  # says nothing
            line = Line(await self._dial(host))
            self._spawn(self._serve(line))
        else:
            line = await self._meet(host)
            frames = (
                self._rng.randbytes(200),
                encode_message(Ping(1)) + b"\0",
                encode_message(self._hello(None)),
            )
            await line.wire.send(frames[kind - 3])

    async def _flood(self, host: Host) -> None:
        line, rng = await self._meet(host), self._rng
        hashes = [Wtxid(rng.randbytes(32)) for _ in range(FLOOD)]
        flood: Message
        match rng.randrange(6):
            case 0:
                flood = Ping(7)
            case 1:
                flood = Addr(self._addresses())
            case 2:
                flood = GetAddr()
            case 3:
                flood = GetTxs(tuple(hashes))
            case 4:
                flood = GetBlocks(tuple(map(BlockHash, hashes[:32])))
            case _:
                for _ in range(FLOOD_INVS):
                    await line.send(Inv(tuple(map(Wtxid, map(rng.randbytes, [32] * INV_MAX)))))
                return
        for _ in range(FLOOD):
            await line.send(flood)

    async def _spam(self, host: Host) -> None:
        """Headers of little work, in answer to whoever believes a boast, or unasked."""
        self._headers = low_work(self._street.params)
        line = await self._meet(host, boast=1 << 60)
        if self._rng.random() < 0.5:
            raws = [header.raw for header in self._headers]
            await line.send(Announce(tuple(raws[:ANNOUNCE_MAX])), Headers(tuple(raws)))

    def _good_block(self, host: Host, txs: int = 2) -> Block:
        bench = self._bench(host)
        payments = bench.family()[:txs]
        block = bench.chain.template(payments, time=int(self._street.now()))
        self._street.counts["block of a stranger"] += 1
        self._register(block, block.raw)
        return block

    async def _mutate(self) -> None:
        """A good block to one node, and others behind its header to the rest."""
        hosts = list(self._street.hosts)
        self._rng.shuffle(hosts)
        block = self._good_block(hosts[0])
        self._street.tell(self.name, "mutates", block.header.hash[::-1].hex()[:16])
        self._blocks[block.header.hash] = mutated(block, self._rng)
        await self._show(hosts[1:], [block.header])
        await asyncio.sleep(self._rng.uniform(0.0, 10.0))
        self._blocks[block.header.hash] = block.raw
        await self._show(hosts[:1], [block.header])

    async def _withhold(self, host: Host) -> None:
        """Announce blocks that never come, or late."""
        bench = self._bench(host)
        back = bench.chain.tip
        for _ in range(self._rng.randrange(3)):
            back = back.parent or back
        count = bench.chain.tip.height - back.height + self._rng.randint(0, WITHHELD_MAX)
        blocks = bench.chain_of(count, back, 0)
        await self._show(
            self._rng.sample(self._street.hosts, 2), [block.header for block in blocks]
        )
        if self._rng.random() < 0.3:
            await asyncio.sleep(self._rng.uniform(5.0, 90.0))
            for block in blocks:
                self._register(block, block.raw)
            await self._show(self._street.hosts, [block.header for block in blocks])

    async def _rewrite(self, host: Host) -> None:
        """Dig deep, and have blocks come so fast that they get difficult."""
        tip = self._bench(host).chain.tip
        back = tip.ancestor(tip.height - self._rng.randint(*REWRITTEN))
        bench, node = self._bench(host), back
        blocks: list[Block] = []
        while node.work <= tip.work:
            blocks += bench.chain_of(1, node, 0)
            node = HeaderNode(blocks[-1].header, node)
        for block in blocks:
            self._register(block, block.raw)
        payment = bench.just_mature(node.height)
        if payment is not None:  # it waits, and then may not be mined for a while
            await self._pay(host, [payment.raw])
            await asyncio.sleep(RELAYED_S)
            self._street.counts["payment that is too early again"] += 1
        self._street.tell(self.name, "rewrites", f"{tip.height - back.height} by {len(blocks)}")
        self._headers = [block.header for block in blocks]
        await self._show(self._street.hosts, self._headers[-1:])

    async def _compact(self, host: Host) -> None:
        line = await self._meet(host)
        block = self._good_block(host)
        self._blocks.pop(block.header.hash)
        message = make_compact(block, self._rng.randbytes(8))
        ids, coinbase = message.ids, message.coinbase
        match self._rng.randrange(4):
            case 0:
                ids = self._rng.randbytes(len(ids))
            case 1:
                ids = ids[:6] * 2
            case 2:
                coinbase = block.txs[1].raw
            case _:
                pass
        await line.send(Compact(message.header, message.salt, coinbase, ids))

    async def _pay(self, host: Host, raws: Sequence[bytes]) -> None:
        line = await self._meet(host)
        wtxids = [Wtxid(hash_wtxid(raw)) for raw in raws]
        self._txs.update(zip(wtxids, raws, strict=True))
        await line.send(Inv(tuple(wtxids[:INV_MAX])))

    async def _orphans(self, host: Host) -> None:
        """Payments that spend what nobody knows, and some that spend what comes later."""
        bench = self._bench(host)
        parent, child = bench.family()
        raws = [child.raw]
        if self._rng.random() < 0.3:
            raws += [bench.stray().raw for _ in range(STRAYS)]
        await self._pay(host, raws)
        if self._rng.random() < 0.5:
            await asyncio.sleep(self._rng.uniform(0.0, 20.0))
            await self._pay(self._rng.choice(self._street.hosts), [parent.raw])

    async def _double(self) -> None:
        hosts = self._rng.sample(self._street.hosts, 2)
        bench = self._bench(hosts[0])
        for host, memo in zip(hosts, (b"1", b"2"), strict=True):
            await self._pay(host, [bench.payment(memo).raw])

    async def _crowd(self, host: Host) -> None:
        if self._was_crowd:
            return
        self._was_crowd = True
        self._street.tell(self.name, "crowd", f"at n{host.number}")
        for number in range(CROWD):
            self._spawn(self._stand(host, self._new_host(10_000 + number)))
            await asyncio.sleep(CROWD_EVERY_S)

    async def _stand(self, host: Host, source: str) -> None:
        """One of a crowd."""
        try:
            line = Line(await self._dial(host, source))
            # Only some listen: a crowd that is dialled in turn takes up all the time there is.
            await line.send(self._hello(None, port=P2P_PORT if self._rng.random() < LISTENS else 0))
        except OSError:
            return
        self._spawn(self._leave_crowd(line))
        await self._serve(line)

    async def _leave_crowd(self, line: Line) -> None:
        await asyncio.sleep(CROWD_STAY_S)
        await line.wire.close(Reason.REQUESTED)

    async def _read_slowly(self, host: Host) -> None:
        """Ask for much and read nothing."""
        try:
            line = Line(await self._dial(host))
            await line.send(self._hello(None))
            request = GetHeaders((self._street.model.chain_id,))
            is_greedy = self._rng.random() < GREEDY
            for number in range(GREEDY_REQUESTS if is_greedy else SLOW_REQUESTS):
                await line.send(request)
                if number > GREEDY_BURST:
                    await asyncio.sleep(GREEDY_EVERY_S)
            await asyncio.sleep(STAY_S[1])
            await line.wire.close(Reason.REQUESTED)
        except OSError:
            return
