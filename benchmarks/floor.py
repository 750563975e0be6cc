"""The floor: how long the bare matrix products and attention of training and answering take, against the whole.

    python benchmarks/floor.py [--methods sft,fedmosaic] [--repeat 3]

On the federation of `federation.py`. A method's round and its answers run once while every kernel of PyTorch is
recorded by function, shapes, strides and dtype; then the same kernels run alone, one after another, on tensors of
random numbers: first the matrix products and attention (the floor), then all kernels, elementwise ones and the
optimizer's included. All are timed in turn, in one process with one thread, and the least of all repetitions counts. A
first ratio of 1 would mean that a step does nothing but products and attention; a second ratio of 1, that Python, the
modules of transformers and PEFT, autograd and drake cost nothing beside the kernels that they call.
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
LEFT_OUT = ("index", "_index_put", "masked", "nonzero", "_local_scalar_dense", "detach")
"""Beginnings of the names of kernels that are not repeated: their work depends on values and not on shapes alone, or
they compute nothing."""


class Shape(NamedTuple):
    """A tensor without its values."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Recorder(TorchDispatchMode):
    """Counts the kernels that run, by function and arguments, without views, which compute nothing, and `LEFT_OUT`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        view = any(result.alias_info and not result.alias_info.is_write for result in func._schema.returns)
        if not view and not func._schema.name.removeprefix("aten::").startswith(LEFT_OUT):
            held = tree_map_only(torch.Tensor, _shape, (args, tuple(sorted(kwargs.items()))))
            self.calls[(func, *_hashable(held))] += 1
        return func(*args, **kwargs)

    def products(self) -> Counter[tuple[Any, ...]]:
        """The kernels of matrix products and attention among `calls`."""
        names = {call: call[0]._schema.name.removeprefix("aten::") for call in self.calls}
        found = {call for call, name in names.items() if name in PRODUCTS or name.startswith(ATTENTION)}
        return Counter({call: count for call, count in self.calls.items() if call in found})


class Listed(tuple[Any, ...]):
    """A list among a kernel's arguments, hashable."""

    __slots__ = ()


def _hashable(value: Any) -> Any:
    if isinstance(value, Shape):
        return value
    if isinstance(value, (tuple, list)):
        items = (_hashable(item) for item in value)
        return Listed(items) if isinstance(value, list) else tuple(items)
    return value


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
            items = (made(item) for item in value)
            return list(items) if isinstance(value, Listed) else tuple(items)
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
    columns = "s | floor (s) | times | all kernels (s) | times"
    print(f"| method | backbone | training: {columns} | answering: {columns} |")
    print("|---|---|" + "---:|" * 10)
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.methods.split(","):
            worker, clients = worker_of(Path(folder), name, checkpointing=False)
            for client, size in zip(clients, SHAPES, strict=False):
                job, answering, _ = training_and_answering(worker, client)
                cells = []
                for task in (job, answering):
                    with Recorder() as seen:
                        perform(task, worker)
                    timed = (partial(perform, task, worker), replayed(seen.products()), replayed(seen.calls))
                    for alone in timed[1:]:
                        alone()
                    whole, *parts = map(min, zip(*(map(seconds, timed) for _ in range(asked.repeat)), strict=True))
                    cells.append(f"{whole:.3f}")
                    for part in parts:
                        cells += [f"{part:.3f}", f"{whole / part:.2f}"]
                print(f"| {name} | {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
