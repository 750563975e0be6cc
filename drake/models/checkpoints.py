"""Name or path -> the folder of a LLaVA checkpoint and its config, without loading the weights.

`drake.models.loading` and code that needs only shapes call this. Only configuration, tokenizer and safetensors are
fetched from a hub: no code, no pickles. No file outside the folder is opened because a file in it names one, and no
code is run.
"""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from drake.common.files import read_json_object
from drake.errors import DrakeError, UnknownName

if TYPE_CHECKING:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, Qwen2Config

    from drake.catalog import TextShape

Family = Literal["llama", "qwen"]

FAMILIES: dict[str, Family] = {"llama": "llama", "qwen2": "qwen", "qwen3": "qwen"}
"""model_type of the text config -> family."""

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""The embedded checkpoints, one folder each."""

ATTENTION = "sdpa"
"""PyTorch's own attention, whatever a config.json asks for: names of other implementations may be code on the hub."""

HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
"""What is fetched of a hub repository: configuration, tokenizer, safetensors; no code, no pickles."""


def embedded() -> list[str]:
    """Names of the backbones that ship with the package."""
    return sorted(folder.parent.name for folder in WEIGHTS_FOLDER.glob("*/config.json"))


def config(name_or_path: str | Path, revision: str | None = None) -> LlavaConfig:
    """The config of a backbone. A name of the catalog gets the language model's shape from there, with a small
    placeholder for the vision tower; for everything else config.json is read, the only file that is fetched.

    Raises UnknownName for a name that is not known, DrakeError for a repository that cannot be reached and for a
    folder that holds no LLaVA checkpoint.
    """
    from transformers import LlavaConfig

    from drake import catalog

    name = str(name_or_path)
    known = catalog.models().get(name)
    if known is not None and known.shape is not None:
        return _from_shape(known.shape, known.family)
    folder, _ = locate(name, revision, ("config.json",))
    _check_config(folder)
    found = LlavaConfig.from_pretrained(folder, local_files_only=True)
    found._attn_implementation = ATTENTION
    return found


def architecture(name_or_path: str | Path, revision: str | None = None) -> tuple[Family, int]:
    """The family and the number of decoder layers of a backbone that need not be loaded; raises what `config` does."""
    found = config(name_or_path, revision)
    return family(found), text_config(found).num_hidden_layers


def _from_shape(shape: TextShape, family: str) -> LlavaConfig:
    """A config with this language model and a placeholder for the vision tower."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, Qwen2Config

    kinds = {"llama": LlamaConfig, "qwen": Qwen2Config}
    text = kinds[family](
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocab,
    )
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14
    )
    return LlavaConfig(text_config=text, vision_config=vision)


def family(found: LlavaConfig) -> Family:
    """The family of the language model."""
    return FAMILIES[text_config(found).model_type]


def text_config(found: LlavaConfig) -> LlamaConfig | Qwen2Config:
    """The config of the language model. LlavaConfig is annotated with the dict it may be constructed from, but holds a
    config of the model's own class; all in `FAMILIES` have the fields of these two."""
    return cast("LlamaConfig | Qwen2Config", found.text_config)


def vision_config(found: LlavaConfig) -> CLIPVisionConfig:
    """The config of the vision tower, typed as `text_config` is."""
    return cast("CLIPVisionConfig", found.vision_config)


def locate(name: str, revision: str | None, files: Sequence[str] = HUB_FILES) -> tuple[Path, str | None]:
    """The folder that holds the checkpoint, and the hub's commit if it came from there.

    files: glob patterns of the files to fetch from the hub. Raises what `config` raises.
    """
    from drake import catalog

    if name in embedded():
        return WEIGHTS_FOLDER / name, None
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser(), None
    models = catalog.models()
    if name in models:
        hub_id = models[name].hub_id
        if hub_id is None:
            raise DrakeError(f"the weights of {name} are missing from {WEIGHTS_FOLDER}; reinstall drake-bench.")
        return _fetch(hub_id, revision, files)
    if name.count("/") == 1 and name[0] not in "./~":
        return _fetch(name, revision, files)
    if "/" in name:
        raise DrakeError(f"there is no folder {name!r}; give a checkpoint folder or a model's name.")
    raise UnknownName("model", name, sorted({*embedded(), *models}))


def _fetch(hub_id: str, revision: str | None, files: Sequence[str]) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(files)))
    except GatedRepoError:
        raise DrakeError(f"{hub_id} is gated: accept its terms on the hub, then run `hf auth login`.") from None
    except RepositoryNotFoundError:
        raise DrakeError(f"the hub has no repository {hub_id!r}; if it is private, run `hf auth login`.") from None
    except RevisionNotFoundError:
        raise DrakeError(f"{hub_id} on the hub has no revision {revision!r}; give another.") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise DrakeError(
            f"{hub_id} is not in the local cache and the hub cannot be reached ({type(error).__name__}); "
            "connect to the network once, or give the path of a downloaded folder."
        ) from error
    return folder, folder.name


def check_checkpoint(folder: Path) -> Family:
    """The family of the checkpoint in `folder`. Raises DrakeError for a folder without a usable LLaVA checkpoint, and
    for one that would make transformers load other weights than the folder's own."""
    if not any(folder.glob("*.safetensors")):
        raise _no_checkpoint(folder)
    found = _check_config(folder)
    if os.path.lexists(folder / "adapter_config.json"):
        raise DrakeError(
            f"{folder} holds a PEFT adapter (adapter_config.json), which transformers would load too; merge it into "
            "the weights, or remove it."
        )
    index = folder / "model.safetensors.index.json"
    if os.path.lexists(index):
        shards = read_json_object(index).get("weight_map")
        names = list(shards.values()) if isinstance(shards, dict) else [shards]
        for name in names:
            if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                raise DrakeError(
                    f"{index} names the file {name!r}, which is not a *.safetensors file of its folder; restore it."
                )
    return found


def _no_checkpoint(folder: Path) -> DrakeError:
    return DrakeError(f"{folder} holds no LLaVA checkpoint: it needs a config.json of type 'llava' and *.safetensors.")


def _check_config(folder: Path) -> Family:
    if not os.path.isfile(folder / "config.json"):
        raise _no_checkpoint(folder)
    config = read_json_object(folder / "config.json")
    if config.get("model_type") != "llava":
        raise _no_checkpoint(folder)
    if "transformers_weights" in config:
        raise DrakeError(f"{folder}: its config.json redirects to other weights; remove transformers_weights.")
    text = config.get("text_config", {})
    text = text.get("model_type", "llama") if isinstance(text, dict) else None  # transformers' default for LLaVA
    if not isinstance(text, str) or text not in FAMILIES:
        raise DrakeError(f"{folder}: the language model is of type {text!r}; supported are {', '.join(FAMILIES)}.")
    return FAMILIES[text]


def hash_of_weights(folder: Path) -> str:
    """SHA-256, in hexadecimal, over the SHA-256 of every *.safetensors file, sorted by name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
