"""Targets: rows of the event log, which a disk may have changed, and URLs of webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from yarl import URL

from consensus.errors import StorageError
from consensus.hashes import LockHash
from consensus.tx import NATIVE
from node.eventlog import layout
from node.eventlog.desk import Refused
from node.eventlog.layout import (
    BlockRow,
    Consumer,
    HeadRow,
    Kind,
    LogRow,
    Payment,
    Watch,
    Webhook,
)
from node.eventlog.webhooks import check_url
from scripts.fuzz import mutate
from scripts.fuzz.target import Target, need

HASH = bytes(range(32))
PAYMENT = Payment(7, HASH, 1, LockHash(b"\x11" * 32), NATIVE, 5_000, b"memo")
_KINDS = (LogRow, HeadRow, BlockRow, Watch, Consumer, Webhook)
_ROWS: tuple[Callable[[bytes], object], ...] = (
    *((lambda value, kind=kind: layout.decode_row(kind, value)) for kind in _KINDS),
    layout.decode_payments,
)


def event_rows(data: bytes) -> None:
    """First byte: which row, or a name in a key. The rest is its value."""
    if not data:
        return
    kind, value = data[0] % (len(_ROWS) + 1), data[1:]
    try:
        if kind == len(_ROWS):
            need(layout.name_of(b"c" + value).encode() == value, "a name is what the key holds")
        else:
            row = _ROWS[kind](value)
            need(layout.encode_row(row) == value, "a row of the event log has one encoding")
    except StorageError as error:
        need(bool(error.what and error.remedy), "a damaged row names a remedy")


def webhook_url(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        url = check_url(text)
    except Refused as refused:
        need("\n" not in str(refused), "what is refused is told in one line")
        return
    parts = urlsplit(url)
    need(parts.scheme in ("http", "https"), "a webhook speaks HTTP")
    try:
        sent = URL(url)
    except ValueError:
        return  # told as the error of the webhook
    need(sent.user is None and sent.password is None, "nothing secret stands in a URL")
    need(sent.host == parts.hostname or sent.host is not None, "both know the host")


def _row_seeds() -> Iterator[bytes]:
    rows = (
        LogRow(1, HASH, "ab" * 8), HeadRow(HASH, 7, 9, 1), BlockRow(HASH, HASH, (PAYMENT,)),
        Watch("shop", 3, b"\x00\x00\x00\x03", 9), Consumer(7, 1_800_000_000),
        Webhook("http://127.0.0.1/", "ab" * 32, (Kind.PAYMENT_SEEN,), 7, 1_800_000_000),
        (PAYMENT,),
    )  # fmt: skip
    for number, row in enumerate(rows):
        yield bytes((number,)) + layout.encode_row(row)
    yield bytes((len(rows),)) + b"shop"


def _urls() -> Iterator[bytes]:
    yield b"http://127.0.0.1:80/hook?key=1"
    yield b"https://[2001:db8::1]/"
    yield b"http://user:word@host/#part"
    yield b"https://host.example:99999"


TARGETS = (
    Target(
        "event-rows", "rows of the event log: one encoding, or damage with a remedy",
        event_rows, _row_seeds, 512, mutate.tagged,
    ),
    Target(
        "webhook-url", "URLs of webhooks: HTTP without secrets in it, or refused in one line",
        webhook_url, _urls, 256,
    ),
)  # fmt: skip
