"""Checks of a record and its gold answer. `drake build` and `drake check-source` apply them to every record.

`check_record` refuses records that would break a run: picture marks without pictures, texts that cannot be stored,
sizes above the limits. `GoldVerdicts` counts records that break nothing but on which no model can score: gold answers
that the scoring protocols mark wrong even if a model answers with exactly that text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import get_args

from drake.data.choices import wins
from drake.data.record import OF_CHOICES, PUBLIC, MetricName, Record
from drake.errors import DrakeError
from drake.scoring.answers import PROTOCOLS, Protocol, score_official

IMAGE_MARK = "<image>"
MOST_PICTURES = 256
"""Upper limit of pictures in one record; those of the benchmark have about 10 at most."""
MOST_PICTURE_BYTES = 512 << 20
"""Upper limit of bytes for all pictures of one record together."""
MOST_CHARACTERS = 1_000_000
"""Upper limit for one text of a record."""
METRICS: tuple[MetricName, ...] = get_args(MetricName)

_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_task_name(task: str) -> None:
    """Raise DrakeError unless `task` can be the name of a task, and so of a folder and a config."""
    if not _TASK.fullmatch(task):
        raise DrakeError(
            f"{task[:120]!r} cannot name a task: use letters, digits, '_', '-' and '.', at most 100 of them."
        )


def check_pictures(what: str, count: int) -> None:
    """Raise DrakeError, beginning with `what`, for too many pictures of a record; called before they are read."""
    if count > MOST_PICTURES:
        raise DrakeError(f"{what} has {count:,} pictures; a record may have {MOST_PICTURES}.")


def check_record(split: str, record: Record) -> None:
    """Raise DrakeError, which names the record, for one that cannot be stored, trained on or scored.

    split: "train", "test" or "public".
    """
    what = f"record {record.id!r} of task {record.task!r}"
    if split not in ("train", "test", PUBLIC) or (split == PUBLIC) != (record.task == PUBLIC):
        raise DrakeError(f"{what} cannot be in a split called {split!r}.")
    check_task_name(record.task)
    _check_texts(what, record)
    check_pictures(what, len(record.images))
    if sum(map(len, record.images)) > MOST_PICTURE_BYTES:
        raise DrakeError(f"{what} has pictures of more than {MOST_PICTURE_BYTES >> 20} MiB together.")
    if (marks := record.prompt.count(IMAGE_MARK)) != len(record.images):
        raise DrakeError(f"{what} has {len(record.images)} images and {marks} {IMAGE_MARK} in its prompt.")
    if record.metric not in METRICS:
        raise DrakeError(f"{what} has the metric {record.metric!r}; it must be {' or '.join(METRICS)}.")
    _check_two_classes(what, record)


def _check_two_classes(what: str, record: Record) -> None:
    """The metrics of GLUE need two classes, and F1 to know which is the positive one."""
    if record.metric == "Matthews" and len(record.choices) != 2:
        raise DrakeError(f"{what} has {len(record.choices)} choices; its metric Matthews is for two.")
    if record.metric == "F1+accuracy" and {choice.lower() for choice in record.choices} != {"yes", "no"}:
        raise DrakeError(f"{what} has choices other than Yes and No, between which its metric F1+accuracy is defined.")


def check_answer(what: str, answer: str) -> None:
    """Raise DrakeError, beginning with `what`, for a gold answer that is empty or holds a picture mark."""
    if not answer.strip():
        raise DrakeError(f"{what} has an empty answer; remove the record or give it one.")
    if IMAGE_MARK in answer:
        raise DrakeError(f"{what} has {IMAGE_MARK} in its answer, where no picture can stand; remove the mark.")


def check_text(what: str, text: object) -> None:
    """Raise DrakeError, beginning with `what`, for a value that is no text, is too long, or has no UTF-8 form."""
    if not isinstance(text, str):
        raise DrakeError(f"{what} is {type(text).__name__}, not a text.")
    if len(text) > MOST_CHARACTERS:
        raise DrakeError(f"{what} has {len(text):,} characters; {MOST_CHARACTERS:,} are allowed.")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DrakeError(
            f"{what} holds half a character (\\u{ord(text[error.start]):04x} at {error.start}), such as half an emoji; "
            "correct the text."
        ) from error


def _check_texts(what: str, record: Record) -> None:
    for name in ("id", "source", "category", "prompt", "answer", "metric"):
        check_text(f"{what}: its {name}", getattr(record, name))
    for choice in record.choices:
        check_text(f"{what}: a choice", choice)
        if IMAGE_MARK in choice:
            raise DrakeError(f"{what} has {IMAGE_MARK} in a choice, where no picture can stand.")
    check_answer(what, record.answer)


def gold_wins(record: Record, protocol: Protocol) -> bool:
    """Whether `protocol` marks the gold answer correct if a model gives it. Open-ended ones always are."""
    if record.metric not in OF_CHOICES:
        return True
    if protocol == "strict":
        return wins(record.choices, record.answer, record.prompt)
    return score_official(record.prompt, record.answer, record.answer).correct


@dataclass
class GoldVerdicts:
    """For each (task, protocol): the number of gold answers that it marks wrong, and the first such record."""

    count: Counter[tuple[str, Protocol]] = field(default_factory=Counter)
    first: dict[tuple[str, Protocol], Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Check a record with both protocols."""
        for protocol in PROTOCOLS:
            if not gold_wins(record, protocol):
                key = (record.task, protocol)
                self.count[key] += 1
                self.first.setdefault(key, record)

    def sentences(self) -> list[str]:
        """One for every task with gold answers that are none of the choices (protocol `strict`), with an example.

        Gold answers that only `official` marks wrong are counted but not reported: the weaknesses of that protocol are
        known, and the embedded suite has such records too.
        """
        return [
            f"task {task}: {self.count[task, protocol]:,} gold answers are none of the choices, so they cannot be "
            f"right; the first is that of {record.id}, {record.answer[:80]!r} of {_shown(record)}."
            for (task, protocol), record in sorted(self.first.items(), key=lambda item: item[0])
            if protocol == "strict"
        ]


def _shown(record: Record) -> str:
    text = ", ".join(map(repr, record.choices))
    return f"[{text}]" if len(text) <= 120 else f"{len(record.choices)} choices"
