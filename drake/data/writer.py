"""Records -> a dataset folder that `datasets.load_dataset` opens. Only `drake.data.building` and its tests call this.

    data/<task>/<split>-00000.parquet     one row per record, images with the bytes they came with
    data/public/public-00000.parquet
    schedules/<name>.parquet              rows (client, round, position, task, id)
    README.md, croissant.json             the dataset card (`card.py`) and its metadata (`croissant.py`)
    manifest.json                         hashes, sizes, clients (`manifest.py`)

The folder is written under a temporary name beside its target and renamed when it is complete. The same records in
the same order give the same bytes, as long as the versions of the libraries are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from drake.common.files import writing
from drake.data import card
from drake.data.columns import SCHEDULE_COLUMNS, schedule_table
from drake.data.croissant import croissant
from drake.data.manifest import (
    DATA,
    MANIFEST,
    PUBLIC,
    SCHEDULES,
    FileEntry,
    Manifest,
    ScheduleEntry,
    TaskEntry,
    check_clients,
    fingerprint,
    legacy_fingerprint,
    sha256,
)
from drake.data.oracle import GoldVerdicts, check_record
from drake.data.parquet_files import Shards, parquet_writer, row_count
from drake.data.publishing import check_target, publish, temporary_sibling
from drake.data.record import MetricName, Record
from drake.data.schedules import federation_schedule
from drake.errors import DrakeError
from drake.scoring.answers import PROTOCOLS

MOST_BUFFERED = 64 << 20
"""Bytes of records kept in memory over all files; beyond that, every file with such records gets a row group."""


class Schedules(NamedTuple):
    """The schedules to store: for these clients, every (split, alpha) of `splits`; alpha is None for splits without.

    dealt: how tasks were assigned to the clients, for the manifest.
    """

    clients: Sequence[Sequence[str]]
    splits: Sequence[tuple[str, float | None]]
    rounds_per_task: float
    dealt: str = "catalog"


class Provenance(NamedTuple):
    """The origin of the records, for the manifest and the card; fields as in `Manifest` and `Source`."""

    name: str
    source: str
    revision: str
    seed: int
    parameters: Mapping[str, Any]
    licence: str
    about: str = ""
    licences: Mapping[str, str] = {}
    responsible_ai: Mapping[str, str] = {}


def schedule_name(split: str, alpha: float | None) -> str:
    """The config name of a schedule: "dynamic", "static", "dirichlet-0.5", "dirichlet-across-0.5"."""
    return split if alpha is None else f"{split}-{alpha:g}"


def write_dataset(
    folder: Path,
    records: Iterable[tuple[str, Record]],
    *,
    schedules: Schedules,
    provenance: Provenance,
    overwrite: bool = False,
    verdicts: GoldVerdicts | None = None,
) -> Manifest:
    """Write (split, record) pairs, split being "train", "test" or "public", as the dataset `folder`.

    Records are streamed: memory holds at most `MOST_BUFFERED` bytes of them, and the ids of all.
    overwrite: replace an earlier built dataset, and nothing else.
    verdicts: is given every record; its counts are stored in the manifest.

    Raises DrakeError if the target exists or cannot be written, if a record is inconsistent or repeated, and if a
    client's task has no train or no test records.
    """
    folder, verdicts = Path(folder), verdicts or GoldVerdicts()
    check_target(folder, overwrite)
    with writing(folder), temporary_sibling(folder) as temporary:
        contents = _write_records(temporary, records, verdicts)
        manifest = complete(temporary, contents, schedules=schedules, provenance=provenance)
        publish(temporary, folder, overwrite)
    return manifest


def complete(
    temporary: Path,
    contents: Contents,
    *,
    schedules: Schedules,
    provenance: Provenance,
    known: Mapping[str, FileEntry] | None = None,
) -> Manifest:
    """Add schedules, card and manifest to a folder that holds the record files.

    known: entries of record files that have been hashed already, by their name in the folder. Raises what
    `write_dataset` raises for wrong clients or no records.
    """
    if not contents.tasks:
        raise DrakeError(f"there is nothing to write to the dataset: the source {provenance.source!r} holds no record.")
    for task in (task for tasks in schedules.clients for task in tasks):
        entry = contents.tasks.get(task)
        if entry is None or not entry.train or not entry.test:
            raise DrakeError(f"task {task!r} of a client needs records in train and in test; it lacks some.")
    try:
        check_clients(schedules.clients, contents.tasks)
    except ValueError as error:
        raise DrakeError(f"the clients of {provenance.name} cannot be used: {error}.") from error
    stored = _write_schedules(temporary, schedules, contents.train_ids, provenance.seed)
    known = known or {}
    files = {name: known.get(name) or file_entry(temporary / name) for name in _parquet_files(temporary)}
    of_clients = {task for tasks in schedules.clients for task in tasks}
    manifest = Manifest(
        name=provenance.name,
        source=provenance.source,
        revision=provenance.revision,
        seed=provenance.seed,
        parameters=dict(provenance.parameters),
        fingerprint=fingerprint(files.items(), schedules.clients),
        legacy_fingerprint=legacy_fingerprint(files.items()),
        clients=tuple(map(tuple, schedules.clients)),
        dealt=schedules.dealt,
        unseen=tuple(sorted(task for task in contents.tasks if task not in of_clients)),
        tasks=dict(sorted(contents.tasks.items())),
        public=contents.public,
        schedules=stored,
        files=files,
    )
    described = {
        "README.md": card.readme(manifest, provenance.licence, provenance.about, provenance.licences),
        "croissant.json": croissant(
            manifest, provenance.licence, provenance.about, provenance.licences, provenance.responsible_ai
        ),
        MANIFEST: manifest.model_dump_json(indent=1) + "\n",
    }
    for name, text in described.items():
        (temporary / name).write_text(text, encoding="utf-8")
    return manifest


class Contents(NamedTuple):
    """What the record files hold: tasks, the ids of each task's train records, and the number of public records."""

    tasks: dict[str, TaskEntry]
    train_ids: dict[str, list[str]]
    public: int


def _write_records(folder: Path, records: Iterable[tuple[str, Record]], verdicts: GoldVerdicts) -> Contents:
    files: dict[tuple[str, str], Shards] = {}
    first: dict[str, Record] = {}
    ids: dict[tuple[str, str], dict[str, None]] = {}
    buffered = 0
    try:
        for split, record in records:
            check_record(split, record)
            key = (record.task, split)
            if key not in files:
                files[key] = Shards(folder / DATA / record.task, split)
                ids[key] = {}
            if record.id in ids[key]:
                raise DrakeError(f"two records of {record.task} ({split}) are called {record.id!r}.")
            ids[key][record.id] = None
            if first.setdefault(record.task, record).metric != record.metric and record.task != PUBLIC:
                raise DrakeError(
                    f"record {record.id!r} has the metric {record.metric!r}, others of its task have "
                    f"{first[record.task].metric!r}; a task has one metric."
                )
            verdicts.add(record)
            buffered += files[key].add(record)
            if buffered >= MOST_BUFFERED:
                for shards in files.values():
                    shards.flush()
                buffered = 0
    finally:
        for shards in files.values():
            shards.close()
    count = {key: len(known) for key, known in ids.items()}
    return Contents(
        tasks={
            task: TaskEntry(
                source=record.source,
                category=record.category,
                metric=cast(MetricName, record.metric),  # `check_record` refuses others
                train=count.get((task, "train"), 0),
                test=count.get((task, "test"), 0),
                gold_fails={p: n for p in PROTOCOLS if (n := verdicts.count[task, p])},
            )
            for task, record in first.items()
            if task != PUBLIC
        },
        train_ids={task: list(known) for (task, split), known in ids.items() if split == "train"},
        public=count.get((PUBLIC, PUBLIC), 0),
    )


def _write_schedules(
    folder: Path, schedules: Schedules, train_ids: Mapping[str, Sequence[str]], seed: int
) -> dict[str, ScheduleEntry]:
    sizes = {task: len(ids) for task, ids in train_ids.items()}
    entries: dict[str, ScheduleEntry] = {}
    for split, alpha in schedules.splits:
        name = schedule_name(split, alpha)
        drawn = federation_schedule(
            split, schedules.clients, sizes, schedules.rounds_per_task, seed, 0.5 if alpha is None else alpha
        )
        path = folder / SCHEDULES / f"{name}.parquet"
        with parquet_writer(path, SCHEDULE_COLUMNS) as writer:
            for client, rounds in enumerate(drawn):
                rows = [
                    (client, number, position, task, train_ids[task][row])
                    for number, arrivals in enumerate(rounds)
                    for position, (task, row) in enumerate(arrivals)
                ]
                writer.write_table(schedule_table(rows))
        entries[name] = ScheduleEntry(
            split=split, alpha=alpha, rounds_per_task=schedules.rounds_per_task, rounds=max(map(len, drawn))
        )
    return entries


def _parquet_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))


def file_entry(path: Path) -> FileEntry:
    """The manifest's entry of a Parquet file."""
    return FileEntry(sha256=sha256(path), bytes=path.stat().st_size, rows=row_count(path))
