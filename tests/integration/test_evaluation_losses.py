"""An evaluation agrees with sae-lens' own evaluation code and with a plain forward pass of the Hugging Face model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from planted import PlantedSae, evaluate_one
from tiny_models import D_IN, save_tiny_model
from torch import Tensor
from torch.nn.functional import cross_entropy

from emosae.features.evaluation import SaeEvaluation
from emosae.lm import LanguageModel, open_lm
from emosae.sae import SaeLensDictionary, open_sae

pytestmark = pytest.mark.integration
D_SAE = 24
LAYER = 1
HOOK = f"blocks.{LAYER}.hook_resid_post"
LENGTH = 30
SPECIAL = 1


@pytest.fixture(scope="module", params=["qwen2", "gpt2"])
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture(scope="module")
def documents(lm: LanguageModel) -> list[list[int]]:
    """What the model itself says, so that it is better than chance at it; a special token stands in the second."""
    starts = torch.tensor([[0, token] for token in range(20, 26)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        said = lm.model.generate(
            starts,
            attention_mask=torch.ones_like(starts),
            max_new_tokens=LENGTH - 2,
            min_new_tokens=LENGTH - 2,
            suppress_tokens=sorted(lm.special_ids),
            do_sample=True,
            temperature=0.5,
            pad_token_id=SPECIAL,
        ).tolist()
    said[1][10] = SPECIAL
    return [document[: LENGTH - 4 * n] for n, document in enumerate(said)]


@pytest.fixture(scope="module")
def sae(tmp_path_factory: pytest.TempPathFactory) -> SaeLensDictionary:
    from sae_lens import SAE

    generator = torch.Generator().manual_seed(7)
    sae = SAE.from_dict({"architecture": "jumprelu", "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32"})
    for key, weight in sae.named_parameters():
        noise = 0.3 * torch.randn(weight.shape, generator=generator)
        weight.data = noise.abs() if key == "threshold" else noise
    sae.cfg.metadata.hook_name = HOOK
    folder = tmp_path_factory.mktemp("sae") / "random"
    sae.save_model(folder)
    return open_sae(folder)


def nats_by_hugging_face(
    lm: LanguageModel, documents: list[list[int]], change: Callable[[Tensor], Tensor]
) -> tuple[float, int]:
    """Average loss of one text at a time, with the block's output changed at every token that is not special."""
    nats = []
    for document in documents:
        ids = torch.tensor([document])
        is_text = torch.tensor([token not in lm.tokenizer.all_special_ids for token in document])

        def replace(_: Any, __: Any, output: Any, is_text: Tensor = is_text) -> Any:
            resid = (output[0] if isinstance(output, tuple) else output).clone()
            resid[0, is_text] = change(resid[0, is_text])
            return (resid, *output[1:]) if isinstance(output, tuple) else resid

        handle = lm.blocks[LAYER].register_forward_hook(replace)
        with torch.no_grad():
            logits = lm.model(ids).logits
        handle.remove()
        nats.append(cross_entropy(logits[0, :-1], ids[0, 1:], reduction="none")[is_text[1:]])
    return torch.cat(nats).mean().item(), len(torch.cat(nats))


def test_losses_are_those_of_plain_forward_passes(
    lm: LanguageModel, documents: list[list[int]], sae: SaeLensDictionary
) -> None:
    found = evaluate_one(lm, sae, documents, [], batch_tokens=64)
    clean, n_predicted = nats_by_hugging_face(lm, documents, lambda resid: resid)
    assert found.n_predicted == n_predicted == sum(map(len, documents)) - len(documents) - 1
    assert found.loss_clean == pytest.approx(clean, rel=1e-5)
    assert found.loss_splice == pytest.approx(nats_by_hugging_face(lm, documents, sae.sae)[0], rel=1e-5)
    assert found.loss_zero == pytest.approx(nats_by_hugging_face(lm, documents, torch.zeros_like)[0], rel=1e-5)
    assert abs(found.loss_splice - found.loss_zero) > 1e-3


def linear_sae(factor: float) -> PlantedSae:
    """Rebuilds the residual times a factor, up to float noise: a feature for each coordinate and each sign."""
    basis = torch.eye(D_IN)
    return PlantedSae(
        W_enc=torch.cat([basis, -basis], dim=1),
        b_enc=torch.zeros(2 * D_IN),
        W_dec=factor * torch.cat([basis, -basis]),
        b_dec=torch.zeros(D_IN),
        hook_name=HOOK,
    )


def test_the_residual_itself_recovers_all_and_nothing_recovers_nothing(
    lm: LanguageModel, documents: list[list[int]]
) -> None:
    perfect = evaluate_one(lm, linear_sae(1.0), documents, [])
    assert perfect.loss_zero > perfect.loss_clean + 0.1
    assert perfect.recovered == pytest.approx(1, abs=1e-5)
    assert perfect.fvu == pytest.approx(0, abs=1e-9)
    assert evaluate_one(lm, linear_sae(0.0), documents, []).recovered == 0


class OneBatch:
    """As much of sae-lens' activation store as its evaluation asks for."""

    def __init__(self, tokens: list[list[int]]) -> None:
        self.tokens = torch.tensor(tokens)

    def get_batch_tokens(self, _: int) -> Tensor:
        return self.tokens


@pytest.fixture(scope="module")
def by_sae_lens(lm: LanguageModel, documents: list[list[int]], sae: SaeLensDictionary) -> dict[str, Any]:
    """sae-lens' numbers; its loss with zeros puts them at special tokens too, so those are cut off beforehand."""
    from sae_lens.evals import get_downstream_reconstruction_metrics, get_sparsity_and_variance_metrics
    from sae_lens.training.activation_scaler import ActivationScaler
    from transformer_lens.model_bridge import TransformerBridge

    model: Any = TransformerBridge.boot_transformers(lm.name, device="cpu")
    common: Any = {
        "sae": sae.sae,
        "model": model,
        "activation_scaler": ActivationScaler(),
        "n_batches": 1,
        "eval_batch_size_prompts": 1,
    }
    losses = get_downstream_reconstruction_metrics(
        **common, activation_store=OneBatch(plain_texts(documents)), compute_kl=False, compute_ce_loss=True
    )
    sparsity, features = get_sparsity_and_variance_metrics(
        **common,
        activation_store=OneBatch([document[:10] for document in documents]),
        compute_l2_norms=True,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=True,
        ignore_tokens=sorted(lm.special_ids),
        model_kwargs={},
    )
    return losses | sparsity | {"density": torch.tensor(features["feature_density"])}


def plain_texts(documents: list[list[int]]) -> list[list[int]]:
    """Texts of one length without special tokens."""
    return [document[1:10] for document in documents]


def test_losses_agree_with_sae_lens(
    lm: LanguageModel, documents: list[list[int]], sae: SaeLensDictionary, by_sae_lens: dict[str, Any]
) -> None:
    found = evaluate_one(lm, sae, plain_texts(documents), [])
    assert found.loss_clean == pytest.approx(by_sae_lens["ce_loss_without_sae"], rel=1e-5)
    assert found.loss_splice == pytest.approx(by_sae_lens["ce_loss_with_sae"], rel=1e-5)
    assert found.loss_zero == pytest.approx(by_sae_lens["ce_loss_with_ablation"], rel=1e-5)
    assert found.recovered == pytest.approx(by_sae_lens["ce_loss_score"], rel=1e-3)


def test_fit_and_sparsity_agree_with_sae_lens(
    lm: LanguageModel, documents: list[list[int]], sae: SaeLensDictionary, by_sae_lens: dict[str, Any]
) -> None:
    found: SaeEvaluation = evaluate_one(lm, sae, [document[:10] for document in documents], [])
    assert found.fvu == pytest.approx(1 - by_sae_lens["explained_variance"], rel=1e-5)
    assert found.l0 == pytest.approx(by_sae_lens["l0"], rel=1e-6)
    assert found.norm_ratio == pytest.approx(by_sae_lens["l2_ratio"], rel=1e-5)
    density = by_sae_lens["density"]
    assert found.n_dead == int((density == 0).sum()) < D_SAE
    assert found.l0 == pytest.approx(density.sum().item(), rel=1e-5)
