"""Work for SHA-256 miners over the Stratum protocol, version 1 (docs/mining.md)."""
