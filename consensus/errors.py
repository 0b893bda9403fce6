"""Every rule that can be broken, by name, and the five kinds of answer.

A rule's text form is what RPC clients, logs and peers see. docs/protocol.md lists the consensus
rules in the order in which they are checked.
"""

from __future__ import annotations

import enum
from typing import Any


class Rule(enum.StrEnum):
    """The name of a rule. The value is part of the public interface and never changes."""

    # Encoding
    MALFORMED = "malformed"
    NON_CANONICAL = "non-canonical"
    OVERSIZED = "oversized"

    # Transactions, without context
    TX_VERSION = "tx-version"
    TX_INPUTS_EMPTY = "tx-inputs-empty"
    TX_OUTPUTS_EMPTY = "tx-outputs-empty"
    TX_DUPLICATE_INPUT = "tx-duplicate-input"
    TX_EXPIRY_RANGE = "tx-expiry-range"
    OUTPUT_ASSET_SIZE = "output-asset-size"
    OUTPUT_AMOUNT_RANGE = "output-amount-range"
    OUTPUT_MEMO_SIZE = "output-memo-size"
    ISSUANCE_INPUT = "issuance-input"
    ISSUANCE_DUPLICATE = "issuance-duplicate"
    ISSUANCE_AMOUNT = "issuance-amount"
    ASSET_TICKER = "asset-ticker"
    ASSET_NAME = "asset-name"
    ASSET_DECIMALS = "asset-decimals"
    ASSET_TERMS = "asset-terms"
    WITNESS_COUNT = "witness-count"
    LOCK_ROOT_PRUNED = "lock-root-pruned"
    LOCK_THRESHOLD = "lock-threshold"
    LOCK_DEPTH = "lock-depth"
    LOCK_NODES = "lock-nodes"
    LOCK_PARAMETER = "lock-parameter"
    WITNESS_ITEMS = "witness-items"
    WITNESS_ITEM_SIZE = "witness-item-size"
    SIGNATURE_SCOPE = "signature-scope"
    TX_COST = "tx-cost"

    # Transactions, with the coins they spend
    TX_EXPIRED = "tx-expired"
    COIN_MISSING = "coin-missing"
    COIN_IMMATURE = "coin-immature"
    LOCK_MISMATCH = "lock-mismatch"
    LOCK_AFTER_HEIGHT = "lock-after-height"
    LOCK_AFTER_TIME = "lock-after-time"
    LOCK_OLDER = "lock-older"
    LOCK_PREIMAGE = "lock-preimage"
    SIGNATURE_SPONSORED_NATIVE = "signature-sponsored-native"
    ISSUANCE_AUTHORITY = "issuance-authority"
    ASSET_IMBALANCE = "asset-imbalance"
    ASSET_SUPPLY = "asset-supply"
    OVERSPEND = "overspend"
    BAD_SIGNATURE = "bad-signature"

    # Headers
    HEADER_SIZE = "header-size"
    HEADER_BITS_INVALID = "header-bits-invalid"
    HEADER_HASH_ABOVE_TARGET = "header-hash-above-target"
    HEADER_PARENT_UNKNOWN = "header-parent-unknown"
    HEADER_PARENT_INVALID = "header-parent-invalid"
    HEADER_BITS_WRONG = "header-bits-wrong"
    HEADER_TIME_TOO_OLD = "header-time-too-old"
    HEADER_TIME_SPACING = "header-time-spacing"
    HEADER_TIME_TOO_NEW = "header-time-too-new"

    # Blocks
    BLOCK_EMPTY = "block-empty"
    BLOCK_ROOT = "block-root"
    COINBASE_MISPLACED = "coinbase-misplaced"
    COINBASE_SHAPE = "coinbase-shape"
    COINBASE_ASSET = "coinbase-asset"
    BLOCK_COST = "block-cost"
    COINBASE_HEIGHT = "coinbase-height"
    COINBASE_AMOUNT = "coinbase-amount"
    BLOCK_KNOWN_INVALID = "block-known-invalid"

    # Policy of this node: nobody's fault
    ALREADY_CONFIRMED = "already-confirmed"
    ALREADY_IN_MEMPOOL = "already-in-mempool"
    RECENTLY_REFUSED = "recently-refused"
    COINBASE_LOOSE = "coinbase-loose"
    FEE_TOO_LOW = "fee-too-low"
    FEE_BELOW_FLOOR = "fee-below-floor"
    FEE_BELOW_PARENT = "fee-below-parent"
    FEE_ABSURD = "fee-absurd"
    DUST = "dust"
    EXPIRES_TOO_SOON = "expires-too-soon"
    MEMPOOL_CONFLICT = "mempool-conflict"
    MEMPOOL_ANCESTORS = "mempool-ancestors"
    MEMPOOL_DESCENDANTS = "mempool-descendants"
    REPLACEMENT_FEE = "replacement-fee"
    REPLACEMENT_COUNT = "replacement-count"
    REPLACEMENT_SPENDS_CONFLICT = "replacement-spends-conflict"
    MEMPOOL_FULL = "mempool-full"
    GENESIS_STALE = "genesis-stale"


class Violation(Exception):
    """A rule said no. `rule` names it; `data` are the values that a reader needs to see why."""

    def __init__(self, rule: Rule, *data: Any) -> None:
        super().__init__(rule, *data)
        self.rule = rule
        self.data = data

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}" if self.data else str(self.rule)

    @property
    def detail(self) -> str:
        """The data in one line; bytes as hex, at most 200 characters."""
        parts = [item.hex() if isinstance(item, bytes) else str(item) for item in self.data]
        return ", ".join(parts)[:200]


class DecodeError(Violation):
    """Not the encoding of anything. The sender's fault."""


class Invalid(Violation):
    """Never valid, in any chain. The sender's fault."""


class Missing(Violation):
    """Something it refers to is not known here: ask, or wait."""


class Premature(Violation):
    """Not valid yet: wait."""


class Refused(Violation):
    """This node's policy declines it; nobody's fault."""


class StorageError(Exception):
    """The disk holds something else than was written, or cannot be written: stop the node.

    `remedy` says in one sentence what the operator can do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} ({remedy})")
        self.what = what
        self.remedy = remedy
