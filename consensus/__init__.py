"""The rules of the ledger: pure functions over frozen values.

Nothing in this package reads a clock, a file, a socket or a random number. Whatever a rule needs is
an argument, so the same bytes and the same context give the same verdict on every machine.

Reading order: params, errors, codec, hashes, tx, locks, sighash, tx_rules, asset, block, pow,
header_tree, block_rules, connect.
"""
