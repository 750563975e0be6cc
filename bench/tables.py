"""The tables of the README and docs, each made again by one command; a stopped one goes on where it was.

    python bench/tables.py fedmosaic --out runs/tables             every switch of FedMosaic: docs/fedmosaic.md
    python bench/tables.py methods --out runs/tables --seeds 1,2,3     ten methods, mixed sizes: README
    python bench/tables.py homogeneous --out runs/tables           five methods, one backbone
    python bench/tables.py families --out runs/tables              five methods, two families
    python bench/tables.py faults --out runs/tables                faults of official codes: docs/reproduction.md

Options: [--seeds 1,2] [--only sft,ditto] [--jobs 2]. Rows are runs of preset mini, each with one thread, `--jobs` of
them side by side; a row that two tables share is run once. Nothing is tuned: every row has the preset's numbers but for
what its name says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drake import results
from drake.results import Results

Row = tuple[str, list[str]]
"""What the table says, and the options that make it."""


def of(method: str, *options: str) -> list[str]:
    return ["--method", method, *options]


METHODS: dict[str, Row] = {
    name: (title, of(name))
    for name, title in {
        "sft": "SFT", "fedit": "FedIT", "ditto": "DITTO", "feddat": "FedDAT", "perada": "PerAda", "fedsim": "FedSim",
        "feddpa": "FedDPA", "takfl": "TAKFL", "fedmkt": "FedMKT", "fedmosaic": "FedMosaic",
    }.items()
}  # fmt: skip
FIVE = ("sft", "ditto", "feddat", "perada", "fedmosaic")

TABLES: dict[str, dict[str, Row]] = {
    "fedmosaic": {
        "sft": METHODS["sft"],
        "fedmosaic": METHODS["fedmosaic"],
        "uniform": ("no RELA: all others weigh alike", of("fedmosaic", "--set", "aggregation=uniform")),
        "no-align": ("no alignment", of("fedmosaic", "--no-align")),
        "last-layer": ("no blocks: Co-LoRA on the last layer alone", of("fedmosaic", "--set", "num_blocks=1")),
        "homogeneous": ("no Co-LoRA: conventional LoRA among peers", of("fedmosaic", "--set", "num_blocks=0")),
        "fixed-gate": ("no gate: one half for ever", of("fedmosaic", "--set", "gate=fixed")),
        "input-gate": ("gate on the input", of("fedmosaic", "--set", "gate=input")),
        "two-blocks": ("2 blocks", of("fedmosaic", "--set", "num_blocks=2")),
        "temperature": ("temperature 0.1", of("fedmosaic", "--set", "temperature=0.1")),
        "all-rows": ("all rows of the gradient", of("fedmosaic", "--set", "kept=1")),
        "noise": ("noise 0.01", of("fedmosaic", "--set", "sigma=0.01")),
        "rank-4": ("rank 4", of("fedmosaic", "--rank", "4")),
        "rank-16": ("rank 16", of("fedmosaic", "--rank", "16")),
    },
    "methods": METHODS,
    "homogeneous": {
        f"{name}-m": (METHODS[name][0], [*METHODS[name][1], "--models", "tiny-llama-m"]) for name in FIVE
    },
    "families": {
        f"{name}-lmq": (METHODS[name][0], [*METHODS[name][1], "--models", "tiny-llama-s,tiny-llama-m,tiny-qwen-s"])
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
        "takfl-zero": ("TAKFL, task vectors of zeros", of("takfl", "--set", "zero_vectors=true")),
        "input-gate": ("FedMosaic, gate on the input", of("fedmosaic", "--set", "gate=input")),
        "official-gate": ("FedMosaic, the official gate on the input", of("fedmosaic", "--set", "gate=official")),
    },
}  # fmt: skip
"""Name of a table -> its rows by short name, which is also the name of the run's folder."""


def run(folder: Path, options: list[str], seeds: str) -> None:
    """One row, with one thread; its output goes to a file beside the run."""
    command = [*options, "--preset", "mini", "--seeds", seeds, "--threads", "1", "--out", str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("w") as log:
        call = [sys.executable, "-c", "from drake.cli import main; main()", "eval", *command]
        subprocess.run(call, stdout=log, stderr=log, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


def row(title: str, found: Results) -> str:
    """Means with standard errors in percent, and what a client sends per round in kB."""
    cells = []
    for key in ("self_last", "self_auc", "others_last", "others_auc"):
        estimate = found.summary["official"][key]
        error = "" if estimate.stderr is None else f" ± {100 * estimate.stderr:.2f}"
        cells.append(f"{100 * estimate.mean:.2f}{error}")
    sent = sum(t.bytes for run in found.runs for t in run.traffic if t.direction == "up")
    rounds = sum(len(run.train_loss) for run in found.runs) * len(found.clients)
    return f"| {title} | {' | '.join(cells)} | {sent / rounds / 1000:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--only", help="rows by short name, comma-separated")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    rows = TABLES[asked.table]
    out = asked.out / f"seeds-{asked.seeds}"
    chosen = {name: rows[name] for name in (asked.only.split(",") if asked.only else rows)}
    with ThreadPoolExecutor(asked.jobs) as pool:
        for name, (_, options) in chosen.items():
            pool.submit(run, out / name, options, asked.seeds)
    print("| | Self A_last | Self A_AUC | Others A_last | Others A_AUC | kB sent |\n|---|---:|---:|---:|---:|---:|")
    for name, (title, _) in chosen.items():
        if (out / name / "results.json").exists():
            print(row(title, results.load(out / name)))
        else:
            print(f"| {title} | see {out / name}.log | | | | |")


if __name__ == "__main__":
    main()
