"""The tables of the pages, each made again by one command; a stopped one continues where it stopped.

    python experiments/tables.py fedmosaic --out runs/tables   every switch of FedMosaic: docs/fedmosaic.md
    python experiments/tables.py methods --out runs/tables --seeds 1,2,3  ten methods, mixed sizes: docs/results-mini.md
    python experiments/tables.py homogeneous --out runs/tables   five methods, one backbone: docs/results-mini.md
    python experiments/tables.py families --out runs/tables   five methods, two families: docs/results-mini.md
    python experiments/tables.py faults --out runs/tables   faults of the official code: docs/reproduction.md

Options: [--seeds 1,2] [--only sft,ditto] [--jobs 2]. Rows are runs of preset mini, each with one thread, `--jobs` of
them side by side; a row that two tables share is run once, and where one of them asks for more seeds, those alone are
added. Every row has the preset's numbers but for what its name says, and is evaluated as the official code does, after
local training; the runs of `methods` are evaluated after the aggregation too. The first row is what the bare backbones
answer, from the runs of the other rows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drake_leaderboard.columns import percent

from drake import results
from drake.results import Estimate, Results, SeedRun

LAST = ("self_last", "others_last")

Row = tuple[str, list[str]]
"""The row's title in the table, and the options of `drake eval` that make it."""


def of(method: str, *options: str) -> list[str]:
    return ["--method", method, *options]


METHODS: dict[str, Row] = {
    name: (title, of(name, "--also-aggregated"))
    for name, title in {
        "joint": "joint, on the records of all", "sft": "SFT", "fedit": "FedIT", "ditto": "DITTO", "feddat": "FedDAT",
        "perada": "PerAda", "fedsim": "FedSim", "feddpa": "FedDPA", "takfl": "TAKFL", "fedmkt": "FedMKT",
        "fedmosaic": "FedMosaic",
    }.items()
}  # fmt: skip
FIVE = ("sft", "ditto", "feddat", "perada", "fedmosaic")

TABLES: dict[str, dict[str, Row]] = {
    "fedmosaic": {
        "sft": METHODS["sft"],
        "fedmosaic": METHODS["fedmosaic"],
        "uniform": ("no RELA: all others weigh alike", of("fedmosaic", "--set", "aggregation=uniform")),
        "no-align": ("no alignment", of("fedmosaic", "--set", "align=false")),
        "last-layer": ("no blocks: Co-LoRA on the last layer alone", of("fedmosaic", "--set", "num_blocks=1")),
        "homogeneous": ("no Co-LoRA: conventional LoRA among peers", of("fedmosaic", "--set", "num_blocks=0")),
        "fixed-gate": ("no gate: one half for ever", of("fedmosaic", "--set", "gate=fixed")),
        "scalar-gate": ("one scalar gate per layer", of("fedmosaic", "--set", "gate=scalar")),
        "two-blocks": ("2 blocks", of("fedmosaic", "--set", "num_blocks=2")),
        "temperature": ("temperature 0.1", of("fedmosaic", "--set", "temperature=0.1")),
        "all-rows": ("all rows of the gradient", of("fedmosaic", "--set", "kept=1")),
        "noise": ("noise 0.01", of("fedmosaic", "--set", "sigma=0.01")),
        "rank-4": ("rank 4, scale as before", of("fedmosaic", "--rank", "4", "--set", "training.alpha=8")),
        "rank-16": ("rank 16, scale as before", of("fedmosaic", "--rank", "16", "--set", "training.alpha=32")),
        "sft-half": ("SFT with its adapters at half the scale", of("sft", "--set", "training.alpha=8")),
    },
    "methods": METHODS,
    "homogeneous": {
        f"{name}-m": (METHODS[name][0], of(name, "--models", "tiny-llama-m")) for name in FIVE
    },
    "families": {
        f"{name}-lmq": (METHODS[name][0], of(name, "--models", "tiny-llama-s,tiny-llama-m,tiny-qwen-s"))
        for name in FIVE
    },
    "faults": {
        **{name: METHODS[name] for name in ("ditto", "perada", "fedsim", "feddpa", "takfl", "fedmosaic")},
        **{
            f"{name}-averaged": (
                f"{METHODS[name][0]}, personal adapters averaged", of(name, "--set", "average_personal=true")
            )
            for name in ("ditto", "perada", "fedsim", "feddpa")
        },
        "feddpa-official": (
            "FedDPA, weighed by the question (no fault)", of("feddpa", "--set", "feddpa.preset=official")
        ),
        "takfl-zero": ("TAKFL, task vectors of zeros", of("takfl", "--set", "zero_vectors=true")),
        "scalar-gate": ("one scalar gate per layer", of("fedmosaic", "--set", "gate=scalar")),
        "official-gate": ("FedMosaic, the official gate on the input", of("fedmosaic", "--set", "gate=official")),
    },
}  # fmt: skip
"""Name of a table -> its rows by short name, which is also the name of the run's folder."""


def run(folder: Path, options: list[str], seeds: tuple[int, ...]) -> None:
    """One row, with one thread; its output goes to a file beside the run. A run that has these seeds stays as it is."""
    if finished(folder, seeds):
        return
    listed = ",".join(map(str, seeds))
    command = [*options, "--preset", "mini", "--seeds", listed, "--threads", "1", "--out", str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("w") as log:
        call = [sys.executable, "-c", "from drake.cli import main; main()", "eval", *command]
        subprocess.run(call, stdout=log, stderr=log, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finished(folder: Path, seeds: tuple[int, ...]) -> Results | None:
    """The complete run in the folder, if it has these seeds."""
    if not (folder / results.FILE).exists():
        return None
    found = results.load(folder)
    return found if found.status == "complete" and {run.seed for run in found.runs} >= set(seeds) else None


def row(title: str, found: Results, seeds: tuple[int, ...]) -> str:
    """Means with standard errors in percent, what a client sends per round in kB, and what a seed took: operations of
    local training and seconds of aggregation."""
    runs = [run for run in found.runs if run.seed in seeds]
    summary = results.aggregate(runs)["official"]
    cells = [percent(summary[key]) for key in ("self_last", "self_auc", "others_last", "others_auc")]
    cells += [percent(score) for score in after_aggregation(runs)]
    sent = sum(t.bytes for run in runs for t in run.traffic if t.direction == "up")
    cells.append(f"{sent / (len(runs) * len(runs[0].train_loss) * len(found.clients)) / 1000:.0f}")
    cells.append(of_all(runs, lambda run: run.flops, lambda mean: f"{mean / 1e12:.2f}"))
    cells.append(of_all(runs, lambda run: run.seconds_aggregation, lambda mean: f"{mean:.0f}"))
    return f"| {title} | {' | '.join(cells)} |"


def after_aggregation(runs: list[SeedRun]) -> list[Estimate]:
    """Self and Others A_last of the clients after the aggregation; unknown where a run did not score them."""
    second = [run.aggregated.summary["official"] for run in runs if run.aggregated is not None]
    known = [[getattr(s, key) for s in second] if len(second) == len(runs) else [] for key in LAST]
    return [results.estimate(values) for values in known]


def zero_shot(found: Results, seeds: tuple[int, ...]) -> str:
    """The row of the bare backbones: their scores at every point, on the tasks that had begun by then."""
    runs: list[SeedRun] = []
    for run in found.runs:
        if run.seed in seeds and run.zero_shot is not None:
            scores = {protocol: [matrix] * len(run.rounds) for protocol, matrix in run.zero_shot.items()}
            bare = run.model_copy(update={"scores": scores})
            summary = {name: results.seed_summary(results.score_table(bare, name, found.clients)) for name in scores}
            runs.append(bare.model_copy(update={"summary": summary}))
    if not runs:
        return "| zero-shot |" + " |" * 9
    summary = results.aggregate(runs)["official"]
    cells = [percent(summary[key]) for key in ("self_last", "self_auc", "others_last", "others_auc")]
    return f"| zero-shot | {' | '.join(cells)} | | | | | |"


def of_all(runs: list[SeedRun], value: Callable[[SeedRun], float | None], cell: Callable[[float], str]) -> str:
    """The mean over the runs; "" where a run has no such value."""
    known = [found for found in map(value, runs) if found is not None]
    return cell(sum(known) / len(known)) if len(known) == len(runs) else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--only", help="rows by short name, comma-separated")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    rows = TABLES[asked.table]
    seeds = tuple(map(int, asked.seeds.split(",")))
    out = asked.out
    chosen = {name: rows[name] for name in (asked.only.split(",") if asked.only else rows)}
    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(lambda name: run(out / name, chosen[name][1], seeds), chosen))  # raises what a row raised
    missing = False
    print(
        "| | Self A_last | Self A_AUC | Others A_last | Others A_AUC | Self A_last, aggregated "
        "| Others A_last, aggregated | kB sent | TFLOP | s aggregation |"
    )
    print("|---|" + "---:|" * 9)
    complete = [found for name in chosen if (found := finished(out / name, seeds))]
    if complete:
        print(zero_shot(complete[0], seeds))
    for name, (title, _) in chosen.items():
        if found := finished(out / name, seeds):
            print(row(title, found, seeds))
        else:
            print(f"| {title} | see {out / name}.log |" + " |" * 8)
            missing = True
    sys.exit(missing)


if __name__ == "__main__":
    main()
