"""What can go wrong in the wallet by somebody's doing, as one line for the person who reads it."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` without control characters, which could repaint a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class WalletError(Exception):
    """The text is one clear line: what is wrong and, where there is one, the remedy.

    Never holds a secret: passphrases, words and private keys stay out of every message.
    """

    exit_code = 1
    """Of the command that ends with it."""


class OtherPayment(WalletError):
    """A request id stands for another payment already. Nothing was paid."""

    exit_code = 3


class NotPaid(WalletError):
    """A payment was not mined in its time and never will be; it can be signed anew."""

    exit_code = 4


class NotSettled(WalletError):
    """A payment is recorded and not in the node's hands: ask again with the same id."""

    exit_code = 5


class NodeError(WalletError):
    """The node cannot be reached, or declines. Nothing was changed."""


class NodeAbsent(NodeError):
    """Nobody is there who could answer: the node is probably not running."""


class NodeSilent(NodeError):
    """The connection broke after the question was sent: whether the node acted on it is unknown."""


class RpcError(NodeError):
    """The node answered with an error of JSON-RPC."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"the node refused {method}: {message} (code {code})")
        self.code = code
        self.message = message
