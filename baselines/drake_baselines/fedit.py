"""FedIT: federated averaging of one LoRA adapter.

    G_i <- AdamW on CE(G), from the received mean;     server: G_a <- mean of G_i over the clients of backbone a
    inference: G_i as it was trained (evaluated `trained`), the received mean (`aggregated`)

Reference: FedIT, Zhang et al., ICASSP 2024, arXiv 2305.05644; FedAvg, McMahan et al., AISTATS 2017. What differs from
the official code: the mean is uniform, as in the benchmark's code, not weighted by the number of records, which is the
same for all clients here; each backbone has its own mean.
"""

from __future__ import annotations

from drake.federation import adapters
from drake.federation.local_training import task_loss
from drake.federation.method import ClientRound, Steps

from .averaging import SHARED, Averaging


class FedIT(Averaging):
    """See the module's docstring."""

    reference = "FedIT, Zhang et al., ICASSP 2024, arXiv 2305.05644"
    sends = "A, B of its adapter"
    relative_cost = 1.0
    kept = (SHARED,)

    def train(self, now: ClientRound, batches: Steps) -> list[float]:
        model = now.model
        adapters.activate(model, SHARED)
        trained = adapters.train_only(model, adapters.tensors(model, SHARED).values())
        optimizer = now.optimizer([(trained, self.training.learning_rate)])
        return [optimizer.step(lambda batch: task_loss(model, batch), step) for step in batches]

    def for_inference(self, now: ClientRound) -> None:
        self.receive(now)
        adapters.activate(now.model, SHARED)
