"""What is inside a wallet file, if another version of the program wrote it."""

from __future__ import annotations

import pytest

from consensus.codec import encode
from consensus.tx import Key, Threshold
from tests.support.chain import ALICE
from wallet.book import Book, SharedLock, decode_book, encode_book
from wallet.errors import WalletError

LOCK = Threshold(1, (Key(ALICE.pubkey),))
WHOLE = encode_book(
    Book(network="regtest", chain_id=bytes(32), created=1, words=None, account=0, xpub="tpub",
         shared=[SharedLock("board", LOCK)])
)  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        b"", WHOLE[:-1], WHOLE.replace(b"tpub", b"\xff\xfe\xfd\xfc"),
        WHOLE.replace(encode(LOCK), b"\x93\x01\x01\x91" * 5_000 + encode(LOCK)),
    ],
    ids=["empty", "cut", "not UTF-8", "deep"],
)  # fmt: skip
def test_a_book_that_cannot_be_read_is_told_in_one_line(payload: bytes) -> None:
    assert decode_book(WHOLE).xpub == "tpub"
    with pytest.raises(
        WalletError, match=r"^the wallet was written by another version of tael"
    ) as caught:
        decode_book(payload)
    assert "\n" not in str(caught.value)
