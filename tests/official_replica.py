"""Checkpoints of random weights with the files that the official ones have: written by transformers 4.47, by hand here.

    python tests/official_replica.py FOLDER      # writes llama1b, llama3b and qwen0.5b, of a few layers each

Several shards of bfloat16 with the older names of weights, llama3 rope scaling, tied heads, a vocabulary padded to 64,
CLIP at 28 pixels, the stored chat template (of llama with a date), sampling switched on, a list of EOS, no padding
token (llama), a tokenizer that adds BOS itself. transformers 4.47.1 reads them, with the logits of transformers 5.
`Oblong` is a small dataset of pictures that are not square, with public records.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing
from transformers import LlavaConfig, LlavaForConditionalGeneration

from drake.data.record import PUBLIC, Record
from drake.data.sources.base import Source
from drake.models.tiny import new_tokenizer

LLAMA_TEMPLATE = """\
{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""
QWEN_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
TEMPLATES = {"llama": LLAMA_TEMPLATE, "qwen": QWEN_TEMPLATE}

LAYERS = {"llama1b": 4, "llama3b": 6, "qwen0.5b": 4}
SHARDS = 3
IMAGE, PATCH, WIDTH = 28, 14, 32
SIDES = ("left", "right", "top", "bottom")
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 160, 30)}
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def write_replica(name: str, folder: Path, layers: int | None = None) -> Path:
    """The replica of the catalog's model `name` in the new folder; returns the folder. layers: None for those of
    `LAYERS`."""
    family = "qwen" if name.startswith("qwen") else "llama"
    folder.mkdir(parents=True)
    tokenizer = new_tokenizer(family, [f"{question(side)} {' '.join(COLOURS)}" for side in SIDES])
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if family == "llama":
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{tokenizer.bos_token} $A", special_tokens=[(tokenizer.bos_token, bos)]
        )
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = _config(family, layers or LAYERS[name], -(-len(tokenizer) // 64) * 64, bos, eos, image)
    _json(folder / "config.json", config)
    _weights(config, folder)
    _json(
        folder / "generation_config.json",
        {"_from_model_config": True, "bos_token_id": bos, "eos_token_id": [eos, eos + 1], "do_sample": True,
         "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.47.1"},
    )  # fmt: skip
    names = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    if family == "qwen":
        names["pad_token"] = "<|endoftext|>"
    _json(folder / "special_tokens_map.json", {key: value for key, value in names.items() if value})
    _json(
        folder / "tokenizer_config.json",
        names | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 131072,
                 "clean_up_tokenization_spaces": True,
                 "model_input_names": ["input_ids", "attention_mask"], "chat_template": TEMPLATES[family]},
    )  # fmt: skip
    _json(folder / "chat_template.json", {"chat_template": TEMPLATES[family]})
    _json(
        folder / "preprocessor_config.json",
        {"crop_size": {"height": IMAGE, "width": IMAGE}, "do_center_crop": True, "do_convert_rgb": True,
         "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": MEAN,
         "image_processor_type": "CLIPImageProcessor", "image_std": STD, "processor_class": "LlavaProcessor",
         "resample": 3, "rescale_factor": 1 / 255, "size": {"shortest_edge": IMAGE}},
    )  # fmt: skip
    _json(
        folder / "processor_config.json",
        {"image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": PATCH,
         "processor_class": "LlavaProcessor", "vision_feature_select_strategy": "default"},
    )  # fmt: skip
    return folder


def _config(family: str, layers: int, vocabulary: int, bos: int | None, eos: int, image: int) -> dict:
    text = {
        "model_type": "llama" if family == "llama" else "qwen2",
        "architectures": ["LlamaForCausalLM" if family == "llama" else "Qwen2ForCausalLM"],
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": layers, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": vocabulary, "bos_token_id": bos,
        "eos_token_id": eos,
    }  # fmt: skip
    if family == "llama":
        text |= {"head_dim": WIDTH // 2, "attention_bias": False, "mlp_bias": False}
        text["rope_scaling"] = {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                                "original_max_position_embeddings": 8192, "rope_type": "llama3"}  # fmt: skip
    else:
        text |= {"max_window_layers": layers, "sliding_window": None, "use_sliding_window": False, "rope_scaling": None}
    vision = {
        "model_type": "clip_vision_model", "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "image_size": IMAGE,
        "num_attention_heads": 2, "num_hidden_layers": 3, "patch_size": PATCH, "projection_dim": WIDTH,
        "torch_dtype": "bfloat16",
    }  # fmt: skip
    return {
        "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_seq_length": 4,
        "image_token_index": image, "model_type": "llava", "projector_hidden_act": "gelu", "text_config": text,
        "torch_dtype": "bfloat16", "transformers_version": "4.47.1", "vision_config": vision,
        "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
    }  # fmt: skip


def _weights(config: dict, folder: Path) -> None:
    """Weights under the names of transformers 4.47, the tied head left out, in shards with an index."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(LlavaConfig(**config)).to(torch.bfloat16)
        tensors = {_older(name): 4 * tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    names = sorted(tensors)
    files: dict[str, str] = {}
    for number in range(SHARDS):
        file = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        part = {name: tensors[name].contiguous() for name in names[number::SHARDS]}
        save_file(part, folder / file, {"format": "pt"})
        files |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    _json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": files})


def _older(name: str) -> str:
    name = name.removeprefix("model.").replace("language_model.", "language_model.model.", 1)
    return name.replace("vision_tower.", "vision_tower.vision_model.", 1)


def _json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def question(side: str) -> str:
    """What is asked about an oblong picture."""
    return f"Which colour is at the {side}?\nChoice list:[{', '.join(COLOURS)}]. Your answer is:"


def oblong(side: str, colour: str, number: int = 0) -> bytes:
    """A grey PNG three times as long as wide, coloured at one of its ends, where no crop of the middle sees it.
    number: makes it another file."""
    upright = side in ("top", "bottom")
    picture = Image.new("RGB", (56, 168) if upright else (168, 56), (90, 90, number % 256))
    box = {"left": (0, 0, 40, 56), "top": (0, 0, 56, 40), "right": (128, 0, 168, 56), "bottom": (0, 128, 56, 168)}[side]
    picture.paste(COLOURS[colour], box)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


class Oblong(Source):
    """One task a side: the colour at that end of an oblong picture. Two clients of two tasks."""

    kind, name, licence, revision, has_public = "oblong", "Oblong pictures", "apache-2.0", "1", True

    def tasks(self) -> dict:
        return dict.fromkeys((f"{side.title()}-0" for side in SIDES), ("train", "test"))

    @property
    def clients(self) -> tuple[tuple[str, ...], ...]:
        return (("Left-0", "Top-0"), ("Right-0", "Bottom-0"))

    def records(self, task: str, split: str) -> Iterator[Record]:
        side = task.partition("-")[0].lower()
        for number in range(8 if split == "train" else 4):
            yield self._record(f"{task}/{split}/{number:06d}", task, side, number + 100 * (split == "test"))

    def public_records(self) -> Iterator[Record]:
        for number in range(12):
            yield self._record(f"public/{number:06d}", PUBLIC, SIDES[number % 4], 200 + number)

    def _record(self, id: str, task: str, side: str, number: int) -> Record:
        colour = list(COLOURS)[number % 3]
        public = task == PUBLIC
        return Record(
            id=id,
            task=task,
            source=PUBLIC if public else "Oblong",
            category=PUBLIC if public else "visual relation",
            images=(oblong(side, colour, number),),
            prompt=f"<image>\n{question(side)}",
            choices=tuple(COLOURS),
            answer=colour,
            metric="accuracy",
        )


if __name__ == "__main__":
    for model in LAYERS:
        print(write_replica(model, Path(sys.argv[1]) / model))
