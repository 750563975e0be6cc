"""Weight alignment: the frozen A and B of every architecture are chosen on public data, so that P and Q act alike in
all.

    A_L = argmin_A ||A H_L - A_S H_S||_F^2 over A A^T = I,       H the inputs of a projection for the same tokens
    B_L = S_LL^1/2 U V^T S_SS^-1/2 B_S,   U Sigma V^T = S_LL^-1/2 S_LS S_SS^-1/2,   S the moments of the centred outputs

S is the anchor, the smallest architecture, whose A and B are random with orthonormal rows and columns. Every other
architecture L is aligned to it block by block and projection by projection, with all adapters inactive.

Each block takes one pass over the data: A needs only H_L H_L^T and A_S H_S H_L^T, which are sums over tokens. The
outputs B A H (P = I, Q = 0) lie in the r-dimensional column space of a B with orthonormal columns, and their moments
follow from the same sums, so B is computed in r dimensions instead of d_out and without another pass.

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, section 3. What differs from the official code: A is the best of all
matrices with orthonormal rows, where the official code fits any A by SGD with a penalty and then takes the nearest
orthonormal one, which leaves far more over (docs/fedmosaic.md); and A and B are fitted on the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import State
from drake.models.backbones import Backbone, Batch

from .pairing import pairs

SHARED_INPUTS = {
    "self_attn.q_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.o_proj": ("self_attn.o_proj",),
    "mlp.gate_proj": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj": ("mlp.down_proj",),
}
"""The projections of a layer, grouped by their common input; the key names the projection whose input is observed. In
the order of computation."""

RIDGE = 1e-4
"""gamma of the canonical correlations, as in the official code."""


def row_orthonormal(a: Tensor) -> Tensor:
    """The matrix with orthonormal rows nearest to a [r, d], r <= d: U V^T of its singular value decomposition."""
    u, _, vt = torch.linalg.svd(a, full_matrices=False)
    return u @ vt


def orthonormal_fit(hh: Tensor, zh: Tensor, start: Tensor, steps: int = 1000, tolerance: float = 1e-9) -> Tensor:
    """The A [r, d] with orthonormal rows that minimises sum ||A h - z||^2, from hh = sum h h^T [d, d] and
    zh = sum z h^T [r, d]. start: any matrix [r, d] of full rank, such as the least-squares solution.

    With c the largest eigenvalue of hh, every step minimises an upper bound of the loss that touches it at the current
    A: A <- row_orthonormal(zh + A (c I - hh)). This is the majorisation of Kiers (Psychometrika 55, 1990), which never
    raises the loss; extrapolation (Nesterov), given up whenever it does, makes it many times faster. Ends after `steps`
    steps, or where one lowers the loss by less than `tolerance` of its size.
    """

    def loss(a: Tensor) -> Tensor:  # without sum ||z||^2
        return (a @ hh * a).sum() - 2 * (a * zh).sum()

    c = torch.linalg.eigvalsh(hh)[-1]
    last = a = row_orthonormal(start)
    least, run = loss(a), 0
    for _ in range(steps):
        at = a + run / (run + 3) * (a - last)
        new = row_orthonormal(zh + c * at - at @ hh)
        found = loss(new)
        if found > least and run:
            run, last = 0, a
            continue
        if least - found <= tolerance * least.abs():
            return new if found < least else a
        last, a, least, run = a, new, found, run + 1
    return a


def canonical_map(ss: Tensor, ll: Tensor, ls: Tensor, ridge: float = RIDGE) -> Tensor:
    """S_LL^1/2 U V^T S_SS^-1/2 [L, S] for the moments ss [S, S], ll [L, L], ls [L, S] of centred outputs; `ridge` is
    added to the diagonals."""
    _, ss_inverse = _roots(ss, ridge)
    ll_root, ll_inverse = _roots(ll, ridge)
    u, _, vt = torch.linalg.svd(ll_inverse @ ls @ ss_inverse, full_matrices=False)
    return ll_root @ u @ vt @ ss_inverse


def align_b(small_outputs: Tensor, large_outputs: Tensor, small_b: Tensor, ridge: float = RIDGE) -> Tensor:
    """B of the large side [d_L, r] from n outputs of both B's, [n, d_S] and [n, d_L], and small_b [d_S, r]."""
    small, large = (x - x.mean(0) for x in (small_outputs, large_outputs))
    return canonical_map(small.T @ small, large.T @ large, large.T @ small, ridge) @ small_b


@dataclass(frozen=True)
class Side:
    """One architecture: its backbone, the layer that carries Co-LoRA in each block, A and B of those layers."""

    backbone: Backbone
    layers: Sequence[int]
    factors: State


class Fit(NamedTuple):
    """How well one projection is aligned: the relative residual ||A H_L - A_S H_S||^2 / ||A_S H_S||^2 of the
    least-squares A and of the A with orthonormal rows that is used, and the number of rows (tokens)."""

    least_squares: float
    orthonormal: float
    rows: int


def align_factors(anchor: Side, other: Side, records: Sequence[DatasetRow]) -> tuple[State, dict[str, Fit]]:
    """The aligned A and B of `other`, and the fit of each projection by "<layer>.<projection>".

    Memory: the activations of one batch of both backbones, and one d x d matrix per input of one block's projections.
    Raises DrakeError without records.
    """
    if not records:
        raise DrakeError(
            "there are no public records to align on; add some to the dataset, or set fedmosaic.align=false."
        )
    aligned, fits = {}, {}
    for small, large in zip(anchor.layers, other.layers, strict=True):
        for projection, moments in block_moments(anchor, other, small, large, records).items():
            place = f"{large}.{projection}"
            least_squares = moments.least_squares()
            a = orthonormal_fit(moments.inputs.hh, moments.zh, least_squares)
            b = other.factors[f"{place}.B"].to(a) @ moments.b_map(a)
            aligned[f"{place}.A"], aligned[f"{place}.B"] = (t.float().cpu().contiguous() for t in (a, b))
            fits[place] = Fit(moments.residual(least_squares), moments.residual(a), moments.inputs.rows)
    return aligned, fits


def _roots(moments: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The square root of moments + ridge I, and its inverse."""
    values, vectors = torch.linalg.eigh(moments)
    root = (values.clamp(min=0) + ridge).sqrt()
    return vectors * root @ vectors.T, vectors / root @ vectors.T


class _InputSums:
    """Sums over the rows h [d] of one input of the large side: h h^T, h, and how many."""

    def __init__(self, like: Tensor) -> None:
        self.hh = like.new_zeros(like.shape[1], like.shape[1])
        self.h = like.new_zeros(like.shape[1])
        self.rows = 0

    def add(self, h: Tensor) -> None:
        self.hh.addmm_(h.T, h)
        self.h += h.sum(0)
        self.rows += len(h)

    def solve(self, rhs: Tensor) -> Tensor:
        """hh^-1 rhs; a tiny ridge makes hh invertible where the inputs do not span all directions."""
        ridge = 1e-8 * self.hh.diagonal().mean().clamp(min=torch.finfo(self.hh.dtype).tiny)
        return torch.cholesky_solve(rhs, torch.linalg.cholesky(self.hh + ridge * torch.eye(len(self.hh)).to(self.hh)))


class _Moments:
    """Sums over the tokens' inputs h [d_L] of a projection and the anchor's z = A_S h_S [r] for the same tokens."""

    def __init__(self, inputs: _InputSums, z: Tensor) -> None:
        rank = z.shape[1]
        self.inputs = inputs
        self.zh, self.zz, self.z = z.new_zeros(rank, len(inputs.h)), z.new_zeros(rank, rank), z.new_zeros(rank)

    def add(self, z: Tensor, h: Tensor) -> None:
        self.zh.addmm_(z.T, h)
        self.zz.addmm_(z.T, z)
        self.z += z.sum(0)

    def least_squares(self) -> Tensor:
        """A [r, d_L] that minimises sum ||A h - z||^2."""
        return self.inputs.solve(self.zh.T).T

    def residual(self, a: Tensor) -> float:
        """sum ||A h - z||^2 / sum ||z||^2."""
        left = (a @ self.inputs.hh * a).sum() - 2 * (a * self.zh).sum() + self.zz.trace()
        return float(left.clamp(min=0) / self.zz.trace())

    def b_map(self, a: Tensor) -> Tensor:
        """[r, r]: the `canonical_map` of z and A h. B_L is the random B of the large side times this matrix."""
        mean, rows = a @ self.inputs.h, self.inputs.rows
        ll = a @ self.inputs.hh @ a.T - torch.outer(mean, mean) / rows
        ls = a @ self.zh.T - torch.outer(mean, self.z) / rows
        return canonical_map(self.zz - torch.outer(self.z, self.z) / rows, ll, ls)


def block_moments(
    anchor: Side, other: Side, small: int, large: int, records: Sequence[DatasetRow]
) -> dict[str, _Moments]:
    """The sums of one block by projection: layer `small` of the anchor beside layer `large` of the other."""
    inputs: dict[str, _InputSums] = {}
    found: dict[str, _Moments] = {}
    for pair in pairs(anchor.backbone, other.backbone, records):
        of_anchor = projection_inputs(anchor.backbone, small, pair.batches[0])
        of_other = projection_inputs(other.backbone, large, pair.batches[1])
        for entry, projections in SHARED_INPUTS.items():
            h = pair.poolings[1](of_other[entry])
            h_anchor = pair.poolings[0](of_anchor[entry]).to(h)
            sums = inputs.setdefault(entry, _InputSums(h))
            sums.add(h)
            for projection in projections:
                z = h_anchor @ anchor.factors[f"{small}.{projection}.A"].to(h).T
                found.setdefault(projection, _Moments(sums, z)).add(z, h)
    if not found:
        raise DrakeError("no token of the public records matches between the tokenizers; set fedmosaic.align=false.")
    return found


class _Enough(Exception):
    """Ends a forward pass once all inputs that are needed were seen."""


@torch.no_grad()
def projection_inputs(backbone: Backbone, layer: int, batch: Batch) -> dict[str, Tensor]:
    """The inputs [B, T, d] of one layer's projections in the backbone without adapters, by the keys of `SHARED_INPUTS`;
    later layers are not computed."""
    seen: dict[str, Tensor] = {}
    decoder = backbone.decoder
    entries = list(SHARED_INPUTS)

    def hook(entry: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[entry] = inputs[0]
            if entry == entries[-1]:
                raise _Enough

        return keep

    hooks = [decoder.layers[layer].get_submodule(entry).register_forward_pre_hook(hook(entry)) for entry in entries]
    adapters.activate(backbone.model)
    try:
        backbone.model.model(**batch.unmasked, use_cache=False)
    except _Enough:
        pass
    finally:
        for handle in hooks:
            handle.remove()
    return seen
