"""sae-lens as the oracle of the adapter: the same activations, the same reconstructions, and refusals by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from emosae.activations import TokenBatch
from emosae.errors import UserError
from emosae.features.story_rows import pool_stories
from emosae.releases import published_quality
from emosae.sae import Dictionary, SaeLensDictionary, open_sae

pytestmark = pytest.mark.integration

D_IN, D_SAE = 12, 20
HOOK = "blocks.1.hook_resid_post"
RESID = 3 * torch.randn(31, D_IN, generator=torch.Generator().manual_seed(4))
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "standard": ("standard", {}),
    "standard without input bias": ("standard", {"apply_b_dec_to_input": False}),
    "jumprelu": ("jumprelu", {}),
    "gated": ("gated", {}),
    "topk": ("topk", {"k": 4}),
    "topk rescaled": ("topk", {"k": 4, "rescale_acts_by_decoder_norm": True}),
}


def build(architecture: str, **options: Any) -> Any:
    """A sae-lens SAE with random weights, biases and thresholds, and decoder rows of unequal norm."""
    from sae_lens import SAE

    metadata = {"model_name": "tiny", "hook_name": HOOK}
    config = {"architecture": architecture, "d_in": D_IN, "d_sae": D_SAE, "metadata": metadata, **options}
    sae = SAE.from_dict(config)
    generator = torch.Generator().manual_seed(7)
    for key, weight in sae.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = noise.abs() if key == "threshold" else noise
    return sae


def save(sae: Any, path: Path) -> Path:
    sae.save_model(path)
    return path


@pytest.fixture(params=list(VARIANTS))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, SaeLensDictionary]:
    architecture, options = VARIANTS[request.param]
    theirs = build(architecture, **options)
    return theirs, open_sae(save(theirs, tmp_path / "mine"))


def test_activations_and_reconstructions_are_those_of_sae_lens(pair: tuple[Any, SaeLensDictionary]) -> None:
    theirs, ours = pair
    assert isinstance(ours, Dictionary)
    assert (ours.name, ours.hook_name, ours.d_in, ours.d_sae) == ("mine", HOOK, D_IN, D_SAE)
    acts = theirs.encode(RESID)
    assert 0 < (acts > 0).float().mean() < 1
    assert torch.equal(ours.encode(RESID), acts)
    assert torch.equal(ours.decode(acts), theirs.decode(acts))


def test_named_columns_are_those_of_the_full_encoding(pair: tuple[Any, SaeLensDictionary]) -> None:
    theirs, ours = pair
    feature_idx = torch.tensor([17, 0, 3, 3, *range(D_SAE)])
    torch.testing.assert_close(
        ours.encode(RESID, feature_idx=feature_idx), theirs.encode(RESID)[:, feature_idx], rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("max_elements", [1, 90, 10_000])
def test_stories_are_pooled_as_their_dense_encoding(pair: tuple[Any, SaeLensDictionary], max_elements: int) -> None:
    theirs, ours = pair
    cuts = [0, 3, 4, len(RESID)]
    lengths = torch.tensor(cuts).diff()
    token_pos = torch.cat([torch.arange(int(length)) for length in lengths])
    batch = TokenBatch(RESID, torch.tensor([5, 0, 2]).repeat_interleave(lengths), token_pos)
    rows = pool_stories(ours, batch, max_elements)
    for story, start, stop in zip((5, 0, 2), cuts, cuts[1:], strict=False):
        acts, row = theirs.encode(RESID[start:stop]), rows[story]
        fired = acts.amax(0).nonzero()[:, 0]
        assert row.feature_idx.tolist() == fired.tolist()
        assert row.peak_row.tolist() == acts.argmax(0)[fired].tolist()
        expected = {"mean": acts.mean(0), "peak": acts.amax(0), "fraction": (acts > 0).float().mean(0)}
        for name, values in expected.items():
            torch.testing.assert_close(torch.from_numpy(getattr(row, name)), values[fired], rtol=1e-5, atol=1e-6)


def test_the_direction_is_what_one_unit_adds(pair: tuple[Any, SaeLensDictionary]) -> None:
    theirs, ours = pair
    for feature_idx in range(D_SAE):
        added = theirs.decode(torch.eye(D_SAE)[[feature_idx]]) - theirs.decode(torch.zeros(1, D_SAE))
        torch.testing.assert_close(ours.direction(feature_idx), added[0], rtol=1e-5, atol=1e-6)


def test_the_reconstruction_is_the_bias_and_the_directions(pair: tuple[Any, SaeLensDictionary]) -> None:
    _, ours = pair
    directions = torch.stack([ours.direction(feature_idx) for feature_idx in range(D_SAE)])
    acts = ours.encode(RESID)
    rebuilt = ours.decode(torch.zeros(1, D_SAE)) + acts @ directions
    torch.testing.assert_close(ours.decode(acts), rebuilt, rtol=1e-5, atol=1e-4)


def test_no_gradient_is_kept(pair: tuple[Any, SaeLensDictionary]) -> None:
    _, ours = pair
    assert not ours.encode(RESID).requires_grad
    assert not ours.direction(0).requires_grad


def test_an_infinite_threshold_means_a_feature_that_never_fires(tmp_path: Path) -> None:
    sae = build("jumprelu")
    sae.threshold.data[3] = torch.inf
    assert not open_sae(save(sae, tmp_path)).encode(RESID)[:, 3].any()


def test_an_input_scale_is_folded_into_the_weights(tmp_path: Path) -> None:
    theirs = build("jumprelu")
    scale = math.sqrt(D_IN) / 8.0
    acts, out = theirs.encode(RESID * scale), theirs.decode(theirs.encode(RESID * scale)) / scale
    theirs.cfg.normalize_activations = "expected_average_only_in"
    ours = open_sae(save(theirs, tmp_path), mean_resid_norm=8.0)
    torch.testing.assert_close(ours.encode(RESID), acts, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.decode(ours.encode(RESID)), out, rtol=1e-5, atol=1e-4)


def edit_config(key: str, value: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        config = json.loads((path / "cfg.json").read_text())
        config[key] = value
        (path / "cfg.json").write_text(json.dumps(config))

    return edit


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (edit_config("normalize_activations", "layer_norm"), "normalises its input by layer_norm"),
        (edit_config("normalize_activations", "constant_norm_rescale"), "by constant_norm_rescale"),
        (edit_config("normalize_activations", "expected_average_only_in"), "no scale is saved with it"),
        (edit_config("metadata", {"model_name": "tiny", "hook": HOOK}), "does not say which hook"),
        (edit_config("architecture", "no_such_architecture"), "cannot be loaded"),
        (edit_config("d_sae", D_SAE + 1), "cannot be loaded"),
        (lambda path: (path / "sae_weights.safetensors").write_bytes(b"broken"), "cannot be loaded"),
        (lambda path: (path / "cfg.json").write_text("{"), "cannot be loaded"),
    ],
)
def test_what_would_go_wrong_is_refused_by_name(spoil: Callable[[Path], None], complaint: str, tmp_path: Path) -> None:
    path = save(build("standard"), tmp_path / "spoilt")
    spoil(path)
    with pytest.raises(UserError, match=f"SAE .*spoilt.*{complaint}"):
        open_sae(path)


def test_attention_heads_are_refused(tmp_path: Path) -> None:
    sae = build("standard", reshape_activations="hook_z", metadata={"hook_name": "blocks.1.attn.hook_z"})
    with pytest.raises(UserError, match="reads attention heads"):
        open_sae(save(sae, tmp_path))


@pytest.mark.parametrize("architecture", ["transcoder", "skip_transcoder", "abstopk", "matching_pursuit"])
def test_other_architectures_are_refused(architecture: str, tmp_path: Path) -> None:
    from sae_lens.registry import get_sae_class

    sae_class, config_class = get_sae_class(architecture)
    extra = {"d_out": D_IN, "apply_b_dec_to_input": False} if "transcoder" in architecture else {}
    sae = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **extra))
    with pytest.raises(UserError, match=f"is a {architecture}: emosae reads standard, jumprelu, gated, topk"):
        open_sae(save(sae, tmp_path))


@pytest.mark.parametrize("key", ["W_enc", "b_dec", "threshold"])
def test_weights_that_are_not_numbers_are_refused(key: str, tmp_path: Path) -> None:
    sae = build("jumprelu")
    getattr(sae, key).data.view(-1)[:2] = torch.nan
    with pytest.raises(UserError, match=f"has 2 weights in {key} that are not finite"):
        open_sae(save(sae, tmp_path))


def test_names_can_be_given_and_a_record_is_read(tmp_path: Path) -> None:
    path = save(build("standard", metadata={}), tmp_path)
    (path / "emosae.json").write_text(json.dumps({"quality": {"fvu": 0.25, "l0": 7, "n_tokens": 3}}))
    ours = open_sae(path, name="mine", hook_name=HOOK, dtype="float64")
    assert (ours.name, ours.hook_name) == ("mine", HOOK)
    assert ours.recorded == {"fvu": 0.25, "l0": 7.0}
    assert ours.encode(RESID).dtype == torch.float64


@pytest.mark.parametrize(
    ("source", "complaint"),
    [("no-such-release:layer_1", "Release no-such-release not found"), ("gpt2-small-res-jb:nowhere", "ID nowhere")],
)
def test_releases_that_do_not_exist_are_refused(source: str, complaint: str) -> None:
    with pytest.raises(UserError, match=f"SAE {source} cannot be loaded: {complaint}"):
        open_sae(source)


def test_published_quality_is_read_and_its_blanks_are_not() -> None:
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    assert published_quality("owner/repository", "folder") == {}
    known = published_quality("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    entry = get_pretrained_saes_directory()["gpt2-small-res-jb"]
    assert known["l0"] == entry.expected_l0["blocks.8.hook_resid_pre"] > 0
    assert known["fvu"] == pytest.approx(1 - entry.expected_var_explained["blocks.8.hook_resid_pre"])
