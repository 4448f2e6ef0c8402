"""Text written under interventions: sae-lens' spliced path and a recomputation without cache are the oracles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import planted_sae
from spliced import HOOK, VARIANTS, run_sae_lens, save_sae, set_columns
from tiny_models import D_IN, FAMILIES, WINDOW, save_tiny_model
from torch import Tensor
from turns import write_turn

from emosae.errors import UserError
from emosae.generation import generate
from emosae.hooks import EditFn, ResidHooks
from emosae.interventions import (
    Ablate,
    Clamp,
    Floor,
    Intervention,
    ProjectOut,
    Scale,
    Steer,
    Tokens,
    edit_fns,
    mark_turns,
)
from emosae.lm import LanguageModel, next_logits, open_lm, read_resid
from emosae.prompts import Prompt, TokenMarks
from emosae.sae import SaeLensDictionary, open_sae
from emosae.turn_memory import KeptRow

pytestmark = pytest.mark.integration
LATER = "blocks.3.hook_resid_pre"
N_NEW = WINDOW + 4


@pytest.fixture(scope="module", params=FAMILIES)
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp("llama"), "llama", chat=True))


def prompts() -> list[Prompt]:
    """Of several lengths, some with turns of the assistant behind them, given or generated."""
    rng = np.random.default_rng(0)
    one, two, three, four = (tuple(rng.integers(2, 300, n).tolist()) for n in (2, WINDOW + 3, 6, 9))
    given = tuple(3 <= place < 6 for place in range(9))
    return [
        Prompt(one),
        Prompt(two),
        Prompt(three).then(four[:4], [7, 8]),
        Prompt(four, assistant=given),
        Prompt(four, assistant=given).then(three, [9]).then([5], [6, 7]),
    ]


def rngs(n: int = 5) -> list[np.random.Generator]:
    return [np.random.default_rng([0, index]) for index in range(n)]


@contextmanager
def spliced(lm: LanguageModel, dictionary: SaeLensDictionary, columns: dict[int, float]) -> Iterator[None]:
    """sae-lens' own path at a block: encode, set activations, decode, add its error."""

    def splice(_: Any, args: Any, output: Any) -> Any:
        resid = output[0] if isinstance(output, tuple) else output
        flat = run_sae_lens(dictionary, resid.flatten(0, 1), lambda acts: set_columns(acts, columns))
        edited = flat.view_as(resid)
        return (edited, *output[1:]) if isinstance(output, tuple) else edited

    handle = lm.blocks[1].register_forward_hook(splice)
    yield
    handle.remove()


@pytest.mark.parametrize("name", VARIANTS)
def test_clamped_text_is_that_of_sae_lens_spliced_path(llama: LanguageModel, name: str, tmp_path: Path) -> None:
    dictionary = open_sae(save_sae(name, tmp_path / "sae"))
    clamps = {1: 4.0, 5: 0.0, 11: 2.5}
    edits = edit_fns([Intervention(HOOK, dictionary, tuple(Clamp(*one) for one in clamps.items()))])
    found = generate(
        llama, prompts(), max_new_tokens=N_NEW, rngs=rngs(), stop_ids=(), temperature=0.0, edits=edits, batch_size=3
    )
    moved = 0
    for prompt, row in zip(prompts(), found, strict=True):
        ids = torch.tensor([[*prompt.ids, *row.ids]])
        with torch.no_grad(), spliced(llama, dictionary, clamps):
            theirs = llama.model(ids).logits[0]
        assert list(row.ids) == theirs[len(prompt) - 1 : -1].argmax(dim=1).tolist()
        ours = next_logits(llama, [ids[0].tolist()], edits=edits)[0]
        torch.testing.assert_close(ours, theirs[-1], atol=2e-5 * float(theirs.abs().max()), rtol=0)
        moved += list(row.ids) != llama.model(ids).logits[0, len(prompt) - 1 : -1].argmax(dim=1).tolist()
    assert moved >= 4


def edits_by_rule(where: Any) -> dict[str, EditFn]:
    """Two SAEs and a direction at one hook, and a direction taken out at another."""
    sae, other = planted_sae(D_IN, 8, hook_name=HOOK), planted_sae(D_IN, 12, seed=3, hook_name=HOOK)
    axis = planted_sae(D_IN, 4, seed=5).direction(2)
    return edit_fns(
        [
            Intervention(HOOK, sae, (Clamp(2, 9.0), Ablate(3)), where),
            Intervention(HOOK, other, (Floor(7, 6.0), Scale(1, 3.0))),
            Intervention(HOOK, None, (Steer(axis, 2.0),), where),
            Intervention(LATER, None, (ProjectOut(axis),), where),
        ]
    )


RULES = (
    "all",
    "prompt",
    "generated",
    "assistant",
    Tokens("assistant", from_turn=2),
    Tokens(from_turn=1),
    Tokens(span=(2, 12)),
    Tokens("generated", span=(14, None)),
)


@pytest.mark.parametrize(("where", "temperature"), [(rule, float(at % 2)) for at, rule in enumerate(RULES)], ids=str)
def test_neither_cache_nor_batch_nor_order_change_what_a_rule_does(
    lm: LanguageModel, where: Any, temperature: float
) -> None:
    edits = edits_by_rule(where)
    options: dict[str, Any] = {"max_new_tokens": N_NEW, "stop_ids": (), "temperature": temperature, "edits": edits}
    together = generate(lm, prompts(), rngs=rngs(), **options)
    assert generate(lm, prompts(), rngs=rngs(), use_cache=False, **options) == together
    backward = generate(lm, prompts()[::-1], rngs=rngs()[::-1], batch_size=2, **options)
    assert backward[::-1] == together


def test_rows_keep_their_turn_when_others_end(lm: LanguageModel) -> None:
    texts = prompts() * 6  # of which the later turn of some moves to where the first turn of others ended
    options: dict[str, Any] = {"max_new_tokens": N_NEW, "stop_ids": range(2, 60), "edits": edits_by_rule(RULES[4])}
    cached = generate(lm, texts, rngs=rngs(len(texts)), **options)
    assert len({len(row.ids) for row in cached}) > 3
    assert cached == generate(lm, texts, rngs=rngs(len(texts)), use_cache=False, **options)


def test_rules_differ_in_what_they_write(llama: LanguageModel) -> None:
    options: dict[str, Any] = {"max_new_tokens": N_NEW, "stop_ids": (), "temperature": 1.0}
    written = {
        str(where): tuple(
            row.ids for row in generate(llama, prompts(), rngs=rngs(), edits=edits_by_rule(where), **options)
        )
        for where in RULES
    }
    assert len(set(written.values())) == len(RULES)


@pytest.mark.parametrize("where", ["assistant", Tokens("assistant", from_turn=2), Tokens(span=(5, 40))], ids=str)
def test_what_is_held_of_earlier_turns_keeps_places_and_turns(lm: LanguageModel, where: Any) -> None:
    edits = edits_by_rule(where)
    given = prompts()
    pasts: list[KeptRow | None] = [None] * len(given)
    for turn in range(3):
        options: dict[str, Any] = {"max_new_tokens": 5, "stop_ids": (), "edits": edits}
        written, pasts = write_turn(lm, given, pasts, rngs=rngs(), **options)
        assert written == generate(lm, given, rngs=rngs(), use_cache=False, **options)
        given = [one.then(row.ids, [7 + turn]) for one, row in zip(given, written, strict=True)]


def test_what_is_held_knows_given_turns_from_other_text(llama: LanguageModel) -> None:
    plain, marked = Prompt((5, 6, 7)), Prompt((5, 6, 7), assistant=(False, True, True))
    [row], [kept] = write_turn(llama, [plain], [None], max_new_tokens=2, rngs=rngs()[:1], edits={})
    assert kept is not None
    assert kept.opens(plain.then(row.ids, [3]))
    assert not kept.opens(marked.then(row.ids, [3]))


@pytest.mark.parametrize("where", ["all", "generated", "assistant", Tokens(from_turn=2, span=(6, 14))], ids=str)
def test_left_padding_moves_no_place(lm: LanguageModel, where: Any) -> None:
    edits = edits_by_rule(where)
    right = dict(read_resid(lm, prompts(), [LATER], edits=edits))
    plain = dict(read_resid(lm, prompts(), [LATER]))
    width = max(map(len, prompts()))
    n_padding = [width - len(prompt) for prompt in prompts()]

    def fill(values: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([[*[values[0][0]] * n, *row] for n, row in zip(n_padding, values, strict=True)])

    is_real = torch.arange(width) >= torch.tensor(n_padding)[:, None]
    flags, inside, turns = ([getattr(p, name) for p in prompts()] for name in ("flags", "assistant_flags", "turns"))
    marks = TokenMarks(is_real, fill(flags), fill(inside), fill(turns), (is_real.cumsum(1) - 1).clamp(min=0))
    hooks = ResidHooks(lm, [LATER], edits)
    with torch.no_grad(), hooks:
        hooks.forward(fill([prompt.ids for prompt in prompts()]), marks, attention_mask=is_real.long())
    for index, prompt in enumerate(prompts()):
        left = hooks.resid[LATER][index, -len(prompt) :]
        torch.testing.assert_close(left, right[index][LATER], atol=1e-4, rtol=1e-4)
    assert any(not torch.allclose(plain[i][LATER], right[i][LATER]) for i in right)


def test_turns_of_a_written_conversation_are_marked(llama: LanguageModel) -> None:
    said = [("user", "a cat"), ("assistant", "the dog ran"), ("user", "why!"), ("assistant", "it was quiet")]
    messages = [{"role": role, "content": content} for role, content in said]
    prompt = mark_turns(llama, messages, open_turn=False)
    assert list(prompt.ids) == llama.chat(messages, open_turn=False)
    marked = [i for i, inside in enumerate(prompt.assistant_flags) if inside]
    for turn, text in ((1, "the dog ran</s>"), (2, "it was quiet</s>")):
        assert llama.decode([prompt.ids[i] for i in marked if prompt.turns[i] == turn]).strip() == text
    opened = mark_turns(llama, messages[:3])
    assert opened.next_turn == 2
    assert opened.flags == (False,) * len(opened)


def test_a_template_that_rewrites_earlier_turns_is_refused(llama: LanguageModel, monkeypatch: Any) -> None:
    whole = "{% for message in messages %}{{ message['content'] }} of {{ messages|length }};{% endfor %}"
    monkeypatch.setattr(llama.tokenizer, "chat_template", whole)
    messages: list[Mapping[str, str]] = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
    with pytest.raises(UserError, match="rewrites earlier messages, so turn 2 cannot be found"):
        mark_turns(llama, messages)
