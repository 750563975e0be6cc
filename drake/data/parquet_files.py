"""The Parquet files of a dataset: writing, reading. `drake.data.writer` and `drake.data.arrow` call this.

data/<task>/<split>-00000.parquet     a row per record (`columns.RECORD_COLUMNS`), pictures as they came
schedules/<name>.parquet              rows of `columns.SCHEDULE_COLUMNS`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from drake.common.outside import check_regular
from drake.common.parquet import Limits, check_file
from drake.data.columns import RECORD_COLUMNS, SCHEDULE_COLUMNS, UNDECODED_COLUMNS, Scratch, records_table
from drake.data.record import Record
from drake.errors import DrakeError

SHARD = 512 << 20
"""Bytes after which a task's split continues in its next file."""
LEAST_LIMIT = 256 << 20
MOST_TIMES = 50
"""The decoded columns of a file may have `LEAST_LIMIT` bytes, or this many times the bytes of the file. Prompts that
repeat a list of choices become 20 times as long."""
MOST_VALUES = 1000
"""Choices and pictures per row of a file, on average."""
MOST_ROWS = 1 << 31
ROWS_PER_BATCH = 64
"""Rows that `record_batches` reads at once; each may hold megabytes of pictures."""


class Shards:
    """The Parquet files of one task's split, written one after another."""

    def __init__(self, folder: Path, split: str, compress_pictures: bool = True):
        """compress_pictures: with zstd, as all other columns. Pictures hardly become smaller by it, and it takes most
        of the time of writing them."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._split, self._compress = folder, split, compress_pictures
        self.paths: list[Path] = []
        """The files begun so far."""
        self._rows: list[Record] = []
        self._scratch = Scratch()
        self._writer: pq.ParquetWriter | None = None
        self._count = self._written = self._buffered = 0

    def add(self, record: Record) -> int:
        """Keep a record in memory until `flush`; returns the approximate bytes that this takes."""
        self._rows.append(record)
        size = sum(map(len, record.images)) + 4 * len(record.prompt) + 1000
        self._buffered += size
        return size

    def flush(self) -> None:
        """Write the records added since the last flush as one row group."""
        self.flushing()()

    def flushing(self) -> Callable[[], None]:
        """The same, as a function that may run in another thread while further records are added; one at a time."""
        rows, size = self._rows, self._buffered
        self._rows, self._buffered = [], 0
        return lambda: self._write(rows, size) if rows else None

    def _write(self, rows: Sequence[Record], size: int) -> None:
        if self._writer is None:
            path = self._folder / f"{self._split}-{self._count:05d}.parquet"
            self._writer = parquet_writer(path, RECORD_COLUMNS, self._compress)
            self.paths.append(path)
        self._writer.write_table(records_table(rows, self._scratch))
        self._written += size
        if self._written >= SHARD:
            self._finish()

    def close(self) -> None:
        """Finish the file; records added later begin the next one."""
        self.flush()
        self._finish()

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer, self._count, self._written = None, self._count + 1, 0


def parquet_writer(path: Path, schema: pa.Schema, compress_pictures: bool = True) -> pq.ParquetWriter:
    """A writer of a new file that stores repeated texts once; creates the file's folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Pictures are compressed already and rarely repeat within a task: a dictionary of them would only cost memory.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    options: dict[str, Any] = {"use_dictionary": texts, "write_statistics": texts}  # not annotated as lists
    compression: Any = "zstd" if compress_pictures else _compressed_texts(schema)
    return pq.ParquetWriter(path, schema, compression=compression, **options)


def _compressed_texts(schema: pa.Schema) -> dict[str, str]:
    """The compression of every column but the pictures, which are named "images.(...).bytes"."""
    names = [name for field in schema for name in _columns(field.name, field.type)]
    return {name: "none" if name.startswith("images.") else "zstd" for name in names}


def _columns(name: str, kind: pa.DataType) -> list[str]:
    """The names of a field's columns in a Parquet file."""
    if pa.types.is_list(kind):
        return _columns(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [column for field in kind for column in _columns(f"{name}.{field.name}", field.type)]
    return [name]


def record_ids(paths: Sequence[Path]) -> list[str]:
    """The ids of the records of some files, in order; no other column is read."""
    found: list[str] = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            found += file.read(columns=["id"])["id"].to_pylist()
    return found


def read_records(path: Path) -> pa.Table:
    """The records of one file, pictures encoded. Raises DrakeError if a column is missing, has another type, or has no
    value in some row."""
    return _checked(path, _read(path))


def record_batches(path: Path) -> Iterator[pa.Table]:
    """The records of one file in batches of `ROWS_PER_BATCH`; raises what `read_records` raises."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH):
                yield _checked(path, pa.Table.from_batches([batch]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DrakeError(f"{path} cannot be read as Parquet ({error}); build the dataset again.") from error


def _checked(path: Path, table: pa.Table) -> pa.Table:
    """The table with the columns of `RECORD_COLUMNS`; raises what `read_records` raises."""
    if missing := [name for name in RECORD_COLUMNS.names if name not in table.column_names]:
        raise DrakeError(f"{path} has no column {missing[0]!r}; build the dataset again.")
    # The files' metadata ask for decoded pictures; the schema set here keeps them encoded.
    try:
        table = table.select(RECORD_COLUMNS.names).cast(UNDECODED_COLUMNS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DrakeError(f"{path} has columns of other types ({error}); build the dataset again.") from error
    if empty := [name for name in RECORD_COLUMNS.names if table[name].null_count]:
        raise DrakeError(f"{path} has rows without {empty[0]!r}; build the dataset again.")
    return table


def read_schedule(path: Path, client: int) -> pa.Table:
    """The rows of one client in a schedule's file, by round and position; raises what `read_records` raises."""
    table = _read(path, [("client", "=", client)])
    if set(SCHEDULE_COLUMNS.names) - set(table.column_names):
        raise DrakeError(f"{path} lacks columns of a schedule; build the dataset again.")
    if any(table[name].null_count for name in SCHEDULE_COLUMNS.names):
        raise DrakeError(f"{path} has incomplete rows; build the dataset again.")
    return table.sort_by([("round", "ascending"), ("position", "ascending")])


def row_count(path: Path) -> int:
    """The number of rows according to a file's footer; no row is read."""
    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise DrakeError(f"{path} is no Parquet file ({error}); build the dataset again.") from error


def check_rows(path: Path, rows: int) -> None:
    """Raise DrakeError for a file of a dataset that has other rows than its manifest says, and for one that would fill
    the memory when it is decoded: a few kilobytes of Parquet can stand for terabytes. No row is read."""
    if (found := sound_rows(path, rows, "build the dataset again")) != rows:
        raise DrakeError(f"{path} has {found} rows where the manifest says {rows}; build the dataset again.")


def sound_rows(path: Path, rows: int, again: str) -> int:
    """The number of rows of a file that may have about `rows`, once it is certain that it does not fill the memory when
    it is decoded; DrakeError otherwise. again: what to do then."""
    check_regular(path, links=True)
    limits = Limits(
        rows=MOST_ROWS,
        bytes=max(LEAST_LIMIT, MOST_TIMES * path.stat().st_size),
        values=max(1, rows) * MOST_VALUES,
    )
    return check_file(path, limits, again)


def _read(path: Path, filters: list[tuple[str, str, int]] | None = None) -> pa.Table:
    try:
        if filters is None:  # one thread: every thread that decodes keeps the memory that it has worked in
            with pq.ParquetFile(path) as file:
                return file.read(use_threads=False)
        options: dict[str, Any] = {"partitioning": None}  # not annotated as optional
        return pq.read_table(path, filters=filters, **options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, ValueError) as error:
        raise DrakeError(f"{path} cannot be read as Parquet ({error}); build the dataset again.") from error
