"""Pictures of every page for the documentation: on a phone and a desk, light and dark.

    python -m scripts.screenshots [DIRECTORY] [--only PAGE]      docs/screenshots, unless another is named

A node of its own plays hours of a small economy first (`tests/support/showcase.py`). WebP, which every
browser reads, keeps the whole folder small.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.browser import Browser, browsing, save
from tests.web.site import NAMES, Site, showing

DESTINATION = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
WIDTHS = (1280, 390)
THEMES = ("light", "dark")
QUALITY = 72
HEIGHT_MAX = 1_500
"""Of a picture: a list goes on below, and looks the same there."""
BYTES_MAX = 3_000_000
IS_LIVE = (
    "!document.querySelector('[data-live]') || document.getElementById('live').textContent !== ''"
)
CHINESE = ("overview", "transaction")
"""Pages that are shown in Chinese too."""


def take(browser: Browser, site: Site, folder: Path, names: Sequence[str]) -> None:
    """Pictures of the pages `names`."""
    wanted = [(name, width, theme, "en") for name in names for width in WIDTHS for theme in THEMES]
    wanted += [
        (name, width, "light", "zh") for name in CHINESE for width in WIDTHS if name in names
    ]
    for name, width, theme, language in wanted:
        browser.look(width, theme, language)
        browser.open(site.url + site.paths[name])
        browser.wait(IS_LIVE, "the stream")
        picture = browser.picture("webp", quality=QUALITY, height_max=HEIGHT_MAX)
        ending = "" if language == "en" else f"-{language}"
        save(picture, folder / f"{name}-{width}-{theme}{ending}.webp")


def main() -> None:
    parser = argparse.ArgumentParser(description="Take pictures of every page.")
    parser.add_argument("directory", nargs="?", type=Path, default=DESTINATION)
    parser.add_argument("--only", action="append", choices=NAMES, help="this page (repeatable)")
    options = parser.parse_args()
    folder: Path = options.directory
    with (
        tempfile.TemporaryDirectory() as scratch,
        showing(Path(scratch)) as site,
        browsing() as browser,
    ):
        take(browser, site, folder, options.only or NAMES)
    size = sum(path.stat().st_size for path in folder.glob("*.webp"))
    print(f"{size:,} bytes of pictures in {folder}")
    assert size < BYTES_MAX, "more than the documentation should weigh"


if __name__ == "__main__":
    main()
