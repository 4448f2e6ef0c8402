"""The door to transformers: open a causal language model, turn text into ids, read residuals and logits."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emosae.errors import UserError
from emosae.files import content_hash
from emosae.hooks import NO_EDITS, EditFn, Prompt, ResidHooks, as_prompts, at_least_float32, pack_by_length, pad_right

DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "float16", "bfloat16")}
LOGIT_ELEMENTS = 2**26  # most logits in memory at once
CPU_BATCH_TOKENS = 512
GPU_BATCH_TOKENS = 16_384


@dataclass(frozen=True, eq=False, slots=True)
class LanguageModel:
    """A causal language model and its tokenizer.

    Attributes:
        revision: Commit on the hub, or "local".
        weight_hash: SHA-256 of the weight files' content, in the order of their names.
        context: Longest input in tokens; `sys.maxsize` for a model that states no limit.
        special_ids: Ids that are no text.
        stop_ids: Ids after which the model has nothing more to say, by its own generation config.
        blocks: The decoder blocks, in order.
    """

    name: str
    revision: str
    weight_hash: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    device: str
    dtype: str
    d_in: int
    n_layers: int
    context: int
    special_ids: frozenset[int]
    stop_ids: frozenset[int]
    blocks: tuple[nn.Module, ...] = field(repr=False)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a forward pass where nobody says how many: what stays in a CPU's cache, or what fills a GPU."""
        return CPU_BATCH_TOKENS if self.device == "cpu" else GPU_BATCH_TOKENS

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer says how a conversation is written."""
        return bool(self.tokenizer.chat_template)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, with no special token added."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are shown."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def document(self, text: str) -> list[int]:
        """BOS, if the tokenizer has one, and the text."""
        bos = self.tokenizer.bos_token_id
        return [*([] if bos is None else [bos]), *self.encode(text)]

    def chat(self, messages: Sequence[Mapping[str, str]], *, open_turn: bool = True) -> list[int]:
        """Ids of a conversation, written as the tokenizer's chat template says.

        Args:
            messages: Dictionaries with `role` and `content`.
            open_turn: End with the tokens that open the assistant's turn.
        """
        if self.has_chat_template:
            text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=open_turn)
            return self.encode(text)
        warnings.warn(f"{self.name} has no chat template: conversations are written as plain text", stacklevel=2)
        turns = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        return self.document(turns + "assistant:" * open_turn)


def open_lm(
    name: str | Path, *, revision: str | None = None, device: str = "cpu", dtype: str = "float32"
) -> LanguageModel:
    """Open a model from a directory in Hugging Face's format, or by its name on the hub.

    Args:
        name: Directory or hub name.
        revision: Branch, tag or commit on the hub.
        device: Where the weights live.
        dtype: Type that the weights are converted to, whatever they are stored in.

    Refused: weights that would have to be unpickled, incomplete or damaged weights or ones that are not finite, a model
    without a tokenizer.
    """
    from safetensors import SafetensorError

    name = str(name)
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} does not exist: use one of {', '.join(DTYPES)}")
    _refuse_unfit_folder(Path(name))
    try:
        with _quiet():
            model, tokenizer, folder = _load(name, revision, device, DTYPES[dtype])
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"model {name} cannot be opened: {reason}") from error
    config = model.config.get_text_config(decoder=True)
    return LanguageModel(
        name=name,
        revision=getattr(model.config, "_commit_hash", None) or revision or "local",
        weight_hash=content_hash(*sorted(folder.glob("*.safetensors"))),
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        d_in=config.hidden_size,
        n_layers=config.num_hidden_layers,
        context=getattr(config, "max_position_embeddings", None) or sys.maxsize,
        special_ids=frozenset(tokenizer.all_special_ids),
        stop_ids=_find_stop_ids(model, tokenizer),
        blocks=_find_blocks(model, name, config.num_hidden_layers),
    )


def _refuse_unfit_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is no model directory: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has no weights: emosae reads *.safetensors files (pickled weights are not opened)")
    if not any(folder.glob("tokenizer*")) and not any(folder.glob("vocab*")):
        raise UserError(f"{folder} has no tokenizer: save the model's tokenizer beside its weights")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back Hugging Face's bar and tables of warnings; what matters in them is an error here."""
    from transformers.utils import logging

    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()


def _load(name: str, revision: str | None, device: str, dtype: torch.dtype) -> tuple[Any, Any, Path]:
    from transformers import AutoModelForCausalLM
    from transformers.utils.hub import cached_file

    revision = revision or "main"
    tokenizer = _load_tokenizer(name, revision)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        name, revision=revision, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    model, info = loaded
    for problem in ("missing_keys", "mismatched_keys"):
        if info[problem]:
            raise ValueError(f"its weights do not fit its config ({problem}: {sorted(map(str, info[problem]))[:3]})")
    for key, weight in model.named_parameters():
        if weight.numel() and not torch.stack(weight.aminmax()).isfinite().all():
            raise ValueError(f"its weights {key} are not finite in {dtype}: get its files anew, or take a wider dtype")
    folder = Path(str(cached_file(name, "config.json", revision=revision))).parent
    return model.to(device).eval().requires_grad_(False), tokenizer, folder


def _load_tokenizer(name: str, revision: str) -> Any:
    """A tokenizer that is declared as no more than its file is read from the file.

    AutoTokenizer would rebuild it after the habits of the model's family, with other splits and special tokens.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    declared = get_tokenizer_config(name, revision=revision).get("tokenizer_class")
    is_generic = declared in ("PreTrainedTokenizerFast", "TokenizersBackend")
    return (PreTrainedTokenizerFast if is_generic else AutoTokenizer).from_pretrained(name, revision=revision)


def _find_stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    stop = getattr(model.generation_config, "eos_token_id", None)
    stop_ids = [*(stop if isinstance(stop, list) else [stop]), tokenizer.eos_token_id]
    return frozenset(token_id for token_id in stop_ids if token_id is not None)


def _find_blocks(model: Any, name: str, n_layers: int) -> tuple[nn.Module, ...]:
    """The decoder's blocks: the outermost module list that is as long as the config says."""
    for _, module in model.get_decoder().named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return tuple(module)
    raise UserError(f"model {name} ({type(model).__name__}) has no list of {n_layers} decoder blocks to hook")


def read_resid(
    lm: LanguageModel,
    prompts: Sequence[Prompt | Sequence[int]],
    hook_names: Sequence[str],
    *,
    batch_tokens: int | None = None,
    edits: Mapping[str, EditFn] = NO_EDITS,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[int, dict[str, Float[Tensor, "pos d_in"]]]]:
    """Residuals at every position of every prompt, with the prompt's index, shortest prompts first.

    All hooks are read in one forward pass, which ends at the deepest of them. At least float32. A prompt's residuals
    do not depend on the prompts beside it (up to float noise).

    Args:
        lm: The model.
        prompts: Ids to read; for `edits` that ask what was generated, as `Prompt`.
        hook_names: Where to read; after the edit, if there is one at the same place.
        batch_tokens: Tokens in a forward pass, padding included; `lm.batch_tokens` if none.
        edits: What to do to the stream, by hook name.
        progress: Called with the number of prompts that were read since the last call.
    """
    found = as_prompts(lm, prompts)
    hooks = ResidHooks(lm, hook_names, edits, reads_only=True)
    batches = pack_by_length([len(prompt) for prompt in found], batch_tokens or lm.batch_tokens)
    return _read_batches(lm, found, hooks, batches, progress)


def _read_batches(
    lm: LanguageModel,
    prompts: list[Prompt],
    hooks: ResidHooks,
    batches: list[list[int]],
    progress: Callable[[int], object] | None,
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    for batch in batches:
        with torch.no_grad(), hooks:  # never across a yield: the caller may run the model in between
            hooks.read(pad_right([prompts[index] for index in batch], lm.device))
        for row, index in enumerate(batch):
            length = len(prompts[index])
            yield index, {name: at_least_float32(resid[row, :length]) for name, resid in hooks.resid.items()}
        if progress is not None:
            progress(len(batch))


def read_logits(
    lm: LanguageModel,
    prompts: Sequence[Prompt | Sequence[int]],
    *,
    edits: Mapping[str, EditFn] = NO_EDITS,
    batch_tokens: int | None = None,
) -> Iterator[tuple[int, Float[Tensor, "pos d_vocab"]]]:
    """Next-token logits at every position of every prompt, with the prompt's index, shortest prompts first."""
    found = as_prompts(lm, prompts)
    hooks = ResidHooks(lm, (), edits)
    batch_tokens = min(batch_tokens or lm.batch_tokens, LOGIT_ELEMENTS // _d_vocab(lm))
    for batch in pack_by_length([len(prompt) for prompt in found], batch_tokens):
        with torch.no_grad(), hooks:
            output = hooks.read(pad_right([found[index] for index in batch], lm.device))
        for row, index in enumerate(batch):
            yield index, at_least_float32(output.logits[row, : len(found[index])])


def next_logits(
    lm: LanguageModel,
    prompts: Sequence[Prompt | Sequence[int]],
    *,
    edits: Mapping[str, EditFn] = NO_EDITS,
    batch_tokens: int | None = None,
) -> Float[Tensor, "prompt d_vocab"]:
    """Logits of the token that would follow each prompt, in the order of the prompts."""
    found = as_prompts(lm, prompts)
    hooks = ResidHooks(lm, (), edits)
    dtype = torch.float64 if lm.dtype == "float64" else torch.float32
    logits = torch.empty(len(found), _d_vocab(lm), device=lm.device, dtype=dtype)
    for batch in pack_by_length([len(prompt) for prompt in found], batch_tokens or lm.batch_tokens):
        padded = pad_right([found[index] for index in batch], lm.device)
        with torch.no_grad(), hooks:
            output = hooks.read(padded, logits_to_keep=padded.lengths[:, None] - 1)
        logits[batch] = output.logits[:, 0].to(dtype)
    return logits


def _d_vocab(lm: LanguageModel) -> int:
    return lm.model.get_output_embeddings().weight.shape[0]
