"""The node: storage, chain, mempool, miner, JSON-RPC, and the daemon `taeld`."""
