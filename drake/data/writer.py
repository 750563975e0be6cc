"""Records -> a dataset folder that `datasets.load_dataset` opens. Only `drake.data.building` and its tests call this.

    data/<task>/<split>-00000.parquet     one row per record, images with the bytes they came with
    data/public/public-00000.parquet
    schedules/<name>.parquet              rows (client, round, position, task, id)
    README.md, croissant.json             the dataset card and its metadata (`card.py`)
    manifest.json                         hashes, sizes, clients (`manifest.py`)

The folder grows under a temporary name beside its target and is renamed when it is complete. The same
records in the same order give the same bytes, as long as the versions of the libraries are the same.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value

from drake.common.files import check_folder, writing
from drake.data import card
from drake.data.manifest import (
    DATA,
    MANIFEST,
    PUBLIC,
    SCHEDULES,
    FileEntry,
    Manifest,
    ScheduleEntry,
    TaskEntry,
    fingerprint,
    sha256,
)
from drake.data.record import Record
from drake.data.schedules import federation_schedule
from drake.errors import DrakeError

FEATURES = Features(
    {
        "id": Value("string"),
        "task": Value("string"),
        "source": Value("string"),
        "category": Value("string"),
        "images": List(Image()),
        "prompt": Value("string"),
        "choices": List(Value("string")),
        "answer": Value("string"),
        "metric": Value("string"),
    }
)
SCHEDULE_FEATURES = Features(
    {
        "client": Value("int32"),
        "round": Value("int32"),
        "position": Value("int32"),
        "task": Value("string"),
        "id": Value("string"),
    }
)
MOST_BUFFERED = 64 << 20
"""Bytes of records that wait in memory, over all files; reaching it writes one row group per waiting file."""
SHARD = 512 << 20
"""Bytes after which a task's split continues in its next file."""


class Schedules(NamedTuple):
    """Which schedules to store: for these clients, every (split, alpha) of `splits`; alpha None where
    unused."""

    clients: Sequence[Sequence[str]]
    splits: Sequence[tuple[str, float | None]]
    rounds_per_task: float
    dealt: str = "catalog"


class Provenance(NamedTuple):
    """What the manifest and the card say about where the records come from; fields as in `Manifest`."""

    name: str
    source: str
    revision: str
    seed: int
    parameters: Mapping[str, int | float | str]
    licence: str


def schedule_name(split: str, alpha: float | None) -> str:
    """The config a schedule is stored as: "dynamic", "static", "dirichlet-0.5", "dirichlet-across-0.5"."""
    return split if alpha is None else f"{split}-{alpha:g}"


def write_dataset(
    folder: Path,
    records: Iterable[tuple[str, Record]],
    *,
    schedules: Schedules,
    provenance: Provenance,
    overwrite: bool = False,
) -> Manifest:
    """Write (split, record) pairs, split being "train", "test" or "public", as the dataset `folder`.

    Records are streamed: what is held is at most MOST_BUFFERED bytes of them and the ids of the train splits.
    `overwrite` replaces an earlier built dataset, and nothing else.
    Raises DrakeError when the target is in the way or cannot be written, when a record is inconsistent or
    repeated, and when a client's task has no train or no test records.
    """
    folder = Path(folder)
    check_target(folder, overwrite)
    with writing(folder), _temporary_sibling(folder) as temporary:
        contents = _write_records(temporary, records)
        if not contents.tasks:
            raise DrakeError(f"nothing to write to {folder}: the source {provenance.source!r} holds no record.")
        for task in (task for tasks in schedules.clients for task in tasks):
            entry = contents.tasks.get(task)
            if entry is None or not entry.train or not entry.test:
                raise DrakeError(f"task {task!r} of a client needs records in train and in test; it lacks some.")
        stored = _write_schedules(temporary, schedules, contents.train_ids, provenance.seed)
        files = {name: _entry(temporary / name) for name in _parquet_files(temporary)}
        of_clients = {task for tasks in schedules.clients for task in tasks}
        manifest = Manifest(
            name=provenance.name,
            source=provenance.source,
            revision=provenance.revision,
            seed=provenance.seed,
            parameters=dict(provenance.parameters),
            fingerprint=fingerprint(files.items()),
            clients=tuple(map(tuple, schedules.clients)),
            dealt=schedules.dealt,
            unseen=tuple(sorted(task for task in contents.tasks if task not in of_clients)),
            tasks=dict(sorted(contents.tasks.items())),
            public=contents.public,
            schedules=stored,
            files=files,
        )
        described = {
            "README.md": card.readme(manifest, provenance.licence),
            "croissant.json": card.croissant(manifest, provenance.licence),
            MANIFEST: manifest.model_dump_json(indent=1) + "\n",
        }
        for name, text in described.items():
            (temporary / name).write_text(text, encoding="utf-8")
        _publish(temporary, folder, overwrite)
    return manifest


def check_target(folder: Path, overwrite: bool) -> None:
    """Raise DrakeError when a dataset cannot be put at `folder`; called early, before the work is done."""
    check_folder(folder.parent)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DrakeError(f"{folder} is a file; choose another --out.")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise DrakeError(f"{folder} exists and is not empty; choose another --out, or pass --overwrite.")
    if not (folder / MANIFEST).is_file():
        raise DrakeError(f"{folder} is no built dataset, so it is not overwritten; choose another --out.")


class _Contents(NamedTuple):
    tasks: dict[str, TaskEntry]
    train_ids: dict[str, list[str]]
    public: int


def _write_records(folder: Path, records: Iterable[tuple[str, Record]]) -> _Contents:
    files: dict[tuple[str, str], _Shards] = {}
    first: dict[str, Record] = {}
    ids: dict[tuple[str, str], dict[str, None]] = {}
    buffered = 0
    try:
        for split, record in records:
            _check_record(split, record)
            key = (record.task, split)
            if key not in files:
                files[key] = _Shards(folder / DATA / record.task, split)
                ids[key] = {}
            if record.id in ids[key]:
                raise DrakeError(f"two records of {record.task} ({split}) are called {record.id!r}.")
            ids[key][record.id] = None
            first.setdefault(record.task, record)
            buffered += files[key].add(record)
            if buffered >= MOST_BUFFERED:
                for shards in files.values():
                    shards.flush()
                buffered = 0
    finally:
        for shards in files.values():
            shards.close()
    count = {key: len(known) for key, known in ids.items()}
    return _Contents(
        tasks={
            task: TaskEntry(
                source=record.source,
                category=record.category,
                metric=record.metric,
                train=count.get((task, "train"), 0),
                test=count.get((task, "test"), 0),
            )
            for task, record in first.items()
            if task != PUBLIC
        },
        train_ids={task: list(known) for (task, split), known in ids.items() if split == "train"},
        public=count.get((PUBLIC, PUBLIC), 0),
    )


def _check_record(split: str, record: Record) -> None:
    if split not in ("train", "test", PUBLIC) or (split == PUBLIC) != (record.task == PUBLIC):
        raise DrakeError(f"record {record.id!r} of task {record.task!r} cannot be in a split called {split!r}.")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", record.task, re.ASCII):
        raise DrakeError(f"{record.task!r} cannot name a task: use letters, digits, '_', '-' and '.'.")
    if (marks := record.prompt.count("<image>")) != len(record.images):
        raise DrakeError(f"record {record.id!r} has {len(record.images)} images and {marks} <image> in its prompt.")


class _Shards:
    """The Parquet files of one task's split, one after another."""

    def __init__(self, folder: Path, split: str):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._split = folder, split
        self._rows: list[Record] = []
        self._writer: pq.ParquetWriter | None = None
        self._count = self._written = self._buffered = 0

    def add(self, record: Record) -> int:
        """Keep a record until `flush`; returns about how many bytes that takes."""
        self._rows.append(record)
        size = sum(map(len, record.images)) + 4 * len(record.prompt) + 1000
        self._buffered += size
        return size

    def flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._writer = _parquet_writer(
                self._folder / f"{self._split}-{self._count:05d}.parquet", FEATURES.arrow_schema
            )
        self._writer.write_table(_table(self._rows))
        self._written += self._buffered
        self._rows, self._buffered = [], 0
        if self._written >= SHARD:
            self.close()

    def close(self) -> None:
        self.flush()
        if self._writer is not None:
            self._writer.close()
            self._writer, self._count, self._written = None, self._count + 1, 0


def _table(rows: Sequence[Record]) -> pa.Table:
    columns = dict(zip(Record._fields, map(list, zip(*rows, strict=True)), strict=True))
    columns["images"] = [[{"bytes": image, "path": None} for image in images] for images in columns["images"]]
    return pa.Table.from_pydict({name: columns[name] for name in FEATURES}, schema=FEATURES.arrow_schema)


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Pictures are compressed already and rarely repeat within a task: a dictionary of them would only cost
    # memory.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=texts, write_statistics=texts)


def _write_schedules(
    folder: Path, schedules: Schedules, train_ids: Mapping[str, Sequence[str]], seed: int
) -> dict[str, ScheduleEntry]:
    sizes = {task: len(ids) for task, ids in train_ids.items()}
    entries = {}
    for split, alpha in schedules.splits:
        name = schedule_name(split, alpha)
        drawn = federation_schedule(
            split, schedules.clients, sizes, schedules.rounds_per_task, seed, 0.5 if alpha is None else alpha
        )
        path = folder / SCHEDULES / f"{name}.parquet"
        with _parquet_writer(path, SCHEDULE_FEATURES.arrow_schema) as writer:
            for client, rounds in enumerate(drawn):
                rows = [
                    (client, number, position, task, train_ids[task][row])
                    for number, arrivals in enumerate(rounds)
                    for position, (task, row) in enumerate(arrivals)
                ]
                columns = zip(*rows, strict=True) if rows else ([] for _ in SCHEDULE_FEATURES)
                table = dict(zip(SCHEDULE_FEATURES, map(list, columns), strict=True))
                writer.write_table(pa.Table.from_pydict(table, schema=SCHEDULE_FEATURES.arrow_schema))
        entries[name] = ScheduleEntry(
            split=split, alpha=alpha, rounds_per_task=schedules.rounds_per_task, rounds=max(map(len, drawn))
        )
    return entries


def _parquet_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=sha256(path), bytes=path.stat().st_size, rows=pq.read_metadata(path).num_rows)


@contextmanager
def _temporary_sibling(folder: Path) -> Iterator[Path]:
    """A new empty folder beside `folder`, on the same disk so that it can be renamed; gone when done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as outer:
        inner = Path(outer) / folder.name
        inner.mkdir()  # with the usual permissions; those of the outer one are for its owner only
        yield inner


def _publish(temporary: Path, folder: Path, overwrite: bool) -> None:
    """Make `temporary` durable and give it its name; DrakeError when something appeared there meanwhile."""
    for path in (*temporary.rglob("*"), temporary):
        _fsync(path)
    if overwrite and (folder / MANIFEST).is_file():  # the old dataset steps aside, then goes
        aside = temporary.parent / "replaced"
        os.rename(folder, aside)
        os.rename(temporary, folder)
        shutil.rmtree(aside)
    else:
        try:
            os.rename(temporary, folder)  # takes the place of an empty folder, never of a full one
        except OSError as error:
            if folder.exists():
                raise DrakeError(
                    f"{folder} appeared while it was being built; choose another --out, or pass --overwrite."
                ) from error
            raise
    _fsync(folder.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
