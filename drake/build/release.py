"""The official release, as an extracted folder, to records. Only `drake.build` and its tests call this.

    <dataset>/<any folder>/<picture>
    <dataset>/train/dataset-<k>.json      a list of {id, image: path or [paths], conversations: [human, gpt]}
    <dataset>/test/dataset-<k>.json

all of it in a folder called `dataset`; paths of pictures start at the folder that holds it. Nothing in a
release is
trusted: what is wrong with it is one sentence that names the file and the record.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from ..catalog import tasks as catalog_tasks
from ..errors import DrakeError
from .manifest import sha256
from .record import Record

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What a picture may be; Pillow's other readers (EPS starts a program) are not for files from outside."""
MOST_BYTES = 256 << 20
"""A larger file is not a picture of this benchmark."""

RecordFiles = dict[str, dict[str, Path]]
"""Record files by task id, then by split."""


def release_files(folder: Path) -> RecordFiles:
    """The record files of a release by task id ("NLVR2-0") and split, sorted.

    folder: the one that holds `dataset/`, or the dataset folder itself. Raises DrakeError when it is neither.
    """
    dataset = _dataset_folder(Path(folder))
    found: RecordFiles = {}
    for path in dataset.glob("*/*/dataset-*.json"):
        number = re.fullmatch(r"dataset-(\d+)\.json", path.name)
        if number and path.parent.name in ("train", "test"):
            found.setdefault(f"{path.parent.parent.name}-{number[1]}", {})[path.parent.name] = path
    return {task: found[task] for task in sorted(found)}


def release_revision(folder: Path) -> str:
    """What this copy of the release holds: "sha256:" and a hash over the names and hashes of its record
    files."""
    dataset = _dataset_folder(Path(folder))
    files = sorted(path for splits in release_files(folder).values() for path in splits.values())
    try:
        lines = "\n".join(f"{path.relative_to(dataset).as_posix()} {sha256(path)}" for path in files)
    except OSError as error:
        raise DrakeError(f"{error.filename} cannot be read ({error.strerror}); check its permissions.") from error
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def release_records(folder: Path) -> Iterator[tuple[str, Record]]:
    """(split, record) of every task of a release, task by task, train before test, in the order of the files.

    Bytes of pictures are those of the files; each picture is decoded once to make sure that it can be.
    Source, category and metric are the catalog's; of a task that it lacks, the category is "" and the
    metric "accuracy" if every prompt of its first file names choices, "token-F1" otherwise. Raises
    DrakeError for the first thing that is wrong.
    """
    pictures = _Pictures(_dataset_folder(Path(folder)))
    for task, splits in release_files(folder).items():
        of_task = {split: _read_list(splits[split]) for split in ("train", "test") if split in splits}
        kind = None
        for split, rows in of_task.items():
            path = splits[split]
            turns = [_turns(path, index, row) for index, row in enumerate(rows)]
            kind = kind or _kind(task, turns)
            category, metric = kind
            for index, (row, (prompt, answer)) in enumerate(zip(rows, turns, strict=True)):
                yield (
                    split,
                    Record(
                        id=f"{task}/{split}/{index:06d}",
                        task=task,
                        source=task.rpartition("-")[0],
                        category=category,
                        images=pictures.of(path, index, row, prompt),
                        prompt=prompt,
                        choices=_choices(prompt, answer) if metric == "accuracy" else (),
                        answer=answer,
                        metric=metric,
                    ),
                )


def _dataset_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise DrakeError(f"there is no folder {folder}; give the folder that holds the release's dataset/.")
    for candidate in (folder / "dataset", folder):
        if any(candidate.glob("*/train/dataset-*.json")) or any(candidate.glob("*/test/dataset-*.json")):
            return candidate.resolve()
    raise DrakeError(
        f"{folder} is not laid out as the official release: it holds no dataset/<name>/train/dataset-<k>.json; "
        "extract the release there, or give the folder that holds its dataset/."
    )


def _read_list(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DrakeError(f"{path} is not valid JSON ({error}); fetch it again.") from error
    if not isinstance(rows, list):
        raise DrakeError(f"{path} holds a JSON {type(rows).__name__} where a list of records belongs.")
    return rows


def _where(path: Path, index: int) -> str:
    return f"{path}, record {index} (counted from 0)"


def _turns(path: Path, index: int, row: Any) -> tuple[str, str]:
    """The one question and the one answer of a record."""
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list):
        turns = []
    speakers = [turn.get("from") if isinstance(turn, dict) else None for turn in turns]
    if speakers != ["human", "gpt"] or not all(isinstance(turn.get("value"), str) for turn in turns):
        raise DrakeError(
            f"{_where(path, index)}: 'conversations' must be one turn from human and one from gpt, each with a text."
        )
    return turns[0]["value"], turns[1]["value"]


def _kind(task: str, turns: list[tuple[str, str]]) -> tuple[str, str]:
    """(category, metric) of a task."""
    known = catalog_tasks().get(task)
    if known is not None:
        return known.category or "", known.metric
    return "", "accuracy" if turns and all(_choices(*turn) for turn in turns) else "token-F1"


def _choices(prompt: str, answer: str) -> tuple[str, ...]:
    from ..scoring.listed import listed_choices  # here: the mini suite needs no parser

    return tuple(listed_choices(prompt, answer))


class _Pictures:
    """Reads pictures below the dataset folder, and decodes each file once to check it."""

    def __init__(self, dataset: Path):
        self._dataset = dataset
        self._checked: set[Path] = set()

    def of(self, path: Path, index: int, row: dict[str, Any], prompt: str) -> tuple[bytes, ...]:
        """The pictures of a record, as many as its prompt has <image> marks."""
        named = row.get("image", [])
        names = [named] if isinstance(named, str) else named
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DrakeError(f"{_where(path, index)}: 'image' must be a path or a list of paths.")
        if (marks := prompt.count("<image>")) != len(names):
            raise DrakeError(f"{_where(path, index)}: the prompt has {marks} <image> for {len(names)} images.")
        return tuple(self._read(_where(path, index), name) for name in names)

    def _read(self, where: str, name: str) -> bytes:
        try:
            file = self._find(where, name)
            if not file.is_file():
                raise DrakeError(f"{where}: its image {name} is missing; extract the release again.")
            if file.stat().st_size > MOST_BYTES:
                raise DrakeError(f"{where}: its image {name} is larger than {MOST_BYTES >> 20} MiB.")
            encoded = file.read_bytes()
        except (OSError, RuntimeError, ValueError) as error:  # no such name can be, a loop of links, no permission
            raise DrakeError(f"{where}: its image {name!r} cannot be read ({error}).") from error
        if file not in self._checked:
            _decode(where, name, encoded)
            self._checked.add(file)
        return encoded

    def _find(self, where: str, name: str) -> Path:
        parts = PurePosixPath(name).parts
        found = self._dataset.joinpath(*parts[1:]).resolve()
        # A link that leads out is refused like "..": a release may come from anywhere.
        if parts[:1] != ("dataset",) or ".." in parts or not found.is_relative_to(self._dataset):
            raise DrakeError(
                f"{where}: its image path {name!r} leaves the folder of the release; it must lead from 'dataset/' "
                "to a file below it."
            )
        return found


def _decode(where: str, name: str, encoded: bytes) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                image.load()  # opening reads the header only; a truncated picture shows here
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DrakeError(f"{where}: its image {name} has too many pixels ({error}).") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DrakeError(f"{where}: its image {name} cannot be decoded ({error}).") from error
