"""Features held at values of the text's own, such as those that they had in its first attempt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from emosae.axes import BatchResid
from emosae.errors import UserError
from emosae.hooks import EditFn, TokenMarks, at_least_float32
from emosae.interventions.places import Tokens, choose_tokens
from emosae.sae import Dictionary


def hold_features(
    dictionary: Dictionary, feature_idx: Sequence[int], values: Float[Tensor, "label feature"], *, from_turn: int = 2
) -> EditFn:
    """Clamp each feature, at every token of the assistant from a turn on, to the value that the text's label names.

    The arithmetic is that of `Clamp`, the SAE's error is carried through, and what stands before that turn keeps its
    bits. Like a clamp it sets the activation that is written: an SAE whose features overlap reads a little off it.

    Args:
        dictionary: The SAE.
        feature_idx: The features.
        values: Row l holds the values of the texts labelled l.
        from_turn: The assistant's first turn in which they are held, counted from 1.
    """
    wanted = torch.tensor(list(feature_idx))
    directions = torch.stack([dictionary.direction(index) for index in feature_idx])
    where = Tokens("assistant", from_turn=from_turn)

    def hold(resid: BatchResid, marks: TokenMarks) -> BatchResid:
        touched = choose_tokens(where, marks)
        if not touched.any():
            return resid
        if marks.label is None:
            raise UserError("features can be held in labelled texts only: give each Prompt a label")
        rows = at_least_float32(resid[touched])
        label = marks.label[:, None].expand_as(touched)[touched]
        acts = dictionary.encode(rows.to(directions), wanted)
        held = values.to(acts)[label.to(acts.device)]
        edited = resid.clone()
        edited[touched] = (rows + ((held - acts) @ directions).to(rows)).to(resid.dtype)
        return edited

    return hold
