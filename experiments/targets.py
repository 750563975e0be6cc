"""What the mini suite was made to be, as one table: every aim of docs/mini.md beside its measured value.

    python experiments/tables.py methods --out runs/tables --seeds 1,2,3
    python experiments/tables.py homogeneous --out runs/tables --seeds 1,2,3 --only fedmosaic-m
    python experiments/client_transfer.py runs/tables/fedmosaic-m --out runs/tables/client-transfer
    python experiments/targets.py runs/tables

DIR holds these runs; what is not there is "not measured". Zero-shot scores, similarity of layers and alignment are
computed here, in about three minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from agreement import measured, published, tau
from drake_leaderboard.entries import Row, row
from drake_leaderboard.resolution import smallest_difference, spread
from drake_methods.alignment import Side, align_factors, block_moments
from drake_methods.cka import best_matches, layer_similarity
from drake_methods.colora import co_lora_layers
from drake_methods.frozen import random_factors
from numpy.typing import NDArray

from drake import results
from drake.common.seeds import python_random
from drake.common.threads import use_threads
from drake.config import preset
from drake.data.benchmark import Benchmark
from drake.data.sources.mini.fairness import read_statistics
from drake.models import backbones
from drake.models.tiny import CUT_FROM, SHAPES
from drake.results import Results
from drake.runs.setup import open_data
from drake.tools.zero_shot import zero_shot

SIDES = ("self", "others")
BLOCKS, RANK, HELD_OUT = 4, 8, 200
SGD_FIT = 0.642
"""||A H - A_S H_S||^2 / ||A_S H_S||^2 of the official way on held-out records, with the backbones of version 0.1."""


class Target(NamedTuple):
    """One line of the table; met is None where nothing was aimed at or measured."""

    name: str
    aim: str
    found: str
    met: bool | None


def of_backbones(data: Benchmark) -> Iterator[Target]:
    """Zero-shot scores and similarity of layers."""
    chance = {task: found.chance for task, found in read_statistics().items()}
    for name in SHAPES:
        scores = zero_shot(name, data, preset("mini"))
        mean = 100 * sum(scores.values()) / len(scores)
        high = sum(score > 0.9 for score in scores.values())
        below = {task: chance[task] - score for task, score in scores.items() if score < chance[task] - 0.1}
        yield Target(f"{name}: zero-shot mean of 47 tasks", "40 to 55", f"{mean:.1f}", 40 <= mean <= 55)
        yield Target(f"{name}: tasks over 90", "at most 3", str(high), high <= 3)
        worst = ", ".join(f"{task} ({100 * gap:.0f})" for task, gap in below.items()) or "none"
        yield Target(f"{name}: tasks more than 10 below chance", "none", worst, not below)
    records = [data.public[row] for row in range(200)]
    for small, medium in CUT_FROM.items():
        matches = best_matches(layer_similarity(backbones.load(small), backbones.load(medium), records))
        apart = median(abs(match.depth - match.best_depth) for match in matches)
        name = f"{small} in {medium}: median distance of partner layers, relative depth"
        yield Target(name, "at most 0.15", f"{apart:.3f}", apart <= 0.15)


def of_alignment(data: Benchmark) -> Target:
    """What is left over on held-out public records, mean over the projections of four blocks; as
    benchmarks/alignment.py has it."""
    anchor, other = _side("tiny-llama-s"), _side("tiny-llama-m")
    order = python_random(0, "bench alignment").sample(range(len(data.public)), len(data.public))
    held_out, rest = ([data.public[row] for row in part] for part in (order[:HELD_OUT], order[HELD_OUT:]))
    aligned, _ = align_factors(anchor, other, rest)
    left = [
        moments.residual(aligned[f"{large}.{projection}.A"].double())
        for small, large in zip(anchor.layers, other.layers, strict=True)
        for projection, moments in block_moments(anchor, other, small, large, held_out).items()
    ]
    mean = sum(left) / len(left)
    return Target("alignment: left over by an orthonormal A", f"below {SGD_FIT}", f"{mean:.3f}", mean < SGD_FIT)


def _side(name: str) -> Side:
    backbone = backbones.load(name)
    layers = co_lora_layers(backbone.num_layers, BLOCKS)
    return Side(backbone, layers, random_factors(backbone, layers, RANK, seed=0))


def of_runs(folder: Path) -> Iterator[Target]:
    """Levels, errors and resolution of the runs of the table of methods."""
    found_runs = {p.name: results.load(p) for p in sorted(folder.iterdir()) if (p / results.FILE).exists()}
    runs = {name: run for name, run in found_runs.items() if run.status == "complete"}
    sft, joint = runs.get("sft"), runs.get("joint")
    if sft is not None:
        gain = {s: float((last(sft, s) - bare(sft, s)).mean()) for s in SIDES}
        yield Target("SFT over zero-shot, Self", "at least 12", f"{gain['self']:+.1f}", gain["self"] >= 12)
        yield Target("SFT over zero-shot, Others", "within 5", f"{gain['others']:+.1f}", abs(gain["others"]) <= 5)
        yield Target("SFT, standard error of Self", "at most 0.7", f"{error(sft):.2f}", error(sft) <= 0.7)
    if sft is not None and joint is not None:
        ahead = last(joint, "self") - last(sft, "self")
        text = f"{ahead.mean():+.1f} ± {ahead.std(ddof=1) / len(ahead) ** 0.5:.1f}"
        yield Target("joint over SFT, Self", "at least 3", text, bool(ahead.mean() >= 3))
    ranked: list[Row] = [row(runs[name], name) for name in published("self") if name in runs]
    if ranked:
        worst = max((error(runs[entry.origin]), entry.origin) for entry in ranked)
        yield Target("largest standard error of Self", "at most 0.7", f"{worst[0]:.2f} ({worst[1]})", worst[0] <= 0.7)
        for s in SIDES:
            found = spread(ranked, f"{s}_last")
            floor = "" if found is None else f"{100 * smallest_difference(found):.1f} points"
            yield Target(f"resolution floor of three seeds, {s.capitalize()}", "to be reported", floor, None)
        for s in SIDES:
            value, low, high = tau(published(s), measured(folder, s))
            text = f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
            yield Target(f"Kendall's tau with the paper's Table 2, {s.capitalize()}", "to be reported", text, None)


def of_relevance(folder: Path) -> Target:
    """Spearman's correlation of measured transfer and relevance."""
    name, path = "relevance against measured transfer, Spearman", folder / "client-transfer" / "transfer.json"
    if not path.exists():
        return Target(name, "to be reported", "not measured", None)
    found = json.loads(path.read_text())["all"]
    low, high = found["interval"]
    return Target(name, "to be reported", f"{found['mean']:+.2f} ({low:+.2f} to {high:+.2f})", None)


def last(run: Results, side: str) -> NDArray[np.float64]:
    """Self or Others A_last by seed, percent."""
    return np.array([100 * getattr(seed.summary["official"], f"{side}_last") for seed in run.runs])


def bare(run: Results, side: str) -> NDArray[np.float64]:
    """The same of the backbones before training."""
    found: list[float] = []
    for seed in run.runs:
        if seed.zero_shot is None:
            raise SystemExit(f"seed {seed.seed} of {run.method.name} has no zero-shot scores.")
        values = 100 * np.array(seed.zero_shot["official"], dtype=np.float64)
        own = np.array([[task in client.tasks for task in seed.tasks] for client in run.clients])
        picked = own if side == "self" else ~own & own.any(0)
        found.append(float(np.mean([row[chosen].mean() for row, chosen in zip(values, picked, strict=True)])))
    return np.array(found)


def error(run: Results) -> float:
    """Standard error of Self A_last over the seeds, percent."""
    values = last(run, "self")
    return float(values.std(ddof=1) / len(values) ** 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    use_threads(1)
    data = open_data(preset("mini"))
    print("| | aim | measured | met |\n|---|---|---|---|")
    for target in chain(of_runs(folder), [of_relevance(folder)], [of_alignment(data)], of_backbones(data)):
        met = "" if target.met is None else "yes" if target.met else "no"
        print(f"| {target.name} | {target.aim} | {target.found} | {met} |", flush=True)


if __name__ == "__main__":
    main()
