"""The test vectors of the protocol: what `scripts/make_vectors.py` writes, one module per subject."""
