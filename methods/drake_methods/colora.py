"""Co-LoRA: low-rank adapters whose shared part has the same shape in every architecture.

    y = W_p x + (1 - g) h_local + g h_global,        g = sigmoid(beta)
    h = s B (P A x + Q) on the last layer of each block,   h = s B A x elsewhere,   s = alpha / rank

A [r, d_in] has orthonormal rows and B [d_out, r] orthonormal columns, both frozen; P [r, r] and Q [r] train, start at
zero and mean the same thing whatever d_in and d_out are. P acts from the LEFT on the column A x (the official code
multiplies from the right: its P is ours transposed).

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, section 3 and Theorem 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from drake.config import Training
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.tensor_names import layer_number

LOCAL, GLOBAL = "local", "global"
"""The adapters of a client: what it trains, and what the server made for it."""
SHARED_ROLES, FACTOR_ROLES = ("P", "Q"), ("A", "B")
"""The roles of tensors: those that mean the same in every architecture, and the factors of LoRA, which do not."""


def co_lora_layers(num_layers: int, num_blocks: int) -> list[int]:
    """The layers that carry Co-LoRA: the last of each of `num_blocks` blocks, k (L // N_B) - 1 and L - 1. With one
    block that is the last layer, with none there is no Co-LoRA at all.

    >>> co_lora_layers(16, 4)
    [3, 7, 11, 15]
    """
    if not 0 <= num_blocks <= num_layers:
        raise DrakeError(f"{num_layers} layers cannot be cut into {num_blocks} blocks; set num_blocks from 0 to that.")
    if num_blocks == 0:
        return []
    size = num_layers // num_blocks
    return [k * size - 1 for k in range(1, num_blocks)] + [num_layers - 1]


class MosaicLinear(adapters.AdaptedLinear):
    """A local and a global adapter behind a scalar gate beta, with P and Q where `mosaic` was called for Co-LoRA.

    P is folded into down, gate and scale into up, so that a forward pass is two thin products.
    """

    def mosaic(self, co_lora: bool) -> None:
        """Add the gate and, for a Co-LoRA layer, P and Q of every adapter, all zero."""
        like = self.lora_A[LOCAL].weight
        self.add_gate(like)
        self.lora_P, self.lora_Q = nn.ParameterDict(), nn.ParameterDict()
        for name in (LOCAL, GLOBAL) if co_lora else ():
            rank = self.r[name]
            self.lora_P[name] = nn.Parameter(like.new_zeros(rank, rank), requires_grad=False)
            self.lora_Q[name] = nn.Parameter(like.new_zeros(rank), requires_grad=False)

    def add_gate(self, like: Tensor) -> None:
        """Add the parameters of the gate, of the kind of `like`."""
        self.lora_gate = nn.Parameter(like.new_zeros(()), requires_grad=False)

    def gate_parameters(self) -> dict[str, nn.Parameter]:
        """The gate's parameters by what follows the layer's place in their names."""
        return {"": self.lora_gate}

    @property
    def extra_adapter_parameters(self) -> dict[str, nn.ParameterDict]:
        """Letter -> adapter name -> parameter, beside A and B: how `drake.federation.adapters` finds P and Q."""
        return {"P": self.lora_P, "Q": self.lora_Q}

    def module(self, name: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """One adapter as down [r, d_in], up [d_out, r] and shift [r] or None: h = up (down x + shift)."""
        down, up = self.lora_A[name].weight, self.lora_B[name].weight * self.scaling[name]
        if name in self.lora_P:
            return self.lora_P[name] @ down, up, self.lora_Q[name]
        return down, up, None

    def factors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        gate = torch.sigmoid(self.lora_gate)
        (down, up, shift), (down_g, up_g, shift_g) = self.module(LOCAL), self.module(GLOBAL)
        up = torch.cat([up * (1 - gate), up_g * gate], dim=1)
        return torch.cat([down, down_g]), up, None if shift is None else torch.cat([shift, shift_g])


def attach(
    model: nn.Module, training: Training, co_layers: Sequence[int], layer: type[MosaicLinear] = MosaicLinear
) -> nn.Module:
    """Put a local and a global adapter on every linear layer of the language model, with P and Q on the decoder layers
    numbered in `co_layers`."""
    adapters.add(model, (LOCAL, GLOBAL), training, layer)
    for place, mosaic in adapters.layers(model).items():
        mosaic.mosaic(layer_number(place) in co_layers)
    adapters.activate(model, LOCAL, GLOBAL)
    return model


def gates(model: nn.Module) -> dict[str, nn.Parameter]:
    """The gates' parameters by name: "<layer>.<projection>" -> beta, a scalar, or what the kind of gate has."""
    return {
        f"{place}{suffix}": parameter
        for place, layer in adapters.layers(model).items()
        for suffix, parameter in layer.gate_parameters().items()
    }
