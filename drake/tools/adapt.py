"""`drake adapt`: how fast the clients' final models of a run learn tasks that nobody has trained on.

From what a client holds after the last round (its own state and its last download) it trains a further round on the
train records of one unseen task alone, as the method trains in any round, and answers the task's test records. Every
client, task and number of steps starts from the same point again. With 0 steps it answers as it is, as
`drake export` writes it.

All clients see the same records in the same order: those of the task, shuffled once by the seed, and again from the
first where they end, so that 10 steps are the beginning of 50. Steps are those of plain fine-tuning; a method whose
step costs more takes fewer, as in a run.

    OUT/answers/seed-0/steps-10/TASK/client-3.parquet     answers, in the form of predictions; `point` holds the steps
    OUT/adapt.json                                        the scores
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drake.common.files import replacing
from drake.common.seeds import derive
from drake.data.schedules import memory_batches
from drake.engines.serial import Engine, Shared
from drake.engines.tasks import Job, moved
from drake.engines.worker import Records, Worker
from drake.errors import DrakeError, UnknownName
from drake.federation.checkpoint import Checkpoints
from drake.federation.federation import Client
from drake.federation.messages import Download, State
from drake.models.prompts import gold_ids
from drake.runs.engines import Engines
from drake.runs.folder import checkpoint_folder, claim, read_identity
from drake.runs.setup import Setup
from drake.scoring.answers import PROTOCOLS, Protocol
from drake.scoring.generation import Answer, answers, batches
from drake.scoring.predictions import Prediction, read_predictions, write_predictions
from drake.scoring.scores import Question, answer_row, evaluated_questions, score_rows

FILE = "adapt.json"

Steps = list[list[Records]]
"""[step][micro-batch] of records."""


@dataclass(frozen=True)
class Adaptation:
    """scores: protocol -> [seeds, steps, clients, tasks], fractions. left_out: unseen tasks without train records."""

    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    clients: tuple[str, ...]
    tasks: tuple[str, ...]
    scores: dict[Protocol, NDArray[np.float64]]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adapting:
    """A client's training on a task and its answers to it, as a Task that returns Answers.

    train: the batches; None to answer without training. groups: the places (task, row) of the test records, by batch.
    """

    client: Client
    state: State
    download: Download | None
    rounds_done: int
    train: Shared[Steps] | None
    groups: tuple[tuple[tuple[str, int], ...], ...]
    max_new_tokens: int
    weight: float

    @property
    def backbone(self) -> str:
        return self.client.backbone

    @property
    def label(self) -> str:
        return f"adaptation of client {self.client.id}"

    def __call__(self, worker: Worker) -> list[Answer]:
        backbone, record, state = worker.backbone(self.backbone), worker.record, self.state
        assert record is not None  # workers of a run have one
        if self.train is not None:
            job = Job(self.client, self.rounds_done, self.state, self.download)
            state = job.train_on(worker, self.train.get()).state
        mine = moved(state, backbone.device), moved(self.download, backbone.device)
        groups = ([record(*place) for place in group] for group in self.groups)
        trained = self.train is not None
        ready = {self.client.id: lambda: worker.answer_as(self.client, *mine, self.rounds_done, trained)}
        return list(answers(backbone, ready, groups, self.max_new_tokens))


def adapt(
    setup: Setup,
    run: Path,
    out: Path,
    steps: Sequence[int],
    engines: Engines,
    only: Sequence[str] | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Adaptation:
    """Adapt every final model of the run in the folder `run` to every unseen task; a stopped call continues.

    setup: of the run's Config. steps: numbers of optimizer steps, 0 for none. only: some of the tasks. told: called
    with how many parts of how many are done. Raises DrakeError for a run of other data or weights, one that is not
    over, and a dataset without unseen tasks that could be trained on.
    """
    wanted = tuple(sorted(set(steps)))
    known = setup.benchmark.unseen if only is None else tuple(only)
    for task in known:
        if task not in setup.benchmark.unseen:
            raise UnknownName("unseen task", task, list(setup.benchmark.unseen))
    tasks = tuple(task for task in known if setup.benchmark.tasks[task].train)
    if not tasks:
        raise DrakeError(f"the dataset {setup.benchmark.name} has no unseen task with train records to adapt to.")
    _check_same(setup, run)
    claim(out, {"adapted": read_identity(run), "records": setup.unseen_records}, "only-missing")
    seeds = tuple(setup.config.seeds)
    questions = evaluated_questions(setup.benchmark, tasks, setup.unseen_records, setup.config.evaluation.sample)
    by_id = {id: question for of_task in questions.values() for id, question in of_task.items()}
    total, done = len(seeds) * len(wanted) * len(setup.clients) * len(tasks), 0
    shape = (len(seeds), len(wanted), len(setup.clients), len(tasks))
    scores: dict[Protocol, NDArray[np.float64]] = {protocol: np.full(shape, np.nan) for protocol in PROTOCOLS}
    for s, seed in enumerate(seeds):
        job = _OfSeed(setup, run, out, seed, engines, by_id)
        for n, count in enumerate(wanted):
            for k, task in enumerate(tasks):
                found = score_rows(job.rows(count, task), by_id)
                done += len(setup.clients)
                told(done, total)
                for client in setup.clients:
                    for protocol in PROTOCOLS:
                        scores[protocol][s, n, client.id, k] = getattr(found[client.id, task], protocol)
    models = tuple(f"{client.id} ({client.backbone})" for client in setup.clients)
    left_out = tuple(task for task in known if task not in tasks)
    return Adaptation(seeds, wanted, models, tasks, scores, left_out)


class _OfSeed:
    """The final models of one seed. Its engine is opened when the first part is missing."""

    def __init__(
        self, setup: Setup, run: Path, out: Path, seed: int, engines: Engines, questions: dict[str, Question]
    ) -> None:
        self._setup, self._run, self._out, self._seed = setup, run, out, seed
        self._engines, self._questions = engines, questions
        self._engine: Engine | None = None

    def rows(self, steps: int, task: str) -> list[Prediction]:
        """Every client's answers to the task after so many steps, answered where they are not stored yet."""
        folder = self._out / "answers" / f"seed-{self._seed}" / f"steps-{steps}" / task
        paths = {client.id: folder / f"client-{client.id}.parquet" for client in self._setup.clients}
        pending = [client for client in self._setup.clients if not paths[client.id].exists()]
        if pending:
            engine = self._opened()
            train = None if steps == 0 else engine.share(self._train(task, steps))
            jobs = [self._job(client, task, steps, train) for client in pending]
            for index, found in engine.run(jobs):
                client = pending[index]
                tokenizer = self._setup.backbones[client.backbone].tokenizer
                write_predictions(paths[client.id], [self._row(answer, tokenizer, steps) for answer in found])
        return [row for path in paths.values() for row in read_predictions(path)]

    def _opened(self) -> Engine:
        if self._engine is None:
            setup = self._setup
            engine = self._engines.of_seed(self._seed)
            self._progress = Checkpoints(checkpoint_folder(self._run, self._seed), setup.resident).load()
            if self._progress.rounds_done < setup.rounds:
                raise DrakeError(
                    f"{self._run} keeps no state after round {setup.rounds} with seed {self._seed}: the run is not "
                    "over, or its checkpoints were deleted; finish it with drake eval --resume."
                )
            for client in setup.clients:  # of one that never took part
                if client.id not in self._progress.states:
                    self._progress.states[client.id] = engine.worker.initial_state(client)
            self._engine = engine
        return self._engine

    def _train(self, task: str, steps: int) -> Steps:
        setup, training = self._setup, self._setup.config.training
        table = setup.benchmark.rows(task, "train")
        order = np.random.default_rng(derive(self._seed, "adaptation", task)).permutation(len(table)).tolist()
        size = training.micro_batch * training.accumulation
        count = max(1, int(steps / setup.method().relative_cost + 1e-9))
        (drawn,) = memory_batches([order], count, size, self._seed, 0, stream_only=True)
        starts = range(0, size, training.micro_batch)
        return [
            [[table[row] for row in batch[start : start + training.micro_batch]] for start in starts] for batch in drawn
        ]

    def _job(self, client: Client, task: str, steps: int, train: Shared[Steps] | None) -> Adapting:
        setup, progress = self._setup, self._progress
        backbone = setup.backbones[client.backbone]
        places = setup.test_rows(task)
        lengths = [backbone.prompt_length(setup.test_record(*place)) for place in places]
        groups = batches(lengths, setup.eval_tokens[client.backbone])
        return Adapting(
            client=client,
            state=progress.states[client.id],
            download=progress.downloads.get(client.id),
            rounds_done=progress.rounds_done,
            train=train,
            groups=tuple(tuple(places[place] for place in group) for group in groups),
            max_new_tokens=setup.config.evaluation.max_new_tokens,
            weight=(steps + len(places)) * backbone.num_layers,
        )

    def _row(self, answer: Answer, tokenizer: Any, steps: int) -> Prediction:
        question = self._questions[answer.record]
        gold = gold_ids(tokenizer, question.answer) if question.open_ended else None
        done = self._progress.rounds_done
        return answer_row(steps, done, answer.client, answer.record, answer.text, question, answer.token_ids, gold)


def _check_same(setup: Setup, run: Path) -> None:
    """DrakeError unless the run was made with these weights and records."""
    then, now = read_identity(run), setup.identity()
    if then.get("revisions") != now["revisions"]:
        raise DrakeError(f"{run} was made with other weights of {', '.join(setup.backbones)}; restore them.")
    if then.get("data", {}).get("fingerprint") != now["data"]["fingerprint"]:
        raise DrakeError(f"{run} was made with other data than {setup.benchmark.name}; restore the dataset.")


def store(found: Adaptation, path: Path) -> None:
    """All scores as JSON."""
    about = {
        "unit": "fractions; [seed][steps][client][task]",
        "seeds": list(found.seeds),
        "steps": list(found.steps),
        "clients": list(found.clients),
        "tasks": list(found.tasks),
        "left_out": list(found.left_out),
        "scores": {protocol: values.tolist() for protocol, values in found.scores.items()},
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")
