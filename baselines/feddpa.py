"""FedDPA: a shared adapter first, then a personal one beside it.

    first half of the steps (of an odd number the larger)     G <- AdamW on CE(G), alone
    the rest                                                  L <- AdamW on CE((G + L) / 2), G frozen
    server       G_a <- mean of G_i over the clients of backbone a
    inference    (G + L) / 2, with G = the received mean

(G + L) / 2 is the mean of both adapters' outputs in every layer.

Reference: FedDPA, Yang et al., NeurIPS 2024, arXiv 2403.19211. What differs from the official code: the weight of L is
one half for every question, where that weighs by the similarity of the question to the client's own data; it averages
L as well and overwrites it with the mean (`feddpa.average_personal=true`).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from torch import nn

from drake.federation import adapters
from drake.federation.client import LocalOptimizer, task_loss
from drake.federation.method import Download, State, Step, Steps

from .averaging import PERSONAL, SHARED, Averaging, Faults


class FedDPA(Averaging):
    """See the module's docstring."""

    reference = "FedDPA, Yang et al., NeurIPS 2024, arXiv 2403.19211"
    sends = "A, B of its shared adapter"
    relative_cost = 1.05  # the second half runs two adapters; the official budget leaves that out
    Options = Faults

    def train(self, model: nn.Module, batches: Steps) -> list[float]:
        steps = iter(batches)
        adapters.activate(model, SHARED)
        losses = self._trained(model, SHARED, islice(steps, (len(batches) + 1) // 2))
        self._activate_mix(model)
        return losses + self._trained(model, PERSONAL, steps)

    def for_inference(self, model: nn.Module, state: State, download: Download | None) -> None:
        self.receive(model, state, download)
        self._activate_mix(model)

    def _trained(self, model: nn.Module, adapter: str, steps: Iterable[Step]) -> list[float]:
        """Train one adapter with whatever is active; the losses."""
        trained = adapters.train_only(model, adapters.tensors(model, adapter).values())
        optimizer = LocalOptimizer([(trained, self.training.learning_rate)], self.training)
        return [optimizer.step(lambda batch: task_loss(model, batch), step) for step in steps]

    @staticmethod
    def _activate_mix(model: nn.Module) -> None:
        adapters.activate(model, SHARED, PERSONAL, share=0.5)
