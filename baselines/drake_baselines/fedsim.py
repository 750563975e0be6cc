"""FedSim: the logits of a shared and of a personal adapter are added, and both adapters train together.

    z = z_G + z_L,      z_G, z_L = logits of the backbone with G alone, with L alone
    G, L <- AdamW on CE(z), both at once
    server       G_a <- mean of G_i over the clients of backbone a
    inference    z: every token is decoded from two passes, each with a cache of its own; G as it was trained (evaluated
                 `trained`) or the received mean (`aggregated`)

Reference: FedSim, Pillutla et al., ICML 2022, arXiv 2204.03809. What differs from the official code: its budget of 75
steps for 100 of SFT understates the work, because both passes run forward and backward: a step costs 2 of SFT's, hence
50 steps here. The official code also averages L and overwrites it with the mean (`fedsim.average_personal=true`).
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.federation import adapters
from drake.federation.method import Client, ClientRound, Steps
from drake.models.backbones import Backbone, Batch, answer_logits
from drake.scoring.generation import ForwardOutput

from .averaging import PERSONAL, SHARED, Averaging, Faults


class TwoPasses(nn.Module):
    """A language model whose logits are the sum of those with G active and those with L active, added in float32."""

    def __init__(self, language_model: nn.Module) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(self, past_key_values: tuple[Any, Any] = (None, None), **inputs: Any) -> ForwardOutput:
        """The language model's forward pass; `past_key_values` are the caches of both passes."""
        outputs = []
        for name, cache in zip((SHARED, PERSONAL), past_key_values, strict=True):
            adapters.activate(self.language_model, name)
            outputs.append(self.language_model(past_key_values=cache, **inputs))
        return ForwardOutput(
            logits=outputs[0].logits.float() + outputs[1].logits.float(),
            past_key_values=tuple(output.past_key_values for output in outputs),
        )

    def backward(self, batch: Batch, count: int) -> float:
        """Add the gradients of CE(z) / count to those of G and L, and return CE(z) / count; CE is the cross-entropy of
        the batch's answer tokens, averaged over them."""
        passes: dict[str, Tensor] = {}
        for name in (SHARED, PERSONAL):
            adapters.activate(self.language_model, name)
            passes[name], targets = answer_logits(self.language_model, batch)
        logits = (passes[SHARED].float() + passes[PERSONAL].float()).detach().requires_grad_()
        loss = F.cross_entropy(logits, targets) / count
        (gradient,) = torch.autograd.grad(loss, logits)
        for name, of_pass in passes.items():  # gradient checkpointing computes a pass again, with its own adapter
            adapters.activate(self.language_model, name)
            of_pass.backward(gradient.to(of_pass.dtype))
        return loss.item()


class FedSim(Averaging):
    """See the module's docstring."""

    reference = "FedSim, Pillutla et al., ICML 2022, arXiv 2204.03809"
    sends = "A, B of its shared adapter"
    relative_cost = 2.0  # two passes, forward and back
    Options = Faults

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        return TwoPasses(super().attach(backbone, client))

    def train(self, now: ClientRound, batches: Steps) -> list[float]:
        model = now.model
        assert isinstance(model, TwoPasses)  # made by `attach`
        live = (adapters.tensors(model, name).values() for name in (SHARED, PERSONAL))
        both = adapters.train_only(model, chain(*live))
        optimizer = now.optimizer([(both, self.training.learning_rate)])
        losses = []
        for step in batches:
            losses.append(sum(model.backward(batch, len(step)) for batch in step))
            optimizer.apply()
        return losses

    def for_inference(self, now: ClientRound) -> None:
        self.receive(now)
