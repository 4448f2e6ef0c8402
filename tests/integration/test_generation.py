"""What is written does not depend on how it was computed: cache, padding, batches, turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import planted_sae
from tiny_models import CONTEXT, D_IN, FAMILIES, WINDOW, save_tiny_model
from torch import Tensor
from turns import write_turn

from emosae import kv_cache
from emosae.errors import UserError
from emosae.generation import Generation, generate
from emosae.hooks import NO_EDITS, EditFn, TokenMarks
from emosae.interventions import Clamp, Floor, Intervention, Steer, edit_fns
from emosae.kv_cache import find_windows
from emosae.lm import LanguageModel, Prompt, next_logits, open_lm
from emosae.turn_memory import KeptRow

pytestmark = pytest.mark.integration
HOOKS = ("blocks.1.hook_resid_post", "blocks.3.hook_resid_pre")
N_NEW = WINDOW + 6


@pytest.fixture(scope="module", params=FAMILIES)
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp("qwen2"), "qwen2"))


def prompts() -> list[Prompt]:
    """Shorter and longer than the window, one of them twice, one with tokens of an earlier turn."""
    rng = np.random.default_rng(0)
    lengths = (1, 3, WINDOW - 1, WINDOW, 2 * WINDOW, 4 * WINDOW, 7)
    texts = [Prompt(tuple(rng.integers(2, 300, length).tolist())) for length in lengths]
    return [*texts, texts[1], texts[2].then(rng.integers(2, 300, 5).tolist(), rng.integers(2, 300, 4).tolist())]


def rngs(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, index]) for index in range(n)]


def edits_of(name: str) -> Mapping[str, EditFn]:
    sae = planted_sae(D_IN, 8, hook_name=HOOKS[0])
    steer = Intervention(HOOKS[1], None, (Steer(6 * planted_sae(D_IN, 8, seed=5).direction(3), 2.0),), "prompt")
    clamp = Intervention(HOOKS[0], sae, (Clamp(2, 15.0), Floor(5, 9.0)), "generated")
    everywhere = replace(clamp, where="all")
    return {"none": {}, "clamp": edit_fns([clamp]), "both": edit_fns([everywhere, steer])}[name]


def write(lm: LanguageModel, texts: Sequence[Prompt], **options: Any) -> list[Generation]:
    settings = {"max_new_tokens": N_NEW, "rngs": rngs(len(texts)), "stop_ids": ()} | options
    return generate(lm, texts, **settings)


@pytest.mark.parametrize("edits", ["none", "clamp", "both"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_cache_changes_nothing(lm: LanguageModel, edits: str, temperature: float) -> None:
    options = {"edits": edits_of(edits), "temperature": temperature}
    cached = write(lm, prompts(), **options)
    assert cached == write(lm, prompts(), use_cache=False, **options)
    assert all(len(row.ids) == N_NEW for row in cached)
    if edits != "none":
        assert sum(a != b for a, b in zip(cached, write(lm, prompts(), temperature=temperature), strict=True)) >= 5


def test_greedy_text_is_hugging_faces(lm: LanguageModel) -> None:
    found = write(lm, prompts(), temperature=0.0)
    for prompt, row in zip(prompts(), found, strict=True):
        settings = {"max_new_tokens": N_NEW, "min_new_tokens": N_NEW, "do_sample": False, "pad_token_id": 0}
        ids = torch.tensor([prompt.ids])
        lm.model.generation_config.eos_token_id = None
        expected = lm.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        assert list(row.ids) == expected[0, len(prompt) :].tolist()


def test_sampled_text_inverts_hugging_faces_distribution(lm: LanguageModel) -> None:
    prompt, temperature = prompts()[4], 0.7
    [row] = write(lm, [prompt], temperature=temperature)
    uniforms = np.random.default_rng([0, 0]).random(N_NEW)
    ids = torch.tensor([[*prompt.ids, *row.ids]])
    with torch.no_grad():
        weights = (lm.model(ids).logits[0].double() / temperature).softmax(dim=1).numpy()
    for step, token in enumerate(row.ids):
        cumulative = weights[len(prompt) + step - 1].cumsum()
        assert token == np.searchsorted(cumulative, uniforms[step], side="right")


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_row_does_not_depend_on_its_batch(lm: LanguageModel, batch_size: int) -> None:
    options = {"edits": edits_of("clamp")}
    together = write(lm, prompts(), **options)
    assert write(lm, prompts(), batch_size=batch_size, **options) == together
    order = np.random.default_rng(1).permutation(len(together))
    mixed = write(lm, [prompts()[i] for i in order], rngs=[rngs(len(order))[i] for i in order], **options)
    assert mixed == [together[i] for i in order]


def test_rows_that_come_in_while_others_are_written_change_nothing(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, options = [*prompts(), *prompts()[::-1]], {"edits": edits_of("clamp"), "stop_ids": range(2, 60)}
    together = write(lm, texts, **options)
    assert len({len(row.ids) for row in together}) > 4
    beside: list[int] = []
    admit = kv_cache.CachedRows.admit

    def count(rows: kv_cache.CachedRows, *given: Any) -> Tensor:
        beside.append(len(rows._prompts))
        return admit(rows, *given)

    monkeypatch.setattr(kv_cache.CachedRows, "admit", count)
    assert write(lm, texts, batch_size=4, **options) == together
    assert sum(n > 0 for n in beside) >= 4
    assert write(lm, texts, batch_size=4, use_cache=False, **options) == together


def test_identical_prompts_differ_by_their_generators_alone(qwen: LanguageModel) -> None:
    texts = [prompts()[4]] * 3
    one, two, again = write(qwen, texts, rngs=[np.random.default_rng(seed) for seed in (1, 2, 1)])
    assert one == again != two


def test_each_generator_gives_one_number_for_each_token_that_may_be_written(qwen: LanguageModel) -> None:
    used, fresh = rngs(len(prompts())), rngs(len(prompts()))
    stop = write(qwen, prompts())[0].ids[0]
    write(qwen, prompts(), rngs=used, stop_ids={stop})
    for a, b in zip(used, fresh, strict=True):
        b.random(N_NEW)
        assert a.random() == b.random()


def test_rows_end_at_stop_ids_and_the_others_go_on_as_they_would(lm: LanguageModel) -> None:
    free = write(lm, prompts())
    stop_ids = {free[0].ids[3], free[2].ids[8], free[4].ids[0]}
    stopped = write(lm, prompts(), stop_ids=stop_ids)
    for whole, cut in zip(free, stopped, strict=True):
        ends = [step for step, token in enumerate(whole.ids) if token in stop_ids]
        expected = whole.ids[: ends[0] + 1] if ends else whole.ids
        assert (cut.ids, cut.stopped) == (expected, bool(ends))
        assert cut.text == lm.decode(expected[:-1] if ends else expected)
    assert sum(row.stopped for row in stopped) >= 3


def test_the_models_own_stop_ids_are_the_default(qwen: LanguageModel) -> None:
    own = replace(qwen, stop_ids=frozenset({write(qwen, prompts())[0].ids[2]}))
    first = write(own, prompts(), stop_ids=None)[0]
    assert (len(first.ids), first.stopped) == (3, True)


@pytest.mark.parametrize("use_cache", [True, False])
def test_rows_end_at_stop_texts(qwen: LanguageModel, use_cache: bool) -> None:
    free = write(qwen, prompts())
    stop_text = [row.text[-6:-3] for row in free[:3]]
    stopped = write(qwen, prompts(), stop_text=stop_text, use_cache=use_cache)
    for whole, cut in zip(free, stopped, strict=True):
        found = [whole.text.find(stop) for stop in stop_text if stop in whole.text]
        assert cut.stopped == bool(found)
        if found:
            assert cut.text == whole.text[: min(found)]
            assert not any(stop in qwen.decode(cut.ids[:-1]) for stop in stop_text)
        assert cut.ids == whole.ids[: len(cut.ids)]


def test_a_row_ends_with_the_models_context(qwen: LanguageModel) -> None:
    long = Prompt((5,) * (CONTEXT - 4))
    short, cut = write(qwen, [prompts()[0], long])
    assert (len(short.ids), len(cut.ids), cut.stopped) == (N_NEW, 4, False)
    with pytest.raises(UserError, match=rf"prompts that fill the {CONTEXT} tokens .*: \[1\]"):
        write(qwen, [prompts()[0], Prompt((5,) * CONTEXT)])


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_row_that_ended_early_is_not_written_beyond_the_context(lm: LanguageModel, use_cache: bool) -> None:
    texts = [Prompt((5,) * (CONTEXT - n)) for n in (2, 6)] + [prompts()[index % 4] for index in range(30)]
    free = write(lm, texts, max_new_tokens=9)
    stopped = write(lm, texts, max_new_tokens=9, stop_ids={free[1].ids[0]}, use_cache=use_cache)
    assert [len(row.ids) for row in free[:3]] == [2, 6, 9]
    assert (len(stopped[1].ids), stopped[1].stopped) == (1, True)


def count_tokens(lm: LanguageModel, counts: list[int]) -> Any:
    return lm.blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: counts.append(int(np.prod(args[0].shape[:2]))), with_kwargs=True
    )


@pytest.mark.parametrize("edits", ["none", "clamp", "both"])
def test_what_is_held_of_a_turn_spares_reading_and_changes_nothing(lm: LanguageModel, edits: str) -> None:
    rng, given, changes = np.random.default_rng(3), prompts()[:6], edits_of(edits)
    pasts: list[KeptRow | None] = [None] * len(given)
    reads: dict[bool, list[int]] = {True: [], False: []}
    for turn in range(3):
        options = {"edits": changes, "max_new_tokens": 8, "batch_size": 4, "stop_ids": range(2, 40)}
        counter = count_tokens(lm, reads[True])
        written, pasts = write_turn(lm, given, pasts, rngs=rngs(len(given), turn), **options)
        counter.remove()
        counter = count_tokens(lm, reads[False])
        assert written == write(lm, given, rngs=rngs(len(given), turn), **options)
        counter.remove()
        # the last row starts anew, as a conversation does that was not there before
        replies = [rng.integers(2, 300, int(n)).tolist() for n in rng.integers(1, 6, len(given))]
        given = [p.then(row.ids, reply) for p, row, reply in zip(given, written, replies, strict=True)]
        given[-1] = Prompt(tuple(rng.integers(2, 300, 20).tolist()))
    assert sum(reads[True]) < 0.75 * sum(reads[False])


def test_what_is_held_knows_flags_from_ids(qwen: LanguageModel) -> None:
    [prompt] = prompts()[4:5]
    [row], [kept] = write_turn(qwen, [prompt], [None], edits=edits_of("clamp"), max_new_tokens=5, rngs=rngs(1))
    assert kept is not None
    marked = prompt.then(row.ids, [7])
    assert kept.opens(marked)
    assert not kept.opens(Prompt(marked.ids))
    for n_missing in (2, 3):  # nothing would be left to read, or more is held than the prompt has
        assert not kept.opens(Prompt(marked.ids[:-n_missing], marked.flags[:-n_missing]))


def test_an_empty_intervention_changes_no_bit(lm: LanguageModel) -> None:
    empty = edit_fns([Intervention(HOOKS[0], planted_sae(D_IN, 8), ())])
    identity: dict[str, EditFn] = {HOOKS[0]: lambda resid, marks: resid}
    plain = next_logits(lm, prompts())
    assert torch.equal(next_logits(lm, prompts(), edits=empty), plain)
    assert torch.equal(next_logits(lm, prompts(), edits=identity), plain)
    assert write(lm, prompts(), edits=identity) == write(lm, prompts())


def test_edits_are_told_what_was_generated(qwen: LanguageModel) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def look(resid: Tensor, marks: TokenMarks) -> Tensor:
        seen.append((marks.is_generated, marks.is_real))
        return resid

    texts = [Prompt((5, 6, 7)), Prompt((5,)).then([6, 7], [8])]
    write(qwen, texts, edits={HOOKS[0]: look}, max_new_tokens=3)
    assert [pair[0].tolist() for pair in seen] == [
        [[False] * 4, [False, True, True, False]],
        [[True], [True]],
        [[True], [True]],
    ]
    assert seen[0][1].tolist() == [[True, True, True, False], [True] * 4]


def test_hooks_that_do_not_exist_are_refused_before_anything_runs(qwen: LanguageModel) -> None:
    with pytest.raises(UserError, match=r"hook blocks.9.hook_resid_post does not exist .* use blocks.0"):
        write(qwen, prompts(), edits={"blocks.9.hook_resid_post": lambda *parts: parts[0]})


def test_a_model_that_holds_more_than_keys_and_values_writes_without_a_cache(
    qwen: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write(qwen, prompts()[:3])
    assert find_windows(qwen) == [WINDOW, None, WINDOW, None]
    config = copy(qwen.model.config)
    config.layer_types = ["sliding_attention", "linear_attention", "sliding_attention", "full_attention"]
    monkeypatch.setattr(qwen.model, "config", config)
    assert find_windows(qwen) is None
    monkeypatch.undo()
    monkeypatch.setattr(kv_cache, "find_windows", lambda lm: None)
    with pytest.warns(UserWarning, match="writes without a cache"):
        found, kept = write_turn(qwen, prompts()[:3], [None] * 3, edits=NO_EDITS, max_new_tokens=N_NEW, rngs=rngs(3))
    assert found == expected
    assert kept == [None] * 3


def test_a_half_precision_model_writes_and_its_cache_is_half(tmp_path: Path) -> None:
    half = open_lm(save_tiny_model(tmp_path, "qwen2"), dtype="bfloat16")
    rows = write(half, prompts(), edits=edits_of("clamp"))
    assert all(len(row.ids) == N_NEW for row in rows)


def test_no_prompts_no_text(qwen: LanguageModel) -> None:
    assert write(qwen, []) == []


def test_progress_counts_every_row(qwen: LanguageModel) -> None:
    steps: list[int] = []
    write(qwen, prompts(), batch_size=4, progress=steps.append, max_new_tokens=1)
    assert steps == [4, 4, 1]


def test_generators_must_be_as_many_as_prompts(qwen: LanguageModel) -> None:
    with pytest.raises(ValueError, match="9 prompts, 1 generators"):
        write(qwen, prompts(), rngs=rngs(1))
