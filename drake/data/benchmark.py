"""A built dataset, opened: `drake.load`. The federation, the scoring and users read their records through
this.

Opening reads and checks, and never writes into the dataset's folder. Pictures stay encoded: a row's
`images` are dicts with `bytes`, so that whoever needs pixels decodes them once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetInfo, concatenate_datasets
from datasets.table import MemoryMappedTable

from drake.common.files import cache_folder, replacing
from drake.data.manifest import (
    DATA,
    MANIFEST,
    PUBLIC,
    SCHEDULES,
    Check,
    Manifest,
    TaskEntry,
    check_files,
    read_manifest,
)
from drake.data.parquet_files import UNDECODED, read_records, read_schedule, record_batches, row_count
from drake.errors import DrakeError, UnknownName

MOST_IN_MEMORY = 1 << 30
"""Bytes of Parquet up to which a dataset is read straight into memory, task by task as asked for. A larger one is
copied, task by task, to Arrow files below `cache_folder()`, which are memory-mapped: slow on first use and twice the
disk, but no memory. The files are named after the hashes of what they were copied from."""


def load(path_or_repo: str | Path, split: str = "dynamic", *, check: Check = "sha256") -> Benchmark:
    """Open a dataset that `drake build` made: a folder, or the id of a dataset on the Hugging Face Hub.

    split: which of its stored schedules clients follow ("dirichlet" will do if it stores one such).
    check: compare all files with the manifest by size and SHA-256, or by "sizes" only, which reads nothing.
    Raises DrakeError when there is no such folder or repository, when it is no built dataset, when a file
    is missing or differs from the manifest, and when the schedule is not stored.
    """
    folder = Path(path_or_repo)
    if not folder.exists() and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(path_or_repo)):
        folder = _fetch(str(path_or_repo))
    manifest = read_manifest(folder)
    check_files(folder, manifest, check)
    return Benchmark(folder, manifest, split)


class Benchmark:
    """Tasks, clients and records of a built dataset under one of its schedules; `load` makes it.

    folder, manifest: where it lies and what it says. schedule: the stored schedule that clients follow.
    Cheap to pickle: a copy in another process opens the folder again.
    """

    def __init__(self, folder: Path, manifest: Manifest, split: str = "dynamic"):
        self.folder, self.manifest = folder, manifest
        self.schedule = _stored_schedule(folder, manifest, split)
        self._records: dict[tuple[str, str], Dataset] = {}
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
        """What to call the dataset in a table."""
        return self.manifest.name

    @property
    def source(self) -> str:
        """The kind of source it was built from: "mini", "release", "folder"."""
        return self.manifest.source

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and hashes of the record files and over the clients, in hexadecimal: equal means the same
        records in the same splits, and the same tasks for each client."""
        return self.manifest.fingerprint

    @property
    def schedule_sha256(self) -> str:
        """SHA-256 of the schedule's file: equal, with an equal fingerprint, means the same stream for each
        client."""
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
        """The number of rounds of the client that has most."""
        return self.manifest.schedules[self.schedule].rounds

    @property
    def rounds_per_task(self) -> float:
        """How many rounds a task lasts in the dynamic schedule."""
        return self.manifest.schedules[self.schedule].rounds_per_task

    def records(self, task: str, split: str) -> Dataset:
        """The "train" or "test" records of a task as stored, pictures encoded. Raises UnknownName."""
        if task not in self.tasks:
            raise UnknownName("task", task, list(self.tasks))
        if split not in ("train", "test"):
            raise UnknownName("split", split, ["train", "test"])
        return self._read(task, split)

    @property
    def public(self) -> Dataset:
        """The public records, which belong to no client; empty when the dataset has none."""
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
            prefix = f"{DATA}/{task}/{split}-"
            names = sorted(name for name in self.manifest.files if name.startswith(prefix))
            stored = sum(e.bytes for name, e in self.manifest.files.items() if name.startswith(f"{DATA}/"))
            paths = [self.folder / name for name in names]
            for path, name in zip(paths, names, strict=True):
                if (rows := row_count(path)) != self.manifest.files[name].rows:
                    raise DrakeError(
                        f"{path} has {rows} rows where the manifest says {self.manifest.files[name].rows}."
                    )
            hashes = "".join(self.manifest.files[name].sha256 for name in names)
            if stored > MOST_IN_MEMORY and paths:
                table = MemoryMappedTable.from_file(str(_arrow_copy(paths, hashes)))
            else:
                table = pa.concat_tables([UNDECODED.arrow_schema.empty_table(), *map(read_records, paths)])
            self._records[task, split] = Dataset(
                table, info=DatasetInfo(features=UNDECODED), fingerprint=_digest(task, split, hashes)
            )
        return self._records[task, split]


class ClientData:
    """One client's share of a benchmark: its tasks and what arrives in each round."""

    def __init__(self, benchmark: Benchmark, number: int):
        self.number = number
        self._benchmark = benchmark

    @property
    def tasks(self) -> tuple[str, ...]:
        """Its tasks in order of arrival."""
        return self._benchmark.clients[self.number]

    @cached_property
    def _stored(self) -> pa.Table:
        path = self._benchmark.folder / SCHEDULES / f"{self._benchmark.schedule}.parquet"
        return read_schedule(path, self.number)

    @cached_property
    def _task_order(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.tasks, *self._stored["task"].to_pylist())))

    @cached_property
    def pool(self) -> Dataset:
        """The train records of all tasks it ever meets, one task after another; `arrivals` count rows of
        this."""
        return concatenate_datasets([self._benchmark.records(task, "train") for task in self._task_order])

    @cached_property
    def arrivals(self) -> list[list[int]]:
        """Per round the rows of `pool` that arrive, in order; as many rounds as the benchmark has."""
        rows = {name: row for row, name in enumerate(self.pool.data.column("id").to_pylist())}
        rounds: list[list[int]] = [[] for _ in range(self._benchmark.rounds)]
        for number, name in zip(self._stored["round"].to_pylist(), self._stored["id"].to_pylist(), strict=True):
            if not 0 <= number < len(rounds) or name not in rows:
                raise DrakeError(
                    f"the schedule {self._benchmark.schedule!r} of {self._benchmark.folder} names round {number} and "
                    f"record {name!r}, which client {self.number} does not have; build the dataset again."
                )
            rounds[number].append(rows[name])
        return rounds

    def round(self, number: int) -> Dataset:
        """The records that arrive in round `number`, from 0, in order: a view, nothing is copied.

        It may be empty: a small task has fewer records than rounds, and a client with fewer tasks than
        others is done earlier. Raises DrakeError for a round that does not exist.
        """
        if not 0 <= number < len(self.arrivals):
            raise DrakeError(f"{self._benchmark.name} has rounds 0 to {len(self.arrivals) - 1}, no round {number}.")
        name = _digest(self._benchmark.fingerprint, self._benchmark.schedule_sha256, str(self.number), str(number))
        return self.pool.select(self.arrivals[number], new_fingerprint=name)


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


def _arrow_copy(paths: Sequence[Path], hashes: str) -> Path:
    """The records of the files with these hashes as one Arrow file in the cache, where it is made on first use."""
    target = cache_folder() / "records" / f"{hashlib.sha256(hashes.encode()).hexdigest()}.arrow"
    if not target.is_file():
        with replacing(target) as temporary, pa.ipc.new_stream(temporary, UNDECODED.arrow_schema) as writer:
            for path in paths:
                for batch in record_batches(path):
                    writer.write_table(batch)
    return target


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def _fetch(repo: str) -> Path:
    """The local snapshot of a dataset on the Hub, its manifest first so that nothing else is fetched in
    vain."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        manifest = Path(hf_hub_download(repo, MANIFEST, repo_type="dataset"))
        patterns = [MANIFEST, f"{DATA}/**", f"{SCHEDULES}/**"]
        revision = manifest.parent.name  # the commit the manifest is of
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except LocalEntryNotFoundError as error:
        reason = "the Hub cannot be reached, and no copy of it is in the local cache"
        raise DrakeError(_no_dataset(repo, reason)) from error
    except EntryNotFoundError as error:
        raise DrakeError(_no_dataset(repo, f"the repository has no {MANIFEST}, so it is no built dataset")) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise DrakeError(_no_dataset(repo, str(error).strip().split("\n")[0])) from error


def _no_dataset(repo: str, reason: str) -> str:
    return f"there is no folder {repo}, and no dataset of that name came from the Hugging Face Hub: {reason}."
