"""A checkpoint folder -> the model in it, with every tensor read from its own files. Called by `loading` and
`text_only`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from drake.errors import DrakeError
from drake.models import checkpoints, soundness


def read_model(kind: Any, folder: Path, name: str, dtype: torch.dtype, **options: Any) -> Any:
    """The model of a checkpoint folder in `dtype`, on the CPU unless `options` place it.

    kind: a class of transformers with `from_pretrained`, such as `AutoModelForCausalLM`. name: of the backbone, for
    errors. options: further arguments of `from_pretrained`. Raises DrakeError for a checkpoint that cannot be loaded
    and for tensors that are missing, left over or of another shape.
    """
    # With `output_loading_info` a pair, which the annotations of transformers do not know.
    read = cast("Callable[..., tuple[Any, dict[str, Any]]]", kind.from_pretrained)
    try:
        model, info = read(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            attn_implementation=checkpoints.ATTENTION,
            ignore_mismatched_sizes=True,  # they are in `info`, and refused
            output_loading_info=True,
            trust_remote_code=False,
            **options,
        )
    except MemoryError:
        raise
    except Exception as error:  # values in a config that no model can have fail in many ways
        raise DrakeError(
            f"the model of {name} cannot be loaded ({soundness.reason(error)}); restore its files."
        ) from error
    soundness.check_keys(name, info)
    return model
