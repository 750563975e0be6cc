"""Parquet files from outside: their pages are counted before any is decoded."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drake.common.parquet import Limits, read_table
from drake.errors import DrakeError

SCHEMA = pa.schema(
    [pa.field("id", pa.string(), nullable=False), pa.field("n", pa.int32()), pa.field("list", pa.list_(pa.int32()))]
)
LIMITS = Limits()


def table(ids: list[str], repeat: int = 1) -> pa.Table:
    rows = len(ids) * repeat
    return pa.table({"id": ids * repeat, "n": list(range(rows)), "list": [[1, 2]] * (rows - 1) + [None]}, schema=SCHEMA)


def write(path: Path, content: pa.Table, **options: object) -> Path:
    pq.write_table(content, path, **options)
    return path


def test_what_drake_writes_is_read_to_the_same_table(tmp_path: Path) -> None:
    for number, options in enumerate(
        ({}, {"compression": "zstd"}, {"row_group_size": 7}, {"use_dictionary": False}, {"data_page_size": 64})
    ):
        content = table(["a", "b", "é" * 9], 20)
        assert read_table(write(tmp_path / f"{number}", content, **options), SCHEMA, LIMITS, "restore it") == content


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"rows": 59}, "has 60 rows, more than 59"),
        ({"file": 100}, "is larger than 100 bytes"),
        ({"bytes": 100}, "more than 100 bytes uncompressed"),
        ({"values": 100}, "more than 100 values in the column list"),
        ({"text": 5}, "a text of 18 bytes, more than 5"),
    ],
)
def test_limits_are_held(tmp_path: Path, limits: dict[str, int], sentence: str) -> None:
    path = write(tmp_path / "x", table(["a", "b", "é" * 9], 20))
    with pytest.raises(DrakeError, match=sentence):
        read_table(path, SCHEMA, replace(LIMITS, **limits), "restore it")


def test_one_long_text_that_many_rows_name_is_not_written_out(tmp_path: Path) -> None:
    """100,000 rows name one text of 2 MB: 200 GB in a file of kilobytes."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["x" * (2 << 20)])
    schema = pa.schema([pa.field("id", pa.string())])
    path = write(tmp_path / "bomb", pa.table({"id": texts}), store_schema=False, compression="zstd")
    assert path.stat().st_size < 100_000
    before, started = pa.default_memory_pool().max_memory(), time.perf_counter()
    with pytest.raises(DrakeError, match="bytes of text"):
        read_table(path, schema, LIMITS, "restore it")
    assert pa.default_memory_pool().max_memory() <= max(before, 200 << 20)
    assert time.perf_counter() - started < 20


def test_millions_of_rows_in_some_bytes_are_refused_by_the_footer(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("n", pa.int32())])
    path = write(tmp_path / "rows", pa.table({"n": pa.array([7], pa.int32()).take(pa.nulls(3_000_000, pa.int64()))}))
    assert path.stat().st_size < 10_000
    with pytest.raises(DrakeError, match="has 3,000,000 rows, more than 2,000,000"):
        read_table(path, schema, LIMITS, "restore it")


def test_encodings_that_repeat_prefixes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x", table(["a"], 5), use_dictionary=False, column_encoding={"id": "DELTA_BYTE_ARRAY"})
    with pytest.raises(DrakeError, match="a page of encoding 7, which drake does not write"):
        read_table(path, SCHEMA, LIMITS, "restore it")


def test_other_columns_missing_values_and_broken_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="does not have the columns"):
        read_table(write(tmp_path / "a", pa.table({"id": ["a"]})), SCHEMA, LIMITS, "restore it")
    binary = pa.table({"id": pa.array([b"\xff\xfe"])})
    path = write(tmp_path / "b", binary.set_column(0, "id", binary["id"].cast(pa.string(), safe=False)))
    with pytest.raises(DrakeError, match="damaged"):
        read_table(path, pa.schema([pa.field("id", pa.string())]), LIMITS, "restore it")
    (tmp_path / "c").write_text("PAR1 no PAR1")
    with pytest.raises(DrakeError, match="no Parquet file"):
        read_table(tmp_path / "c", SCHEMA, LIMITS, "restore it")


def test_flipped_and_missing_bytes_are_a_sentence_or_harmless(tmp_path: Path) -> None:
    """Never another error, and never a crash."""
    good = write(tmp_path / "good", table(["a", "b", "c"], 4)).read_bytes()
    rng, path, refused = random.Random(0), tmp_path / "bad", 0
    for _ in range(300):
        bad = bytearray(good)
        if rng.random() < 0.2:
            del bad[rng.randrange(len(bad)) :]
        else:
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        try:
            read_table(path, SCHEMA, LIMITS, "restore it")
        except DrakeError:
            refused += 1
    assert refused > 100
