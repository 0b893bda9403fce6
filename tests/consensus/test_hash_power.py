"""Miners who lie about the time, and hash power that comes and goes, by the rules of headers alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from consensus.block import VERSION, genesis, make_header
from consensus.header_tree import HeaderNode, check_header, earliest_time, expected_bits
from consensus.params import MAIN
from consensus.pow import work_of
from tests.support import second

POWER = 64.0
"""Hash power of all: how many times over the easiest target is met in an interval."""
EASIEST = work_of(MAIN.pow_limit_bits)
HOUR = 3_600.0
PARAMS = (
    MAIN.name, MAIN.hrp, MAIN.ticker, MAIN.genesis_time, MAIN.interval_s, MAIN.half_life_blocks,
    MAIN.spacing_s, MAIN.future_s, MAIN.subsidy, MAIN.halving_blocks, MAIN.pow_limit_bits,
    MAIN.retarget, (),
)  # fmt: skip


class Race:
    """Blocks found at random moments, each checked by every rule but its proof of work."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.genesis = self.tip = HeaderNode(genesis(MAIN).header, None)
        self.now = float(MAIN.genesis_time)

    @property
    def bits(self) -> int:
        """What the next block must have."""
        return expected_bits(self.tip, self.genesis, MAIN)

    def mine(self, stamp: Stamp, power: float = POWER) -> None:
        bits = self.bits
        assert bits == second.next_bits(PARAMS, self.tip.height, self.tip.header.time)
        mean_s = work_of(bits) / EASIEST * MAIN.interval_s / power
        self.now += self.rng.expovariate(1 / mean_s)
        time = max(stamp(self), earliest_time(self.tip, MAIN))
        # Nobody takes it before its time has come, so it is as if it were found then.
        self.now = max(self.now, float(time - MAIN.future_s))
        header = make_header(VERSION, self.tip.hash, bytes(32), time, bits, 0)
        check_header(header, self.tip, self.genesis, MAIN, int(self.now) + 1)
        self.tip = HeaderNode(header, self.tip)

    def settle(self) -> None:
        """Mine honestly until the difficulty fits the hash power."""
        while work_of(self.bits) < POWER * EASIEST:
            self.mine(honest)

    def mine_for(self, seconds: float, stamp: Stamp, power: float = POWER) -> int:
        """How many blocks come in that time."""
        start, end = self.tip.height, self.now + seconds
        while self.now < end:
            self.mine(stamp, power)
        return self.tip.height - start


Stamp = Callable[[Race], int]
"""The time that a miner would like to write; the rules may make him write a later one."""


def honest(race: Race) -> int:
    return int(race.now)


def past(race: Race) -> int:
    return 0


def future(race: Race) -> int:
    return int(race.now) + MAIN.future_s


def most(seconds: float) -> float:
    """Blocks that the spacing lets come in that time, with clocks as far ahead as may be."""
    return (seconds + MAIN.future_s) / MAIN.spacing_s + 2


@pytest.mark.parametrize("seed", range(2))
def test_a_third_of_the_miners_cannot_move_the_interval_by_lies_about_the_time(seed: int) -> None:
    race = Race(seed)
    race.settle()
    lies = 0

    def stamp(race: Race) -> int:
        nonlocal lies
        if race.rng.random() >= 0.3:
            return honest(race)
        lies += 1
        return (past if lies % 2 else future)(race)

    start, count = race.now, 5_000
    for _ in range(count):
        race.mine(stamp)
    assert lies > 0.25 * count
    assert (race.now - start) / count == pytest.approx(MAIN.interval_s, rel=0.05)


@pytest.mark.parametrize("stamp", [honest, past, future])
def test_a_chain_that_stood_still_comes_back_no_faster_than_the_spacing(stamp: Stamp) -> None:
    race = Race(3)
    race.settle()
    race.now += 66 * HOUR
    race.mine(honest)
    assert race.mine_for(2 * HOUR, stamp) <= most(2 * HOUR)


@pytest.mark.parametrize("stamp", [honest, future])
def test_a_genesis_of_long_ago_mints_no_faster_than_the_spacing(stamp: Stamp) -> None:
    race = Race(4)
    race.now += 365 * 24 * HOUR
    race.mine(honest, 1_000 * POWER)
    assert race.mine_for(2 * HOUR, stamp, 1_000 * POWER) <= most(2 * HOUR)


def test_a_burst_of_a_hundred_times_the_hash_power_is_held_and_forgotten() -> None:
    race = Race(5)
    race.settle()
    burst = race.mine_for(4 * HOUR, future, 100 * POWER)
    # Never over the spacing, and in the end no more than the doublings that it is worth.
    doublings = math.log2(100) * MAIN.half_life_blocks
    assert burst <= min(most(4 * HOUR), doublings + 1.2 * 4 * HOUR / MAIN.interval_s)
    # Gone again, it leaves a lull in which no more is lost than it had come too early.
    after = race.mine_for(48 * HOUR, honest)
    total = (52 * HOUR) / MAIN.interval_s
    assert burst + after == pytest.approx(total, rel=0.1)
