"""How many threads PyTorch computes with in this process. The last bits of a sum on a CPU depend on that number, so
whatever must agree bit for bit (the processes of an engine, a run that goes on) uses the same one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def use_threads(count: int) -> None:
    """From now on PyTorch computes with `count` threads in this process."""
    import torch  # here: commands that train nothing should not wait for it

    torch.set_num_threads(count)


def threads() -> int:
    """The number of threads PyTorch computes with in this process."""
    import torch

    return torch.get_num_threads()


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread inside the block, the number from before afterwards."""
    before = threads()
    use_threads(1)
    try:
        yield
    finally:
        use_threads(before)
