"""Draw the picture of a page that README.md and previews of links show.

    python -m compare.site.card

renews compare/site/static/card.png, with Chromium.
"""

import hashlib
import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from compare.site.__main__ import build

CARD = Path(__file__).parent / "static" / "card.png"
PAGE = "clipping.html"
SIZE = ViewportSize(width=1200, height=630)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the path of the system's Chromium or Chrome, None if there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@contextmanager
def open_chromium(path: str) -> Iterator[Browser]:
    """Open a browser for the time of a with statement."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def digest(site: Path) -> str:
    """Return a digest of what the picture shows: from the title down to the text."""
    shown = (site / PAGE).read_text("utf-8").partition("<h1>")[2]
    shown = shown.partition('id="text"')[0]
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def main() -> None:
    """Renew the picture."""
    path = find_chromium()
    if path is None:
        sys.exit(f"error: none of {', '.join(CHROMIUM)} is installed")
    with TemporaryDirectory() as folder, open_chromium(path) as browser:
        site = Path(folder)
        build(site)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto((site / PAGE).as_uri())
        page.get_by_text("only what this lesson adds").click()
        image = Image.open(io.BytesIO(page.screenshot()))
        info = PngInfo()
        info.add_text("digest", digest(site))
    colors = image.quantize(64, dither=Image.Dither.NONE)
    colors.save(CARD, optimize=True, pnginfo=info)


if __name__ == "__main__":
    main()
