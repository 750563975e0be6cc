"""Tiny checkpoints of today's vision-language architectures: random weights in the layout of the published ones.

    python tests/vision_language.py FOLDER      # writes one folder per name of `NAMES`

config.json, weights and generation_config.json as transformers saves them; tokenizer, picture processor, processor and
chat template written apart, as the published checkpoints have them. The processors for videos are left out: what they
need (torchvision) is not a dependency. Chat templates are written for these tests, in the manner of the published ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from official_replica import Oblong, oblong, question
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    Gemma3Config,
    Idefics3Config,
    LlavaOnevisionConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)

from drake.data.record import Record

NAMES = ("onevision", "qwen2-vl", "qwen2.5-vl", "qwen3-vl", "smolvlm", "smolvlm2", "gemma3")

MEAN = STD = [0.5, 0.5, 0.5]
LAYERS = {"onevision": 4, "qwen2-vl": 3, "qwen2.5-vl": 4, "qwen3-vl": 4, "smolvlm": 4, "smolvlm2": 3, "gemma3": 4}

CHATML = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}IMAGE{%- else -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}
{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""
PICTURES_FIRST = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% for part in message['content'] | selectattr('type', 'equalto', 'image') -%}<image>{%- endfor -%}
{%- for part in message['content'] | selectattr('type', 'equalto', 'text') %}
{{ part['text'] }}
{%- endfor -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""
SMOL = """\
<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}\
{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}\
{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}\
{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""
GEMMA = """\
{{ bos_token }}
{%- for message in messages -%}
<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}
{% if message['content'] is string %}{{ message['content'] | trim }}{% else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{ '<start_of_image>' }}{%- else -%}{{ part['text'] | trim }}{%- endif -%}
{%- endfor -%}
{%- endif -%}<end_of_turn>
{% endfor -%}
{%- if add_generation_prompt -%}<start_of_turn>model
{% endif -%}
"""

TEXTS = [
    "user assistant system model User Assistant What is in the picture? Which picture is it, the first or the second?",
    "Which colour is at the left right top bottom? Choice list:[red, blue, green]. Your answer is: <image>\n\n\n",
]


def write_checkpoint(name: str, folder: Path) -> Path:
    """The tiny checkpoint `name`, one of `NAMES`, in the new folder; returns the folder."""
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(name)
    config = _config(name, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config)
        for parameter in model.parameters():  # as drawn, all pictures look alike to the language model
            if parameter.ndim > 1:
                parameter.data = 4 * parameter.data if parameter.any() else torch.randn_like(parameter) / 5
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    template, pictures, processor = _processing(name)
    _json(folder / "preprocessor_config.json", pictures | {"image_mean": MEAN, "image_std": STD})
    if processor:
        _json(folder / "processor_config.json", processor)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def _json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


SPECIAL = {
    "onevision": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"],
    "qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
             "<|video_pad|>"],
    "smolvlm": ["<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>",
                "<global-img>", *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5))],
    "gemma3": ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
               "<image_soft_token>"],
}  # fmt: skip
ENDS = {"onevision": "<|im_end|>", "qwen": "<|im_end|>", "smolvlm": "<end_of_utterance>", "gemma3": "<eos>"}


def _kind(name: str) -> str:
    return "qwen" if name.startswith("qwen") else name.removesuffix("2") if name == "smolvlm2" else name


def _tokenizer(name: str) -> PreTrainedTokenizerFast:
    kind = _kind(name)
    special = SPECIAL[kind]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    named = {"eos_token": ENDS[kind], "pad_token": special[0]}
    if kind == "gemma3":
        named["bos_token"] = "<bos>"
    extra = {
        "onevision": {"image_token": "<image>", "video_token": "<video>"},
        "qwen": {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
        "smolvlm": {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"},
        "gemma3": {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
    }[kind]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=extra, **named)


def _config(name: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    ids = tokenizer.get_vocab()
    vocabulary = -(-len(ids) // 64) * 64
    text: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS[name], "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": vocabulary, "max_position_embeddings": 4096, "head_dim": 8,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "tie_word_embeddings": True,
    }  # fmt: skip
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    tied = {"tie_word_embeddings": True}
    if name == "onevision":
        return LlavaOnevisionConfig(
            text_config=text | {"model_type": "qwen2"},
            vision_config=tower | {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14,
                                   "vision_use_head": False},
            image_token_index=ids["<image>"], video_token_index=ids["<video>"],
            image_grid_pinpoints=[[28, 28], [28, 56], [56, 28], [56, 56]],
            vision_feature_layer=-1, vision_feature_select_strategy="full", **tied,
        )  # fmt: skip
    if name in ("smolvlm", "smolvlm2"):
        kind = Idefics3Config if name == "smolvlm" else SmolVLMConfig
        return kind(
            text_config=text | {"model_type": "llama"}, image_token_id=ids["<image>"], scale_factor=2,
            vision_config=tower | {"image_size": 28, "patch_size": 7}, pad_token_id=tokenizer.pad_token_id, **tied,
        )  # fmt: skip
    if name == "gemma3":
        return Gemma3Config(
            # A sliding layer and a full one in turn; the window is shorter than prompts.
            text_config=text | {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 24,
                                "query_pre_attn_scalar": 8},
            vision_config=tower | {"image_size": 28, "patch_size": 7, "vision_use_head": False},
            mm_tokens_per_image=4, boi_token_index=ids["<start_of_image>"], eoi_token_index=ids["<end_of_image>"],
            image_token_index=ids["<image_soft_token>"], **tied,
        )  # fmt: skip
    marks = {
        "image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
    }  # fmt: skip
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    tower = {"depth": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "num_heads": 4}
    if name == "qwen2-vl":
        tower |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
        return Qwen2VLConfig(text_config=text | {"rope_parameters": rope}, vision_config=tower, **marks, **tied)
    if name == "qwen2.5-vl":
        tower |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32, "window_size": 56,
                  "fullatt_block_indexes": [1]}  # fmt: skip
        return Qwen2_5_VLConfig(text_config=text | {"rope_parameters": rope}, vision_config=tower, **marks, **tied)
    tower |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32, "num_position_embeddings": 16,
              "deepstack_visual_indexes": [0, 1]}  # fmt: skip
    return Qwen3VLConfig(text_config=text | {"rope_parameters": rope}, vision_config=tower, **marks, **tied)


def _processing(name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Chat template, preprocessor_config.json, processor_config.json."""
    if name == "onevision":
        pictures = {"image_processor_type": "LlavaOnevisionImageProcessor", "size": {"height": 28, "width": 28},
                    "image_grid_pinpoints": [[28, 28], [28, 56], [56, 28], [56, 56]]}  # fmt: skip
        processor = {"processor_class": "LlavaOnevisionProcessor", "num_image_tokens": 4, "image_token": "<image>",
                     "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9"}  # fmt: skip
        return PICTURES_FIRST, pictures, processor
    if name in ("smolvlm", "smolvlm2"):
        kind = {"smolvlm": "Idefics3", "smolvlm2": "SmolVLM"}[name]
        pictures = {"image_processor_type": f"{kind}ImageProcessor", "size": {"longest_edge": 56},
                    "max_image_size": {"longest_edge": 28}, "do_image_splitting": True, "do_pad": True}  # fmt: skip
        return SMOL, pictures, {"processor_class": f"{kind}Processor", "image_seq_len": 4}
    if name == "gemma3":
        pictures = {"image_processor_type": "Gemma3ImageProcessor", "size": {"height": 28, "width": 28},
                    "do_pan_and_scan": None}  # fmt: skip
        return GEMMA, pictures, {"processor_class": "Gemma3Processor", "image_seq_length": 4}
    kind = "Qwen3VLProcessor" if name == "qwen3-vl" else "Qwen2_5_VLProcessor"
    pictures = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "merge_size": 2,
                "temporal_patch_size": 2, "min_pixels": 28 * 28, "max_pixels": 84 * 84,
                "processor_class": kind}  # fmt: skip
    return CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"), pictures, {}


class Pairs(Oblong):
    """Every other question shows two pictures, the coloured one in the second place."""

    kind, name = "pairs", "Oblong pictures and pairs of them"

    def _record(self, id: str, task: str, side: str, number: int) -> Record:
        record = super()._record(id, task, side, number)
        if number % 2:
            return record
        other = oblong(side, "green", number + 50)
        prompt = f"Look at <image> and <image>\nThe second one. {question(side)}"
        return record._replace(images=(other, *record.images), prompt=prompt)


if __name__ == "__main__":
    for one in NAMES:
        print(write_checkpoint(one, Path(sys.argv[1]) / one))
