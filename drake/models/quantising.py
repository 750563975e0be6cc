"""Language models in 8 or 4 bits (`--load-in`, and checkpoints that bitsandbytes has written). `drake.models.loading`
calls this before it reads any weight.

The linear layers of the language model are quantised; vision tower, projector, embeddings and head keep their type, so
that features and logits do. Adapters are trained beside the quantised layers, as in QLoRA (arXiv 2305.14314): 4 bits
are NormalFloat with doubly quantised scales.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from drake.config.schema import LoadIn
from drake.errors import DrakeError
from drake.models import checkpoint_files
from drake.models.layouts import Layout

PACKAGE = "bitsandbytes"


def check(name: str, folder: Path, load_in: LoadIn, device: torch.device) -> bool:
    """Whether the weights will be quantised. Raises DrakeError where that is asked for, or the checkpoint is quantised,
    and it cannot run here."""
    stored = checkpoint_files.quantised_by(folder)
    if stored is not None and load_in != "full":
        raise DrakeError(f"{name} is quantised already ({stored}); leave --load-in {load_in} out.")
    if stored is None and load_in == "full":
        return False
    what = f"--load-in {load_in}" if stored is None else f"{name}, which is quantised ({stored}),"
    if find_spec(PACKAGE) is None:
        raise DrakeError(f"{what} needs the package {PACKAGE}; install it: pip install drake-bench[quantised].")
    if device.type != "cuda":
        raise DrakeError(
            f"{what} needs a CUDA GPU, and the device is {device.type}; choose --device cuda, or other weights."
        )
    return True


def options(load_in: LoadIn, layout: Layout, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Arguments of `from_pretrained` that quantise while the weights are read, or read quantised ones ("full"), onto
    the device."""
    place = {"device_map": {"": device}}
    if load_in == "full":
        return place
    from transformers import BitsAndBytesConfig

    kept = ["lm_head", *layout.towers]
    if load_in == "8bit":
        return place | {"quantization_config": BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)}
    four = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )
    return place | {"quantization_config": four}
