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

from drake.errors import DrakeError
from drake.federation import adapters

LOCAL, GLOBAL = "local", "global"


def co_lora_layers(num_layers: int, num_blocks: int) -> list[int]:
    """The layers that carry Co-LoRA: the last of each of `num_blocks` blocks, k (L // N_B) - 1 and L - 1.

    >>> co_lora_layers(16, 4)
    [3, 7, 11, 15]
    """
    if not 1 <= num_blocks <= num_layers:
        raise DrakeError(f"{num_layers} layers cannot be cut into {num_blocks} blocks; set num_blocks from 1 to that.")
    size = num_layers // num_blocks
    return [k * size - 1 for k in range(1, num_blocks)] + [num_layers - 1]


def orthonormal(rows: int, columns: int, rng: torch.Generator) -> Tensor:
    """A random matrix [rows, columns] with orthonormal rows (rows <= columns), from the QR of a Gaussian one."""
    if rows > columns:
        raise DrakeError(
            f"rank {rows} exceeds the width {columns} of a layer that carries Co-LoRA; choose a lower --rank."
        )
    q, r = torch.linalg.qr(torch.randn(columns, rows, generator=rng, dtype=torch.float64))
    return (q * r.diagonal().sign()).T.float().contiguous()


class MosaicLinear(adapters.AdaptedLinear):
    """A local and a global adapter behind a scalar gate, with P and Q where `mosaic` was called for Co-LoRA.

    down is P A, and gate and scale are in up: the tokens never see how many factors there are.
    """

    def mosaic(self, co_lora: bool) -> None:
        """Add the gate beta and, for a Co-LoRA layer, P and Q of every adapter, all zero."""
        like = self.lora_A[LOCAL].weight
        self.lora_gate = nn.Parameter(like.new_zeros(()), requires_grad=False)
        self.lora_P, self.lora_Q = nn.ParameterDict(), nn.ParameterDict()
        for name in (LOCAL, GLOBAL) if co_lora else ():
            rank = self.r[name]
            self.lora_P[name] = nn.Parameter(like.new_zeros(rank, rank), requires_grad=False)
            self.lora_Q[name] = nn.Parameter(like.new_zeros(rank), requires_grad=False)

    @property
    def extra_adapter_parameters(self) -> dict[str, nn.ParameterDict]:
        """Letter -> adapter name -> parameter, beside A and B: how `drake.federation.adapters` finds P and Q."""
        return {"P": self.lora_P, "Q": self.lora_Q}

    def factors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        gate = torch.sigmoid(self.lora_gate)
        down, shift, up = [], [], []
        for name, share in ((LOCAL, 1 - gate), (GLOBAL, gate)):
            a = self.lora_A[name].weight
            if name in self.lora_P:
                a = self.lora_P[name] @ a
                shift.append(self.lora_Q[name])
            down.append(a)
            up.append(self.lora_B[name].weight * (share * self.scaling[name]))
        return torch.cat(down), torch.cat(up, dim=1), torch.cat(shift) if shift else None


def attach(model: nn.Module, training: adapters.Training, places: Sequence[int]) -> nn.Module:
    """Put a local and a global adapter on every linear layer of the language model, with P and Q on the decoder layers
    numbered in `places`."""
    adapters.add(model, (LOCAL, GLOBAL), training, MosaicLinear)
    for place, layer in adapters.layers(model).items():
        layer.mosaic(int(place.split(".")[0]) in places)
    adapters.activate(model, LOCAL, GLOBAL)
    return model


def gates(model: nn.Module) -> dict[str, nn.Parameter]:
    """The gates by place: "<layer>.<projection>" -> beta, a scalar."""
    return {place: layer.lora_gate for place, layer in adapters.layers(model).items()}


def update_dimension(a: Tensor, b: Tensor, tolerance: float = 1e-8) -> int:
    """The dimension of the space {B P A : P} found numerically: r^2 for orthonormal A, B, less where either loses rank
    (Theorem 1). a [r, d_in], b [d_out, r]; the span of the r^2 outer products b[:, i] a[j, :]."""
    basis = torch.einsum("oi,jd->ijod", b.double(), a.double()).flatten(2).flatten(0, 1)
    return int(torch.linalg.matrix_rank(basis, rtol=tolerance))
