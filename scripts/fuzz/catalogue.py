"""Every target by its name."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.fuzz import events, files, miners, payments, peers, rpc, rules, settings, wallets
from scripts.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for module in (rules, peers, rpc, miners, files, settings, wallets, payments, events)
    for target in module.TARGETS
}
