"""Is a record sound, and can its gold answer win? `drake build` and `drake check-source` ask this of every record.

`check_record` refuses what would break a run: marks without pictures, texts that cannot be stored, sizes without end.
`GoldVerdicts` counts what a run survives but no model can score on: gold answers that the scoring protocols would mark
wrong if a model answered with exactly that text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from drake.data.choices import wins
from drake.data.record import PUBLIC, Record
from drake.errors import DrakeError
from drake.scoring.answers import PROTOCOLS, Protocol, score_official

IMAGE_MARK = "<image>"
MOST_PICTURES = 256
"""Pictures of one record; the benchmark's own have at most 10 or so."""
MOST_PICTURE_BYTES = 512 << 20
"""Of all pictures of one record together."""
MOST_CHARACTERS = 1_000_000
"""Of one text of a record."""
METRICS = ("accuracy", "token-F1")

_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_task_name(task: str) -> None:
    """DrakeError unless `task` can name a task, and with it a folder and a config."""
    if not _TASK.fullmatch(task):
        raise DrakeError(
            f"{task[:120]!r} cannot name a task: use letters, digits, '_', '-' and '.', at most 100 of them."
        )


def check_pictures(what: str, count: int) -> None:
    """DrakeError, which begins with `what`, for more pictures than a record may have; called before they are read."""
    if count > MOST_PICTURES:
        raise DrakeError(f"{what} has {count:,} pictures; a record may have {MOST_PICTURES}.")


def check_record(split: str, record: Record) -> None:
    """DrakeError for a record that cannot be stored, trained on or scored; the sentence names the record.

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


def check_answer(what: str, answer: str) -> None:
    """DrakeError, which begins with `what`, for a gold answer that is empty or holds a picture mark."""
    if not answer.strip():
        raise DrakeError(f"{what} has an empty answer; remove the record or give it one.")
    if IMAGE_MARK in answer:
        raise DrakeError(f"{what} has {IMAGE_MARK} in its answer, where no picture can stand; remove the mark.")


def check_text(what: str, text: object) -> None:
    """DrakeError, which begins with `what`, for what is no text, is too long, or cannot be written as UTF-8."""
    if not isinstance(text, str):
        raise DrakeError(f"{what} is {type(text).__name__}, not a text.")
    if len(text) > MOST_CHARACTERS:
        raise DrakeError(f"{what} has {len(text):,} characters; {MOST_CHARACTERS:,} are allowed.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DrakeError(
            f"{what} holds half a character (\\u{ord(text[error.start]):04x} at {error.start}), such as half an emoji; "
            "mend the text."
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
    """Whether the gold answer, given as an answer, is right by `protocol`. Open-ended answers always are."""
    if record.metric != "accuracy":
        return True
    if protocol == "strict":
        return wins(record.choices, record.answer, record.prompt)
    return score_official(record.prompt, record.answer, record.answer).correct


@dataclass
class GoldVerdicts:
    """Per (task, protocol): how many gold answers cannot win, and the first such record."""

    count: Counter[tuple[str, Protocol]] = field(default_factory=Counter)
    first: dict[tuple[str, Protocol], Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Ask both protocols about a record."""
        for protocol in PROTOCOLS:
            if not gold_wins(record, protocol):
                key = (record.task, protocol)
                self.count[key] += 1
                self.first.setdefault(key, record)

    def sentences(self) -> list[str]:
        """One for every task with gold answers that are none of the choices (protocol `strict`), with an example.

        What `official` alone marks wrong is counted and not told: its weaknesses are known, the embedded suite has such
        records too.
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
