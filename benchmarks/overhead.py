"""What DRAKE costs beside the computing: its share of a run's time, and memory against the least there can be.

    python benchmarks/overhead.py [--methods sft,fedmosaic] [--rounds 2] [--steps 8] [--eval-records 2]

A federation of 10 clients of preset `mini` (its batches, adapters and data), serial, one thread, each run in
a process of its own. Time: `drake.runs.evaluate` from its first line to its last; forward and backward passes, the
optimizer (with clipping), `generate`, and the vision tower's pass over each distinct picture are wrapped with clocks;
what is outside of them is overhead: making batches, pictures from their bytes to pixels, aggregation, storing, scoring.
Memory: peak resident set of the process, less what it was after all imports and one small product. The run of 10
clients is set against a run of one client of each backbone plus the adapters of the other clients (state and download,
by the size of their tensors). Of each backbone the client with the largest micro-batch (in padded tokens) is taken,
because activations make the peak: with another the ratio would compare lengths of records, not numbers of clients. The
last column is what the cache of encoded pictures holds more for 10 clients.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import torch

import drake.results.plots
import drake.scoring.generation
from drake.common.threads import use_threads
from drake.config import configure
from drake.federation import registry
from drake.federation.checkpoint import Checkpoints
from drake.federation.method import Client
from drake.federation.state import Progress
from drake.models.backbones import Backbone
from drake.models.encoder import Encoder
from drake.runs import Setup, evaluate
from drake.runs.evaluation import Evaluation

COMPUTING = ("forward", "backward", "optimizer", "generation", "vision")
OTHER = ("batches", "pictures", "aggregation", "storing", "scoring")


class Clocks:
    """Seconds by kind of work. What runs inside computing is computing; otherwise the innermost kind counts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[list[Any]] = []

    def wrap(self, owner: Any, name: str, kind: str) -> None:
        """Count the calls of `owner.name` as `kind`, from now on."""
        setattr(owner, name, self._timed(getattr(owner, name), kind))

    def _timed(self, call: Callable, kind: str) -> Callable:
        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._open and self._open[-1][0] in COMPUTING:
                return call(*args, **kwargs)
            self._open.append([kind, 0.0])
            started = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent = time.perf_counter() - started
                self.seconds[kind] += spent - self._open.pop()[1]
                if self._open:
                    self._open[-1][1] += spent

        return timed


def watched(setup: Setup) -> Clocks:
    """Clocks on everything that a run of `setup` does."""
    clocks = Clocks()
    for backbone in setup.backbones.values():
        clocks.wrap(backbone.model.model, "forward", "forward")
        clocks.wrap(backbone.model.lm_head, "forward", "forward")
        clocks.wrap(backbone.model, "get_image_features", "vision")
    clocks.wrap(torch.nn.functional, "cross_entropy", "forward")
    clocks.wrap(torch.Tensor, "backward", "backward")
    clocks.wrap(torch.nn.utils, "clip_grad_norm_", "optimizer")
    clocks.wrap(torch.optim.AdamW, "step", "optimizer")
    clocks.wrap(torch.optim.AdamW, "zero_grad", "optimizer")
    clocks.wrap(drake.scoring.generation, "generate", "generation")
    clocks.wrap(Backbone, "batch", "batches")
    clocks.wrap(Encoder, "_encode", "pictures")
    clocks.wrap(setup.method_class, "aggregate", "aggregation")
    clocks.wrap(Checkpoints, "keep_client", "storing")
    clocks.wrap(Checkpoints, "keep_round", "storing")
    clocks.wrap(Evaluation, "_store", "storing")
    clocks.wrap(Evaluation, "seed_run", "scoring")
    return clocks


def megabytes() -> float:
    """The peak of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def with_largest_batches(setup: Setup) -> list[int]:
    """Of each backbone the client whose largest micro-batch in the run has the most tokens, padding included."""
    worker, tokens = setup.worker(setup.config.seeds[0]), dict.fromkeys(range(len(setup.clients)), 0)
    for client in setup.clients:
        length = worker.backbone(client.backbone).prompt_length
        for round in range(setup.rounds):
            for step in worker.plan(client.id, round):
                sizes = (len(micro_batch) * max(map(length, micro_batch)) for micro_batch in step)
                tokens[client.id] = max(tokens[client.id], *sizes)
    of = {name: [client.id for client in setup.clients if client.backbone == name] for name in setup.backbones}
    return [max(clients, key=tokens.__getitem__) for clients in of.values()]


def measure(asked: argparse.Namespace, method: str, kept: list[int]) -> dict[str, Any]:
    """Seconds of the run by kind of work, megabytes above the start, the megabytes of every client's adapters, and the
    clients `with_largest_batches`. kept: the clients of the run; none: all."""
    use_threads(1)
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))  # the libraries of matrix products are loaded before the start
    before = megabytes()
    numbers = {"steps": asked.steps, "eval_records": asked.eval_records, "max_new_tokens": asked.answer_tokens}
    numbers |= {"rounds": asked.rounds, "eval_every": asked.rounds, "device": "cpu"}
    setup = Setup(configure(method, "mini", models=asked.models, data=asked.data, **numbers))
    if kept:
        chosen = [setup.clients[number] for number in kept]
        setup.clients = tuple(Client(number, client.backbone, client.tasks) for number, client in enumerate(chosen))
        setup.assignment = replace(setup.assignment, models=tuple(client.backbone for client in setup.clients))
        setup.tasks = tuple(task for client in setup.clients for task in client.tasks)
    held: list[Progress] = []
    keep_round = Checkpoints.keep_round
    Checkpoints.keep_round = lambda self, progress: (held.append(progress), keep_round(self, progress))[1]
    clocks = watched(setup)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        evaluate(setup, Path(folder) / "run")
        seconds = time.perf_counter() - started
    memory = megabytes() - before
    last = held[-1]
    adapters = [
        sum(tensor.nbytes for tensor in state.values())
        + sum(tensor.nbytes for tensor in (last.downloads[i].tensors.values() if i in last.downloads else ()))
        for i, state in last.states.items()
    ]
    return {
        "wall": seconds,
        "seconds": clocks.seconds,
        "memory": memory,
        "start": before,
        "adapters": [size / 1e6 for size in adapters],
        "features": sum(backbone.cache.bytes for backbone in setup.backbones.values()) / 1e6,
        "with_largest_batches": [] if kept else with_largest_batches(setup),
    }


def one_run(method: str, kept: list[int]) -> dict[str, Any]:
    """What `measure` finds, in a process of its own with this one's arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", method, json.dumps(kept)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="sft,fedmosaic")
    parser.add_argument("--models", default="tiny-llama-s,tiny-llama-m")
    parser.add_argument("--data", help="a built dataset; default: the mini suite")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--eval-records", type=int, default=2)
    parser.add_argument("--answer-tokens", type=int, default=8)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # method and clients of one process
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked, asked.one[0], json.loads(asked.one[1]))))
        return
    found = {}
    for method in asked.methods.split(","):
        registry.check(method)
        found[method, "all"] = one_run(method, [])
        found[method, "one of each"] = one_run(method, found[method, "all"]["with_largest_batches"])
    print(f"| method | seconds | {' | '.join((*COMPUTING, *OTHER))} | rest | outside of computing |")
    print("|---|" + "---:|" * (len(COMPUTING) + len(OTHER) + 3))
    for (method, clients), row in found.items():
        if clients == "all":
            shares = {kind: row["seconds"].get(kind, 0.0) / row["wall"] for kind in (*COMPUTING, *OTHER)}
            outside = 1 - sum(shares[kind] for kind in COMPUTING)
            cells = [*shares.values(), 1 - sum(shares.values()), outside]
            print(f"| {method} | {row['wall']:.1f} | {' | '.join(f'{share:.1%}' for share in cells)} |")
    print()
    print("| method | at the start (MB) | 10 clients | one of each | adapters of the others | times | pictures |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for method in asked.methods.split(","):
        run, each = found[method, "all"], found[method, "one of each"]
        others = sum(run["adapters"]) - sum(each["adapters"])
        times = run["memory"] / (each["memory"] + others)
        cells = (run["start"], run["memory"], each["memory"], others)
        print(
            f"| {method} | {' | '.join(f'{cell:.0f}' for cell in cells)} | {times:.2f} | "
            f"{run['features'] - each['features']:.0f} |"
        )


if __name__ == "__main__":
    main()
