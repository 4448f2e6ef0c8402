"""Training on planted residuals finds the planted rows, repeats bit for bit, and saves what sae-lens loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import HOOK, planted_resid
from torch import Tensor

from emosae.activations import MemoryStream
from emosae.errors import UserError
from emosae.sae import Dictionary, SaeQuality, open_sae
from emosae.store import Stage, content_hash
from emosae.tracking import Tracker
from emosae.training import ARCHITECTURES, SaeTrainSpec, TrainingDiverged, evaluate_sae, finish, train_sae

pytestmark = pytest.mark.integration

RESID, ROWS = planted_resid(6000, 32, 24, l0=3.0)
RESID = 40 * RESID + 100  # a scale and an offset that the training has to undo


def spec(**options: Any) -> SaeTrainSpec:
    plain: dict[str, Any] = {"d_sae": 48, "k": 3, "steps": 300, "batch_size": 512, "log_every": 20}
    return SaeTrainSpec(model_name="tiny", hook_name=HOOK, **(plain | options))


def found_rows(W_dec: Tensor) -> Tensor:
    """The cosine of each planted row with the decoder row nearest to it."""
    return (torch.nn.functional.normalize(W_dec, dim=1) @ ROWS.T).amax(0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_planted_rows_are_found_and_sae_lens_loads_the_same(architecture: str, tmp_path: Path) -> None:
    from sae_lens import SAE

    path = train_sae(RESID, spec(architecture=architecture), Stage(tmp_path))
    theirs, ours = SAE.load_from_disk(path), open_sae(path)
    assert ours.architecture == {"batchtopk": "jumprelu", "matryoshka_batchtopk": "jumprelu"}.get(
        architecture, architecture
    )
    assert torch.equal(ours.encode(RESID), theirs.encode(RESID))
    assert torch.equal(ours.decode(ours.encode(RESID)), theirs(RESID))
    torch.testing.assert_close(theirs.W_dec.norm(dim=1), torch.ones(48))
    quality = evaluate_sae(ours, RESID)
    assert quality.fvu < 0.2
    assert 2.5 < quality.l0 < 8
    nested = architecture == "matryoshka_batchtopk"  # whose inner dictionaries mix rows on purpose
    assert found_rows(theirs.W_dec).min() > (0.6 if nested else 0.95)
    assert found_rows(theirs.W_dec).median() > 0.95


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_user_of_sae_lens_gets_the_reconstruction_that_was_measured_to_the_bit(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sae_lens import SAE

    measured: list[Tensor] = []
    evaluate = finish.evaluate_sae

    def watch(dictionary: Dictionary, resid: Tensor) -> SaeQuality:
        measured.extend((resid, dictionary.decode(dictionary.encode(resid))))
        return evaluate(dictionary, resid)

    monkeypatch.setattr(finish, "evaluate_sae", watch)
    path = train_sae(RESID, spec(architecture=architecture, steps=30), Stage(tmp_path))
    resid, rebuilt = measured
    with torch.no_grad():
        theirs = SAE.load_from_disk(path)
        assert torch.equal(theirs.decode(theirs.encode(resid)), rebuilt)
        assert torch.equal(theirs(resid), rebuilt)
    assert not torch.equal(rebuilt, resid)


@pytest.mark.parametrize("architecture", ["batchtopk", "topk"])
def test_as_many_features_fire_as_were_asked_for_on_text_not_trained_on(architecture: str, tmp_path: Path) -> None:
    path = train_sae(RESID, spec(architecture=architecture, steps=40), Stage(tmp_path))
    record = json.loads((path / "emosae.json").read_text())
    assert record["quality"]["n_tokens"] == 300
    assert record["quality"]["l0"] == pytest.approx(3, rel=0.1)
    assert open_sae(path).recorded["l0"] == record["quality"]["l0"]


def test_quality_is_measured_on_tokens_that_were_never_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, measured = set(), set()
    draw, evaluate = MemoryStream.next_batch, finish.evaluate_sae

    def watch_stream(self: MemoryStream, *args: Any) -> dict[str, Tensor]:
        batch = draw(self, *args)
        trained.update(batch[HOOK][:, 0].tolist())
        return batch

    def watch_evaluation(dictionary: Dictionary, resid: Tensor) -> SaeQuality:
        measured.update(resid[:, 0].tolist())
        return evaluate(dictionary, resid)

    monkeypatch.setattr(MemoryStream, "next_batch", watch_stream)
    monkeypatch.setattr(finish, "evaluate_sae", watch_evaluation)
    numbered = RESID.clone()
    numbered[:, 0] = torch.arange(len(RESID))
    train_sae(numbered, spec(steps=12), Stage(tmp_path))
    assert len(measured) == 300
    assert len(trained) == 5700
    assert not trained & measured


def test_the_folder_says_where_the_sae_belongs(tmp_path: Path) -> None:
    from sae_lens import SAE

    path = train_sae(RESID, spec(steps=2, seed=5), Stage(tmp_path))
    assert path == tmp_path / f"{HOOK}.batchtopk.seed5"
    assert sorted(file.name for file in path.iterdir()) == ["cfg.json", "emosae.json", "sae_weights.safetensors"]
    metadata = SAE.load_from_disk(path).cfg.metadata
    assert (metadata.model_name, metadata.hook_name, metadata.seed) == ("tiny", HOOK, 5)
    assert json.loads((path / "emosae.json").read_text())["spec"]["steps"] == 2


def test_the_seed_decides_every_bit(tmp_path: Path) -> None:
    hashes = {}
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(hash(run) % 1000)
        torch.rand(3)
        hashes[run] = content_hash(train_sae(RESID, spec(steps=30, seed=seed, name="sae"), Stage(tmp_path / run)))
    assert hashes["a"] == hashes["b"] != hashes["c"]


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train_sae(RESID, spec(steps=2), Stage(tmp_path))
    assert torch.equal(torch.rand(2), expected)


def test_an_sae_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    first = content_hash(train_sae(RESID, spec(steps=2, name="sae"), Stage(tmp_path)))
    assert content_hash(train_sae(RESID, spec(steps=3, name="sae"), Stage(tmp_path))) == first
    assert [path.name for path in tmp_path.iterdir()] == ["sae"]


def test_a_loss_that_is_no_number_ends_the_training_at_its_step(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingDiverged,
        match=r"the loss is (nan|inf) at step \d+ \(batch from row \d+ of epoch 0\); there is no .*; lower lr",
    ):
        train_sae(RESID, spec(name="sae", lr=1e38), Stage(tmp_path))
    assert not any(tmp_path.iterdir())


def test_metrics_are_logged_at_their_steps(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    train_sae(RESID, spec(steps=50), Stage(tmp_path), Tracker(records.append))
    assert [record["step"] for record in records] == [20, 40, 50]
    assert set(records[0]) == {"step", "loss", "mse", "l0", "fvu", "dead_features", "lr", "tokens_per_second"}
    assert records[-1]["l0"] == pytest.approx(3, abs=0.01)
    assert records[-1]["fvu"] < records[0]["fvu"]


@pytest.mark.parametrize(
    ("resid", "complaint"),
    [
        (RESID[:200], "190 tokens are too few for batches of 512"),
        (torch.full((600, 4), torch.nan), "not finite"),
        (torch.ones(600, 4), "all the same"),
    ],
)
def test_residuals_that_cannot_be_trained_on_are_refused(resid: Tensor, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        train_sae(resid, spec(), Stage(tmp_path))
    assert not any(tmp_path.iterdir())
