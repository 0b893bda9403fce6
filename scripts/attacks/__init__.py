"""Attacks on a real node in the length that docs/threats.md gives: `python -m scripts.attacks`."""
