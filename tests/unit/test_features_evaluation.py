"""An evaluation equals arithmetic done by hand, on a model that knows which word follows which."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from planted import BOS, HOOK, CountingSae, PlantedSae, evaluate_one, planted_lm, planted_sae
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from emosae.activations import harvest
from emosae.errors import UserError
from emosae.features import evaluation
from emosae.features.evaluation import DENSITY_EDGES, SaeEvaluation, evaluate_saes
from emosae.lm import LanguageModel
from emosae.sae import evaluate_sae
from emosae.stories import Story

WORDS = tuple("abcdefgh")
D_IN = len(WORDS)
VECTORS = torch.linalg.qr(torch.randn(D_IN, D_IN, generator=torch.Generator().manual_seed(0))).Q
SHARPNESS = 3.0
BOS_VECTOR = torch.full((D_IN,), 50.0)
DEEP = "blocks.1.hook_resid_post"


class NextWordModel(nn.Module):
    """Says after each word that the next in the alphabet follows; `calls` are its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.cat([BOS_VECTOR[None], VECTORS])
        self.blocks = nn.ModuleList([nn.Identity(), nn.Identity()])
        self.unembed = nn.Linear(D_IN, D_IN + 1, bias=False)
        self.unembed.weight.data = SHARPNESS * torch.cat([torch.zeros(1, D_IN), VECTORS.roll(1, 0)])
        self.calls = 0

    def get_output_embeddings(self) -> nn.Module:
        return self.unembed

    def forward(self, input_ids: Tensor, **_: object) -> Any:
        self.calls += 1
        resid = self.table[input_ids]
        for block in self.blocks:
            resid = block(resid)
        return SimpleNamespace(logits=self.unembed(resid))


def next_word_lm() -> LanguageModel:
    model = NextWordModel()
    return replace(planted_lm(VECTORS, WORDS), model=model, blocks=tuple(model.blocks))


LM = next_word_lm()
TEXTS = ("a b c d e f", "c", "h a b a", "d e f g h a b c", "b c d")
DOCUMENTS = [LM.document(text) for text in TEXTS]
STORIES = [
    Story(id=f"s{n}", emotion=("calm", "afraid")[n % 2], topic="rain", text=text) for n, text in enumerate(TEXTS)
]
SAE = planted_sae(D_IN, 11, seed=3, threshold=0.1)


@dataclass(frozen=True, eq=False)
class AffineSae:
    """Rebuilds a residual as `centre + factor * (resid - centre)`; its features are the coordinates' two signs."""

    factor: float
    centre: Tensor = field(default_factory=lambda: torch.zeros(D_IN))
    name: str = "affine"
    hook_name: str = HOOK
    d_in: int = D_IN
    d_sae: int = 2 * D_IN

    def encode(self, resid: Tensor, /, feature_idx: Tensor | slice | None = None) -> Tensor:
        acts = torch.relu(torch.cat([resid - self.centre, self.centre - resid], dim=1))
        return acts if feature_idx is None else acts[:, feature_idx]

    def decode(self, feature_acts: Tensor, /) -> Tensor:
        up, down = feature_acts.chunk(2, dim=1)
        return self.centre + self.factor * (up - down)

    def direction(self, feature_idx: int, /) -> Tensor:
        sign = 1.0 if feature_idx < D_IN else -1.0
        return sign * self.factor * torch.eye(D_IN)[feature_idx % D_IN]


def evaluate(dictionary: Any = SAE, **options: Any) -> SaeEvaluation:
    return evaluate_one(LM, dictionary, DOCUMENTS, STORIES, **options)


def nats_by_hand(change: Any, documents: list[list[int]] = DOCUMENTS) -> float:
    """Average next-token loss when the residual of every word is changed and that of BOS is not."""
    nats = []
    for document in documents:
        resid = LM.model.table[document]
        pairs = zip(document, resid, strict=True)
        resid = torch.stack([vector if token == BOS else change(vector) for token, vector in pairs])
        nats.append(cross_entropy(LM.model.unembed(resid)[:-1], torch.tensor(document)[1:], reduction="none"))
    return torch.cat(nats).mean().item()


def test_losses_are_those_of_the_model_with_the_residual_replaced() -> None:
    found = evaluate()
    assert found.loss_clean == pytest.approx(nats_by_hand(lambda vector: vector))
    assert found.loss_zero == pytest.approx(nats_by_hand(torch.zeros_like))
    assert found.loss_splice == pytest.approx(nats_by_hand(lambda vector: SAE.decode(SAE.encode(vector[None]))[0]))
    assert found.recovered == pytest.approx(
        (found.loss_zero - found.loss_splice) / (found.loss_zero - found.loss_clean)
    )
    assert found.n_predicted == sum(len(document) - 1 for document in DOCUMENTS)


def test_without_bos_zeros_leave_nothing_to_guess_by() -> None:
    documents = [LM.encode(text) for text in TEXTS]
    found = evaluate_one(LM, SAE, documents, [])
    assert found.loss_zero == pytest.approx(math.log(D_IN + 1))
    assert found.loss_clean == pytest.approx(nats_by_hand(lambda vector: vector, documents))
    assert found.n_predicted == sum(len(document) - 1 for document in documents)
    assert found.n_tokens == sum(map(len, documents))


def test_a_perfect_dictionary_recovers_all_and_an_empty_one_nothing() -> None:
    perfect, empty = evaluate(AffineSae(1.0)), evaluate(AffineSae(0.0))
    assert perfect.loss_splice == perfect.loss_clean
    assert empty.loss_splice == empty.loss_zero
    assert (perfect.recovered, empty.recovered) == (1.0, 0.0)
    assert (perfect.fvu, perfect.norm_ratio, perfect.slope) == pytest.approx((0, 1, 1))


def test_where_zeros_cost_nothing_there_is_nothing_to_recover() -> None:
    wrong = [LM.document(text) for text in ("a a a", "b a h g")]
    found = evaluate_one(LM, AffineSae(1.0), wrong, [])
    assert found.loss_zero < found.loss_clean
    assert math.isnan(found.recovered)


def test_fvu_and_l0_are_those_of_evaluate_sae_on_the_same_tokens() -> None:
    found, quality = evaluate(), evaluate_sae(SAE, harvest(LM, DOCUMENTS, [HOOK])[HOOK])
    assert (found.fvu, found.l0, found.n_tokens) == pytest.approx((quality.fvu, quality.l0, quality.n_tokens))
    assert found.n_dead == round(quality.dead_fraction * SAE.d_sae)


def test_fvu_of_an_emotion_is_that_of_its_stories_alone() -> None:
    found = evaluate().fvu_by_emotion
    assert list(found) == ["afraid", "calm"]
    for emotion, fvu in found.items():
        own = [LM.document(story.text) for story in STORIES if story.emotion == emotion]
        assert fvu == pytest.approx(evaluate_sae(SAE, harvest(LM, own, [HOOK])[HOOK]).fvu)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 1.5])
def test_shrinkage_is_the_factor_by_which_everything_shrinks(factor: float) -> None:
    found = evaluate(AffineSae(factor))
    assert (found.norm_ratio, found.slope, found.slope_centred) == pytest.approx((factor,) * 3, rel=1e-5)


def test_a_common_offset_hides_shrinkage_from_the_slope_but_not_from_the_centred_one() -> None:
    offset = 40 * VECTORS.sum(0)
    lm = next_word_lm()
    lm.model.table[1:] *= torch.arange(1.0, D_IN + 1)[:, None]
    lm.model.table[1:] += offset
    resid = harvest(lm, DOCUMENTS, [HOOK])[HOOK]
    sae = AffineSae(0.5, resid.mean(0))
    found, rebuilt = evaluate_one(lm, sae, DOCUMENTS, []), sae.decode(sae.encode(resid))
    assert found.slope_centred == pytest.approx(0.5, rel=1e-3)
    assert found.slope > 0.99
    assert found.slope == pytest.approx(torch.linalg.lstsq(resid.reshape(-1, 1), rebuilt.reshape(-1)).solution.item())
    assert found.norm_ratio == pytest.approx((rebuilt.norm(dim=1) / resid.norm(dim=1)).mean().item())


def test_rare_dead_and_dense_features_are_counted_apart() -> None:
    """Feature j fires on word j alone; c is said once in 12,000 tokens, d twice, e to h never."""
    sae = PlantedSae(VECTORS.T, torch.zeros(D_IN), VECTORS, torch.zeros(D_IN), threshold=0.5)
    common = "a " * 297 + "b " * 3
    documents = [LM.document(common)] * 40
    documents[7] = LM.document(common.replace("a a a", "d c d", 1))
    found = evaluate_one(LM, sae, documents, [])
    assert (found.n_tokens, found.n_dead, found.n_rare) == (12_000, 4, 1)
    assert found.l0 == pytest.approx(1)
    rates = np.array([297 * 40 - 3, 120, 1, 2]) / 12_000
    assert found.density == tuple(np.histogram(np.log10(rates), DENSITY_EDGES)[0])
    assert found.density[-1] == 1


def test_a_feature_that_always_fires_is_in_the_last_bin_and_one_rarer_than_all_bins_in_the_first() -> None:
    counted = evaluation._count_densities(torch.tensor([1.0, 1e-9, 10**-0.25, 0.5], dtype=torch.float64))
    assert (counted[0], counted[-1], sum(counted), len(counted)) == (1, 2, 4, len(DENSITY_EDGES) - 1)


@pytest.mark.parametrize("cut", [{"batch_tokens": 1}, {"max_elements": 1}, {"max_elements": 30, "batch_tokens": 9}])
def test_how_the_work_is_cut_changes_nothing(cut: dict[str, int]) -> None:
    whole, parts = evaluate().to_json(), evaluate(**cut).to_json()
    by_emotion = whole.pop("fvu_by_emotion"), parts.pop("fvu_by_emotion")
    assert by_emotion[0] == pytest.approx(by_emotion[1])
    assert whole == {key: pytest.approx(value) if isinstance(value, float) else value for key, value in parts.items()}


def test_no_dense_block_is_larger_than_allowed_and_no_token_of_a_document_is_encoded_twice() -> None:
    counting = CountingSae(SAE.W_enc, SAE.b_enc, SAE.W_dec, SAE.b_dec, SAE.threshold)
    evaluate_one(LM, counting, DOCUMENTS, [], max_elements=3 * SAE.d_sae)
    assert max(counting.sizes) == 3 * SAE.d_sae
    assert sum(counting.sizes) == SAE.d_sae * sum(len(text.split()) for text in TEXTS)


def test_saes_evaluated_together_share_the_passes_that_do_not_depend_on_them() -> None:
    lm = next_word_lm()
    saes = {"toy": SAE, "deep": replace(SAE, hook_name=DEEP), "half": AffineSae(0.5)}
    together = evaluate_saes(lm, saes, DOCUMENTS, [])
    assert lm.model.calls == 1 + 2 + 3  # as it is; zeros at two hooks; three reconstructions
    for name, sae in saes.items():
        alone = evaluate_one(lm, sae, DOCUMENTS, [])
        assert together[name] == replace(alone, sae=name)


def test_json_gives_the_evaluation_back_and_holds_no_number_that_json_lacks() -> None:
    found = evaluate(seen=[SAE.name])
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert SaeEvaluation.from_json(written) == found
    assert written["recovered"] == found.recovered
    assert len(written["density_edges"]) == len(written["density"]) + 1
    assert written["held_out"] is False
    odd = replace(found, fvu=math.inf, loss_splice=math.nan, fvu_by_emotion={"calm": math.inf})
    written = json.loads(json.dumps(odd.to_json(), allow_nan=False))
    assert (written["fvu"], written["recovered"], written["fvu_by_emotion"]) == (None, None, {"calm": None})
    again = SaeEvaluation.from_json(written)
    assert math.isnan(again.fvu)
    assert math.isnan(again.fvu_by_emotion["calm"])


def test_an_evaluation_of_another_format_is_refused() -> None:
    with pytest.raises(UserError, match="format 2: this emosae reads format 1"):
        SaeEvaluation.from_json(evaluate().to_json() | {"format": 2})


@pytest.mark.parametrize(
    ("dictionary", "documents", "complaint"),
    [
        (planted_sae(5, 7), DOCUMENTS, "SAE planted reads 5 dimensions, the model has 8"),
        (SAE, [], "no text to evaluate SAEs on"),
        (SAE, [[BOS, BOS]], "no text to evaluate SAEs on"),
        (SAE, [[BOS, 1], []], r"without tokens: \[1\]"),
        (AffineSae(math.inf), DOCUMENTS, f"SAE affine at {HOOK}: .* not finite"),
        (replace(SAE, hook_name="blocks.9.hook_resid_post"), DOCUMENTS, "blocks.9.hook_resid_post does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_name(dictionary: Any, documents: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        evaluate_one(LM, dictionary, documents, [])
