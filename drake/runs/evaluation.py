"""Evaluation points: every client answers, the answers are stored, and the scores are read back from what is stored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from drake.common.outside import check_regular
from drake.engines.serial import Engine
from drake.errors import DrakeError
from drake.federation.callbacks import Callback, EvaluationContext, RunContext
from drake.federation.loop import EvaluateAt
from drake.federation.state import Progress
from drake.models.prompts import gold_ids
from drake.results import (
    ClientInfo,
    ScoreMatrix,
    SecondScores,
    SeedRun,
    SeedSummary,
    Traffic,
    score_table,
    seed_summary,
)
from drake.runs.answering import PART, Answering, AnswerPart, ClientStates, answerer
from drake.runs.folder import checkpoint_folder, observed_path
from drake.runs.setup import Setup
from drake.scoring.answers import PROTOCOLS, Protocol
from drake.scoring.generation import Answer, batches
from drake.scoring.predictions import Prediction, prediction_path, read_predictions, write_predictions
from drake.scoring.scores import StoredScores, TaskScore, answer_row, evaluated_questions, score_matrix, unparsed_rate

STORED_EVERY = 10.0
"""Seconds of answering that a killed run may have to do again."""
AGGREGATED = "aggregated"
"""The folder in a run folder that holds the answers after the aggregation where they are the second set."""


class Evaluation:
    """Scores the federation of one seed. Point 0 is before training. callbacks: told how many answers have come."""

    def __init__(self, setup: Setup, folder: Path, engine: Engine, callbacks: Callback) -> None:
        self.setup, self.folder, self._engine, self._callbacks = setup, folder, engine, callbacks
        self.seed = engine.worker.federation.seed
        asked = setup.config.evaluation
        by_task = evaluated_questions(setup.benchmark, setup.tasks, asked.records, asked.sample)
        limit = asked.records if asked.records_others is None else asked.records_others
        of_others = evaluated_questions(setup.benchmark, setup.tasks, limit, asked.sample)
        self._asked_of_others = {id for of_task in of_others.values() for id in of_task}
        of_unseen = evaluated_questions(setup.benchmark, setup.unseen, setup.unseen_records, asked.sample)
        self._asked_of_others |= {id for of_task in of_unseen.values() for id in of_task}
        self._columns = (*setup.tasks, *setup.unseen)
        by_task |= of_unseen
        self._questions = {id: question for of_task in by_task.values() for id, question in of_task.items()}
        self._stored = StoredScores(folder, self.seed, self._questions)
        self._stored_second = StoredScores(folder / AGGREGATED, self.seed, self._questions)

    def zero_shot(self, run: RunContext) -> None:
        """The bare backbones' answers to every task, once each; clients of one backbone share them."""
        rows: list[Prediction] = []
        parts: dict[str, list[AnswerPart]] = {}
        for name in self.setup.backbones:
            own = {task for client in self.setup.clients if client.backbone == name for task in client.tasks}
            places = [p for task in self._columns for p in self.setup.test_rows(task, others=task not in own)]
            parts[name] = self._parts(name, None, places, 0)
        found = self._answers([part for of_backbone in parts.values() for part in of_backbone], 0, 0, run)
        for name, of_backbone in parts.items():
            mine = [client for client in self.setup.clients if client.backbone == name]
            for part in of_backbone:
                rows += [
                    row._replace(client=client.id)
                    for row in found[part.path]
                    for client in mine
                    if row.task in client.tasks or row.id in self._asked_of_others
                ]
        self._store(rows, 0)

    def point(self, round: int, run: RunContext, moment: EvaluateAt) -> None:
        """Every client's answers to all tasks that have begun after `round` rounds. The second of two moments has
        files of its own."""
        progress, second = run.progress, moment != self.setup.config.evaluation.at
        number = self.setup.evaluation_rounds.index(round) + 1
        parts: list[AnswerPart] = []
        for name in self.setup.architectures:
            mine = [client for client in self.setup.clients if client.backbone == name]
            states = {client.id: answerer(client, progress, moment) for client in mine}
            begun = self.setup.begun(round)
            asked = (*begun, *self.setup.unseen_at(round))
            shared = [place for task in asked for place in self.setup.test_rows(task, others=True)]
            parts += self._parts(name, states, shared, number, round, second)
            of_all = set(shared)
            for client in mine:
                own = [place for task in begun if task in client.tasks for place in self.setup.test_rows(task)]
                further = [place for place in own if place not in of_all]
                parts += self._parts(
                    name, {client.id: states[client.id]}, further, number, round, second, f"-client-{client.id}"
                )
        found = self._answers(parts, number, round, run)
        self._store([row for part in parts for row in found[part.path]], number, second)

    def seed_run(self, progress: Progress, points: Sequence[int]) -> SeedRun:
        """What the stored predictions of the first points say; `points` are their rounds."""
        setup = self.setup
        found = [self._scores(number) for number in range(1, len(points) + 1)]
        zero = self._scores(0)
        scores: dict[Protocol, list[ScoreMatrix]]
        scores = {p: [self._matrix(point, p) for point in found] for p in PROTOCOLS}
        begun = [setup.begun(round) for round in points]
        run = SeedRun(
            seed=self.seed,
            rounds=list(points),
            tasks=list(self._columns),
            begun=begun,
            scores=scores,
            zero_shot={p: self._matrix(zero, p) for p in PROTOCOLS},
            unparsed=unparsed_rate(score for point in found for score in point.values()),
            summary={},
            traffic=[
                Traffic(round=row.round + 1, client=row.client, direction=row.direction, kind=row.kind, bytes=row.bytes)
                for row in progress.traffic
            ],
            seconds_train=progress.seconds_train,
            seconds_aggregation=progress.seconds_aggregate,
            seconds_eval=progress.seconds_eval,
            flops=progress.flops(),
            train_loss=[[row.get(client.id) for client in setup.clients] for row in progress.losses]
            if setup.method_class.trains
            else [],
            relevance=self._relevance(len(progress.losses)),
        )
        clients = [ClientInfo(id=c.id, model=c.backbone, tasks=list(c.tasks)) for c in setup.clients]

        def summaries(run: SeedRun) -> dict[Protocol, SeedSummary]:
            return {p: seed_summary(score_table(run, p, clients)) for p in PROTOCOLS}

        second = None
        if setup.config.evaluation.also_aggregated and self._has_second(len(points)):
            of_points = [self._stored_second.point(number) for number in range(1, len(points) + 1)]
            again: dict[Protocol, list[ScoreMatrix]]
            again = {p: [self._matrix(point, p) for point in of_points] for p in PROTOCOLS}
            second = SecondScores(scores=again, summary=summaries(run.model_copy(update={"scores": again})))
        return run.model_copy(update={"summary": summaries(run), "aggregated": second})

    def _has_second(self, points: int) -> bool:
        """Whether the answers after the aggregation are stored of so many points."""
        root = self.folder / AGGREGATED
        return all(prediction_path(root, self.seed, number).exists() for number in range(1, points + 1))

    def _parts(
        self,
        name: str,
        states: ClientStates | None,
        places: Sequence[tuple[str, int]],
        point: int,
        rounds_done: int = 0,
        second: bool = False,
        further_of: str = "",
    ) -> list[AnswerPart]:
        """What clients in these states, or the bare backbone, have to answer at a point, in parts. places: (task, row)
        of the records. further_of: names a client that answers these alone, beside what all of its backbone answer."""
        if not places:
            return []
        backbone = self._engine.worker.backbone(name)
        shared = None if states is None else self._engine.share(states)
        lengths = [backbone.prompt_length(self.setup.test_record(*place)) for place in places]
        groups = [tuple(places[i] for i in group) for group in batches(lengths, self.setup.eval_tokens[name])]
        folder = self._parts_folder(point, second) / f"{list(self.setup.backbones).index(name)}{further_of}"
        parts = []
        for start in range(0, len(groups), PART):
            some = tuple(groups[start : start + PART])
            count = sum(map(len, some)) * (1 if states is None else len(states))
            task = Answering(
                backbone=name,
                clients=shared,
                groups=some,
                max_new_tokens=self.setup.config.evaluation.max_new_tokens,
                weight=count * backbone.num_layers,
                rounds_done=rounds_done,
            )
            parts.append(AnswerPart(task, count, folder / f"{start // PART}.parquet"))
        return parts

    def _answers(
        self, parts: Sequence[AnswerPart], point: int, round: int, run: RunContext
    ) -> dict[Path, list[Prediction]]:
        """Rows by part, in no particular order. A part that is stored is not answered again. Parts are stored every
        `STORED_EVERY` seconds and when the run stops here; a shorter evaluation point writes its one file alone."""
        rows = {part.path: read_predictions(part.path) for part in parts if part.path.exists()}
        pending = [part for part in parts if part.path not in rows]
        total = sum(part.answers for part in parts)
        answered = total - sum(part.answers for part in pending)
        self._callbacks.answered(EvaluationContext(run, round, 0, total))
        if answered:
            self._callbacks.answered(EvaluationContext(run, round, answered, total))
        unstored: list[Path] = []

        def store() -> None:
            while unstored:
                write_predictions(unstored[-1], rows[unstored[-1]])
                unstored.pop()

        last = time.monotonic()
        try:
            for index, found in self._engine.run([part.task for part in pending]):
                part = pending[index]
                tokenizer = self.setup.backbones[part.task.backbone].tokenizer
                rows[part.path] = [self._row(answer, tokenizer, point, round) for answer in found]
                unstored.append(part.path)
                if time.monotonic() - last >= STORED_EVERY:
                    store()
                    last = time.monotonic()
                answered += part.answers
                self._callbacks.answered(EvaluationContext(run, round, answered, total))
        except BaseException:
            store()
            raise
        return rows

    def _row(self, answer: Answer, tokenizer: Any, point: int, round: int) -> Prediction:
        question = self._questions[answer.record]
        gold = gold_ids(tokenizer, question.answer) if question.open_ended else None
        return answer_row(point, round, answer.client, answer.record, answer.text, question, answer.token_ids, gold)

    def _parts_folder(self, point: int, second: bool) -> Path:
        return checkpoint_folder(self.folder, self.seed) / (f"point-{point}" + (f"-{AGGREGATED}" if second else ""))

    def _store(self, rows: list[Prediction], point: int, second: bool = False) -> None:
        column = {task: number for number, task in enumerate(self._columns)}
        rows.sort(key=lambda row: (row.client, column[row.task], row.id))
        root = self.folder / AGGREGATED if second else self.folder
        write_predictions(prediction_path(root, self.seed, point), rows)
        shutil.rmtree(self._parts_folder(point, second), ignore_errors=True)

    def _scores(self, point: int) -> dict[tuple[int, str], TaskScore]:
        return self._stored.point(point)

    def _matrix(self, scores: Mapping[tuple[int, str], TaskScore], protocol: Protocol) -> ScoreMatrix:
        return score_matrix(scores, len(self.setup.clients), self._columns, protocol)

    def _relevance(self, rounds: int) -> list[list[list[float | None]] | None] | None:
        paths = [observed_path(self.folder, self.seed, round) for round in range(1, rounds + 1)]
        found = [_observed(path).get("relevance") if path.exists() else None for path in paths]
        if all(matrix is None for matrix in found):
            return None
        return [
            None
            if matrix is None
            else [[None if value != value else value for value in row] for row in matrix.tolist()]
            for matrix in found
        ]


def _observed(path: Path) -> dict[str, Tensor]:
    check_regular(path, links=True)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DrakeError(f"{path} cannot be read ({error}); run it again with --overwrite always.") from error
