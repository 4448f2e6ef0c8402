"""Small causal models of several families with random weights, saved as Hugging Face directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

FAMILIES = ("qwen2", "llama", "gpt2", "gemma3")
WINDOW = 10
CONTEXT = 96
N_LAYERS = 4
D_IN = 16
_TEXT = "a cat sat on the mat and the dog ran off; then it was all quiet again, for a while.\nNobody knew why!"
_CHAT = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


def tiny_tokenizer(*, chat: bool = False) -> Any:
    """A byte-level BPE of about 300 tokens with <s> as BOS and </s> as EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([_TEXT] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    if chat:
        fast.chat_template = _CHAT
    return fast


def tiny_config(family: str, d_vocab: int) -> Any:
    """Configs that mix what families do differently: windows, shared heads, learnt positions, scaled embeddings."""
    import transformers

    common = {
        "vocab_size": d_vocab,
        "hidden_size": D_IN,
        "intermediate_size": 24,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.4,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
    }
    kinds = ["sliding_attention", "full_attention"] * (N_LAYERS // 2)
    if family == "qwen2":
        return transformers.Qwen2Config(**common, use_sliding_window=True, sliding_window=WINDOW, layer_types=kinds)
    if family == "llama":
        return transformers.LlamaConfig(**common)
    if family.startswith("gemma3"):
        text = transformers.Gemma3TextConfig(
            **common, sliding_window=WINDOW, layer_types=kinds, head_dim=4, query_pre_attn_scalar=4
        )
        return _with_vision(text) if family == "gemma3_vision" else text
    return transformers.GPT2Config(
        vocab_size=d_vocab,
        n_embd=D_IN,
        n_layer=N_LAYERS,
        n_head=2,
        n_positions=CONTEXT,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=1,
    )


def _with_vision(text: Any) -> Any:
    """Gemma 3 as it is published: the decoder lies beside a tower of as many vision blocks."""
    import transformers

    vision = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    vision["num_hidden_layers"] = N_LAYERS
    ids = {"image_token_index": 299, "boi_token_index": 298, "eoi_token_index": 297}
    return transformers.Gemma3Config(text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4, **ids)


def save_tiny_model(folder: Path, family: str, *, dtype: torch.dtype = torch.float32, chat: bool = False) -> Path:
    """A model and its tokenizer; the same weights every time."""
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer(chat=chat)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(tiny_config(family, len(tokenizer)))
        for name, weight in model.named_parameters():
            if name.endswith("bias"):  # Hugging Face starts them at 0, where a lost bias would not show
                torch.nn.init.normal_(weight, std=0.2)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
