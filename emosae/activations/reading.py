"""Residuals of real tokens: the model reads texts, and what it did at their tokens is kept in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from emosae.errors import UserError
from emosae.lm import LanguageModel, read_resid

HARVEST_POLICY = (
    "every token that is not a special token, once each, in the order of the documents; documents are read alone, "
    "behind their BOS, with no padding in what is kept and no rescaling"
)


@dataclass(frozen=True, eq=False, slots=True)
class TokenBatch:
    """Residuals of real tokens (no padding, no BOS) of whole texts.

    Attributes:
        resid: What the model held at each token.
        story: Index of the text that each token came from.
        token_pos: Index of each token among the real tokens of its text, counted before any were skipped.
    """

    resid: Float[Tensor, "token d_in"]
    story: Int[Tensor, " token"]
    token_pos: Int[Tensor, " token"]


def find_real_tokens(lm: LanguageModel, document: Sequence[int]) -> list[int]:
    """Positions in a document of the tokens that are text."""
    return [pos for pos, token_id in enumerate(document) if token_id not in lm.special_ids]


def read_tokens(
    lm: LanguageModel,
    documents: Sequence[Sequence[int]],
    hook_names: Sequence[str],
    *,
    skip_tokens: int = 0,
    batch_tokens: int | None = None,
    progress: bool = False,
) -> Iterator[tuple[int, dict[str, Float[Tensor, "token d_in"]]]]:
    """Read documents; yield each one's index and its residuals at real tokens after the first `skip_tokens`.

    Documents come in the order that suits the batches. Refused before the first forward pass: documents that would
    have no token left.
    """
    positions = [torch.tensor(find_real_tokens(lm, document)[skip_tokens:]) for document in documents]
    empty = [index for index, kept in enumerate(positions) if len(kept) == 0]
    if empty:
        raise UserError(f"documents without tokens after the first {skip_tokens}: {_some(empty)}")
    pages = read_resid(lm, documents, hook_names, batch_tokens=batch_tokens)
    for index, resid in tqdm(pages, total=len(documents), desc="reading", unit="text", disable=not progress):
        kept = positions[index]
        yield index, {hook_name: resid[hook_name][kept.to(resid[hook_name].device)] for hook_name in hook_names}


def _some(values: Sequence[object], limit: int = 10) -> str:
    shown = ", ".join(map(str, values[:limit]))
    return f"[{shown}{', ...' if len(values) > limit else ''}]"


def harvest(
    lm: LanguageModel,
    documents: Sequence[Sequence[int]],
    hook_names: Sequence[str],
    *,
    batch_tokens: int | None = None,
    progress: bool = False,
) -> dict[str, Float[Tensor, "token d_in"]]:
    """Residuals at the real tokens of all documents, per hook, from one pass over the text.

    The policy is `HARVEST_POLICY`: every non-special token once, in document order, whatever the batches were.
    Takes 4 bytes x tokens x d_in per hook in memory. Refused: residuals that are not finite.
    """
    counts = [len(find_real_tokens(lm, document)) for document in documents]
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    store = {hook_name: torch.empty(int(starts[-1]), lm.d_in) for hook_name in hook_names}
    for index, resid in read_tokens(lm, documents, hook_names, batch_tokens=batch_tokens, progress=progress):
        for hook_name, rows in resid.items():
            if not rows.isfinite().all():
                raise UserError(f"{hook_name}: residuals of document {index} are not finite; read in float32")
            store[hook_name][starts[index] : starts[index + 1]] = rows.float().cpu()
    return store
