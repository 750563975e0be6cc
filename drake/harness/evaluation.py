"""Evaluation points: every client answers, the answers are stored, and the scores are read back from what is stored."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from drake.backbones import Backbone
from drake.federation import adapters
from drake.federation.checkpoint import Progress
from drake.federation.engine import Records, Worker
from drake.federation.method import Client
from drake.predictions import Prediction, prediction_path, read_predictions, write_predictions
from drake.prompts import gold_ids
from drake.results import ClientInfo, SeedRun, Traffic, score_table, seed_summary
from drake.scoring.answers import PROTOCOLS
from drake.scoring.evaluate import answers, batches
from drake.scoring.rescore import TaskScore, answer_row, evaluated_questions, score_matrix, score_rows, unparsed_rate

from .folder import checkpoint_folder, observed_path
from .setup import Setup

PART = 16
"""Batches whose answers are stored together."""

Answering = Mapping[int, Callable[[], nn.Module]]
"""Client number -> make its backbone's model answer as this client, and return it."""


class Evaluation:
    """Scores the federation of one seed. Point 0 is before training."""

    def __init__(self, setup: Setup, folder: Path, seed: int, batch_done: Callable[[int], None]) -> None:
        self.setup, self.folder, self.seed, self._batch_done = setup, folder, seed, batch_done
        limit = setup.preset.eval_records
        by_task = evaluated_questions(setup.benchmark, setup.tasks, limit)
        self._questions = {id: question for of_task in by_task.values() for id, question in of_task.items()}

    def zero_shot(self) -> None:
        """The bare backbones' answers to every task, once each; clients of one backbone share them."""
        rows: list[Prediction] = []
        for name, backbone in self.setup.backbones.items():
            adapters.activate(backbone.model)
            mine = [client.id for client in self.setup.clients if client.backbone == name]
            first = self._answers(backbone, {mine[0]: lambda model=backbone.model: model}, self.setup.tasks, 0, 0)
            for row in first:
                rows += [row._replace(client=client) for client in mine]
        self._store(rows, 0)

    def point(self, round: int, worker: Worker, progress: Progress) -> None:
        """Every client's answers to all tasks that have begun after `round` rounds."""
        rows: list[Prediction] = []
        for name in self.setup.architectures:
            mine = [client for client in self.setup.clients if client.backbone == name]
            ready = {client.id: _as_client(worker, client, progress) for client in mine}
            number = self.setup.evaluation_rounds.index(round) + 1
            rows += self._answers(worker.backbone(name), ready, self.setup.begun(round), number, round)
        self._store(rows, self.setup.evaluation_rounds.index(round) + 1)

    def answer_count(self, round: int) -> int:
        """How many answers the point after `round` rounds generates; round 0 is zero-shot."""
        tasks = self.setup.begun(round) if round else self.setup.tasks
        answering = len(self.setup.clients) if round else len(self.setup.backbones)
        wanted = set(tasks)
        return answering * sum(question.task in wanted for question in self._questions.values())

    def seed_run(self, progress: Progress, points: Sequence[int]) -> SeedRun:
        """What the stored predictions of the first points say; `points` are their rounds."""
        setup = self.setup
        found = [self._scores(number) for number in range(1, len(points) + 1)]
        zero = self._scores(0)
        scores = {p: [self._matrix(point, p) for point in found] for p in PROTOCOLS}
        begun = [setup.begun(round) for round in points]
        run = SeedRun(
            seed=self.seed,
            rounds=list(points),
            tasks=list(setup.tasks),
            begun=begun,
            scores=scores,
            zero_shot={p: self._matrix(zero, p) for p in PROTOCOLS},
            unparsed=unparsed_rate(score for point in found for score in point.values()),
            summary={},
            traffic=[
                Traffic(round=row.round + 1, client=row.client, direction=row.direction, kind=row.kind, bytes=row.bytes)
                for row in progress.ledger
            ],
            seconds_train=progress.seconds_train,
            seconds_eval=progress.seconds_eval,
            train_loss=[[row.get(client.id) for client in setup.clients] for row in progress.losses],
            relevance=self._relevance(len(progress.losses)),
        )
        clients = [ClientInfo(id=c.id, model=c.backbone, tasks=list(c.tasks)) for c in setup.clients]
        summary = {p: seed_summary(score_table(run, p, clients)) for p in PROTOCOLS}
        return run.model_copy(update={"summary": summary})

    def _answers(
        self, backbone: Backbone, ready: Answering, tasks: Sequence[str], point: int, round: int
    ) -> list[Prediction]:
        """Rows in no particular order. Every PART batches are stored, and not answered again after a stop."""
        records = [record for task in tasks for record in self.setup.test_records(task)]
        groups = list(batches(backbone, records, self.setup.preset.eval_tokens))
        place = self._parts(point) / f"{list(self.setup.backbones).index(backbone.name)}"
        rows: list[Prediction] = []
        for start in range(0, len(groups), PART):
            part, path = groups[start : start + PART], place / f"{start // PART}.parquet"
            if path.exists():
                self._batch_done(len(ready) * sum(map(len, part)))
            else:
                write_predictions(path, self._part(backbone, ready, part, point, round))
            rows += read_predictions(path)
        return rows

    def _part(
        self, backbone: Backbone, ready: Answering, groups: Sequence[Records], point: int, round: int
    ) -> Iterator[Prediction]:
        for answer in answers(
            backbone, ready, groups, max_new_tokens=self.setup.preset.max_new_tokens, batch_done=self._batch_done
        ):
            id = answer.record["id"]
            question = self._questions[id]
            gold = gold_ids(backbone.tokenizer, question.answer) if question.open_ended else None
            yield answer_row(point, round, answer.client, id, answer.text, question, answer.token_ids, gold)

    def _parts(self, point: int) -> Path:
        return checkpoint_folder(self.folder, self.seed) / f"point-{point}"

    def _store(self, rows: list[Prediction], point: int) -> None:
        column = {task: number for number, task in enumerate(self.setup.tasks)}
        rows.sort(key=lambda row: (row.client, column[row.task], row.id))
        write_predictions(prediction_path(self.folder, self.seed, point), rows)
        shutil.rmtree(self._parts(point), ignore_errors=True)

    def _scores(self, point: int) -> dict[tuple[int, str], TaskScore]:
        return score_rows(read_predictions(prediction_path(self.folder, self.seed, point)), self._questions)

    def _matrix(self, scores: Mapping[tuple[int, str], TaskScore], protocol: str) -> list[list[float | None]]:
        return score_matrix(scores, len(self.setup.clients), self.setup.tasks, protocol)

    def _relevance(self, rounds: int) -> list[list[list[float | None]] | None] | None:
        paths = [observed_path(self.folder, self.seed, round) for round in range(1, rounds + 1)]
        found = [load_file(path).get("relevance") if path.exists() else None for path in paths]
        if all(matrix is None for matrix in found):
            return None
        return [
            None
            if matrix is None
            else [[None if value != value else value for value in row] for row in matrix.tolist()]
            for matrix in found
        ]


def _as_client(worker: Worker, client: Client, progress: Progress) -> Callable[[], nn.Module]:
    def ready() -> nn.Module:
        model = worker.model(client)
        worker.method.for_inference(model, progress.states[client.id], progress.downloads.get(client.id))
        return model

    return ready
