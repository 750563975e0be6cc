"""What measuring relevance costs: the share of a client's round of FedMosaic that goes into looking at the gradient of
the anchor, choosing its rows and adding noise, on the federation of benchmarks/federation.py (10 iterations of 4
records, one look).

    python benchmarks/relevance.py [--repeat 5]

Timed inside the rounds, with wrappers around these functions; printed is the median.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from drake_methods import fedmosaic, rela
from federation import BATCH, ITERATIONS, SHAPES, make_record
from federation import federation as two_backbones

from drake.common.threads import use_threads
from drake.config import preset
from drake.engines.tasks import Job, perform
from drake.engines.worker import Worker
from drake.federation.method import Architecture, Federation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    use_threads(1)
    spent = [0.0]

    def timed(call: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = call(*arguments)
            spent[0] += time.perf_counter() - started
            return result

        return wrapped

    task_relevance = timed(rela.task_relevance)
    rela.Probes.take = timed(rela.Probes.take)
    setattr(fedmosaic, "sanitise", timed(rela.sanitise))  # noqa: B010

    with tempfile.TemporaryDirectory() as folder:
        found, clients = two_backbones(Path(folder), checkpointing=False)
        tasks = {client.id: client.tasks[0] for client in clients}
        size = BATCH * ITERATIONS
        records = {task: [make_record(task, "train", row, 53) for row in range(size)] for task in tasks.values()}
        training = replace(
            preset("mini").training,
            rank=8,
            alpha=16,
            learning_rate=1e-4,
            micro_batch=BATCH,
            accumulation=1,
            steps=ITERATIONS,
        )
        public: list[Mapping[str, Any]] = [record for mine in records.values() for record in mine]
        worker = Worker(
            fedmosaic.FedMosaic(training, {"align_records": "20"}),
            found.__getitem__,
            lambda client, round: [[records[tasks[client]][BATCH * k : BATCH * (k + 1)]] for k in range(ITERATIONS)],
        )
        architectures = {name: Architecture(name, "llama", SHAPES[name][0]) for name in found}
        facts = (clients, architectures, 0, 1, training, worker.backbone)
        worker.join(Federation(*facts, lambda count, purpose: public[:count]))
        print("| backbone | seconds of a round | of them for relevance | share |\n|---|---:|---:|---:|")
        for client in clients[:2]:
            state, rounds = worker.initial_state(client), []
            for repetition in range(asked.repeat + 1):
                spent[0], started = 0.0, time.perf_counter()
                result = perform(Job(client, repetition, state, None), worker)
                gradient = result.upload.tensors["gradient"]
                task_relevance([gradient] * 10)  # the server's part of ten clients, counted for one
                rounds.append((time.perf_counter() - started, spent[0]))
                state = result.state
            whole, relevance = (median(values) for values in zip(*rounds[1:], strict=True))
            print(f"| {client.backbone} | {whole:.3f} | {relevance:.4f} | {100 * relevance / whole:.1f}% |")


if __name__ == "__main__":
    main()
