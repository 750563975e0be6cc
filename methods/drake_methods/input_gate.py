"""An input-dependent gate, as in the official code, between the local and the global adapter.

    g_t = sigmoid(mean over s <= t of (x_s . w + sigma e_s))

w in R^d_in starts at zero; e_s ~ N(0, 1) in training and 0 in inference; sigma = softplus(0) = log 2. The official
code has sigma = softplus(x_s . n) with an n in R^d_in that starts at zero and never gets a gradient, which is the same.

The official code averages over the whole sequence, padding included, and in cached decoding over the new token alone.
Here the mean runs over the tokens up to t without padding: padding does not change the result, a gate never depends on
later tokens, and decoding with a cache equals one forward pass.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.federation import adapters

from .colora import GLOBAL, LOCAL, MosaicLinear

NOISE = math.log(2)
"""sigma: standard deviation of what is added to the score of a token in training."""


class Reading:
    """The facts about the current batch that all gates of a model need. real: [B, T], False at padding; None without
    padding. begins: whether the batch begins a sequence, or continues a cached one."""

    def __init__(self) -> None:
        self.real: Tensor | None = None
        self.begins = True

    def watch(self, model: nn.Module) -> None:
        """Update the facts before every forward pass of `model`, the part without the head: the language model within
        it may be given masks of another form."""
        model.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        cache, mask = options.get("past_key_values"), options.get("attention_mask")
        self.begins = cache is None or cache.get_seq_length() == 0
        embeds = options.get("inputs_embeds")
        tokens = (options["input_ids"] if embeds is None else embeds).shape[1]
        # Training batches have no mask: they are padded on the right, which a causal mean never reads.
        self.real = mask[:, -tokens:].bool() if isinstance(mask, Tensor) and mask.ndim == 2 else None


class InputGatedLinear(MosaicLinear):
    """A local and a global adapter behind a gate that depends on the input."""

    reading: Reading

    def add_gate(self, like: Tensor) -> None:
        width = like.shape[1]  # like: A [r, d_in]
        self.lora_gate_w = nn.Parameter(like.new_zeros(width), requires_grad=False)

    def gate_parameters(self) -> dict[str, nn.Parameter]:
        return {".w": self.lora_gate_w}

    def forward(self, x: Tensor) -> Tensor:
        y = self.base_layer(x)
        if self._disable_adapters:
            return y
        gate = self._gate(x).to(x.dtype)
        dropped = self.lora_dropout[LOCAL](x)
        for name, share in ((LOCAL, 1 - gate), (GLOBAL, gate)):
            down, up, shift = self.module(name)
            h = F.linear(dropped, down.to(x.dtype), None if shift is None else shift.to(x.dtype))
            y = y + share * F.linear(h, up.to(x.dtype))
        return y

    def _gate(self, x: Tensor) -> Tensor:
        """g [B, T, 1] of x [B, T, d_in]."""
        score = self._score(x.float())
        real = torch.ones_like(score) if self.reading.real is None else self.reading.real.to(score)
        total, count = (score * real).cumsum(1), real.cumsum(1)
        if not self.reading.begins:
            total, count = total + self._read[0], count + self._read[1]
        if not self.training:  # a cached continuation adds to these sums
            self._read = total[:, -1:], count[:, -1:]
        return torch.sigmoid(total / count.clamp(min=1)).unsqueeze(-1)

    def _score(self, x: Tensor) -> Tensor:
        """The scores [B, T] whose running mean is the gate's logit."""
        score = x @ self.lora_gate_w
        if self.training:
            score = score + NOISE * torch.randn_like(score)
        return score


class OfficialGatedLinear(InputGatedLinear):
    """The gate with the faults of the official code, to measure their effect: the mean includes padding and later
    tokens, and in cached decoding it covers the new token alone."""

    def _gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self._score(x.float()).mean(1, keepdim=True)).unsqueeze(-1)


INPUT_GATES: dict[str, type[InputGatedLinear]] = {"input": InputGatedLinear, "official": OfficialGatedLinear}
"""Value of the option `gate` -> the layer with that gate."""


def watch(model: nn.Module) -> None:
    """Give all input gates of `model` one `Reading` of its batches. Called once, after the adapters are attached."""
    reading = Reading()
    for layer in adapters.layers(model).values():
        if isinstance(layer, InputGatedLinear):
            layer.reading = reading
    reading.watch(model.get_submodule("model"))
