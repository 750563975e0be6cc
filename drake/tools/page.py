"""`drake show`: the scores of a run, its worst tasks, and wrong answers with their pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from drake.common.outside import read_bytes
from drake.data.record import DatasetRow
from drake.results import Results, SeedRun

if TYPE_CHECKING:
    from PIL import Image

    from drake.data.benchmark import Benchmark
    from drake.scoring.predictions import Prediction

SAMPLES = 4
"""Wrong answers shown of a task."""
PICTURE_WIDTH = 320
"""Pixels that a picture is shown with at most; larger ones are made smaller to keep the page light."""


class OwnTask(NamedTuple):
    """One of a client's own tasks at the last point, mean over seeds. before: its score before training."""

    client: int
    model: str
    task: str
    score: float
    before: float | None


class Sample(NamedTuple):
    """A wrong answer: the question, the answer, the gold answer, and the pictures as data URIs."""

    id: str
    prompt: str
    answer: str
    gold: str
    pictures: list[str]


def own_tasks(results: Results) -> list[OwnTask]:
    """Every client's own tasks, the worst first, by protocol official."""
    found: list[OwnTask] = []
    runs = [run for run in results.runs if run.rounds]
    for client in results.clients:
        for task in client.tasks:
            last = _mean([run.scores["official"][-1][client.id][run.tasks.index(task)] for run in runs])
            before = _mean([_zero_shot(run, client.id, task) for run in runs])
            if last is not None:
                found.append(OwnTask(client.id, client.model, task, last, before))
    return sorted(found, key=lambda own: (own.score, own.task))


def _mean(scores: Sequence[float | None]) -> float | None:
    """The mean; None where a score is missing or there is none."""
    known = [score for score in scores if score is not None]
    return fmean(known) if known and len(known) == len(scores) else None


def _zero_shot(run: SeedRun, client: int, task: str) -> float | None:
    return None if run.zero_shot is None else run.zero_shot["official"][client][run.tasks.index(task)]


def wrong_answers(folder: Path, results: Results, benchmark: Benchmark, own: OwnTask, count: int) -> list[Sample]:
    """The first wrong answers of a client to one of its tasks, last point, first seed. Open-ended answers count as
    wrong where the text is not the gold one."""
    from drake.scoring.predictions import prediction_path, read_predictions  # here: a summary alone reads no answers

    run = results.runs[0]
    rows = read_predictions(prediction_path(folder, run.seed, len(run.rounds)))
    mine = [row for row in rows if (row.client, row.task) == (own.client, own.task) and not _right(row)][:count]
    table = benchmark.records(own.task, "test")
    place = {id: row for row, id in enumerate(table["id"])}
    return [_sample(row, table[place[row.id]]) for row in mine]


def _right(row: Prediction) -> bool:
    return row.text.strip() == row.gold if row.correct is None else row.correct


def _sample(row: Prediction, record: DatasetRow) -> Sample:
    from drake.data.pictures import decoded_images

    pictures = [_data_uri(image) for image in decoded_images(record)]
    return Sample(row.id, record["prompt"], row.text, row.gold, pictures)


def _data_uri(image: Image.Image) -> str:
    image.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH))
    written = io.BytesIO()
    image.save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def write_page(folder: Path, results: Results, benchmark: Benchmark, worst: int) -> str:
    """One HTML page without anything outside it: figures, curves, the worst tasks and their wrong answers."""
    from jinja2 import Environment, PackageLoader

    owned = own_tasks(results)
    shown = [(own, wrong_answers(folder, results, benchmark, own, SAMPLES)) for own in owned[:worst]]
    curves = folder / "curves.svg"
    environment = Environment(loader=PackageLoader("drake.tools", ""), autoescape=True, trim_blocks=True)
    return environment.get_template("page.html.jinja").render(
        results=results,
        owned=owned,
        shown=shown,
        curves=_inline(curves) if curves.is_file() and not curves.is_symlink() else None,
    )


def _inline(path: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(read_bytes(path)).decode()}"


def worst_lines(tasks: Sequence[OwnTask], worst: int) -> list[str]:
    """The worst tasks in words, for a terminal."""
    lines = []
    for own in tasks[:worst]:
        before = "" if own.before is None else f" (before training {100 * own.before:.1f})"
        lines.append(f"  {100 * own.score:5.1f}  {own.task}, client {own.client}, {own.model}{before}")
    return lines
