"""What an unfinished build keeps: the folder, and what is known about its finished parts. For `drake.data.staged`.

.NAME.partial/                   beside the dataset NAME, until it is finished
    dataset/                     the record files, as in the finished dataset
    parts/TASK-SPLIT.json        what is known about finished record files (`Part`)
    stages/HASH.json             the parts of a finished stage (`Finished`)
    downloads/                   of the stage at work
    lock                         held by the process that builds
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from drake.common.files import replacing
from drake.data.manifest import FileEntry
from drake.data.oracle import GoldVerdicts
from drake.data.record import Record
from drake.errors import DrakeError
from drake.scoring.answers import Protocol

_Model = TypeVar("_Model", bound=BaseModel)


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Gold(_Stored):
    """A gold answer that a protocol marks wrong: the record's id, the answer, the choices."""

    id: str
    answer: str
    choices: tuple[str, ...]


class Part(_Stored):
    """A finished split of a task. key: of the stage's content, the code and the part. files: by name in the dataset.
    gold_fails, first_gold: by protocol, the number of gold answers that it marks wrong, and the first of them."""

    key: str
    task: str
    split: Literal["train", "test"]
    records: int
    files: dict[str, FileEntry]
    source: str = ""
    category: str = ""
    metric: str = ""
    gold_fails: dict[Literal["official", "strict"], int] = {}
    first_gold: dict[Literal["official", "strict"], Gold] = {}

    @property
    def bytes(self) -> int:
        """Size of its files in bytes."""
        return sum(entry.bytes for entry in self.files.values())


class Finished(_Stored):
    """A finished stage. parts: (task, split) of each part."""

    key: str
    parts: tuple[tuple[str, Literal["train", "test"]], ...]


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """The folder of the unfinished build, which no other process has meanwhile."""
    work = folder.absolute().parent / f".{folder.name}.partial"
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise DrakeError(f"another process is building {folder}; wait for it, or choose another --out.") from error
    try:
        yield work
    finally:
        lock.release()
        if work.is_dir() and not any(path.is_file() and path.name != "lock" for path in work.rglob("*")):
            shutil.rmtree(work)  # nothing has been made


def add_verdicts(verdicts: GoldVerdicts, part: Part) -> None:
    """Add the gold answers of a finished part that a protocol marks wrong."""
    for protocol, count in part.gold_fails.items():
        verdicts.count[part.task, protocol] += count
    for protocol, gold in part.first_gold.items():
        record = Record(gold.id, part.task, part.source, part.category, (), "", gold.choices, gold.answer, part.metric)
        key: tuple[str, Protocol] = (part.task, protocol)
        verdicts.first.setdefault(key, record)


def store(path: Path, model: BaseModel) -> None:
    """Write a model to a file, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(model.model_dump_json(indent=1), encoding="utf-8")


def read(path: Path, kind: type[_Model]) -> _Model | None:
    """The model in a file; None if there is none that this version reads."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # not finished, or by another version
        return None
