"""Real nodes and wallets in processes of their own."""
