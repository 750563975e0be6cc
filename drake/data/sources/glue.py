"""GLUE as it is on the Hugging Face Hub (`nyu-mll/glue`), from a folder: `drake build --source glue:PATH`.

    PATH/<task>/train*.parquet     PATH/<task>/validation*.parquet      task: cola, sst2, mrpc, qqp, stsb, mnli, ...

The same columns in JSON Lines, JSON or CSV are read too. GLUE's own test records have no public answers, so the
validation records are the test records here (of MNLI the matched ones). Which client has which task, and the metrics,
are in the catalog (`drake.catalog.benchmark("glue")`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drake.catalog import benchmark
from drake.catalog.benchmarks import source_of
from drake.common.seeds import python_random
from drake.data.manifest import sha256
from drake.data.oracle import IMAGE_MARK, check_text
from drake.data.record import Record
from drake.data.sources.base import Source, Split, reservoir
from drake.data.sources.tables import READERS, Row, file_rows
from drake.errors import DrakeError

YES_NO = ("Yes", "No")


@dataclass(frozen=True)
class GlueTask:
    """One task of GLUE and how a row of it becomes a question.

    folder: its name on the Hub. columns: the texts of a row, and names: what the prompt calls them. question: what is
    asked. labels: the choice for each label, from 0; empty for STS-B, whose label is a number from 0 to 5. choices: in
    the order of the prompt. validation: the split that test records are taken from.
    """

    folder: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    question: str
    labels: tuple[str, ...]
    choices: tuple[str, ...] = YES_NO
    validation: str = "validation"

    def prompt(self, *texts: str) -> str:
        """The question about these texts."""
        lines = [f"{name}: {text}" for name, text in zip(self.names, texts, strict=True)]
        if not self.labels:
            return "\n".join([*lines, f"{self.question} Answer with a single number."])
        return "\n".join([*lines, self.question, f"Choice list:[{', '.join(self.choices)}]. Your answer is:"])


_PAIR = ("sentence1", "sentence2")
_FIRST_SECOND = ("First", "Second")
GLUE_TASKS = {
    "CoLA-0": GlueTask("cola", ("sentence",), ("Sentence",), "Is the sentence acceptable?", ("No", "Yes")),
    "SST-2-0": GlueTask(
        "sst2",
        ("sentence",),
        ("Sentence",),
        "Which feeling does the sentence have?",
        ("Negative", "Positive"),
        ("Positive", "Negative"),
    ),
    "MRPC-0": GlueTask("mrpc", _PAIR, _FIRST_SECOND, "Do both sentences describe the same?", ("No", "Yes")),
    "QQP-0": GlueTask("qqp", ("question1", "question2"), _FIRST_SECOND, "Are both questions the same?", ("No", "Yes")),
    "STS-B-0": GlueTask("stsb", _PAIR, _FIRST_SECOND, "How much are both sentences the same, from 0 to 5?", (), ()),
    "MNLI-0": GlueTask(
        "mnli",
        ("premise", "hypothesis"),
        ("Source", "Statement"),
        "What is the relation of the statement to the source?",
        ("entailment", "neutral", "contradiction"),
        ("entailment", "neutral", "contradiction"),
        "validation_matched",
    ),
    "QNLI-0": GlueTask(
        "qnli", ("question", "sentence"), ("Question", "Sentence"), "Is the answer in the sentence?", YES_NO
    ),
    "RTE-0": GlueTask("rte", _PAIR, ("Source", "Statement"), "Does the statement follow?", YES_NO),
}
"""The tasks by their ids here."""


@dataclass(frozen=True)
class GlueOptions:
    """train, test: most records per task and split, drawn by the seed; 0 for all."""

    train: int = 10_000
    test: int = 1_000

    def __post_init__(self) -> None:
        if min(self.train, self.test) < 0:
            raise DrakeError("train and test must be numbers of records, 0 for all.")


class GlueSource(Source):
    """The eight tasks of GLUE that the benchmark has, from a folder."""

    kind = "glue"
    wants_argument = "the folder of GLUE, with cola/, sst2/, ..."
    Options = GlueOptions
    options: GlueOptions
    name = "GLUE"
    licence = "other"
    about = "Its records are those of GLUE; the licences are those of the eight data sets that it gathers."

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: int) -> None:
        super().__init__(argument, seed=seed, **options)
        self._root = Path(str(self.argument)).expanduser()
        if not self._root.is_dir():
            raise DrakeError(f"there is no folder {self._root}; download nyu-mll/glue of the Hugging Face Hub into it.")
        for task in GLUE_TASKS:
            for split in ("train", "test"):
                self._files(task, split)

    @property
    def revision(self) -> str:
        """ "sha256:" and a hash over the record files."""
        files = sorted(
            {path for task in GLUE_TASKS for split in ("train", "test") for path in self._files(task, split)}
        )
        lines = [f"{path.relative_to(self._root).as_posix()} {sha256(path)}" for path in files]
        return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def clients(self) -> tuple[tuple[str, ...], ...]:
        """Those of the catalog."""
        return benchmark("glue").clients

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """The eight tasks; each has both splits."""
        return dict.fromkeys(benchmark("glue").tasks, ("train", "test"))

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of a split, in the order of the files; a sample of them where there are more than are wanted."""
        most = self.options.train if split == "train" else self.options.test
        found = self._all(task, split)
        yield from reservoir(found, most, python_random(self.seed, "glue", task, split)) if most else found

    def _all(self, task: str, split: Split) -> Iterator[Record]:
        known, metric = GLUE_TASKS[task], benchmark("glue").metrics[task]
        rows = (row for path in self._files(task, split) for row in file_rows(path))
        for number, row in enumerate(rows):
            try:
                texts = [_text(row, column) for column in known.columns]
                answer = _answer(row, known)
                id = f"{task}/{split}/{number:06d}"
                yield Record(id, task, source_of(task), "", (), known.prompt(*texts), known.choices, answer, metric)
            except DrakeError as error:
                self.on_bad_record(error)

    def _files(self, task: str, split: str) -> list[Path]:
        known = GLUE_TASKS[task]
        name = known.validation if split == "test" else "train"
        folder = self._root / known.folder
        found = sorted(path for path in folder.glob(f"{name}*") if path.suffix.lower() in READERS)
        found = [path for path in found if path.name[len(name)] in "-."]  # not validation_mismatched for validation
        if not found:
            raise DrakeError(
                f"{folder} has no {name} file ({', '.join(READERS)}); put those of nyu-mll/glue, {known.folder}, there."
            )
        return found


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    check_text(f"{row.where}: its {column!r}", value)
    assert isinstance(value, str)
    if not value.strip() or IMAGE_MARK in value:
        raise DrakeError(f"{row.where}: its {column!r} is empty or holds {IMAGE_MARK}; correct the text.")
    return value.strip()


def _answer(row: Row, known: GlueTask) -> str:
    """The choice, or the number with one decimal, that the row's label stands for."""
    value: Any = row.values.get("label")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not known.labels and 0 <= number <= 5:
        return f"{number:.1f}"
    if number in range(len(known.labels)):
        return known.labels[int(number)]
    allowed = f"0 to {len(known.labels) - 1}" if known.labels else "a number from 0 to 5"
    raise DrakeError(f"{row.where}: its label is {value!r} where {allowed} belongs.")
