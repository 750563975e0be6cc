"""Floating point operations as PyTorch counts them: what a run's own count is held against in tests, and what a
method's step is measured with (`drake check-method`).

PyTorch's counter slows a step several times and makes it choose other kernels, so it is never used on the training of
a run. That counts its operations from the shapes of its products (`drake.common.products`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Shape = torch.Size


def _attention(query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any) -> int:
    """Two products forward: Q K^T and P V. Heads are those of the query; several may share a key."""
    return _products(query, key, value, 1, 1)


def _attention_backward(grad: Shape, query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any) -> int:
    """Five products back: Q K^T once more, and the gradients of P, Q, K and V."""
    return _products(query, key, value, 3, 2)


def _products(query: Shape, key: Shape, value: Shape, with_key: int, with_value: int) -> int:
    rows, heads, tokens, width = query
    return 2 * rows * heads * tokens * key[2] * (with_key * width + with_value * value[3])


_FUSED = {
    getattr(torch.ops.aten, f"_scaled_dot_product_{kind}{end}"): formula
    for kind in ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
    for end, formula in (("", _attention), ("_backward", _attention_backward))
    if hasattr(torch.ops.aten, f"_scaled_dot_product_{kind}{end}")
}
"""The fused kernels of attention. The counter does not know the CPU's, and in older versions no shared heads."""


def count_flops(work: Callable[[], Any]) -> int:
    """Floating point operations of the matrix products that `work` does, a multiplication and an addition each;
    compiled code is run as it was before compiling."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False, custom_mapping=_FUSED) as seen:
        work()
    return seen.get_total_flops()
