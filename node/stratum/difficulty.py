"""How hard shares are: powers of two, so that miners and node compute the very same target.

Miners reckon with floating point numbers, each in its own way; a power of two comes out exactly. Here
a difficulty is its exponent.
"""

from __future__ import annotations

import math

DIFFICULTY_ONE = 0xFFFF << 208
"""The target of difficulty 1."""
EXPONENT_MIN = -32
"""Below, the target has more than 256 bits."""
EXPONENT_MAX = 64
HASHES_PER_DIFFICULTY = 1 << 32
SHARES_PER_MINUTE = 12
"""What a miner should hand in: enough to see that it lives, few enough to cost nothing."""
WINDOW_SHARES = 16
"""Shares after which the difficulty is thought over."""
WINDOW_S = 60.0
"""Or the time after which it is, with fewer."""
SILENCE_S = 20.0
"""Without any share, it is made easier after this long already."""
SILENCE_STEPS = -2
RISE_STEPS_MAX = 20
MOMENT_S = 0.01
"""A shorter time counts as this one."""


def share_target(exponent: int) -> int:
    """The target of difficulty 2**exponent."""
    assert EXPONENT_MIN <= exponent <= EXPONENT_MAX
    return DIFFICULTY_ONE >> exponent if exponent >= 0 else DIFFICULTY_ONE << -exponent


def exponent_within(target: int) -> int:
    """The hardest difficulty at which every hash that meets `target` is a share."""
    exponent = min(DIFFICULTY_ONE.bit_length() - max(1, target).bit_length() + 1, EXPONENT_MAX)
    while exponent > EXPONENT_MIN and share_target(exponent) < target:
        exponent -= 1
    return max(exponent, EXPONENT_MIN)


def exponent_below(difficulty: float) -> int:
    """Of the largest power of two that is no more than `difficulty`, within bounds."""
    if not difficulty > 0:
        return EXPONENT_MIN
    if difficulty >= 1 << EXPONENT_MAX:  # perhaps beyond what a float can be
        return EXPONENT_MAX
    return max(EXPONENT_MIN, math.frexp(difficulty)[1] - 1)


class Pace:
    """Finds the difficulty at which one miner hands in SHARES_PER_MINUTE."""

    def __init__(self, exponent: int, now: float) -> None:
        """`now`: seconds that never go back, here and below."""
        self.exponent = exponent
        self._since = now
        self._shares = 0

    def set(self, exponent: int, now: float) -> None:
        """Go on from another difficulty."""
        self.exponent = exponent
        self._since, self._shares = now, 0

    def add_share(self) -> None:
        self._shares += 1

    def adjust(self, now: float, low: int, high: int) -> bool:
        """Set the difficulty anew if it is time to; say whether it changed. It stays in low…high."""
        wanted = max(low, min(high, self.exponent + self._steps(now)))
        is_other = wanted != self.exponent
        if is_other:
            self.set(wanted, now)
        return is_other

    def _steps(self, now: float) -> int:
        passed_s = max(MOMENT_S, now - self._since)
        if self._shares == 0:
            return SILENCE_STEPS if passed_s >= SILENCE_S else 0
        if self._shares < WINDOW_SHARES and passed_s < WINDOW_S:
            return 0
        ratio = self._shares * 60 / (passed_s * SHARES_PER_MINUTE)
        self._since, self._shares = now, 0
        return min(RISE_STEPS_MAX, round(math.log2(ratio)))
