"""One client's local training: the task loss and the optimizer every method trains with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.config import Training
from drake.models.backbones import answer_logits

if TYPE_CHECKING:
    from drake.models.backbones import Batch

T = TypeVar("T")

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter, as PyTorch calls it."""


def task_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy on the answer tokens of a micro-batch, averaged over them."""
    logits, targets = answer_logits(model, batch)
    return F.cross_entropy(logits.float(), targets)


class LocalOptimizer:
    """AdamW with a constant rate, gradient accumulation and clipping by the norm of all its parameters together.

    groups: (parameters, learning rate) pairs. A method with two objectives makes two of these. One made here starts
    fresh; `ClientRound.optimizer` makes those of a client, which may go on from its last round.
    """

    def __init__(self, groups: Iterable[tuple[Iterable[nn.Parameter], float]], training: Training) -> None:
        params = [{"params": list(parameters), "lr": rate} for parameters, rate in groups]
        self._parameters = [parameter for group in params for parameter in group["params"]]
        self._clip = training.gradient_clip
        fused = self._parameters[0].is_cuda
        self._adamw = torch.optim.AdamW(
            params, weight_decay=training.weight_decay, fused=True if fused else None, foreach=None if fused else True
        )

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

    def restore(self, moments: Mapping[str, Tensor], names: Mapping[nn.Parameter, str]) -> None:
        """Go on from what `moments` returned; a parameter that it does not name starts fresh."""
        for parameter in self._parameters:
            mine = {key: f"{names[parameter]}.{key}" for key in MOMENTS}
            if moments.keys() >= set(mine.values()):
                self._adamw.state[parameter] = {key: moments[name].clone() for key, name in mine.items()}

    def moments(self, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
        """What AdamW has gathered, by "<name of the parameter>.<what>": the number of its steps, [], and the running
        means of gradient and squared gradient, in the parameter's shape."""
        return {
            f"{names[parameter]}.{key}": self._adamw.state[parameter][key].detach()
            for parameter in self._parameters
            if parameter in self._adamw.state
            for key in MOMENTS
        }
