"""FedSim: a shared and a personal adapter whose logits are added, trained together.

    z = z_G + z_L,      z_G, z_L = logits of the backbone with G alone, with L alone
    G, L <- AdamW on CE(z), both at once
    server       G_a <- mean of G_i over the clients of backbone a
    inference    z: every token is decoded from two passes, each with a cache of its own; G as it was trained (evaluated
                 `trained`) or the received mean (`aggregated`)

Reference: FedSim, Pillutla et al., ICML 2022, arXiv 2204.03809. What differs from the official code: its budget of 75
steps for 100 understates the work, as both passes go forward and back: a step costs 2 of SFT's, so 50 are made; it
averages L as well and overwrites it with the mean (`fedsim.average_personal=true`).
"""

from __future__ import annotations

from itertools import chain
from typing import Any, cast

import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import CausalLMOutputWithPast

from drake.federation import adapters
from drake.federation.method import Client, ClientRound, Steps
from drake.models.backbones import Backbone, Batch, answer_logits

from .averaging import PERSONAL, SHARED, Averaging, Faults


class TwoPasses(nn.Module):
    """Answers with the sum of a language model's logits with G active and with L active, added in float32."""

    def __init__(self, language_model: nn.Module) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(self, past_key_values: tuple[Any, Any] = (None, None), **inputs: Any) -> CausalLMOutputWithPast:
        """As the model's own; `past_key_values` are the caches of both passes."""
        outputs = []
        for name, cache in zip((SHARED, PERSONAL), past_key_values, strict=True):
            adapters.activate(self.language_model, name)
            outputs.append(self.language_model(past_key_values=cache, **inputs))
        return CausalLMOutputWithPast(
            logits=outputs[0].logits.float() + outputs[1].logits.float(),
            past_key_values=tuple(output.past_key_values for output in outputs),
        )

    def backward(self, batch: Batch, count: int) -> float:
        """Cross-entropy of the summed logits on the answer tokens, averaged over them, divided by `count`: adds its
        gradient to those of G and L, and returns it."""
        passes = {}
        for name in (SHARED, PERSONAL):
            adapters.activate(self.language_model, name)
            passes[name], targets = answer_logits(self.language_model, batch)
        logits = (passes[SHARED].float() + passes[PERSONAL].float()).detach().requires_grad_()
        loss = F.cross_entropy(logits, targets) / count
        loss.backward()
        for name, of_pass in passes.items():  # gradient checkpointing computes a pass again, with its own adapter
            adapters.activate(self.language_model, name)
            of_pass.backward(logits.grad.to(of_pass.dtype))
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
        model = cast("TwoPasses", now.model)
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
