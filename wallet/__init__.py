"""The wallet `tael`: keys, coins, transactions. Talks to a node by JSON-RPC only."""
