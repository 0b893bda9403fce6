"""What an RPC call can answer instead of a result: numbers that clients know from Bitcoin Core.

One table turns the kinds of `consensus.errors` into them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from consensus.errors import DecodeError, Invalid, Missing, Premature, Refused, Rule, Violation


class Code(enum.IntEnum):
    """The number of an error; `MEANINGS` says what each is for."""

    MISC = -1
    ADDRESS_OR_KEY = -5
    PARAMETER = -8
    DATABASE = -20
    DESERIALIZATION = -22
    NODE_ALREADY_ADDED = -23
    NODE_NOT_ADDED = -24
    VERIFY = -25
    REJECTED = -26
    ALREADY_CONFIRMED = -27
    WARMING_UP = -28
    NODE_NOT_CONNECTED = -29
    FORBIDDEN = -32001
    TOO_LARGE = -32002
    EVENTS_LOST = -32003
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL = -32603
    PARSE = -32700


MEANINGS: Mapping[Code, str] = {
    Code.MISC: "it cannot be done here, such as mining at once on a network with real proof of work",
    Code.ADDRESS_OR_KEY: "no such address, transaction, block or asset",
    Code.PARAMETER: "a parameter has a value that cannot be",
    Code.DATABASE: "the disk failed, or holds something else than was written",
    Code.DESERIALIZATION: "the bytes are not a transaction or a block, or not hex",
    Code.NODE_ALREADY_ADDED: "the peer is on the list already",
    Code.NODE_NOT_ADDED: "the peer is not on the list",
    Code.VERIFY: "something that the transaction or block builds on is not known",
    Code.REJECTED: "a rule, or this node's policy, refuses the transaction or block",
    Code.ALREADY_CONFIRMED: "the transaction is in a block already",
    Code.WARMING_UP: "the node is starting, or stopping: try again in a moment",
    Code.NODE_NOT_CONNECTED: "no such peer is connected",
    Code.FORBIDDEN: "the user's role does not allow the method",
    Code.TOO_LARGE: "the answer would be larger than this server gives at once",
    Code.EVENTS_LOST: "events that were not acknowledged are not kept any more: resync (docs/events.md)",
    Code.INVALID_REQUEST: "JSON, but not a request",
    Code.METHOD_NOT_FOUND: "no such method",
    Code.INVALID_PARAMS: "a parameter is missing, unknown or of the wrong type",
    Code.INTERNAL: "a mistake in this program; its log says more",
    Code.PARSE: "not JSON",
}


class RpcError(Exception):
    """The error that a call answers."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_KINDS: tuple[tuple[type[Violation], Code], ...] = (
    (DecodeError, Code.DESERIALIZATION),
    (Missing, Code.VERIFY),
    (Premature, Code.REJECTED),
    (Invalid, Code.REJECTED),
    (Refused, Code.REJECTED),
)
"""The code of each kind of violation."""

_RULES: Mapping[Rule, Code] = {
    Rule.ALREADY_CONFIRMED: Code.ALREADY_CONFIRMED,
}
"""Rules that have a code of their own."""


def error_of(violation: Violation) -> RpcError:
    """The error for a broken rule: its code, and the rule's name with what it was about."""
    code = _RULES.get(violation.rule)
    if code is None:
        code = next(code for kind, code in _KINDS if isinstance(violation, kind))
    return RpcError(code, str(violation))
