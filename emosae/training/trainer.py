"""sae-lens' trainer with a faster step where there is one, and gradients that are added over processes."""

from __future__ import annotations

from typing import Any

import torch
from sae_lens.saes.sae import TrainStepInput, TrainStepOutput
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor, nn

from emosae.training.relu_step import fires_rarely, has_relu_step, relu_backward
from emosae.training.screen import quickest_format
from emosae.training.sparse_step import SparseOutput
from emosae.training.top_values import kth_largest
from emosae.training.topk_step import has_topk_step, topk_backward
from emosae.training.world import World


class Trainer(SAETrainer[Any, Any]):
    """A drop-in for `SAETrainer`: same losses, same state, same saved files.

    topk and batchtopk take a closed form, standard and jumprelu do for as long as few features fire; the encoder is
    then held feature by feature in memory, so that its gradient is written row by row. Its shape stays sae-lens', and
    saving makes it contiguous. Everything else takes sae-lens' own forward pass. `screen` is the number format in which
    a CPU looks for the features that topk and batchtopk may select; it decides no bit, so checkpoints do not hold it.

    In a world of several processes each is given its part of the batch. Losses are means over the whole batch,
    gradients and counts of firings are added over processes, and batchtopk selects over all of them, so every
    process holds the weights that one process alone would have.
    """

    def __init__(self, *args: Any, world: World, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._world = world
        self._is_topk, self._is_relu = has_topk_step(self.sae), has_relu_step(self.sae)
        is_cpu = torch.device(self.cfg.device).type == "cpu"
        self.screen = quickest_format() if self._is_topk and is_cpu else torch.float32
        if self._is_topk or self._is_relu:
            self.sae.W_enc.data = self.sae.W_enc.data.T.contiguous().T
            for group in self.optimizer.param_groups:
                group["fused"] = True
        if world.size > 1 and hasattr(self.sae, "topk_threshold"):
            self.sae.activation_fn = _SharedBatchTopK(self.sae.cfg.k, world)

    def _train_step(self, sae: Any, sae_in: Tensor) -> TrainStepOutput:
        sae.train()
        output = self._sparse_pass(sae, sae_in) or self._dense_pass(sae, sae_in)
        for parameter in sae.parameters():
            if parameter.grad is not None:
                parameter.grad = self._world.sum(parameter.grad)
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.lr_scheduler.step()
        for scheduler in self.coefficient_schedulers.values():
            scheduler.step()
        return output

    @torch.no_grad()
    def _sparse_pass(self, sae: Any, sae_in: Tensor) -> TrainStepOutput | None:
        """A step in closed form, or nothing where there is none or it would be the slower one."""
        if self._is_topk:
            found = topk_backward(sae, sae_in, self.dead_neurons, self._world, self.screen)
            if hasattr(sae, "topk_threshold"):
                self._follow_threshold(sae, found.acts)
        elif self._is_relu and fires_rarely(sae, sae_in):
            found = relu_backward(sae, sae_in, self.get_coefficients(), self._world)
        else:
            return None
        self._count_firings(found.fired, len(sae_in))
        return _describe(found, sae_in, self._world)

    def _dense_pass(self, sae: Any, sae_in: Tensor) -> TrainStepOutput:
        with self.autocast_if_enabled:
            before = sae.topk_threshold.clone() if hasattr(sae, "topk_threshold") else None
            output = sae.training_forward_pass(
                TrainStepInput(
                    sae_in=sae_in,
                    dead_neuron_mask=self.dead_neurons,
                    coefficients=self.get_coefficients(),
                    n_training_steps=self.n_training_steps,
                    is_logging_step=False,
                )
            )
        with torch.no_grad():
            acts = output.feature_acts.detach()
            if before is not None:
                sae.topk_threshold = before
                self._follow_threshold(sae, acts[acts > 0])
            self._count_firings(acts.bool().sum(0), len(sae_in))
        share = 1.0 / self._world.size
        (output.loss * share).backward()
        output.loss = self._world.sum(output.loss.detach() * share)
        return output

    def _follow_threshold(self, sae: Any, firing: Tensor) -> None:
        """batchtopk's running average of the smallest activation that was selected."""
        least = firing.min() if len(firing) else firing.new_tensor(torch.inf)
        least = self._world.smallest(least.double())
        if least.isfinite():
            lr = sae.cfg.topk_threshold_lr
            sae.topk_threshold = (1 - lr) * sae.topk_threshold + lr * least

    def _count_firings(self, fired: Tensor, n_tokens: int) -> None:
        fired = self._world.sum(fired.float())
        self.n_forward_passes_since_fired += 1
        self.n_forward_passes_since_fired[fired > 0] = 0
        self.act_freq_scores += fired
        self.n_frac_active_samples += n_tokens * self._world.size


def _describe(found: SparseOutput, sae_in: Tensor, world: World) -> TrainStepOutput:
    indices = torch.stack([found.firings.token, found.firings.feature])
    shape = (found.firings.n_tokens, found.firings.d_sae)
    acts = torch.sparse_coo_tensor(indices, found.acts, shape, check_invariants=False)
    total = torch.stack(list(found.losses.values())).sum()
    return TrainStepOutput(
        sae_in=sae_in,
        sae_out=found.sae_out,
        feature_acts=acts,
        hidden_pre=acts,
        loss=world.sum(total),
        losses={name: loss * world.size for name, loss in found.losses.items()},
        metrics={},
    )


class _SharedBatchTopK(nn.Module):
    """sae-lens' BatchTopK over the tokens of all processes."""

    def __init__(self, k: float, world: World) -> None:
        super().__init__()
        self.k, self._world = k, world

    def forward(self, x: Tensor) -> Tensor:
        acts = x.relu()
        count = int(self.k * acts.shape[:-1].numel() * self._world.size)
        return acts * (acts >= kth_largest(acts.detach(), count, self._world))
