"""Devices and data types by the names that users write."""

from __future__ import annotations

import torch

from drake.errors import DrakeError, UnknownName

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def dtype_of(name: str) -> torch.dtype:
    """UnknownName for a type that backbones cannot have."""
    if name not in DTYPES:
        raise UnknownName("dtype", name, list(DTYPES))
    return DTYPES[name]


def resolve_device(name: str) -> str:
    """The device to run on; DrakeError when it is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DrakeError(f"unknown device {name!r}; use cpu, cuda, cuda:<number> or auto.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DrakeError(f"device {name!r} is not there: PyTorch sees {torch.cuda.device_count()} GPUs.")
    if device.type not in ("cpu", "cuda"):
        raise DrakeError(f"device {name!r} is not supported; use cpu, cuda, cuda:<number> or auto.")
    return name
