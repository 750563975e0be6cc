"""Time and memory of a federation against the number of its clients: one round of one step, and one evaluation.

    python benchmarks/clients.py [--method fedmosaic] [--most 100] [--out docs/benchmarks/clients]

Every size runs in a process of its own, on the two backbones of benchmarks/federation.py; each client answers 8
records.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from federation import SHAPES, make_record
from federation import federation as two_backbones

from drake.common.threads import use_threads
from drake.config import preset
from drake.engines.serial import Serial, Shared
from drake.engines.worker import Worker
from drake.federation import registry
from drake.federation.callbacks import Callback, RoundContext, RunContext
from drake.federation.loop import run_rounds
from drake.federation.measurements import measurements
from drake.federation.method import Architecture, Client, Federation
from drake.runs.answering import Answerer, Answering

ROUNDS, ANSWERED = 2, 8


def measure(method_name: str, count: int, folder: Path) -> dict[str, float]:
    """Seconds of the second round and of one evaluation, and peak memory in MB."""
    use_threads(1)
    found, _ = two_backbones(folder, checkpointing=False)
    clients = tuple(Client(i, list(SHAPES)[i % 2], (f"task-{i % 10}",)) for i in range(count))
    records = {f"task-{k}": [make_record(f"task-{k}", "train", row, 53) for row in range(ANSWERED)] for k in range(10)}
    training = replace(preset("mini").training, rank=8, alpha=16, micro_batch=4, accumulation=1, steps=1)
    method = registry.find(method_name)(training)
    worker = Worker(
        method,
        found.__getitem__,
        lambda client, round: [[records[clients[client].tasks[0]][:4]]],
        lambda task, row: records[task][row],
    )
    architectures = {name: Architecture(name, "llama", SHAPES[name][0]) for name in found}
    public: list[Mapping[str, Any]] = [record for mine in records.values() for record in mine]
    facts = (clients, architectures, 0, ROUNDS, training, worker.backbone)
    worker.join(Federation(*facts, lambda count, purpose: public[:count]))
    ends: list[float] = []

    class Ends(Callback):
        def round_finished(self, round: RoundContext) -> None:
            ends.append(time.perf_counter())

    progress = run_rounds(Serial(worker), RunContext(worker.federation, method), [*measurements(), Ends()])
    started = time.perf_counter()
    for size in SHAPES:
        mine = [c for c in clients if c.backbone == size]
        held = {c.id: Answerer(c, progress.states[c.id], progress.downloads.get(c.id)) for c in mine}
        groups = (tuple(("task-0", row) for row in range(ANSWERED)),)
        assert len(Answering(size, Shared(held), groups, 8, 1.0)(worker)) == ANSWERED * len(mine)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"round": ends[1] - ends[0], "evaluation": time.perf_counter() - started, "memory": megabytes}


def picture(figures: dict[int, dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    from drake.results.plots import COLUMN_WIDTH

    figure = Figure(figsize=(2 * COLUMN_WIDTH, 2.4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    counts = list(figures)
    for name, marker in (("round", "o"), ("evaluation", "s")):
        seconds.plot(counts, [figures[n][name] for n in counts], marker=marker, label=name)
    seconds.legend(frameon=False)
    seconds.set(xlabel="clients", ylabel="seconds", ylim=(0, None))
    memory.plot(counts, [figures[n]["memory"] for n in counts], marker="o", color="black")
    memory.set(xlabel="clients", ylabel="peak memory (MB)", ylim=(0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="fedmosaic")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/clients"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # clients, folder: what the processes are called with
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.method, int(asked.one[0]), Path(asked.one[1]))))
        return
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        two_backbones(Path(folder), checkpointing=False)
        for count in (asked.most // 10, asked.most // 4, asked.most // 2, asked.most):
            command = [sys.executable, __file__, "--method", asked.method, "--one", str(count), folder]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            figures[count] = json.loads(out.splitlines()[-1])
    print("| clients | s per round | s per evaluation | peak memory (MB) |\n|---:|---:|---:|---:|")
    for count, row in figures.items():
        print(f"| {count} | {row['round']:.2f} | {row['evaluation']:.2f} | {row['memory']:.0f} |")
    picture(figures, asked.out)


if __name__ == "__main__":
    main()
