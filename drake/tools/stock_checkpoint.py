"""A LLaVA and its processor -> a checkpoint folder that transformers 4.47 reads as well as transformers 5.

transformers 5 writes some things in ways that older versions do not know, and which they pass over without a word. What
is written here is the layout of 4.47, which transformers 5 reads too:

    names of weights       language_model.model.*, language_model.lm_head.*, vision_tower.vision_model.*
    config.json            rope_theta and rope_scaling for rope_parameters, torch_dtype for dtype, tie_word_embeddings
                           in both places where versions look for it
    tokenizer_config.json  tokenizer_class PreTrainedTokenizerFast, special tokens in the older keys, the chat template
    chat_template.json     for chat_template.jinja
    preprocessor_config.json, processor_config.json
                           apart, for one file
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from huggingface_hub import save_torch_state_dict
from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor

LARGEST_FILE = "5GB"
"""Of weights; larger models become several files with an index."""
ROPE_KEYS = ("rope_theta", "partial_rotary_factor")
"""Of rope_parameters; older versions have them beside rope_scaling."""
TOKENIZER_KEYS = ("backend", "is_local", "local_files_only", "extra_special_tokens")
"""Of tokenizer_config.json; written by transformers 5, and unknown or of another type before."""


def write(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path, *, pad_pictures: bool) -> None:
    """Write the checkpoint into the folder, which exists. pad_pictures: pictures are to be padded to a square, which
    transformers does from 4.49 on."""
    save_torch_state_dict(_tensors(model), folder, max_shard_size=LARGEST_FILE, safe_serialization=True)
    config = _config(model)
    if pad_pictures:
        config["image_aspect_ratio"] = "pad"
    _write_json(folder / "config.json", config)
    model.generation_config.save_pretrained(folder)
    _write_processor(processor, folder, pad_pictures)


def _tensors(model: LlavaForConditionalGeneration) -> dict[str, Tensor]:
    state = cast("dict[str, Tensor]", model.state_dict())
    if _tied(model):
        del state["lm_head.weight"]
    return {_older_name(name): tensor.contiguous() for name, tensor in state.items()}


def _older_name(name: str) -> str:
    name = name.removeprefix("model.")
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return name


def _tied(model: LlavaForConditionalGeneration) -> bool:
    return model.lm_head.weight is model.get_input_embeddings().weight


def _config(model: LlavaForConditionalGeneration) -> dict[str, Any]:
    config = json.loads(model.config.to_json_string(use_diff=False))
    text: dict[str, Any] = config["text_config"]
    dtype = str(model.dtype).removeprefix("torch.")
    for part in (config, text, config["vision_config"]):
        part.pop("dtype", None)
        part["torch_dtype"] = dtype
    rope = dict(text.pop("rope_parameters", None) or {})
    for key in ROPE_KEYS:
        if (value := rope.pop(key, None)) is not None:
            text[key] = value
    text["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None
    config["tie_word_embeddings"] = text["tie_word_embeddings"] = _tied(model)
    config["architectures"] = ["LlavaForConditionalGeneration"]
    return config


def _write_processor(processor: LlavaProcessor, folder: Path, pad_pictures: bool) -> None:
    tokenizer, template = processor.tokenizer, processor.chat_template
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    path = folder / "tokenizer_config.json"
    named = json.loads(path.read_text(encoding="utf-8"))
    extra = named.get("extra_special_tokens")
    if isinstance(extra, list) and extra:
        named["additional_special_tokens"] = extra
    for key in TOKENIZER_KEYS:
        named.pop(key, None)
    named |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],  # older versions add token_type_ids otherwise
        "chat_template": template,
    }
    _write_json(path, named)
    _write_json(folder / "chat_template.json", {"chat_template": template})

    pictures = json.loads(processor.image_processor.to_json_string())
    if pad_pictures:  # which version has which class that pads: without a name, each takes its own for LLaVA
        del pictures["image_processor_type"]
        pictures["do_pad"] = True
    _write_json(folder / "preprocessor_config.json", pictures | {"processor_class": "LlavaProcessor"})
    keys = ("image_token", "num_additional_image_tokens", "patch_size", "vision_feature_select_strategy")
    own = {key: getattr(processor, key) for key in keys}
    _write_json(folder / "processor_config.json", own | {"processor_class": "LlavaProcessor"})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
