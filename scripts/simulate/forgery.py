"""Blocks and transactions that keep no rule, or all of them and are never shown.

They are made on the tip of a node, of coins that the second implementation says are there, so that
all but the rule which is broken holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache

from consensus.block import VERSION, Block, Header, genesis, make_block, make_header
from consensus.header_tree import HeaderNode, earliest_time, expected_bits
from consensus.params import COIN, COINBASE_MATURITY, Params
from consensus.pow import hash_as_number, target_of
from consensus.tx import NATIVE, Coin, Height, OutPoint, Tx, TxOut, outpoint
from node.ledger import Ledger
from scripts.simulate.model import State
from tests.support.attacks import TRANSACTIONS, Stage
from tests.support.block_attacks import BLOCKS, block_with, forged
from tests.support.chain import ALICE, BOB, CAROL, DAVE, ToyChain, solve

FEE = 20_000
LOW_WORK_BLOCKS = 40
"""A third of what every node has: too little to be stored."""
PEOPLE = (ALICE, BOB, CAROL, DAVE)
TX_ATTACKS = (
    "another version", "one coin twice", "an amount of -1", "an amount of 0",
    "an amount of 2**64 - 1", "2**63 - 1 twice", "a sum that wraps round", "an issue of -1",
    "an issue of 2**63", "more paid than issued", "no inputs", "a coinbase by itself", "no outputs",
    "a memo that is too long", "a height that has passed", "the lock of another", "high s",
    "s of 0", "a witness that is missing", "a signature of a sibling",
    "a signature for another chain",
)  # fmt: skip
BLOCK_ATTACKS = tuple(
    name for name, attack in BLOCKS.items() if attack.threat != "18" and name != "no transactions"
)


class NoCoins(Exception):
    """The attacker has nothing to attack with here."""


class _Seen(ToyChain):
    """The chain of a node, as one sees it who wants to build on it."""

    def __init__(self, ledger: Ledger, tip: HeaderNode, state: State, extranonce: int) -> None:
        """All but what a `ToyChain` needs to connect blocks itself."""
        self.params = ledger.params
        self.chain_id = ledger.chain_id
        self.tree = ledger.tree
        self.tip = tip
        self.coins = {OutPoint(place): Coin(*coin) for place, coin in state.coins.items()}
        self._extranonce = extranonce


class Bench(Stage):
    """Where one attack is prepared."""

    def __init__(
        self, ledger: Ledger, tip: HeaderNode, state: State, rng: random.Random
    ) -> None:  # fmt: skip
        """On the block `tip`, behind which the state is `state`. Raises: NoCoins."""
        self.chain = _Seen(ledger, tip, state, rng.getrandbits(32))
        self.original = None
        self._rng = rng
        coins = self.chain.coins
        owned = [*self.chain.coins_of(CAROL), *self.chain.coins_of(DAVE)]
        mine = [spent for spent in owned if coins[spent].amount >= COIN]
        if len(mine) < 2 or all(coins[s].amount < COIN for s in self.chain.coins_of(ALICE)):
            raise NoCoins
        self.coin, self.sibling = rng.sample(mine, 2)

    @property
    def amount(self) -> int:
        """Base units of the coin of the attacker."""
        return self.chain.coins[self.coin].amount

    def payment(self, memo: bytes = b"", fee: int = FEE) -> Tx:
        """A good one."""
        return self.spend(TxOut(NATIVE, self.amount - fee, BOB.lock, memo))

    def family(self) -> tuple[Tx, Tx]:
        """Two payments, of which the second spends what the first makes."""
        chain = self.chain
        parent = self.payment()
        made = {
            outpoint(parent.txid, 0): Coin(
                NATIVE, self.amount - FEE, BOB.lock, Height(chain.tip.height + 1), False
            )
        }
        paid = [TxOut(NATIVE, self.amount - 2 * FEE, CAROL.lock)]
        return parent, chain.spend(list(made), paid, extra_coins=made)

    def just_mature(self, height: int) -> Tx | None:
        """A payment of a coinbase that may be spent behind the tip, and not behind a block at `height`."""
        chain = self.chain
        owners = {person.lock for person in PEOPLE}
        for spent, coin in chain.coins.items():
            first = coin.height + COINBASE_MATURITY
            if coin.delayed and coin.lock in owners and height + 1 < first <= chain.tip.height + 1:
                return chain.spend([spent], [TxOut(NATIVE, coin.amount - FEE, BOB.lock)])
        return None

    def stray(self) -> Tx:
        """A payment of a coin that nobody knows."""
        place = OutPoint(self._rng.randbytes(36))
        coin = Coin(NATIVE, COIN, CAROL.lock, Height(1), False)
        paid = [TxOut(NATIVE, COIN - FEE, BOB.lock)]
        return self.chain.spend([place], paid, extra_coins={place: coin})

    def bad_payment(self) -> bytes:
        """One that breaks a rule."""
        return TRANSACTIONS[self._rng.choice(TX_ATTACKS)].build(self)

    def bad_block(self) -> bytes:
        """One with a proof of work, in most cases, that breaks a rule."""
        chance = self._rng.random()
        if chance < 0.3:
            return BLOCKS[self._rng.choice(BLOCK_ATTACKS)].build(self)
        if chance < 0.5:
            return block_with(self, self.bad_payment())
        for attack in self._rng.sample(tuple(_OWN.values()), len(_OWN)):
            with suppress(NoCoins):  # for this one
                return attack(self)
        raise NoCoins

    def chain_of(self, count: int, parent: HeaderNode, time: int) -> list[Block]:
        """Good blocks without payments, one on the other."""
        found = []
        for _ in range(count):
            block = self.chain.template(parent=parent, time=time, payout=CAROL.lock)
            parent = HeaderNode(block.header, parent)
            found.append(block)
        return found


def _overspend(bench: Bench) -> bytes:
    spent = bench.spend(TxOut(NATIVE, bench.amount + 1, BOB.lock))
    return bench.chain.template([spent]).raw


def _counted_twice(bench: Bench) -> bytes:
    paid = TxOut(NATIVE, 2 * bench.amount - FEE, BOB.lock)
    return bench.chain.template([bench.spend(paid, inputs=(bench.coin, bench.coin))]).raw


def _late(bench: Bench) -> bytes:
    chain = bench.chain
    paid = TxOut(NATIVE, bench.amount - FEE, BOB.lock)
    spent = chain.spend([bench.coin], [paid], expiry=chain.tip.height)
    return chain.template([spent]).raw


def _hasty(bench: Bench) -> bytes:
    """Found in the very second of its parent."""
    chain = bench.chain
    block = chain.template()
    header = block.header
    changed = make_header(
        header.version, header.previous, header.root, chain.tip.header.time, header.bits, 0
    )
    return solve(make_block(changed, block.txs)).raw


def _spent_twice(bench: Bench) -> bytes:
    return bench.chain.template([bench.payment(b"1"), bench.payment(b"2")]).raw


def _immature(bench: Bench) -> bytes:
    chain = bench.chain
    owners = {person.lock for person in PEOPLE}
    height = chain.tip.height + 1
    young = next(
        (
            spent
            for spent, coin in chain.coins.items()
            if coin.delayed and coin.lock in owners and height - coin.height < COINBASE_MATURITY
        ),
        None,
    )
    if young is None:
        raise NoCoins
    spender = chain.spend([young], [TxOut(NATIVE, chain.coins[young].amount - FEE, BOB.lock)])
    return chain.template([spender]).raw


def _fee_taken_twice(bench: Bench) -> bytes:
    chain = bench.chain
    reward = chain.params.subsidy_at(chain.tip.height + 1) + 2 * FEE
    return chain.template([bench.payment()], reward=reward).raw


def _greedy(bench: Bench) -> bytes:
    chain = bench.chain
    reward = chain.params.subsidy_at(chain.tip.height + 1) + FEE + 1
    return chain.template([bench.payment()], reward=reward).raw


def _forged(bench: Bench) -> bytes:
    return bench.chain.template([bench.honest(), forged(bench.payment())]).raw


_OWN: Mapping[str, Callable[[Bench], bytes]] = {
    "more paid than there is": _overspend,
    "a block without distance": _hasty,
    "one coin counted twice": _counted_twice,
    "a payment one block too late": _late,
    "one coin in two payments": _spent_twice,
    "a coinbase that is too young": _immature,
    "fees taken twice": _fee_taken_twice,
    "a unit more than subsidy and fees": _greedy,
    "a forged signature behind a good one": _forged,
}


def mutated(block: Block, rng: random.Random) -> bytes:
    """Other transactions behind the same header."""
    txs = block.txs
    changed: Sequence[Sequence[Tx]] = (
        (*txs, txs[-1]),
        txs[:-1],
        (txs[0], *txs[:0:-1], txs[-1]),
        (*txs[:-1], forged(txs[-1])),
    )
    return make_block(block.header, rng.choice(changed)).raw


@cache
def low_work(params: Params) -> tuple[Header, ...]:
    """Headers on genesis with a proof of the least work each."""
    anchor = parent = HeaderNode(genesis(params).header, None)
    found = []
    for _ in range(LOW_WORK_BLOCKS):
        time = max(parent.header.time + params.interval_s, earliest_time(parent, params))
        bits = expected_bits(parent, anchor, params)
        header = make_header(VERSION, parent.hash, bytes(32), time, bits, 0)
        while hash_as_number(header.hash) > target_of(bits):
            header = make_header(VERSION, parent.hash, bytes(32), time, bits, header.nonce + 1)
        parent = HeaderNode(header, parent)
        found.append(header)
    return tuple(found)
