"""One hash for a whole coin set, so that two nodes can tell whether they agree.

Source: docs/protocol.md, "Coin-set hash".
"""

from __future__ import annotations

from collections import defaultdict

from consensus.codec import encode
from consensus.hashes import AssetId, tagged_stream
from consensus.tx import Coin, OutPoint


class CoinSetDigest:
    """Takes in every coin once, in ascending order of lock and then outpoint."""

    def __init__(self) -> None:
        self._state = tagged_stream("Tael/coinset")
        self._last = b""
        self.count = 0
        self.supply: defaultdict[AssetId, int] = defaultdict(int)
        """Base units of each asset in the coins taken in."""

    def add(self, outpoint: OutPoint, coin: Coin) -> None:
        place = coin.lock + outpoint
        assert place > self._last, "coins come in ascending order"
        self._last = place
        self._state.update(
            encode((outpoint, coin.asset, coin.amount, coin.lock, coin.height, coin.delayed))
        )
        self.count += 1
        self.supply[coin.asset] += coin.amount

    def digest(self) -> bytes:
        """32 bytes; the text form is hex, not reversed."""
        return self._state.digest()
