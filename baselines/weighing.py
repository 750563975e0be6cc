"""Adapters that weigh differently for every question: those of a client's own kind lean on its personal adapter
(`feddpa`).

    w(x) = most * h(x)/|h(x)| . own,      own = mean over s of h(x_s)/|h(x_s)|

which is `most` times the mean cosine of h(x) and h(x_s).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutputWithPast

from drake.backbones import IGNORED
from drake.federation import adapters
from drake.federation.method import Step, Steps

from .averaging import PERSONAL, SHARED


class WeighedLinear(adapters.AdaptedLinear):
    """Adds up the active adapters with other weights in every row of the batch."""

    weights: Tensor | None = None
    """[B, adapters]; None: with those of `AdaptedLinear`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weights is None:
            return super().forward(x)
        down, up, _ = self.factors()
        of_ranks = self.weights.repeat_interleave(len(down) // self.weights.shape[1], dim=1)  # [B, R]
        h = F.linear(x, down.to(x.dtype)) * of_ranks[:, None].to(x.dtype)
        return self.base_layer(x) + F.linear(h, up.to(x.dtype))


class Weighing(nn.Module):
    """Answers with (1 - w) G + w L, w of every prompt by how near it is to the client's own.

    own [d]: set before it answers.
    """

    own: Tensor

    def __init__(self, language_model: nn.Module, most: float) -> None:
        super().__init__()
        self.language_model, self.most = language_model, most

    def forward(self, past_key_values: tuple[Any, Tensor] | None = None, **inputs: Any) -> CausalLMOutputWithPast:
        """As the model's own; `past_key_values` are the cache and w [B, 1] of the prompts."""
        cache, w = (None, self._weight(inputs)) if past_key_values is None else past_key_values
        adapters.activate(self.language_model, SHARED, PERSONAL)
        self._weigh(torch.cat([1 - w, w], dim=1))
        output = self.language_model(past_key_values=cache, **inputs)
        self._weigh(None)
        return CausalLMOutputWithPast(logits=output.logits, past_key_values=(output.past_key_values, w))

    @torch.no_grad()
    def mean_direction(self, prompts: Sequence[Tensor]) -> Tensor:
        """`own` of the client's prompts, embeddings [1, T, d] each; leaves the model in evaluation mode."""
        self.eval()
        return torch.cat([self._directions(inputs_embeds=prompt) for prompt in prompts]).mean(0)

    @torch.no_grad()
    def _directions(self, **inputs: Tensor) -> Tensor:
        """h(x) / |h(x)|, [B, d], of prompts that end with the last token."""
        adapters.activate(self.language_model, PERSONAL)
        hidden = self.language_model.model(**inputs, use_cache=False).last_hidden_state[:, -1]
        return F.normalize(hidden.float(), dim=-1)

    def _weight(self, inputs: dict[str, Any]) -> Tensor:
        prompts = {key: inputs[key] for key in ("inputs_embeds", "attention_mask", "position_ids")}
        return self.most * (self._directions(**prompts) @ self.own)[:, None]

    def _weigh(self, weights: Tensor | None) -> None:
        for layer in adapters.layers(self.language_model).values():
            layer.weights = weights


class Sampled:
    """Steps, and the prompts of the first record of each of `count` of them (of all, where there are fewer) once these
    have passed, embeddings [1, T, d]."""

    def __init__(self, steps: Steps, count: int) -> None:
        self._steps = steps
        self._chosen = {sample * len(steps) // count for sample in range(count)}
        self.prompts: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Step]:
        for number, step in enumerate(self._steps):
            if number in self._chosen:
                begins = int((step[0].labels[0] != IGNORED).int().argmax())
                self.prompts.append(step[0].inputs["inputs_embeds"][:1, :begins])
            yield step
