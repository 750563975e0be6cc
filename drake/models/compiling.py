"""Compiled decoder layers for training (`--compile`). `drake.models.loading` and the set-up of runs call this."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch
from torch import nn

from drake.common.products import counting
from drake.errors import DrakeError

VARIANTS = 64
"""Upper limit of compiled versions of one layer: the adapters on it and the need for gradients make different ones."""


def compile_training(layers: nn.ModuleList, backend: str = "inductor") -> None:
    """Let these decoder layers run compiled while they train with gradients. The first steps take a minute or more.

    One compiled program serves all layers of a kind and batches of every size. Dropout draws the same random numbers;
    sums are taken in another order, so results differ in the last digits. Passes without gradients, generation among
    them, are not compiled: they have many more shapes, and hooks inside a compiled layer would not be called. Neither
    is the one round of every backbone whose operations are counted (`drake.common.products`).
    """
    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    options: dict[str, str | int | bool | Callable[..., Any]] | None = (
        {"fallback_random": True} if backend == "inductor" else None
    )
    for layer in layers:
        compiled = torch.compile(layer.forward, dynamic=True, backend=backend, options=options)
        layer.forward = _while_training(layer, layer.forward, compiled)


def _while_training(layer: nn.Module, plain: Callable[..., Any], compiled: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        wanted = layer.training and torch.is_grad_enabled() and not counting()
        return (compiled if wanted else plain)(*args, **kwargs)

    return forward


@cache
def check_compiler(device: str) -> None:
    """Compile one line of code for the device; DrakeError where that does not work."""
    try:
        found = torch.compile(_one_line, dynamic=True)(torch.ones(4, device=device))
    except Exception as error:  # whatever is missing: a C++ compiler, Python's headers, Triton
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DrakeError(
            f"--compile does not work here ({reason}); install what is missing, or run without it."
        ) from error
    assert found.tolist() == [3.0] * 4


def _one_line(x: torch.Tensor) -> torch.Tensor:
    return 2 * x + 1
