"""The checks of every record of a built dataset, one split of a task at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drake.data.checks import FEW, MAJORITY, Faults, TaskReport, check_gold
from drake.data.manifest import FileEntry, TaskEntry
from drake.data.oracle import IMAGE_MARK, check_record, gold_wins
from drake.data.pictures import decoded, image_bytes
from drake.data.record import PUBLIC, Record
from drake.data.sources.files import check_whole
from drake.data.verification.digests import Index, digest
from drake.data.verification.lookalikes import Lookalikes, thumbnail
from drake.data.verification.reading import TEXTS, record_rows
from drake.errors import DrakeError
from drake.scoring.answers import PROTOCOLS

MOST_ANSWERS = 1000
"""Different answers of a task whose text is kept, to name the one that prevails."""

Moved = Callable[[float, str], None]
"""(bytes that were read since the last call, what is read now)"""


class TaskCheck:
    """The checks of one task, or of the public records (task and split "public").

    folder: the dataset. entry: what the manifest says of the task, None for the public records. index: is given every
    sound record. decode: decode every picture, instead of looking at its header and its end.
    """

    def __init__(
        self, folder: Path, task: str, entry: TaskEntry | None, *, index: Index, decode: bool, moved: Moved
    ) -> None:
        self._folder, self._entry, self._index, self._decode, self._moved = folder, entry, index, decode, moved
        self.report = TaskReport(task, metric=entry.metric if entry else "")
        self.faults = Faults()
        self.unread = False
        """Whether a file could not be read, so that records are missing."""
        self._lookalikes = Lookalikes()
        self._gold_fails: Counter[str] = Counter()
        self._answers: dict[int, str] = {}
        self._places: Counter[int] = Counter()
        self._complete = True

    def read(self, split: str, files: Mapping[str, FileEntry], unread: Sequence[str] = ()) -> None:
        """Check the records of a split. files: those that may be read. unread: those that may not."""
        self._complete &= not unread
        self.unread |= bool(unread)
        self._index.begin(self.report.task, split)
        row = 0
        what = PUBLIC if split == PUBLIC else f"{self.report.task} {split}"
        for name, entry in files.items():
            try:
                for content in record_rows(self._folder / name, entry.rows, partial(self._advance, entry.bytes, what)):
                    self._check(split, row, content)
                    row += 1
            except DrakeError as error:
                self._complete, self.unread = False, True
                self.faults.add("files that cannot be read", str(error), True)
        again, first = self._index.repeated_ids(self.report.task, split)
        if again:
            self.faults.add("ids used twice", f"{split} row {first}", True, again)
        if split == "test":
            self.report.test += row
        else:
            self.report.train += row
        if split != PUBLIC and 0 < row < FEW:
            self.faults.add(f"few {split} records", f"there are {row}", False)

    def finish(self) -> TaskReport:
        """The report, when all splits were read."""
        self._balance()
        if self._entry is not None and self._complete:
            counted = {protocol: self._gold_fails[protocol] for protocol in PROTOCOLS if self._gold_fails[protocol]}
            if counted != dict(self._entry.gold_fails):
                self.faults.add(
                    "other gold answers fail than the manifest says",
                    f"{counted or 'none'} instead of {dict(self._entry.gold_fails) or 'none'}",
                    False,  # manifests of earlier versions hold no such counts
                )
        if self._lookalikes.full:
            self.faults.add("too many pictures to look for similar ones", "the later ones were not compared", False)
        if pairs := self._lookalikes.pairs():
            example = f"test row {pairs[0].test} looks like train row {pairs[0].train}"
            self.faults.add("test pictures that look like train ones, same prompt", example, False, len(pairs))
        self.report.findings = self.faults.findings()
        return self.report

    def _advance(self, size: int, what: str, share: float) -> None:
        self._moved(share * size, what)

    def _check(self, split: str, row: int, content: Mapping[str, Any]) -> None:
        where = f"{split} row {row}"
        try:
            record = as_record(where, content)
        except DrakeError as error:
            self.faults.add("rows that are no records", str(error), True)
            self._index.skip(str(content["id"]))
            self._complete = False
            return
        marks = record.prompt.count(IMAGE_MARK)
        if marks != len(record.images):
            example = f"{where} has {len(record.images)} pictures and {marks} {IMAGE_MARK} in its prompt"
            self.faults.add("marks and pictures differ in number", example, True)
        else:
            try:
                check_record(split, record)
            except DrakeError as error:
                self.faults.add("unusable records", str(error), True)
                self._index.skip(record.id)
                self._complete = False
                return
        self._agrees(where, record)
        check_gold(record, self.faults)
        self._gold_fails.update(protocol for protocol in PROTOCOLS if not gold_wins(record, protocol))
        self._index.add(record)
        self._remember(record)
        self._check_pictures(split, row, record)

    def _agrees(self, where: str, record: Record) -> None:
        """Compare a record with the place where it lies and with the manifest."""
        expected = {"task": self.report.task}
        if self._entry is not None:
            expected["metric"] = self._entry.metric
        for name, value in expected.items():
            if (found := getattr(record, name)) != value:
                self.faults.add(f"records of another {name}", f"{where} has {found!r:.100}, not {value!r}", True)

    def _check_pictures(self, split: str, row: int, record: Record) -> None:
        thumbnails: list[npt.NDArray[np.uint8]] = []
        for number, image in enumerate(record.images):
            try:
                if self._decode:
                    thumbnails.append(thumbnail(decoded(image)))
                else:
                    check_whole("it", image)
            except DrakeError as error:
                example = f"{split} row {row}, picture {number}: {error}"
                self.faults.add("pictures that cannot be decoded", example, True)
                return
        if split != PUBLIC:
            self._lookalikes.add(split, row, digest(record.prompt), thumbnails)

    def _remember(self, record: Record) -> None:
        """The answer and its place among the choices, for `_balance`."""
        if len(self._answers) < MOST_ANSWERS:
            self._answers.setdefault(digest(record.answer), record.answer[:60])
        if record.answer in record.choices:
            self._places[record.choices.index(record.answer)] += 1

    def _balance(self) -> None:
        total = self.report.train + self.report.test
        if self.report.task == PUBLIC or not total:
            return
        answer, count = self._index.prevailing_answer(self.report.task)
        self.report.majority = count / total
        if total < FEW:
            return
        if self.report.majority > MAJORITY:
            example = f"{self.report.majority:.0%} are {self._answers.get(answer, 'one answer')!r}"
            self.faults.add("one answer prevails", example, False)
        elif self._places and (most := max(self._places.values())) > MAJORITY * total:
            place = min(place for place, count in self._places.items() if count == most)
            example = f"it is choice {place + 1} in {most / total:.0%} of the records"
            self.faults.add("the gold answer stands at one place of the choices", example, False)


def as_record(where: str, content: Mapping[str, Any]) -> Record:
    """A row as a record; DrakeError for missing values."""
    for name in (*TEXTS, "choices", "images"):
        if content[name] is None:
            raise DrakeError(f"{where} has no {name}.")
    if any(choice is None for choice in content["choices"]) or any(image is None for image in content["images"]):
        raise DrakeError(f"{where} has a choice or a picture without a value.")
    images = image_bytes({"id": where, "images": content["images"]})
    texts = {name: content[name] for name in TEXTS}
    return Record(images=tuple(images), choices=tuple(content["choices"]), **texts)
