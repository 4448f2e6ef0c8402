"""Reading and editing the residual stream of a decoder by its published hook names.

`blocks.{l}.hook_resid_pre` is what block l receives, `blocks.{l}.hook_resid_post` what it hands on. Padding stands on
the right of a batch, where a causal model never looks, so that a text reads the same alone and beside others.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor, nn

from emosae.axes import BatchResid, PositionMask
from emosae.errors import UserError

EditFn = Callable[[BatchResid, PositionMask, PositionMask], BatchResid]
"""(resid, is_generated, is_real) -> resid. It sees any part of a text, so it must treat each position by itself."""

NO_EDITS: Mapping[str, EditFn] = MappingProxyType({})
_HOOK_NAME = re.compile(r"blocks\.(\d+)\.hook_resid_(pre|post)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids for a model to read or to go on from.

    Attributes:
        ids: Token ids, special ones included.
        generated: For each id whether an earlier turn of the model wrote it; None if it wrote none of them.
    """

    ids: tuple[int, ...]
    generated: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        if self.generated is not None and len(self.generated) != len(self.ids):
            raise ValueError(f"a prompt of {len(self.ids)} ids has {len(self.generated)} flags")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def flags(self) -> tuple[bool, ...]:
        """`generated`, spelled out."""
        return (False,) * len(self.ids) if self.generated is None else self.generated

    def then(self, generated_ids: Sequence[int], given_ids: Sequence[int]) -> Prompt:
        """The prompt of the next turn: this one, what the model wrote, and what it was given in reply."""
        flags = (*self.flags, *([True] * len(generated_ids)), *([False] * len(given_ids)))
        return Prompt((*self.ids, *generated_ids, *given_ids), flags)


@dataclass(frozen=True, eq=False, slots=True)
class PaddedBatch:
    """Texts side by side, filled up on the right with their own last id."""

    ids: Int[Tensor, "batch pos"]
    is_generated: PositionMask
    is_real: PositionMask
    lengths: Int[Tensor, " batch"]


def pad_right(prompts: Sequence[Prompt], device: str) -> PaddedBatch:
    """Texts as one batch."""
    width = max(map(len, prompts))
    ids = [[*prompt.ids, *[prompt.ids[-1]] * (width - len(prompt))] for prompt in prompts]
    flags = [[*prompt.flags, *[False] * (width - len(prompt))] for prompt in prompts]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    is_real = torch.arange(width) < lengths[:, None]
    parts = (torch.tensor(ids), torch.tensor(flags), is_real, lengths)
    return PaddedBatch(*(part.to(device) for part in parts))


def pack_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in batches of like length, each of at most `batch_tokens` with its padding, or of one text."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[index] > batch_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision widened; anything else as it is."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


@runtime_checkable
class Hookable(Protocol):
    """What the hooks ask of a language model."""

    @property
    def name(self) -> str:
        """Its name, for messages."""
        ...

    @property
    def model(self) -> Any:
        """The Hugging Face model."""
        ...

    @property
    def context(self) -> int:
        """Longest input in tokens."""
        ...

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Its decoder blocks, in order."""
        ...


def as_prompts(lm: Hookable, prompts: Sequence[Prompt | Sequence[int]]) -> list[Prompt]:
    """Bare ids as prompts in which nothing was generated. Refused by index: empty ones, ones beyond the context."""
    found = [prompt if isinstance(prompt, Prompt) else Prompt(tuple(prompt)) for prompt in prompts]
    empty = [index for index, prompt in enumerate(found) if not len(prompt)]
    if empty:
        raise UserError(f"prompts without tokens: {empty[:10]}")
    long = [index for index, prompt in enumerate(found) if len(prompt) > lm.context]
    if long:
        raise UserError(f"prompts of more than the {lm.context} tokens that {lm.name} can read: {long[:10]}")
    return found


class _DeepestReached(Exception):
    """The deepest hook has been read; the rest of the forward pass is of no use."""


class ResidHooks:
    """Edits and reads of the residual stream, in force inside a `with` block.

    At one hook edits come before reads: what is read is what the next block receives.

    Args:
        lm: The model.
        reads: Names to read; the last forward pass's residuals are in `resid`.
        edits: What to do to the stream, by hook name.
        reads_only: Whether logits are of no use, so that a forward pass may end at the deepest hook.
    """

    def __init__(
        self,
        lm: Hookable,
        reads: Sequence[str] = (),
        edits: Mapping[str, EditFn] = NO_EDITS,
        *,
        reads_only: bool = False,
    ) -> None:
        self.resid: dict[str, Tensor] = {}
        self._lm, self._reads, self._edits = lm, frozenset(reads), dict(edits)
        self._places = {name: _resolve(lm, name) for name in (*reads, *edits)}
        self._last = max(self._places, key=self._places.__getitem__) if reads_only and self._places else None
        self._fired: set[str] = set()
        self._marks: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        self._handles: list[Any] = []
        self.takes_positions = "position_ids" in inspect.signature(lm.model.forward).parameters

    def __enter__(self) -> ResidHooks:
        for name, (layer, site) in self._places.items():
            block, hook = self._lm.blocks[layer], self._hook(name)
            if site == 0:
                self._handles.append(block.register_forward_pre_hook(_as_pre_hook(hook), with_kwargs=True))
            else:
                self._handles.append(block.register_forward_hook(_as_post_hook(hook)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self, name: str) -> Callable[[Tensor], Tensor]:
        edit, is_read = self._edits.get(name), name in self._reads

        def hook(resid: Tensor) -> Tensor:
            self._fired.add(name)
            if edit is not None:
                resid = edit(resid, *self._marks).to(resid.dtype)
            if is_read:
                self.resid[name] = resid
            if name == self._last:
                raise _DeepestReached
            return resid

        return hook

    def forward(
        self,
        ids: Int[Tensor, "batch pos"],
        is_generated: PositionMask,
        is_real: PositionMask,
        position_ids: Int[Tensor, "batch pos"],
        **kwargs: Any,
    ) -> Any:
        """Hugging Face's output of one forward pass; None if it ended at the deepest hook.

        Refused: a hook that did not fire, whose reads would be missing and whose edits would be silently left out.
        """
        self._fired.clear()
        self._marks = (is_generated, is_real)
        if self.takes_positions:
            kwargs["position_ids"] = position_ids
        output = None
        with suppress(_DeepestReached):
            output = self._lm.model(input_ids=ids, **kwargs)
        if len(self._fired) < len(self._places):
            silent = ", ".join(sorted(set(self._places) - self._fired))
            raise UserError(f"hook {silent} did not fire in {self._lm.name}: {_valid_names(self._lm)}")
        return output

    def read(self, batch: PaddedBatch, **kwargs: Any) -> Any:
        """One forward pass over whole texts."""
        width = batch.ids.shape[1]
        position_ids = torch.arange(width, device=batch.ids.device).expand_as(batch.ids)
        return self.forward(batch.ids, batch.is_generated, batch.is_real, position_ids, use_cache=False, **kwargs)


def _as_pre_hook(hook: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Any, Any]]:
    def pre_hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (hook(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": hook(kwargs["hidden_states"])}

    return pre_hook


def _as_post_hook(hook: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def post_hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return (hook(output[0]), *output[1:]) if isinstance(output, tuple) else hook(output)

    return post_hook


def _resolve(lm: Hookable, hook_name: str) -> tuple[int, int]:
    """Layer, and 0 before its block or 1 after it."""
    match = _HOOK_NAME.fullmatch(hook_name)
    if match is None or int(match[1]) >= len(lm.blocks):
        raise UserError(f"hook {hook_name} does not exist in {lm.name}: {_valid_names(lm)}")
    return _place_of(hook_name)


def sort_hooks(hook_names: Iterable[str]) -> list[str]:
    """The names from the input to the output of a model; before a block comes before after it. Refused: other names."""
    return sorted(hook_names, key=_place_of)


def _place_of(hook_name: str) -> tuple[int, int]:
    match = _HOOK_NAME.fullmatch(hook_name)
    if match is None:
        raise UserError(f"hook {hook_name}: is not of the form blocks.N.hook_resid_pre or blocks.N.hook_resid_post")
    return int(match[1]), ("pre", "post").index(match[2])


def neighbour_hooks(lm: Hookable, hook_name: str) -> list[str]:
    """The places one block before and one block after, of the same kind where there is one; one at either end."""
    layer, site = _resolve(lm, hook_name)
    last, kind = len(lm.blocks) - 1, ("pre", "post")[site]
    before = f"blocks.{layer - 1}.hook_resid_{kind}" if layer > 0 else "blocks.0.hook_resid_pre"
    after = f"blocks.{layer + 1}.hook_resid_{kind}" if layer < last else f"blocks.{last}.hook_resid_post"
    return [name for name in (before, after) if name != hook_name]


def _valid_names(lm: Hookable) -> str:
    last = len(lm.blocks) - 1
    return (
        f"use blocks.0.hook_resid_pre ... blocks.{last}.hook_resid_pre "
        f"or blocks.0.hook_resid_post ... blocks.{last}.hook_resid_post"
    )
