"""Reading and editing the residual stream of a decoder by its published hook names.

`blocks.{l}.hook_resid_pre` is what block l receives, `blocks.{l}.hook_resid_post` what it hands on.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor, nn

from emosae.axes import BatchResid
from emosae.errors import UserError
from emosae.prompts import PaddedBatch, Prompt, TokenMarks, pack_by_length, pad_right

__all__ = [
    "NO_EDITS",
    "EditFn",
    "Hookable",
    "PaddedBatch",
    "Prompt",
    "ResidHooks",
    "TokenMarks",
    "as_prompts",
    "at_least_float32",
    "depth_of",
    "neighbour_hooks",
    "pack_by_length",
    "pad_right",
    "sort_hooks",
]

EditFn = Callable[[BatchResid, TokenMarks], BatchResid]
"""(resid, marks) -> resid. It sees any part of a text, so it must treat each position by itself."""

NO_EDITS: Mapping[str, EditFn] = MappingProxyType({})
_HOOK_NAME = re.compile(r"blocks\.(\d+)\.hook_resid_(pre|post)")


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
        self._marks: TokenMarks | None = None
        self._handles: list[Any] = []
        self.takes_positions = "position_ids" in inspect.signature(lm.model.forward).parameters

    def __enter__(self) -> ResidHooks:
        for name, (layer, site) in self._places.items():
            block = self._lm.blocks[layer]
            if site == 0:
                pre_hook = partial(self._before_block, name)
                self._handles.append(block.register_forward_pre_hook(pre_hook, with_kwargs=True))
            else:
                self._handles.append(block.register_forward_hook(partial(self._after_block, name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _before_block(self, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (self._pass(name, args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": self._pass(name, kwargs["hidden_states"])}

    def _after_block(self, name: str, _: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return (self._pass(name, output[0]), *output[1:]) if isinstance(output, tuple) else self._pass(name, output)

    def _pass(self, name: str, resid: Tensor) -> Tensor:
        """Edit and read what passes a hook; what goes on from there."""
        self._fired.add(name)
        if name in self._edits:
            assert self._marks is not None
            resid = self._edits[name](resid, self._marks).to(resid.dtype)
        if name in self._reads:
            self.resid[name] = resid
        if name == self._last:
            raise _DeepestReached
        return resid

    def forward(self, ids: Int[Tensor, "batch pos"], marks: TokenMarks, **kwargs: Any) -> Any:
        """Hugging Face's output of one forward pass; None if it ended at the deepest hook.

        Refused: a hook that did not fire, whose reads would be missing and whose edits would be silently left out.
        """
        self._fired.clear()
        self._marks = marks
        if self.takes_positions:
            kwargs["position_ids"] = marks.position
        output = None
        with suppress(_DeepestReached):
            output = self._lm.model(input_ids=ids, **kwargs)
        if len(self._fired) < len(self._places):
            silent = ", ".join(sorted(set(self._places) - self._fired))
            raise UserError(f"hook {silent} did not fire in {self._lm.name}: {_valid_names(self._lm)}")
        return output

    def read(self, batch: PaddedBatch, **kwargs: Any) -> Any:
        """One forward pass over whole texts."""
        return self.forward(batch.ids, batch.marks, use_cache=False, **kwargs)


def _resolve(lm: Hookable, hook_name: str) -> tuple[int, int]:
    """Layer, and 0 before its block or 1 after it."""
    match = _HOOK_NAME.fullmatch(hook_name)
    if match is None or int(match[1]) >= len(lm.blocks):
        raise UserError(f"hook {hook_name} does not exist in {lm.name}: {_valid_names(lm)}")
    return _place_of(hook_name)


def sort_hooks(hook_names: Iterable[str]) -> list[str]:
    """The names from the input to the output of a model; before a block comes before after it. Refused: other names."""
    return sorted(hook_names, key=_place_of)


def depth_of(hook_name: str) -> int:
    """How many blocks lie before a place: as many after one block as before the next. Refused: other names."""
    return sum(_place_of(hook_name))


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
