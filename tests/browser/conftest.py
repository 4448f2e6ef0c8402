"""A real browser, headless and offline, for pages that are opened from disk."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planted_site import HOSTILE, odd_example, planted_site

from emosae.site import write_site
from emosae.store import Stage

FLAGS = (
    "--no-sandbox",
    "--use-gl=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

RENDERER = "GL Driver Message"
"""Begins what a software renderer says of its own speed; no page can help it."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("browser: playwright is missing; install the dev extra")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted atlas, with one story that tries to be more than text."""
    data = planted_site()
    hostile = odd_example(HOSTILE, story_id=HOSTILE[0], emotion=HOSTILE[1])
    folder = tmp_path_factory.mktemp("atlas with a space")
    return write_site(planted_site(examples=[*data.examples, hostile]), Stage(folder))


class Visitor:
    """One browser tab on the atlas; it collects what the page complains of and every address it asks for."""

    def __init__(self, browser: Any, page: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        self.tab = self.context.new_page()
        self.address = page.as_uri()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", self._hear)
        self.tab.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.tab.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.tab.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, message: Any) -> None:
        if RENDERER not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, view: str = "") -> Any:
        """Open a deep link in a fresh document and wait until it is drawn."""
        self.tab.goto("about:blank")
        self.tab.goto(self.address + view)
        self.tab.wait_for_selector("main h1")
        return self.tab

    @property
    def title(self) -> str:
        """The page's heading."""
        return self.tab.locator("main h1").inner_text()

    @property
    def width(self) -> int:
        """What the page needs, in pixels; more than the window means that it scrolls sideways."""
        return self.tab.evaluate("document.documentElement.scrollWidth")

    @property
    def hash(self) -> str:
        """The address within the atlas."""
        return self.tab.evaluate("location.hash")


@pytest.fixture
def visit(browser: Any, atlas: Path) -> Iterator[Any]:
    """Open tabs on an atlas; at the end none of them may have complained or asked for anything but files."""
    visitors: list[Visitor] = []

    def start(page: Path = atlas, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, page, **options))
        return visitors[-1]

    yield start
    for visitor in visitors:
        visitor.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []
    foreign = [
        url for visitor in visitors for url in visitor.requests if not url.startswith(("file:", "about:", "data:"))
    ]
    assert foreign == []
