"""The map: drawn with WebGL or without, searched, filtered, selected, kept in the address, of few features or many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from planted_site import EMOTIONS, SAES, empty_site, planted_site

from emosae.site import write_site
from emosae.site.pack import pack_site
from emosae.store import Stage

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
DESPERATE = 4 * EMOTIONS.index("desperate")
MANY = 120
LAUGHS = sum(any("laugh" in token for token in tokens) for tokens in pack_site(planted_site())[0]["features"]["tokens"])
DRAWN = "() => performance.getEntriesByName('emosae-map-drawn').length > 0 && !!document.querySelector('main tbody tr')"
NO_WEBGL = """
const getContext = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : getContext.call(this, kind, ...rest);
};
"""
INK = """async () => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const source = document.querySelector("[data-drawer]");
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [source.width, source.height];
  const context = copy.getContext("2d");
  context.drawImage(await createImageBitmap(source), 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  let ink = 0;
  for (let at = 3; at < data.length; at += 4) ink += data[at] > 60;
  return ink;
}"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas of so many features that its columns are stored as bytes, with ratings of its emotions."""
    data = planted_site(examples=(), per_emotion=MANY)
    spread = [2 * place / (len(EMOTIONS) - 1) - 1 for place in range(len(EMOTIONS))]
    emotions = data.emotions.append_column("valence", pa.array(spread)).append_column("arousal", pa.array(spread[::-1]))
    folder = tmp_path_factory.mktemp("large")
    return write_site(planted_site(examples=(), per_emotion=MANY, emotions=emotions), Stage(folder))


def open_map(visitor: Any, query: str = "") -> Any:
    tab = visitor.open(f"#/map{query}")
    tab.wait_for_function(DRAWN)
    return tab


def count_shown(tab: Any) -> str:
    return tab.locator(".section-head [role=status]").inner_text()


def draw_lasso(tab: Any, corners: list[tuple[float, float]]) -> None:
    """Drag through corners given as shares of the surface's width and height, with Shift held."""
    box = tab.locator(".surface").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    tab.keyboard.down("Shift")
    tab.mouse.move(*points[0])
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*point, steps=4)
    tab.mouse.up()
    tab.keyboard.up("Shift")


@pytest.mark.parametrize("script", ["", NO_WEBGL], ids=["webgl", "flat"])
def test_marks_are_drawn_with_and_without_webgl(visit: Visit, script: str) -> None:
    visitor = visit()
    if script:
        visitor.tab.add_init_script(script)
    tab = visitor.open("#/map")
    assert tab.locator("[data-drawer]").get_attribute("data-drawer") == ("flat" if script else "webgl")
    if script:  # what WebGL drew is gone from its buffer once it was shown
        assert tab.evaluate(INK) > 132 * 30


def test_a_lost_graphics_card_is_made_up_for(visit: Visit) -> None:
    tab = open_map(visit())
    tab.evaluate(
        "document.querySelector('[data-drawer]').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
    )
    tab.locator("[data-drawer=flat]").wait_for()
    assert tab.evaluate(INK) > 132 * 30


def test_a_lasso_selects_what_lies_inside_and_stands_in_the_address(visit: Visit) -> None:
    visitor = visit()
    tab = open_map(visitor)
    draw_lasso(tab, [(0.001, 0.02), (0.98, 0.02), (0.98, 0.98), (0.001, 0.98)])
    tab.locator("#selection").wait_for()
    assert tab.locator("#selection").inner_text() == "132 selected"
    draw_lasso(tab, [(0.001, 0.02), (0.5, 0.02), (0.5, 0.98), (0.001, 0.98)])
    tab.wait_for_function("() => document.querySelector('#selection').innerText !== '132 selected'")
    half = tab.locator("#selection").inner_text()
    assert 20 < int(half.split()[0]) < 112
    address = visitor.hash
    tab.go_back()
    tab.wait_for_function("() => document.querySelector('#selection').innerText === '132 selected'")
    again = open_map(visitor, address.removeprefix("#/map"))
    assert again.locator("#selection").inner_text() == half
    again.get_by_text("Clear").click()
    again.wait_for_function("() => !document.querySelector('#selection')")


def test_what_is_in_view_is_selected_by_a_key(visit: Visit) -> None:
    tab = open_map(visit(), f"?at={DESPERATE}")
    tab.locator(".surface").focus()
    for _ in range(3):
        tab.keyboard.press("+")
    tab.keyboard.press("s")
    tab.locator("#selection").wait_for()
    assert 0 < int(tab.locator("#selection").inner_text().split()[0]) < 40
    assert "desperate" in tab.locator(".map-aside").inner_text()
    assert tab.locator("#listing").inner_text() == "The selected features as a list"


def test_typing_narrows_the_map_and_keeps_the_focus(visit: Visit) -> None:
    visitor = visit()
    tab = open_map(visitor)
    numbers = sum("3" in str(feature) for feature in range(4 * len(EMOTIONS)))
    for typed, n in (("laugh", LAUGHS), ("desperate", 12), ("early/3", numbers)):
        says = f"{n} of 132 features"
        tab.fill("#filter-find", typed)
        tab.wait_for_function(
            "says => document.querySelector('.section-head [role=status]').innerText === says", arg=says
        )
    assert tab.evaluate("document.activeElement.id") == "filter-find"
    assert visitor.hash == "#/map?find=early%2F3"
    again = open_map(visitor, "?find=laugh")
    assert count_shown(again) == f"{LAUGHS} of 132 features"
    again.fill("#filter-find", "zebra")
    again.locator(".map-stage .nothing").wait_for()
    assert count_shown(again) == "0 of 132 features"


def test_a_search_can_be_shown_on_the_map(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open()
    tab.fill("#search", "laugh")
    tab.get_by_text(f"Show {LAUGHS} features on the map").click()
    tab.wait_for_function(DRAWN)
    assert visitor.hash == "#/map?find=laugh"
    assert count_shown(tab) == f"{LAUGHS} of 132 features"


@pytest.mark.parametrize(
    ("colour", "names"),
    [
        ("layer", ["1", "3"]),
        ("sae", list(SAES)),
        ("verdict", ["not detected", "detected"]),
        ("emotion", ["afraid", "angry"]),
    ],
)
def test_each_colouring_has_its_legend_that_narrows(visit: Visit, colour: str, names: list[str]) -> None:
    tab = open_map(visit(), f"?colour={colour}")
    entries = tab.locator(".legend li bdi").all_inner_texts()
    assert entries[: len(names)] == names
    counts = [int(text) for text in tab.locator(".legend li .muted").all_inner_texts()]
    assert sum(counts) == 132
    tab.locator(".legend li").nth(1).locator("a").click()
    tab.wait_for_function(
        "() => / of 132 features/.test(document.querySelector('.section-head [role=status]').innerText)"
    )


def test_concepts_are_marks_too(visit: Visit) -> None:
    visitor = visit()
    tab = open_map(visitor, "?marks=concepts")
    assert count_shown(tab) == "11 concepts"
    tab.locator(".surface").focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("() => document.querySelector('figure > [role=status]').textContent.startsWith('concept ')")
    tab.keyboard.press("Enter")
    tab.wait_for_function("() => location.hash.startsWith('#/concept/')")


def test_the_view_stays_when_one_comes_back(visit: Visit) -> None:
    tab = open_map(visit())
    tab.locator(".surface").focus()
    for _ in range(4):
        tab.keyboard.press("+")
    tab.get_by_role("link", name="Concepts").click()
    tab.wait_for_function("() => document.querySelector('main h1').innerText === 'Concepts'")
    tab.go_back()
    tab.wait_for_function("() => document.querySelector('main h1').innerText === 'Map'")
    tab.locator(".surface").press("s")
    tab.locator("#selection").wait_for()
    assert int(tab.locator("#selection").inner_text().split()[0]) < 66


def test_many_features_are_shown_named_and_opened(visit: Visit, large: Path) -> None:
    visitor = visit(large)
    tab = open_map(visitor)
    n = 3 * MANY * len(EMOTIONS)
    assert count_shown(tab) == f"{n:,} features"
    assert f"The first 500 of {n:,} features" in tab.locator("main").inner_text()
    tab.select_option("#filter-sae", "late-seed1")
    tab.wait_for_function(
        "() => document.querySelector('.section-head [role=status]').innerText.startsWith('1,320 of')"
    )
    first = tab.locator("tbody th a").first
    address = first.inner_text()
    first.click()
    from playwright.sync_api import expect

    expect(tab.locator("main h1")).to_have_text(f"Feature {address.split('/')[1]}")
    assert visitor.hash.startswith("#/feature/late-seed1/")
    tab.locator(".profile li").first.wait_for()
    assert tab.locator(".ladder li").count() == 5


def test_valence_and_arousal_are_a_plane_where_emotions_are_rated(visit: Visit, large: Path) -> None:
    tab = open_map(visit(large), "?plane=affect&emotion=afraid&verdict=2")
    assert tab.locator("#filter-plane").input_value() == "affect"
    n_shown = int(count_shown(tab).split()[0])
    draw_lasso(tab, [(0.02, 0.02), (0.5, 0.02), (0.5, 0.5), (0.02, 0.5)])  # unpleasant and stirred, as it is rated
    tab.locator("#selection").wait_for()
    assert tab.locator("#selection").inner_text() == f"{n_shown} selected"
    assert n_shown > 3


def test_an_atlas_without_ratings_offers_no_such_plane(visit: Visit) -> None:
    tab = open_map(visit(), "?plane=affect")
    assert tab.locator("#filter-plane").count() == 0
    assert count_shown(tab) == "132 features"


def test_a_map_of_nothing_says_so(visit: Visit, tmp_path: Path) -> None:
    tab = visit(write_site(empty_site(), Stage(tmp_path))).open("#/map?lasso=0~0_1~1_0~1&find=x&emotion=none")
    assert "This atlas has no features." in tab.locator(".map-stage").inner_text()
    for key in ("ArrowLeft", "Enter", "s", "0"):
        tab.locator(".surface").press(key)


def test_the_map_can_be_used_on_a_phone(visit: Visit) -> None:
    visitor = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    tab = open_map(visitor)
    assert not tab.locator("#filter-emotion").is_visible()
    tab.get_by_text("Find, filter, colour").click()
    tab.select_option("#filter-emotion", "sad")
    tab.wait_for_function("() => location.hash === '#/map?emotion=sad'")
    assert tab.locator("#filter-emotion").is_visible()
    assert visitor.width <= 390
