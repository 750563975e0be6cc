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
    """The facts about the current batch that all gates of a model need.

    real: [B, T], 1 at tokens and 0 at padding; None without padding. count: [B, T], tokens read so far, at least 1,
    those of a cached beginning included. begins: whether the batch begins a sequence, or continues a cached one.
    """

    def __init__(self) -> None:
        self.real: Tensor | None = None
        self.count = torch.ones(1, 1)
        self.begins = True

    def watch(self, model: nn.Module) -> None:
        """Update the facts before every forward pass of `model`, the part without the head: the language model within
        it may be given masks of another form."""
        model.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        cache, mask, embeds = (options.get(name) for name in ("past_key_values", "attention_mask", "inputs_embeds"))
        given: Tensor = options["input_ids"] if embeds is None else embeds
        cached = 0 if cache is None else cache.get_seq_length()
        self.begins = cached == 0
        tokens = given.shape[1]
        if isinstance(mask, Tensor) and mask.ndim == 2:
            read = mask.bool().cumsum(1)[:, -tokens:]
            self.real = mask[:, -tokens:].to(torch.float32)
        else:  # training batches have no mask: they are padded on the right, which a causal mean never reads
            read = torch.arange(cached + 1, cached + tokens + 1, device=given.device)[None]
            self.real = None
        self.count = read.clamp(min=1).to(torch.float32)


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
        down, up, shifts = self.once(("both", x.dtype), self._both, x.dtype)
        h = F.linear(self.lora_dropout[LOCAL](x), down, shifts)
        # Each half of h is weighed by its share, so that both modules are two thin products, not four.
        h = h.unflatten(-1, (2, -1)) * torch.stack([1 - gate, gate], dim=-2)
        return torch.addmm(y.flatten(0, -2), h.flatten(-2).flatten(0, -2), up.T).view_as(y)

    def _both(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        """down [2 r, d_in], up [d_out, 2 r] and shift [2 r] or None of the local module and the global one."""
        (down, up, shift), (down_g, up_g, shift_g) = self.module(LOCAL), self.module(GLOBAL)
        shifts = None if shift is None or shift_g is None else torch.cat([shift, shift_g]).to(dtype)
        return torch.cat([down, down_g]).to(dtype), torch.cat([up, up_g], dim=1).to(dtype), shifts

    def _gate(self, x: Tensor) -> Tensor:
        """g [B, T, 1] of x [B, T, d_in]."""
        score = self._score(x.float())
        if self.reading.real is not None:
            score = score * self.reading.real
        total = score if score.shape[1] == 1 else score.cumsum(1)
        if not self.reading.begins:
            total = total + self._total
        if not self.training:  # a cached continuation adds to this sum
            self._total = total[:, -1:]
        return torch.sigmoid(total / self.reading.count).unsqueeze(-1)

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
