"""The source `raw`: published files of the source data sets -> records of DRAKE's tasks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drake.catalog import clients as catalog_clients
from drake.catalog import tasks as catalog_tasks
from drake.catalog.licences import commercial_use
from drake.data.manifest import sha256
from drake.data.oracle import check_text
from drake.data.record import Record
from drake.data.sources.base import Moved, Source, Split, Stage, TaskLicence
from drake.data.sources.files import Pictures, check_whole, inside
from drake.data.sources.raw.cells import Cells
from drake.data.sources.raw.dataset import Cell, Draft, Picture, RawDataset, Size
from drake.data.sources.raw.readers import READERS
from drake.data.sources.raw.splitting import Plan, plan
from drake.errors import DrakeError, UnknownName

RULES = 1
"""The version of what is chosen here (prompts, wrong answers, division); raised when records change."""
TRACK = "reconstruction from raw sources, not the official release"


@dataclass(frozen=True)
class RawOptions:
    """tasks: the tasks to build, by id ("NLVR2-0") or by source for all of its tasks ("NLVR2"), with commas between
    them; None for all whose files are there. train, test: most records of each task and split; None for the sizes of
    the release."""

    tasks: str | None = None
    train: int | None = None
    test: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("train", self.train), ("test", self.test)):
            if value is not None and value < 1:
                raise DrakeError(f"{name} of the source 'raw' must be at least 1, not {value}.")

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names in `tasks`, sorted; empty for all tasks."""
        return tuple(sorted({name.strip() for name in (self.tasks or "").split(",") if name.strip()}))

    @property
    def most(self) -> Size:
        """Upper limits of records; negative for none."""
        return Size(-1 if self.train is None else self.train, -1 if self.test is None else self.test)


class RawSource(Source):
    """The data sets of a folder that has one folder for each, named as the source in the catalog."""

    kind = "raw"
    wants_argument = "a folder with the published files of source data sets (docs/reconstruction.md)"
    Options = RawOptions
    in_stages = True
    name = "DRAKE reconstructed from raw sources"
    licence = "other"
    about = (
        "Its records were made from the published files of the sources named below, by rules of this project "
        "(docs/reconstruction.md). It is not the official release of DRAKE: scores on it are a track of their own. "
        "Pictures and texts belong to their sources and carry their licences."
    )

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        root = Path(str(self.argument)).expanduser()
        if not root.is_dir():
            raise DrakeError(f"there is no folder {root}; give the folder that has one folder for each data set.")
        self._root = root.resolve()
        self._parts = {reader.name: _Part(self, reader, root) for reader in READERS if (root / reader.name).is_dir()}
        if not self._parts:
            known = ", ".join(sorted(reader.name for reader in READERS))
            raise DrakeError(f"{root} holds none of the folders that are read ({known}); see docs/reconstruction.md.")
        self._tasks_of = self._chosen()

    def _chosen(self) -> dict[str, list[str]]:
        """The tasks to build, by data set."""
        every = {part.reader.name: sorted(part.reader.sizes) for part in self._parts.values()}
        if not (wanted := self.options.wanted):
            return every
        known = {*every, *(task for tasks in every.values() for task in tasks)}
        for name in wanted:
            if name not in known:
                raise UnknownName("task", name, sorted(known))
        chosen = {name: [t for t in tasks if t in wanted or name in wanted] for name, tasks in every.items()}
        return {name: tasks for name, tasks in chosen.items() if tasks}

    @property
    def revision(self) -> str:
        """ "sha256:" and a hash over the rules and the names and hashes of the record files."""
        lines = [f"rules {RULES}"]
        for name in sorted(self._tasks_of):
            part = self._parts[name]
            lines += [f"{name}/{part.below(path)} {sha256(path)}" for path in part.paths]
        return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def parameters(self) -> dict[str, Any]:
        """That the dataset is a reconstruction, by which rules, and what was asked for."""
        given = {"tasks": ",".join(self.options.wanted), "train": self.options.train, "test": self.options.test}
        return {"track": TRACK, "rules": RULES} | {name: value for name, value in given.items() if value}

    @property
    def clients(self) -> tuple[tuple[str, ...], ...] | None:
        """The catalog's clients with those of their tasks that are built; unseen tasks have none. None if there is no
        other task."""
        present = self.tasks()
        official = [of_client for benchmark in ("drake", "hflb") for of_client in catalog_clients(benchmark)]
        kept = [tuple(task for task in of_client if task in present) for of_client in official]
        further = sorted(set(present) - set(catalog_tasks()))
        return tuple(of_client for of_client in (*kept, tuple(further)) if of_client) or None

    @property
    def licences(self) -> Mapping[str, str]:
        """Licence by source data set."""
        return {name: self._parts[name].reader.licence for name in sorted(self._tasks_of)}

    def licences_of(self, tasks: Iterable[str]) -> Mapping[str, str]:
        """The same for some tasks."""
        present = {task.rpartition("-")[0] for task in tasks}
        return {name: text for name, text in self.licences.items() if name in present}

    def licence_of(self, task: str) -> TaskLicence:
        """The licence that the published files of a task's source data set state."""
        licence = self.licences.get(task.rpartition("-")[0], "unknown")
        return TaskLicence(licence, commercial_use(licence))

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """The tasks that get records from the files, sorted; each with train and test."""
        found = (task for name in self._tasks_of for task in self._parts[name].plan)
        return dict.fromkeys(sorted(found), ("train", "test"))

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of a split in the order of the raw files."""
        return self._parts[task.rpartition("-")[0]].records(task, split)

    def stages(self) -> Sequence[Stage]:
        """One for each data set. All record files are read, and all pictures looked for, before anything is built."""
        return [_RawStage(self, self._parts[name]) for name in sorted(self._tasks_of)]

    def planned(self, name: str) -> list[str]:
        """The tasks of a data set that are to be built."""
        return self._tasks_of[name]


class _Part:
    """One data set of the folder."""

    def __init__(self, source: RawSource, reader: type[RawDataset], root: Path) -> None:
        self._source, self.reader = source, reader
        try:
            folder = inside(root, reader.name)
        except ValueError as error:
            raise DrakeError(f"the data set {reader.name} cannot be used: {error}.") from error
        self.dataset = reader(folder)
        self._pictures = Pictures(self.dataset.folder, hint="put it there", quick=True)
        self._cells = Cells(self.dataset.folder)
        self._places: dict[tuple[str, ...], str | None] = {}
        self.paths = sorted({path for paths in self.dataset.record_files().values() for path in paths})
        if not self.paths:
            patterns = " or ".join(pattern for patterns in reader.files.values() for pattern in patterns)
            raise DrakeError(f"{folder} holds none of its record files ({patterns}); see docs/reconstruction.md.")

    def below(self, path: Path) -> str:
        """A record file's path below the data set's folder."""
        return path.relative_to(self.dataset.folder).as_posix()

    @cached_property
    def plan(self) -> Plan:
        """The drafts of all tasks; DrakeError if pictures are missing."""
        source = self._source
        wanted = source.planned(self.reader.name)
        found = plan(self.dataset, source.seed, wanted, source.options.most, source.options.wanted)
        missing: dict[str, str] = {}
        seen: set[str] = set()
        for draft in (draft for splits in found.values() for drafts in splits.values() for draft in drafts):
            for picture in draft.pictures:
                if not isinstance(picture, Cell):
                    seen.add(picture[0])
                    if picture[0] not in missing and self._place(draft, picture) is None:
                        missing[picture[0]] = draft.where
        if missing:
            name, where = next(iter(missing.items()))
            raise DrakeError(
                f"{len(missing):,} of {len(seen):,} pictures are missing in {self.dataset.folder}; the first is {name} "
                f"of {where}: put them there, or leave {self.reader.name} out (--tasks)."
            )
        return found

    def looked_over(self) -> tuple[str, int]:
        """A hash over names, sizes and times of record files and pictures, and the size of the pictures, each as often
        as it is shown; cells count as a megabyte."""
        hashed, total = hashlib.sha256(), 0
        for path in self.paths:
            hashed.update(_line(self.below(path), path.stat()))
        for draft in (draft for splits in self.plan.values() for drafts in splits.values() for draft in drafts):
            for picture in draft.pictures:
                place = None if isinstance(picture, Cell) else self._place(draft, picture)
                if place is None:
                    total += 1 << 20
                    continue
                status = (self.dataset.folder / place).stat()
                hashed.update(_line(place, status))
                total += status.st_size
        return hashed.hexdigest(), total

    def records(self, task: str, split: Split) -> Iterator[Record]:
        known = catalog_tasks().get(task)
        for number, draft in enumerate(self.plan[task][split]):
            try:
                check_text(f"{draft.where}: its prompt", draft.prompt)
                yield Record(
                    id=f"{task}/{split}/raw-{number:06d}",
                    task=task,
                    source=self.reader.name,
                    category=(known.category or "") if known else "",
                    images=tuple(self._read(draft, picture) for picture in draft.pictures),
                    prompt=draft.prompt,
                    choices=draft.choices,
                    answer=draft.answer,
                    metric="accuracy",
                )
            except DrakeError as error:
                self._source.on_bad_record(error)

    def _read(self, draft: Draft, picture: Picture) -> bytes:
        if isinstance(picture, Cell):
            encoded = self._cells.read(draft.where, picture)
            check_whole(f"{draft.where}: its picture {picture.column}", encoded)
            return encoded
        return self._pictures.read(draft.where, self._place(draft, picture) or picture[0])

    def _place(self, draft: Draft, picture: tuple[str, ...]) -> str | None:
        """The first of a picture's paths that exists."""
        if picture not in self._places:
            self._places[picture] = None
            for name in picture:
                try:
                    if inside(self.dataset.folder, name).is_file():
                        self._places[picture] = name
                        break
                except (ValueError, OSError) as error:
                    raise DrakeError(
                        f"{draft.where}: its image path {name[:200]!r} cannot be used: {error}."
                    ) from error
        return self._places[picture]


def _line(name: str, status: os.stat_result) -> bytes:
    return f"{name} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape")


class _RawStage(Stage):
    """The tasks of one data set."""

    def __init__(self, source: RawSource, part: _Part) -> None:
        self._source, self._part, self.name = source, part, part.reader.name
        seen, self.bytes = part.looked_over()
        asked = [seen, source.seed, source.options.train, source.options.test, *source.planned(self.name)]
        self.key = hashlib.sha256("\n".join(map(str, asked)).encode()).hexdigest()

    @contextmanager
    def opened(self, folder: Path, moved: Moved) -> Iterator[Source]:
        """The source with the tasks of this data set alone."""
        source = self._source
        options = {"train": source.options.train, "test": source.options.test}
        tasks = ",".join(source.planned(self.name))
        opened = RawSource(source.argument, seed=source.seed, tasks=tasks, **options)
        opened._parts[self.name] = self._part  # whose plan is made already
        yield opened
