"""What becomes of a feature when something upstream of it is taken away: many cuts of many texts, read together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emosae.axes import BatchResid, Direction
from emosae.connections.targets import INPUT_HOOK, Excerpt
from emosae.hooks import EditFn, Prompt, TokenMarks, at_least_float32
from emosae.lm import LanguageModel, read_resid
from emosae.sae import Dictionary


@dataclass(frozen=True, eq=False, slots=True)
class Probe:
    """The feature whose activation is read, at the last token of a text."""

    lm: LanguageModel
    dictionary: Dictionary
    feature_idx: int
    batch_tokens: int | None = None

    @torch.no_grad()
    def read(self, prompts: Sequence[Prompt], edits: Mapping[str, EditFn]) -> Float[Tensor, " prompt"]:
        """Its activation in each text under the edits."""
        hook = self.dictionary.hook_name
        last = torch.zeros(len(prompts), self.dictionary.d_in)
        for index, resid in read_resid(self.lm, prompts, [hook], edits=edits, batch_tokens=self.batch_tokens):
            last[index] = resid[hook][-1].cpu()
        acts = self.dictionary.encode(last, torch.tensor([self.feature_idx]))
        return acts[:, 0].float().cpu()


def cut_features(probe: Probe, dictionary: Dictionary, cuts: Sequence[tuple[Excerpt, int]]) -> Float[Tensor, " cut"]:
    """Activation of the probe's feature in each excerpt when a feature upstream is ablated all over its text.

    The arithmetic is that of `Ablate`: the SAE's error is carried through. Special tokens are left alone, as the SAE
    does not read them.
    """
    if not cuts:
        return torch.zeros(0)
    columns = sorted({feature_idx for _, feature_idx in cuts})
    place = torch.tensor([columns.index(feature_idx) for _, feature_idx in cuts])
    start = torch.tensor([excerpt.start for excerpt, _ in cuts])
    wanted = torch.tensor(columns)
    directions = torch.stack([dictionary.direction(index) for index in columns])

    def ablate(resid: BatchResid, marks: TokenMarks) -> BatchResid:
        assert marks.label is not None
        label = marks.label.cpu()
        rows = at_least_float32(resid).to(directions).flatten(0, 1)
        acts = dictionary.encode(rows, wanted).view(*resid.shape[:2], -1)
        own = place[label].to(acts.device)
        is_text = marks.is_real & (marks.position >= start[label].to(marks.position)[:, None])
        acts = acts.gather(2, own[:, None, None].expand(-1, acts.shape[1], 1)) * is_text.to(acts.device)[..., None]
        return (at_least_float32(resid) - (acts * directions[own][:, None]).to(resid.device)).to(resid.dtype)

    prompts = [Prompt(excerpt.ids, label=number) for number, (excerpt, _) in enumerate(cuts)]
    return probe.read(prompts, {dictionary.hook_name: ablate})


def cut_tokens(
    probe: Probe, embedding: Direction, cuts: Sequence[tuple[Excerpt, Sequence[int]]]
) -> Float[Tensor, " cut"]:
    """Activation of the probe's feature in each excerpt when the tokens at some positions become the mean token."""
    if not cuts:
        return torch.zeros(0)
    is_cut: Bool[Tensor, "cut pos"] = torch.zeros(len(cuts), max(len(one.ids) for one, _ in cuts), dtype=torch.bool)
    for number, (_, positions) in enumerate(cuts):
        is_cut[number, list(positions)] = True

    def blank(resid: BatchResid, marks: TokenMarks) -> BatchResid:
        assert marks.label is not None
        gone = is_cut[marks.label.cpu()][:, : resid.shape[1]].to(resid.device)
        return torch.where(gone[..., None], embedding.to(resid), resid)

    prompts = [Prompt(excerpt.ids, label=number) for number, (excerpt, _) in enumerate(cuts)]
    return probe.read(prompts, {INPUT_HOOK: blank})
