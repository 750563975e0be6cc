"""DITTO: every client trains a personal adapter that a proximal term keeps close to the shared adapter.

    per batch    G <- AdamW on CE(G)
                 L <- AdamW on CE(L) + lambda ||L - G0||^2,     G0 = the G received this round, fixed
    server       G_a <- mean of G_i over the clients of backbone a
    inference    L, which never leaves the client; the same evaluated `trained` and `aggregated`

||.||^2 is the sum of squares over all entries of A and B; lambda = 0.001. L starts as a copy of G, as in the paper:
the distance between LoRA factors from different random initialisations is not a distance between models.

Reference: Ditto, Li et al., ICML 2021, arXiv 2012.04221. What differs from the official code: Ditto's authors use
(lambda/2) ||L - G0||^2 with lambda 1 (`ditto.preset=official`) and take the personal step first; the order changes only
the dropout masks, because neither step depends on the other. The benchmark's code trains on two half batches of 4 in
each of 50 steps, this file trains both adapters on one batch of 4, which is the same work. The benchmark's code also
averages L and overwrites it with the mean (`ditto.average_personal=true`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.utils import parameters_to_vector

from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.local_training import task_loss
from drake.federation.method import ClientRound, State, Steps
from drake.models.backbones import Batch

from .averaging import PERSONAL, SHARED, Averaging, Faults


class Ditto(Averaging):
    """See the module's docstring."""

    reference = "Ditto, Li et al., ICML 2021, arXiv 2012.04221"
    sends = "A, B of its shared adapter"
    presets: ClassVar = {"official": {"penalty": 0.5}}
    relative_cost = 2.0  # each batch goes through the model twice, forward and back

    @dataclass(frozen=True)
    class Options(Faults):
        """penalty: lambda, the factor of ||L - G0||^2. average_personal: see `Faults`."""

        penalty: float = 0.001

        def __post_init__(self) -> None:
            if not self.penalty >= 0:
                raise DrakeError(f"ditto.penalty is {self.penalty}; it must be zero or more.")

    def initial_state(self, now: ClientRound) -> State:
        start = adapters.fresh(now.model, SHARED, now.generator)
        return adapters.prefixed(SHARED, start) | adapters.prefixed(PERSONAL, start)

    def train(self, now: ClientRound, batches: Steps) -> list[float]:
        model = now.model
        shared, personal = (list(adapters.tensors(model, name).values()) for name in (SHARED, PERSONAL))
        adapters.train_only(model, shared + personal)  # gradients reach the active adapter only
        received = parameters_to_vector(shared).detach()
        rate = self.training.learning_rate
        of_shared, of_personal = (now.optimizer([(group, rate)]) for group in (shared, personal))

        def personal_loss(batch: Batch) -> Tensor:
            distance = (parameters_to_vector(personal) - received).square().sum()
            return task_loss(model, batch) + self.options.penalty * distance

        losses = []
        for step in batches:
            adapters.activate(model, SHARED)
            of_shared.step(lambda batch: task_loss(model, batch), step)
            adapters.activate(model, PERSONAL)
            losses.append(of_personal.step(personal_loss, step))
        return losses

    def for_inference(self, now: ClientRound) -> None:
        self.receive(now)
        adapters.activate(now.model, PERSONAL)
