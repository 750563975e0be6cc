"""A search for the largest batch that fits the memory of a GPU. The set-up of runs and the benchmarks call this."""

from __future__ import annotations

from collections.abc import Callable

import torch

SHARE = 0.8
"""Fraction of a GPU's memory that a trial batch may take; the rest is for adapters and fragmentation."""


def largest_that_fits(fits: Callable[[int], bool], start: int, *, least: int = 1, most: int) -> int:
    """The largest batch size, from `least` to `most`, for which `fits` returns True.

    Sizes are `start` times powers of two: doubled while they fit, halved where `start` does not fit. `least` where
    nothing fits. No size is tried twice."""
    size = min(start, most)
    if fits(size):
        while 2 * size <= most and fits(2 * size):
            size *= 2
        return size
    while size // 2 > least:
        size //= 2
        if fits(size):
            return size
    return least


def fits_in_memory(attempt: Callable[[], object], device: torch.device, share: float = SHARE) -> bool:
    """Whether `attempt` runs on the GPU within the fraction `share` of its memory."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    try:
        attempt()
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return torch.cuda.max_memory_reserved(device) <= share * torch.cuda.mem_get_info(device)[1]
