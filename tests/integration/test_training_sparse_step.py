"""The closed form against sae-lens' autograd: same losses, same gradients, same weights after many steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from planted import HOOK, planted_resid
from torch import Tensor

from emosae.training import SaeTrainSpec, World, relu_step
from emosae.training.scale import Scaling
from emosae.training.sparse_step import find_above
from emosae.training.spec import build_trainer

pytestmark = pytest.mark.integration

D_IN, D_SAE, BATCH = 32, 256, 128
RESID, _ = planted_resid(4000, D_IN, 64, l0=4.0)
FORMATS = [torch.bfloat16, torch.float32]


def trainers(architecture: str, *, dead_window: int = 1000) -> tuple[Any, Any]:
    """Ours, and sae-lens' own with the same first weights."""
    from sae_lens.training.sae_trainer import SAETrainer

    options: dict[str, Any] = {"d_sae": D_SAE, "k": 6, "steps": 100, "batch_size": BATCH, "dead_window": dead_window}
    spec = SaeTrainSpec(model_name="tiny", hook_name=HOOK, architecture=architecture, lr=1e-3, **options)  # type: ignore[arg-type]
    scaling = Scaling(RESID.mean(0), 1.7)
    ours = build_trainer(spec, scaling, World())
    twin = build_trainer(spec, scaling, World())
    twin.sae.W_enc.data = twin.sae.W_enc.data.contiguous()
    theirs = SAETrainer(twin.cfg, twin.sae, iter(()))
    theirs.activation_scaler.scaling_factor = scaling.factor
    return ours, theirs


def batches(n: int) -> list[Tensor]:
    order = torch.randperm(len(RESID), generator=torch.Generator().manual_seed(0))
    return [RESID[order[start * BATCH :][:BATCH]] for start in range(n)]


def gradients(trainer: Any, batch: Tensor, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    def keep(*_: object) -> None:
        found.update({name: p.grad.clone() for name, p in trainer.sae.named_parameters()})

    with monkeypatch.context() as patch:
        patch.setattr(trainer.optimizer, "step", keep)
        patch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)
        trainer.step(batch)
    return found


@pytest.mark.parametrize("screen", FORMATS)
@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
@pytest.mark.parametrize("n_dead", [0, 5, 100])
def test_every_gradient_is_sae_lens_own(
    architecture: str, n_dead: int, screen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = trainers(architecture)
    ours.screen = screen
    for batch in batches(3):
        ours.step(batch)
        theirs.step(batch)
    for trainer in (ours, theirs):
        trainer.n_forward_passes_since_fired[:n_dead] = 1e6
    theirs.sae.load_state_dict(ours.sae.state_dict())
    expected = gradients(theirs, batches(4)[3], monkeypatch)
    found = gradients(ours, batches(4)[3], monkeypatch)
    assert set(found) == {"W_enc", "W_dec", "b_enc", "b_dec"}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize("screen", FORMATS)
@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
@pytest.mark.parametrize("apart", [0.0, 1e-4, 1e-3])
def test_twins_that_bf16_cannot_tell_apart_get_sae_lens_gradients(
    architecture: str, apart: float, screen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each feature has a twin; which of exact ones is selected is open, so their gradients are compared as one."""
    ours, theirs = trainers(architecture)
    half = D_SAE // 2
    for sae in (ours.sae, theirs.sae):
        for weights in (sae.W_enc.data.T, sae.W_dec.data, sae.b_enc.data):
            weights[half:] = weights[:half] * (1 + apart)
    ours.screen = screen
    expected, found = gradients(theirs, batches(1)[0], monkeypatch), gradients(ours, batches(1)[0], monkeypatch)
    if apart == 0.0:
        for values in (expected, found):
            values["W_enc"] = values["W_enc"][:, :half] + values["W_enc"][:, half:]
            values["W_dec"] = values["W_dec"][:half] + values["W_dec"][half:]
            values["b_enc"] = values["b_enc"][:half] + values["b_enc"][half:]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_a_training_may_change_its_format_between_steps_to_the_same_bits(architecture: str) -> None:
    plans = [FORMATS[:1], FORMATS[1:], FORMATS]
    states = []
    for plan in plans:
        ours, _ = trainers(architecture, dead_window=3)
        for step, batch in enumerate(batches(20)):
            ours.screen = plan[step % len(plan)]
            ours.step(batch)
        assert int(ours.dead_neurons.sum()) > 0
        states.append(ours.sae.state_dict())
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
        assert torch.equal(states[2][name], value), name


@pytest.mark.parametrize("screen", FORMATS)
@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
@pytest.mark.parametrize("where", ["token", "encoder", "bias"])
def test_a_number_that_is_none_reaches_the_loss(architecture: str, where: str, screen: torch.dtype) -> None:
    ours, _ = trainers(architecture)
    ours.screen, batch = screen, batches(1)[0].clone()
    spoiled = {"token": batch[5], "encoder": ours.sae.W_enc.data[:, 7], "bias": ours.sae.b_enc.data[7:8]}
    spoiled[where][0] = torch.nan
    assert not ours.step(batch).loss.isfinite()


@pytest.mark.parametrize("architecture", ["standard", "jumprelu"])
@pytest.mark.parametrize("options", [{}, {"jumprelu_ste_to_input": False}, {"jumprelu_sparsity_loss_mode": "step"}])
def test_every_gradient_of_a_sparse_relu_is_sae_lens_own(
    architecture: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = trainers(architecture)
    for trainer in (ours, theirs):
        trainer.sae.b_enc.data -= {"standard": 0.2, "jumprelu": 1.0}[architecture]
        for scheduler in trainer.coefficient_schedulers.values():
            scheduler.current_value = 0.7
        for name, value in options.items():
            setattr(trainer.sae.cfg, name, value)
    taken = []
    monkeypatch.setattr(relu_step, "find_above", lambda *args: taken.append(1) or find_above(*args))
    expected = gradients(theirs, batches(1)[0], monkeypatch)
    found = gradients(ours, batches(1)[0], monkeypatch)
    assert taken
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert value.abs().max() > 0
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "standard", "jumprelu"])
def test_many_steps_give_the_same_loss_weights_and_counts(architecture: str) -> None:
    ours, theirs = trainers(architecture, dead_window=3)
    for batch in batches(30):
        mine, other = ours.step(batch), theirs.step(batch)
        assert float(mine.loss) == pytest.approx(float(other.loss), rel=1e-4)
        assert float(mine.losses["mse_loss"]) == pytest.approx(float(other.losses["mse_loss"]), rel=1e-4)
    if "topk" in architecture:
        assert int(theirs.dead_neurons.sum()) > 0
    assert torch.equal(ours.act_freq_scores, theirs.act_freq_scores)
    assert torch.equal(ours.dead_neurons, theirs.dead_neurons)
    for (name, mine), (_, other) in zip(ours.sae.state_dict().items(), theirs.sae.state_dict().items(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4, msg=name)


def test_sae_lens_own_pass_is_taken_where_there_is_no_closed_form() -> None:
    for architecture in ("gated", "matryoshka_batchtopk"):
        ours, theirs = trainers(architecture)
        for batch in batches(5):
            mine, other = ours.step(batch), theirs.step(batch)
        assert float(mine.loss) == pytest.approx(float(other.loss), rel=1e-6)
        for name, value in theirs.sae.state_dict().items():
            torch.testing.assert_close(ours.sae.state_dict()[name], value, rtol=1e-6, atol=1e-7, msg=name)
