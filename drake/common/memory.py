"""How the C library treats memory that PyTorch frees on a CPU."""

from __future__ import annotations

import ctypes
from functools import cache

# The first arguments of mallopt(3), as glibc's malloc.h numbers them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_STEP = 32 * 1024**2
"""How much more memory is taken from the system at once, in bytes."""


@cache
def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for the next ones; whether that could be arranged.

    By default glibc hands large tensors back to the system as soon as they are freed, and every step then pays for
    pages of zeros again, about 5% of the time of a step of a tiny backbone (docs/speed.md). Without glibc nothing
    changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no handle of the whole process
        return False
    return all(mallopt(*option) for option in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _STEP)))
