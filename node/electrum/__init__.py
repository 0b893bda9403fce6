"""The Electrum protocol 1.4 over TCP: what wallets and explorers ask an address server (docs/electrum.md)."""
