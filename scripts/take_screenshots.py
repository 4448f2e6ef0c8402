"""Take the pictures of the docs: `python scripts/take_screenshots.py ATLAS [--out docs/pictures]`.

ATLAS is the folder of the pages. One small PNG per page, at the width of a desk and of a phone, in light and dark;
needs the dev extra and Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DESK, PHONE = (1280, 860), (390, 780)
COLOURS = 256
"""Colours of a picture: pages are flat, and a palette makes the files a third as large."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: the address of a page, how it is looked at, and how far down it begins.

    Attributes:
        name: Of the file.
        address: Within the atlas; `{...}` parts are filled with what the atlas holds.
        size: Of the window.
        scheme: `light` or `dark`.
        to: What is scrolled to first; empty for the top.
    """

    name: str
    address: str
    size: tuple[int, int] = DESK
    scheme: str = "light"
    to: str = ""


SHOTS = (
    Shot("overview", "#/overview"),
    Shot("map", "#/map"),
    Shot("emotions", "#/emotions"),
    Shot("emotion", "#/emotion/{emotion}"),
    Shot("feature", "#/feature/{feature}"),
    Shot("feature_histogram", "#/feature/{feature}", to="#histogram"),
    Shot("feature_controls", "#/feature/{feature}", to="#checks"),
    Shot("concepts", "#/concepts"),
    Shot("scenarios", "#/scenarios"),
    Shot("rollout", "{rollout}", to="#task"),
    Shot("conversation", "{talk}"),
    Shot("compare", "#/compare?of=emotion:{emotion},feature:{feature}"),
    Shot("about", "#/about"),
    Shot("map_dark", "#/map", scheme="dark"),
    Shot("feature_dark", "#/feature/{feature}", scheme="dark"),
    Shot("overview_phone", "#/overview", size=PHONE),
    Shot("feature_phone", "#/feature/{feature}", size=PHONE, scheme="dark"),
)


def main() -> int:
    """Take every picture, and print where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas", type=Path, help="folder of the pages, with an index.html")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    args = parser.parse_args()
    page = args.atlas / "index.html"
    if not page.is_file():
        print(f"{page}: no such page; build an atlas first", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    for name, picture in take_all(page.resolve().as_uri()):
        path = args.out / f"{name}.png"
        path.write_bytes(shrink(picture))
        print(f"{path} {path.stat().st_size / 1000:.0f} kB", flush=True)
    return 0


def take_all(home: str) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of every shot whose page the atlas has."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        places = find_places(browser, home)
        for shot in SHOTS:
            if any(f"{{{name}}}" in shot.address and not place for name, place in places.items()):
                continue
            context = browser.new_context(
                viewport={"width": shot.size[0], "height": shot.size[1]},
                color_scheme="dark" if shot.scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            yield shot.name, take(context.new_page(), home + shot.address.format(**places), shot.to)
            context.close()
        browser.close()


def find_places(browser: Any, home: str) -> dict[str, str]:
    """Addresses worth a picture: the emotion and feature with the furthest verdict, a cheat, a conversation."""
    tab = browser.new_page()
    found = {"emotion": "", "feature": "", "rollout": "", "talk": ""}
    tab.goto(f"{home}#/overview")
    tab.wait_for_selector("main h1")
    if tab.locator("section[aria-labelledby=emotions] tbody a.emotion").count():
        first = tab.locator("section[aria-labelledby=emotions] tbody tr").first
        found["emotion"] = first.locator("a.emotion").first.inner_text()
        found["feature"] = first.locator("a.address").last.inner_text()
    open_page(tab, home, "#/scenarios")
    for name, selector in (("rollout", "a.ending.cheat"), ("talk", "a[href^='#/talk']")):
        if tab.locator(selector).count():
            found[name] = tab.locator(selector).first.get_attribute("href")
    tab.close()
    return found


def open_page(tab: Any, home: str, address: str) -> None:
    """Open a page in a fresh document and wait until it stands still."""
    tab.goto("about:blank")
    tab.goto(home + address)
    tab.wait_for_selector("main h1")
    tab.wait_for_timeout(900)


def take(tab: Any, address: str, to: str) -> bytes:
    """A PNG of the window; with `to`, of what stands there and below."""
    open_page(tab, address, "")
    if to and tab.locator(to).count():
        tab.locator(to).first.evaluate("node => node.scrollIntoView()")
        tab.wait_for_timeout(200)
    return tab.screenshot()


def shrink(picture: bytes) -> bytes:
    """The same PNG with a palette."""
    from PIL import Image

    packed = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    palette = Image.Quantize.MAXCOVERAGE  # keeps the hues of small marks, which cover few pixels
    image.quantize(COLOURS, method=palette, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


if __name__ == "__main__":
    sys.exit(main())
