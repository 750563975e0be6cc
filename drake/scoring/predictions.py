"""The answers of clients: one Parquet file per seed and evaluation point, one row per answer.

    RUN/predictions/seed-<s>/point-<t>.parquet      t = 0 before training

A run writes them; scores are computed from them, by the run and when stored answers are scored again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from drake.common.files import replacing
from drake.common.parquet import Limits, read_table
from drake.errors import DrakeError

LIMITS = Limits(bytes=256 << 20, values=10_000_000, text=20_000)
"""What a file of predictions may hold. An answer has at most some hundred tokens."""
LEAST_BYTES, BYTES_PER_ROW = 16 << 20, 4000
"""A file may have so many bytes of texts, or so many for each row that it may have: as Python's objects, texts and
numbers take ten times the memory that they take in a table."""
LEAST_VALUES, IDS_PER_ROW = 1_000_000, 400
"""The same for token ids."""


class Prediction(NamedTuple):
    """One answer: a row of RUN/predictions/seed-<s>/point-<t>.parquet. The question is looked up by `id`."""

    point: int
    """t: 0 before training, else the 1-based evaluation point."""
    round: int
    """Rounds finished then."""
    client: int
    """i, whose model answered."""
    task: str
    """The task of the question."""
    id: str
    """The record's id in the dataset."""
    text: str
    """What the model generated, decoded without special tokens."""
    picked: str | None
    """The choice the official matcher read in `text`; null: none, or an open-ended question."""
    correct: bool | None
    """Whether `picked` is the gold answer; null for open-ended questions."""
    strict_correct: bool | None
    """The same by protocol strict."""
    predicted_ids: list[int] | None
    """Token ids of `text`, for the official F1 of open-ended questions; null for choice questions."""
    gold_ids: list[int] | None
    """Token ids of `gold` by the same tokenizer; null for choice questions."""
    gold: str
    """The gold answer."""


prediction_schema = pa.schema(
    [
        pa.field("point", pa.int32(), nullable=False),
        pa.field("round", pa.int32(), nullable=False),
        pa.field("client", pa.int32(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("picked", pa.string()),
        pa.field("correct", pa.bool_()),
        pa.field("strict_correct", pa.bool_()),
        pa.field("predicted_ids", pa.list_(pa.int32())),
        pa.field("gold_ids", pa.list_(pa.int32())),
        pa.field("gold", pa.string(), nullable=False),
    ]
)


def prediction_path(folder: Path | str, seed: int, point: int) -> Path:
    """Where a run folder keeps the answers of one evaluation point."""
    return Path(folder) / "predictions" / f"seed-{seed}" / f"point-{point}.parquet"


def point_numbers(points: int, zero_shot: bool) -> range:
    """The numbers of a run's evaluation points: 1 to `points`, and 0 where it was evaluated before training too."""
    return range(0 if zero_shot else 1, points + 1)


def write_predictions(path: Path | str, rows: Iterable[Prediction]) -> None:
    """Write rows in the order given; equal rows give equal bytes. DrakeError when a value does not fit the schema."""
    columns = list(zip(*rows, strict=True)) or [()] * len(prediction_schema)
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(columns, prediction_schema, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DrakeError(f"an answer for {path} does not fit the schema of predictions: {error}.") from error
    for array, field in zip(arrays, prediction_schema, strict=True):
        if array.null_count and not field.nullable:
            raise DrakeError(f"an answer for {path} has no {field.name}; every answer needs one.")
    table = pa.Table.from_arrays(arrays, schema=prediction_schema)
    with replacing(Path(path)) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: Path | str, rows: int = LIMITS.rows) -> list[Prediction]:
    """The rows of a prediction file, in its order; at most `rows`. DrakeError when missing, no regular file, not
    Parquet, of another schema, or larger than `LIMITS`."""
    table = predictions_table(path, rows)
    return [Prediction(*row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def predictions_table(path: Path | str, rows: int = LIMITS.rows) -> pa.Table:
    """The same as a table."""
    path = Path(path)
    if not os.path.lexists(path):
        raise DrakeError(f"the predictions {path} are missing; restore them or run again.")
    most = min(rows, LIMITS.rows)
    size, values = max(LEAST_BYTES, most * BYTES_PER_ROW), max(LEAST_VALUES, most * IDS_PER_ROW)
    limits = replace(LIMITS, rows=most, bytes=min(LIMITS.bytes, size), values=min(LIMITS.values, values))
    return read_table(path, prediction_schema, limits, "restore it or run again")
