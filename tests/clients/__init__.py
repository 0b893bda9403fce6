"""Programs that others wrote for Bitcoin, unchanged, against a node."""
