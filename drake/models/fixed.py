"""What a layer derives from its parameters, derived once while they do not change. Adapted layers and the generation of
answers use it: a client's model runs many forward passes before the next client's adapters take its place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from torch import nn

T = TypeVar("T")
P = ParamSpec("P")


class Derives:
    """A layer, beside `nn.Module`, that derives tensors from its parameters in every forward pass."""

    _derived: dict[Hashable, Any] | None = None
    """What was derived, within `parameters_fixed`; None outside of it."""

    def once(self, key: Hashable, derive: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`derive(...)`, kept under `key` within `parameters_fixed` and derived anew every time outside of it. key: all
        that the result depends on beside parameters."""
        if self._derived is None:
            return derive(*args, **kwargs)
        if key not in self._derived:
            self._derived[key] = derive(*args, **kwargs)
        return self._derived[key]


@contextmanager
def parameters_fixed(model: nn.Module) -> Iterator[None]:
    """Within it no parameter of the model may change, so that its layers derive everything once. What they keep takes
    the memory of their adapters, or of the whole layer where the adapters are folded into its weight."""
    layers = [layer for layer in model.modules() if isinstance(layer, Derives)]
    try:
        for layer in layers:
            layer._derived = {}
        yield
    finally:
        for layer in layers:
            layer._derived = None
