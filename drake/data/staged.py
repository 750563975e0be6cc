"""A large source -> a dataset folder, stage by stage (`drake.Source.stages`). Only `drake.data.building` calls this.

A build that is stopped at any moment, by a full disk or by `kill -9`, goes on with the first part that is not finished
when it is started again. A part is a task's split; its record files depend on nothing but its records, so that the
dataset is the same to the byte as that of an uninterrupted build. Memory holds `ROW_GROUP` bytes of records, a few
times over.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

from rich.filesize import decimal

from drake.common.files import writing
from drake.data.manifest import DATA, FileEntry, Manifest, TaskEntry
from drake.data.oracle import GoldVerdicts, check_record
from drake.data.parquet_files import Shards, record_ids
from drake.data.partial import Finished, Gold, Part, add_verdicts, partial_folder, read, store
from drake.data.publishing import check_target, flush, publish
from drake.data.record import MetricName
from drake.data.sources.base import Moved, Source, Split, Stage
from drake.data.writer import Contents, Provenance, Schedules, complete, file_entry
from drake.errors import DrakeError
from drake.scoring.answers import PROTOCOLS

ROW_GROUP = 16 << 20
"""Bytes of records in one row group of a record file."""
STEP = 1 << 20
"""Bytes of pictures after which progress is reported."""
WORTH_KEEPING = 64 << 20
"""Bytes of finished record files from which they are kept although a record was refused; a smaller build is as soon
begun anew. A build that is killed or interrupted always keeps them."""

Progress = Callable[[int, int, str], None]
Describe = Callable[[Sequence[str], Sequence[str]], tuple[Schedules, Provenance]]
"""(all tasks, tasks with train records) -> schedules and provenance, which depend on them."""


def write_in_stages(
    folder: Path,
    source: Source,
    describe: Describe,
    *,
    code: str,
    overwrite: bool = False,
    verdicts: GoldVerdicts | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write the dataset `folder` from a source that is built in stages, or go on where an earlier build was stopped.

    describe: gives the schedules and the provenance. code: a hash of the code that records depend on; parts that other
    code has finished are written again. verdicts: is given the gold answers that a protocol marks wrong. progress: is
    called with bytes.

    Raises what `write_dataset` raises, and DrakeError if there is not enough space or another build writes the folder.
    """
    folder, verdicts = Path(folder), verdicts or GoldVerdicts()
    check_target(folder, overwrite)
    with writing(folder):
        stages = source.stages()
        with partial_folder(folder) as work:
            build = _Build(work, stages, code, progress)
            try:
                parts = build.run()
            except DrakeError as error:
                raise build.stopped(error) from error
            contents = build.contents(parts, verdicts)
            trained = [task for task, entry in contents.tasks.items() if entry.train]
            schedules, provenance = describe(sorted(contents.tasks), sorted(trained))
            known = {name: entry for part in parts for name, entry in part.files.items()}
            manifest = complete(build.dataset, contents, schedules=schedules, provenance=provenance, known=known)
            publish(build.dataset, folder, overwrite)
            shutil.rmtree(work)
    return manifest


class _Build:
    def __init__(self, work: Path, stages: Sequence[Stage], code: str, progress: Progress | None) -> None:
        self._work, self._stages, self._code = work, stages, code
        self.dataset, self._downloads = work / "dataset", work / "downloads"
        self.dataset.mkdir(exist_ok=True)
        self._progress = progress or (lambda done, total, what: None)
        self._total = sum(stage.download + stage.bytes for stage in stages)

    def run(self) -> list[Part]:
        """Finish all parts and return them, stage by stage."""
        done = {stage.name: self._finished(stage) for stage in self._stages}
        self._check_space([stage for stage in self._stages if done[stage.name] is None])
        parts: list[Part] = []
        before = 0
        owner: dict[str, str] = {}
        for stage in self._stages:
            found = done[stage.name]
            if found is None:
                found = self._run(stage, before)
            stage.clear(self._downloads)
            for part in found:
                if owner.setdefault(part.task, stage.name) != stage.name:
                    raise DrakeError(f"task {part.task} is both in {owner[part.task]} and in {stage.name}; remove one.")
            parts += found
            before += stage.download + stage.bytes
            self._progress(before, self._total, stage.name)
        return parts

    def _run(self, stage: Stage, before: int) -> list[Part]:
        """Open a stage and finish its parts."""
        limit, moved = before + stage.download + stage.bytes, before

        def move(count: int) -> None:
            nonlocal moved
            moved += count
            self._progress(min(moved, limit), self._total, what)

        what = stage.name
        parts: list[Part] = []
        with (
            stage.opened(self._downloads, move) as source,
            ThreadPoolExecutor(1) as hasher,
            ThreadPoolExecutor(1) as writer,
        ):
            hashing: Future[Part] | None = None
            for task, splits in source.tasks().items():
                for split in splits:
                    key = self._key(stage, task, split)
                    what = f"{task} {split}"
                    if (part := self._part(task, split, key)) is None:
                        part, paths = self._write(source, task, split, key, move, writer)
                        # The files of the part before are hashed while this one's are written.
                        if hashing is not None:
                            parts.append(hashing.result())
                        hashing = hasher.submit(self._commit, part, paths)
                        continue
                    move(part.bytes)
                    if hashing is not None:
                        parts.append(hashing.result())
                        hashing = None
                    parts.append(part)
            if hashing is not None:
                parts.append(hashing.result())
        finished = Finished(key=self._key(stage), parts=tuple((part.task, part.split) for part in parts))
        store(self._stage_file(stage), finished)
        return parts

    def _write(
        self, source: Source, task: str, split: Split, key: str, moved: Moved, writer: ThreadPoolExecutor
    ) -> tuple[Part, list[Path]]:
        """Write the record files of a part, in place of those that a stopped build has left."""
        for leftover in (self.dataset / DATA / task).glob(f"{split}-*.parquet"):
            leftover.unlink()
        shards = Shards(self.dataset / DATA / task, split, compress_pictures=False)
        verdicts, first, ids, buffered, read_bytes = GoldVerdicts(), None, set[str](), 0, 0
        writing_group: Future[None] | None = None
        try:
            for record in source.records(task, split):
                check_record(split, record)
                first = first or record
                if record.id in ids:
                    raise DrakeError(f"two records of {task} ({split}) are called {record.id!r}.")
                if (record.task, record.metric) != (task, first.metric):
                    raise DrakeError(
                        f"record {record.id!r} has the task {record.task!r} and the metric {record.metric!r}, where "
                        f"{task!r} and {first.metric!r} belong."
                    )
                ids.add(record.id)
                verdicts.add(record)
                buffered += shards.add(record)
                read_bytes += sum(map(len, record.images))
                if read_bytes >= STEP:
                    moved(read_bytes)
                    read_bytes = 0
                if buffered >= ROW_GROUP:  # written while the next records are read
                    if writing_group is not None:
                        writing_group.result()
                    writing_group, buffered = writer.submit(shards.flushing()), 0
        finally:
            if writing_group is not None:
                writing_group.result()
            shards.close()
        moved(read_bytes)
        part = Part(
            key=key,
            task=task,
            split=split,
            records=len(ids),
            files={},
            source=first.source if first else "",
            category=first.category if first else "",
            metric=first.metric if first else "",
            gold_fails={p: n for p in PROTOCOLS if (n := verdicts.count[task, p])},
            first_gold={p: Gold(id=r.id, answer=r.answer, choices=r.choices) for (_, p), r in verdicts.first.items()},
        )
        return part, shards.paths

    def _commit(self, part: Part, paths: Iterable[Path]) -> Part:
        """Hash the files of a part, see that they are on the disk, and note that it is finished."""
        entries: dict[str, FileEntry] = {}
        for path in paths:
            entries[path.relative_to(self.dataset).as_posix()] = file_entry(path)
            flush(path)
        finished = part.model_copy(update={"files": entries})
        store(self._part_file(part.task, part.split), finished)
        return finished

    def contents(self, parts: Sequence[Part], verdicts: GoldVerdicts) -> Contents:
        """What all parts hold together; files that belong to none, of a build with other tasks, are deleted."""
        known = {name for part in parts for name in part.files}
        for path in self.dataset.rglob("*"):
            if path.is_file() and path.relative_to(self.dataset).as_posix() not in known:
                path.unlink()
        tasks: dict[str, TaskEntry] = {}
        train_ids: dict[str, list[str]] = {}
        of_task: dict[str, list[Part]] = {}
        for part in parts:
            of_task.setdefault(part.task, []).append(part)
            if part.split == "train":
                train_ids[part.task] = record_ids([self.dataset / name for name in part.files])
        for task, splits in of_task.items():
            first = next((part for part in splits if part.records), None)
            if first is None:
                raise DrakeError(f"task {task} has no records.")
            for part in splits:
                if part.records and part.metric != first.metric:
                    raise DrakeError(
                        f"task {task} has the metrics {first.metric!r} and {part.metric!r}; it may have one."
                    )
                add_verdicts(verdicts, part)
            tasks[task] = TaskEntry(
                source=first.source,
                category=first.category,
                metric=cast(MetricName, first.metric),  # `check_record` refuses others
                train=sum(part.records for part in splits if part.split == "train"),
                test=sum(part.records for part in splits if part.split == "test"),
                gold_fails={p: n for p in PROTOCOLS if (n := sum(part.gold_fails.get(p, 0) for part in splits))},
            )
        return Contents(tasks, train_ids, public=0)

    def stopped(self, error: DrakeError) -> DrakeError:
        """The error to raise in place of one that stops the build. What is not worth keeping is deleted."""
        kept = sum(path.stat().st_size for path in self.dataset.rglob("*.parquet"))
        if kept < WORTH_KEEPING:
            shutil.rmtree(self._work, ignore_errors=True)
            return error
        return DrakeError(
            f"{error} What is finished ({decimal(kept)}) stays in {self._work}: start the same build again to go "
            "on, or delete that folder."
        )

    def _check_space(self, missing: Sequence[Stage]) -> None:
        """Raise DrakeError unless there is space for what is missing, and for the largest download beside it."""
        there = sum(path.stat().st_size for path in self._work.rglob("*") if path.is_file())
        finished = {stage.name for stage in self._stages} - {stage.name for stage in missing}
        there -= sum(stage.bytes for stage in self._stages if stage.name in finished)
        needed = sum(stage.bytes for stage in missing) + max((stage.download for stage in missing), default=0)
        needed -= max(0, there)
        free = shutil.disk_usage(self._work).free
        if needed > free:
            raise DrakeError(
                f"about {decimal(needed)} are needed in {self._work.parent} and {decimal(free)} are free; free some "
                "space, choose another --out, or build some tasks only (--tasks)."
            )

    def _finished(self, stage: Stage) -> list[Part] | None:
        """The parts of a stage if all are finished, otherwise None."""
        finished = read(self._stage_file(stage), Finished)
        if finished is None or finished.key != self._key(stage):
            return None
        parts = [self._part(task, split, self._key(stage, task, split)) for task, split in finished.parts]
        return None if None in parts else [part for part in parts if part is not None]

    def _part(self, task: str, split: Split, key: str) -> Part | None:
        """A part if it is finished and its files are there."""
        part = read(self._part_file(task, split), Part)
        if part is None or part.key != key:
            return None
        for name, entry in part.files.items():
            path = self.dataset / name
            if not path.is_file() or path.stat().st_size != entry.bytes:
                return None
        return part

    def _key(self, stage: Stage, *part: str) -> str:
        return hashlib.sha256(json.dumps([self._code, stage.name, stage.key, *part]).encode()).hexdigest()

    def _part_file(self, task: str, split: str) -> Path:
        return self._work / "parts" / f"{task}-{split}.json"

    def _stage_file(self, stage: Stage) -> Path:
        return self._work / "stages" / f"{hashlib.sha256(stage.name.encode()).hexdigest()[:16]}.json"
