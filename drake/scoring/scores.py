"""Scoring room: the one place that turns answers into scores. The evaluation calls it on fresh answers, the check of
submissions on stored ones, so both must come to the same numbers; neither needs a model.

    questions = evaluated_questions(benchmark, tasks, eval_records)      # {task: {id: Question}}
    row = answer_row(point, round, client, id, text, question)           # a marked Prediction
    scores = score_rows(rows, {id: question, ...})                       # {(client, task): TaskScore}
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from drake.errors import DrakeError
from drake.scoring.answers import Protocol, score_official, score_strict
from drake.scoring.metrics import official_f1, token_f1
from drake.scoring.predictions import Prediction

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark

ACCURACY, TOKEN_F1 = "accuracy", "token-F1"


class Question(NamedTuple):
    """What scoring needs to know of a record; field by field a column of a built dataset."""

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
        """Whether the task is scored by F1 instead of a choice. DrakeError for a metric nobody knows."""
        if self.metric not in (ACCURACY, TOKEN_F1):
            raise DrakeError(
                f"task {self.task} has the metric {self.metric!r}; known are {ACCURACY!r} and {TOKEN_F1!r}."
            )
        return self.metric == TOKEN_F1


class Mark(NamedTuple):
    """What one answer deserves; all None for open-ended questions, whose answers only count together."""

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
    benchmark: Benchmark, tasks: Iterable[str], eval_records: int = 0
) -> dict[str, dict[str, Question]]:
    """Task -> record id -> Question, for the test records a run is scored on: the first `eval_records` of every task
    in the order of the dataset, or all of them for 0. Pictures are not read."""
    found: dict[str, dict[str, Question]] = {}
    for task in tasks:
        table = benchmark.records(task, "test").select_columns(["id", *Question._fields])
        rows = islice(table, eval_records) if eval_records else table
        found[task] = {row["id"]: Question.of(row) for row in rows}
    return found


@lru_cache(maxsize=1 << 16)  # clients and evaluation points repeat the same few answers to the same questions
def mark(text: str, question: Question) -> Mark:
    """What a generated text picks and whether that is right, by both protocols."""
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
    return Prediction(
        point=point,
        round=round,
        client=client,
        task=question.task,
        id=id,
        text=text,
        **mark(text, question)._asdict(),
        predicted_ids=None if predicted_ids is None else list(predicted_ids),
        gold_ids=None if gold_ids is None else list(gold_ids),
        gold=question.answer,
    )


def score_rows(rows: Iterable[Prediction], questions: Mapping[str, Question]) -> dict[tuple[int, str], TaskScore]:
    """(client, task) -> TaskScore for all answers of one evaluation point.

    questions: by record id. The texts are marked anew: what the rows say of `picked`, `correct` and `gold` counts for
    nothing. Choice tasks score the mean of correct answers by either protocol; open-ended ones the official F1 over
    the token ids of all answers together, and by protocol strict the mean of the word-level `token_f1`.
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
    count = len(rows)
    if not questions[rows[0].id].open_ended:
        marks = [mark(row.text, questions[row.id]) for row in rows]
        return TaskScore(
            official=sum(bool(due.correct) for due in marks) / count,
            strict=sum(bool(due.strict_correct) for due in marks) / count,
            unparsed=sum(due.picked is None for due in marks) / count,
            answers=count,
        )
    pairs = []
    for row in rows:
        if row.predicted_ids is None or row.gold_ids is None:
            raise DrakeError(f"the answer of client {row.client} to the open-ended {row.id!r} lacks its token ids.")
        pairs.append((row.predicted_ids, row.gold_ids))
    # fsum, because the mean must not depend on the order in which batches were answered.
    strict = math.fsum(token_f1(row.text, questions[row.id].answer) for row in rows) / count
    return TaskScore(official=official_f1(pairs), strict=strict, unparsed=None, answers=count)


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
