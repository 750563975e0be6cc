"""Co-LoRA: low-rank adapters whose shared part has the same shape in every architecture.

    y = W_p x + (1 - g) h_local + g h_global,        g = sigmoid(beta)
    h = s B (P A x + Q) on the last layer of each block,   h = s B A x elsewhere,   s = alpha / rank

A [r, d_in] has orthonormal rows and B [d_out, r] orthonormal columns; both are frozen. P [r, r] and Q [r] train, start
at zero, and have the same shape whatever d_in and d_out are. P is multiplied from the left with the column vector A x;
the official code multiplies from the right, so that its P is the transpose of this one.

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, section 3 and Theorem 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from drake.config import Training
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.messages import State
from drake.federation.tensor_names import TensorName, layer_number

LOCAL, GLOBAL = "local", "global"
"""The adapters of a client: the local module, which it trains, and the global module, which the server sends."""
SHARED_ROLES, FACTOR_ROLES = ("P", "Q"), ("A", "B")
"""The roles of tensors: those that all architectures share, and the LoRA factors, whose shapes depend on the
architecture."""


def co_lora_layers(num_layers: int, num_blocks: int) -> list[int]:
    """The layers that carry Co-LoRA: the last of each of `num_blocks` blocks, k (L // N_B) - 1 and L - 1. With one
    block that is the last layer; with none, no layer.

    >>> co_lora_layers(16, 4)
    [3, 7, 11, 15]
    """
    if not 0 <= num_blocks <= num_layers:
        raise DrakeError(
            f"{num_layers} layers cannot be divided into {num_blocks} blocks; set num_blocks to 0..{num_layers}."
        )
    if num_blocks == 0:
        return []
    size = num_layers // num_blocks
    return [k * size - 1 for k in range(1, num_blocks)] + [num_layers - 1]


class MosaicLinear(adapters.AdaptedLinear):
    """A local and a global adapter with a scalar gate beta, and with P and Q on Co-LoRA layers.

    P is multiplied into the down projection, gate and scale into the up projection, so that a forward pass is two thin
    matrix products.
    """

    def mosaic(self, co_lora: bool) -> None:
        """Add the gate and, for a Co-LoRA layer, P and Q of every adapter, all zero."""
        like = _weight(self.lora_A[LOCAL])
        self.add_gate(like)
        self.lora_P, self.lora_Q = nn.ParameterDict(), nn.ParameterDict()
        for name in (LOCAL, GLOBAL) if co_lora else ():
            rank = self.r[name]
            self.lora_P[name] = nn.Parameter(like.new_zeros(rank, rank), requires_grad=False)
            self.lora_Q[name] = nn.Parameter(like.new_zeros(rank), requires_grad=False)

    def add_gate(self, like: Tensor) -> None:
        """Add the parameters of the gate, with the dtype and device of `like`, an A [r, d_in]."""
        self.lora_gate = nn.Parameter(like.new_zeros(()), requires_grad=False)

    def gate_parameters(self) -> dict[str, nn.Parameter]:
        """The gate's parameters by the suffix of their names in `gates`."""
        return {"": self.lora_gate}

    @property
    def extra_adapter_parameters(self) -> dict[str, nn.ParameterDict]:
        """Role -> adapter name -> parameter: by this `drake.federation.adapters` finds P and Q beside A and B."""
        return {"P": self.lora_P, "Q": self.lora_Q}

    def module(self, name: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """One adapter as down [r, d_in], up [d_out, r] and shift [r] or None: h = up (down x + shift)."""
        down, up = _weight(self.lora_A[name]), _weight(self.lora_B[name]) * self.scaling[name]
        if name in self.lora_P:
            return self.lora_P[name] @ down, up, self.lora_Q[name]
        return down, up, None

    def factors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        gate = torch.sigmoid(self.lora_gate)
        (down, up, shift), (down_g, up_g, shift_g) = self.module(LOCAL), self.module(GLOBAL)
        up = torch.cat([up * (1 - gate), up_g * gate], dim=1)
        both_shifts = None if shift is None or shift_g is None else torch.cat([shift, shift_g])
        return torch.cat([down, down_g]), up, both_shifts


def _weight(linear: nn.Module) -> Tensor:
    assert isinstance(linear, nn.Linear)
    return linear.weight


def attach(
    model: nn.Module, training: Training, co_layers: Sequence[int], layer: type[MosaicLinear] = MosaicLinear
) -> nn.Module:
    """Put a local and a global adapter on every linear layer of the language model, with P and Q on the decoder layers
    numbered in `co_layers`."""
    adapters.add(model, (LOCAL, GLOBAL), training, layer)
    for place, mosaic in mosaic_layers(model).items():
        mosaic.mosaic(layer_number(place) in co_layers)
    adapters.activate(model, LOCAL, GLOBAL)
    return model


def mosaic_layers(model: nn.Module) -> dict[str, MosaicLinear]:
    """ "<layer>.<projection>" -> the adapted layer."""
    return {place: layer for place, layer in adapters.layers(model).items() if isinstance(layer, MosaicLinear)}


def gates(model: nn.Module) -> dict[str, nn.Parameter]:
    """The live parameters of the gates: "<layer>.<projection>" -> beta, or with a suffix where a gate has several."""
    return {
        f"{place}{suffix}": parameter
        for place, layer in mosaic_layers(model).items()
        for suffix, parameter in layer.gate_parameters().items()
    }


def parameter_groups(
    model: nn.Module, gates_with: Literal["conventional", "shared"] | None
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The live parameters of the local module that train: A, B of conventional layers, and P, Q. gates_with: the group
    that the gates' parameters join, None where they do not train."""
    local = adapters.tensors(model, LOCAL)
    roles = trained_roles(local)
    conventional = [local[name] for name, role in roles.items() if role in FACTOR_ROLES]
    shared = [local[name] for name, role in roles.items() if role in SHARED_ROLES]
    if gates_with is not None:
        (conventional if gates_with == "conventional" else shared).extend(gates(model).values())
    return conventional, shared


def read_gates(model: nn.Module) -> State:
    """A copy of the gates' parameters."""
    return {name: parameter.detach().clone() for name, parameter in gates(model).items()}


@torch.no_grad()
def write_gates(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy values into all gates' parameters."""
    for name, parameter in gates(model).items():
        parameter.copy_(values[name])


def trained_roles(names: Iterable[str]) -> dict[str, str]:
    """Tensor name -> role, of the tensors of a module that train: all but A and B of Co-LoRA layers, the layers with a
    P. names: of all tensors of the module."""
    parsed = {name: TensorName.parse(name) for name in names}
    co_lora = {name.place for name in parsed.values() if name.role == "P"}
    return {key: name.role for key, name in parsed.items() if name.role in SHARED_ROLES or name.place not in co_lora}
