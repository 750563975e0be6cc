"""What is remembered of every record of a dataset: digests of 32 bytes, by which repeated records, repeated ids and
answers that prevail are found, and by which a schedule's ids are looked up."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drake.data.record import Record

Digests = npt.NDArray[np.uint64]


def digest(text: str | bytes) -> int:
    """A hash of 64 bits."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class Repeats(NamedTuple):
    """Records of one split that repeat earlier ones, by content: the same prompt and the same pictures.

    of: the split with the earlier ones. same_answer: whether the gold answers are the same too.
    records: how many. example: two of them.
    """

    task: str
    split: str
    of: str
    same_answer: bool
    records: int
    example: str


class Index:
    """Digests of records in the order in which they are added, one split of a task after another."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, str, int]] = []
        self._content, self._second = array("Q"), array("Q")
        self._answers, self._ids = array("Q"), array("Q")

    def begin(self, task: str, split: str) -> None:
        """The records that are added next belong to this split."""
        self._parts.append((task, split, len(self._content)))

    def add(self, record: Record) -> None:
        """Remember a record."""
        hashed = hashlib.blake2b(record.prompt.encode("utf-8", "surrogatepass"), digest_size=16)
        for image in record.images:
            hashed.update(hashlib.blake2b(image, digest_size=16).digest())
        content = hashed.digest()
        self._content.append(int.from_bytes(content[:8], "little"))
        self._second.append(int.from_bytes(content[8:], "little"))
        self._answers.append(digest(record.answer))
        self._ids.append(digest(record.id))

    def skip(self, id: str) -> None:
        """Count a record that cannot be used, so that rows keep their numbers; it repeats no other."""
        place = str(len(self._content))
        self._content.append(digest(place))
        self._second.append(digest(f"unusable {place}"))
        self._answers.append(digest(""))
        self._ids.append(digest(id))

    def ids(self, task: str, split: str) -> Digests:
        """The digests of a split's ids, in its order."""
        return self._of(self._ids, task, split)

    def repeated_ids(self, task: str, split: str) -> tuple[int, int]:
        """(how many ids of a split were there before, the row of the first such record)."""
        ids = self.ids(task, split)
        _, first = np.unique(ids, return_index=True)
        again = np.setdiff1d(np.arange(len(ids)), first)
        return len(again), int(again[0]) if len(again) else 0

    def prevailing_answer(self, task: str) -> tuple[int, int]:
        """(the digest of a task's most frequent answer, how many of its records have it); (0, 0) without records."""
        parts = [self._of(self._answers, task, split) for split in ("train", "test")]
        values, counts = np.unique(np.concatenate(parts), return_counts=True)
        if not len(values):
            return 0, 0
        most = int(counts.argmax())
        return int(values[most]), int(counts[most])

    def repeats(self) -> Iterator[Repeats]:
        """All repeated records, by task and split of the later ones and split of the first one."""
        content = np.frombuffer(self._content, np.uint64)
        second = np.frombuffer(self._second, np.uint64)
        if not len(content):
            return
        order = np.lexsort((second, content))  # stable: equal records stay in the order in which they were added
        starts = np.ones(len(order), bool)
        starts[1:] = (np.diff(content[order]) != 0) | (np.diff(second[order]) != 0)
        first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
        later, first = order[~starts], first[~starts]
        position = np.argsort(later)
        later, first = later[position], first[position]
        part_of = np.repeat(np.arange(len(self._parts)), self._lengths())
        splits, codes = np.unique([split for _, split, _ in self._parts], return_inverse=True)
        answers = np.frombuffer(self._answers, np.uint64)
        same = answers[later] == answers[first]
        kinds = np.stack([part_of[later], codes[part_of[first]], same], axis=1)
        for part, of, equal in np.unique(kinds, axis=0):
            found = np.flatnonzero((kinds == (part, of, equal)).all(axis=1))
            task, split, _ = self._parts[part]
            example = f"{self._name(int(later[found[0]]))} repeats {self._name(int(first[found[0]]))}"
            yield Repeats(task, split, str(splits[of]), bool(equal), len(found), example)

    def _of(self, column: array[int], task: str, split: str) -> Digests:
        ends = [*(start for _, _, start in self._parts[1:]), len(self._content)]
        parts = [
            np.frombuffer(column, np.uint64)[start:end]
            for (of_task, of_split, start), end in zip(self._parts, ends, strict=True)
            if (of_task, of_split) == (task, split) and end > start
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)

    def _lengths(self) -> npt.NDArray[np.int64]:
        return np.diff([*(start for _, _, start in self._parts), len(self._content)])

    def _name(self, row: int) -> str:
        """A record by its place: "VSR-0 train row 3", rows from 0."""
        part = int(np.searchsorted([start for _, _, start in self._parts], row, side="right")) - 1
        task, split, start = self._parts[part]
        return f"{task} {split} row {row - start}" if task != split else f"{split} row {row - start}"
