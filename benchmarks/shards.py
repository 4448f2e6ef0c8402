"""Writing and reading residuals: emosae's shards against sae-lens' cache of activations in Arrow files.

Both write what a model that costs next to nothing (a table of word vectors) holds at every token of the same texts, and
both read it back in shuffled batches of float32 and add them up, so that every value is looked at. `read` leaves out
the check of the files' hashes, which sae-lens has none of and which is made once per opening; `read_checked` has it.
`read_in_order` is the kindest to sae-lens: its store's raw batches, which are not mixed, against shards as they lie.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure

HOOK = "blocks.0.hook_resid_post"
CONTEXT = 128
N_WORDS = 997


def main() -> None:
    """Run all comparisons."""
    arguments = measure.read_arguments(__doc__, rows=65_536, d_in=512, batch_size=4096)
    warnings.simplefilter("ignore")
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments)
        bench.check_rows()
        mixed, raw = bench.read_arrow, bench.read_arrow_in_order
        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "write": (bench.write("float32"), bench.write_arrow),
            "write_bfloat16": (bench.write("bfloat16"), bench.write_arrow),
            "read": (bench.read("float32", check_hashes=False), mixed),
            "read_bfloat16": (bench.read("bfloat16", check_hashes=False), mixed),
            "read_checked": (bench.read("float32"), mixed),
            "read_in_order": (bench.read("float32", check_hashes=False, reshuffle=False), raw),
        }
        comparisons = [
            measure.run(name, {"emosae": ours, "sae-lens": theirs}, arguments.rounds)
            for name, (ours, theirs) in pairs.items()
        ]
    measure.report("shards", comparisons, arguments)


class Bench:
    """The texts, the model, and what each contender does with them."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        import torch

        self.folder, self.names = folder, itertools.count()
        self.d_in, self.batch_size = arguments.d_in, arguments.batch_size
        n_documents = arguments.rows // CONTEXT
        self.rows = n_documents * CONTEXT
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(N_WORDS, self.d_in, generator=generator)
        self.tokens = torch.randint(0, N_WORDS, (n_documents, CONTEXT), generator=generator)
        self.lm = word_model(self.table)
        self.written = {dtype: self.write(dtype)() for dtype in ("float32", "bfloat16")}
        self.arrow = self.write_arrow()

    def write(self, dtype: str) -> Callable[[], Path]:
        """Our writer, in the dtype, to a new folder each time; a quarter of the rows in a shard."""
        from emosae.activations import write_shards
        from emosae.store import Stage

        documents = self.tokens.tolist()

        def write() -> Path:
            folder = self.folder / f"emosae-{next(self.names)}"
            write_shards(self.lm, documents, [HOOK], Stage(folder), dtype=dtype, rows_per_shard=self.rows // 4)
            return folder

        return write

    def write_arrow(self) -> Path:
        """sae-lens' writer, to a new folder, in float32 (Arrow has no bfloat16), a quarter of the rows in a file."""
        from datasets import Dataset
        from sae_lens import cache_activations_runner as theirs
        from sae_lens.config import CacheActivationsRunnerConfig

        folder = self.folder / f"arrow-{next(self.names)}"
        model = TableModel(self.table)
        theirs.load_model = lambda **_: model  # type: ignore[assignment]
        theirs.tqdm = lambda items, **_: items  # type: ignore[assignment]
        config = CacheActivationsRunnerConfig(
            dataset_path="none",
            model_name="none",
            model_batch_size=32,
            hook_name=HOOK,
            d_in=self.d_in,
            training_tokens=self.rows,
            context_size=CONTEXT,
            new_cached_activations_path=str(folder),
            shuffle=False,
            device="cpu",
            buffer_size_gb=self.rows * self.d_in * 4 / 4 / 1e9,
        )
        runner = theirs.CacheActivationsRunner(config, Dataset.from_dict({"tokens": self.tokens.tolist()}))
        runner.run()
        return folder

    def read(self, dtype: str, **options: Any) -> Callable[[], object]:
        """An epoch of our batches, the opening of the folder included."""
        from emosae.activations import ShardStream

        def read() -> None:
            stream = ShardStream(self.written[dtype], self.batch_size, 0, **options)
            for _ in range(self.rows // self.batch_size):
                stream.next_batch()[HOOK].sum()

        return read

    def arrow_store(self) -> Any:
        """sae-lens' store over its cache, as its trainer makes it."""
        import torch
        from sae_lens.training.activations_store import ActivationsStore

        return ActivationsStore(
            model=TableModel(self.table),  # type: ignore[arg-type]
            dataset=None,
            streaming=False,
            hook_name=HOOK,
            hook_head_index=None,
            context_size=CONTEXT,
            d_in=self.d_in,
            n_batches_in_buffer=max(64, 2 * self.batch_size // CONTEXT),
            total_training_tokens=self.rows,
            store_batch_size_prompts=32,
            train_batch_size_tokens=self.batch_size,
            prepend_bos=False,
            normalize_activations="none",
            device=torch.device("cpu"),
            dtype="float32",
            cached_activations_path=str(self.arrow),
        )

    def read_arrow(self) -> None:
        """As many batches from sae-lens' store, mixed as it mixes them."""
        store = self.arrow_store()
        for _ in range(self.rows // self.batch_size):
            store.next_batch().sum()

    def read_arrow_in_order(self) -> None:
        """As many rows from sae-lens' store, unmixed."""
        store = self.arrow_store()
        for _ in range(self.rows // (32 * CONTEXT)):
            store.get_raw_llm_batch()[0].sum()

    def check_rows(self) -> None:
        """Refuse to compare work that is not the same."""
        import torch

        from emosae.activations import ShardStream

        ours = ShardStream(self.written["float32"], self.rows, 0).next_batch()[HOOK]
        store = self.arrow_store()
        batches = [store.get_raw_llm_batch()[0] for _ in range(self.rows // (32 * CONTEXT))]
        for drawn in (ours, torch.cat(batches)):
            expected = self.table[self.tokens.flatten()[: len(drawn)]].double().sum(dim=0)
            torch.testing.assert_close(drawn.double().sum(dim=0), expected)


def word_model(table: Any) -> Any:
    """A model for emosae whose residual at a word is the word's row of the table."""
    import torch

    from emosae.lm import LanguageModel

    model = torch.nn.Module()
    block = torch.nn.Identity()
    model.forward = lambda input_ids, **_: block(table[input_ids])  # type: ignore[method-assign]
    return LanguageModel(
        name="words",
        revision="local",
        weight_hash="words",
        model=model,
        tokenizer=None,
        device="cpu",
        dtype="float32",
        d_in=table.shape[1],
        n_layers=1,
        context=CONTEXT,
        special_ids=frozenset(),
        stop_ids=frozenset(),
        blocks=(block,),
    )


class TableModel:
    """The same for sae-lens: what its store asks of a HookedTransformer."""

    tokenizer = None

    def __init__(self, table: Any) -> None:
        """Take the table."""
        self.W_E = table

    def run_with_cache(self, tokens: Any, **_: object) -> tuple[None, dict[str, Any]]:
        """The residuals at the one hook."""
        return None, {HOOK: self.W_E[tokens]}


if __name__ == "__main__":
    main()
