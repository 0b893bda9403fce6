"""What the wallet remembers: the payload of the wallet file.

Keys and addresses follow from the words; the rest is here: how many addresses were handed out,
labels, locks shared with others, watched addresses, and every transaction that was sent.

Source: docs/wallet.md, "The wallet file".
"""

from __future__ import annotations

import msgspec

from consensus.codec import encode
from consensus.hashes import AssetId, LockHash, Txid
from consensus.params import TX_BYTES_MAX
from consensus.tx import Coin, Lock, OutPoint, Tx, decode_tx
from wallet.errors import WalletError

BOOK_VERSION = 1
NAME_MAX = 64
LABEL_MAX = 200
SENT_MAX = 10_000
"""Transactions that are remembered; the oldest go first, when they have long been mined."""

INVOICES_MAX = 10_000
LABELS_MAX = 100_000


class SharedLock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lock that more than one key opens, or that the wallet holds one of many keys to."""

    name: str
    lock: Lock


class WatchedAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lock that somebody else opens."""

    name: str
    lock: LockHash


class WatchedAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account that somebody else spends from; its addresses are derived and watched."""

    name: str
    xpub: str
    next_index: tuple[int, int] = (0, 0)


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who is paid, by name."""

    name: str
    lock: LockHash


class SpentCoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A coin as it was when it was spent."""

    outpoint: OutPoint
    coin: Coin
    lock: Lock


class Sent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction that the wallet made."""

    txid: Txid
    raw: bytes
    inputs: tuple[SpentCoin, ...]
    change: tuple[int, ...]
    """Positions of the outputs that come back."""
    fee: int
    cost: int
    time: int
    """Seconds since 1970."""
    replaces: Txid | None = None
    request: str = ""
    """The request id that it pays, under which nothing else may be paid; empty for none."""

    def tx(self) -> Tx:
        return decode_tx(self.raw, TX_BYTES_MAX)


class Invoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody was asked to pay, at an address of its own."""

    number: int
    index: int
    """Of the receiving address."""
    lock: LockHash
    asset: AssetId
    ticker: str
    decimals: int
    """As it was when the invoice was made, so that it can be shown without a node."""
    amount: int
    """Base units."""
    memo: str
    label: str
    created: int
    """Seconds since 1970."""
    expires: int | None


class Book(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The state of one wallet. Changed in place, then saved whole."""

    version: int = BOOK_VERSION
    network: str
    chain_id: bytes
    """Hash of the genesis block: a wallet belongs to one chain."""
    created: int
    """Seconds since 1970."""
    words: str | None
    """None: a watch-only wallet."""
    account: int
    xpub: str
    next_index: tuple[int, int, int] = (0, 0, 0)
    """Index of the first key of each chain that was neither handed out nor seen on the chain."""
    used_index: int = 0
    """Index after the last receiving address that was paid."""
    labels: dict[str, str] = {}
    """By address or txid."""
    shared: list[SharedLock] = []
    watched: list[WatchedAddress] = []
    accounts: list[WatchedAccount] = []
    sent: list[Sent] = []
    invoices: list[Invoice] = []
    contacts: list[Contact] = []

    def __repr__(self) -> str:  # keeps the words out of whatever prints this
        return f"Book({self.network!r})"

    def advance(self, chain: int, index: int) -> None:
        """Note that the keys of `chain` below `index` are in use."""
        indexes = list(self.next_index)
        indexes[chain] = max(indexes[chain], index)
        self.next_index = (indexes[0], indexes[1], indexes[2])

    def sent_by_id(self) -> dict[Txid, Sent]:
        return {entry.txid: entry for entry in self.sent}

    def add_sent(self, entry: Sent) -> None:
        """Note a transaction that is about to be sent."""
        self.forget_sent(entry.txid)
        self.sent.append(entry)
        del self.sent[:-SENT_MAX]

    def forget_sent(self, txid: Txid) -> None:
        """Drop a transaction that no node took."""
        self.sent = [entry for entry in self.sent if entry.txid != txid]

    def note(self, key: str, label: str) -> None:
        """Put a label on an address or a txid; an empty one takes it away. Raises: WalletError."""
        if not label:
            self.labels.pop(key, None)
            return
        if key not in self.labels and len(self.labels) >= LABELS_MAX:
            raise WalletError(f"there are {LABELS_MAX:,} labels, the most there can be")
        self.labels[key] = check_label(label)

    def add_invoice(self, entry: Invoice) -> None:
        """Note an invoice; of very many the oldest go."""
        self.invoices.append(entry)
        del self.invoices[:-INVOICES_MAX]

    def invoice_by_number(self, text: str) -> Invoice:
        """Raises: WalletError."""
        for entry in self.invoices:
            if str(entry.number) == text:
                return entry
        raise WalletError(f"there is no invoice {text[:20]!r}; see `tael invoices`")

    def shared_by_name(self, name: str) -> SharedLock:
        """Raises: WalletError."""
        for entry in self.shared:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.shared) or "none yet"
        raise WalletError(f"no shared lock is called {name[:NAME_MAX]!r}; known: {known}")

    def watched_names(self) -> list[str]:
        """What is only watched, by name."""
        return [*(entry.name for entry in self.watched), *(entry.name for entry in self.accounts)]

    def check_name(self, name: str) -> str:
        """Raises: WalletError if `name` cannot name another lock or watched thing."""
        if not 1 <= len(name) <= NAME_MAX or not name.isprintable():
            raise WalletError(f"a name has 1 to {NAME_MAX} printable characters")
        if name in {*self.watched_names(), *(entry.name for entry in self.shared)}:
            raise WalletError(f"the name {name!r} is taken")
        return name


def check_label(label: str) -> str:
    """Raises: WalletError."""
    if len(label) > LABEL_MAX or not label.isprintable():
        raise WalletError(f"a label has at most {LABEL_MAX} printable characters")
    return label


_DECODER = msgspec.msgpack.Decoder(Book)


def encode_book(book: Book) -> bytes:
    """The payload of the wallet file."""
    return encode(book)


def decode_book(payload: bytes) -> Book:
    """Raises: WalletError if another version of the program wrote it."""
    try:
        book = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WalletError("the wallet was written by another version of tael; use that") from None
    if book.version != BOOK_VERSION:
        raise WalletError(f"the wallet has version {book.version}; this tael knows {BOOK_VERSION}")
    return book
