"""The files of a checkpoint folder: which ones are loaded, whether they can be, and one hash over all of them.

`drake.models.checkpoints` finds the folder, `drake.models.loading` reads it; both ask here first, so that what is
missing, damaged or of another kind is one sentence and not an error of a library.
"""

from __future__ import annotations

import hashlib
import os.path
from pathlib import Path
from typing import Any, Literal

from drake.common.files import read_json_object
from drake.common.outside import check_regular
from drake.errors import DrakeError

Family = Literal["llama", "qwen", "gemma"]

FAMILIES: dict[str, Family] = {
    "llama": "llama",
    "qwen2": "qwen",
    "qwen3": "qwen",
    "qwen2_vl_text": "qwen",
    "qwen2_5_vl_text": "qwen",
    "qwen3_vl_text": "qwen",
    "gemma3_text": "gemma",
}
"""model_type of the text config -> family."""

LANGUAGE_MODELS = {
    "llava": "llama",
    "llava_onevision": "qwen2",
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen3_vl": "qwen3_vl_text",
    "idefics3": "llama",
    "smolvlm": "llama",
    "gemma3": "gemma3_text",
}
"""model_type of config.json, for the architectures of `drake.models.layouts` -> that of the language model where the
file names none."""

TRAINABLE = ("bitsandbytes",)
"""Ways of quantising weights beside which adapters can be trained."""

HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
"""What is fetched of a hub repository: configuration, tokenizer, safetensors; no code, no pickles."""

LOADED = (*HUB_FILES, "additional_chat_templates/*.jinja")
"""Patterns of the files that transformers may read of a folder: `revision` covers them all."""

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

SETTINGS = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
    "preprocessor_config.json",
    "chat_template.json",
)
"""Small JSON files besides config.json; none has to be there."""

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""One of these is a tokenizer."""

GIT_LFS = b"version https://git-lfs"
"""The first bytes of what git leaves in place of a large file that was not fetched."""


def revision(folder: Path) -> str:
    """SHA-256, in hexadecimal, over name and SHA-256 of every file that may be loaded: weights, configuration,
    tokenizer, chat template, processor."""
    digest = hashlib.sha256()
    for path in loaded_files(folder):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{_sha256(path).hex()}\n".encode())
    return digest.hexdigest()


def hash_of_weights(folder: Path) -> str:
    """SHA-256, in hexadecimal, over the SHA-256 of every *.safetensors file, sorted by name: the revision of an
    embedded backbone, whose other files belong to the installed package."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(_sha256(path))
    return digest.hexdigest()


def _sha256(path: Path) -> bytes:
    check_regular(path, links=True)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def loaded_files(folder: Path) -> list[Path]:
    """The files of the folder that transformers may read, sorted."""
    return sorted({path for pattern in LOADED for path in folder.glob(pattern) if path.is_file()})


def settings(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of the folder; empty where there is no such file."""
    return read_json_object(folder / name) if (folder / name).exists() else {}


def check_checkpoint(folder: Path) -> Family:
    """The family of the checkpoint in `folder`. Raises DrakeError for a folder without a usable checkpoint, for one
    whose files are damaged or missing, and for one that would make transformers load other weights than its own."""
    if not any(folder.glob("*.safetensors")):
        raise _no_checkpoint(folder)
    found = check_config(folder)
    check_files(folder)
    _check_processor(folder)
    return found


def is_text_only(folder: Path) -> bool:
    """Whether config.json names a language model of a family that is known, and no LLaVA."""
    path = folder / "config.json"
    if not os.path.isfile(path):
        return False
    _refuse_pointer(path)
    kind = read_json_object(path).get("model_type")
    return isinstance(kind, str) and kind in FAMILIES


def check_text_checkpoint(folder: Path) -> Family:
    """The family of the language model in `folder`, where `is_text_only`. Raises what `check_checkpoint` does."""
    config = read_json_object(folder / "config.json")
    _refuse_redirects(folder, config)
    if quantised_by(folder) is not None:
        raise DrakeError(f"{folder} is a quantised language model, which is not read; name the one it was made of.")
    if not any(folder.glob("*.safetensors")):
        raise DrakeError(f"{folder} holds a config.json and no *.safetensors; fetch the weights too.")
    check_files(folder)
    _check_tokenizer(folder)
    return FAMILIES[config["model_type"]]


def check_files(folder: Path) -> None:
    """Raise DrakeError for files of any checkpoint that are damaged or missing, or that would make transformers load
    other weights."""
    if os.path.lexists(folder / "adapter_config.json"):
        raise DrakeError(
            f"{folder} holds a PEFT adapter (adapter_config.json), which transformers would load too; merge it into "
            "the weights, or remove it."
        )
    for path in loaded_files(folder):
        _refuse_pointer(path)
    for path in _weight_files(folder):
        _check_weights(path)
    for name in SETTINGS:
        settings(folder, name)


def _no_checkpoint(folder: Path) -> DrakeError:
    return DrakeError(
        f"{folder} holds no checkpoint of a vision-language model: it needs a config.json of one of the types "
        f"{', '.join(LANGUAGE_MODELS)}, and *.safetensors."
    )


def model_type(folder: Path) -> str:
    """The architecture that config.json names; one of `LANGUAGE_MODELS` where `check_config` passed."""
    return settings(folder, "config.json").get("model_type", "")


def quantised_by(folder: Path) -> str | None:
    """How the stored weights are quantised, None where they are not."""
    config = settings(folder, "config.json")
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and (quantised := part.get("quantization_config")):
            how = quantised.get("quant_method") if isinstance(quantised, dict) else None
            return str(how or "by an unnamed method")
    return None


def check_config(folder: Path) -> Family:
    """The family that config.json names. Raises DrakeError for an architecture or a language model that is not known,
    with the reason."""
    path = folder / "config.json"
    if not os.path.isfile(path):
        raise _no_checkpoint(folder)
    _refuse_pointer(path)
    config = read_json_object(path)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in LANGUAGE_MODELS:
        raise DrakeError(
            f"{folder} holds a model of type {kind!r}{_class_name(config)}, {_why_not(config)}; supported are "
            f"{', '.join(LANGUAGE_MODELS)}."
        )
    if not isinstance(config.get("vision_config"), dict):
        raise DrakeError(f"{path} describes no vision tower; restore its vision_config.")
    text = config.get("text_config", {})  # the first Qwen2.5-VL have its fields beside their own
    if not isinstance(text, dict):
        raise DrakeError(f"{path} describes no language model; restore its text_config.")
    usual = LANGUAGE_MODELS[kind]
    kind = text.get("model_type", usual)
    kind = f"{kind}_text" if f"{kind}_text" == usual else kind  # as older versions of transformers wrote it
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise DrakeError(f"{folder}: the language model is of type {kind!r}; supported are {', '.join(FAMILIES)}.")
    _refuse_redirects(folder, config)
    return FAMILIES[kind]


def _refuse_redirects(folder: Path, config: dict[str, Any]) -> None:
    """Refuse a config that names other weights, and weights that are quantised in a way that cannot be trained."""
    if "transformers_weights" in config:
        raise DrakeError(f"{folder}: its config.json redirects to other weights; remove transformers_weights.")
    how = quantised_by(folder)
    if how is not None and how not in TRAINABLE:
        raise DrakeError(
            f"{folder} is quantised ({how}), which cannot be trained here; name the checkpoint it was made of, in "
            "float32, bfloat16 or float16, and choose --load-in 8bit or 4bit to quantise it while it is loaded."
        )


def _class_name(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    return f" ({names[0]})" if isinstance(names, list) and names else ""


def _why_not(config: dict[str, Any]) -> str:
    """Why a model of a type that is not known cannot be trained here."""
    if config.get("is_encoder_decoder"):
        return "which is an encoder-decoder, while adapters and loss here are those of decoders"
    if "audio_config" in config:
        return "which reads sound, and records hold pictures and text"
    if "vision_config" not in config:
        return "which has no vision tower"
    return "whose way of reading pictures is not known here"


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads the weights from. Raises DrakeError for an index that names others than files
    of the folder, and for files that are not there."""
    shards: list[str] = []
    index = folder / INDEX
    if os.path.lexists(index):
        _refuse_pointer(index)
        weight_map = read_json_object(index).get("weight_map")
        for name in weight_map.values() if isinstance(weight_map, dict) else [weight_map]:
            if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                raise DrakeError(
                    f"{index} names the file {name!r}, which is not a *.safetensors file of its folder; restore it."
                )
            shards.append(name)
        shards = sorted(set(shards))
    if (folder / WEIGHTS).is_file():  # which transformers prefers to an index
        return [folder / WEIGHTS]
    if not shards:
        raise DrakeError(f"{folder} has neither {WEIGHTS} nor {INDEX}, so its weights are not found; restore one.")
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise DrakeError(
            f"{folder} lacks {len(missing)} of its {len(shards)} files of weights, the first {missing[0]}; fetch the "
            "checkpoint again."
        )
    return [folder / name for name in shards]


def _refuse_pointer(path: Path) -> None:
    check_regular(path, links=True)
    with path.open("rb") as file:
        if file.read(len(GIT_LFS)) == GIT_LFS:
            raise DrakeError(f"{path} is a pointer of Git LFS, not the file itself; run `git lfs pull` in its folder.")


def _check_weights(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt"):  # reads the header, which says how long the file must be
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise DrakeError(f"{path} is damaged or not complete ({error}); fetch it again.") from error


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise DrakeError(f"{folder} has no tokenizer (tokenizer.json); copy it from the model it was made of.")


def _check_processor(folder: Path) -> None:
    _check_tokenizer(folder)
    if not (folder / "preprocessor_config.json").is_file() and not settings(folder, "processor_config.json").get(
        "image_processor"
    ):
        raise DrakeError(
            f"{folder} does not say how pictures are prepared (preprocessor_config.json); copy the file from the "
            "model it was made of."
        )
