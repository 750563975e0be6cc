"""Name or path -> the folder of a checkpoint and its config, without loading the weights.

`drake.models.loading` and code that needs only shapes call this. Only configuration, tokenizer and safetensors are
fetched from a hub: no code, no pickles. No file outside the folder is opened because a file in it names one, and no
code is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from drake.errors import DrakeError, UnknownName
from drake.models.checkpoint_files import FAMILIES, HUB_FILES, Family, check_config, is_text_only

if TYPE_CHECKING:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, PretrainedConfig, Qwen2Config

    from drake.catalog import Model, TextShape

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""The embedded checkpoints, one folder each."""

ATTENTION = "sdpa"
"""PyTorch's own attention, whatever a config.json asks for: names of other implementations may be code on the hub."""


def embedded() -> list[str]:
    """Names of the backbones that ship with the package."""
    return sorted(folder.parent.name for folder in WEIGHTS_FOLDER.glob("*/config.json"))


def catalogued(name: str) -> Model | None:
    """The entry of the catalog for a name of it, or for the hub repository of one."""
    from drake import catalog

    known = catalog.models()
    return known.get(name) or next((model for model in known.values() if model.hub_id == name), None)


def config(name_or_path: str | Path, revision: str | None = None) -> PretrainedConfig:
    """The config of a backbone. A name of the catalog gets the language model's shape from there, with a small
    placeholder for the vision tower; for everything else config.json is read, the only file that is fetched.

    Raises UnknownName for a name that is not known, DrakeError for a repository that cannot be reached and for a
    folder that holds no checkpoint of a supported architecture.
    """
    from transformers import AutoConfig

    from drake import catalog

    name = str(name_or_path)
    known = catalog.models().get(name)
    if known is not None and known.shape is not None:
        return _from_shape(known.shape, known.family)
    folder, _ = locate(name, revision, ("config.json",))
    if is_text_only(folder):
        found = with_placeholder(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        found._attn_implementation = ATTENTION
        return found
    check_config(folder)
    found = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    found._attn_implementation = ATTENTION
    return found


def architecture(name_or_path: str | Path, revision: str | None = None) -> tuple[Family, int]:
    """The family and the number of decoder layers of a backbone that need not be loaded; raises what `config` does."""
    found = config(name_or_path, revision)
    return family(found), text_config(found).num_hidden_layers


def _from_shape(shape: TextShape, family: str) -> LlavaConfig:
    """A config with this language model and a placeholder for the vision tower."""
    from transformers import LlamaConfig, Qwen2Config

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
    return with_placeholder(text)


def with_placeholder(text: PretrainedConfig) -> LlavaConfig:
    """The config of a LLaVA with this language model and a small placeholder for the vision tower."""
    from transformers import CLIPVisionConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14
    )
    return LlavaConfig(text_config=text, vision_config=vision)


def family(found: PretrainedConfig) -> Family:
    """The family of the language model."""
    return FAMILIES[text_config(found).model_type]


def text_config(found: PretrainedConfig) -> LlamaConfig | Qwen2Config:
    """The config of the language model: of the model's own class, but all in `FAMILIES` have the fields of these
    two."""
    return cast("Any", found).text_config


def vision_config(found: PretrainedConfig) -> CLIPVisionConfig:
    """The config of the vision tower, typed as `text_config` is."""
    return cast("Any", found).vision_config


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
