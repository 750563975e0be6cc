"""Scores computed again from stored answers, without a model: `drake.score` and the check of submissions.

`rescore` uses no score of the run: every score and average is computed again from the generated texts and the gold
answers of the dataset. `verify` also compares them with the scores in the results.

The files cannot show whether the named models generated the texts, and how many bytes and minutes the run took. Token
ids of open-ended answers are compared with the models' tokenizers where these are on this machine.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drake.common.outside import file_names, shown
from drake.data.fingerprints import current_fingerprint
from drake.errors import DrakeError
from drake.results.asked import Asked, clients_of
from drake.results.dataset import dataset_of
from drake.results.files import load
from drake.results.schema import Results, ScoreMatrix, SecondScores, SeedRun, SeedSummary
from drake.results.summaries import aggregate, score_table, seed_summary
from drake.scoring.answers import PROTOCOLS, Protocol
from drake.scoring.predictions import Prediction, point_numbers, prediction_path, read_predictions
from drake.scoring.scores import (
    Mark,
    Question,
    TaskScore,
    mark,
    score_matrix,
    score_rows,
    unparsed_rate,
)
from drake.scoring.token_ids import TokenCheck

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark

TOLERANCE = 1e-9
"""Scores are means of the same numbers, so they may differ by the order of addition and by nothing else."""


class Rescored(NamedTuple):
    """results: those of the run, with every score and average computed from the answers. answers: number of answers
    scored. tokens_unchecked: the models whose tokenizer is not on this machine, so that the token ids of their
    open-ended answers were only checked for consistency."""

    results: Results
    answers: int
    tokens_unchecked: list[str]


def score(folder: Path | str, data: Path | str | None = None) -> Results:
    """The results of a run or submission folder with every score computed again from its stored answers.

    data: the dataset folder or repository; default: what the results name (a mini suite is built again).
    Raises DrakeError where answers are missing or do not belong to the dataset. Nothing is written.
    """
    return rescore(folder, data).results


def verify(folder: Path | str, data: Path | str | None = None, named_folders: bool = True) -> Rescored:
    """Score the stored answers of a run or submission folder again and compare all numbers of its results.

    named_folders: see `rescore`.

    Raises DrakeError, naming seed, point, client and task, as `rescore` does, and where the marks of a
    stored answer, a score or an average of the results are not those computed again.
    """
    claimed = load(folder)
    found = _rescored(Path(folder), claimed, data, marks=True, named_folders=named_folders)
    for claim, run in zip(claimed.runs, found.results.runs, strict=True):
        _compare_seed(claim, run, f"seed {run.seed} of {folder}")
    for protocol, fields in found.results.summary.items():
        estimates = claimed.summary.get(protocol, {})
        _same_names(set(estimates), set(fields), f"fields of summary.{protocol}")
        for name, value in fields.items():
            where = f"summary.{protocol}.{name}"
            _equal(estimates[name].mean, value.mean, f"{where}.mean")
            _equal(estimates[name].stderr, value.stderr, f"{where}.stderr")
            _equal(estimates[name].n, value.n, f"{where}.n")
    return found


def rescore(
    folder: Path | str, data: Path | str | None = None, marks: bool = False, named_folders: bool = True
) -> Rescored:
    """Score the stored answers of a run or submission folder again.

    marks: also check the marks of every stored answer. named_folders: whether tokenizers are read of folders that the
    results name and that a run was begun with on this machine. Raises DrakeError, naming seed, point,
    client and task, when the run is not complete, the data differ, or an answer is missing, extra or there twice.
    """
    return _rescored(Path(folder), load(folder), data, marks, named_folders)


def _rescored(folder: Path, results: Results, data: Path | str | None, marks: bool, named_folders: bool) -> Rescored:
    if results.status != "complete":
        raise DrakeError(f"the run {folder} is {results.status}, not complete; finish it with the same `drake eval`.")
    if not results.runs:
        raise DrakeError(f"the run {folder} holds no seed; run it again.")
    benchmark = dataset_of(results, data)
    if benchmark.fingerprint != current_fingerprint(results.data.fingerprint):
        raise DrakeError(
            f"{folder} was run on data with fingerprint {results.data.fingerprint}, the data opened here have "
            f"{benchmark.fingerprint}; name the dataset of the run with --data."
        )
    if tuple(tuple(client.tasks) for client in results.clients) != clients_of(results, benchmark):
        raise DrakeError(f"the clients of {folder} have other tasks than those of the dataset; run it on this dataset.")
    _same_names(
        {f"predictions/{name}" for name in file_names(folder / "predictions")},
        {file.as_posix() for file in prediction_files(results)},
        f"prediction files of {folder}",
    )
    scorer = _Scorer(folder, results, benchmark, marks, named_folders)
    runs = [scorer.seed(run) for run in results.runs]
    found = results.model_copy(update={"runs": runs, "summary": aggregate(runs)})
    return Rescored(found, scorer.answers, sorted(scorer.tokens.unchecked))


def prediction_files(results: Results) -> list[Path]:
    """The prediction files that a complete run has, relative to its folder."""
    return [
        prediction_path(".", run.seed, point)
        for run in results.runs
        for point in point_numbers(len(run.rounds), zero_shot=run.zero_shot is not None)
    ]


class _Scorer:
    """Scores one run's answers. answers: number scored so far. marks: whether the stored marks are checked too."""

    def __init__(self, folder: Path, results: Results, benchmark: Benchmark, marks: bool, named_folders: bool) -> None:
        self.folder, self.results, self.marks = folder, results, marks
        self.asked = Asked(results, benchmark)
        self.questions = self.asked.questions
        self.by_id = {id: question for of_task in self.questions.values() for id, question in of_task.items()}
        self.tokens = TokenCheck(results.models.revisions, named_folders)
        self.answers = 0

    def seed(self, run: SeedRun) -> SeedRun:
        """The run of one seed with its scores and averages computed again."""
        who = f"seed {run.seed} of {self.folder}"
        self._check_begun(run, who)
        zero_shot = None if run.zero_shot is None else self._matrices(run, self._point(run, 0))
        points: list[dict[tuple[int, str], TaskScore]] = []
        for point, begun in enumerate(run.begun, start=1):
            scored = self._point(run, point)
            due = (*begun, *self.asked.unseen_at(point, len(run.begun)))
            for client, task in ((client.id, task) for client in self.results.clients for task in due):
                if (client, task) not in scored:
                    raise DrakeError(f"{who}: client {client} was not asked about {task} at point {point}.")
            points.append(scored)
        matrices = [self._matrices(run, scored) for scored in points]
        found = run.model_copy(
            update={
                "scores": {protocol: [matrix[protocol] for matrix in matrices] for protocol in PROTOCOLS},
                "zero_shot": zero_shot,
                "unparsed": unparsed_rate(score for scored in points for score in scored.values()),
            }
        )
        clients = self.results.clients
        summary = {protocol: seed_summary(score_table(found, protocol, clients)) for protocol in PROTOCOLS}
        return found.model_copy(update={"summary": summary, "aggregated": self._second(found)})

    def _second(self, run: SeedRun) -> SecondScores | None:
        """The scores after the aggregation beside those of `run`; None where the folder lacks their answers, as a
        submission does."""
        root, clients = self.folder / "aggregated", self.results.clients
        if run.aggregated is None or not (root / "predictions").is_dir():
            return None
        matrices = [self._matrices(run, self._point(run, point, root)) for point in range(1, len(run.rounds) + 1)]
        scores: dict[Protocol, list[ScoreMatrix]] = {p: [matrix[p] for matrix in matrices] for p in PROTOCOLS}
        again = run.model_copy(update={"scores": scores})
        summary: dict[Protocol, SeedSummary] = {p: seed_summary(score_table(again, p, clients)) for p in PROTOCOLS}
        return SecondScores(scores=scores, summary=summary)

    def _matrices(self, run: SeedRun, scored: Mapping[tuple[int, str], TaskScore]) -> dict[Protocol, ScoreMatrix]:
        return {p: score_matrix(scored, len(self.results.clients), run.tasks, p) for p in PROTOCOLS}

    def _check_begun(self, run: SeedRun, who: str) -> None:
        """Tasks that have begun stay begun, and by the last point all have."""
        if not run.rounds:
            raise DrakeError(f"{who} was never evaluated; run it again.")
        for earlier, later in pairwise(run.begun):
            if lost := set(earlier) - set(later):
                raise DrakeError(f"{who}: task {sorted(lost)[0]} had begun at one point and not at the next.")
        owned = {task for client in self.results.clients for task in client.tasks}
        if late := owned - set(run.begun[-1]):
            raise DrakeError(f"{who}: task {sorted(late)[0]} has not begun by the last point, so the run is not over.")

    def _point(self, run: SeedRun, point: int, root: Path | None = None) -> dict[tuple[int, str], TaskScore]:
        """The scores of one evaluation point. Raises DrakeError where an answer is missing, extra or misplaced."""
        most = sum(len(self.asked.of(client.id, task)) for client in self.results.clients for task in run.tasks)
        rows = read_predictions(prediction_path(root or self.folder, run.seed, point), 2 * most + 1000)
        self._check_rows(rows, point, run.rounds[point - 1] if point else 0, f"seed {run.seed}, point {point}")
        self.answers += len(rows)
        return score_rows(rows, self.by_id)

    def _check_rows(self, rows: Iterable[Prediction], point: int, after: int, where: str) -> None:
        """Raises DrakeError unless every row belongs to this point and every question of an asked task has one
        answer."""
        asked: dict[tuple[int, str], set[str]] = defaultdict(set)
        for row in rows:
            here = f"record {shown(row.id, 100)}, client {row.client} ({where})"
            if (row.point, row.round) != (point, after):
                raise DrakeError(
                    f"{here} is filed under point {row.point}, round {row.round} instead of {point}, {after}."
                )
            if not 0 <= row.client < len(self.results.clients):
                raise DrakeError(f"{here}: the run has no client {row.client}.")
            question = self.questions.get(row.task, {}).get(row.id)
            if question is None or row.id not in self.asked.of(row.client, row.task):
                raise DrakeError(
                    f"{here} is no record that task {shown(row.task, 100)} is scored on; remove the extra answer."
                )
            if row.id in asked[row.client, row.task]:
                raise DrakeError(f"{here} is answered twice.")
            asked[row.client, row.task].add(row.id)
            self._check_row(row, question, here)
        for (client, task), ids in asked.items():
            if missing := self.asked.of(client, task) - ids:
                raise DrakeError(
                    f"client {client} lacks {len(missing)} answers for {task}, first {sorted(missing)[0]} ({where})."
                )

    def _check_row(self, row: Prediction, question: Question, here: str) -> None:
        """Raises DrakeError unless the row has the dataset's gold answer, the right marks, and the token ids of its
        texts."""
        if row.gold != question.answer:
            raise DrakeError(f"{here} has the gold answer {shown(row.gold)!r}, the dataset has {question.answer!r}.")
        if self.marks:
            due, marked = mark(row.text, question), Mark(row.picked, row.correct, row.strict_correct)
            if marked != due:
                raise DrakeError(
                    f"{here}: the text {shown(row.text)!r} is marked {shown(marked)}, it should be {shown(due)}."
                )
            if not question.open_ended and (row.predicted_ids is not None or row.gold_ids is not None):
                raise DrakeError(f"{here} answers a choice question, but has token ids; restore what the run wrote.")
        if question.open_ended:
            self.tokens.verify(row, self.results.models.per_client[row.client], here)


def _compare_seed(claimed: SeedRun, found: SeedRun, who: str) -> None:
    """DrakeError for the first score or average of a seed that does not follow from its answers."""
    if claimed.zero_shot is not None and found.zero_shot is not None:
        for protocol in PROTOCOLS:
            _compare_scores(claimed, claimed.zero_shot[protocol], found.zero_shot[protocol], protocol, 0)
    for point in range(len(found.rounds)):
        for protocol in PROTOCOLS:
            scores = claimed.scores[protocol][point], found.scores[protocol][point]
            _compare_scores(claimed, *scores, protocol, point + 1)
    _equal(claimed.unparsed, found.unparsed, f"unparsed of {who}")
    _compare_averages(claimed.summary, found.summary, "summary", who)
    if claimed.aggregated is not None and found.aggregated is not None:
        for point in range(len(found.rounds)):
            for protocol in PROTOCOLS:
                scores = claimed.aggregated.scores[protocol][point], found.aggregated.scores[protocol][point]
                _compare_scores(claimed, *scores, protocol, point + 1)
        _compare_averages(claimed.aggregated.summary, found.aggregated.summary, "aggregated.summary", who)


def _compare_averages(
    claimed: Mapping[Protocol, SeedSummary], found: Mapping[Protocol, SeedSummary], where: str, who: str
) -> None:
    for protocol in PROTOCOLS:
        for name in SeedSummary.model_fields:
            what = f"{where}.{protocol}.{name} of {who}"
            claims, values = _numbers(claimed[protocol], name), _numbers(found[protocol], name)
            _equal(len(claims), len(values), f"the length of {what}")
            for claim, value in zip(claims, values, strict=True):
                _equal(claim, value, what)


def _numbers(summary: SeedSummary, name: str) -> list[float | None]:
    """The numbers of a field of a summary, also where it is a single one."""
    value: float | list[float | None] | None = getattr(summary, name)
    return value if isinstance(value, list) else [value]


def _compare_scores(run: SeedRun, claims: ScoreMatrix, values: ScoreMatrix, protocol: Protocol, point: int) -> None:
    for client, (line, due) in enumerate(zip(claims, values, strict=True)):
        for task, claim, value in zip(run.tasks, line, due, strict=True):
            what = f"the {protocol} score of client {client} on {task} (seed {run.seed}, point {point})"
            _equal(claim, value, what)


def _same_names(found: set[str], expected: set[str], what: str) -> None:
    if missing := sorted(expected - found):
        raise DrakeError(f"{what}: {len(missing)} missing, the first {missing[0]}; restore what the run wrote.")
    if extra := sorted(found - expected):
        raise DrakeError(f"{what}: {len(extra)} too many, the first {extra[0]}; remove what the run did not write.")


def _equal(claimed: float | None, found: float | None, what: str) -> None:
    if claimed is None or found is None:
        same = claimed is None and found is None
    else:
        same = math.isclose(claimed, found, rel_tol=0.0, abs_tol=TOLERANCE)
    if not same:
        raise DrakeError(f"{what} is {claimed} in the results; the answers give {found}.")
