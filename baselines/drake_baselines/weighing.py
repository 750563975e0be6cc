"""Two adapters whose weights depend on the question: the closer a question is to the client's own records, the more
its personal adapter counts (`feddpa`).

    w(x) = most * h(x)/|h(x)| . own,      own = mean over s of h(x_s)/|h(x_s)|

which is `most` times the mean over s of cos(h(x), h(x_s)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.data.record import DatasetRow
from drake.federation import adapters
from drake.federation.method import Step, Steps
from drake.models.backbones import Batch
from drake.scoring.generation import ForwardOutput

from .averaging import PERSONAL, SHARED


class RowWeightedLinear(adapters.AdaptedLinear):
    """A linear layer whose active adapters are added with a separate weight for every row of the batch."""

    row_weights: Tensor | None = None
    """[B, adapters]; None: equal weights, as in `AdaptedLinear`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.row_weights is None:
            return super().forward(x)
        down, up, _ = self.once((x.dtype, *self._active), self._factors_in, x.dtype)
        of_ranks = self.row_weights.repeat_interleave(len(down) // self.row_weights.shape[1], dim=1)  # [B, R]
        h = F.linear(x, down) * of_ranks[:, None].to(x.dtype)
        return self.base_layer(x) + F.linear(h, up)


class ByQuestion(nn.Module):
    """A language model with adapters (1 - w) G + w L, where w depends on the question.

    own [d]: see the module's docstring; set before the model is evaluated.
    """

    own: Tensor

    def __init__(self, language_model: nn.Module, most: float) -> None:
        super().__init__()
        self.language_model, self.most = language_model, most

    def forward(self, past_key_values: tuple[Any, Tensor] | None = None, **inputs: Any) -> ForwardOutput:
        """The language model's forward pass; `past_key_values` are its cache and w [B, 1] of the questions."""
        cache, w = (None, self._w(**inputs)) if past_key_values is None else past_key_values
        adapters.activate(self.language_model, SHARED, PERSONAL)
        with self._row_weights(torch.cat([1 - w, w], dim=1)):
            output = self.language_model(past_key_values=cache, **inputs)
        return ForwardOutput(logits=output.logits, past_key_values=(output.past_key_values, w))

    @torch.no_grad()
    def mean_direction(self, prompts: Sequence[Batch]) -> Tensor:
        """`own` of prompts, each a batch without answers. Leaves the model in evaluation mode, with L alone active."""
        self.eval()
        return torch.cat([self._directions(**prompt.inputs) for prompt in prompts]).mean(0)

    @torch.no_grad()
    def _directions(self, **inputs: Any) -> Tensor:
        """h(x) / |h(x)|, [B, d], of left-padded prompts."""
        adapters.activate(self.language_model, PERSONAL)
        decoder = self.language_model.get_submodule("model")
        hidden = decoder(**inputs, use_cache=False).last_hidden_state[:, -1]
        return F.normalize(hidden.float(), dim=-1)

    def _w(self, use_cache: bool = True, logits_to_keep: int = 1, **inputs: Any) -> Tensor:
        directions = self._directions(**inputs)
        return self.most * (directions @ self.own)[:, None]

    @contextmanager
    def _row_weights(self, weights: Tensor) -> Iterator[None]:
        found = adapters.layers(self.language_model).values()
        layers = [layer for layer in found if isinstance(layer, RowWeightedLinear)]
        try:
            for layer in layers:
                layer.row_weights = weights
            yield
        finally:
            for layer in layers:
                layer.row_weights = None


class Sampled:
    """Wraps a round's steps and keeps `count` records as they pass.

    The records are the first ones of `count` steps spread evenly over the round, or of every step where there are
    fewer.
    """

    def __init__(self, steps: Steps, count: int) -> None:
        self._steps = steps
        self._chosen = {sample * len(steps) // count for sample in range(count)}  # a set: with few steps some coincide
        self.records: list[DatasetRow] = []

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Step]:
        for number, step in enumerate(self._steps):
            if number in self._chosen:
                self.records.append(step[0].records[0])
            yield step
