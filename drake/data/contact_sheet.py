"""Contact sheets: lines of pictures and texts as one PNG, for people to look at. `drake peek` and the pages about the
mini suite call this.

Texts are shown as they are: no markup in them is read. Fonts of matplotlib draw Latin, Greek and Cyrillic letters.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from drake.common.files import replacing
from drake.data.hub import local_folder
from drake.data.manifest import DATA, PUBLIC, Manifest, check_size, read_manifest
from drake.data.pictures import decoded
from drake.data.record import Record
from drake.data.verification.reading import record_rows
from drake.data.verification.records import as_record
from drake.errors import DrakeError, UnknownName

COLUMNS = 12
"""Cells in a line: up to eight pictures, and space for a prompt beside seven."""
CELL = 0.85
"""Side of a cell in inches."""
_TITLE = 0.2
"""Height of a title in inches."""
MOST_PICTURES = 8
"""Pictures of a record that a sheet shows."""
MOST_LINES = 200
MOST_CHARACTERS = 700
"""Characters of a prompt that are shown."""
MOST_TITLE = 100
LARGEST = 256
"""Pixels to which the longer side of a picture is reduced."""


class Line(NamedTuple):
    """One line of a sheet. pictures: each with a label. text: shown beside the pictures."""

    title: str
    pictures: Sequence[tuple[Image.Image, str]]
    text: str = ""


def draw(title: str, lines: Sequence[Line], path: Path) -> None:
    """Write a sheet as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_TITLE + (1.5 if line.text else 1.0) * CELL for line in lines]
    width, height = COLUMNS * CELL, 2 * _TITLE + sum(heights)
    figure = Figure(figsize=(width, height))
    figure.text(0.5, 1 - _TITLE / height, title, fontsize=11, ha="center", va="center", parse_math=False)
    top = height - 2 * _TITLE
    for line, space in zip(lines, heights, strict=True):
        # All places are computed: matplotlib's own layouts take minutes for some hundred pictures.
        figure.text(0.05 / width, (top - _TITLE / 2) / height, line.title, fontsize=8, va="center", parse_math=False)
        middle = top - _TITLE - (space - _TITLE) / 2
        for place, (image, label) in enumerate(line.pictures[:COLUMNS]):
            left, low = (place + 0.05) * CELL, middle - 0.45 * CELL
            size = 0.78 * CELL if label else 0.9 * CELL
            panel = figure.add_axes((left / width, low / height, 0.9 * CELL / width, size / height))
            panel.axis("off")
            panel.imshow(image)
            panel.set_title(label, fontsize=6, pad=2, parse_math=False)
        if line.text:
            left = (len(line.pictures) + 0.3) / COLUMNS
            columns = int((1 - left) * 165)
            short = "\n".join(row for raw in line.text.splitlines() for row in textwrap.wrap(raw, columns))
            figure.text(left, middle / height, short, fontsize=6.5, va="center", parse_math=False)
        top -= space
    FigureCanvasAgg(figure)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})


def peek(
    dataset: str | Path, task: str | None = None, *, split: str = "train", records: int | None = None, out: Path
) -> int:
    """Draw a contact sheet of a built dataset: the first records of a task's split, one of each task if none is named.
    Returns the number of records drawn. Pictures are those that models see: `drake.data.pictures` decodes them.

    Raises UnknownName for another task, DrakeError for a split without records, for too many records and for pictures
    that cannot be decoded.
    """
    folder = local_folder(dataset)
    manifest = read_manifest(folder)
    named = [task] if task is not None else list(manifest.tasks)
    each = records or (1 if task is None else 12)
    lines: list[Line] = []
    for name in named:
        lines += [_line(name, record) for record in islice(_records(folder, manifest, name, split), each)]
        if task is not None and not lines:
            raise DrakeError(f"task {task} has no {split} records; choose another --split.")
    if not lines:
        raise DrakeError(f"{dataset} has no {split} records to show; choose another --split.")
    if len(lines) > MOST_LINES:
        raise DrakeError(f"{len(lines)} records do not fit on a sheet of {MOST_LINES}; name a task or fewer --records.")
    draw(f"{_shown(manifest.name)} ({split}), fingerprint {manifest.fingerprint[:16]}", lines, out)
    return len(lines)


def _records(folder: Path, manifest: Manifest, task: str, split: str) -> Iterator[Record]:
    """The records of a split, in bounded memory."""
    if task not in manifest.tasks and not (task == PUBLIC and manifest.public):
        raise UnknownName("task", task, list(manifest.tasks))
    start = f"{DATA}/{task}/{PUBLIC if task == PUBLIC else split}-"
    for name in sorted(name for name in manifest.files if name.startswith(start)):
        check_size(folder, name, manifest.files[name])
        rows = record_rows(folder / name, manifest.files[name].rows, lambda share: None)
        for number, row in enumerate(rows):
            yield as_record(f"{name}, row {number},", row)


def _line(task: str, record: Record) -> Line:
    pictures: list[tuple[Image.Image, str]] = []
    for number, encoded in enumerate(record.images[:MOST_PICTURES]):
        try:
            image = decoded(encoded)
        except DrakeError as error:
            raise DrakeError(f"record {_shown(record.id)!r} of task {task}, picture {number}: {error}") from error
        image.thumbnail((LARGEST, LARGEST))
        pictures.append((image, ""))
    more = len(record.images) - len(pictures)
    prompt = record.prompt if len(record.prompt) <= MOST_CHARACTERS else record.prompt[:MOST_CHARACTERS] + " ..."
    text = f"{prompt}\n→ {record.answer[:MOST_CHARACTERS]}" + (f"\n({more} more pictures)" if more > 0 else "")
    return Line(_shown(record.id[:MOST_TITLE]), pictures, _shown(text))


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
