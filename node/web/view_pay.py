"""A request for a payment, as whoever is to pay sees it, and whether it was paid.

The request is in the path itself, in the words of a payment URI; nothing of it is kept here. What an
address ever received counts towards it, so each request wants an address of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from consensus.hashes import HASH_BYTES, AssetId, LockHash, from_text, to_text
from consensus.params import AMOUNT_MAX
from consensus.tx import NATIVE
from node.ledger import Balance
from node.rpc.shapes import address_of
from node.web.foreign import without_unseen
from node.web.labels import Labels
from node.web.pages import NotFound, Page
from node.web.view_address import changes, find_lock, qr
from node.web.visitor import Ask

SCHEME = "tael"
SAFE_CONFIRMATIONS = 6
"""Blocks behind which a payment of everyday size is taken for settled."""
HISTORY_READ = 200
"""Newest entries among which the block is looked for that completed a payment."""
URI_MAX = 2_000
TEXT_MAX = 200
NAMES = ("amount", "asset", "label", "message", "request", "expires")
"""What a payment URI may say beside the address."""
MUST = "req-"
"""Before the name of what must be understood."""
WAITING_READ = 1_000
"""Waiting transactions that are looked at: anybody may send an address any number of them."""
_AMOUNT = re.compile(r"[0-9]{1,20}(\.[0-9]{1,18})?")
_NUMBER = re.compile(r"[A-Za-z0-9._-]{0,64}")
_TIME = re.compile(r"[0-9]{0,10}")


class Request(NamedTuple):
    """What is asked for."""

    lock: LockHash
    asset: AssetId
    units: int | None
    """None where the payer chooses the amount."""
    label: str
    """Who asks, and what for: both in the words of whoever made the request."""
    message: str
    expires: int | None
    """Seconds since 1970 after which it should not be paid any more."""
    uri: str


class State(NamedTuple):
    """How far it is paid."""

    text: str
    """The key of a text: unpaid, part, expired, waiting, paid, over."""
    confirmed: int
    waiting: int
    confirmations: int | None
    """Of the block that completed it; None if it is not complete, or that was long ago."""


def _given(ask: Ask) -> dict[str, str]:
    """What the query says, or the payment URI in it, by the names of `NAMES`. Raises: NotFound."""
    uri = ask.get("uri", URI_MAX + 1)
    if len(uri) > URI_MAX:  # cut off, it could ask for a tenth
        raise NotFound("missing_request")
    if not uri:
        return {name: ask.get(name) for name in ("address", *NAMES)}
    scheme, _, rest = uri.partition(":")
    address, _, query = rest.partition("?")
    given: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        known = name.removeprefix(MUST)
        # What must be understood and is not, or stands twice, would be read otherwise elsewhere.
        if known in given or (known not in NAMES and name.startswith(MUST)):
            raise NotFound("missing_request")
        given[known] = unquote(value, errors="replace")
    if scheme.lower() != SCHEME:
        raise NotFound("missing_request")
    return {name: given.get(name, "") for name in NAMES} | {"address": address}


def read_request(ask: Ask, labels: Labels) -> Request:
    """Raises: NotFound (it makes no sense)."""
    given = _given(ask)
    # Words may be mended. Of figures, another reader would make others: they are right or refused.
    given |= {name: without_unseen(given[name])[:TEXT_MAX] for name in ("label", "message")}
    lock = find_lock(ask, given.pop("address"))
    asset = _asset(ask, given["asset"])
    given["asset"] = to_text(asset)
    if not _NUMBER.fullmatch(given["request"]) or not _TIME.fullmatch(given["expires"]):
        raise NotFound("missing_request")
    units = _units(given["amount"], labels.of(asset).decimals) if given["amount"] else None
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items() if value)
    return Request(
        lock, asset, units, given["label"], given["message"],
        int(given["expires"]) if given["expires"] else None,
        f"{SCHEME}:{address_of(lock, ask.node.ledger.params)}{'?' if query else ''}{query}",
    )  # fmt: skip


def _asset(ask: Ask, text: str) -> AssetId:
    if text in ("", ask.node.ledger.params.ticker.decode()):
        return NATIVE
    try:
        asset = AssetId(from_text(text))
    except ValueError:
        raise NotFound("missing_request") from None
    if len(asset) != HASH_BYTES or ask.node.ledger.asset(asset) is None:
        raise NotFound("missing_asset")
    return asset


def _units(text: str, decimals: int) -> int:
    """Base units of an amount. Raises: NotFound."""
    if not _AMOUNT.fullmatch(text):
        raise NotFound("missing_request")
    whole, _, part = text.partition(".")
    if len(part) > decimals:
        raise NotFound("missing_request")
    units = int(whole + part.ljust(decimals, "0"))
    if not 0 < units <= AMOUNT_MAX:
        raise NotFound("missing_request")
    return units


def state_of(ask: Ask, request: Request) -> State:
    """What the ledger says of a request."""
    ledger = ask.node.ledger
    had = ledger.balances(request.lock).get(request.asset, Balance(0, 0)).received
    coming = sum(
        max(0, changes(entry, request.lock).get(request.asset, 0))
        for entry in ledger.mempool.touching(request.lock)[:WAITING_READ]
    )
    wanted = request.units or 1
    if had >= wanted:
        text = "pay_over" if request.units and had > request.units else "pay_paid"
        return State(text, had, coming, _confirmations(ask, request, had - wanted))
    if had + coming >= wanted:
        return State("pay_waiting", had, coming, None)
    if request.expires is not None and request.expires < ask.node.clock():
        return State("pay_expired", had, coming, None)
    return State("pay_part" if had + coming else "pay_unpaid", had, coming, None)


def _confirmations(ask: Ask, request: Request, spare: int) -> int | None:
    """Of the newest entry without which too little would have been received."""
    ledger = ask.node.ledger
    for entry in ledger.history_back(request.lock, b"", HISTORY_READ):
        if entry.asset == request.asset and entry.received:
            spare -= entry.received
            if spare < 0:
                return ledger.tip.height - entry.height + 1
    return None


async def pay(ask: Ask) -> Page:
    """A request and its state; without one, a form to make one."""
    if not (ask.get("address") or ask.get("uri")):
        return Page("pay_form", {})
    if not ask.node.ledger.is_indexed:
        raise NotFound("missing_index")
    labels = Labels(ask.node)
    request = read_request(ask, labels)
    state = state_of(ask, request)
    missing = (request.units or 0) - state.confirmed - state.waiting
    return Page(
        "pay",
        {
            "asked": request,
            "address": address_of(request.lock, ask.node.ledger.params),
            "worth": labels.worth(request.asset, request.units) if request.units else None,
            "state": state,
            "confirmed": labels.worth(request.asset, state.confirmed),
            "waiting": labels.worth(request.asset, state.waiting),
            "missing": labels.worth(request.asset, missing) if missing > 0 else None,
            "safe": SAFE_CONFIRMATIONS,
            "qr": qr(request.uri),
        },
    )
