"""The official release, as it is downloaded or extracted: `drake build --source release:PATH`.

PATH is the folder that holds `dataset/` (or `dataset/` itself), a folder of tar archives with one source data set each,
or one such archive. Archives are read in place and never extracted. `release_trees` finds the files; here they become
records. A record file is a list of {id, image: path or [paths], conversations: [human, gpt]}. A release is untrusted
input: every error names the file and the record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drake.catalog import tasks as catalog_tasks
from drake.data.choices import record_choices
from drake.data.oracle import IMAGE_MARK, check_pictures
from drake.data.record import Record
from drake.data.sources.base import Moved, Source, Split, Stage, TaskLicence
from drake.data.sources.json_list import json_items
from drake.data.sources.release_rows import one_turn, place, task_metric
from drake.data.sources.release_trees import RecordFiles, TarTree, Tree, holds_release, trees
from drake.errors import DrakeError, UnknownName


@dataclass(frozen=True)
class ReleaseOptions:
    """tasks: the tasks to build, by id ("NLVR2-0") or by source for all of its tasks ("NLVR2"), with commas between
    them; None for all. links_to: a folder that links in an extracted release may lead to."""

    tasks: str | None = None
    links_to: str | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names in `tasks`, sorted; empty for all tasks."""
        return tuple(sorted({name.strip() for name in (self.tasks or "").split(",") if name.strip()}))

    def wants(self, task: str) -> bool:
        """Whether a task is to be built."""
        return not self.wanted or task in self.wanted or source_of(task) in self.wanted


RESPONSIBLE_AI = {
    "dataAnnotationProtocol": "That of each source data set; the release turned their annotations into questions.",
    "dataLimitations": "The choices of a record are read from its prompt. Gold answers that are none of them are "
    "counted in manifest.json.",
    "personalSensitiveInformation": "Photographs of the sources may show people, faces, licence plates and private "
    "places; they were not screened for this dataset.",
}
"""What is known of any copy of the release, by field of Croissant's responsible-AI vocabulary."""


class TreeSource(Source):
    """The records of the tasks in some trees.

    Pictures keep the bytes of their files; header and end of each are checked. Source, category and metric of a task
    come from the catalog; for a task that the catalog lacks, the category is "" and the metric is derived from the
    prompts (`task_metric`).
    """

    kind = "release"
    wants_argument = "the folder of the official release, or a tar archive of it"
    Options = ReleaseOptions
    in_stages = True
    name = "DRAKE release"
    licence = "other"
    responsible_ai = RESPONSIBLE_AI

    def __init__(
        self, argument: str | None, found: Sequence[Tree] = (), *, seed: int = 0, **options: str | None
    ) -> None:
        super().__init__(argument, seed=seed, **options)
        self._trees = found

    @cached_property
    def _tree_of(self) -> dict[str, Tree]:
        """The tree of each task, sorted by task; DrakeError if a task is in two of them."""
        found: dict[str, Tree] = {}
        for tree in self._trees:
            for task in filter(self.options.wants, tree.files):
                if task in found:
                    raise DrakeError(f"task {task} is both in {found[task].name} and in {tree.name}; remove one.")
                found[task] = tree
            if len(self._trees) > 1:
                tree.forget()  # the indices of all archives together could be large
        return dict(sorted(found.items()))

    @property
    def files(self) -> RecordFiles:
        """The record files of the tasks to build, by task and split, sorted."""
        return {task: tree.files[task] for task, tree in self._tree_of.items()}

    @property
    def revision(self) -> str:
        """ "sha256:" and a hash over the names and hashes of the record files."""
        lines: list[str] = []
        for task, tree in self._tree_of.items():
            for name in tree.files[task].values():
                with tree.open(name) as file:
                    lines.append(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}")  # type: ignore[arg-type]
        return "sha256:" + hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    @property
    def parameters(self) -> dict[str, Any]:
        """The tasks that were chosen, if not all."""
        return {"tasks": ",".join(self.options.wanted)} if self.options.wanted else {}

    @property
    def licences(self) -> dict[str, str]:
        """Licence by source data set, from the catalog."""
        return self.licences_of(self._tree_of)

    def licences_of(self, tasks: Iterable[str]) -> dict[str, str]:
        """Licence by source data set for these tasks."""
        return release_licences(tasks)

    def licence_of(self, task: str) -> TaskLicence:
        """The licence of a task, from the catalog."""
        return release_licence(task)

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """The tasks with record files; DrakeError for one with train records and no test records."""
        for task, splits in self.files.items():
            if "test" not in splits:
                raise DrakeError(f"task {task} of {self.argument} has train records but no test/ file; it needs both.")
        return {task: tuple(splits) for task, splits in self.files.items()}

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of one file, in its order; DrakeError for the first fault."""
        tree = self._tree_of[task]
        name = tree.files[task][split]
        category, metric = self._kind(task)
        called = tree.path(name)
        with tree.open(name) as file:
            for index, row in enumerate(json_items(file, called)):
                where = place(called, index)
                try:
                    prompt, answer = one_turn(where, row)
                    yield Record(
                        id=f"{task}/{split}/{index:06d}",
                        task=task,
                        source=source_of(task),
                        category=category,
                        images=_images(tree, where, row, prompt),
                        prompt=prompt,
                        choices=record_choices(prompt, answer) if metric == "accuracy" else (),
                        answer=answer,
                        metric=metric,
                    )
                except DrakeError as error:
                    self.on_bad_record(error)

    def _kind(self, task: str) -> tuple[str, str]:
        """(category, metric) of a task."""
        if (known := catalog_tasks().get(task)) is not None:
            return known.category or "", known.metric
        if task not in self._metrics:
            tree = self._tree_of[task]
            self._metrics[task] = task_metric(
                task, {split: _rows(tree, name) for split, name in tree.files[task].items()}
            )
        return "", self._metrics[task]

    @cached_property
    def _metrics(self) -> dict[str, str]:
        return {}


class ReleaseSource(TreeSource):
    """A copy of the official release on disk: extracted, as archives, or partly both."""

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        links_to = [Path(self.options.links_to)] if self.options.links_to else []
        self._trees = trees(Path(str(self.argument)).expanduser(), links_to)
        self.about = about_release("a copy of the official release", seed)

    @cached_property
    def _tree_of(self) -> dict[str, Tree]:
        found = super()._tree_of
        known = {*found, *map(source_of, found)}
        for name in self.options.wanted:
            if name not in known:
                everything = [task for tree in self._trees for task in tree.files]
                raise UnknownName("task", name, sorted({*everything, *map(source_of, everything)}))
        return found

    def stages(self) -> Sequence[Stage]:
        """One for each source data set that has tasks to build."""
        if self.options.wanted:
            return [TreeStage(self, tree) for tree in self._trees if tree in self._tree_of.values()]
        if not any(isinstance(tree, TarTree) for tree in self._trees):
            self.tasks()  # quick, so that what is wrong is said before anything is built
        return [TreeStage(self, tree) for tree in self._trees]

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the folder has record files or archives where a release has them."""
        return holds_release(path)


class TreeStage(Stage):
    """The tasks of one tree of a release on disk."""

    def __init__(self, source: ReleaseSource, tree: Tree) -> None:
        self.name, self.key, self.bytes = tree.name, tree.key, tree.bytes
        self._source, self._tree = source, tree

    @contextmanager
    def opened(self, folder: Path, moved: Moved) -> Iterator[Source]:
        """The tasks of the tree, whose index is forgotten afterwards."""
        source = self._source
        try:
            yield TreeSource(source.argument, [self._tree], seed=source.seed, tasks=source.options.tasks)
        finally:
            self._tree.forget()


def about_release(origin: str, seed: int) -> str:
    """The sentences about the origin of the records for the dataset card."""
    return (
        f"Its records come from {origin}; pictures and texts belong to the sources named below and carry their "
        f"licences, some of which forbid commercial use or passing them on. Schedules: seed {seed}."
    )


def release_licences(tasks: Iterable[str]) -> dict[str, str]:
    """Licence by source data set for these tasks, from the catalog."""
    known = catalog_tasks()
    return {source_of(task): known[task].licence if task in known else "unknown" for task in sorted(tasks)}


def release_licence(task: str) -> TaskLicence:
    """The licence of a task, from the catalog; unknown for a task that it lacks."""
    known = catalog_tasks().get(task)
    return TaskLicence(known.licence, known.commercial) if known else TaskLicence("unknown", "unknown")


def release_records(folder: Path) -> Iterator[tuple[str, Record]]:
    """(split, record) of every task of a release, task by task, train before test, in the order of the files."""
    return ReleaseSource(str(folder)).all_records()


def source_of(task: str) -> str:
    """The source data set of a task id: "NLVR2" for "NLVR2-0"."""
    return task.rpartition("-")[0]


def _rows(tree: Tree, name: str) -> Iterator[tuple[str, Any]]:
    called = tree.path(name)
    with tree.open(name) as file:
        for index, row in enumerate(json_items(file, called)):
            yield place(called, index), row


def _images(tree: Tree, where: str, row: Mapping[str, Any], prompt: str) -> tuple[bytes, ...]:
    """The pictures of a record; DrakeError unless its prompt has as many marks."""
    named = row.get("image", [])
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DrakeError(f"{where}: 'image' must be a path or a list of paths.")
    check_pictures(where, len(names))
    if (marks := prompt.count(IMAGE_MARK)) != len(names):
        raise DrakeError(f"{where}: the prompt has {marks} {IMAGE_MARK} for {len(names)} images.")
    return tuple(tree.picture(where, name) for name in names)
