"""What the readers of raw data sets share: `RawDataset`, its entries and drafts, and texts for prompts.

A reader turns rows of the published files into entries, and the entries of one task and split into drafts of records.
Train and test are divided between the two steps (`splitting`), so that what a draft borrows from other entries, such as
a wrong picture or a wrong answer, comes from its own split.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar, NamedTuple

from drake.data.oracle import IMAGE_MARK
from drake.data.sources.base import Split
from drake.data.sources.files import MOST_RECORD_BYTES, check_regular, inside
from drake.data.sources.tables import MOST_LINE, Row, file_rows
from drake.errors import DrakeError

TRUE_FALSE = ("True", "False")
LETTERS = ("A", "B", "C", "D")
IMAGES = tuple(f"Image {letter}" for letter in LETTERS)


class Size(NamedTuple):
    """Records of a task, at most: as reported for the release, or documented in docs/reconstruction.md."""

    train: int
    test: int


@dataclass(frozen=True)
class Entry:
    """A row of a raw file.

    where: file and row, for errors. values: what the reader needs of it. groups: names of pictures, scenes, books or
    phrases; train and test share none. task: its task; "" where entries are shared out among several tasks.
    """

    where: str
    values: Mapping[str, Any]
    groups: tuple[str, ...]
    task: str = ""


class Cell(NamedTuple):
    """A picture in a Parquet file: the file below the data set's folder, the row, the column."""

    file: str
    row: int
    column: str


Picture = tuple[str, ...] | Cell
"""Paths below the data set's folder where a picture may lie, the first that exists counts; or a cell."""


class Draft(NamedTuple):
    """A record before its pictures are read."""

    where: str
    prompt: str
    pictures: tuple[Picture, ...]
    choices: tuple[str, ...]
    answer: str


class RawDataset(ABC):
    """The published files of one source data set, in a folder that has its name.

    name: of the source and of its folder. licence: in words. sizes: its tasks. files: of each part of the data's own
    division, patterns of record files below the folder.
    """

    name: ClassVar[str]
    licence: ClassVar[str]
    sizes: ClassVar[Mapping[str, Size]]
    files: ClassVar[Mapping[Split, tuple[str, ...]]]
    share_out: ClassVar[bool] = False
    """Whether every entry is for one of the tasks only, drawn by the seed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def record_files(self) -> dict[Split, list[Path]]:
        """The record files that are there; DrakeError for one that leads out of the folder."""
        return {
            split: [p for pattern in patterns for p in self._found(pattern)] for split, patterns in self.files.items()
        }

    def _found(self, pattern: str) -> Iterator[Path]:
        for path in sorted(self.folder.glob(pattern)):
            try:
                yield inside(self.folder, path.relative_to(self.folder).as_posix())
            except ValueError as error:
                raise DrakeError(f"a record file of {self.name} cannot be used: {error}.") from error

    def rows(self, path: Path) -> Iterator[Row]:
        """The rows of a record file."""
        return raw_rows(path)

    def entries(self, path: Path) -> Iterator[Entry]:
        """The entries of a record file; by default one for each row."""
        for row in self.rows(path):
            if (entry := self.entry(row)) is not None:
                yield entry

    def entry(self, row: Row) -> Entry | None:
        """The entry of a row; None for one that no task uses. DrakeError for a row that cannot be used."""
        raise NotImplementedError

    def own_split(self, entry: Entry, split: Split) -> Split:
        """The split of an entry by the data's own division. split: that of its file."""
        return split

    def of_task(self, task: str, entries: Sequence[Entry]) -> list[Entry]:
        """The entries of one split that a task may use."""
        return [entry for entry in entries if entry.task in ("", task)]

    @abstractmethod
    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """The records of a task's split. entries: those drawn for it. pool: all of the split, of
        which drafts may borrow wrong pictures and answers."""


def raw_rows(path: Path) -> Iterator[Row]:
    """The rows of a file; a file called .json may hold JSON Lines too."""
    if path.suffix != ".json":
        return file_rows(path)
    check_regular(path, MOST_RECORD_BYTES)
    with path.open("rb") as file:
        head = file.read(1000).lstrip()
    return _json_lines(path) if head.startswith(b"{") else file_rows(path)


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_LINE), b""), 1):
            if line.strip():
                where = f"{path}, line {number}"
                yield Row(where, json_object(where, line))


def json_object(where: str, text: bytes) -> dict[str, Any]:
    """The JSON object in a text; DrakeError, beginning with `where`, for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DrakeError(f"{where} is not valid JSON ({error}); fetch it again.") from error
    if not isinstance(value, dict):
        raise DrakeError(f"{where} is a JSON {type(value).__name__} where an object belongs; fetch it again.")
    return value


def text_of(row: Row, column: str) -> str:
    """The text in a column; DrakeError if there is none. Numbers are spelled out."""
    value = value_of(row, column)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DrakeError(f"{row.where}: its {column!r} holds {type(value).__name__} where a text belongs.")
    text = str(value).strip()
    if not text:
        raise DrakeError(f"{row.where}: its {column!r} is empty.")
    return text.replace(IMAGE_MARK, "image")


def value_of(row: Row, column: str) -> Any:
    """The value in a column; DrakeError if the row has no such column."""
    if column not in row.values:
        raise DrakeError(
            f"{row.where} has no column {column!r}; it has {', '.join(map(str, row.values)) or 'none'}: is this the "
            "published file?"
        )
    return row.values[column]


def one_of(row: Row, column: str, answers: Mapping[str, str]) -> str:
    """The answer that a label stands for; DrakeError for a label that is none of those."""
    label = text_of(row, column)
    if label not in answers:
        raise DrakeError(f"{row.where}: its {column!r} is {label[:80]!r}; it must be {' or '.join(answers)}.")
    return answers[label]


def ask(*parts: str, choices: Iterable[str], instruct: str = " Your answer is:") -> str:
    """A prompt of several lines that ends with its choices."""
    return "\n".join(parts) + f"\nChoice list:[{', '.join(choices)}].{instruct}"


def listable(text: str) -> bool:
    """Whether a text can stand in a choice list: protocol `official` cuts lists at commas and ends them at "]"."""
    return bool(text) and not re.search(r"[,\[\]|\n\"']", text)


def others(answer: str, pool: Sequence[str], count: int, rng: Random) -> list[str]:
    """So many different texts of the pool that are not the answer, by lower case; fewer if it has no more."""
    by_text = {text.lower(): text for text in reversed(pool)}
    by_text.pop(answer.lower(), None)
    return rng.sample(sorted(by_text.values()), min(count, len(by_text)))


def shuffled(choices: Iterable[str], rng: Random) -> tuple[str, ...]:
    """The choices in a drawn order."""
    drawn = list(choices)
    rng.shuffle(drawn)
    return tuple(drawn)
