"""The atlas of many features, opened from disk in headless Chromium without a graphics card.

The atlas is synthetic: features around 32 emotions, each a candidate for one, tokens and links drawn from a seed, short
stories. `first view` is the time from asking for the map's address to the first frame with all points; the peer is a
bare page with one plotly scattergl trace of the same points, its library beside it. `search` is the time from a typed
word to the list of what it found, `filter` from a typed word to the narrowed map, `overview` that of the first page.
Opening and closing the tab is part of the views. Where plotly is not installed, its part is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import measure

FLAGS = ("--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking")
N_EMOTIONS = 32
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "no", "pi", "ra", "se", "tu")
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
MAP_DRAWN = "() => performance.getEntriesByName('emosae-map-drawn').length > 0"
TABLE_DRAWN = "() => document.querySelector('main table') !== null"
NARROWED = "word => location.hash.includes(`find=${word}`) && document.querySelector('main table') !== null"
PLOT_DRAWN = "() => window.drawn === true"


def main() -> None:
    """Write both pages, then open them in turn."""
    arguments = measure.read_arguments(__doc__, features=50_000, saes=4)
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        atlas = write_atlas(Path(folder) / "atlas", arguments)
        contenders = {"emosae": partial(open_page, browser, f"{atlas}#/map", MAP_DRAWN)}
        if importlib.util.find_spec("plotly") is None:
            print("plotly is not installed: the first view has no peer", file=sys.stderr)
        else:
            plain = write_plot(Path(folder) / "plot", arguments)
            contenders["plotly scattergl"] = partial(open_page, browser, plain, PLOT_DRAWN)
        comparisons = [measure.run("first view", contenders, arguments.rounds)]
        overview = partial(open_page, browser, f"{atlas}#/overview", TABLE_DRAWN)
        comparisons.append(measure.run("overview", {"emosae": overview}, arguments.rounds))
        comparisons += time_typing(browser, atlas, arguments)
    measure.report("atlas_page", comparisons, arguments)


@contextmanager
def open_browser() -> Iterator[Any]:
    """The system's Chromium, drawing in software."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield browser
        browser.close()


def open_page(browser: Any, address: str, drawn: str) -> None:
    """Open an address in a new tab, wait until it is drawn, and close the tab."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(address)
    tab.wait_for_function(drawn, polling=10)
    tab.evaluate(TWO_FRAMES)
    tab.close()


def time_typing(browser: Any, atlas: str, arguments: argparse.Namespace) -> list[measure.Comparison]:
    """A search and a filter in a tab that has loaded what it needs; the words change so that nothing is remembered."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(f"{atlas}#/map")
    tab.wait_for_selector("main table")
    words = iter(f"{a}{b}" for a in SYLLABLES for b in SYLLABLES)

    def search() -> None:
        tab.fill("#search", "")
        tab.fill("#search", next(words))
        tab.wait_for_function("() => document.querySelector('#search-results [role=option] .verdict')", polling=10)

    def narrow() -> None:
        word = next(words)
        tab.fill("#filter-find", word)
        tab.wait_for_function(NARROWED, arg=word, polling=10)
        tab.evaluate(TWO_FRAMES)

    timed: dict[str, Callable[[], None]] = {"search": search, "filter": narrow}
    comparisons = [measure.run(name, {"emosae": act}, arguments.rounds) for name, act in timed.items()]
    tab.close()
    return comparisons


def write_atlas(folder: Path, arguments: argparse.Namespace) -> str:
    """The pages of a synthetic atlas; the address of the first."""
    from emosae.site import write_site
    from emosae.store import Stage

    return write_site(synthesise(arguments.features, arguments.saes), Stage(folder)).as_uri()


def draw_points(n_features: int) -> tuple[Any, Any, Any]:
    """Emotion, x and y of every feature."""
    import numpy as np

    rng = np.random.default_rng(0)
    emotion = rng.integers(0, N_EMOTIONS, n_features)
    angle = 2 * np.pi * emotion / N_EMOTIONS
    radius = rng.uniform(0.2, 1, n_features) ** 0.4
    x = radius * np.cos(angle) + rng.normal(0, 0.08, n_features)
    return emotion, x, radius * np.sin(angle) + rng.normal(0, 0.08, n_features)


def synthesise(n_features: int, n_saes: int) -> Any:
    """The tables of an atlas in which every feature is a candidate for one emotion."""
    import numpy as np
    import pyarrow as pa

    from emosae.ledger import VERDICTS
    from emosae.site import SiteData

    rng = np.random.default_rng(1)
    emotion, x, y = draw_points(n_features)
    names = np.array([f"emotion {place}" for place in range(N_EMOTIONS)])
    saes = np.array([f"layer{place}" for place in range(n_saes)])
    rows = np.arange(n_features)
    about = {"sae": saes[rows % n_saes].tolist(), "feature_idx": rows // n_saes, "emotion": names[emotion].tolist()}
    auroc = rng.uniform(0.5, 1, n_features)
    profile = rng.uniform(0.3, 0.7, (n_features, N_EMOTIONS)).astype(np.float32)
    verdict = np.array(VERDICTS)[np.minimum((auroc * 8 - 4).astype(int), 3)].tolist()
    measured = {name: rng.uniform(0, 1, n_features) for name in ("q_bh", "cohens_d", "fire_rate_pos", "fire_rate_neg")}
    confirm = {f"auroc_confirm{end}": auroc + shift for end, shift in (("", 0), ("_lo", -0.05), ("_hi", 0.03))}
    others = rng.integers(0, n_features, n_features // 2)
    near = (others + 1) % n_features
    return SiteData(
        model="synthetic",
        synthetic=True,
        manifest={},
        saes=pa.table({"name": saes, "hook_name": [f"blocks.{place}.hook_resid_post" for place in range(n_saes)]}),
        nodes=pa.table(about | {"x": x, "y": y, "fire_rate": measured["fire_rate_pos"], "profile": profile.tolist()}),
        links=pa.table(
            {
                **{f"sae_{end}": saes[place % n_saes] for end, place in (("a", others), ("b", near))},
                **{f"feature_{end}": place // n_saes for end, place in (("a", others), ("b", near))},
                "relation": ["match"] * len(others),
                "activation_corr": rng.uniform(0, 1, len(others)),
            }
        ),
        concepts=pa.table({"concept": [0]}),
        emotions=pa.table({"emotion": names}),
        ledger=pa.table(about | {"auroc": auroc, "verdict": verdict, "rival": names[emotion - 1]} | measured | confirm),
        examples=Tokens(about, rng),
    )


class Tokens:
    """An example of every feature: one token that it fires on, made when asked for."""

    def __init__(self, about: Any, rng: Any) -> None:
        """Draw the words."""
        self.about = about
        self.words = [f" {''.join(rng.choice(SYLLABLES, 3))}" for _ in about["sae"]]

    def __len__(self) -> int:
        """As many as features."""
        return len(self.words)

    def __iter__(self) -> Iterator[Any]:
        """Each feature's example, in a story that it shares with 500 others."""
        from emosae.site import Example

        for row, (sae, feature_idx) in enumerate(zip(self.about["sae"], self.about["feature_idx"], strict=True)):
            yield Example(sae, int(feature_idx), f"story-{row // 500}", "none", "confirm", (self.words[row],), (1.0,))


def write_plot(folder: Path, arguments: argparse.Namespace) -> str:
    """A page with nothing but plotly's scattergl of the same points; its address."""
    from plotly.offline import get_plotlyjs

    emotion, x, y = draw_points(arguments.features)
    trace = {"x": x.round(5).tolist(), "y": y.round(5).tolist(), "type": "scattergl", "mode": "markers"}
    trace["marker"] = {"size": 4, "color": emotion.tolist()}
    layout = {"width": 1200, "height": 700}
    folder.mkdir(parents=True)
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    call = f"Plotly.newPlot('plot', [{json.dumps(trace)}], {json.dumps(layout)})"
    head = '<!doctype html><meta charset="utf-8"><script src="plotly.min.js"></script><div id="plot"></div>'
    page = f"{head}<script>{call}.then(() => {{ window.drawn = true; }});</script>"
    (folder / "index.html").write_text(page, encoding="utf-8")
    return (folder / "index.html").as_uri()


if __name__ == "__main__":
    main()
