"""The part of a source whose licences allow commercial use: `drake build --commercial-only`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drake.catalog import tasks as catalog_tasks
from drake.catalog.licences import commercial_use
from drake.data.record import PUBLIC, Record
from drake.data.sources.base import Moved, Source, Split, Stage, TaskLicence
from drake.errors import DrakeError


class CommercialOnly(Source):
    """The tasks of another source whose licence allows commercial use. Tasks whose licence forbids it, or is unknown,
    are left out; `left_out` has them. Public records stay if the licence of the whole source allows it."""

    kind = ""  # that of the other source, which the manifest gets

    def __init__(self, source: Source, left_out: dict[str, TaskLicence] | None = None) -> None:
        super().__init__(seed=source.seed)
        self._source = source
        self.kind = source.kind  # type: ignore[misc]  # of this source alone
        self.name, self.licence, self.about = source.name, source.licence, source.about
        self.responsible_ai = source.responsible_ai
        self.in_stages = source.in_stages  # type: ignore[misc]  # of this source alone
        self.has_public = source.has_public and commercial_use(source.licence) == "allowed"
        self.left_out: dict[str, TaskLicence] = {} if left_out is None else left_out
        """The licence of every task that was left out."""

    def allows(self, task: str) -> bool:
        """Whether the task is kept; `left_out` remembers the others."""
        found = self._source.licence_of(task)
        if found.commercial != "allowed":
            self.left_out[task] = found
        return found.commercial == "allowed"

    def sentence(self) -> str:
        """What was left out; empty if nothing was."""
        parts: list[str] = []
        for verdict, why in (("forbidden", "forbids commercial use"), ("unknown", "is not known to allow it")):
            tasks = sorted(task for task, found in self.left_out.items() if found.commercial == verdict)
            if tasks:
                parts.append(f"{len(tasks)} whose licence {why} ({', '.join(tasks)})")
        return f"tasks left out of the dataset: {'; '.join(parts)}." if parts else ""

    def nothing_left(self) -> DrakeError:
        """The error for a source of which no task is kept."""
        return DrakeError(
            f"no task of {self.name} has a licence that is known to allow commercial use, so nothing is built; "
            + self.sentence()
        )

    @property
    def revision(self) -> str:
        """That of the other source."""
        return self._source.revision

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """The tasks that are kept."""
        return {task: splits for task, splits in self._source.tasks().items() if self.allows(task)}

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of a task."""
        return self._source.records(task, split)

    def public_records(self) -> Iterator[Record]:
        """Those of the other source if its licence allows it."""
        return self._source.public_records() if self.has_public else iter(())

    @property
    def clients(self) -> tuple[tuple[str, ...], ...] | None:
        """The clients with the tasks that they keep; those without any are left out."""
        if self._source.clients is None:
            return None
        kept = (tuple(task for task in tasks if self.allows(task)) for tasks in self._source.clients)
        return tuple(tasks for tasks in kept if tasks)

    def stages(self) -> Sequence[Stage]:
        """The stages, without those of source data sets of which the catalog knows no task that may be kept: they are
        not even downloaded."""
        kept = [_CommercialStage(self, stage) for stage in self._source.stages() if self._may_hold(stage)]
        if not kept:
            raise self.nothing_left()
        return kept

    def _may_hold(self, stage: Stage) -> bool:
        of_source = [task for task, found in catalog_tasks().items() if found.source == stage.source]
        return not of_source or any(list(map(self.allows, of_source)))  # all, for `left_out`

    def licences_of(self, tasks: Iterable[str]) -> Mapping[str, str]:
        """Those of the other source."""
        return self._source.licences_of(tasks)

    def licence_of(self, task: str) -> TaskLicence:
        """That of the other source."""
        return self._source.licence_of(task)

    def all_records(self, workers: int | None = None) -> Iterator[tuple[str, Record]]:
        """All records of the tasks that are kept, and the public ones."""
        kept = self.tasks()
        for split, record in self._source.all_records(workers):
            if record.task in kept or (split == PUBLIC and self.has_public):
                yield split, record

    @property
    def parts(self) -> int:
        """The number of splits that are kept."""
        return sum(map(len, self.tasks().values())) + self.has_public

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the other source, and that this one was chosen."""
        return {**self._source.parameters, "commercial_only": True}

    @property
    def default_name(self) -> str:
        """The other source's with a suffix."""
        return f"{self._source.default_name}-commercial"


class _CommercialStage(Stage):
    """A stage with the tasks that are kept."""

    def __init__(self, source: CommercialOnly, stage: Stage) -> None:
        self._source, self._stage = source, stage
        self.name, self.key, self.bytes, self.download = stage.name, stage.key, stage.bytes, stage.download
        self.key += " commercial-only"

    @contextmanager
    def opened(self, folder: Path, moved: Moved) -> Iterator[Source]:
        """The kept tasks of the stage."""
        with self._stage.opened(folder, moved) as source:
            yield CommercialOnly(source, self._source.left_out)

    def clear(self, folder: Path) -> None:
        """Delete the downloads."""
        self._stage.clear(folder)
