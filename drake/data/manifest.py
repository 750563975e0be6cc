"""What a built dataset says about itself: `manifest.json`. The writer makes it, `drake.data.benchmark` checks it.

A folder without a readable manifest is no built dataset. The file comes from outside (a disk, the Hub), so
it is validated before anything in it is believed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from drake.errors import DrakeError

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
DATA = "data"
SCHEDULES = "schedules"
PUBLIC = "public"

Check = Literal["sha256", "sizes"]


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path:
        raise ValueError("not a path inside the dataset folder")
    return path


def _name(schedule: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", schedule):
        raise ValueError("not the name of a schedule, which is that of its file too")
    return schedule


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Part):
    """One Parquet file: its SHA-256 in hexadecimal, its size in bytes, its number of rows."""

    sha256: str
    bytes: int
    rows: int


class TaskEntry(_Part):
    """One task: where it comes from, how it is scored, and how many records each split holds."""

    source: str
    category: str
    metric: str
    train: int
    test: int


class ScheduleEntry(_Part):
    """One stored schedule. rounds: of the client that has most. alpha: None where no mixture is drawn."""

    split: str
    rounds_per_task: float
    rounds: int
    alpha: float | None = None


class Manifest(_Part):
    """The whole file. `files` are the Parquet files by their path in the folder, with forward slashes.

    name: what to call the dataset in a table. source: "mini" or "release". revision: of what it was made
    from (a hash of the worlds' code, or of the release's record files). seed: of the mini suite and of the
    schedules.
    parameters: the other arguments of the build. clients: the tasks of each client in order of arrival;
    dealt: how these were chosen ("catalog", or what was done instead). unseen: tasks that no client trains
    on.
    fingerprint: SHA-256 over the sorted SHA-256 of the files under data/; results carry it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    source: str
    revision: str
    seed: int
    parameters: dict[str, int | float | str]
    fingerprint: str
    clients: tuple[tuple[str, ...], ...]
    dealt: str
    unseen: tuple[str, ...]
    tasks: dict[str, TaskEntry]
    public: int
    schedules: dict[Annotated[str, AfterValidator(_name)], ScheduleEntry]
    files: dict[Annotated[str, AfterValidator(_inside)], FileEntry]

    @model_validator(mode="after")
    def _schedules_have_files(self) -> Manifest:
        for name in self.schedules:
            if f"{SCHEDULES}/{name}.parquet" not in self.files:
                raise ValueError(f"the schedule {name} has no file")
        return self


def fingerprint(files: Iterable[tuple[str, FileEntry]]) -> str:
    """SHA-256, in hexadecimal, over the sorted hashes of those files that lie under data/."""
    hashes = sorted(entry.sha256 for path, entry in files if path.startswith(f"{DATA}/"))
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a built dataset; DrakeError when there is no such folder or it is no built dataset."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DrakeError(f"there is no folder {folder}; make a dataset with `drake build --out {folder}`.")
    if not path.is_file():
        raise DrakeError(
            f"{folder} is no built dataset (it has no {MANIFEST}); make one with `drake build --out FOLDER`."
        )
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DrakeError(
            f"{path} is not a manifest that this version reads (schema {SCHEMA_VERSION}): {where}: "
            f"{first['msg']}; build the dataset again."
        ) from error
    if manifest.fingerprint != fingerprint(manifest.files.items()):
        raise DrakeError(
            f"{path} contradicts itself: its fingerprint is not that of its file hashes; build the dataset again."
        )
    return manifest


def check_files(folder: Path, manifest: Manifest, check: Check = "sha256") -> None:
    """Compare the files with the manifest: all sizes, and the bytes too unless `check` is "sizes".

    Raises DrakeError for the first file that is missing or differs.
    """
    again = "copy or build the dataset again"
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise DrakeError(f"{folder} is incomplete: {name} is missing; {again}.")
        if (size := path.stat().st_size) != entry.bytes:
            raise DrakeError(f"{path} has {size} bytes where the manifest says {entry.bytes}; {again}.")
    if check == "sha256":
        for name, entry in manifest.files.items():
            if sha256(folder / name) != entry.sha256:
                raise DrakeError(f"{folder / name} is not the file its manifest describes (SHA-256); {again}.")
