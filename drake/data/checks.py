"""A report on the faults of a source, task by task: `drake check-source`. Reads every record and stores nothing.

`drake build` refuses or counts the same faults, but stops at the first record that cannot be used.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from drake.data.manifest import check_clients
from drake.data.oracle import check_record, gold_wins
from drake.data.record import PUBLIC, Record
from drake.data.sources.base import Source
from drake.data.sources.files import check_picture
from drake.errors import DrakeError

MAJORITY = 0.9
"""Fraction of the most frequent answer above which a task is reported."""
MOST_EXAMPLE = 600
"""Characters of an example that are kept: texts of a record may be very long."""
FEW = 10
"""Number of records below which a split is reported."""


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    what: the fault, in words. count: records that have it. example: the first of them. broken: whether it must be
    corrected before the source can be used; other findings are for a person to judge.
    """

    what: str
    count: int
    example: str
    broken: bool


@dataclass
class TaskReport:
    """The report on one task ("public" for the public records).

    train, test: usable records of each split; public records count as train. majority: fraction of the most frequent
    gold answer over all records, 0 if there are no records.
    """

    task: str
    metric: str = ""
    train: int = 0
    test: int = 0
    majority: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether a fault must be corrected before the task can be used."""
        return any(finding.broken for finding in self.findings)


class SourceReport(NamedTuple):
    """The report on a source. tasks: one report each, public records last. findings: faults of the source itself."""

    tasks: list[TaskReport]
    findings: list[Finding]

    @property
    def broken(self) -> bool:
        """Whether a fault must be corrected before the source can be used."""
        return any(finding.broken for finding in self.findings) or any(task.broken for task in self.tasks)


class Faults:
    """Counts faults by kind and keeps the first example of each."""

    def __init__(self) -> None:
        self._count: Counter[tuple[str, bool]] = Counter()
        self._first: dict[tuple[str, bool], str] = {}

    def add(self, what: str, example: str, broken: bool, count: int = 1) -> None:
        """Count a fault. The fields are those of `Finding`."""
        self._count[what, broken] += count
        self._first.setdefault((what, broken), example[:MOST_EXAMPLE])

    def findings(self) -> list[Finding]:
        """What was counted, broken ones first."""
        ordered = sorted(self._count, key=lambda key: (not key[1], key[0]))
        return [Finding(what, self._count[what, broken], self._first[what, broken], broken) for what, broken in ordered]


class _Seen:
    """The first record with each prompt and pictures, and its answer: by digest, over all splits and tasks."""

    def __init__(self) -> None:
        self._met: dict[bytes, tuple[str, str, str]] = {}

    def add(self, split: str, record: Record, faults: Faults) -> None:
        digest = hashlib.blake2b(record.prompt.encode(), digest_size=16)
        for image in record.images:
            digest.update(hashlib.blake2b(image, digest_size=16).digest())
        where, answer, first = self._met.setdefault(digest.digest(), (split, record.answer, record.id))
        if first == record.id:
            return
        example = f"{record.id} repeats {first}"
        if where != split:
            faults.add(f"{split} repeats {where}", example, broken="test" in (where, split))
        elif answer != record.answer:
            faults.add(f"repeated within {split} with another answer", example, broken=False)
        else:
            faults.add(f"repeated within {split}", example, broken=False)


def check(source: Source, limit: int | None = None) -> SourceReport:
    """Read a source and report on every task. limit: upper limit of records read from each split; None for all."""
    seen = _Seen()
    general = Faults()
    try:
        tasks = source.tasks()
    except DrakeError as error:
        return SourceReport([], [Finding("cannot be read", 1, str(error), True)])
    try:
        if source.clients is not None:
            check_clients(source.clients, tasks)
    except ValueError as error:
        general.add("clients do not fit the tasks", str(error), True)
    trained = {task for of_client in source.clients or () for task in of_client}
    reports: list[TaskReport] = []
    for task, splits in tasks.items():
        report, faults, answers = TaskReport(task), Faults(), Counter[str]()
        for split in splits:
            sound = _sound(source, source.records(task, split), split, faults, limit)
            count = _read(sound, split, report, faults, answers, seen)
            setattr(report, split, count)
            if count < FEW and limit is None:
                faults.add(f"few {split} records", f"there are {count}", broken=count == 0)
        if task in trained and "train" not in splits:
            faults.add("a client's task without train records", task, True)
        reports.append(_finished(report, faults, answers))
    if source.has_public:
        report, faults, answers = TaskReport(PUBLIC), Faults(), Counter[str]()
        sound = _sound(source, source.public_records(), PUBLIC, faults, limit)
        report.train = _read(sound, PUBLIC, report, faults, answers, seen)
        reports.append(_finished(report, faults, answers))
    return SourceReport(reports, general.findings())


def _sound(
    source: Source, records: Iterator[Record], split: str, faults: Faults, limit: int | None
) -> Iterator[Record]:
    """The usable records; the faults of the others are counted."""

    def collect(error: DrakeError) -> None:
        faults.add("unusable records", str(error), True)

    before, source.on_bad_record = source.on_bad_record, collect
    ids: set[str] = set()
    try:
        for record in islice(records, limit):
            try:
                check_record(split, record)
                if source.in_stages:  # whose records come with pictures of which header and end were checked only
                    _decode(record)
            except DrakeError as error:
                collect(error)
                continue
            if record.id in ids:
                faults.add("ids used twice", record.id, True)
            ids.add(record.id)
            yield record
    except DrakeError as error:  # an error of the file, not of a record
        faults.add(f"{split} cannot be read", str(error), True)
    finally:
        source.on_bad_record = before


def _decode(record: Record) -> None:
    for number, image in enumerate(record.images):
        check_picture(f"record {record.id!r}: its picture {number}", image)


def _read(
    records: Iterable[Record], split: str, report: TaskReport, faults: Faults, answers: Counter[str], seen: _Seen
) -> int:
    count = 0
    for record in records:
        count += 1
        report.metric = report.metric or record.metric
        if record.metric != report.metric and split != PUBLIC:
            faults.add("records with another metric", f"{record.id} has {record.metric}", True)
        answers[record.answer] += 1
        seen.add(split, record, faults)
        check_gold(record, faults)
    return count


def check_gold(record: Record, faults: Faults) -> None:
    """Count the faults of a record's gold answer and its choices."""
    example = f"{record.id}: {record.answer[:60]!r} of {', '.join(record.choices)[:100]!r}"
    if record.metric == "accuracy" and not record.choices:
        faults.add("no choices", record.id, True)
    elif not gold_wins(record, "strict"):
        faults.add("gold answer is none of the choices", example, True)
    elif not gold_wins(record, "official"):
        faults.add("gold answer is wrong by protocol official", example, False)
    if len(set(record.choices)) < len(record.choices):
        faults.add("a choice twice", example, False)


def _finished(report: TaskReport, faults: Faults, answers: Counter[str]) -> TaskReport:
    if answers:
        answer, count = answers.most_common(1)[0]
        report.majority = count / answers.total()
        if report.majority > MAJORITY and answers.total() >= FEW:
            faults.add("one answer prevails", f"{report.majority:.0%} are {answer[:60]!r}", False)
    report.findings = faults.findings()
    return report
