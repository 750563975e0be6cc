"""Weight alignment solved in one pass (`drake_methods.alignment`) against the way of the official code: A fitted by
stochastic gradient descent on 5000 samples with a penalty of 0.5 times the mean squared cosine between its rows, B by
canonical correlations in d_out dimensions from the outputs of 100 samples.

    python benchmarks/alignment.py [--anchor tiny-llama-s] [--other tiny-llama-m] [--samples 5000] [--rates 0.001,0.01]

Printed: seconds, and the residual of each way relative to the anchor's A H on held-out records (mean over projections):
of the A of least squares, or as it was fitted, and of the A with orthonormal rows that is used: the best of all such
matrices where it is solved, the nearest one to A where it is fitted. The fit takes one Adam step a record, for all
projections in one pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import cycle, islice

import torch
from drake_methods import pairing
from drake_methods.alignment import (
    SHARED_INPUTS,
    Side,
    align_b,
    align_factors,
    block_moments,
    projection_inputs,
    row_orthonormal,
)
from drake_methods.colora import co_lora_layers
from drake_methods.frozen import random_factors
from torch import Tensor

from drake.common.seeds import python_random
from drake.common.threads import use_threads
from drake.config import preset
from drake.data.record import DatasetRow
from drake.models import backbones
from drake.runs.setup import open_data

BLOCKS, RANK, FEW, HELD_OUT = 4, 8, 100, 200


def side(name: str) -> Side:
    backbone = backbones.load(name)
    layers = co_lora_layers(backbone.num_layers, BLOCKS)
    return Side(backbone, layers, random_factors(backbone, layers, RANK, seed=0))


def fitted(anchor: Side, other: Side, records: Sequence[DatasetRow], rate: float) -> dict[str, Tensor]:
    """A of every projection after one step per record."""
    matrices = {name: t.clone().requires_grad_(True) for name, t in other.factors.items() if name.endswith(".A")}
    optimizer = torch.optim.Adam(matrices.values(), lr=rate)
    for record in records:
        (pair,) = pairing.pairs(anchor.backbone, other.backbone, [record])
        loss = torch.zeros(())
        for small, large in zip(anchor.layers, other.layers, strict=True):
            of_anchor = projection_inputs(anchor.backbone, small, pair.batches[0])
            of_other = projection_inputs(other.backbone, large, pair.batches[1])
            for entry, projections in SHARED_INPUTS.items():
                h_anchor, h = (
                    pooling(seen[entry], torch.float32)
                    for pooling, seen in zip(pair.poolings, (of_anchor, of_other), strict=True)
                )
                for projection in projections:
                    a = matrices[f"{large}.{projection}.A"]
                    target = h_anchor @ anchor.factors[f"{small}.{projection}.A"].T
                    rows = torch.nn.functional.normalize(a, dim=1)
                    cosines = rows @ rows.T - torch.eye(len(a))
                    loss = loss + (h @ a.T - target).square().mean() + 0.5 * cosines.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: matrix.detach().double() for name, matrix in matrices.items()}


def left_over(
    anchor: Side, other: Side, found: dict[str, Tensor], held_out: Sequence[DatasetRow]
) -> tuple[float, float]:
    """||A H_L - A_S H_S||^2 / ||A_S H_S||^2, mean over projections: of A, and of the nearest orthonormal matrix."""
    plain, orthonormal = [], []
    for small, large in zip(anchor.layers, other.layers, strict=True):
        for projection, moments in block_moments(anchor, other, small, large, held_out).items():
            a = found[f"{large}.{projection}.A"].double()
            plain.append(moments.residual(a))
            orthonormal.append(moments.residual(row_orthonormal(a)))
    return sum(plain) / len(plain), sum(orthonormal) / len(orthonormal)


def solved(anchor: Side, other: Side, records: Sequence[DatasetRow]) -> dict[str, Tensor]:
    """A of least squares, before it is made orthonormal."""
    return {
        f"{large}.{projection}.A": moments.least_squares()
        for small, large in zip(anchor.layers, other.layers, strict=True)
        for projection, moments in block_moments(anchor, other, small, large, records).items()
    }


def correlations_in_full_width(anchor: Side, other: Side, records: Sequence[DatasetRow]) -> float:
    """Seconds to find every B from the outputs themselves, [tokens, d_out]."""
    started = time.perf_counter()
    for small, large in zip(anchor.layers, other.layers, strict=True):
        outputs: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        for pair in pairing.pairs(anchor.backbone, other.backbone, records):
            for index, (which, layer) in enumerate(((anchor, small), (other, large))):
                seen = projection_inputs(which.backbone, layer, pair.batches[index])
                for entry, projections in SHARED_INPUTS.items():
                    rows = pair.poolings[index](seen[entry])
                    for projection in projections:
                        a, b = (which.factors[f"{layer}.{projection}.{letter}"].double() for letter in "AB")
                        outputs.setdefault(projection, ([], []))[index].append(rows @ a.T @ b.T)
        for projection, (of_anchor, of_other) in outputs.items():
            align_b(torch.cat(of_anchor), torch.cat(of_other), anchor.factors[f"{small}.{projection}.B"].double())
    return time.perf_counter() - started


def timed(call, *arguments):
    started = time.perf_counter()
    return call(*arguments), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anchor", default="tiny-llama-s")
    parser.add_argument("--other", default="tiny-llama-m")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--rates", default="0.001,0.01")
    asked = parser.parse_args()
    use_threads(1)
    anchor, other = side(asked.anchor), side(asked.other)
    public = open_data(preset("mini")).public
    order = python_random(0, "bench alignment").sample(range(len(public)), len(public))
    held_out = [public[row] for row in order[:HELD_OUT]]
    rest = [public[row] for row in order[HELD_OUT:]]
    for backbone in (anchor.backbone, other.backbone):
        backbone.batch(rest, answers=True)  # encodes every picture

    print(f"{asked.other} aligned to {asked.anchor}: {len(other.layers)} blocks, rank {RANK}, {torch.__version__}")
    print("| way | records | seconds | left over, A as found | left over, A orthonormal |")
    print("|---|---:|---:|---:|---:|")
    for count in (FEW, len(rest)):
        _, seconds = timed(align_factors, anchor, other, rest[:count])
        plain, _ = left_over(anchor, other, solved(anchor, other, rest[:count]), held_out)
        _, orthonormal = left_over(anchor, other, align_factors(anchor, other, rest[:count])[0], held_out)
        print(f"| solved, A and B | {count} | {seconds:.1f} | {plain:.3f} | {orthonormal:.3f} |", flush=True)
    samples = list(islice(cycle(rest), asked.samples))
    for rate in map(float, asked.rates.split(",")):
        found, seconds = timed(fitted, anchor, other, samples, rate)
        plain, orthonormal = left_over(anchor, other, found, held_out)
        name = f"A fitted, rate {rate:g}"
        print(f"| {name} | {len(samples)} | {seconds:.1f} | {plain:.3f} | {orthonormal:.3f} |", flush=True)
    seconds = correlations_in_full_width(anchor, other, rest[:FEW])
    print(f"| B in d_out dimensions | {FEW} | {seconds:.1f} | | |")


if __name__ == "__main__":
    main()
