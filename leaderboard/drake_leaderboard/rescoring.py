"""Stored answers scored again after a rule of scoring has changed. Called by `drake score RUN --write`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from drake.common.files import check_folder, replacing
from drake.errors import DrakeError
from drake.results import FILE, Results, load, save
from drake.results.asked import Asked
from drake.results.dataset import dataset_of
from drake.results.rescoring import rescore, verify
from drake.scoring.predictions import read_predictions, write_predictions
from drake.scoring.scores import Question, mark

from .tickets import TICKET, answer_files, read_ticket, sha256, write_ticket


class Stored(NamedTuple):
    """before, after: the results as they were stored, and as they are stored now. answers: number of answers of the
    run. changed: number of answers whose marks changed (another choice picked, or another verdict)."""

    before: Results
    after: Results
    answers: int
    changed: int


def store_rescored(folder: Path | str, data: Path | str | None = None) -> Stored:
    """Score the stored answers of a complete run or submission with the present rules, and store the outcome.

    The function rewrites the marks in predictions/, the scores in results.json, the digests in submission.json, and
    curves.png and .svg where the folder has them. The texts, and everything else in the results, stay.
    data: the dataset folder or repository; default: the mini suite, built again.
    Raises DrakeError, having written nothing, when a file of a submission was changed after it was submitted, or where
    the rescored copy does not pass `verify`.
    """
    folder = Path(folder)
    ticket = read_ticket(folder) if (folder / TICKET).exists() else None
    before = load(folder)
    check_folder(folder)
    after, answers, _ = rescore(folder, data)
    of_tasks = Asked(before, dataset_of(before, data)).questions
    questions = {id: question for of_task in of_tasks.values() for id, question in of_task.items()}
    files = sorted(answer_files(folder, before))
    with tempfile.TemporaryDirectory(prefix="drake-score-") as scratch:
        copy = Path(scratch)
        changed = sum(_mark_again(folder, copy, file, questions) for file in files)
        save(after, copy)
        try:
            verify(copy, data)
        except DrakeError as error:
            raise DrakeError(str(error).replace(str(copy), str(folder))) from error
        _put(copy, folder, [*files, FILE])
    if ticket is not None:
        write_ticket(folder, ticket | {"sha256": {name: sha256(folder / name) for name in ticket["sha256"]}})
    if (folder / "curves.png").exists():
        from drake.results.plots import curves  # here: matplotlib is slow to import

        curves([after], folder / "curves.png")
    return Stored(before, after, answers, changed)


def _mark_again(folder: Path, copy: Path, file: str, questions: Mapping[str, Question]) -> int:
    """Write a prediction file of `folder`, marked by the present rules, into `copy`; returns how many marks changed."""
    rows = read_predictions(folder / file)
    marked = [row._replace(**mark(row.text, questions[row.id])._asdict()) for row in rows]
    write_predictions(copy / file, marked)
    return sum(old != new for old, new in zip(rows, marked, strict=True))


def _put(copy: Path, folder: Path, files: list[str]) -> None:
    """Replace the files of `folder` that differ from those in `copy`."""
    for file in files:
        if sha256(copy / file) != sha256(folder / file):
            with replacing(folder / file) as temporary:
                shutil.copyfile(copy / file, temporary)
