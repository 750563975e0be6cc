"""SFT: every client fine-tunes one LoRA adapter on its own data; nothing is sent.

The yardstick of personalisation: a federated method should be worth more to a client than training alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from drake.federation import adapters
from drake.federation.local_training import LocalOptimizer, task_loss
from drake.federation.method import Client, Download, LocalResult, Method, State, Step
from drake.models.backbones import Backbone

ADAPTER = "local"


class SFT(Method):
    """See the module's docstring."""

    reference = "supervised fine-tuning with LoRA (Hu et al., ICLR 2022)"
    sends = "nothing"
    relative_cost = 1.0

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        adapters.add(backbone.model, [ADAPTER], self.training)
        adapters.activate(backbone.model, ADAPTER)
        return backbone.model

    def initial_state(self, model: nn.Module, client: Client, rng: torch.Generator) -> State:
        return adapters.fresh(model, ADAPTER, rng)

    def local_update(
        self,
        model: nn.Module,
        state: State,
        download: Download | None,
        batches: Iterable[Step],
        rng: torch.Generator,
    ) -> LocalResult:
        adapters.write(model, ADAPTER, state)
        trained = adapters.train_only(model, adapters.tensors(model, ADAPTER).values())
        optimizer = LocalOptimizer([(trained, self.training.learning_rate)], self.training)
        model.train()
        losses = [optimizer.step(lambda batch: task_loss(model, batch), step) for step in batches]
        return LocalResult(adapters.read(model, ADAPTER), None, {"loss": sum(losses) / len(losses)})

    def for_inference(self, model: nn.Module, state: State, download: Download | None) -> None:
        adapters.write(model, ADAPTER, state)
