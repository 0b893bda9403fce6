"""Fuzzing: what reads bytes from strangers or from the disk, fed with bytes that nobody thought of."""

from scripts.needs import DEVELOPMENT, need

need(*DEVELOPMENT)
