"""The number of threads that PyTorch uses in this process.

The last bits of a sum on a CPU depend on it, so computations that must agree bit for bit (the processes of an engine, a
run that is continued) use the same number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def use_threads(count: int) -> None:
    """Set the number of threads that PyTorch uses in this process."""
    import torch  # here, so that commands that train nothing start fast

    torch.set_num_threads(count)


def threads() -> int:
    """The number of threads that PyTorch uses in this process."""
    import torch

    return torch.get_num_threads()


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread inside the block; afterwards the previous number."""
    before = threads()
    use_threads(1)
    try:
        yield
    finally:
        use_threads(before)
