"""The floating point operations of matrix products, from the shapes of their operands, while they are being done.

`Products` sees every product as it is called and adds up its operations; what computes it, and so every bit of it,
stays the same. That is the difference to PyTorch's own counter (`drake.federation.flops`), which chooses other kernels
and takes several times as long; both count the same, and a test holds them together for every method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_paused: ContextVar[bool] = ContextVar("products are not counted", default=False)


class _Cost(NamedTuple):
    """Operations of one call: forward, and backward if gradients come back to its output."""

    forward: int
    backward: int


def _product(size: int, operands: Sequence[Tensor]) -> _Cost:
    """One product forward, and one of the same size back for every operand that needs a gradient."""
    return _Cost(size, size * sum(operand.requires_grad for operand in operands))


def _linear(output: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> _Cost:
    return _product(2 * x.numel() * weight.shape[0], (x, weight))


def _matmul(output: Tensor, left: Tensor, right: Tensor) -> _Cost:
    if min(left.ndim, right.ndim) < 2:  # with a vector: PyTorch's counter leaves these out, and they are small
        return _Cost(0, 0)
    return _product(2 * output.numel() * left.shape[-1], (left, right))


def _rmatmul(output: Tensor, right: Tensor, left: Tensor) -> _Cost:
    return _matmul(output, left, right)


def _addmm(output: Tensor, added: Tensor, left: Tensor, right: Tensor, **_: Any) -> _Cost:
    return _matmul(output, left, right)


def _attention(output: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> _Cost:
    """Fused attention. Forward Q K^T and P V; back Q K^T once more, and the gradients of P, Q, K and V. Heads are those
    of the query; several may share a key."""
    pairs = 2 * query[..., 0].numel() * key.shape[-2]
    width, out = query.shape[-1], value.shape[-1]
    return _Cost(pairs * (width + out), pairs * (3 * width + 2 * out))


_COSTS: Mapping[Callable[..., Any], Callable[..., _Cost]] = {
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
    **dict.fromkeys((torch.addmm, Tensor.addmm, torch.baddbmm, Tensor.baddbmm), _addmm),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.bmm, Tensor.bmm), _matmul),
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _matmul),
    Tensor.__rmatmul__: _rmatmul,
}


class Products(TorchFunctionMode):
    """Within it, `flops` grows by the operations of matrix products, a multiplication and an addition each: of every
    linear layer, product and fused attention that Python calls in this thread, and of its way back when gradients
    reach it. Convolutions and products inside other functions of PyTorch, `einsum` among them, are not seen.

    Nothing that runs is changed by it; see `counting` for layers that would run compiled.
    """

    _open: ClassVar[list[Products]] = []
    """Those that are open in this process, the innermost last."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __enter__(self) -> Products:
        Products._open.append(self)
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        Products._open.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        output = func(*args, **given)
        if func in _COSTS and not _paused.get():
            cost = _COSTS[func](output, *args, **given)
            self.flops += cost.forward
            if cost.backward and output.requires_grad:
                output.register_hook(lambda _: self._add(cost.backward))
        return output

    def _add(self, flops: int) -> None:
        self.flops += flops


def counting() -> bool:
    """Whether products are counted now. Compiled code hides them, so it has to run as it was written."""
    return bool(Products._open)


def of_checkpoints() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """`context_fn` of `torch.utils.checkpoint`: what a layer computes again on the way back is counted where its first
    pass is. PyTorch turns modes off while it goes back."""
    return nullcontext(), Products._open[-1] if Products._open else nullcontext()


@contextmanager
def uncounted() -> Iterator[None]:
    """Within it nothing is counted: the encoding of pictures, which is done once for all rounds, is not training."""
    before = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(before)
