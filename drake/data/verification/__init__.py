"""Is a built dataset what it says, and sound? `drake.data.verification.verify` reads all of it and reports.

The folder may come from anywhere: nothing in it is executed, memory is bounded, and what is wrong becomes a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from drake.data.checks import Faults, Finding, TaskReport
from drake.data.hub import local_folder
from drake.data.manifest import DATA, MANIFEST, PUBLIC, FileEntry, Manifest, read_manifest
from drake.data.verification.digests import Index
from drake.data.verification.records import TaskCheck
from drake.data.verification.stored_files import check_card, check_listed, check_unlisted
from drake.data.verification.stored_schedules import check_schedule
from drake.errors import DrakeError

Progress = Callable[[float, float, str], None]
"""(bytes done, bytes in all, what is read now)"""


@dataclass
class DatasetReport:
    """The report on a built dataset. tasks: one report each, public records last. findings: those of the whole dataset
    (files, card) and of its schedules. quick: whether hashes were not computed and pictures not decoded."""

    folder: Path
    name: str = ""
    fingerprint: str = ""
    quick: bool = False
    tasks: list[TaskReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether something is wrong with the dataset; other findings are for a person to judge."""
        return any(finding.broken for finding in self.findings) or any(task.broken for task in self.tasks)


def verify(path_or_repo: str | Path, *, quick: bool = False, progress: Progress | None = None) -> DatasetReport:
    """Check a built dataset: a folder, or the id of one on the Hugging Face Hub, which is downloaded.

    Checked are: sizes and SHA-256 of all files, files that the manifest does not list, columns and numbers of rows,
    texts and limits of every record, picture marks against pictures, whether every picture can be decoded, whether the
    gold answers score as right, ids, records that are repeated within and across splits (by prompt and pictures), test
    pictures that look like train ones, the balance of answers, and whether the schedules fit clients and tasks.

    quick: compare sizes instead of hashes, and look at a picture's header and end instead of decoding it.

    Raises DrakeError if there is no such folder or repository, or no manifest in it.
    """
    folder = local_folder(path_or_repo)
    report, general, index = DatasetReport(folder, quick=quick), Faults(), Index()
    if not (folder / MANIFEST).exists():
        read_manifest(folder)  # raises the sentence for a folder that is no dataset
    try:
        manifest = read_manifest(folder)
    except DrakeError as error:
        report.findings = [Finding("the manifest cannot be used", 1, str(error), True)]
        return report
    report.name, report.fingerprint = manifest.name, manifest.fingerprint
    moved = _counting(manifest, quick, progress)
    readable = check_listed(folder, manifest, general, hashes=not quick, moved=moved)
    check_unlisted(folder, manifest, general)
    check_card(folder, manifest, general)
    unread: set[str] = set()
    for task, entry in (*manifest.tasks.items(), (PUBLIC, None)):
        splits = ("train", "test") if entry is not None else (PUBLIC,)
        check = TaskCheck(folder, task, entry, index=index, decode=not quick, moved=moved)
        for split in splits:
            files = _files(manifest, task, split)
            missing = [name for name in files if name not in readable]
            check.read(split, {name: found for name, found in files.items() if name in readable}, missing)
        if check.unread:
            unread.add(task)
        if entry is not None or manifest.public:
            report.tasks.append(check.finish())
    _add_repeats(report.tasks, index)
    for name in manifest.schedules:
        if f"schedules/{name}.parquet" in readable:
            check_schedule(folder, manifest, name, index, unread, general)
    report.findings = general.findings()
    return report


def _files(manifest: Manifest, task: str, split: str) -> dict[str, FileEntry]:
    start = f"{DATA}/{task}/{split}-"
    return {name: manifest.files[name] for name in sorted(manifest.files) if name.startswith(start)}


def _add_repeats(tasks: list[TaskReport], index: Index) -> None:
    by_task = {task.task: task for task in tasks}
    for found in index.repeats():
        if found.split != found.of:
            what = f"{found.split} records that repeat {found.of} ones"
            broken = "test" in (found.split, found.of)
        else:
            what = f"repeated within {found.split}" + ("" if found.same_answer else " with another answer")
            broken = False
        report = by_task[found.task]
        report.findings.append(Finding(what, found.records, found.example, broken))
        report.findings.sort(key=lambda finding: not finding.broken)


def _counting(manifest: Manifest, quick: bool, progress: Progress | None) -> Callable[[float, str], None]:
    """A function that is called with further bytes and passes their sum on. Files are read for their hashes, and record
    files once more for their records."""
    sizes = sum(entry.bytes for entry in manifest.files.values())
    total = sizes + sum(entry.bytes for name, entry in manifest.files.items() if name.startswith(f"{DATA}/"))
    done = 0.0

    def moved(count: float, what: str) -> None:
        nonlocal done
        if progress is not None:
            done += count
            progress(min(done, total), total, what)

    return moved
