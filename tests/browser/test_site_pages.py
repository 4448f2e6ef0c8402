"""The atlas opens from disk, and every page can be reached, read and left again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_site import EMOTIONS, HOSTILE, empty_site

from emosae.site import write_site
from emosae.store import Stage

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
VIEWS = (
    "#/overview",
    "#/map",
    "#/emotion/desperate",
    "#/feature/early/16",
    "#/concepts",
    "#/concept/2",
    "#/about",
)
DESPERATE = 4 * EMOTIONS.index("desperate")


def wait_for_title(tab: Any, title: str) -> None:
    tab.wait_for_function("title => document.querySelector('main h1')?.innerText === title", arg=title)


def test_the_first_page_lists_every_emotion_with_its_evidence(visit: Visit) -> None:
    tab = visit().open()
    rows = tab.locator("table").first.locator("tbody tr")
    assert rows.count() == len(EMOTIONS)
    furthest = [rows.nth(place).inner_text() for place in range(2)]
    assert all("survives controls" in text for text in furthest)
    assert any("desperate" in text and f"early/{DESPERATE}" in text for text in furthest)
    assert tab.locator("#synthetic").is_visible()


def test_the_planted_pairs_overlap_most(visit: Visit) -> None:
    pairs = visit().open().locator(".pairs li")
    found = {frozenset(pairs.nth(place).locator(".emotion").all_inner_texts()) for place in range(2)}
    assert found == {frozenset(("grieving", "sad")), frozenset(("excited", "joyful"))}


def test_search_finds_as_one_types_and_opens_the_choice(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open()
    tab.keyboard.press("/")
    tab.keyboard.type("desp")
    options = tab.locator("[role=option]")
    assert "desperate" in options.first.inner_text()
    tab.keyboard.press("Enter")
    wait_for_title(tab, "desperate")
    assert visitor.hash == "#/emotion/desperate"
    assert tab.locator("#search").input_value() == ""


def test_search_finds_numbers_tokens_and_words_of_stories(visit: Visit) -> None:
    tab = visit().open()
    for query, group, expected in (
        (f"early/{DESPERATE}", "Features", f"early/{DESPERATE}"),
        ("laughter", "Features", "joyful"),
        ("neighbour was sweeping", "Stories", "sweeping the steps"),
    ):
        tab.fill("#search", query)
        heading = tab.locator("#search-results .group", has_text=group)
        heading.wait_for()
        assert expected in tab.locator("#search-results").inner_text()


def test_a_search_without_results_says_so(visit: Visit) -> None:
    tab = visit().open()
    tab.fill("#search", "<b>zebra</b>")
    assert tab.locator("#search-results .nothing").inner_text() == "Nothing matches \u201c<b>zebra</b>\u201d."
    tab.keyboard.press("Enter")
    assert tab.locator("[role=option]").count() == 0


def test_from_the_map_to_a_feature_to_its_emotion_and_back(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open("#/map")
    canvas = tab.locator(".surface")
    canvas.focus()
    tab.keyboard.press("ArrowLeft")
    chosen = tab.locator("figure [role=status]")
    tab.wait_for_function("() => document.querySelector('figure [role=status]').textContent")
    address, emotion = chosen.inner_text().split(", ")
    tab.keyboard.press("Enter")
    wait_for_title(tab, f"Feature {address.split('/')[1]}")
    tab.locator(".title a.emotion").click()
    wait_for_title(tab, emotion)
    tab.go_back()
    wait_for_title(tab, f"Feature {address.split('/')[1]}")
    tab.go_back()
    wait_for_title(tab, "Map")
    tab.go_forward()
    wait_for_title(tab, f"Feature {address.split('/')[1]}")


def test_a_click_on_a_mark_opens_its_feature(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open(f"#/map?at={DESPERATE}")  # in the middle of the canvas
    box = tab.locator(".surface").bounding_box()
    tab.wait_for_timeout(150)
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert f"early/{DESPERATE}" in tab.locator(".tip:visible").inner_text()
    tab.mouse.down()
    tab.mouse.up()
    wait_for_title(tab, f"Feature {DESPERATE}")
    assert visitor.hash == f"#/feature/early/{DESPERATE}"


def test_dragging_the_map_moves_it_and_opens_nothing(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open(f"#/map?at={DESPERATE}")
    box = tab.locator(".surface").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.wait_for_timeout(150)
    tab.mouse.move(*middle)
    tab.mouse.down()
    tab.mouse.move(middle[0] + 120, middle[1] + 60, steps=4)
    tab.wait_for_timeout(100)
    tab.mouse.up()
    tab.wait_for_timeout(100)
    tab.mouse.move(middle[0] + 121, middle[1] + 61)
    assert f"early/{DESPERATE}" in tab.locator(".tip:visible").inner_text()
    assert visitor.hash == f"#/map?at={DESPERATE}"


def test_filters_narrow_the_map_and_stand_in_the_address(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open("#/map")
    tab.select_option("#filter-emotion", "sad")
    tab.wait_for_function("() => location.hash.includes('emotion=sad')")
    tab.focus("#filter-sae")
    tab.select_option("#filter-sae", "late")
    tab.wait_for_function("() => document.querySelectorAll('tbody tr').length === 4")
    assert visitor.hash == "#/map?emotion=sad&sae=late"
    assert tab.evaluate("document.activeElement.id") == "filter-sae"
    tab.select_option("#filter-verdict", "5")
    tab.locator(".nothing").wait_for()
    assert "0 of 132 features" in tab.locator(".section-head").inner_text()
    tab.locator(".nothing a").click()
    tab.wait_for_function("() => document.querySelectorAll('tbody tr').length > 0")


def test_every_deep_link_opens_and_fits_a_phone(visit: Visit) -> None:
    visitor = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    seen = {view: (visitor.open(view).title(), visitor.width) for view in VIEWS}
    assert [view for view, (title, _) in seen.items() if not title.endswith("emosae atlas")] == []
    assert {view: width for view, (_, width) in seen.items() if width > 390} == {}


def test_an_address_of_nothing_says_so(visit: Visit) -> None:
    visitor = visit()
    for view in ("#/emotion/nosuch", "#/feature/early/99999", "#/concept/77", "#/nowhere", "#/%E0%A4%A"):
        visitor.open(view)
        assert visitor.title == "Not here", view
    visitor.tab.get_by_text("Back to the overview").click()
    visitor.tab.locator("#emotions").wait_for()


def test_a_feature_page_names_the_file_that_each_rung_rests_on(visit: Visit) -> None:
    tab = visit().open(f"#/feature/early/{DESPERATE}")
    rungs = tab.locator(".ladder li")
    assert rungs.count() == 5
    assert all("reached" in text for text in rungs.all_inner_texts())
    files = [text.split(" ")[0] for text in tab.locator(".ladder .source").all_inner_texts()]
    assert files[0] == "selectivity/candidates.parquet"
    assert files[-1] == "scenarios/impossible_code/contrasts.parquet"
    snippet = tab.locator("pre").inner_text()
    assert "SAE.load_from_disk('saes/early')" in snippet
    assert f"feature_idx={DESPERATE}, value=" in snippet


def test_tokens_show_their_values_to_pointer_and_keys(visit: Visit) -> None:
    tab = visit().open("#/feature/early/16")
    story = tab.locator(".story").first
    peak = story.locator(".token.peak")
    peak.hover()
    shown = tab.locator(".tip:visible").inner_text()
    readout = story.locator("output").inner_text()
    assert readout.startswith(shown.split(" ")[0])
    assert peak.inner_text().strip() in readout
    story.locator(".shaded").focus()
    before = story.locator(".current").inner_text()
    tab.keyboard.press("ArrowRight")
    assert story.locator(".current").count() == 1
    assert story.locator(".current").inner_text() != before


def test_a_hostile_story_is_shown_as_text(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open("#/feature/early/0")
    story = tab.locator(".story", has_text="quoted").first
    assert story.locator(".shaded").text_content() == "".join(HOSTILE)
    assert story.locator("script, img").count() == 0
    assert tab.title() == "Feature 0 \u00b7 emosae atlas"
    assert visitor.width <= 1280
    assert story.locator(".story-body").evaluate("body => body.scrollWidth - body.clientWidth") == 0
    tab.fill("#search", "onerror")
    tab.locator("[role=option]").first.wait_for()
    assert tab.locator("#search-results img").count() == 0


def test_dark_and_light_can_be_switched_and_are_kept(visit: Visit) -> None:
    tab = visit(color_scheme="dark").open()
    background = "() => getComputedStyle(document.body).backgroundColor"
    dark = tab.evaluate(background)
    tab.locator(".theme").click()
    assert tab.evaluate(background) != dark
    tab.reload()
    tab.wait_for_selector("main h1")
    assert tab.evaluate(background) != dark


def test_every_page_can_be_used_without_a_pointer(visit: Visit) -> None:
    tab = visit().open("#/overview")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.tagName") == "H1"
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    assert tab.evaluate("!!document.activeElement.closest('main')")


def test_an_atlas_of_nothing_still_opens(visit: Visit, tmp_path: Path) -> None:
    visitor = visit(write_site(empty_site(), Stage(tmp_path)))
    for view in ("#/overview", "#/map", "#/concepts", "#/about"):
        tab = visitor.open(view)
        assert "undefined" not in tab.locator("body").inner_text()
        assert "NaN" not in tab.locator("body").inner_text()
    assert not tab.locator("#synthetic").is_visible()


def test_a_missing_data_file_is_named(visit: Visit, tmp_path: Path) -> None:
    page = write_site(empty_site(), Stage(tmp_path))
    (tmp_path / "data/atlas.js").unlink()
    visitor = visit(page)
    tab = visitor.open()
    assert "data/atlas.js is missing" in tab.locator("[role=alert]").inner_text()
    visitor.complaints.clear()  # the browser reports the file, and the page the error, and both should
