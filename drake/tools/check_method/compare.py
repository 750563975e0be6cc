"""Differences between two rounds or two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from drake.federation.messages import Download, LocalResult, Upload
from drake.tools.check_method.trial import Trace


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def changes(shapes: Sequence[Mapping[str, Any]], whose: str, why: str) -> str | None:
    for round, (before, after) in enumerate(pairwise(shapes), start=2):
        if before != after:
            names = sorted({n for n in before.keys() | after.keys() if before.get(n) != after.get(n)})
            return f"{whose} has other tensors or shapes after round {round} than before ({names[0]}): {why}."
    return None


def equal(first: Any, second: Any) -> bool:
    """Whether two results, messages or dicts of tensors have the same bits."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (LocalResult, Upload, Download)):
        return type(first) is type(second) and equal(vars(first), vars(second))
    return first == second


def differs(usual: Trace, changed: Trace, when: str) -> str | None:
    for round, (before, after) in enumerate(zip(usual.results, changed.results, strict=True), start=1):
        for client in sorted(before):
            if not equal(before[client], after[client]):
                return f"client {client} came out of round {round} differently {when} as before."
        if not equal(usual.downloads[round - 1], changed.downloads[round - 1]):
            return f"the downloads of round {round} were different {when} as before."
    return None
