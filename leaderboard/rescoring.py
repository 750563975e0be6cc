"""Stored answers scored anew, after a rule of scoring has changed. Called by `drake score RUN --write`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from drake.errors import DrakeError
from drake.files import check_folder, replacing
from drake.predictions import prediction_path, read_predictions, write_predictions
from drake.results import FILE, Results, SeedRun, aggregate, load, save, score_table, seed_summary
from drake.scoring.answers import PROTOCOLS
from drake.scoring.rescore import (
    Question,
    TaskScore,
    evaluated_questions,
    mark,
    score_matrix,
    score_rows,
    unparsed_rate,
)

from .submission import TICKET, data_of, eval_records, prediction_files, read_ticket, sha256, verify, write_ticket


class Rescored(NamedTuple):
    """before, after: the results as they were stored and as they are now. answers: how many there are. changed: how
    many of them are marked otherwise (another choice picked, or another verdict)."""

    before: Results
    after: Results
    answers: int
    changed: int


def rescore(folder: Path | str, data: Path | str | None = None) -> Rescored:
    """Score the stored answers of a complete run or submission with the present rules, and store the outcome.

    Rewritten are the marks in predictions/, the scores in results.json, the digests of a submission's ticket, and
    curves.png and .svg where the folder holds them. The texts, and everything else in the results, stay.
    data: the dataset folder or repository; default: what the results name (a mini suite is built again).
    Raises DrakeError, having written nothing, when a file of a submission was changed after it was submitted, or when
    `verify` finds a fault in the run that the present rules do not explain.
    """
    folder = Path(folder)
    ticket = read_ticket(folder) if (folder / TICKET).exists() else None
    before = load(folder)
    check_folder(folder)
    benchmark = data_of(folder, before, data)
    tasks = sorted({task for run in before.runs for task in run.tasks})
    by_task = evaluated_questions(benchmark, tasks, eval_records(before))
    questions = {id: question for of_task in by_task.values() for id, question in of_task.items()}
    with tempfile.TemporaryDirectory(prefix="drake-score-") as scratch:
        copy = Path(scratch)
        changed = sum(_mark_again(folder, copy, file, questions) for file in prediction_files(folder, before))
        runs = [_scored_again(copy, run, before, questions) for run in before.runs]
        after = before.model_copy(update={"runs": runs, "summary": aggregate(runs)})
        save(after, copy)
        try:
            answers = verify(copy, data).answers
        except DrakeError as error:
            raise DrakeError(str(error).replace(str(copy), str(folder))) from error
        _put(copy, folder, [*prediction_files(folder, after), Path(FILE)])
    if ticket is not None:
        write_ticket(folder, ticket | {"sha256": {name: sha256(folder / name) for name in ticket["sha256"]}})
    if (folder / "curves.png").exists():
        from drake.plots import curves  # here: matplotlib is slow to import

        curves([after], folder / "curves.png")
    return Rescored(before, after, answers, changed)


def _mark_again(folder: Path, copy: Path, file: Path, questions: Mapping[str, Question]) -> int:
    """Write a prediction file of `folder`, marked by the present rules, into `copy`; how many marks are new."""
    rows = read_predictions(folder / file)
    if strangers := [row.id for row in rows if row.id not in questions]:
        raise DrakeError(f"{folder / file}: {strangers[0]!r} is no record that this run is scored on.")
    marked = [row._replace(**mark(row.text, questions[row.id])._asdict()) for row in rows]
    write_predictions(copy / file, marked)
    return sum(old != new for old, new in zip(rows, marked, strict=True))


def _scored_again(copy: Path, run: SeedRun, results: Results, questions: Mapping[str, Question]) -> SeedRun:
    """A seed's run with the scores that the predictions in `copy` give."""

    def scores(point: int) -> dict[tuple[int, str], TaskScore]:
        return score_rows(read_predictions(prediction_path(copy, run.seed, point)), questions)

    def matrices(point: Mapping[tuple[int, str], TaskScore]) -> dict[str, list[list[float | None]]]:
        return {protocol: score_matrix(point, len(results.clients), run.tasks, protocol) for protocol in PROTOCOLS}

    points = [scores(point) for point in range(1, len(run.rounds) + 1)]
    found = [matrices(point) for point in points]
    scored = run.model_copy(
        update={
            "scores": {protocol: [point[protocol] for point in found] for protocol in PROTOCOLS},
            "zero_shot": None if run.zero_shot is None else matrices(scores(0)),
            "unparsed": unparsed_rate(score for point in points for score in point.values()),
        }
    )
    summary = {protocol: seed_summary(score_table(scored, protocol, results.clients)) for protocol in PROTOCOLS}
    return scored.model_copy(update={"summary": summary})


def _put(copy: Path, folder: Path, files: list[Path]) -> None:
    """Replace those files of `folder` that differ in `copy`."""
    for file in files:
        if sha256(copy / file) != sha256(folder / file):
            with replacing(folder / file) as temporary:
                shutil.copyfile(copy / file, temporary)
