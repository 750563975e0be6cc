"""SFT: every client fine-tunes one LoRA adapter on its own data; nothing is sent.

The baseline without federation: a federated method should score higher than a client that trains alone.

A client answers with its adapter as it has trained it, at both moments of evaluation (`trained`, `aggregated`).
"""

from __future__ import annotations

from torch import nn

from drake.federation import adapters
from drake.federation.local_training import task_loss
from drake.federation.method import Client, ClientRound, LocalResult, Method, State, Steps
from drake.models.backbones import Backbone

ADAPTER = "local"


class SFT(Method):
    """See the module's docstring."""

    reference = "supervised fine-tuning with LoRA (Hu et al., ICLR 2022)"
    sends = "nothing"
    relative_cost = 1.0

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        return adapters.add(backbone.model, [ADAPTER], self.training)

    def initial_state(self, now: ClientRound) -> State:
        return adapters.fresh(now.model, ADAPTER, now.generator)

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        self.for_inference(now)
        losses = self.train(now, batches)
        return LocalResult(adapters.read(now.model, ADAPTER), None, {"loss": sum(losses) / len(losses)})

    def train(self, now: ClientRound, batches: Steps) -> list[float]:
        """Train the adapter in the client's model, in place; returns the losses."""
        model = now.model
        trained = adapters.train_only(model, adapters.tensors(model, ADAPTER).values())
        optimizer = now.optimizer([(trained, self.training.learning_rate)])
        model.train()
        return [optimizer.step(lambda batch: task_loss(model, batch), step) for step in batches]

    def for_inference(self, now: ClientRound) -> None:
        adapters.write(now.model, ADAPTER, now.state)
        adapters.activate(now.model, ADAPTER)
