"""The files of a release, one source data set at a time: in an extracted folder or in a tar archive.

    <source>/<any folder>/<picture>
    <source>/train/dataset-<k>.json      <source>/test/dataset-<k>.json

A record names its pictures "dataset/<source>/<any folder>/<picture>". In an archive, these names may begin with
"dataset/" too. The source `release` reads records and pictures through this.
"""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from drake.data.sources.archive import Archive
from drake.data.sources.base import Split
from drake.data.sources.files import MOST_PICTURE_BYTES, MOST_RECORD_BYTES, Pictures, check_regular, check_whole
from drake.errors import DrakeError

PREFIX = "dataset/"
SPLITS: tuple[Split, ...] = ("train", "test")
ENDING = ".tar"

RecordFiles = dict[str, dict[Split, str]]
"""Name of the record file by task id ("NLVR2-0"), then by split; sorted by task, train before test."""

_RECORDS = re.compile(r"([^/]+)/(train|test)/dataset-(\d+)\.json")


class Tree(ABC):
    """Where the files of a source data set are. Names are relative to the release's folder `dataset`.

    name: shown in progress bars. bytes: size of all its files. key: changes when its content changes.
    """

    name: str

    @property
    @abstractmethod
    def key(self) -> str:
        """Changes when a file's name, size or time of modification does."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Size of all its files in bytes."""

    @property
    @abstractmethod
    def files(self) -> RecordFiles:
        """The record files."""

    @abstractmethod
    def path(self, name: str) -> str:
        """A record file as errors call it."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A record file; DrakeError if it is too large or no regular file."""

    @abstractmethod
    def picture(self, where: str, name: str) -> bytes:
        """The bytes of the picture that a record calls `name`, checked. where: file and record, for errors."""

    def forget(self) -> None:
        """Free the memory that reading pictures has taken; it can be read again."""
        return


class FolderTree(Tree):
    """A source data set in an extracted folder. dataset: the folder `dataset`. links_to: see `Pictures`."""

    def __init__(self, dataset: Path, source: str, links_to: Sequence[Path] = ()) -> None:
        self.name, self._dataset = source, dataset
        self._pictures = Pictures(dataset, PREFIX, "extract the release again", links_to, quick=True)

    @property
    def key(self) -> str:
        return self._walked[0]

    @property
    def bytes(self) -> int:
        return self._walked[1]

    @cached_property
    def _walked(self) -> tuple[str, int]:
        """A hash over names, sizes and times of all files, and the sum of the sizes."""
        hashed, total = hashlib.sha256(), 0
        for folder, folders, names in os.walk(self._dataset / self.name, followlinks=False):
            folders.sort()
            relative = os.path.relpath(folder, self._dataset)
            for name in sorted(names):
                try:
                    status = os.stat(os.path.join(folder, name))
                except OSError:  # a link to nothing; whoever reads it says so
                    continue
                total += status.st_size
                line = f"{relative}/{name} {status.st_size} {status.st_mtime_ns}\n"
                hashed.update(line.encode(errors="surrogateescape"))
        return hashed.hexdigest(), total

    @property
    def files(self) -> RecordFiles:
        return self._files

    @cached_property
    def _files(self) -> RecordFiles:
        paths = (self._dataset / self.name).glob("*/dataset-*.json")
        return _record_files(path.relative_to(self._dataset).as_posix() for path in paths)

    def path(self, name: str) -> str:
        return str(self._dataset / name)

    def open(self, name: str) -> BinaryIO:
        path = self._dataset / name
        check_regular(path, MOST_RECORD_BYTES)
        try:
            return path.open("rb")
        except OSError as error:
            raise DrakeError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error

    def picture(self, where: str, name: str) -> bytes:
        return self._pictures.read(where, name)


class TarTree(Tree):
    """A source data set in a tar archive, whose index is read at first use.

    `forget` drops the index but for the record files, which may be read again.

    called: what errors call the archive, if not by its path.
    """

    def __init__(self, path: Path, called: str | None = None) -> None:
        self.name, self._path, self._called = path.name, path, called or str(path)
        self._opened: Archive | None = None
        self._indexed = False

    @property
    def key(self) -> str:
        status = self._path.stat()
        return f"{self._path.name} {status.st_size} {status.st_mtime_ns}"

    @property
    def bytes(self) -> int:
        return check_regular(self._path, 1 << 50)

    @property
    def _archive(self) -> Archive:
        """The archive with its whole index."""
        if self._opened is None or not self._indexed:
            self.close()
            self._opened, self._indexed = Archive(self._path, self._called), True
        return self._opened

    @cached_property
    def _prefix(self) -> str:
        """ "dataset/" if the archive's names begin with it, otherwise ""."""
        return PREFIX if any(name.startswith(PREFIX) and _RECORDS.fullmatch(name[8:]) for name in self._archive) else ""

    @property
    def files(self) -> RecordFiles:
        return self._files

    @cached_property
    def _files(self) -> RecordFiles:
        names = (name for name in self._archive if name.startswith(self._prefix))
        found = _record_files(name.removeprefix(self._prefix) for name in names)
        if not found:
            raise DrakeError(
                f"the archive {self._called} holds no <name>/train/dataset-<k>.json and no "
                "<name>/test/dataset-<k>.json, so it is none of the release's sources; leave it out (--tasks)."
            )
        return found

    def path(self, name: str) -> str:
        return f"{self._called}: {name}"

    def open(self, name: str) -> BinaryIO:
        archive = self._archive if self._opened is None else self._opened
        found = archive.find(self._prefix + name)
        if found is None:
            raise DrakeError(f"{self.path(name)} is a link to a file that the archive does not hold; fetch it again.")
        if (size := archive.size(found)) > MOST_RECORD_BYTES:
            raise DrakeError(f"{self.path(name)} has {size:,} bytes, more than {MOST_RECORD_BYTES:,}; split it.")
        return archive.open(found)

    def picture(self, where: str, name: str) -> bytes:
        if not name.startswith(PREFIX):
            raise DrakeError(f"{where}: its image path {name!r} must begin with {PREFIX!r}.")
        found = self._archive.find(self._prefix + _plain(name.removeprefix(PREFIX)))
        if found is None:
            raise DrakeError(f"{where}: its image {name!r} is missing in the archive; fetch it again.")
        if (size := self._archive.size(found)) > MOST_PICTURE_BYTES:
            raise DrakeError(f"{where}: its image {name!r} has {size:,} bytes, more than {MOST_PICTURE_BYTES:,}.")
        encoded = self._archive.read(found)
        check_whole(f"{where}: its image {name}", encoded)
        return encoded

    def forget(self) -> None:
        if self._opened is not None and self._indexed:
            files: RecordFiles = self.__dict__.get("_files", {})
            self._opened.forget(but=[self._prefix + name for splits in files.values() for name in splits.values()])
            self._indexed = False

    def close(self) -> None:
        """Close the file, which may then be deleted."""
        if self._opened is not None:
            self._opened.close()
            self._opened, self._indexed = None, False


def trees(place: Path, links_to: Sequence[Path] = ()) -> list[Tree]:
    """The source data sets at `place`, sorted by name: a tar archive, a folder of archives, or an extracted release.

    Raises DrakeError if there is none, and for a data set that is there both extracted and as an archive.
    """
    if place.suffix == ENDING and not place.is_dir():
        if not place.exists():
            raise DrakeError(f"there is no archive {place}; correct the path.")
        return [TarTree(place)]
    if not place.is_dir():
        raise DrakeError(f"there is no folder {place}; give the folder that holds the release's dataset/.")
    found: dict[str, Tree] = {}
    for folder in (place / "dataset", place):
        if found:
            break
        if folder.is_dir():
            dataset = folder.resolve()
            sources = {path.parent.parent.name for path in _record_paths(dataset)}
            found = {source: FolderTree(dataset, source, links_to) for source in sources}
    for path in sorted({*place.glob(f"*{ENDING}"), *(place / "dataset").glob(f"*{ENDING}")}):
        if path.stem in found:
            raise DrakeError(f"{place} holds {path.stem} twice, as a folder or archive and as {path}; remove one.")
        found[path.stem] = TarTree(path)
    if not found:
        raise DrakeError(
            f"{place} is not laid out as the official release: it holds no dataset/<name>/train/dataset-<k>.json and "
            "no <name>.tar; put the archives there, or give the folder that holds its dataset/."
        )
    return [found[name] for name in sorted(found)]


def holds_release(place: Path) -> bool:
    """Whether `trees` may find something. Quick; the archives themselves are not opened."""
    if not place.is_dir():
        return place.suffix == ENDING and place.is_file()
    return any(
        next(_record_paths(folder), None) is not None or any(folder.glob(f"*{ENDING}"))
        for folder in (place / "dataset", place)
    )


def _record_paths(dataset: Path) -> Iterator[Path]:
    for split in SPLITS:
        yield from dataset.glob(f"*/{split}/dataset-*.json")


def _record_files(names: Iterable[str]) -> RecordFiles:
    found: RecordFiles = {}
    for name in names:
        if match := _RECORDS.fullmatch(name):
            split: Split = "train" if match[2] == "train" else "test"
            found.setdefault(f"{match[1]}-{match[3]}", {})[split] = name
    return {task: {s: found[task][s] for s in SPLITS if s in found[task]} for task in sorted(found)}


def _plain(name: str) -> str:
    """A path without "." and repeated slashes, as the index of an archive has it."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))
