"""What an RPC call can answer instead of a result: numbers that clients know from Bitcoin Core.

One table turns the kinds of `consensus.errors` into them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from consensus.errors import DecodeError, Invalid, Missing, Premature, Refused, Rule, Violation


class Code(enum.IntEnum):
    """The number of an error."""

    MISC = -1
    TYPE = -3
    WALLET = -4
    ADDRESS_OR_KEY = -5
    """No such address, transaction, block or asset."""
    PARAMETER = -8
    """A parameter has a value that cannot be."""
    DATABASE = -20
    DESERIALIZATION = -22
    """The bytes are not a transaction or a block."""
    VERIFY = -25
    """A coin is missing, or it is too early."""
    REJECTED = -26
    """A rule or this node's policy refuses the transaction or block."""
    ALREADY_CONFIRMED = -27
    WARMING_UP = -28
    NODE_ALREADY_ADDED = -23
    NODE_NOT_ADDED = -24
    NODE_NOT_CONNECTED = -29
    FORBIDDEN = -32001
    """The user's role does not allow the method."""
    TOO_LARGE = -32002
    """The answer would be larger than this server gives at once."""
    PARSE = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL = -32603


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
