"""Adapters that weigh differently for every question: those of a client's own kind lean on its personal adapter
(`feddpa`).

    w(x) = most * h(x)/|h(x)| . own,      own = mean over s of h(x_s)/|h(x_s)|

which is `most` times the mean cosine of h(x) and h(x_s).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutputWithPast

from drake.federation import adapters
from drake.federation.method import Step, Steps
from drake.models.backbones import IGNORED

from .averaging import PERSONAL, SHARED


class RowWeightedLinear(adapters.AdaptedLinear):
    """Adds up the active adapters with weights of its own for every row of the batch."""

    row_weights: Tensor | None = None
    """[B, adapters]; None: as `AdaptedLinear`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.row_weights is None:
            return super().forward(x)
        down, up, _ = self.factors()
        of_ranks = self.row_weights.repeat_interleave(len(down) // self.row_weights.shape[1], dim=1)  # [B, R]
        h = F.linear(x, down.to(x.dtype)) * of_ranks[:, None].to(x.dtype)
        return self.base_layer(x) + F.linear(h, up.to(x.dtype))


class ByQuestion(nn.Module):
    """Answers with (1 - w) G + w L, where w follows the question. own [d]: see above; set before it answers."""

    own: Tensor

    def __init__(self, language_model: nn.Module, most: float) -> None:
        super().__init__()
        self.language_model, self.most = language_model, most

    def forward(self, past_key_values: tuple[Any, Tensor] | None = None, **inputs: Any) -> CausalLMOutputWithPast:
        """As the model's own; `past_key_values` are the cache and w [B, 1] of the questions."""
        cache, w = (None, self._w(**inputs)) if past_key_values is None else past_key_values
        adapters.activate(self.language_model, SHARED, PERSONAL)
        with self._row_weights(torch.cat([1 - w, w], dim=1)):
            output = self.language_model(past_key_values=cache, **inputs)
        return CausalLMOutputWithPast(logits=output.logits, past_key_values=(output.past_key_values, w))

    @torch.no_grad()
    def mean_direction(self, prompts: Sequence[Tensor]) -> Tensor:
        """`own` of prompts given as embeddings [1, T, d]; leaves the model in evaluation mode, with L alone."""
        self.eval()
        return torch.cat([self._directions(inputs_embeds=prompt) for prompt in prompts]).mean(0)

    @torch.no_grad()
    def _directions(self, **inputs: Tensor) -> Tensor:
        """h(x) / |h(x)|, [B, d], of prompts that end with the last token."""
        adapters.activate(self.language_model, PERSONAL)
        hidden = self.language_model.model(**inputs, use_cache=False).last_hidden_state[:, -1]
        return F.normalize(hidden.float(), dim=-1)

    def _w(self, inputs_embeds: Tensor, attention_mask: Tensor, position_ids: Tensor, **_: Any) -> Tensor:
        directions = self._directions(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, position_ids=position_ids
        )
        return self.most * (directions @ self.own)[:, None]

    @contextmanager
    def _row_weights(self, weights: Tensor) -> Iterator[None]:
        layers = adapters.layers(self.language_model).values()
        try:
            for layer in layers:
                layer.row_weights = weights
            yield
        finally:
            for layer in layers:
                layer.row_weights = None


class Sampled:
    """The same steps; on their way the prompts of `count` records are kept, as embeddings [1, T, d].

    The records are the first ones of `count` steps spread over the round, or of every step where there are fewer.
    """

    def __init__(self, steps: Steps, count: int) -> None:
        self._steps = steps
        self._chosen = {sample * len(steps) // count for sample in range(count)}  # a set: with few steps some coincide
        self.prompts: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Step]:
        for number, step in enumerate(self._steps):
            if number in self._chosen:
                length = int((step[0].labels[0] != IGNORED).int().argmax())
                self.prompts.append(step[0].inputs["inputs_embeds"][:1, :length])
            yield step
