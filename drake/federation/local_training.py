"""One client's local training: the task loss and the optimizer every method trains with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.config import Training
from drake.models.backbones import answer_logits

if TYPE_CHECKING:
    from drake.models.backbones import Batch

T = TypeVar("T")


def task_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy on the answer tokens of a micro-batch, averaged over them."""
    logits, targets = answer_logits(model, batch)
    return F.cross_entropy(logits.float(), targets)


class LocalOptimizer:
    """AdamW with a constant rate, gradient accumulation and clipping by the norm of all its parameters together.

    groups: (parameters, learning rate) pairs. A method with two objectives makes two of these.
    """

    def __init__(self, groups: Iterable[tuple[Iterable[nn.Parameter], float]], training: Training) -> None:
        params = [{"params": list(parameters), "lr": rate} for parameters, rate in groups]
        self._parameters = [parameter for group in params for parameter in group["params"]]
        self._clip = training.gradient_clip
        kernel = "fused" if self._parameters[0].is_cuda else "foreach"
        self._adamw = torch.optim.AdamW(params, weight_decay=training.weight_decay, **{kernel: True})

    def step(self, loss: Callable[[T], Tensor], micro_batches: Sequence[T]) -> float:
        """One optimizer step on the mean of `loss` over the micro-batches (a Step, or whatever stands for batches in a
        method's own loss); returns that mean."""
        total = 0.0
        for batch in micro_batches:
            value = loss(batch) / len(micro_batches)
            value.backward()
            total += value.item()
        self.apply()
        return total

    def apply(self) -> None:
        """One optimizer step along the gradients that are there, which are clipped first and cleared afterwards."""
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip, foreach=True)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
