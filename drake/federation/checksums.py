"""Checksums of stored tensors: a flipped bit on a disk is found when the file is read, not trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def checksum(tensor: Tensor) -> str:
    """SHA-256, in hexadecimal, over dtype, shape and bytes of a tensor."""
    found = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def checksums(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Name -> checksum."""
    return {name: checksum(tensor) for name, tensor in tensors.items()}


def check(tensors: Mapping[str, Tensor], expected: Mapping[str, str]) -> None:
    """ValueError for the first tensor that is not the one whose checksum is expected."""
    for name, tensor in tensors.items():
        if checksum(tensor) != expected[name]:
            raise ValueError(f"the tensor {name} is not the one that was written (SHA-256)")


def of_text(text: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
