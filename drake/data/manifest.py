"""The description of a built dataset, `manifest.json`: `drake.data.writer` makes it, `drake.data.benchmark` checks it.

A folder without a readable manifest is no built dataset. The file comes from outside (a disk, the Hub), so it is
validated before anything in it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from drake.data.record import PUBLIC as PUBLIC
from drake.data.record import MetricName
from drake.data.sources.files import read_regular
from drake.errors import DrakeError

MANIFEST = "manifest.json"
SCHEMA_VERSION = 2
DATA = "data"
SCHEDULES = "schedules"
MOST_BYTES = 32 << 20
"""Upper limit for the size of a manifest; that of the whole release has about 40 kB."""
MOST_ROUNDS = 1_000_000
MOST_ROWS = 1 << 31
"""Upper limit for the rows of one Parquet file."""

Check = Literal["sha256", "sizes"]


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path or "\0" in path:
        raise ValueError("not a path inside the dataset folder")
    return path


def _named(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError(f"{name[:100]!r} is not the name of a task or a schedule")
    return name


Count = Annotated[StrictInt, Field(ge=0, le=1 << 53)]
Sha256 = Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[StrictStr, AfterValidator(_named)]
"""The name of a task or a schedule; a file or a folder has the same name."""
Text = Annotated[StrictStr, Field(max_length=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileEntry(_Part):
    """One Parquet file: its SHA-256 in hexadecimal, its size in bytes, its number of rows."""

    sha256: Sha256
    bytes: Count
    rows: Annotated[Count, Field(le=MOST_ROWS)]


class TaskEntry(_Part):
    """One task: its source, category and metric, and the number of records in each split.

    gold_fails: by protocol, the number of gold answers that it marks wrong if a model answers with exactly their text;
    protocols without any are left out.
    """

    source: Text
    category: Text
    metric: MetricName
    train: Count
    test: Count
    gold_fails: dict[Literal["official", "strict"], Count] = {}


class ScheduleEntry(_Part):
    """One stored schedule. rounds: those of the client with the most. alpha: concentration of the Dirichlet
    distribution; None for schedules without one."""

    split: Name
    rounds_per_task: Annotated[float, Field(gt=0, le=MOST_ROUNDS)]
    rounds: Annotated[StrictInt, Field(ge=1, le=MOST_ROUNDS)]
    alpha: Annotated[float, Field(gt=0)] | None = None


class Manifest(_Part):
    """The whole file. `files` are the Parquet files by their path in the folder, with forward slashes.

    name: the dataset's name, for tables.
    source: the kind of source ("mini", "release", "folder").
    revision: of the source (a hash of the worlds' code, or of the release's record files).
    seed: of the mini suite and of the schedules.
    parameters: the other arguments of the build.
    clients: the tasks of each client in order of arrival.
    dealt: how tasks were assigned to clients ("catalog", or a description).
    unseen: tasks that no client trains on.
    public: the number of public records.
    fingerprint: SHA-256 over names and hashes of the files under data/ and over the clients; results hold it.
    legacy_fingerprint: the fingerprint of schema 1, over the hashes alone; results of schema 1 hold it.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    name: Annotated[Text, Field(min_length=1)]
    source: Text
    revision: Text
    seed: StrictInt
    parameters: dict[str, bool | int | float | str | None]
    fingerprint: Sha256
    legacy_fingerprint: Sha256
    clients: tuple[tuple[Name, ...], ...]
    dealt: Text
    unseen: tuple[Name, ...]
    tasks: dict[Name, TaskEntry]
    public: Count
    schedules: dict[Name, ScheduleEntry]
    files: dict[Annotated[StrictStr, AfterValidator(_inside)], FileEntry]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        check_clients(self.clients, self.tasks)
        for name in self.schedules:
            if f"{SCHEDULES}/{name}.parquet" not in self.files:
                raise ValueError(f"the schedule {name} has no file")
        rows: dict[tuple[str, str], int] = {}
        for path, entry in self.files.items():
            if match := re.fullmatch(rf"{DATA}/([^/]+)/(train|test|{PUBLIC})-\d+\.parquet", path):
                rows[match[1], match[2]] = rows.get((match[1], match[2]), 0) + entry.rows
            elif not re.fullmatch(rf"{SCHEDULES}/[^/]+\.parquet", path):
                raise ValueError(f"{path!r} is no file of a dataset")
        expected = {(task, split): getattr(entry, split) for task, entry in self.tasks.items() for split in _SPLITS}
        expected[PUBLIC, PUBLIC] = self.public
        for key in sorted({*rows, *expected}):
            if rows.get(key, 0) != expected.get(key):
                raise ValueError(f"{key[0]} ({key[1]}) has {expected.get(key)} records, its files {rows.get(key, 0)}")
        return self


_SPLITS = ("train", "test")


def check_clients(clients: Sequence[Sequence[str]], tasks: Mapping[str, object]) -> None:
    """Raise ValueError if there is no client, a client has no task, or a task has two clients or does not exist."""
    if not clients:
        raise ValueError("there is no client")
    owner: dict[str, int] = {}
    for number, of_client in enumerate(clients):
        if not of_client:
            raise ValueError(f"client {number} has no task")
        for task in of_client:
            if task in owner:
                raise ValueError(f"task {task!r} belongs to client {owner[task]} and to client {number}")
            if task not in tasks:
                raise ValueError(f"task {task!r} of client {number} does not exist")
            owner[task] = number


def fingerprint(files: Iterable[tuple[str, FileEntry]], clients: Sequence[Sequence[str]]) -> str:
    """SHA-256, in hexadecimal, over names and hashes of the files under data/ and over the clients' tasks in order."""
    records = sorted((path, entry.sha256) for path, entry in files if path.startswith(f"{DATA}/"))
    return hashlib.sha256(json.dumps([records, list(map(list, clients))]).encode()).hexdigest()


def legacy_fingerprint(files: Iterable[tuple[str, FileEntry]]) -> str:
    """The fingerprint by schema 1: SHA-256, in hexadecimal, over the sorted hashes of the files under data/."""
    hashes = sorted(entry.sha256 for path, entry in files if path.startswith(f"{DATA}/"))
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a built dataset; DrakeError if there is no such folder or it is no built dataset.

    A manifest of schema 1 is read too: its fingerprint becomes `legacy_fingerprint`, `fingerprint` is computed.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DrakeError(f"there is no folder {folder}; make a dataset with `drake build --out {folder}`.")
    if not path.exists():
        raise DrakeError(
            f"{folder} is no built dataset (it has no {MANIFEST}); make one with `drake build --out FOLDER`."
        )
    content = read_regular(path, MOST_BYTES)
    try:
        manifest = Manifest.model_validate_json(_migrated(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DrakeError(
            f"{path} is not a manifest that this version reads (schema {SCHEMA_VERSION}): {where}: "
            f"{first['msg'].removeprefix('Value error, ')}; build the dataset again."
        ) from error
    files = manifest.files.items()
    if (manifest.fingerprint, manifest.legacy_fingerprint) != (
        fingerprint(files, manifest.clients),
        legacy_fingerprint(files),
    ):
        raise DrakeError(
            f"{path} contradicts itself: its fingerprint is not that of its file hashes; build the dataset again."
        )
    return manifest


def _migrated(content: bytes) -> bytes:
    """A manifest of schema 1 as one of schema 2; anything else unchanged, for the validation to check."""
    try:
        raw: Any = json.loads(content)
        if not isinstance(raw, dict) or raw.get("schema_version") != 1 or "legacy_fingerprint" in raw:
            return content
        files = [(path, FileEntry.model_validate(entry)) for path, entry in raw["files"].items()]
        raw |= {
            "schema_version": SCHEMA_VERSION,
            "legacy_fingerprint": raw["fingerprint"],
            "fingerprint": fingerprint(files, raw["clients"]),
        }
        return json.dumps(raw).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return content


def check_files(folder: Path, manifest: Manifest, check: Check = "sha256") -> None:
    """Compare the files with the manifest: all sizes and, unless `check` is "sizes", the SHA-256 of all files.

    Raises DrakeError for the first file that is missing, is a link out of the dataset, or differs.
    """
    for name, entry in manifest.files.items():
        check_size(folder, name, entry)
    if check == "sha256":
        for name, entry in manifest.files.items():
            check_hash(folder, name, entry)


_AGAIN = "copy or build the dataset again"


def check_size(folder: Path, name: str, entry: FileEntry) -> None:
    """Raise DrakeError for a file that is missing, is a link out of the dataset, or has another size than its entry."""
    path = folder / name
    if not path.is_file():
        kind = "is no regular file" if path.exists() else "is missing"
        raise DrakeError(f"{folder} is incomplete: {name} {kind}; {_AGAIN}.")
    if not _within(path, folder):
        raise DrakeError(f"{path} is a link to a file outside the dataset; copy that file into it.")
    if (size := path.stat().st_size) != entry.bytes:
        raise DrakeError(f"{path} has {size} bytes where the manifest says {entry.bytes}; {_AGAIN}.")


def check_hash(folder: Path, name: str, entry: FileEntry) -> None:
    """Raise DrakeError for a file with another SHA-256 than its entry."""
    if sha256(folder / name) != entry.sha256:
        raise DrakeError(f"{folder / name} is not the file its manifest describes (SHA-256); {_AGAIN}.")


def _within(path: Path, folder: Path) -> bool:
    """Whether a file lies in the folder, links followed. The Hub's cache keeps a snapshot as links to its blobs."""
    places = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        places.append(folder.resolve().parents[1] / "blobs")
    return any(path.resolve().is_relative_to(place) for place in places)
