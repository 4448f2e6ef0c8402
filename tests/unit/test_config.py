"""The file is taken at its word: unknown keys, wrong types and missing parts are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from emosae.config import (
    RunConfig,
    SaeFromRelease,
    SaeOnDisk,
    SaeShipped,
    SaeToTrain,
    load_config,
    parse_config,
    shipped_configs,
)
from emosae.errors import UsageError, UserError

DISK = {"name": "a", "path": "sae"}


@pytest.fixture
def load(tmp_path: Path):
    def write_and_load(text: str) -> RunConfig:
        (tmp_path / "run.toml").write_text(text)
        return load_config(tmp_path / "run.toml")

    return write_and_load


def test_an_empty_file_is_the_demo(load) -> None:
    assert load("") == RunConfig()


def test_the_demo_config_spells_out_the_defaults(repo_root: Path) -> None:
    assert load_config(repo_root / "configs" / "demo.toml") == RunConfig()


def test_every_shipped_config_loads() -> None:
    shipped = shipped_configs()
    assert {"demo.toml", "stories260k.toml"} <= set(shipped)
    for path in shipped.values():
        load_config(path)


def test_a_shipped_config_is_found_by_name_but_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("demo.toml")).seed == 0
    (tmp_path / "demo.toml").write_text("seed = 7")
    assert load_config(Path("demo.toml")).seed == 7


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("sed = 1", "unknown key 'sed'; did you mean 'seed'?"),
        ("[scenarios]\nepisode = 3", "unknown key 'scenarios.episode'; did you mean 'episodes'?"),
        ("[[sae]]\nname = 'a'", "unknown key 'sae'; did you mean 'saes'?"),
        ("[[saes]]\nname = 'a'\nhook_name = 'h'\nstep = 3", "unknown key 'saes.0.step'; did you mean 'steps'?"),
        ("[[saes]]\nname = 'a'\npath = 'p'\nsteps = 3", "unknown key 'saes.0.steps'; known keys: name, path"),
        ("[features]\nzzz = 3", "unknown key 'features.zzz'; known keys: skip_tokens, batch_tokens"),
        ("[[saes]]\nname = 'a'", "saes.0.hook_name: missing"),
        ("[scenarios]\nepisodes = 0", "scenarios.episodes: Input should be greater than or equal to 1 (got 0)"),
        ("[scenarios]\nepisodes = '3'", "scenarios.episodes: Input should be a valid integer (got '3')"),
        ("seed = true", "seed: Input should be a valid integer (got True)"),
        ("model = 3", "model: Input should be an object (got 3)"),
        ("saes = [3]", "saes.0: Input should be an object (got 3)"),
        ("saes = []", "saes: none given; add one with [[saes]]"),
        ("[[saes]]\nname = '../a'\npath = 'p'", "saes.0.name: String should match"),
        ("[scenarios]\ntargets = ['calm']", "not several: calm"),
        ("[scenarios]\ndoses_by_dial = {angry = 0.3}", "doses_by_dial names what no scenario turns: angry"),
        ("[scenarios]\ndoses_by_dial = {calm = 0}", "scenarios.doses_by_dial.calm: Input should be greater than 0"),
        ("[scenarios]\ndose = 'calibrate'", "Input should be 'calibrated' (got 'calibrate')"),
        ("[scenarios]\nelicitation = 'few_shot'", 'elicitation = "few_shot": the organism knows the plain way only'),
        ("[model]\nname = 'gpt2'", "saes: a model other than the organism needs its own; add [[saes]]"),
        ("[training]\nactivations = 'given'", "where do the shards lie? add shards.folder"),
        ("[shards]\ndtype = 'int8'", "shards.dtype: Input should be 'bfloat16', 'float16' or 'float32' (got 'int8')"),
        ("a = [", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_key(load, tmp_path: Path, text: str, finding: str) -> None:
    with pytest.raises(UsageError) as refused:
        load(text)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'run.toml'}: ")
    assert finding in message
    assert "\n" not in message


def test_several_mistakes_are_named_at_once(load) -> None:
    with pytest.raises(UsageError, match=r"'scenarios\.doze'.*; unknown key 'sed'"):
        load("sed = 1\n[scenarios]\ndoze = 1.0")


def test_a_missing_file_is_named_with_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml: cannot be read .*demo\.toml"):
        load_config(tmp_path / "none.toml")


def test_each_kind_of_sae_is_told_by_its_keys(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = load(
        "[[saes]]\nname = 'a'\npath = 'sae'\n"
        "[[saes]]\nname = 'b'\nrelease = 'gpt2-small-res-jb'\nsae_id = 'blocks.8.hook_resid_pre'\n"
        "[[saes]]\nname = 'c'\nhook_name = 'blocks.1.hook_resid_post'\nlr = 1\n"
        "[[saes]]\nname = 'd'\nshipped = 'layer3'\n"
    )
    assert cfg.saes == (
        SaeOnDisk(name="a", path=tmp_path / "sae"),
        SaeFromRelease(name="b", release="gpt2-small-res-jb", sae_id="blocks.8.hook_resid_pre"),
        SaeToTrain(name="c", hook_name="blocks.1.hook_resid_post", lr=1.0),
        SaeShipped(name="d", shipped="layer3"),
    )


def test_two_saes_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="same name: a"):
        parse_config({"saes": [DISK, DISK]}, source="here")


def test_paths_count_from_the_working_directory_and_hub_names_stay(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    rest = "[[saes]]\nname = 'a'\npath = 'sae'\n[stories]\npath = 's.jsonl'\n"
    local = load(f"{rest}[model]\nname = 'models/tiny'")
    assert local.model.name == str(tmp_path / "models" / "tiny")
    assert local.stories.path == tmp_path / "s.jsonl"
    assert load(f"{rest}[model]\nname = 'google/gemma-3-4b-it'").model.name == "google/gemma-3-4b-it"


def test_a_dose_is_one_for_all_or_calibrated_and_dials_may_have_their_own(load) -> None:
    section = load("[scenarios]\ndose = 'calibrated'\ndoses_by_dial = {desperate = 0.3}").scenarios
    assert (section.dose, section.common_dose, section.doses_by_dial) == ("calibrated", 0.4, {"desperate": 0.3})
    assert load("[scenarios]\ndose = 0.25").scenarios.common_dose == 0.25


def test_what_is_dumped_for_the_manifest_loads_again(load) -> None:
    cfg = load("seed = 3\n[stories]\npath = 's.jsonl'\n[[saes]]\nname = 'a'\nrelease = 'r'\nsae_id = 'i'")
    assert parse_config(cfg.model_dump(mode="json"), source="manifest") == cfg


def test_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().scenarios.episodes = 3  # type: ignore[misc]
