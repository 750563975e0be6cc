"""Linear CKA between all layers of two backbones: which layer of one resembles which of the other.

    CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)),   HSIC from the Gram matrices K = X X^T, L = Y Y^T of a batch:
    HSIC_1 = (tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K L 1) / (n (n - 3)),   diagonals of K, L set to 0

The unbiased HSIC is summed over batches in one pass, so that no activation is kept after its batch.

Reference: Kornblith et al., ICML 2019 (CKA); Song et al., JMLR 2012 (unbiased HSIC); Nguyen et al., ICLR 2021 (summed
over batches). The paper uses it to match blocks (arXiv 2506.11024, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from drake.common.files import replacing
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.federation import adapters
from drake.models.backbones import Backbone, Batch

from .pairing import Pooling, pairs

ROWS = 512
"""Upper bound of the rows of a batch that are compared: each layer has a Gram matrix [rows, rows]."""


class Match(NamedTuple):
    """A layer of the first backbone and the most similar (`best`) layer of the second. Layers count from 1; depth is
    the layer divided by the number of layers; cka is their similarity in [0, 1]."""

    layer: int
    depth: float
    best: int
    best_depth: float
    cka: float


def hsic(first: Tensor, second: Tensor) -> Tensor:
    """HSIC_1 [L1, L2] of Gram matrices [L1, n, n] and [L2, n, n]; their diagonals are left out. n > 3."""
    k, m = (grams * (1 - torch.eye(grams.shape[-1]).to(grams)) for grams in (first, second))
    n = k.shape[-1]
    k_rows, m_rows = k.sum(-1), m.sum(-1)
    trace = k.flatten(1) @ m.flatten(1).T
    sums = torch.outer(k_rows.sum(-1), m_rows.sum(-1)) / ((n - 1) * (n - 2))
    return (trace + sums - 2 / (n - 2) * k_rows @ m_rows.T) / (n * (n - 3))


def cka(batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """CKA [L1, L2] from batches of Gram matrices; DrakeError where no batch has more than three rows."""
    cross, own = None, None
    for first, second in batches:
        if first.shape[-1] > 3:
            found = hsic(first, second), (hsic(first, first).diagonal(), hsic(second, second).diagonal())
            cross = found[0] if cross is None else cross + found[0]
            own = found[1] if own is None else tuple(a + b for a, b in zip(own, found[1], strict=True))
    if cross is None or own is None:
        raise DrakeError("too few tokens of the records match between the backbones; give more records.")
    return cross / torch.outer(*own).sqrt()


def layer_similarity(first: Backbone, second: Backbone, records: Sequence[DatasetRow]) -> Tensor:
    """CKA [L1, L2] of the outputs of all decoder layers on the same tokens of the records."""
    return cka(
        (_grams(first, pair.batches[0], pair.poolings[0]), _grams(second, pair.batches[1], pair.poolings[1]))
        for pair in pairs(first, second, records)
    )


def best_matches(similarity: Tensor) -> list[Match]:
    """For every row of a CKA matrix the column where it is largest."""
    rows, columns = similarity.shape
    best = similarity.argmax(1).tolist()
    return [Match(k + 1, (k + 1) / rows, b + 1, (b + 1) / columns, float(similarity[k, b])) for k, b in enumerate(best)]


def write(similarity: Tensor, path: Path) -> None:
    """The matrix as CSV: a row per layer of the first backbone, a column per layer of the second, from 1."""
    lines = [",".join(["layer", *(str(k + 1) for k in range(similarity.shape[1]))])]
    lines += [",".join([str(k + 1), *(f"{value:.6f}" for value in row)]) for k, row in enumerate(similarity.tolist())]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


@torch.no_grad()
def _grams(backbone: Backbone, batch: Batch, pooling: Pooling) -> Tensor:
    """Gram matrices [L, n, n] of the layers' outputs at n <= `ROWS` rows, spread evenly over the batch."""
    decoder = backbone.decoder
    step = -(-pooling.rows // ROWS)
    grams: list[Tensor] = []

    def keep(_: torch.nn.Module, __: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
        rows = pooling(output[0] if isinstance(output, tuple) else output)[::step]
        grams.append((rows @ rows.T).cpu())

    hooks = [layer.register_forward_hook(keep) for layer in decoder.layers]
    adapters.activate(backbone.model)
    try:
        backbone.model.model(**batch.unmasked, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(grams)
