"""FedDPA: a client trains the shared adapter first, then a personal adapter beside it.

    first half of the steps (of an odd number the larger)     G <- AdamW on CE(G), alone
    the rest                                                  L <- AdamW on CE((G + L) / 2), G frozen
    server       G_a <- mean of G_i over the clients of backbone a
    inference    (1 - w) G + w L, with w = 1/2 and G as it was trained (evaluated `trained`) or the received mean
                 (`aggregated`)

(1 - w) G + w L is the weighted sum of both adapters' outputs in every layer. With `samples` S > 0 the weight of L
depends on the question:

    w(x) = most * mean over s <= S of cos(h(x), h(x_s))

h(x) is the last hidden state of the last token of the prompt x, with L alone active. x_1 to x_S are the first records
of S steps spread evenly over the client's last round (fewer where the round has fewer steps). The client keeps their
mean direction, mean over s of h(x_s) / |h(x_s)|, and never sends it. Before the client has trained, w is 0; for a
question unlike its own records w can be negative. The S passes are not part of the declared cost; with S = 5 they are
2.4% of the operations of a run of preset `mini`.

Reference: FedDPA, Yang et al., NeurIPS 2024, arXiv 2403.19211. What differs from the official code: the official
weight depends on the question (`feddpa.preset=official`: S = 5, most = 1/2), and its x_s are drawn anew from all
records of the client for every question, which no preset repeats. The benchmark's code also averages L and overwrites
it with the mean (`feddpa.average_personal=true`; the mean direction is that of L before the averaging).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

import torch
from torch import nn

from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.local_training import task_loss
from drake.federation.method import Client, ClientRound, LocalResult, State, Step, Steps
from drake.models.backbones import Backbone

from .averaging import PERSONAL, SHARED, Averaging, Faults
from .weighing import ByQuestion, RowWeightedLinear, Sampled

OWN = "own"
"""Name of the mean direction in a client's state, [d] in float32; zeros before the client has trained."""


class FedDPA(Averaging):
    """See the module's docstring."""

    reference = "FedDPA, Yang et al., NeurIPS 2024, arXiv 2403.19211"
    sends = "A, B of its shared adapter"
    presets: ClassVar = {"official": {"samples": 5}}
    relative_cost = 1.05  # the second half runs two adapters; the official budget leaves that out

    @dataclass(frozen=True)
    class Options(Faults):
        """samples: S; with 0, w is 1/2 for every question. most: w of a question identical to the client's own records.
        average_personal: see `Faults`."""

        samples: int = 0
        most: float = 0.5

        def __post_init__(self) -> None:
            if not self.samples and self.most != type(self).most:
                raise DrakeError(f"feddpa.most is {self.most}, which has no effect without feddpa.samples; set both.")
            if not (self.samples >= 0 and 0 <= self.most <= 1):
                raise DrakeError(f"feddpa needs samples >= 0 and most from 0 to 1, not {self.samples} and {self.most}.")

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        if not self.options.samples:
            return super().attach(backbone, client)
        return ByQuestion(adapters.add(backbone.model, self.kept, self.training, RowWeightedLinear), self.options.most)

    def initial_state(self, now: ClientRound) -> State:
        state = super().initial_state(now)
        if isinstance(now.model, ByQuestion):
            state[OWN] = torch.zeros(now.backbone.hidden_size)
        return state

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        if not isinstance(now.model, ByQuestion):
            return super().local_update(now, batches)
        sampled = Sampled(batches, self.options.samples)
        result = super().local_update(now, sampled)
        prompts = [now.backbone.batch([record], answers=False) for record in sampled.records]
        own = now.model.mean_direction(prompts)
        tokens = sum(prompt.input_ids.shape[1] for prompt in prompts) / 2
        return replace(result, state=result.state | {OWN: own}, stats=result.stats | {"tokens": tokens})

    def train(self, now: ClientRound, batches: Steps) -> list[float]:
        model = now.model.language_model if isinstance(now.model, ByQuestion) else now.model
        steps = iter(batches)
        adapters.activate(model, SHARED)
        losses = self._trained(now, model, SHARED, islice(steps, (len(batches) + 1) // 2))
        self._activate_both(model)
        return losses + self._trained(now, model, PERSONAL, steps)

    def for_inference(self, now: ClientRound) -> None:
        self.receive(now)
        if isinstance(now.model, ByQuestion):
            now.model.own = now.state[OWN].to(next(now.model.parameters()).device)
        else:
            self._activate_both(now.model)

    def _trained(self, now: ClientRound, model: nn.Module, adapter: str, steps: Iterable[Step]) -> list[float]:
        """Train one adapter with the adapters that are active; returns the losses."""
        trained = adapters.train_only(model, adapters.tensors(model, adapter).values())
        optimizer = now.optimizer([(trained, self.training.learning_rate)])
        return [optimizer.step(lambda batch: task_loss(model, batch), step) for step in steps]

    @staticmethod
    def _activate_both(model: nn.Module) -> None:
        adapters.activate(model, SHARED, PERSONAL, share=0.5)
