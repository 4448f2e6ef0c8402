"""Models are opened as they are, and their residuals are those that Hugging Face says they have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import CONTEXT, D_IN, FAMILIES, N_LAYERS, save_tiny_model, tiny_tokenizer
from torch import Tensor

from emosae.errors import UserError
from emosae.hooks import ResidHooks, TokenMarks, pack_by_length, pad_right
from emosae.lm import LanguageModel, Prompt, next_logits, open_lm, read_logits, read_resid

pytestmark = pytest.mark.integration
TEXTS = ["a cat sat", "then it was all quiet again, for a while", "why!", "the dog ran off; " * 5, "nobody knew"]


@pytest.fixture(scope="module", params=FAMILIES)
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "llama", "llama")


def names(site: str) -> list[str]:
    return [f"blocks.{layer}.hook_resid_{site}" for layer in range(N_LAYERS)]


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Equal up to the noise of float32 at the size of the values."""
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-6 * expected.abs().max().item())


def documents(lm: LanguageModel) -> list[list[int]]:
    return [lm.document(text) for text in TEXTS]


def double(resid: Tensor, marks: TokenMarks) -> Tensor:
    return resid * 2


def test_a_model_says_what_it_is(lm: LanguageModel) -> None:
    assert (lm.d_in, lm.n_layers, lm.context, len(lm.blocks)) == (D_IN, N_LAYERS, CONTEXT, N_LAYERS)
    assert (lm.revision, lm.dtype, lm.special_ids, lm.stop_ids) == ("local", "float32", {0, 1}, {1})
    assert len(lm.weight_hash) == 64


def test_residuals_are_hugging_faces_hidden_states(lm: LanguageModel) -> None:
    prompt = documents(lm)[3]
    [(_, resid)] = read_resid(lm, [prompt], names("pre") + names("post"))
    with torch.no_grad():
        output = lm.model(torch.tensor([prompt]), output_hidden_states=True)
        final = lm.model.get_decoder()
        norm = final.ln_f if hasattr(final, "ln_f") else final.norm
        last = norm(resid[names("post")[-1]])
    for layer in range(N_LAYERS):
        torch.testing.assert_close(resid[names("pre")[layer]], output.hidden_states[layer][0])
        if layer + 1 < N_LAYERS:
            torch.testing.assert_close(resid[names("post")[layer]], output.hidden_states[layer + 1][0])
    torch.testing.assert_close(last, output.hidden_states[-1][0])


@pytest.mark.parametrize("batch_tokens", [1, 40, 8192])
def test_a_text_reads_the_same_alone_and_beside_others(lm: LanguageModel, batch_tokens: int) -> None:
    hooks = [names("pre")[1], names("post")[-1]]
    together = dict(read_resid(lm, documents(lm), hooks, batch_tokens=batch_tokens))
    assert sorted(together) == list(range(len(TEXTS)))
    for index, document in enumerate(documents(lm)):
        [(_, alone)] = read_resid(lm, [document], hooks)
        for hook in hooks:
            assert together[index][hook].shape == (len(document), D_IN)
            assert_same(together[index][hook], alone[hook])


def test_left_padding_reads_the_same(lm: LanguageModel) -> None:
    hook = names("post")[-1]
    right = dict(read_resid(lm, documents(lm), [hook]))
    width = max(map(len, documents(lm)))
    ids = torch.tensor([[0] * (width - len(document)) + document for document in documents(lm)])
    is_real = torch.arange(width) >= width - torch.tensor([[len(document)] for document in documents(lm)])
    hooks = ResidHooks(lm, [hook])
    with torch.no_grad(), hooks:
        positions, no = (is_real.cumsum(1) - 1).clamp(min=0), ~is_real & False
        marks = TokenMarks(is_real, no, no, 0 * positions, positions)
        hooks.forward(ids, marks, attention_mask=is_real.long())
    for index, document in enumerate(documents(lm)):
        left = hooks.resid[hook][index, -len(document) :]
        assert_same(left, right[index][hook])


def test_logits_are_hugging_faces(lm: LanguageModel) -> None:
    all_logits, last = dict(read_logits(lm, documents(lm))), next_logits(lm, documents(lm))
    for index, document in enumerate(documents(lm)):
        with torch.no_grad():
            expected = lm.model(torch.tensor([document])).logits[0]
        assert_same(all_logits[index], expected)
        assert_same(last[index], expected[-1])


def test_a_read_ends_at_the_deepest_hook(lm: LanguageModel) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(lm.blocks)
    ]
    list(read_resid(lm, documents(lm)[:1], [names("pre")[0], names("post")[1]]))
    assert ran == [0, 1]
    list(read_resid(lm, documents(lm)[:1], [names("post")[0]], edits={names("pre")[2]: double}))
    assert ran == [0, 1, 0, 1, 2]
    for handle in handles:
        handle.remove()


def test_edits_come_before_reads_and_reach_every_later_block(lm: LanguageModel) -> None:
    pre, post = names("pre")[1], names("post")[1]
    document = documents(lm)[0]
    [(_, plain)] = read_resid(lm, [document], [pre, post])
    [(_, edited)] = read_resid(lm, [document], [pre, post], edits={pre: double})
    assert torch.equal(edited[pre], 2 * plain[pre])
    assert not torch.allclose(edited[post], plain[post])
    [(_, after)] = read_resid(lm, [document], [pre, post], edits={post: double})
    assert torch.equal(after[pre], plain[pre])
    assert torch.equal(after[post], 2 * plain[post])
    [(_, clean)] = read_resid(lm, [document], [pre, post])
    assert torch.equal(clean[post], plain[post])


def test_edits_see_what_is_real_and_what_was_generated(lm: LanguageModel) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def look(resid: Tensor, marks: TokenMarks) -> Tensor:
        seen.append((marks.is_generated, marks.is_real))
        return resid

    prompts = [Prompt((5, 6, 7), (False, True, False)), Prompt((5, 6)).then([7, 8], [9])]
    list(read_resid(lm, prompts, [names("pre")[0]], edits={names("pre")[0]: look}))
    is_generated, is_real = seen[0]
    assert is_generated.tolist() == [[False, True, False, False, False], [False, False, True, True, False]]
    assert is_real.tolist() == [[True, True, True, False, False], [True] * 5]


def test_gemmas_blocks_are_those_of_its_language_model(tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path, "gemma3_vision"))
    assert any(name == "model.language_model.layers.0" and m is lm.blocks[0] for name, m in lm.model.named_modules())
    prompt = documents(lm)[3]
    [(_, resid)] = read_resid(lm, [prompt], names("post"))
    hidden_states = lm.model(torch.tensor([prompt]), output_hidden_states=True).hidden_states
    assert_same(resid[names("post")[1]], hidden_states[2][0])


def test_the_model_may_be_used_between_two_reads(lm: LanguageModel) -> None:
    def count_hooks() -> int:
        return sum(len(block._forward_hooks) + len(block._forward_pre_hooks) for block in lm.blocks)

    before = count_hooks()
    reads = read_resid(lm, documents(lm), [names("post")[0]], batch_tokens=1)
    next(reads)
    assert torch.isfinite(next_logits(lm, documents(lm))).all()
    assert len(list(reads)) == len(TEXTS) - 1
    assert count_hooks() == before


@pytest.mark.parametrize("hook", ["blocks.9.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.-1.hook_resid_pre"])
def test_a_hook_that_does_not_exist_is_refused_by_name(lm: LanguageModel, hook: str) -> None:
    valid = f"use blocks.0.hook_resid_pre ... blocks.{N_LAYERS - 1}.hook_resid_pre or blocks.0.hook_resid_post"
    with pytest.raises(UserError, match=f"hook {hook} does not exist in .*: {valid}"):
        read_resid(lm, documents(lm), [hook])
    with pytest.raises(UserError, match=f"hook {hook} does not exist"):
        next_logits(lm, documents(lm), edits={hook: double})


def test_a_hook_that_does_not_fire_is_refused_by_name(llama: Path) -> None:
    lm = open_lm(llama)
    lm.model.config.num_hidden_layers = 2  # Hugging Face then leaves out the last blocks, without a word
    silent = names("post")[3]
    list(read_resid(lm, documents(lm), [names("post")[1]]))
    with pytest.raises(UserError, match=f"hook {silent} did not fire in .*: use blocks.0"):
        list(read_resid(lm, documents(lm), [names("post")[1], silent]))
    with pytest.raises(UserError, match=f"hook {silent} did not fire"):
        next_logits(lm, documents(lm), edits={silent: double})


def test_prompts_that_cannot_be_read_are_refused_by_index(lm: LanguageModel) -> None:
    with pytest.raises(UserError, match=r"prompts without tokens: \[1\]"):
        read_resid(lm, [[1], [], [2]], names("pre")[:1])
    with pytest.raises(UserError, match=rf"more than the {CONTEXT} tokens .*: \[0\]"):
        read_resid(lm, [[1] * (CONTEXT + 1), [2]], names("pre")[:1])


def test_progress_counts_every_prompt(lm: LanguageModel) -> None:
    steps: list[int] = []
    list(read_resid(lm, documents(lm), names("pre")[:1], batch_tokens=30, progress=steps.append))
    assert sum(steps) == len(TEXTS)
    assert len(steps) > 1


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_half_weights_are_computed_with_in_float32_on_request(tmp_path: Path, stored: torch.dtype) -> None:
    save_tiny_model(tmp_path, "qwen2", dtype=stored)
    lm, full = open_lm(tmp_path), open_lm(save_tiny_model(tmp_path / "full", "qwen2"))
    assert {weight.dtype for weight in lm.model.parameters()} == {torch.float32}
    for half, single in zip(lm.model.parameters(), full.model.parameters(), strict=True):
        assert torch.equal(half, single.to(stored).float())
    half = open_lm(tmp_path, dtype="bfloat16")
    [(_, resid)] = read_resid(half, documents(half)[:1], [names("post")[0]])
    assert (half.model.dtype, resid[names("post")[0]].dtype) == (torch.bfloat16, torch.float32)


def test_the_weight_hash_is_that_of_the_weights(llama: Path, tmp_path: Path) -> None:
    again, other = save_tiny_model(tmp_path / "again", "llama"), save_tiny_model(tmp_path / "other", "qwen2")
    (again / "README.md").write_text("a note")
    assert open_lm(llama).weight_hash == open_lm(again).weight_hash != open_lm(other).weight_hash


def test_text_and_ids(llama: Path) -> None:
    lm = open_lm(llama)
    assert lm.document("a cat") == [0, *lm.encode("a cat")]
    assert lm.decode(lm.document("a cat")) == "<s>a cat"
    assert not set(lm.encode("a cat")) & lm.special_ids


def test_the_tokenizer_is_the_one_in_the_file(lm: LanguageModel) -> None:
    text = "it's 1234 cats,\n\n  sat<|endoftext|>"  # families split digits, line ends and special tokens their own way
    assert lm.encode(text) == tiny_tokenizer()(text)["input_ids"]
    assert lm.decode(lm.encode(text)) == text


def test_conversations_follow_the_template(tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path, "llama", chat=True))
    messages = [{"role": "user", "content": "why!"}, {"role": "assistant", "content": "a while"}]
    assert lm.has_chat_template
    assert lm.decode(lm.chat(messages[:1])) == "<s>user: why!</s><s>assistant:"
    assert lm.decode(lm.chat(messages, open_turn=False)) == "<s>user: why!</s><s>assistant: a while</s>"


def test_without_a_template_conversations_are_plain_text_and_it_says_so(llama: Path) -> None:
    lm = open_lm(llama)
    assert not lm.has_chat_template
    with pytest.warns(UserWarning, match="has no chat template"):
        assert lm.decode(lm.chat([{"role": "user", "content": "why!"}])) == "<s>user: why!\nassistant:"


def drop_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def remove(pattern: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.unlink()

    return spoil


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pickle_beside(folder: Path) -> None:
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.rename(folder / "other.safetensors")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (remove("config.json"), "is no model directory: it has no config.json"),
        (remove("*.safetensors"), "has no weights"),
        (pickle_only, "has no weights: .*pickled weights are not opened"),
        (pickle_beside, "cannot be opened: .*model.safetensors"),
        (remove("tokenizer*"), "has no tokenizer"),
        (drop_tensor, r"cannot be opened: its weights do not fit .*up_proj"),
        (truncate, "cannot be opened"),
    ],
)
def test_a_directory_that_is_no_model_is_refused_in_one_line(
    llama: Path, spoil: Callable[[Path], None], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(llama)
    capfd.readouterr()
    with pytest.raises(UserError, match=complaint) as refusal:
        open_lm(llama)
    assert capfd.readouterr() == ("", "")
    assert str(llama) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_neither_a_directory_nor_on_the_hub_is_refused() -> None:
    with pytest.raises(UserError, match="model nobody/nothing cannot be opened"):
        open_lm("nobody/nothing")


def test_a_dtype_that_does_not_exist_is_refused(llama: Path) -> None:
    with pytest.raises(UserError, match="dtype 'float31' does not exist: use one of float64, float32"):
        open_lm(llama, dtype="float31")
    with pytest.raises(UserError, match="cannot be opened"):
        open_lm(llama, device="abacus")


def test_batches_are_of_like_length_and_within_the_budget() -> None:
    lengths = [5, 1, 9, 2, 5, 30]
    batches = pack_by_length(lengths, 12)
    assert [[lengths[i] for i in batch] for batch in batches] == [[1, 2], [5, 5], [9], [30]]
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    assert pack_by_length([], 12) == []


def test_padding_stands_on_the_right() -> None:
    batch = pad_right([Prompt((3, 4)), Prompt((5,), (True,))], "cpu")
    assert batch.ids.tolist() == [[3, 4], [5, 5]]
    assert batch.is_real.tolist() == [[True, True], [True, False]]
    assert batch.marks.is_generated.tolist() == [[False, False], [True, False]]


def test_flags_must_fit_the_ids() -> None:
    with pytest.raises(ValueError, match="2 ids has 1 flags"):
        Prompt((1, 2), (True,))
