"""Calls and their answers, on a chain that has nothing but its genesis block: regtest as it begins."""

from __future__ import annotations

from typing import NamedTuple

from node.rpc.json import Json, amount

_GENESIS = "9e3d7c456a1ce7b71d546f57515068b20a6016fd57d2ab86eb0016e00741e9e8"
_ADDRESS = "rtael1phw35uycnhvfw3avnjr9prmssx0s8vus47rvt2sp0xqshtg8mywzsl55uyz"
_LOCK = "bba34e1313bb12e8f59390ca11ee1033e0767215f0d8b5402f302175a0fb2385"


class Example(NamedTuple):
    """A call of a method, and what it answers."""

    method: str
    name: str
    params: tuple[Json, ...]
    result: Json


EXAMPLES: tuple[Example, ...] = (
    Example("getblockcount", "nothing but the genesis block", (), 0),
    Example("getbestblockhash", "nothing but the genesis block", (), _GENESIS),
    Example("getblockhash", "the genesis block", (0,), _GENESIS),
    Example(
        "getblockheader",
        "80 bytes in hex",
        (_GENESIS, False),
        "00000020" + 64 * "0" + "d7d408fd2a9bf932f66b63b924b0f8f097e61c2cdfddcb9ef207921e5a3c3268"
        "c02a046bffff7f2000000000",
    ),
    Example("gettxout", "no such coin", (64 * "0", 0), None),
    Example("getindexinfo", "one index", ("txindex",), {"txindex": {"synced": True, "best_block_height": 0}}),
    Example("getrawmempool", "nothing waits", (), []),
    Example("estimatesmartfee", "within six blocks", (6,), {"feerate": amount(1_000), "blocks": 6}),
    Example(
        "validateaddress",
        "a good address",
        (_ADDRESS,),
        {
            "isvalid": True,
            "address": _ADDRESS,
            "scriptPubKey": f"5120{_LOCK}",
            "isscript": False,
            "iswitness": True,
            "witness_version": 1,
            "witness_program": _LOCK,
            "lock": _LOCK,
        },
    ),
    Example(
        "getaddressbalance",
        "nothing yet",
        ({"addresses": [_ADDRESS]},),
        {
            "balance": 0, "received": 0, "unconfirmed": 0, "immature": 0, "assets": [], "height": 0,
            "bestblock": _GENESIS,
        },
    ),
    Example(
        "getaddressutxos",
        "a page of ten",
        ({"addresses": [_ADDRESS], "limit": 10},),
        {"utxos": [], "cursor": None, "height": 0, "hash": _GENESIS},
    ),
    Example("listassets", "none is issued yet", (), {"assets": [], "cursor": None}),
)  # fmt: skip
"""A test asks them of a node."""
