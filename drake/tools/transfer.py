"""`drake transfer`: fine-tunes one client on one task and scores it on many. Shows which tasks help each other.

A row of the matrix is a training task, a column a test task. Every row is stored as soon as it is done, so a stopped
run continues with the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drake.common.files import replacing
from drake.config import Config, positive
from drake.data.benchmark import Benchmark
from drake.data.schedules import memory_batches
from drake.engines.tasks import Job, perform
from drake.engines.worker import Records, Worker
from drake.errors import UnknownName
from drake.federation import registry
from drake.federation.method import Architecture, Client, Federation, Method
from drake.models import backbones
from drake.runs.folder import claim
from drake.tools.zero_shot import Questions

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Transfer:
    """What to fine-tune and score. config: its method, first backbone and first seed. steps: optimizer steps on each
    training task. own: score each on itself alone."""

    config: Config
    method_class: type[Method]
    benchmark: Benchmark
    train_tasks: tuple[str, ...]
    test_tasks: tuple[str, ...]
    steps: int
    own: bool = False

    @property
    def model(self) -> str:
        """The backbone to fine-tune."""
        return self.config.models[0]

    @property
    def seed(self) -> int:
        """The seed of everything drawn at random."""
        return self.config.seeds[0]

    def run(self, out: Path, done: Callable[[str, dict[str, float]], None] = lambda row, scores: None) -> dict:
        """row -> test task -> official score, the first row being the bare backbone. Written to OUT/transfer.json."""
        backbone = backbones.load(self.model, **self.config.of_backbones)
        identity = self._identity(backbone.revision)
        claim(out, identity, "only-missing")
        tasks = dict.fromkeys((*self.test_tasks, *self.train_tasks))
        questions = Questions(self.benchmark, self.config, tasks)
        method = self.method_class(self.config.training, self.config.method_options)
        worker = Worker(method, lambda name: backbone, lambda client, round: self._steps(task))
        architecture = Architecture(self.model, backbone.family, backbone.num_layers)
        rows: dict[str, dict[str, float]] = {}
        for task in (ZERO_SHOT, *self.train_tasks):
            part = out / "rows" / f"{task}.json"
            if not part.exists():
                client = Client(0, self.model, (task,))
                federation = Federation(
                    (client,), {self.model: architecture}, self.seed, 1, self.config.training, worker.backbone, _none
                )
                if task == ZERO_SHOT:
                    model = backbone.model
                else:
                    worker.join(federation)
                    result = perform(Job(client, 0, worker.initial_state(client), None), worker)
                    model = worker.answer_as(client, result.state, None, 1)
                asked = (task,) if self.own and task != ZERO_SHOT else self.test_tasks
                scores = questions.scores(backbone, model, asked)
                with replacing(part) as temporary:
                    temporary.write_text(json.dumps(scores, indent=1) + "\n")
            rows[task] = json.loads(part.read_text())
            done(task, rows[task])
        with replacing(out / "transfer.json") as temporary:
            temporary.write_text(json.dumps({"config": identity, "scores": rows}, indent=1) + "\n")
        return rows

    def _steps(self, task: str) -> list[list[Records]]:
        table = self.benchmark.records(task, "train")
        training = self.config.training
        size = training.micro_batch * training.accumulation
        (drawn,) = memory_batches([range(len(table))], self.steps, size, self.seed, client=0)
        return [
            [
                [table[row] for row in batch[start : start + training.micro_batch]]
                for start in range(0, size, training.micro_batch)
            ]
            for batch in drawn
        ]

    def _identity(self, revision: str) -> dict[str, Any]:
        config = self.config
        return {
            "method": config.method,
            "options": dict(config.method_options),
            "model": self.model,
            "revision": revision,
            "preset": config.preset,
            **config.unusual_of_backbones,
            "training": asdict(config.training),
            "evaluation": asdict(config.evaluation),
            "fingerprint": self.benchmark.fingerprint,
            "train_tasks": list(self.train_tasks),
            "test_tasks": list(self.test_tasks),
            "steps": self.steps,
            "seed": self.seed,
            "own": self.own,
        }


def from_names(
    config: Config,
    benchmark: Benchmark,
    train: Sequence[str] | None,
    test: Sequence[str] | None,
    steps: int | None,
    own: bool,
) -> Transfer:
    """A Transfer from what a user names; None for all tasks. UnknownName for a task that is not there."""

    def tasks(named: Sequence[str] | None) -> tuple[str, ...]:
        names = tuple(benchmark.tasks) if named is None else tuple(named)
        for name in names:
            if name not in benchmark.tasks:
                raise UnknownName("task", name, list(benchmark.tasks))
        return names

    if steps is None:
        steps = round(config.training.steps * config.rounds_per_task)
    positive("--steps", steps)
    return Transfer(config, registry.find(config.method), benchmark, tasks(train), tasks(test), steps, own)


def _none(count: int, purpose: str) -> list:
    return []
