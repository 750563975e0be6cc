"""Answers that the page of a submission shows, with their questions and pictures where the dataset is here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drake.common.outside import shown
from drake.data.fingerprints import current_fingerprint
from drake.data.pictures import decoded_images
from drake.errors import DrakeError
from drake.results import Results
from drake.results.dataset import NoDataset, dataset_of
from drake.scoring.metrics import token_f1
from drake.scoring.predictions import Prediction, prediction_path, read_predictions

SAMPLES = 10
"""Answers on a page."""
SIDE = 320
"""Pixels of a picture's longer side at most; larger ones are made smaller."""
MOST_PICTURES = 8
"""Pictures of a question."""
MOST_QUESTION, MOST_ANSWER = 4000, 1000
"""Characters."""


class Picture(NamedTuple):
    """file: name in the folder `pictures`. width, height: pixels."""

    file: str
    width: int
    height: int


class Sample(NamedTuple):
    """An answer. verdict: "right", "wrong", or "open" for an open-ended question, where score is its token F1.
    question: "" where the dataset is not here. note: why pictures are missing."""

    client: int
    task: str
    id: str
    answer: str
    gold: str
    verdict: str
    score: str
    question: str
    pictures: list[Picture]
    note: str


class Answers(NamedTuple):
    """note: which answers these are, and why questions are missing."""

    samples: list[Sample]
    note: str


class Questions:
    """The datasets of submissions, each opened once, and the pictures written so far.

    data: the dataset that the user named; without it the embedded mini suite, where a submission was made on it.
    pictures: folder for PNG files, named by their content.
    """

    def __init__(self, data: Path | str | None, pictures: Path):
        self._data, self._pictures = data, pictures
        self._opened: dict[str, Any] = {}
        self._tables: dict[tuple[str, str], tuple[Any, dict[str, int]]] = {}

    def dataset(self, results: Results) -> tuple[Any, str]:
        """The dataset of a run, or None and why."""
        key = str(self._data) if self._data is not None else f"{results.data.source} {results.config.get('data')}"
        try:
            if key not in self._opened:
                self._opened[key] = dataset_of(results, self._data)
        except NoDataset:
            return None, "Questions and pictures are not shown: the dataset is not here (--data names it)."
        found = self._opened[key]
        if found.fingerprint != current_fingerprint(results.data.fingerprint):
            return None, "Questions and pictures are not shown: the run was made on another dataset than --data names."
        return found, ""

    def record(self, dataset: Any, task: str, id: str) -> dict[str, Any] | None:
        """A test record; None where the dataset has none of this id."""
        key = (dataset.fingerprint, task)
        if key not in self._tables:
            table = dataset.records(task, "test")
            self._tables[key] = table, {name: place for place, name in enumerate(table["id"])}
        table, places = self._tables[key]
        return dict(table[places[id]]) if id in places else None

    def pictures(self, record: dict[str, Any]) -> list[Picture]:
        """The pictures of a record, written as PNG files."""
        found: list[Picture] = []
        for image in decoded_images(record)[:MOST_PICTURES]:
            image.thumbnail((SIDE, SIDE))
            out = io.BytesIO()
            image.save(out, "PNG")  # decoded and encoded again: no metadata, no other format, nothing behind the end
            name = f"{hashlib.sha256(out.getvalue()).hexdigest()[:20]}.png"
            self._pictures.mkdir(exist_ok=True)
            if not (self._pictures / name).exists():
                (self._pictures / name).write_bytes(out.getvalue())
            found.append(Picture(name, *image.size))
        return found


def answers(folder: Path, results: Results, questions: Questions) -> Answers:
    """Ten answers of the first seed at the last point to the clients' own tasks, evenly spaced over all of them."""
    run = results.runs[0]
    try:
        rows = read_predictions(prediction_path(folder, run.seed, len(run.rounds)))
    except DrakeError as error:
        return Answers([], f"No answers are shown: {shown(error)}")
    own = {(client.id, task) for client in results.clients for task in client.tasks}
    mine = [row for row in rows if (row.client, row.task) in own] or rows
    chosen = spaced(mine, SAMPLES)
    dataset, missing = questions.dataset(results)
    note = (
        f"{len(chosen)} of {len(mine):,} answers of seed {run.seed} after round {run.rounds[-1]}, evenly spaced "
        f"over the clients' own tasks, not chosen. {missing}"
    )
    return Answers([_sample(row, dataset, questions) for row in chosen], note)


def spaced(rows: Sequence[Prediction], count: int) -> list[Prediction]:
    """`count` rows at equal distances, the first half a distance from the start."""
    count = min(count, len(rows))
    return [rows[(2 * k + 1) * len(rows) // (2 * count)] for k in range(count)]


def _sample(row: Prediction, dataset: Any, questions: Questions) -> Sample:
    record = None if dataset is None else questions.record(dataset, row.task, row.id)
    pictures: list[Picture] = []
    note = ""
    if record is not None and record.get("images"):
        try:
            pictures = questions.pictures(record)
        except DrakeError as error:
            note = f"Pictures are not shown: {error}"
    verdict = "open" if row.correct is None else "right" if row.correct else "wrong"
    return Sample(
        client=row.client,
        task=row.task,
        id=shown(row.id),
        answer=shown(row.text, MOST_ANSWER),
        gold=shown(row.gold, MOST_ANSWER),
        verdict=verdict,
        score=f"{token_f1(row.text, row.gold):.2f}" if verdict == "open" else "",
        question="" if record is None else _lines(str(record["prompt"])),
        pictures=pictures,
        note=note,
    )


def _lines(text: str) -> str:
    """A question as it may be shown, its line breaks kept."""
    return "\n".join(shown(part, MOST_QUESTION) for part in text[:MOST_QUESTION].splitlines())
