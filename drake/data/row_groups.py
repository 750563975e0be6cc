"""Rows of large Parquet files, read a row group at a time: `Benchmark.rows` of a split that would not fit in memory.

A row group that is used is copied once to an uncompressed Arrow file below `cache_folder()`, which is memory-mapped
from then on. So the first record of a split takes as long as one row group (tens of megabytes), whatever the size of
the split, later records take no reading at all, and memory holds nothing that the system cannot drop. The name of a
copy is the hash of the Parquet file and the number of the row group.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, overload

import pyarrow as pa
import pyarrow.parquet as pq

from drake.common.files import replacing
from drake.data.columns import RECORD_COLUMNS, UNDECODED_COLUMNS
from drake.data.record import DatasetRow
from drake.errors import DrakeError

MOST_OPEN = 256
"""Row groups that are kept mapped; each holds a file open."""
MOST_HELD = 4
"""Row groups that are kept in memory where the disk has no room for copies."""


class Rows(Protocol):
    """What a run needs of a split: a `datasets.Dataset` has it, and so has `ParquetRows`."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: int | str) -> Any:
        """A row by its number, or all values of a column by its name."""
        ...

    def __iter__(self) -> Iterator[Any]: ...

    def select_columns(self, column_names: Any) -> Any:
        """The rows with these columns alone."""
        ...


class ParquetRows:
    """The rows of Parquet files, one file after another. paths, hashes: the files and their SHA-256. copies: the folder
    for the copies of row groups. Raises DrakeError for a file that is no file of records."""

    def __init__(self, paths: Sequence[Path], hashes: Sequence[str], copies: Path) -> None:
        self._paths, self._copies = paths, copies
        self._groups: list[tuple[Path, str, int]] = []  # (file, its hash, number of the row group in it)
        counts: list[int] = []
        for path, digest in zip(paths, hashes, strict=True):
            footer = pq.read_metadata(path)
            for number in range(footer.num_row_groups):
                self._groups.append((path, digest, number))
                counts.append(footer.row_group(number).num_rows)
        self._ends = list(accumulate(counts))
        self._open: OrderedDict[int, pa.Table] = OrderedDict()
        self._held: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, key: int) -> DatasetRow: ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: int | str) -> DatasetRow | list[Any]:
        """A row, or all values of a column."""
        if isinstance(key, str):
            return [row[key] for row in self.select_columns([key])]
        if not 0 <= key < len(self):
            raise IndexError(key)
        group = bisect_right(self._ends, key)
        start = self._ends[group - 1] if group else 0
        return self._table(group).slice(key - start, 1).to_pylist()[0]

    def __iter__(self) -> Iterator[DatasetRow]:
        return (self[row] for row in range(len(self)))

    def select_columns(self, column_names: Sequence[str]) -> list[dict[str, Any]]:
        """All rows with these columns alone; pictures are not read unless they are named."""
        names = list(column_names)
        return [row for path in self._paths for row in pq.read_table(path, columns=names).to_pylist()]

    def _table(self, group: int) -> pa.Table:
        for kept in (self._open, self._held):
            if group in kept:
                kept.move_to_end(group)
                return kept[group]
        path, digest, number = self._groups[group]
        copy = self._copies / f"{digest}-{number}.arrow"
        if not copy.is_file():
            table = _row_group(path, number)
            try:
                with (
                    replacing(copy) as temporary,
                    pa.ipc.new_stream(temporary, UNDECODED_COLUMNS) as writer,
                ):
                    writer.write_table(table)
            except DrakeError:  # a full disk, or one that may not be written: slower, and nothing else
                return _keep(self._held, group, table, MOST_HELD)
        return _keep(self._open, group, pa.ipc.open_stream(pa.memory_map(str(copy))).read_all(), MOST_OPEN)


def _keep(kept: OrderedDict[int, pa.Table], group: int, table: pa.Table, most: int) -> pa.Table:
    kept[group] = table
    if len(kept) > most:
        kept.popitem(last=False)
    return table


def _row_group(path: Path, number: int) -> pa.Table:
    """The records of one row group, pictures encoded; DrakeError where they cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read_row_group(number, columns=RECORD_COLUMNS.names)
        return table.select(RECORD_COLUMNS.names).cast(UNDECODED_COLUMNS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, OSError, ValueError) as error:
        raise DrakeError(f"{path} cannot be read as Parquet ({error}); build the dataset again.") from error
