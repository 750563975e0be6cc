"""An opened dataset: `drake.load`. The federation, the scoring and users read records through this.

Opening reads and checks the folder and never writes into it. Pictures stay encoded: a row's `images` are dicts with
`bytes`, so that each is decoded once, where its pixels are needed.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

from drake.common.files import cache_folder
from drake.data import arrow
from drake.data.arrow import Dataset
from drake.data.hub import local_folder
from drake.data.manifest import (
    DATA,
    PUBLIC,
    SCHEDULES,
    Check,
    Manifest,
    TaskEntry,
    check_files,
    read_manifest,
)
from drake.data.parquet_files import row_count
from drake.data.row_groups import ParquetRows, Rows
from drake.errors import DrakeError, UnknownName

MOST_IN_MEMORY = 1 << 30
"""Bytes of Parquet up to which a dataset is read into memory, each task when it is first used. The tasks of a larger
dataset are copied to Arrow files below `cache_folder()`, which are memory-mapped: slow on first use and twice the disk
space, but no memory. The name of a copy is the hash of the files that it was copied from."""


MOST_ROWS_IN_MEMORY = 50_000
"""Rows of a split up to which `Benchmark.rows` reads it into memory."""


def load(path_or_repo: str | Path, split: str = "dynamic", *, check: Check = "sha256") -> Benchmark:
    """Open a dataset that `drake build` made: a folder, or the id of a dataset on the Hugging Face Hub.

    split: the stored schedule that clients follow; "dirichlet" names the only stored one of that kind.
    check: compare all files with the manifest by size and SHA-256, or by "sizes" only, which reads no file.

    Raises DrakeError if there is no such folder or repository, if it is no built dataset, if a file is missing or
    differs from the manifest, and if the schedule is not stored.
    """
    folder = local_folder(path_or_repo)
    manifest = read_manifest(folder)
    check_files(folder, manifest, check)
    return Benchmark(folder, manifest, split)


class Benchmark:
    """Tasks, clients and records of a built dataset under one of its schedules. Made by `load`.

    folder: the dataset's folder. manifest: its manifest. schedule: the stored schedule that clients follow.
    Cheap to pickle: a copy in another process opens the folder again.
    """

    def __init__(self, folder: Path, manifest: Manifest, split: str = "dynamic"):
        self.folder, self.manifest = folder, manifest
        self.schedule = _stored_schedule(folder, manifest, split)
        self._records: dict[tuple[str, str], Dataset] = {}
        self._rows: dict[tuple[str, str], ParquetRows] = {}
        self._clients: dict[int, ClientData] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Benchmark, (self.folder, self.manifest, self.schedule)

    def __repr__(self) -> str:
        return (
            f"Benchmark({self.name!r}, {len(self.tasks)} tasks, {len(self.clients)} clients, {self.rounds} rounds "
            f"{self.schedule}, {self.fingerprint[:12]})"
        )

    @property
    def name(self) -> str:
        """The dataset's name, for tables."""
        return self.manifest.name

    @property
    def source(self) -> str:
        """The kind of source it was built from: "mini", "release", "folder"."""
        return self.manifest.source

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over names and hashes of the record files and over the clients. Equal fingerprints
        mean the same records in the same splits and the same tasks for each client."""
        return self.manifest.fingerprint

    @property
    def schedule_sha256(self) -> str:
        """SHA-256 of the schedule's file. Equal, together with an equal fingerprint, means the same stream of records
        for each client."""
        return self.manifest.files[f"{SCHEDULES}/{self.schedule}.parquet"].sha256

    @property
    def seed(self) -> int:
        """The seed of the records (mini suite) and of the schedules."""
        return self.manifest.seed

    @property
    def tasks(self) -> dict[str, TaskEntry]:
        """Every task by id, the unseen ones included: source, category, metric, numbers of records."""
        return self.manifest.tasks

    @property
    def unseen(self) -> tuple[str, ...]:
        """The tasks that no client trains on."""
        return self.manifest.unseen

    @property
    def clients(self) -> tuple[tuple[str, ...], ...]:
        """The tasks of each client in order of arrival."""
        return self.manifest.clients

    @property
    def rounds(self) -> int:
        """The number of rounds: that of the client with the most."""
        return self.manifest.schedules[self.schedule].rounds

    @property
    def rounds_per_task(self) -> float:
        """Rounds that a task lasts in the dynamic schedule."""
        return self.manifest.schedules[self.schedule].rounds_per_task

    def records(self, task: str, split: str) -> Dataset:
        """The "train" or "test" records of a task as stored, pictures encoded. Raises UnknownName for another task or
        split."""
        if task not in self.tasks:
            raise UnknownName("task", task, list(self.tasks))
        if split not in ("train", "test"):
            raise UnknownName("split", split, ["train", "test"])
        return self._read(task, split)

    def rows(self, task: str, split: str) -> Rows:
        """The same records for reading one row or one column: what a run needs. A large split is read a row group at a
        time, each when it is first used, so that the first record is there at once and memory stays flat."""
        if (task, split) != (PUBLIC, PUBLIC) and not self._is_large(task, split):
            return self.records(task, split)
        if not self._is_large(task, split):
            return self.public
        if (task, split) not in self._rows:
            paths, hashes = self._files(task, split)
            self._rows[task, split] = ParquetRows(paths, hashes, cache_folder() / "rows")
        return self._rows[task, split]

    @property
    def public_rows(self) -> Rows:
        """`rows` of the public records."""
        return self.rows(PUBLIC, PUBLIC)

    @property
    def public(self) -> Dataset:
        """The public records, which belong to no client; empty if the dataset has none."""
        return self._read(PUBLIC, PUBLIC)

    def client(self, number: int) -> ClientData:
        """Client `number`, from 0; DrakeError for one that does not exist."""
        if not 0 <= number < len(self.clients):
            raise DrakeError(f"{self.name} has clients 0 to {len(self.clients) - 1}, no client {number}.")
        if number not in self._clients:
            self._clients[number] = ClientData(self, number)
        return self._clients[number]

    def _read(self, task: str, split: str) -> Dataset:
        if (task, split) not in self._records:
            paths, of_files = self._files(task, split)
            hashes = "".join(of_files)
            named = _digest(task, split, hashes)
            if self._stored > MOST_IN_MEMORY and paths:
                copy = cache_folder() / "records" / f"{hashlib.sha256(hashes.encode()).hexdigest()}.arrow"
                self._records[task, split] = arrow.memory_mapped(paths, copy, named)
            else:
                self._records[task, split] = arrow.in_memory(paths, named)
        return self._records[task, split]

    @property
    def _stored(self) -> int:
        """Bytes of all records."""
        return sum(entry.bytes for name, entry in self.manifest.files.items() if name.startswith(f"{DATA}/"))

    def _names(self, task: str, split: str) -> list[str]:
        return sorted(name for name in self.manifest.files if name.startswith(f"{DATA}/{task}/{split}-"))

    def _is_large(self, task: str, split: str) -> bool:
        names = self._names(task, split)
        rows = sum(self.manifest.files[name].rows for name in names)
        return bool(names) and (rows > MOST_ROWS_IN_MEMORY or self._stored > MOST_IN_MEMORY)

    def _files(self, task: str, split: str) -> tuple[list[Path], list[str]]:
        """The files of a split and their hashes; DrakeError for a file with other rows than the manifest says."""
        names = self._names(task, split)
        for name in names:
            if (rows := row_count(self.folder / name)) != self.manifest.files[name].rows:
                raise DrakeError(
                    f"{self.folder / name} has {rows} rows where the manifest says {self.manifest.files[name].rows}; "
                    "build the dataset again."
                )
        return [self.folder / name for name in names], [self.manifest.files[name].sha256 for name in names]


class ClientData:
    """One client of a benchmark: its tasks, and the records that arrive in each round."""

    def __init__(self, benchmark: Benchmark, number: int):
        self.number = number
        self._benchmark = benchmark

    @property
    def tasks(self) -> tuple[str, ...]:
        """The client's tasks in order of arrival."""
        return self._benchmark.clients[self.number]

    @cached_property
    def _stored(self) -> arrow.ClientSchedule:
        path = self._benchmark.folder / SCHEDULES / f"{self._benchmark.schedule}.parquet"
        return arrow.ClientSchedule(path, self.number)

    @cached_property
    def _task_order(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.tasks, *self._stored.tasks)))

    @cached_property
    def pool(self) -> Dataset:
        """The train records of all the client's tasks, one task after another; `arrivals` holds row numbers of it."""
        return arrow.concatenated([self._benchmark.records(task, "train") for task in self._task_order])

    @cached_property
    def arrivals(self) -> list[list[int]]:
        """The rows of `pool` that arrive in each round of the benchmark, in order."""
        rows = {name: row for row, name in enumerate(arrow.ids(self.pool))}
        rounds: list[list[int]] = [[] for _ in range(self._benchmark.rounds)]
        for number, name in zip(self._stored.rounds, self._stored.ids, strict=True):
            if not 0 <= number < len(rounds) or name not in rows:
                raise DrakeError(
                    f"the schedule {self._benchmark.schedule!r} of {self._benchmark.folder} names round {number} and "
                    f"record {name!r}, which client {self.number} does not have; build the dataset again."
                )
            rounds[number].append(rows[name])
        return rounds

    def round(self, number: int) -> Dataset:
        """The records that arrive in round `number`, from 0, in order; a view, no record is copied.

        A round may be empty: a small task may have fewer records than rounds, and a client with fewer tasks than
        others finishes earlier. Raises DrakeError for a round that does not exist.
        """
        if not 0 <= number < len(self.arrivals):
            raise DrakeError(f"{self._benchmark.name} has rounds 0 to {len(self.arrivals) - 1}, no round {number}.")
        name = _digest(self._benchmark.fingerprint, self._benchmark.schedule_sha256, str(self.number), str(number))
        return arrow.selected(self.pool, self.arrivals[number], name)


def _stored_schedule(folder: Path, manifest: Manifest, split: str) -> str:
    if split in manifest.schedules:
        return split
    alike = [name for name, entry in manifest.schedules.items() if entry.split == split]
    if len(alike) != 1:
        raise DrakeError(
            f"{folder} stores no schedule {split!r}, only {', '.join(manifest.schedules)}; choose one of these, or "
            f"build the dataset with `--split {split}`."
        )
    return alike[0]


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]
