"""Many production nodes in one process, in virtual time, with every fault drawn from a seed."""

from scripts.needs import DEVELOPMENT, need

need(*DEVELOPMENT)
