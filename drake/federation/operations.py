"""Floating point operations, counted. `relative_cost` is what a method declares; this is what its training spends.

Counting slows a step several times and makes PyTorch choose other kernels, so it is never done to training itself: one
round of one client of each architecture is done once more with the counter on (`engine.Job`), and what it spent per
token stands for the other rounds and clients of that architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop


def _known(formula: Callable[..., int]) -> Callable[..., int]:
    """A formula that the counter has for another kernel of the same arguments."""

    def same(*args: Any, **kwargs: Any) -> int:
        return formula(*args, **kwargs)

    same._get_raw = True  # `formula` turns tensors into shapes itself
    return same


_FUSED_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _known(sdpa_flop),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _known(sdpa_backward_flop),
}
"""Attention kernels that the counter does not know by itself."""


def operations(work: Callable[[], Any]) -> int:
    """Floating point operations of the matrix products that `work` does, a multiplication and an addition each;
    compiled code is run as it was before compiling."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False, custom_mapping=_FUSED_ON_CPU) as seen:
        work()
    return seen.get_total_flops()
