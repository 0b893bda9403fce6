"""Random payments, blocks and reorganisations, against a model too simple to be wrong.

The model keeps a list of transactions. Whenever the tip changes it goes through what came back and
what waited, one by one, over a copy of the coins, and keeps what the rules allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from consensus.block import transactions_root
from consensus.errors import Rule, Violation
from consensus.hashes import to_text
from consensus.locks import lock_hash
from consensus.params import BLOCK_COST_MAX
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AfterHeight,
    Coin,
    Height,
    Key,
    Lock,
    Older,
    OutPoint,
    Threshold,
    Tx,
    TxOut,
)
from consensus.tx_rules import check_spend, check_tx, is_delayed
from node.mempool import Mempool
from node.mempool_entry import Entry, score
from node.policy import Policy
from node.rpc import json
from node.rpc.methods_mining import prepare_template, show_entry, show_transactions
from node.rpc.shapes import WEIGHT_PER_COST
from node.selection import Selection
from node.template import TemplateBuilder
from tests.node.mempool_kit import Pool, check_consistent
from tests.support.chain import ALICE, DAVE, coins_made, solve

COINS = 6
NUMBERS = st.integers(0, 10**6)
PAYMENTS = st.fixed_dictionaries(
    {
        "picks": st.lists(NUMBERS, min_size=1, max_size=3),
        "outputs": st.integers(1, 4),
        "rate": st.sampled_from([0, 1, 2, 3, 5, 10, 20, 40, 80]),
        "expiry": st.sampled_from([0, 0, 0, 0, 0, 3, 4, 21, 22, 24]),
        "choice": NUMBERS,
    }
)


def verdict(judge: Callable[[bytes], object], raw: bytes) -> Rule | None:
    """The rule by which `judge` refuses `raw`."""
    try:
        judge(raw)
    except Violation as violation:
        return violation.rule
    return None


def choose_plainly(mempool: Mempool, cost_max: int) -> list[Entry]:
    """What a miner takes: again and again the entry that pays best with all that it still needs.

    One that does not fit is looked at again once something that it needs was taken.
    """
    chosen: list[Entry] = []
    given_up: set[Entry] = set()

    def package(entry: Entry) -> list[Entry]:
        needed = mempool.ancestors(entry.tx.txid)
        return [*(other for other in needed if other not in chosen), entry]

    def worth(entry: Entry) -> tuple[int, int]:
        needed = package(entry)
        together = score(sum(e.fee for e in needed), sum(e.cost for e in needed))
        return min(score(entry.fee, entry.cost), together), -entry.sequence

    while left := [e for e in mempool.entries() if e not in chosen and e not in given_up]:
        best = max(left, key=worth)
        needed = package(best)
        if sum(e.cost for e in needed) > cost_max - sum(e.cost for e in chosen):
            given_up.add(best)
            continue
        chosen += needed
        given_up -= {d for e in needed for d in mempool.descendants(e.tx.txid)}
    return chosen


def show_plainly(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """How a template shows them, without anything that was kept of them."""
    return [
        {
            "data": entry.tx.raw.hex(),
            "txid": to_text(entry.tx.txid),
            "hash": to_text(entry.tx.wtxid),
            "depends": [entries.index(parent) + 1 for parent in entry.parents],
            "fee": entry.fee,
            "cost": entry.cost,
            "weight": WEIGHT_PER_COST * entry.cost,
        }
        for entry in entries
    ]


class MempoolModel(RuleBasedStateMachine):
    """One mempool on one chain, and the list of what should wait."""

    @initialize(size=st.sampled_from([300_000_000, 60_000]))
    def begin(self, size: int) -> None:
        # No limits on families: what comes back is not held to them, and the model has none.
        self.pool = Pool(Policy(size_bytes_max=size), coins=COINS)
        self.is_small = size < 300_000_000
        self.locks: dict[bytes, Lock] = {ALICE.lock: Key(ALICE.pubkey)}
        self.rounds = 0
        chain = self.pool.chain
        self.builder = TemplateBuilder(
            chain.tree, self.pool.mempool, chain.supply, lambda: self.pool.now
        )

    # What the model knows

    def valid(self, txs: Iterable[Tx]) -> list[Tx]:
        """Those of `txs` that the rules allow, each after those before it."""
        chain = self.pool.chain
        ctx = chain.context()
        coins = dict(chain.coins)
        kept = []
        for tx in txs:
            found = [coins.get(spent) for spent in tx.body.inputs]
            try:
                check_spend(check_tx(tx), found, chain.supply, ctx)
            except Violation:
                continue
            for spent in tx.body.inputs:
                del coins[spent]
            coins.update(coins_made(tx, ctx.height, is_delayed(tx.body, ctx.height)))
            kept.append(tx)
        return kept

    def waiting(self) -> list[Tx]:
        return [entry.tx for entry in self.pool.mempool.entries()]

    def known_coins(self) -> dict[OutPoint, Coin]:
        """Every coin that is confirmed or waits to be, spent or not."""
        coins = dict(self.pool.chain.coins)
        for tx in self.waiting():
            coins.update(coins_made(tx, self.pool.chain.context().height))
        return {spent: coin for spent, coin in coins.items() if coin.lock in self.locks}

    def output_lock(self, choice: int) -> Lock:
        height = self.pool.chain.tip.height
        match choice % 8:
            case 0:
                return Threshold(2, (Key(ALICE.pubkey), AfterHeight(height + choice % 3 + 1)))
            case 1:
                return Threshold(2, (Key(ALICE.pubkey), Older(1 + choice % 2)))
            case _:
                return Key(ALICE.pubkey)

    def make(self, picks: list[int], outputs: int, rate: int, expiry: int, choice: int) -> Tx:
        coins = self.known_coins()
        order = sorted(coins)
        inputs = list(dict.fromkeys(order[pick % len(order)] for pick in picks))
        total = sum(coins[spent].amount for spent in inputs)
        fee = min(rate * (250 * len(inputs) + 150 * outputs), total // 2)
        made = []
        for index in range(outputs):
            lock = self.output_lock(choice + index)
            self.locks[lock_hash(lock)] = lock
            made.append(TxOut(NATIVE, max(1, (total - fee) // outputs), lock_hash(lock)))
        height = self.pool.chain.tip.height
        return self.pool.chain.spend(
            inputs,
            made,
            [ALICE],
            expiry=Height(height + expiry) if expiry else 0,
            locks=[self.locks[coins[spent].lock] for spent in inputs],
            extra_coins=coins,
        )

    # What happens

    @rule(payments=st.lists(PAYMENTS, min_size=1, max_size=12))
    def submit(self, payments: list[dict[str, Any]]) -> None:
        for how in payments:
            self.submit_one(self.make(**how))

    def submit_one(self, tx: Tx) -> None:
        mempool = self.pool.mempool
        before = self.waiting()
        resubmit = partial(mempool.submit, retry=True)
        refused = verdict(mempool.test, tx.raw)
        if refused is not None:
            event(refused)
            assert verdict(resubmit, tx.raw) is refused
            assert self.waiting() == before
        elif verdict(resubmit, tx.raw) is not None:
            assert self.is_small, "only a full mempool says otherwise"
        self.every_entry_is_valid_and_every_sum_is_right()

    def told(self, off: int, branch: list[list[Tx]]) -> None:
        """Change the tip, and compare what waits afterwards with what the rules allow."""
        before = self.waiting()
        chain = self.pool.chain
        blocks = [chain.disconnect() for _ in range(off)]
        dead = [tx for block in reversed(blocks) for tx in block.txs[1:]]
        on = [chain.mine(self.valid(txs)) for txs in branch]
        mempool = self.pool.mempool
        for block in blocks:
            mempool.block_disconnected(block)
        for block in on:
            mempool.block_connected(block)
        more = mempool.tip_changed(2)
        while more:
            self.every_entry_is_valid_and_every_sum_is_right()
            more = mempool.bring_back(2)
        event(f"{min(9, len(dead))} disconnected, {min(9, len(self.waiting()))} wait")
        if not self.is_small:
            expected = {tx.txid for tx in self.valid([*dead, *before])}
            assert {tx.txid for tx in self.waiting()} == expected

    @rule(part=st.integers(0, 3))
    def mine_what_waits(self, part: int) -> None:
        txs = self.waiting()
        self.told(0, [txs[: len(txs) * part // 3]])

    @rule(
        picks=st.lists(NUMBERS, min_size=1, max_size=2),
        expiry=st.sampled_from([0, 0, 3, 30]),
        choice=NUMBERS,
    )
    def mine_something_else(self, picks: list[int], expiry: int, choice: int) -> None:
        self.told(0, [[self.make(picks, 2, 1, expiry, choice)]])

    @rule(count=st.integers(1, 5))
    def mine_nothing(self, count: int) -> None:
        self.told(0, [[] for _ in range(count)])

    @rule(
        depth=st.integers(1, 8),
        length=st.integers(1, 9),
        part=st.integers(0, 2),
        late=st.booleans(),
    )
    def reorganise(self, depth: int, length: int, part: int, late: bool) -> None:
        """To a branch that holds a part of what was mined before, perhaps later."""
        chain = self.pool.chain
        node = chain.tip
        mined: list[Tx] = []
        for _ in range(depth):
            mined = [*chain.blocks[node.hash].txs[1:], *mined]
            assert node.parent is not None
            node = node.parent
        branch: list[list[Tx]] = [[] for _ in range(length)]
        branch[-1 if late else 0] = mined[: len(mined) * part // 2]
        self.told(depth, branch)

    @rule()
    def mine_a_template(self) -> None:
        chain, pool = self.pool.chain, self.pool
        template = self.builder.build(chain.tip, DAVE.lock)
        assert set(template.choice.txs) == set(self.waiting()), "there is room for all"
        assert template.choice.cost < BLOCK_COST_MAX
        self.rounds += 1
        extranonce = self.rounds.to_bytes(8, "big")
        block = solve(template.mined(extranonce, template.time, 0).block)
        pool.mempool.block_connected(chain.connect(block.raw))
        pool.mempool.tip_changed()
        assert self.waiting() == []

    @rule(share=st.sampled_from([1, 2, 3]))
    def some_is_made_ready_at_rest(self, share: int) -> None:
        """As the keeper does, which may be interrupted before it comes to the choice."""
        for entry in islice(self.pool.mempool.entries(), 0, None, share):
            show_entry(entry)
        if share == 1:
            prepare_template(self.builder.build(self.pool.chain.tip, BURN_LOCK))

    @rule()
    def a_template_is_what_it_would_be_made_anew(self) -> None:
        mempool = self.pool.mempool
        template = self.builder.build(self.pool.chain.tip, DAVE.lock)
        assert list(template.entries) == choose_plainly(mempool, BLOCK_COST_MAX)
        assert template.choice.fees == mempool.fees
        assert template.choice.others_root == transactions_root(template.choice.txs)
        shown = json.decode(b"[%b]" % show_transactions(template.choice))
        assert shown == show_plainly(template.entries)

    @rule(later=st.sampled_from([-100, -3, 0, 1, 150]))
    def what_is_known_of_spends_holds_in_any_block(self, later: int) -> None:
        chain, mempool = self.pool.chain, self.pool.mempool
        ctx = structs.replace(chain.context(), height=chain.context().height + later)
        coins = dict(chain.coins)
        for entry in mempool.entries():
            found = [coins[spent] for spent in entry.tx.body.inputs]
            known = mempool.known_spend(entry.checked, found)
            event("known" if known else "not known")
            if known:
                asked = check_spend(entry.checked, found, chain.supply, ctx)
                assert (known.fee, known.coins) == (asked.fee, asked.coins)
            coins.update(coins_made(entry.tx, ctx.height, is_delayed(entry.tx.body, ctx.height)))

    @rule(cost_max=st.integers(0, 8_000))
    def choose_for_a_small_block(self, cost_max: int) -> None:
        mempool = self.pool.mempool
        selection = Selection(mempool.ranked(), cost_max, self.pool.chain.supply)
        selection.run()
        assert selection.chosen == choose_plainly(mempool, cost_max)
        chosen = set(selection.chosen)
        assert len(chosen) == len(selection.chosen)
        assert sum(entry.cost for entry in chosen) == cost_max - selection.room <= cost_max
        assert self.valid([entry.tx for entry in selection.chosen]) == [
            entry.tx for entry in selection.chosen
        ]
        for entry in set(mempool.entries()) - chosen:
            needed = {entry, *mempool.ancestors(entry.tx.txid)} - chosen
            assert sum(other.cost for other in needed) > selection.room, "it would have fitted"

    # What holds at any time

    @invariant()
    def every_entry_is_valid_and_every_sum_is_right(self) -> None:
        mempool = self.pool.mempool
        check_consistent(mempool)
        txs = self.waiting()
        assert self.valid(txs) == txs
        assert mempool.size_bytes <= mempool.policy.size_bytes_max


TestMempoolModel = MempoolModel.TestCase
TestMempoolModel.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
