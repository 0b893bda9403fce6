"""A second implementation of the rules, written from docs/protocol.md alone, beside `second`.

Each function checks in the order of the document and raises the name of the first rule broken.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.support.second import (
    BrokenRule,
    a_bytes,
    a_list,
    asset_id,
    atoms_of,
    authority_id,
    block_root,
    count_nodes,
    digest,
    enc,
    fields,
    genesis,
    header_fields,
    is_canonical,
    is_signed,
    lock_hash,
    need,
    next_bits,
    others_root,
    read,
    read_transaction,
    sha256,
    sha256d,
    subsidy,
    target_of,
    txid_of,
    work_of,
)

AMOUNTS = range(1, 2**63)
PARAMETERS = range(1, 2**32)
ITEM_SIZES = {0: 65, 5: 32}
BURN = bytes(32)

Coin = Sequence[Any]
"""`[asset, amount, lock, height, delayed]`."""


class Place(NamedTuple):
    """Where a transaction is to stand."""

    chain: bytes
    height: int
    median_time: int


# Transactions by themselves


def check_outputs(outputs: Sequence[Any]) -> None:
    for asset, amount, _, memo in outputs:
        need(len(asset) in (0, 32), "output-asset-size")
        need(amount in AMOUNTS, "output-amount-range")
        need(len(memo) <= 128, "output-memo-size")


def is_name(name: bytes) -> bool:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    controls = re.compile("[\u0000-\u001f\u007f-\u009f]")
    return 1 <= len(name) <= 64 and not controls.search(text)


def check_issuances(issuances: Sequence[Any], inputs: int) -> None:
    seen: list[Any] = []
    for issuance in issuances:
        if issuance[0] == 0:
            ticker, name, decimals, terms, _ = issuance[2]
            need(issuance[1] in range(inputs), "issuance-input")
            need(re.fullmatch(rb"[A-Z0-9]{1,12}", ticker) is not None, "asset-ticker")
            need(is_name(name), "asset-name")
            need(decimals in range(19), "asset-decimals")
            need(len(terms) in (0, 32), "asset-terms")
        need(issuance[:2] not in seen, "issuance-duplicate")
        seen.append(issuance[:2])
        need(issuance[-1] in AMOUNTS, "issuance-amount")


def check_lock(lock: Any) -> None:
    need(lock[0] != 6, "lock-root-pruned")
    count = 0

    def visit(node: Any, depth: int) -> None:
        nonlocal count
        count += 1
        need(count <= 64, "lock-nodes")
        need(depth <= 8, "lock-depth")
        match node:
            case [0, pubkey]:
                need(pubkey[0] in (2, 3), "lock-parameter")
            case [2 | 3 | 4, number]:
                need(number in PARAMETERS, "lock-parameter")
            case [1, required, children]:
                need(len(children) <= 64, "lock-nodes")
                shown = sum(child[0] != 6 for child in children)
                need(1 <= required <= len(children) and shown == required, "lock-threshold")
                for child in children:
                    visit(child, depth + 1)

    visit(lock, 1)


def check_witness(lock: Any, items: Sequence[bytes]) -> int:
    """How many keys it shows."""
    check_lock(lock)
    kinds = [atom[0] for _, atom in atoms_of(lock) if atom[0] in ITEM_SIZES]
    need(len(items) == len(kinds), "witness-items")
    for item, kind in zip(items, kinds, strict=True):
        need(len(item) == ITEM_SIZES[kind], "witness-item-size")
        need(kind != 0 or item[0] in (1, 2), "signature-scope")
    return kinds.count(0)


def cost_of(transaction: Any, keys: int) -> int:
    (_, inputs, outputs, issuances, _), witnesses = transaction
    ins, outs, size = len(inputs), len(outputs), len(enc(transaction))
    nodes = sum(count_nodes(lock) for lock, _ in witnesses) if inputs else 0
    return (
        max(size, 200 * keys, 150 * ins, 100 * outs, 20 * nodes)
        + 100 * max(0, outs - ins)
        + 1000 * len(issuances)
    )


def check_alone(transaction: Any) -> int:
    """T1–T26; the cost."""
    (version, inputs, outputs, issuances, expiry), witnesses = transaction
    need(len(enc(transaction)) <= 100_000, "oversized")
    need(version == 1, "tx-version")
    need(len(inputs) > 0, "tx-inputs-empty")
    need(len(outputs) > 0, "tx-outputs-empty")
    need(len(set(inputs)) == len(inputs), "tx-duplicate-input")
    need(expiry in range(2**32), "tx-expiry-range")
    check_outputs(outputs)
    check_issuances(issuances, len(inputs))
    need(len(witnesses) == len(inputs), "witness-count")
    keys = sum(check_witness(lock, items) for lock, items in witnesses)
    cost = cost_of(transaction, keys)
    need(cost <= 100_000, "tx-cost")
    return cost


# Transactions with their coins


def is_delayed(body: Any, height: int) -> bool:
    return not body[1] or (body[4] != 0 and body[4] - height < 20)


def check_atoms(body: Any, witnesses: Sequence[Any], coins: Sequence[Coin], place: Place) -> None:
    for (lock, items), coin in zip(witnesses, coins, strict=True):
        rest = list(items)
        for _, atom in atoms_of(lock):
            match atom:
                case [0, _]:
                    scope = rest.pop(0)[0]
                    need(scope == 1 or coin[0] != b"", "signature-sponsored-native")
                case [2, height]:
                    need(place.height >= height, "lock-after-height", "Premature")
                case [3, time]:
                    need(place.median_time >= time, "lock-after-time", "Premature")
                case [4, blocks]:
                    need(place.height - coin[3] >= blocks, "lock-older", "Premature")
                case [5, wanted]:
                    need(sha256(rest.pop(0)) == wanted, "lock-preimage")


def check_balance(body: Any, coins: Sequence[Coin], supplies: Mapping[bytes, int]) -> int:
    """T36–T39; the fee."""
    _, inputs, outputs, issuances, _ = body
    left: Counter[bytes] = Counter()
    for asset, amount, *_ in coins:
        left[asset] += amount
    for issuance in issuances:
        if issuance[0] == 0:
            _, index, definition, amount = issuance
            asset = asset_id(inputs[index], definition)
            left[authority_id(asset)] += int(definition[4])
        else:
            _, asset, amount = issuance
            need(authority_id(asset) in [coin[0] for coin in coins], "issuance-authority")
            need(supplies.get(asset, 0) + amount < 2**63, "asset-supply")
        left[asset] += amount
    for asset, amount, _, _ in outputs:
        left[asset] -= amount
    fee = left.pop(b"", 0)
    need(not any(left.values()), "asset-imbalance")
    need(fee >= 0, "overspend")
    return fee


def check_with_coins(
    transaction: Any, coins: Sequence[Coin | None], supplies: Mapping[bytes, int], place: Place
) -> int:
    """T27–T39; the fee."""
    body, witnesses = transaction
    need(body[4] == 0 or place.height <= body[4], "tx-expired")
    found: list[Coin] = []
    for (lock, _), coin in zip(witnesses, coins, strict=True):
        if coin is None:
            raise BrokenRule("coin-missing", "Missing")
        need(lock_hash(lock) == coin[2], "lock-mismatch")
        found.append(coin)
    for coin in found:
        is_ripe = not coin[4] or place.height - coin[3] >= 100
        need(is_ripe, "coin-immature", "Premature")
    check_atoms(body, witnesses, found, place)
    return check_balance(body, found, supplies)


class Signed(NamedTuple):
    """A signature that is to hold."""

    input_index: int
    path: bytes
    pubkey: bytes
    scope: int
    digest: bytes
    signature: bytes


def signatures(transaction: Any, coins: Sequence[Coin], chain: bytes) -> list[Signed]:
    body, witnesses = transaction
    made = []
    for index, (lock, items) in enumerate(witnesses):
        takers = [(path, atom) for path, atom in atoms_of(lock) if atom[0] in ITEM_SIZES]
        for (path, atom), item in zip(takers, items, strict=True):
            if atom[0] == 0:
                signed = digest(item[0], chain, path, index, body, coins)
                made.append(Signed(index, path, atom[1], item[0], signed, item[1:]))
    return made


def check_signatures(transaction: Any, coins: Sequence[Coin], chain: bytes) -> None:
    """T40."""
    for signed in signatures(transaction, coins, chain):
        need(is_signed(signed.pubkey, signed.digest, signed.signature), "bad-signature")


# Blocks


class Checked(NamedTuple):
    """A block that keeps B1–B12."""

    header: bytes
    transactions: list[Any]
    cost: int


def check_coinbase(transaction: Any) -> int:
    """B5–B8; the cost."""
    (version, _, outputs, issuances, _), witnesses = transaction
    need(version == 1, "tx-version")
    match witnesses:
        case [[[6, hidden], [extranonce]]]:
            is_plain = hidden == bytes(32) and len(extranonce) == 8
        case _:
            is_plain = False
    need(is_plain and not issuances, "coinbase-shape")
    check_outputs(outputs)
    need(all(output[0] == b"" for output in outputs), "coinbase-asset")
    return cost_of(transaction, 0)


def check_block(data: bytes) -> Checked:
    """B1–B12."""
    need(len(data) <= 4_000_000, "oversized", "DecodeError")
    header, listed = fields(read(data), 2)
    a_bytes(header, 80)
    transactions = [read_transaction(transaction) for transaction in a_list(listed)]
    need(len(transactions) > 0, "block-empty")
    cost = 0
    for number, transaction in enumerate(transactions):
        is_coinbase = not transaction[0][1]
        need(is_coinbase == (number == 0), "coinbase-misplaced")
        cost += check_coinbase(transaction) if is_coinbase else check_alone(transaction)
    need(cost <= 4_000_000, "block-cost")
    need(enc([header, transactions]) == data, "non-canonical", "DecodeError")
    root = block_root(enc(transactions[0]), others_root(transactions))
    need(root == header_fields(header)[1], "block-root")
    return Checked(header, transactions, cost)


class Change(NamedTuple):
    """How a block changes the ledger."""

    created: dict[bytes, list[Any]]
    spent: set[bytes]
    issued: Counter[bytes]
    destroyed: Counter[bytes]
    fees: int


def connect(
    block: Checked, params: Sequence[Any], place: Place, coins: Mapping[bytes, Coin],
    supplies: Mapping[bytes, int],
) -> Change:  # fmt: skip
    """C1–C4."""
    need(block.transactions[0][0][4] == place.height, "coinbase-height")
    known = dict(coins)
    change = Change({}, set(), Counter(), Counter(), 0)
    fees = 0
    for transaction in block.transactions[1:]:
        inputs = transaction[0][1]
        found = [known.get(outpoint) for outpoint in inputs]
        touched = {*supplies, *change.issued, *change.destroyed}
        now = {a: supplies.get(a, 0) + change.issued[a] - change.destroyed[a] for a in touched}
        fees += check_with_coins(transaction, found, now, place)
        check_signatures(transaction, [coin for coin in found if coin], place.chain)
        for outpoint in inputs:
            del known[outpoint]
            if change.created.pop(outpoint, None) is None:
                change.spent.add(outpoint)
        _apply(transaction, place.height, change)
        known.update(change.created)
    coinbase = block.transactions[0]
    made = sum(output[1] for output in coinbase[0][2])
    need(made <= subsidy(params[8], params[9], place.height) + fees, "coinbase-amount")
    _apply(coinbase, place.height, change)
    change.issued[b""] += made - fees
    return change._replace(fees=fees)


def _apply(transaction: Any, height: int, change: Change) -> None:
    """Outputs and issuances of one transaction."""
    body = transaction[0]
    txid, delayed = txid_of(body), is_delayed(body, height)
    for index, (asset, amount, lock, _) in enumerate(body[2]):
        if lock == BURN:
            change.destroyed[asset] += amount
        else:
            outpoint = txid + index.to_bytes(4, "big")
            change.created[outpoint] = [asset, amount, lock, height, delayed]
    for issuance in body[3]:
        if issuance[0] == 1:
            change.issued[issuance[1]] += issuance[2]
            continue
        asset = asset_id(body[1][issuance[1]], issuance[2])
        change.issued[asset] += issuance[3]
        if issuance[2][4]:
            change.issued[authority_id(asset)] += 1


# Headers


class Known(NamedTuple):
    """A header in its place."""

    height: int
    time: int
    work: int
    previous: bytes


class Headers:
    """Every header that was accepted, from the genesis of `params` on."""

    def __init__(self, params: Sequence[Any]) -> None:
        self.params = params
        first = read(genesis(params))[0]
        _, _, time, bits = header_fields(first)
        self.known = {sha256d(first): Known(0, time, work_of(bits), b"")}
        self.invalid: set[bytes] = set()

    def median_time(self, block: bytes) -> int:
        times: list[int] = []
        while block in self.known and len(times) < 11:
            times.append(self.known[block].time)
            block = self.known[block].previous
        return sorted(times)[len(times) // 2]

    def add(self, raw: bytes, now: int) -> Known:
        """H1–H10."""
        need(len(raw) == 80, "header-size", "DecodeError")
        block, (previous, _, time, bits) = sha256d(raw), header_fields(raw)
        need(block not in self.invalid, "block-known-invalid")
        need(is_canonical(bits), "header-bits-invalid")
        need(int.from_bytes(block, "little") <= target_of(bits), "header-hash-above-target")
        need(previous in self.known, "header-parent-unknown", "Missing")
        need(previous not in self.invalid, "header-parent-invalid")
        parent = self.known[previous]
        need(bits == next_bits(self.params, parent.height, parent.time), "header-bits-wrong")
        need(time > self.median_time(previous), "header-time-too-old")
        need(time >= parent.time + self.params[6], "header-time-spacing")
        need(time <= now + self.params[7], "header-time-too-new", "Premature")
        made = Known(parent.height + 1, time, parent.work + work_of(bits), previous)
        self.known[block] = made
        return made
