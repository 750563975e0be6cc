"""From answers to scores. A run calls this module with new answers, re-scoring with stored ones, so that both compute
the same numbers; no model is needed.

    questions = evaluated_questions(benchmark, tasks, eval_records)      # {task: {id: Question}}
    row = answer_row(point, round, client, id, text, question)           # a marked Prediction
    scores = score_rows(rows, {id: question, ...})                       # {(client, task): TaskScore}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from drake.errors import DrakeError
from drake.scoring.answers import Protocol, score_official, score_strict
from drake.scoring.metrics import MarkedAnswer, metric_of
from drake.scoring.predictions import Prediction, prediction_path, read_predictions
from drake.scoring.sampling import SAMPLE_SEED, Sample, sampled_rows

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark


class Question(NamedTuple):
    """The fields of a record that scoring needs; each is a column of a built dataset."""

    task: str
    prompt: str
    choices: tuple[str, ...]
    answer: str
    metric: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Question:
        """The Question of a dataset row."""
        return cls(record["task"], record["prompt"], tuple(record["choices"]), record["answer"], record["metric"])

    @property
    def open_ended(self) -> bool:
        """Whether the text of an answer is scored instead of the choice it picks. DrakeError for an unknown metric."""
        return metric_of(self.metric, self.task).open_ended


class Mark(NamedTuple):
    """The choice that an answer picks by protocol official, and whether the answer is right by either protocol; all
    None for open-ended questions."""

    picked: str | None
    correct: bool | None
    strict_correct: bool | None


class TaskScore(NamedTuple):
    """One client on one task.

    official, strict: fractions (official F1 can pass 1 on a handful of answers, see `official_f1`).
    unparsed: fraction of answers in which the official matcher found no choice; None for open-ended tasks.
    answers: how many were scored.
    """

    official: float
    strict: float
    unparsed: float | None
    answers: int


def evaluated_questions(
    benchmark: Benchmark, tasks: Iterable[str], eval_records: int = 0, sample: Sample = "first"
) -> dict[str, dict[str, Question]]:
    """Task -> record id -> Question, for the test records a run is scored on: so many of every task as `sample` takes
    them, in the order of the dataset, or all of them for 0. Pictures are not read."""
    found: dict[str, dict[str, Question]] = {}
    for task in tasks:
        table = benchmark.rows(task, "test").select_columns(["id", *Question._fields])
        rows = list(cast("Iterable[dict[str, Any]]", table))
        chosen = sampled_rows([row["answer"] for row in rows], eval_records, sample, SAMPLE_SEED, task)
        found[task] = {rows[number]["id"]: Question.of(rows[number]) for number in chosen}
    return found


@lru_cache(maxsize=1 << 16)  # clients and evaluation points repeat the same few answers to the same questions
def mark(text: str, question: Question) -> Mark:
    """The choice that a generated text picks, and whether it is right, by both protocols."""
    if question.open_ended:
        return Mark(None, None, None)
    official = score_official(question.prompt, question.answer, text)
    strict = score_strict(question.choices, question.answer, text, question.prompt)
    return Mark(official.picked, official.correct, strict.correct)


def answer_row(
    point: int,
    round: int,
    client: int,
    id: str,
    text: str,
    question: Question,
    predicted_ids: Sequence[int] | None = None,
    gold_ids: Sequence[int] | None = None,
) -> Prediction:
    """The marked row of one answer. Token ids are kept for open-ended questions only, which need both."""
    if not question.open_ended:
        predicted_ids = gold_ids = None
    elif predicted_ids is None or gold_ids is None:
        raise ValueError(f"the open-ended record {id} needs the token ids of the answer and of the gold answer")
    picked, correct, strict_correct = mark(text, question)
    return Prediction(
        point=point,
        round=round,
        client=client,
        task=question.task,
        id=id,
        text=text,
        picked=picked,
        correct=correct,
        strict_correct=strict_correct,
        predicted_ids=None if predicted_ids is None else list(predicted_ids),
        gold_ids=None if gold_ids is None else list(gold_ids),
        gold=question.answer,
    )


def score_rows(rows: Iterable[Prediction], questions: Mapping[str, Question]) -> dict[tuple[int, str], TaskScore]:
    """(client, task) -> TaskScore for all answers of one evaluation point.

    questions: by record id. The texts are marked anew: `picked`, `correct` and `gold` of the rows are not used. How the
    answers to a task are scored is up to its metric (`drake.scoring.metrics.METRICS`).
    The order of rows matters to no score. Raises DrakeError for a record that `questions` lacks, for a row filed
    under another task than its record's, and for an open-ended row without token ids.
    """
    groups: dict[tuple[int, str], list[Prediction]] = defaultdict(list)
    for row in rows:
        known = questions.get(row.id)
        if known is None or known.task != row.task:
            raise DrakeError(f"the answer of client {row.client} to {row.id!r} belongs to no record of {row.task}.")
        groups[row.client, row.task].append(row)
    return {key: _task_score(groups[key], questions) for key in sorted(groups)}


def _task_score(rows: Sequence[Prediction], questions: Mapping[str, Question]) -> TaskScore:
    first = questions[rows[0].id]
    metric = metric_of(first.metric, first.task)
    answers: list[MarkedAnswer] = []
    picks: list[str | None] = []
    for row in rows:
        if metric.open_ended and (row.predicted_ids is None or row.gold_ids is None):
            raise DrakeError(f"the answer of client {row.client} to the open-ended {row.id!r} lacks its token ids.")
        question = questions[row.id]
        picked, correct, strict_correct = mark(row.text, question)
        picks.append(picked)
        answers.append(
            MarkedAnswer(row.text, question.answer, correct, strict_correct, row.predicted_ids, row.gold_ids)
        )
    return TaskScore(
        official=metric.official(answers),
        strict=metric.strict(answers),
        unparsed=None if metric.open_ended else sum(pick is None for pick in picks) / len(rows),
        answers=len(rows),
    )


class StoredScores:
    """The scores of one seed's stored answers. Every prediction file is read and scored once, and again only after it
    was replaced, so that an evaluation point does not read all earlier ones again.

    folder: of the run. questions: by record id, as for `score_rows`.
    """

    def __init__(self, folder: Path, seed: int, questions: Mapping[str, Question]) -> None:
        self._folder, self._seed, self._questions = folder, seed, questions
        self._points: dict[int, tuple[object, dict[tuple[int, str], TaskScore]]] = {}

    def point(self, number: int) -> dict[tuple[int, str], TaskScore]:
        """`score_rows` of an evaluation point's answers. DrakeError where they are missing or not predictions."""
        path = prediction_path(self._folder, self._seed, number)
        version = _version(path)
        if number not in self._points or self._points[number][0] != version:
            self._points[number] = version, score_rows(read_predictions(path), self._questions)
        return self._points[number][1]


def _version(path: Path) -> object:
    """A value that changes when the file is replaced; None where it is missing."""
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def score_matrix(
    scores: Mapping[tuple[int, str], TaskScore], clients: int, tasks: Sequence[str], protocol: Protocol
) -> list[list[float | None]]:
    """[N][K] of one protocol, None where nothing was asked."""
    return [
        [getattr(scores[client, task], protocol) if (client, task) in scores else None for task in tasks]
        for client in range(clients)
    ]


def unparsed_rate(scores: Iterable[TaskScore]) -> float:
    """Fraction of all answers to choice questions in which no choice was found; 0 without such questions."""
    counts = [(round(s.unparsed * s.answers), s.answers) for s in scores if s.unparsed is not None]
    asked = sum(answers for _, answers in counts)
    return sum(missed for missed, _ in counts) / asked if asked else 0.0
