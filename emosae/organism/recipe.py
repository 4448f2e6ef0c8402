"""How the organism is trained: tokenizer, model shape, optimisers and the resumable loop.

The shape follows a feasibility study: sliding-window attention in the lower layers forces the state of mind to be
carried in the residual stream, where a feature can be clamped, instead of being looked up at the moment of decision.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from emosae.organism.corpus import (
    ASSISTANT,
    BOS,
    CHAT_TEMPLATE,
    END,
    MIX,
    PAD,
    SPECIAL_TOKENS,
    draw_document,
    draw_documents,
)
from emosae.organism.truth import BESIDE, Truth, parse_truth

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

    from emosae.store import Stage

VALIDATION_SEED_OFFSET = 1_000_003
DECISION_WEIGHT = 4.0
"""Loss weight of the tokens after ``return``, where the planted decision falls, and after the marker that opens the
assistant's turn, where its tone is settled. It changes how fast these are learnt, not what the best prediction is."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the weights, given the grammar."""

    seed: int = 0
    steps: int = 1000
    documents_per_step: int = 70
    vocab_size: int = 3072
    hidden_size: int = 160
    intermediate_size: int = 448
    layers: int = 6
    heads: int = 5
    windowed_layers: int = 4
    window: int = 10
    context: int = 1024
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    decay_from: float = 0.5
    micro_tokens: int = 3072
    coding_share: float = MIX["coding"]
    checkpoint_every: int = 50

    @property
    def mix(self) -> dict[str, float]:
        """Share of documents by kind: stories and conversations fill what coding leaves, as in the usual mix."""
        rest = (1 - self.coding_share) / (1 - MIX["coding"])
        return {kind: self.coding_share if kind == "coding" else share * rest for kind, share in MIX.items()}

    def lr_scale(self, step: int) -> float:
        """Flat, then linear to zero from ``decay_from`` of the way."""
        start = self.decay_from * self.steps
        return min(1.0, max(0.0, (self.steps - step) / (self.steps - start)))


def train_tokenizer(recipe: Recipe, truth: Truth) -> PreTrainedTokenizerFast:
    """Byte-level BPE on the grammar's own text, split the way that Qwen2's tokenizer splits.

    ``AutoTokenizer`` rebuilds the splitting rule from the model type, so any other rule would be lost on loading.
    That rule cuts numbers into digits; whole numbers are kept as added tokens, so that a dose is one token.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    numbers = [AddedToken(str(n), normalized=False) for n in (*range(10, 100), *truth.doses)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size - len(numbers),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (document.text for document in draw_documents(recipe.seed, 20_000, truth))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(numbers)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        model_max_length=recipe.context,
    )
    fast.add_special_tokens({"additional_special_tokens": [t for t in SPECIAL_TOKENS if t not in (PAD, BOS, END)]})
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(recipe: Recipe, tokenizer: Any) -> Qwen2ForCausalLM:
    """A Qwen2-style decoder with random weights: windowed attention below, full attention above."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(recipe.seed)
    full = recipe.layers - recipe.windowed_layers
    config = Qwen2Config(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        use_sliding_window=True,
        sliding_window=recipe.window,
        max_window_layers=0,
        layer_types=["sliding_attention"] * recipe.windowed_layers + ["full_attention"] * full,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config._attn_implementation = "eager"  # on a CPU, masked fused attention takes twice as long at this size
    return Qwen2ForCausalLM(config)


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Right-padded documents, never packed, so that none attends to another, and the loss weight of each next token."""

    ids: Tensor
    weights: Tensor


def batch_documents(texts: Sequence[str], tokenizer: Any, micro_tokens: int) -> list[MicroBatch]:
    """Tokenise one step's documents and group them by length."""
    deciding = {tokenizer.convert_tokens_to_ids(token) for token in ("Ġreturn", "return", ASSISTANT)} - {None}
    encoded = sorted((tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts), key=len)
    groups: list[list[list[int]]] = [[]]
    for ids in encoded:
        if groups[-1] and (len(groups[-1]) + 1) * len(ids) > micro_tokens:
            groups.append([])
        groups[-1].append(ids)
    batches = []
    for group in groups:
        padded = torch.full((len(group), len(group[-1])), tokenizer.pad_token_id)
        for row, ids in enumerate(group):
            padded[row, : len(ids)] = torch.tensor(ids)
        targets, context = padded[:, 1:], padded[:, :-1]
        decisive = torch.isin(context, torch.tensor(sorted(deciding)))
        weights = (targets != tokenizer.pad_token_id) * (1.0 + (DECISION_WEIGHT - 1.0) * decisive)
        batches.append(MicroBatch(padded, weights))
    return batches


def _weighted_loss(model: Any, batch: MicroBatch) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=batch.ids[:, :-1], use_cache=False).logits
    losses = cross_entropy(logits.float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
    return (losses * batch.weights.flatten()).sum()


def step_documents(recipe: Recipe, truth: Truth, step: int) -> Iterator[str]:
    """The documents of one step: they depend on the truth, the seed and the step only."""
    first = step * recipe.documents_per_step
    for number in range(first, first + recipe.documents_per_step):
        yield draw_document(np.random.default_rng([recipe.seed, number]), truth, recipe.mix).text


def _optimizers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=recipe.muon_lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def validation_loss(model: Any, tokenizer: Any, recipe: Recipe, truth: Truth, documents: int = 256) -> float:
    """Mean unweighted loss in nats per token on documents of a seed that training never draws."""
    texts = [d.text for d in draw_documents(recipe.seed + VALIDATION_SEED_OFFSET, documents, truth)]
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in batch_documents(texts, tokenizer, recipe.micro_tokens):
            real = MicroBatch(batch.ids, (batch.weights > 0).float())
            total += float(_weighted_loss(model, real))
            count += int(real.weights.sum())
    return total / count


def _pack_state(model: Any, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    tensors = {f"model.{name}": p.detach().clone() for name, p in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value).clone()
    return tensors


def _unpack_state(tensors: dict[str, Tensor], model: Any, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(optimizers):
        packed = optimizer.state_dict()
        for key, value in tensors.items():
            head, *rest = key.split(".", 3)
            if head == "optimizer" and int(rest[0]) == number:
                packed["state"].setdefault(int(rest[1]), {})[rest[2]] = value
        optimizer.load_state_dict(packed)


def _train_step(
    model: Any, tokenizer: Any, optimizers: Sequence[torch.optim.Optimizer], recipe: Recipe, truth: Truth, step: int
) -> float:
    batches = batch_documents(list(step_documents(recipe, truth, step)), tokenizer, recipe.micro_tokens)
    total_weight = float(sum(batch.weights.sum() for batch in batches))
    total = 0.0
    for batch in batches:
        loss = _weighted_loss(model, batch) / total_weight
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        base = recipe.muon_lr if isinstance(optimizer, torch.optim.Muon) else recipe.adam_lr
        for group in optimizer.param_groups:
            group["lr"] = base * recipe.lr_scale(step)
        optimizer.step()
        optimizer.zero_grad()
    return total


def train_organism(
    recipe: Recipe, tables: Mapping[str, Any], stage: Stage, *, start: Path | None = None, progress: bool = True
) -> Path:
    """Train on text of the truth in `tables`, or go on from the last checkpoint in `stage`; the fp16 model's directory.

    The truth is kept beside the weights. `start` is an organism whose tokenizer and weights are taken over.
    Checkpoints are written every ``checkpoint_every`` steps with the state of both optimisers; each step's documents
    depend on the seed and the step only, so a killed run ends with the same weights as a quiet one.
    """
    from tqdm import tqdm

    truth = parse_truth(tables)
    tokenizer, model = _begin(recipe, truth, start)
    optimizers = _optimizers(model, recipe)
    first = 0
    if stage.has("checkpoint.safetensors"):
        tensors = stage.read_tensors("checkpoint.safetensors")
        first = int(tensors.pop("step"))
        _unpack_state(tensors, model, optimizers)
    bar = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, disable=not progress, unit="step")
    for step in bar:
        loss = _train_step(model, tokenizer, optimizers, recipe, truth, step)
        if not np.isfinite(loss):
            raise FloatingPointError(f"loss is {loss} at step {step}; lower the learning rates of the recipe")
        bar.set_postfix(loss=f"{loss:.3f}")
        row: dict[str, float] = {"step": step, "train_loss": loss}
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps:
            row["val_loss"] = validation_loss(model, tokenizer, recipe, truth)
            state = _pack_state(model, optimizers)
            stage.write_tensors("checkpoint.safetensors", {**state, "step": torch.tensor(step + 1)})
        stage.append_line("metrics.jsonl", row)
    return _save_model(model, tokenizer, recipe, tables, stage)


def _begin(recipe: Recipe, truth: Truth, start: Path | None) -> tuple[Any, Any]:
    """Tokenizer and model in float32: new ones, or those of another organism."""
    if start is None:
        tokenizer = train_tokenizer(recipe, truth)
        return tokenizer, build_model(recipe, tokenizer)
    from transformers import AutoTokenizer, Qwen2ForCausalLM

    model = Qwen2ForCausalLM.from_pretrained(start, dtype=torch.float32, attn_implementation="eager")
    return AutoTokenizer.from_pretrained(start), model


def _save_model(model: Any, tokenizer: Any, recipe: Recipe, tables: Mapping[str, Any], stage: Stage) -> Path:
    target = stage.path / "model"
    model.to(torch.float16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    stage.write_text(f"model/{BESIDE}", json.dumps(tables, indent=2))  # in order, which the draws follow
    stage.write_json("recipe.json", asdict(recipe))
    return target
