"""FedMosaic on the mini suite with each of its parts switched off or turned: the table of docs/fedmosaic.md.

    python bench/ablation.py --out runs/ablation [--seeds 1,2] [--only fedmosaic,no-align] [--jobs 2]

Runs `drake eval` for every row that is not complete yet (a stopped one goes on) and prints the table of those that are.
Nothing is tuned: every row has the preset's numbers but for what its name says.
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

ROWS: dict[str, tuple[str, list[str]]] = {
    "sft": ("SFT", ["--method", "sft"]),
    "fedmosaic": ("FedMosaic", []),
    "uniform": ("no RELA: all others weigh alike", ["--set", "aggregation=uniform"]),
    "no-align": ("no alignment", ["--no-align"]),
    "last-layer": ("no blocks: Co-LoRA on the last layer alone", ["--set", "num_blocks=1"]),
    "homogeneous": ("no Co-LoRA: conventional LoRA among peers", ["--set", "num_blocks=0"]),
    "fixed-gate": ("no gate: one half for ever", ["--set", "gate=fixed"]),
    "input-gate": ("gate on the input", ["--set", "gate=input"]),
    "two-blocks": ("2 blocks", ["--set", "num_blocks=2"]),
    "temperature": ("temperature 0.1", ["--set", "temperature=0.1"]),
    "all-rows": ("all rows of the gradient", ["--set", "kept=1"]),
    "noise": ("noise 0.01", ["--set", "sigma=0.01"]),
    "rank-4": ("rank 4", ["--rank", "4"]),
    "rank-16": ("rank 16", ["--rank", "16"]),
}
"""Short name -> what the table says, and the options that make it."""


def run(folder: Path, options: list[str], seeds: str) -> None:
    """One row, with one thread; its output goes to a file beside the run."""
    method = [] if "--method" in options else ["--method", "fedmosaic"]
    command = [*method, *options, "--preset", "mini", "--seeds", seeds, "--threads", "1", "--out", str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("w") as log:
        call = [sys.executable, "-c", "from drake.cli import main; main()", "eval", *command]
        subprocess.run(call, stdout=log, stderr=log, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


def row(name: str, found: Results) -> str:
    """Means with standard errors in percent, and what a client sends per round in kB."""
    cells = []
    for key in ("self_last", "self_auc", "others_last", "others_auc"):
        estimate = found.summary["official"][key]
        error = "" if estimate.stderr is None else f" ± {100 * estimate.stderr:.2f}"
        cells.append(f"{100 * estimate.mean:.2f}{error}")
    sent = sum(t.bytes for run in found.runs for t in run.traffic if t.direction == "up")
    rounds = sum(len(run.train_loss) for run in found.runs) * len(found.clients)
    return f"| {name} | {' | '.join(cells)} | {sent / rounds / 1000:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    chosen = {name: ROWS[name] for name in asked.only.split(",")}
    with ThreadPoolExecutor(asked.jobs) as pool:
        for name, (_, options) in chosen.items():
            pool.submit(run, asked.out / name, options, asked.seeds)
    print("| | Self A_last | Self A_AUC | Others A_last | Others A_AUC | kB sent |\n|---|---:|---:|---:|---:|---:|")
    for name, (title, _) in chosen.items():
        if (asked.out / name / "results.json").exists():
            print(row(title, results.load(asked.out / name)))
        else:
            print(f"| {title} | see {asked.out / name}.log | | | | |")


if __name__ == "__main__":
    main()
