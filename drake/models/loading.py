"""Name or path -> `Backbone`: an embedded tiny backbone, a name of the catalog, a hub repository, a local folder.

All of them are ordinary checkpoints of the architectures in `drake.models.layouts`, with processor and chat template,
and are loaded by the same lines, or language models alone (`text_only`). `checkpoints` finds and checks the folder;
here it is read into memory.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForImageTextToText

from drake import catalog
from drake.common.products import of_checkpoints
from drake.config.schema import LoadIn, Pictures, Prompts
from drake.data.pictures import DECODING
from drake.errors import DrakeError
from drake.models import checkpoint_files, checkpoints, images, quantising, soundness, text_only
from drake.models.backbone import Backbone, Outline
from drake.models.compiling import compile_training
from drake.models.feature_cache import DiskFeatures, FeatureCache
from drake.models.layouts import LAYOUTS, Layout, decoder_of
from drake.models.stored_weights import read_model


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
    prompts: Prompts = "auto",
    pictures: Pictures = "auto",
    load_in: LoadIn = "full",
) -> Backbone:
    """The backbone of an embedded name, a name of the catalog, a local checkpoint folder or a hub repository.

    revision: a commit, tag or branch of the hub; default: its main branch.
    checkpointing: gradient checkpointing while training: each layer keeps its input only and recomputes the rest in
    the backward pass; less memory, a third more time, the same gradients.
    compiled: see `compile_training`.
    feature_folder: where encoded pictures outlive this process, in at most `feature_bytes` bytes.

    prompts: "official": the official code's prompt of the family; "stored": the checkpoint's own chat template; "auto":
    official for the six models of the paper, stored for all others.
    pictures: "pad": padded to a square with the mean colour, as in the official code; "stored": as the checkpoint says;
    "auto": padded for the six models of the paper, as stored for all others.
    load_in: "8bit", "4bit": the language model's linear layers are quantised by bitsandbytes while they are loaded.

    Raises UnknownName for a name that is not known, DrakeError for a repository that cannot be reached, for a folder
    that holds neither a checkpoint of a supported architecture nor a language model, for one that is damaged,
    incomplete or does not fit together, and for a quantised one where it cannot run.
    """
    name = str(name_or_path)
    folder, commit = checkpoints.locate(name, revision)

    def prepare(model: Any) -> None:
        if checkpointing:
            # Not reentrant: the reentrant kind needs an input with gradients, and nothing before the adapters has any.
            model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": of_checkpoints})
        if compiled:
            compile_training(decoder_of(model).layers)

    if checkpoint_files.is_text_only(folder):
        if load_in != "full":
            raise DrakeError(f"{name} is a language model alone, which is not quantised; leave --load-in out.")
        return text_only.load(name, folder, commit, device=device, dtype=dtype, prompts=prompts, prepare=prepare)
    family = checkpoint_files.check_checkpoint(folder)
    device = torch.device(device)
    quantised = quantising.check(name, folder, load_in, device)
    layout = LAYOUTS[checkpoint_files.model_type(folder)]
    processor = _processor(folder, name, layout)
    if (template := _official_prompt(name, family, prompts)) is not None:
        soundness.check_official(name, template, processor.tokenizer)
        processor.chat_template = template
    options = quantising.options(load_in, layout, dtype, device) if quantised else {}
    model = read_model(AutoModelForImageTextToText, folder, name, dtype, **options)
    soundness.check_tokenizer(name, processor, len(cast(nn.Embedding, model.get_input_embeddings()).weight))
    if not quantised:  # quantised weights are put on the device while they are loaded
        cast(nn.Module, model).to(device)  # in place; transformers' own `to` is typed as an unbound function
    prepare(model)
    backbone = Backbone(
        name=name,
        family=family,
        revision=commit or _revision(name, folder),
        model=model,
        processor=processor,
        device=device,
        dtype=dtype,
        pad_colour=images.mean_colour(processor.image_processor)
        if _pads(name, folder, layout, processor, pictures)
        else None,
    )
    soundness.check_finite(name, model)
    soundness.check_picture(name, backbone)
    if feature_folder is not None:
        disk = DiskFeatures(feature_folder, encoder_identity(backbone), feature_bytes, backbone.device)
        backbone.encoder.cache = FeatureCache(disk=disk)
    return backbone


def _revision(name: str, folder: Path) -> str:
    """Of a folder. The files beside the weights of an embedded backbone belong to the installed package, whose version
    runs record."""
    embedded = name in checkpoints.embedded()
    return checkpoint_files.hash_of_weights(folder) if embedded else checkpoint_files.revision(folder)


def _processor(folder: Path, name: str, layout: Layout) -> Any:
    try:
        return layout.read_processor(folder)
    except Exception as error:  # damaged files fail in tokenizers, json, transformers, each with errors of its own
        raise DrakeError(
            f"the tokenizer and picture processor of {name} cannot be read ({soundness.reason(error)}); restore their "
            "files."
        ) from error


def _official_prompt(name: str, family: checkpoints.Family, prompts: Prompts) -> str | None:
    """The official chat template where the backbone is to be asked with it, else None."""
    known = checkpoints.catalogued(name)
    prompt = known.prompt if known else None
    if prompts == "stored" or (prompts == "auto" and prompt is None):
        return None
    of_family = (model.prompt for model in catalog.models().values() if model.family == family and model.prompt)
    prompt = prompt or next(of_family, None)
    if prompt is None:
        raise DrakeError(f"there is no official prompt for {name}, a {family}; use --prompts stored.")
    return catalog.official_prompts()[prompt]


def _pads(name: str, folder: Path, layout: Layout, processor: Any, pictures: Pictures) -> bool:
    known = checkpoints.catalogued(name)
    if pictures == "pad" or (pictures == "auto" and known is not None and known.pad_pictures):
        return True
    return layout.pads and images.says_pad(folder, processor.image_processor)


def encoder_identity(backbone: Backbone) -> str:
    """All that decides the bits of a picture's features besides the picture, as JSON; names its stored features."""
    config, cuda = backbone.model.config, backbone.device.type == "cuda"
    return json.dumps(
        [
            backbone.revision,
            str(backbone.dtype),
            torch.cuda.get_device_name(backbone.device) if cuda else torch.backends.cpu.get_cpu_capability(),
            checkpoints.vision_config(config).to_dict(),
            backbone.layout.identity(config),
            backbone.processor.image_processor.to_dict(),
            [version(name) for name in ("torch", "transformers", "pillow", "numpy")],
            DECODING,
            *([] if backbone.pad_colour is None else [backbone.pad_colour]),
        ],
        sort_keys=True,
        default=str,
    )


def outline(name_or_path: str | Path, *, dtype: torch.dtype = torch.float32) -> Outline:
    """A backbone without weights, for counting parameters and bytes. Takes the names that `load` takes; raises what
    `checkpoints.config` raises."""
    found = checkpoints.config(name_or_path)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(found)
    cast(nn.Module, model).to(dtype)
    return Outline(
        name=str(name_or_path),
        family=checkpoints.family(found),
        revision="",
        model=model,
        processor=None,  # an outline reads no text, so it has none
        device=torch.device("meta"),
        dtype=dtype,
    )
