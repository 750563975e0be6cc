"""Name or path -> `Backbone`: an embedded tiny backbone, a name of the catalog, a hub repository, a local folder.

All of them are ordinary LLaVA checkpoints (LlavaForConditionalGeneration, LlavaProcessor, chat template) and are
loaded by the same lines. `checkpoints` finds and checks the folder; here it is read into memory.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from drake.data.pictures import DECODING
from drake.models import checkpoints
from drake.models.backbone import Backbone, Outline
from drake.models.compiling import compile_training
from drake.models.feature_cache import DiskFeatures, FeatureCache


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
    checkpointing: bool = False,
    compiled: bool = False,
    feature_folder: Path | None = None,
    feature_bytes: int = 0,
) -> Backbone:
    """The backbone of an embedded name, a name of the catalog, a local checkpoint folder or a hub repository.

    revision: a commit, tag or branch of the hub; default: its main branch.
    checkpointing: gradient checkpointing while training: each layer keeps its input only and recomputes the rest in
    the backward pass; less memory, a third more time, the same gradients.
    compiled: see `compile_training`.
    feature_folder: where encoded pictures outlive this process, in at most `feature_bytes` bytes.

    Raises UnknownName for a name that is not known, DrakeError for a repository that cannot be reached and for a
    folder that holds no LLaVA checkpoint.
    """
    name = str(name_or_path)
    folder, commit = checkpoints.locate(name, revision)
    family = checkpoints.check_checkpoint(folder)
    # The backend is named because torchvision, where it is installed, gives other bits than Pillow.
    processor = LlavaProcessor.from_pretrained(folder, local_files_only=True, backend="pil", trust_remote_code=False)
    model = LlavaForConditionalGeneration.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        attn_implementation=checkpoints.ATTENTION,
    )
    cast(nn.Module, model).to(device)  # in place; transformers' own `to` is typed as an unbound function
    if checkpointing:
        # Not reentrant: the reentrant kind needs an input with gradients, and nothing before the adapters has any.
        model.activation_checkpointing_enable({"use_reentrant": False})
    if compiled:
        compile_training(model.model.language_model.layers)
    backbone = Backbone(
        name=name,
        family=family,
        revision=commit or checkpoints.hash_of_weights(folder),
        model=model,
        processor=processor,
        device=torch.device(device),
        dtype=dtype,
    )
    if feature_folder is not None:
        disk = DiskFeatures(feature_folder, encoder_identity(backbone), feature_bytes, backbone.device)
        backbone.cache = FeatureCache(disk=disk)
    return backbone


def encoder_identity(backbone: Backbone) -> str:
    """All that decides the bits of a picture's features besides the picture, as JSON; names its stored features."""
    config, cuda = backbone.model.config, backbone.device.type == "cuda"
    return json.dumps(
        [
            backbone.revision,
            str(backbone.dtype),
            torch.cuda.get_device_name(backbone.device) if cuda else torch.backends.cpu.get_cpu_capability(),
            checkpoints.vision_config(config).to_dict(),
            [config.vision_feature_layer, config.vision_feature_select_strategy, config.projector_hidden_act],
            backbone.processor.image_processor.to_dict(),
            [version(name) for name in ("torch", "transformers", "pillow", "numpy")],
            DECODING,
        ],
        sort_keys=True,
        default=str,
    )


def outline(name_or_path: str | Path, *, dtype: torch.dtype = torch.float32) -> Outline:
    """A backbone without weights, for counting parameters and bytes. Takes the names that `load` takes; raises what
    `checkpoints.config` raises."""
    found = checkpoints.config(name_or_path)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(found)
    cast(nn.Module, model).to(dtype)
    return Outline(
        name=str(name_or_path),
        family=checkpoints.family(found),
        revision="",
        model=model,
        processor=cast(LlavaProcessor, None),  # an outline reads no text, so it has none
        device=torch.device("meta"),
        dtype=dtype,
    )
