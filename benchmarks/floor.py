"""The floor: how long the bare matrix products and attention of training and answering take, against the whole.

    python benchmarks/floor.py [--methods sft,fedmosaic] [--repeat 3]

On the federation of `federation.py`. A method's round and its answers run once while every matrix product and every
attention kernel is recorded by function, shapes, strides and dtype; then the same kernels run alone, one after another,
on tensors of random numbers. Both are timed in turn, in one process with one thread, and the least of all repetitions
counts. A ratio of 1 would mean that a step does nothing but these products.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from federation import SHAPES, seconds, training_and_answering, worker_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from drake.common.threads import use_threads
from drake.engines.tasks import perform
from drake.federation import registry

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "linear", "matmul")
"""In inference mode `linear`, `matmul` and attention arrive whole, otherwise as the products that they are made of."""
ATTENTION = ("_scaled_dot_product", "scaled_dot_product_attention")


class Shape(NamedTuple):
    """A tensor without its values."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Recorder(TorchDispatchMode):
    """Counts the kernels of products and attention that run, by function and arguments. results: of attention forward,
    which its backward kernel is given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in PRODUCTS or name.startswith(ATTENTION):
            held = tree_map_only(torch.Tensor, _shape, (tuple(args), tuple(sorted(kwargs.items()))))
            self.calls[(func, *held)] += 1
        return func(*args, **kwargs)


def _shape(tensor: torch.Tensor) -> Shape:
    return Shape(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)


def replayed(calls: Counter[tuple[Any, ...]]) -> Callable[[], None]:
    """Runs every recorded kernel as often as it ran, on tensors of random numbers."""

    def made(value: Any) -> Any:
        if isinstance(value, Shape):
            spans = (count - 1 for count in value.size)
            held = 1 + sum(span * step for span, step in zip(spans, value.stride, strict=True))  # steps may be 0
            values = torch.zeros(max(held, 1), dtype=value.dtype)
            return (values.normal_() if values.is_floating_point() else values).as_strided(value.size, value.stride)
        if isinstance(value, tuple):
            return tuple(made(item) for item in value)
        return value

    ready = [
        (func, tuple(made(value) for value in args), {key: made(value) for key, value in options}, count)
        for (func, args, options), count in calls.items()
    ]

    @torch.no_grad()
    def run() -> None:
        for func, args, options, count in ready:
            for _ in range(count):
                func(*args, **options)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(registry.names()))
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    use_threads(1)
    print("| method | backbone | training (s) | floor (s) | times | answering (s) | floor (s) | times |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.methods.split(","):
            worker, clients = worker_of(Path(folder), name, checkpointing=False)
            for client, size in zip(clients, SHAPES, strict=False):
                job, answering, _ = training_and_answering(worker, client)
                cells = []
                for task in (job, answering):
                    with Recorder() as seen:
                        perform(task, worker)
                    alone = replayed(seen.calls)
                    alone()
                    whole, floor = [], []
                    for _ in range(asked.repeat):
                        whole.append(seconds(partial(perform, task, worker)))
                        floor.append(seconds(alone))
                    cells += [f"{min(whole):.3f}", f"{min(floor):.3f}", f"{min(whole) / min(floor):.2f}"]
                print(f"| {name} | {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
