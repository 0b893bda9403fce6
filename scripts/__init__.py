"""Programs for those who work on Tael."""

from scripts.needs import need

need("click", "msgspec", "aiohttp", "plyvel", "coincurve", "cryptography")
