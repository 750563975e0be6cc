"""The parts of the tiny backbones: shapes, tokenizers, chat templates, and models of random weights.

All are ordinary Hugging Face classes (CLIP vision tower, Llama or Qwen2 text model, LlavaProcessor), so that the
checkpoints go through the same code as those of the hub.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from drake.common.seeds import derive
from drake.data.sources.mini.picture import SIZE
from drake.models.prompts import PLACEHOLDER

Family = Literal["llama", "qwen"]
PATCH = 12
PICTURE_TOKENS = (SIZE // PATCH) ** 2
VISION_WIDTH, VISION_LAYERS = 96, 3


class Shape(NamedTuple):
    """The language model of a tiny backbone: family, decoder layers, width of hidden states and of the MLP, attention
    heads.

    Two heads of half the width share one key-value head: a head must be wide enough to tell a few hundred words apart
    by dot products, or comparisons of two tokens are never learned.
    """

    family: Family
    layers: int
    width: int
    feed_forward: int
    heads: int = 2
    key_value_heads: int = 1


SHAPES = {
    "tiny-llama-s": Shape("llama", 8, 64, 192),
    "tiny-llama-m": Shape("llama", 14, 80, 240),
    "tiny-qwen-s": Shape("qwen", 8, 64, 192),
    "tiny-qwen-m": Shape("qwen", 12, 80, 240),
}
ROPE_THETA = 1e6
"""Large, so that over the hundred tokens of a question most dimensions of a head hardly rotate and encode content."""

VOCABULARY = {"llama": 1500, "qwen": 1700}

SPECIAL_TOKENS = {
    "llama": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>", "<|pad|>"],
    "qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"],
}
_PARTS = (
    "{%- else %}{%- for part in message['content'] %}"
    "{{- '<image>' if part['type'] == 'image' else part['text'] }}{%- endfor %}\n"
)
CHAT_TEMPLATES = {
    "llama": """\
{{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{%- if message['content'] is string %}{{- message['content'] }}
"""
    + _PARTS
    + """\
{%- endif %}
{{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
""",
    "qwen": """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string %}{{- message['content'] }}
"""
    + _PARTS
    + """\
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""",
}
# Both keep words whole; llama splits as GPT-2 does, qwen makes every digit and punctuation mark a piece of its own.
SPLITS = {
    "llama": r" ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "qwen": r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s+",
}


def new_tokenizer(family: Family, texts: Sequence[str], vocabulary: int | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with the family's special tokens, its merges learned from `texts`.

    A space is put before a word also at the start of a line, after a bracket and after a quotation mark, so that a word
    is the same token in a question, in a list of choices and as an answer.
    """
    special = SPECIAL_TOKENS[family]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(re.escape(mark) + r"(?=\w)"), mark + " ") for mark in '\n[("']
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLITS[family]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary or VOCABULARY[family],
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    roles = ["user", "assistant", "system"] * len(texts)
    tokenizer.train_from_iterator(roles + ["\n" + text.replace(PLACEHOLDER, "") for text in texts], trainer)
    names = (
        {"bos_token": special[0], "eos_token": "<|eot_id|>", "pad_token": "<|pad|>"}
        if family == "llama"
        else {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=4096,
        extra_special_tokens={"image_token": "<image>"},
        additional_special_tokens=[token for token in special if token not in names.values()],
        **names,
    )


def new_processor(family: Family, tokenizer: PreTrainedTokenizerFast, size: int = SIZE) -> LlavaProcessor:
    """A processor that resizes pictures to `size` x `size` pixels, with the family's chat template."""
    square = {"height": size, "width": size}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=square, crop_size=square, do_center_crop=False),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATES[family],
    )


def vision_config() -> CLIPVisionConfig:
    """The config of the vision tower that all tiny backbones share."""
    return CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=4 * VISION_WIDTH,
        num_hidden_layers=VISION_LAYERS,
        num_attention_heads=4,
        projection_dim=VISION_WIDTH,
        image_size=SIZE,
        patch_size=PATCH,
    )


def token_id(found: object) -> int | None:
    """A tokenizer's id of a special token, which transformers annotates as a union of ids, texts and lists of them."""
    if found is not None and not isinstance(found, int):
        raise TypeError(f"the id of a special token is {found!r}, not a number")
    return found


def new_model(
    shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int, init: float = 0.08
) -> LlavaForConditionalGeneration:
    """A LLaVA with random weights of standard deviation `init`; the same seed gives the same weights."""
    bos, eos, pad = map(token_id, (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id))
    text = (LlamaConfig if shape.family == "llama" else Qwen2Config)(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=init,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_index=cast(int, tokenizer.convert_tokens_to_ids("<image>")),  # one token, one id
        image_seq_length=PICTURE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):  # transformers draws initial weights from the global generator
        torch.manual_seed(derive(seed, "pretrain", "init", shape))
        model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    return model
