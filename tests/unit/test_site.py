"""The atlas pages hold what the tables say, and every text in them stays text."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import HOOK, planted_sae
from planted_site import EMOTIONS, empty_site, odd_example, planted_site
from planted_stories import EMOTIONS as PLANTED_EMOTIONS
from planted_stories import plant_features, plant_stories

from emosae.atlas import build_atlas
from emosae.errors import UserError
from emosae.ledger import LADDER, build_ledger
from emosae.selectivity import rank_features
from emosae.site import Example, SiteData, write_site
from emosae.site.evidence import state_of_rung
from emosae.site.examples import MAX_TOKENS, PER_SPLIT, Library, choose_examples, name_tokens
from emosae.site.facts import list_facts
from emosae.site.pack import pack_site
from emosae.site.snippet import find_layer, write_snippet
from emosae.site.write import wrap_script
from emosae.store import Stage

STATIC = Path(str(resources.files("emosae.site"))) / "static"
HOSTILE = "</script><script>alert(1)</script>\"'`\u2028\u2029 \u05e9\u05dc\u05d5\u05dd \U0001f62d __proto__ ${x}"


def read_script(text: str) -> Any:
    """What a data file hands to the page."""
    return json.loads(re.fullmatch(r'emosae\.receive\("[a-z0-9-]+",(.*)\);\n', text)[1])


def planted_tables(**changes: Any) -> SiteData:
    """The planted atlas without stories, which take most of the time."""
    return planted_site(examples=(), **changes)


def change_ledger(data: SiteData, row: int, **cells: Any) -> SiteData:
    """The same atlas with some cells of one ledger row replaced."""
    rows = data.ledger.to_pylist()
    rows[row] |= cells
    return planted_tables(ledger=pa.Table.from_pylist(rows))


def row_of(atlas: dict[str, Any], sae: int, feature_idx: int) -> int:
    pairs = list(zip(atlas["features"]["sae"], atlas["features"]["feature_idx"], strict=True))
    return pairs.index((sae, feature_idx))


# Records


def test_an_example_must_have_a_value_for_every_token() -> None:
    with pytest.raises(ValueError, match="'odd' of early/0: 2 tokens, but 1 values"):
        odd_example(("a", "b"), values=(1.0,))


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        odd_example(("a",), values=(float("nan"),))


def test_a_table_without_a_needed_column_is_named() -> None:
    with pytest.raises(UserError, match="table nodes: has no column y"):
        planted_tables(nodes=planted_tables().nodes.drop_columns(["y"]))


# Stories


def test_the_strongest_stories_of_each_split_are_kept() -> None:
    cells = [(split, n) for split in ("discover", "confirm") for n in range(10)]
    examples = [odd_example(("x",), f"{split}-{n}", split=split, values=(float(n),)) for split, n in cells]
    [chosen] = choose_examples(examples, {("early", 0): 5}).values()
    expected = {f"{split}-{n}" for split in ("discover", "confirm") for n in range(10 - PER_SPLIT, 10)}
    assert {example.story_id for example in chosen} == expected
    assert [example.peak for example in chosen] == sorted((example.peak for example in chosen), reverse=True)


def test_silent_stories_and_features_off_the_map_are_left_out() -> None:
    silent, stranger = odd_example(("x",), values=(0.0,)), odd_example(("x",), feature_idx=999)
    assert choose_examples([silent, stranger], {("early", 0): 0}) == {}


@given(peak=st.integers(0, 1999), length=st.integers(1, 2000))
def test_a_long_story_is_cut_around_its_peak_and_stays_aligned(peak: int, length: int) -> None:
    peak %= length
    tokens = tuple(f"t{place}" for place in range(length))
    values = tuple(7.0 if place == peak else 1.0 for place in range(length))
    library = Library()
    library.add_feature(3, [odd_example(tokens, values=values)])
    [part], [chunk] = library.parts, library.chunks
    kept = part["tokens"][0]
    assert len(kept) == min(length, MAX_TOKENS)
    assert part["cut"] == [length > MAX_TOKENS]
    assert kept[chunk["at"][0][chunk["values"][0].index(7)]] == f"t{peak}"


def test_a_story_is_stored_once_however_many_features_show_it() -> None:
    library = Library()
    for row in range(5):
        library.add_feature(row, [odd_example(("once", " more"))])
    assert [part["id"] for part in library.parts] == [["odd"]]
    assert library.chunks[0]["feature"] == [0, 1, 2, 3, 4]


def test_the_same_story_in_other_tokens_is_another() -> None:
    library = Library()
    library.add_feature(0, [odd_example(("one two",)), odd_example(("one", " two"))])
    assert library.parts[0]["tokens"] == [["one two"], ["one", " two"]]


def test_tokens_are_named_by_their_strongest_value() -> None:
    weak, strong = odd_example((" apt",), values=(1.0,)), odd_example((" zeal", "x"), values=(3.0, 0.0))
    assert name_tokens([weak, strong, odd_example((" ",))]) == ["zeal", "apt"]


# Tables


def test_the_best_feature_is_the_one_chosen_on_discover_whatever_confirm_says() -> None:
    data = planted_tables()
    lucky = next(n for n, row in enumerate(data.ledger.to_pylist()) if row["emotion"] == "sad" and row["sae"] == "late")
    atlas, _ = pack_site(change_ledger(data, lucky, auroc_confirm=0.999, auroc_confirm_lo=0.99))
    best = atlas["emotions"]["best"][EMOTIONS.index("sad")]
    assert atlas["ledger"]["feature"][best] == row_of(atlas, 0, 4 * EMOTIONS.index("sad"))


def test_the_best_feature_that_the_ranking_names_stands() -> None:
    rows = [row | {"sae": "late"} for row in planted_tables().emotions.to_pylist()]
    atlas, _ = pack_site(planted_tables(emotions=pa.Table.from_pylist(rows)))
    features = [atlas["ledger"]["feature"][best] for best in atlas["emotions"]["best"]]
    assert {atlas["features"]["sae"][feature] for feature in features} == {1}


def test_ledger_rows_come_by_verdict_and_then_by_what_discover_said() -> None:
    atlas, _ = pack_site(planted_tables())
    keys = list(zip(atlas["ledger"]["level"], atlas["ledger"]["auroc"], strict=True))
    assert keys == sorted(keys, reverse=True)
    assert keys[0][0] == 5


def test_a_feature_has_the_furthest_verdict_of_its_rows() -> None:
    atlas, _ = pack_site(planted_tables())
    desperate = row_of(atlas, 0, 4 * EMOTIONS.index("desperate"))
    assert atlas["features"]["level"][desperate] == len(LADDER)


def test_links_to_features_off_the_map_are_dropped() -> None:
    stray = {"sae_a": "early", "feature_a": 0, "sae_b": "late", "feature_b": 12345, "relation": "match"}
    atlas, _ = pack_site(planted_tables(links=pa.Table.from_pylist([stray, stray | {"feature_b": 0}])))
    assert atlas["links"]["a"] == [row_of(atlas, 0, 0)]
    assert atlas["links"]["b"] == [row_of(atlas, 1, 0)]


def test_numbers_that_json_cannot_hold_become_null() -> None:
    atlas, _ = pack_site(change_ledger(planted_tables(), 0, cohens_d=float("nan"), q_bh=float("inf")))
    place = atlas["ledger"]["feature"].index(0)
    assert atlas["ledger"]["cohens_d"][place] is None
    assert atlas["ledger"]["q_bh"][place] is None


def test_overlap_is_square_in_the_order_of_its_emotions() -> None:
    rows = [
        {"emotion_a": a, "emotion_b": b, "cosine": cosine}
        for a, b, cosine in (("sad", "joyful", 0.25), ("joyful", "sad", 0.5))
    ]
    atlas, _ = pack_site(planted_tables(overlap=pa.Table.from_pylist(rows)))
    assert atlas["overlap"] == {
        "emotions": [EMOTIONS.index("sad"), EMOTIONS.index("joyful")],
        "cosine": [[None, 0.25], [0.5, None]],
    }


def test_an_sae_that_was_not_described_is_still_listed() -> None:
    atlas, _ = pack_site(planted_tables(saes=planted_tables().saes.slice(0, 1)))
    assert atlas["saes"]["name"] == ["early", "late", "late-seed1"]


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ({}, "open"),
        ({"q_bh": None}, "open"),
        ({"q_bh": float("nan")}, "open"),
        ({"q_bh": 0.2}, "failed"),
        ({"q_bh": 0.01}, "passed"),
    ],
)
def test_a_rung_is_open_until_it_was_measured(row: dict[str, Any], state: str) -> None:
    assert state_of_rung(LADDER[0], row)[0] == state


def test_facts_are_the_manifests_plain_entries() -> None:
    manifest = {
        "config": {"seed": 1},
        "model": {"name": "m", "weight_hash": "h", "layers": [1]},
        "format_version": 1,
        "empty": "",
    }
    assert list_facts(manifest) == [["model name", "m"], ["model weight hash", "h"], ["format version", "1"]]


@pytest.mark.parametrize(
    "location", ["runs/a b/'quoted\"", "gpt2-small-res-jb:blocks.8.hook_resid_pre", "", "c:\\saes\\one"]
)
def test_the_snippet_is_python_whatever_the_location(location: str) -> None:
    snippet = write_snippet('blocks.3.hook"""\nimport os', location)
    compile(snippet.replace("{feature_idx}", "7").replace("{value}", "1.5"), "snippet", "exec")
    assert ("from_pretrained" in snippet) == location.startswith("gpt2")


def test_layers_are_read_off_hook_names() -> None:
    assert [find_layer(name) for name in ("blocks.12.hook_resid_post", "hook_embed")] == [12, None]


# Files


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_survives_the_script_that_carries_it(text: str) -> None:
    script = wrap_script("stories-0", {"text": [text]})
    assert script.isascii()
    assert "<" not in script
    assert read_script(script) == {"text": [text]}


def test_hostile_names_and_stories_are_carried_as_data(tmp_path: Path) -> None:
    example = odd_example((HOSTILE, "y" * 10_000), story_id=HOSTILE, emotion=HOSTILE)
    write_site(planted_site(model=HOSTILE, notes=(HOSTILE,), examples=[example]), Stage(tmp_path))
    stories = read_script((tmp_path / "data/stories-0.js").read_text())
    assert stories["tokens"] == [[HOSTILE, "y" * 10_000]]
    assert read_script((tmp_path / "data/atlas.js").read_text())["meta"]["model"] == HOSTILE
    assert HOSTILE not in (tmp_path / "index.html").read_text()


def test_an_atlas_of_nothing_is_written(tmp_path: Path) -> None:
    assert write_site(empty_site(), Stage(tmp_path)) == tmp_path / "index.html"
    atlas = read_script((tmp_path / "data/atlas.js").read_text())
    ledger = read_script((tmp_path / "data/ledger.js").read_text())
    assert atlas["features"]["feature_idx"] == ledger["feature"] == atlas["emotions"]["name"] == []


def test_the_first_page_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write_text = Stage.write_text

    def record(self: Stage, name: str, text: str) -> Path:
        written.append(name)
        return write_text(self, name, text)

    monkeypatch.setattr(Stage, "write_text", record)
    write_site(planted_tables(), Stage(tmp_path))
    assert written[-1] == "index.html"
    assert {"data/atlas.js", "js/app.js", "css/base.css"} <= set(written)


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_site(planted_site(), Stage(tmp_path / name))
    read = [{p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.js")} for n in ("one", "two")]
    assert read[0] == read[1]


FORBIDDEN = (
    *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"),
    *("fetch(", "XMLHttp", "WebSocket", "sendBeacon", "http:", "https:", "@import", "url("),
)


def list_sources() -> list[Path]:
    return [path for path in sorted(STATIC.rglob("*")) if path.suffix in (".js", ".css", ".html")]


@pytest.mark.parametrize("path", list_sources(), ids=lambda path: path.name)
def test_no_source_writes_markup_runs_text_or_reaches_out(path: Path) -> None:
    source = (
        path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "").replace("/^(#|https:\\/\\/)/", "")
    )
    assert [word for word in FORBIDDEN if word in source] == []


def test_the_first_page_loads_every_script_and_style() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:src|href)="((?:js|css)/[^"]+)"', page))
    assert named == {path.relative_to(STATIC).as_posix() for path in list_sources() if path.suffix != ".html"}


def test_an_example_knows_its_peak() -> None:
    assert Example("s", 0, "id", "sad", "", (), ()).peak == 0.0
    assert odd_example(("a", "b"), values=(-2.0, 1.5)).peak == 1.5


def test_what_the_stages_before_it_write_fits() -> None:
    rng, stories = np.random.default_rng(0), plant_stories(copies=1)
    features = [plant_features(stories, rng, sae=name, n_noise=5) for name in ("first", "second")]
    d_sae = features[0].mean.shape[1]
    dictionaries = {name: planted_sae(8, d_sae, name=name, seed=seed) for seed, name in enumerate(("first", "second"))}
    selectivity = rank_features(features, stories, rng=rng, permutations=15, top=3)
    atlas = build_atlas(selectivity, features, dictionaries, rng=rng)
    ledger = build_ledger(selectivity.candidates, profiles=selectivity.profiles, links=atlas.links)
    tables = {name: getattr(atlas, name) for name in ("nodes", "links", "concepts", "emotions", "overlap")}
    saes = pa.Table.from_pylist([{"name": name, "hook_name": HOOK} for name in dictionaries])
    packed, _ = pack_site(planted_tables(**tables, ledger=ledger, saes=saes))
    assert packed["emotions"]["name"] == list(PLANTED_EMOTIONS)
    assert len(packed["features"]["x"]) == len(atlas.nodes)
    assert len(packed["ledger"]["level"]) == len(ledger)
    best = [packed["ledger"]["feature"][row] for row in packed["emotions"]["best"]]
    named = {(row["sae"], row["feature_idx"]) for row in atlas.emotions.to_pylist()}
    assert {("first", "second")[packed["features"]["sae"][row]] for row in best} == {sae for sae, _ in named}
    assert {packed["features"]["feature_idx"][row] for row in best} == {index for _, index in named}
    assert all(len(profile) == len(PLANTED_EMOTIONS) for profile in packed["features"]["profile"])
    assert sorted(packed["emotions"]["order"]) == list(range(len(PLANTED_EMOTIONS)))
