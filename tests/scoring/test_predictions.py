"""Prediction files: what is written is what is read, and other files are one sentence."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drake.errors import DrakeError
from drake.scoring.predictions import (
    Prediction,
    prediction_path,
    prediction_schema,
    read_predictions,
    write_predictions,
)

ROWS = [
    Prediction(1, 5, 0, "a", "a/test/000000", "red.", "red", True, True, None, None, "red"),
    Prediction(1, 5, 0, "b", "b/test/000000", "üç", None, None, None, [3, 1], [], "three"),
]


def test_predictions_round_trip_with_the_same_bytes(tmp_path: Path) -> None:
    path = prediction_path(tmp_path, 3, 1)
    assert path == tmp_path / "predictions" / "seed-3" / "point-1.parquet"
    write_predictions(path, ROWS)
    assert read_predictions(path) == ROWS
    assert pq.read_schema(path).equals(prediction_schema)
    write_predictions(tmp_path / "again.parquet", iter(ROWS))
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()
    write_predictions(tmp_path / "none.parquet", [])
    assert read_predictions(tmp_path / "none.parquet") == []


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="has no text"):
        write_predictions(tmp_path / "x.parquet", [ROWS[0]._replace(text=None)])
    with pytest.raises(DrakeError, match="does not fit"):
        write_predictions(tmp_path / "x.parquet", [ROWS[0]._replace(client="zero")])
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_predictions_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="are missing"):
        read_predictions(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(DrakeError, match="is no Parquet file"):
        read_predictions(tmp_path / "text.parquet")
    pq.write_table(pa.table({"point": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DrakeError, match="does not have the columns"):
        read_predictions(tmp_path / "other.parquet")


def _ids(count: int) -> pa.Table:
    """One row whose ids are a run length: some bytes on disk, `count` numbers in memory."""
    table = pa.Table.from_pylist([ROWS[0]._replace(predicted_ids=[], gold_ids=[])._asdict()], prediction_schema)
    lists = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), pa.array([7] * count, pa.int32()))
    return table.set_column(9, prediction_schema.field(9), lists)


def test_token_ids_that_would_fill_the_memory_are_not_decoded(tmp_path: Path) -> None:
    pq.write_table(_ids(1_100_000), tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 20_000
    with pytest.raises(DrakeError, match="more than 1,000,000 values in the column predicted_ids"):
        read_predictions(tmp_path / "bomb.parquet", rows=1000)
    pq.write_table(_ids(10_000), tmp_path / "long.parquet")
    assert len(read_predictions(tmp_path / "long.parquet", rows=1000)[0].predicted_ids or []) == 10_000


def test_texts_may_be_as_long_as_the_rows_that_are_expected_allow(tmp_path: Path) -> None:
    rows = [ROWS[0]._replace(text=f"{number} " + "x" * 19_000) for number in range(1000)]
    write_predictions(tmp_path / "long.parquet", rows)
    with pytest.raises(DrakeError, match=r"more than 16,777,216 bytes"):
        read_predictions(tmp_path / "long.parquet", rows=1000)
    assert read_predictions(tmp_path / "long.parquet", rows=5000) == rows
