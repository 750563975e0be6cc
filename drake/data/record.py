"""A record as sources give it to the builder: the common form of mini worlds, the official release and users' data.

It has the fields of a row of a built dataset.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

PUBLIC = "public"
"""Task, category and split of public records, which belong to no client."""

MetricName = Literal["accuracy", "token-F1", "ROUGE-L", "F1+accuracy", "Matthews", "Pearson+Spearman"]
"""How the answers to a task are scored (`drake.scoring.metrics`)."""

OF_CHOICES: tuple[MetricName, ...] = ("accuracy", "F1+accuracy", "Matthews")
"""The metrics of questions with choices; the others score the text of an answer."""


class Record(NamedTuple):
    """One record.

    id: "<task>/<split>/<six digits>", e.g. "NLVR2-0/train/000017"; for public records "public/NLVR2/000017".
    task: a task id, or "public".
    source: the id of the source data set.
    category: the skill that the task needs; "" if unknown, "public" for public records.
    images: encoded pictures, byte for byte as in the source, in the order of the prompt's "<image>".
    prompt: the question, with one "<image>" per picture.
    choices: the answers to choose from; empty when open-ended.
    answer: the gold answer.
    metric: a `MetricName`.
    """

    id: str
    task: str
    source: str
    category: str
    images: tuple[bytes, ...]
    prompt: str
    choices: tuple[str, ...]
    answer: str
    metric: str


DatasetRow = Mapping[str, Any]
"""A row of a built dataset: the fields of a Record by name, pictures undecoded ({"bytes", "path"})."""
