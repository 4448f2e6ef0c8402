"""Residuals of stories at two hooks: emosae's `harvest` against transformer-lens' TransformerBridge.

Both run the same random weights, keep only the two hooks and stop behind the deeper of them, at two thirds of the
depth; both hand back the residuals of real tokens in the order of the stories. transformer-lens reads the stories in
their order, `BATCH` at a time, padded on the right; as `transformer-lens packed` it is handed the very batches of
stories of like length that emosae makes for itself.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure

BATCH = 32
N_WORDS = 4096
SHAPES = {"qwen2_6x192": ("qwen2", 6, 192, 6), "llama_12x512": ("llama", 12, 512, 8)}


def main() -> None:
    """Run both models."""
    arguments = measure.read_arguments(__doc__, stories=64, least_tokens=40, most_tokens=200)
    warnings.simplefilter("ignore")
    import transformers

    transformers.utils.logging.disable_progress_bar()
    comparisons = []
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            bench = Bench(save_model(Path(folder) / name, *shape), arguments)
            bench.check_residuals()
            contenders: dict[str, Callable[[], object]] = {
                "emosae": bench.harvest,
                "transformer-lens": bench.harvest_bridge,
                "transformer-lens packed": bench.harvest_bridge_packed,
            }
            comparisons.append(measure.run(name, contenders, arguments.rounds))
    measure.report("harvest", comparisons, arguments)


def save_model(folder: Path, family: str, n_layers: int, d_in: int, n_heads: int) -> Path:
    """A model with random weights and a tokenizer of N_WORDS words, as a Hugging Face directory."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models

    shape = {
        "vocab_size": N_WORDS,
        "hidden_size": d_in,
        "intermediate_size": 4 * d_in,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_heads // 2,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    config = {"qwen2": transformers.Qwen2Config, "llama": transformers.LlamaConfig}[family](**shape)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words = {"<s>": 0, "</s>": 1, "<unk>": 2} | {f"w{number}": number for number in range(3, N_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


class Bench:
    """One model as either contender opens it, and the stories."""

    def __init__(self, folder: Path, arguments: Any) -> None:
        import numpy as np
        from transformer_lens.model_bridge import TransformerBridge

        from emosae.hooks import pack_by_length
        from emosae.lm import open_lm

        rng = np.random.default_rng(0)
        lengths = rng.integers(arguments.least_tokens, arguments.most_tokens + 1, size=arguments.stories)
        self.documents = [[0, *rng.integers(3, N_WORDS, size=length).tolist()] for length in lengths]
        self.lm = open_lm(folder)
        self.bridge = TransformerBridge.boot_transformers(str(folder), device="cpu")
        deepest = 2 * self.lm.n_layers // 3 - 1
        self.stop_at_layer = deepest + 1
        self.hook_names = [f"blocks.{layer}.hook_resid_post" for layer in (self.lm.n_layers // 2 - 1, deepest)]
        everyone = range(len(self.documents))
        self.in_order = [list(everyone[start : start + BATCH]) for start in range(0, len(everyone), BATCH)]
        self.packed = pack_by_length([len(document) for document in self.documents], self.lm.batch_tokens)

    def harvest(self) -> dict[str, Any]:
        """emosae's way."""
        from emosae.activations import harvest

        return harvest(self.lm, self.documents, self.hook_names)

    def harvest_bridge(self) -> dict[str, Any]:
        """transformer-lens' way."""
        return self._read_bridge(self.in_order)

    def harvest_bridge_packed(self) -> dict[str, Any]:
        """transformer-lens' way with emosae's batches."""
        return self._read_bridge(self.packed)

    def _read_bridge(self, batches: Sequence[Sequence[int]]) -> dict[str, Any]:
        import torch

        found: dict[str, dict[int, Any]] = {name: {} for name in self.hook_names}
        for batch in batches:
            width = max(len(self.documents[index]) for index in batch)
            rows = [self.documents[index] + [0] * (width - len(self.documents[index])) for index in batch]
            with torch.no_grad():
                _, cache = self.bridge.run_with_cache(
                    torch.tensor(rows), names_filter=self.hook_names, stop_at_layer=self.stop_at_layer
                )
            for name in self.hook_names:
                for row, index in enumerate(batch):
                    found[name][index] = cache[name][row, 1 : len(self.documents[index])]
        return {name: torch.cat([parts[index] for index in sorted(parts)]) for name, parts in found.items()}

    def check_residuals(self) -> None:
        """Refuse to compare work that is not the same."""
        import torch

        ours = self.harvest()
        for theirs in (self.harvest_bridge(), self.harvest_bridge_packed()):
            for name in self.hook_names:
                torch.testing.assert_close(theirs[name], ours[name], rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    main()
