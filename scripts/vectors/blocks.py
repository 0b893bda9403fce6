"""Vectors of blocks: roots, coinbases, blocks that connect, and blocks that break one rule each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from consensus.asset import asset_id, authority_id
from consensus.block import (
    VERSION,
    Block,
    block_root,
    encode_block,
    make_block,
    make_header,
    transactions_root,
    tree_root,
)
from consensus.block_rules import CheckedBlock, check_block, check_coinbase
from consensus.codec import encode
from consensus.coins import CoinSetDigest
from consensus.connect import Connection, Delta
from consensus.errors import Invalid, Rule, Violation
from consensus.hashes import AssetId, sha256d, to_text
from consensus.keys import are_signed
from consensus.locks import BlockContext
from consensus.params import BLOCK_COST_MAX, REGTEST
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    Body,
    Coin,
    Height,
    Issue,
    OutPoint,
    Pruned,
    Reissue,
    Tx,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)
from scripts.vectors.basics import KEYS, NOTE
from scripts.vectors.common import (
    CHAIN_ID,
    CONTEXT,
    Funds,
    Json,
    body_of,
    coin_json,
    context_json,
    funds,
    label,
    pay,
    place,
    raw_json,
    refusal_json,
    sign_funds,
    supplies_json,
)
from scripts.vectors.spends import ALICE_KEY, BOB_KEY, NOTE_AUTHORITY, NOTE_ID, NOTHING, PEOPLE
from tests.support.chain import ALICE, BOB, CAROL, DAVE, solve

HEIGHT = CONTEXT.height
REWARD = REGTEST.subsidy_at(HEIGHT)
EXTRANONCE = bytes(range(8))
COIN = funds(ALICE_KEY, 100_000)
COINS: Mapping[OutPoint, Coin] = {place(0): COIN.coin}


def coinbase_of(amount: int = REWARD, height: int = HEIGHT, more: Sequence[TxOut] = ()) -> Tx:
    return make_coinbase(height, [pay(amount, DAVE.lock), *more], EXTRANONCE)


def block_of(txs: Sequence[Tx], root: bytes | None = None) -> Block:
    """A solved block at the height of the context, on a parent of no meaning."""
    if root is None:
        root = block_root(txs[0].raw, transactions_root(txs[1:])) if txs else bytes(32)
    header = make_header(
        VERSION, CHAIN_ID, root, CONTEXT.median_time + 60, REGTEST.pow_limit_bits, 0
    )
    return solve(make_block(header, txs))


def spend(spent: Sequence[Funds], places: Sequence[OutPoint], outputs: Sequence[TxOut],
          issuances: Sequence[Issue | Reissue] = (), expiry: int = 0) -> Tx:  # fmt: skip
    return sign_funds(body_of(places, outputs, issuances, expiry), spent, PEOPLE)


def _connect(
    checked: CheckedBlock, coins: Mapping[OutPoint, Coin], supplies: Mapping[AssetId, int],
    ctx: BlockContext,
) -> Delta:  # fmt: skip
    connection = Connection(
        checked, ctx, REGTEST, lambda spent, lock: coins.get(spent), lambda a: supplies.get(a, 0)
    )
    while (work := connection.step(BLOCK_COST_MAX)) is not None:
        if not are_signed(work):
            raise Invalid(Rule.BAD_SIGNATURE)
    return connection.finish()


def _given(
    name: str, raw: bytes, coins: Mapping[OutPoint, Coin], supplies: Mapping[AssetId, int],
    unit: bytes,
) -> Json:  # fmt: skip
    return {
        "name": name,
        "network": "regtest",
        "raw": raw_json(raw, unit),
        "context": context_json(CONTEXT),
        "coins": {spent.hex(): coin_json(coin) for spent, coin in coins.items()},
        "supplies": supplies_json(supplies),
    }


def connected(
    name: str, txs: Sequence[Tx], coins: Mapping[OutPoint, Coin] = COINS,
    supplies: Mapping[AssetId, int] = NOTHING,
) -> Json:  # fmt: skip
    """A block, the coins it finds, and how it changes the ledger."""
    block = block_of(txs)
    checked = check_block(block.raw)
    delta = _connect(checked, coins, supplies, CONTEXT)
    return {
        **_given(name, block.raw, coins, supplies, b""),
        "hash": to_text(block.header.hash),
        "txids": [to_text(tx.txid) for tx in txs],
        "others_root": transactions_root(txs[1:]).hex(),
        "root": block.header.root.hex(),
        "cost": checked.cost,
        "fees": delta.fees,
        "created": {at.hex(): coin_json(coin) for at, coin in sorted(delta.created.items())},
        "spent": sorted(at.hex() for at in delta.spent),
        "issued": {a.hex(): c.issued for a, c in sorted(delta.supply.items()) if c.issued},
        "destroyed": {a.hex(): c.destroyed for a, c in sorted(delta.supply.items()) if c.destroyed},
    }


def refused(
    name: str, rule: Rule, raw: bytes, coins: Mapping[OutPoint, Coin] = COINS,
    supplies: Mapping[AssetId, int] = NOTHING, unit: bytes = b"",
) -> Json:  # fmt: skip
    """A block that breaks `rule`, after it was seen to break that one."""
    error = _violation(raw, coins, supplies)
    assert error is not None, name
    assert error.rule is rule, (name, error)
    return {**_given(name, raw, coins, supplies, unit), **refusal_json(error)}


def _violation(
    raw: bytes, coins: Mapping[OutPoint, Coin], supplies: Mapping[AssetId, int]
) -> Violation | None:
    try:
        _connect(check_block(raw), coins, supplies, CONTEXT)
    except Violation as error:
        return error
    return None


def _payment(fee: int = 10_000, expiry: int = 0) -> Tx:
    return spend([COIN], [place(0)], [pay(100_000 - fee, BOB.lock)], expiry=expiry)


def _child(parent: Tx, amount: int = 80_000) -> Tx:
    """Spends the first output of `_payment`."""
    coin = Coin(NATIVE, 90_000, BOB.lock, Height(HEIGHT), False)
    return spend([Funds(coin, BOB_KEY)], [outpoint(parent.txid, 0)], [pay(amount, CAROL.lock)])


def _chained() -> list[Json]:
    parent = _payment()
    issue = Issue(0, NOTE, 1_000)
    made = asset_id(place(0), NOTE)
    issued = spend([COIN], [place(0)], [pay(1_000, ALICE.lock, made), pay(90_000, ALICE.lock),
                   pay(1, BURN_LOCK, authority_id(made))], [issue])  # fmt: skip
    note = Coin(made, 1_000, ALICE.lock, Height(HEIGHT), False)
    burnt = spend([Funds(note, ALICE_KEY)], [outpoint(issued.txid, 0)],
                  [pay(400, BURN_LOCK, made), pay(600, BOB.lock, made)])  # fmt: skip
    authority = funds(ALICE_KEY, 1, NOTE_AUTHORITY)
    more = spend([authority], [place(0)], [pay(1, ALICE.lock, NOTE_AUTHORITY),
                 pay(7, BOB.lock, NOTE_ID)], [Reissue(NOTE_ID, 7)])  # fmt: skip
    return [
        connected("a coinbase alone", [coinbase_of()]),
        connected("a coinbase without outputs", [make_coinbase(HEIGHT, [], EXTRANONCE)]),
        connected("less than the subsidy is taken", [coinbase_of(1), parent]),
        connected("subsidy and fee, in two outputs and one destroyed",
                  [coinbase_of(REWARD, more=[pay(9_999, ALICE.lock), pay(1, BURN_LOCK)]), parent]),
        connected("a child after its parent", [coinbase_of(REWARD + 20_000), parent, _child(parent)]),
        connected("a transaction about to expire", [coinbase_of(), _payment(expiry=HEIGHT + 19)]),
        connected("issued and partly destroyed", [coinbase_of(), issued, burnt]),
        connected("reissued", [coinbase_of(), more], {place(0): authority.coin}, {NOTE_ID: 50}),
    ]  # fmt: skip


def _bad_coinbases() -> list[Json]:
    good = coinbase_of()
    witness = good.witnesses[0]

    def one(name: str, rule: Rule, body: Body, *witnesses: Witness) -> Json:
        return refused(name, rule, block_of([make_tx(body, witnesses)]).raw)

    body = good.body
    asset_out = (pay(1, DAVE.lock, NOTE_ID),)
    zero = (TxOut(NATIVE, 0, DAVE.lock),)
    return [
        one("a coinbase of version 2", Rule.TX_VERSION, replace(body, version=2), witness),
        one("a coinbase that issues", Rule.COINBASE_SHAPE,
            replace(body, issuances=(Issue(0, NOTE, 5),)), witness),
        one("a coinbase without witness", Rule.COINBASE_SHAPE, body),
        one("a coinbase with two witnesses", Rule.COINBASE_SHAPE, body, witness, witness),
        one("an extranonce of 7 bytes", Rule.COINBASE_SHAPE, body,
            Witness(witness.lock, (bytes(7),))),
        one("an extranonce of 9 bytes", Rule.COINBASE_SHAPE, body,
            Witness(witness.lock, (bytes(9),))),
        one("two extranonces", Rule.COINBASE_SHAPE, body,
            Witness(witness.lock, (EXTRANONCE, EXTRANONCE))),
        one("a lock in the coinbase", Rule.COINBASE_SHAPE, body, Witness(KEYS[0], (EXTRANONCE,))),
        one("a hash that is not zero in the coinbase", Rule.COINBASE_SHAPE, body,
            Witness(Pruned(label("x")), (EXTRANONCE,))),
        one("a coinbase that pays 0", Rule.OUTPUT_AMOUNT_RANGE, replace(body, outputs=zero), witness),
        one("a coinbase that pays an asset", Rule.COINBASE_ASSET,
            replace(body, outputs=asset_out), witness),
    ]  # fmt: skip


def _bad_blocks() -> list[Json]:
    parent, good = _payment(), block_of([coinbase_of(), _payment()])
    one, other = coinbase_of(), coinbase_of(REWARD - 1)
    tiny = pay(1, DAVE.lock)
    dear = make_coinbase(HEIGHT, [tiny] * 20_001, EXTRANONCE)
    padded = make_coinbase(HEIGHT, [tiny] * 120_000, EXTRANONCE)
    empty = encode_block(good.header, [])
    start = len(empty)
    assert empty.endswith(b"\x90")
    assert good.raw[start - 1] == 0x92
    unsigned = make_tx(parent.body, [Witness(KEYS[0], (b"\x01" + bytes(64),))])
    return [
        refused("too many bytes", Rule.OVERSIZED, block_of([padded]).raw, unit=encode(tiny)),
        refused("nothing at all", Rule.MALFORMED, b""),
        refused("a header of 79 bytes", Rule.MALFORMED, b"\x92\xc4\x4f" + good.raw[4:]),
        refused("no transactions", Rule.BLOCK_EMPTY, empty),
        refused("no coinbase", Rule.COINBASE_MISPLACED, block_of([parent]).raw),
        refused("two coinbases", Rule.COINBASE_MISPLACED, block_of([one, other]).raw),
        refused("a coinbase at the end", Rule.COINBASE_MISPLACED, block_of([parent, one]).raw),
        *_bad_coinbases(),
        refused("a transaction that breaks a rule by itself", Rule.TX_VERSION,
                block_of([one, make_tx(replace(parent.body, version=3), parent.witnesses)]).raw),
        refused("20 001 outputs cost too much", Rule.BLOCK_COST, block_of([dear]).raw,
                unit=encode(tiny)),
        refused("the header as bin16", Rule.NON_CANONICAL,
                b"\x92\xc5\x00\x50" + good.raw[3:]),
        refused("the transactions as array16", Rule.NON_CANONICAL,
                good.raw[: start - 1] + b"\xdc\x00\x02" + good.raw[start:]),
        refused("another root", Rule.BLOCK_ROOT, block_of([one, parent], label("root")).raw),
        refused("a transaction twice, under the root of one", Rule.BLOCK_ROOT,
                block_of([one, parent, parent], good.header.root).raw),
        refused("another witness under the same root", Rule.BLOCK_ROOT,
                block_of([one, unsigned], good.header.root).raw),
    ]  # fmt: skip


def _bad_connections() -> list[Json]:
    parent, child = _payment(), _child(_payment())
    early = block_of([coinbase_of(height=HEIGHT - 1)])
    rival = spend([COIN], [place(0)], [pay(50_000, CAROL.lock)])
    unsigned = make_tx(parent.body, [Witness(KEYS[0], (b"\x01" + bytes(64),))])
    own = coinbase_of()
    reward = Coin(NATIVE, REWARD, DAVE.lock, Height(HEIGHT), True)
    eager = spend([Funds(reward, KEYS[3])], [outpoint(own.txid, 0)], [pay(5, ALICE.lock)])

    def one(name: str, rule: Rule, *txs: Tx) -> Json:
        return refused(name, rule, block_of([coinbase_of(), *txs]).raw)

    return [
        refused("the height of the block before", Rule.COINBASE_HEIGHT, early.raw),
        one("a child before its parent", Rule.COIN_MISSING, child, parent),
        one("a coin spent twice", Rule.COIN_MISSING, parent, rival),
        one("a coin that was made and spent in the block, again", Rule.COIN_MISSING, parent, child,
            _child(parent, 70_000)),
        one("the coinbase of the block itself", Rule.COIN_MISSING, eager),
        one("an expired transaction", Rule.TX_EXPIRED, _payment(expiry=HEIGHT - 1)),
        one("more out than in", Rule.OVERSPEND, _payment(fee=-1)),
        one("a wrong signature", Rule.BAD_SIGNATURE, unsigned),
        refused("a base unit more than subsidy and fees", Rule.COINBASE_AMOUNT,
                block_of([coinbase_of(REWARD + 10_001), parent]).raw),
    ]  # fmt: skip


def blocks() -> Json:
    """Trees and roots, coinbases as miners see them, and blocks that connect."""
    leaves = [label(f"txid {n}") + label(f"wtxid {n}") for n in range(9)]
    return {
        "trees": [
            {
                "leaves": [leaf.hex() for leaf in leaves[:count]],
                "root": tree_root(leaves[:count]).hex(),
            }
            for count in range(10)
        ],
        "coinbases": [_coinbase_case(HEIGHT), _coinbase_case(0), _coinbase_case(2**31)],
        "blocks": _chained(),
        "coin_sets": [_coin_set_case(0), _coin_set_case(1), _coin_set_case(5)],
    }


def _coin_set_case(count: int) -> Json:
    coins = {
        place(n): Coin(NOTE_ID if n & 1 else NATIVE, 10**n, PEOPLE[n % 3].lock, Height(n), n == 4)
        for n in range(count)
    }
    digest = CoinSetDigest()
    for at, coin in sorted(coins.items(), key=lambda pair: pair[1].lock + pair[0]):
        digest.add(at, coin)
    return {
        "coins": {at.hex(): coin_json(coin) for at, coin in coins.items()},
        "hash": digest.digest().hex(),
    }


def _coinbase_case(height: int) -> Json:
    tx = coinbase_of(height=height)
    others = tree_root([label("txid") + label("wtxid")])
    return {
        "height": height,
        "outputs": [encode(output).hex() for output in tx.body.outputs],
        "raw": tx.raw.hex(),
        "txid": to_text(tx.txid),
        "cost": check_coinbase(tx),
        "extranonce_offset": len(tx.raw) - len(EXTRANONCE),
        "extranonce": EXTRANONCE.hex(),
        "hash_for_miners": sha256d(tx.raw).hex(),
        "others_root": others.hex(),
        "root": block_root(tx.raw, others).hex(),
    }


def refused_blocks() -> Json:
    """Blocks that break one rule each, as they stand or at the place given."""
    return {"blocks": [*_bad_blocks(), *_bad_connections()]}
