"""Records and schedules of an opened dataset as `datasets.Dataset` and Arrow tables. `drake.data.benchmark` calls this.

pyarrow and datasets have no type annotations of their own; these functions give `benchmark` typed access to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetInfo, Features, concatenate_datasets
from datasets.table import MemoryMappedTable

from drake.common.files import replacing
from drake.data.columns import UNDECODED_COLUMNS
from drake.data.parquet_files import read_records, read_schedule, record_batches

__all__ = ["ClientSchedule", "Dataset", "concatenated", "ids", "in_memory", "memory_mapped", "selected"]

_FEATURES = Features.from_arrow_schema(UNDECODED_COLUMNS)


class ClientSchedule:
    """The rows of one client in a stored schedule, by round and position. Raises what `read_schedule` raises."""

    def __init__(self, path: Path, client: int) -> None:
        self._table = read_schedule(path, client)

    @property
    def tasks(self) -> list[str]:
        """The task of every row."""
        return self._column("task")

    @property
    def rounds(self) -> list[int]:
        """The round of every row, from 0."""
        return self._column("round")

    @property
    def ids(self) -> list[str]:
        """The record id of every row."""
        return self._column("id")

    def _column(self, name: str) -> list[Any]:
        return self._table[name].to_pylist()


def in_memory(paths: Sequence[Path], fingerprint: str) -> Dataset:
    """The records of Parquet files, read into memory; pictures stay encoded. fingerprint: names cached results."""
    table = pa.ipc.open_stream(_in_one_piece(paths)).read_all()
    pa.default_memory_pool().release_unused()  # what decoding worked in: several times the records of a small task
    return Dataset(table, info=DatasetInfo(features=_FEATURES), fingerprint=fingerprint)


def _in_one_piece(paths: Sequence[Path]) -> pa.Buffer:
    """The records as an Arrow stream in memory. A small table has dozens of buffers of its own, each of which would
    take more of the allocator's memory than it is long."""
    table = pa.concat_tables([UNDECODED_COLUMNS.empty_table(), *map(read_records, paths)])
    length = pa.MockOutputStream()
    found: list[pa.Buffer] = []
    for _ in range(2):  # once for the length, once to write
        sink = pa.FixedSizeBufferWriter(found[0]) if found else length
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        found = found or [pa.py_buffer(bytearray(length.size()))]  # outside of Arrow's memory, which is empty again
    return found[0]


def memory_mapped(paths: Sequence[Path], copy: Path, fingerprint: str) -> Dataset:
    """The same, memory-mapped from `copy`, one uncompressed Arrow file, which is made if it does not exist."""
    if not copy.is_file():
        with replacing(copy) as temporary, pa.ipc.new_stream(temporary, UNDECODED_COLUMNS) as writer:
            for path in paths:
                for batch in record_batches(path):
                    writer.write_table(batch)
    table = MemoryMappedTable.from_file(str(copy))
    return Dataset(table, info=DatasetInfo(features=_FEATURES), fingerprint=fingerprint)


def concatenated(parts: Sequence[Dataset]) -> Dataset:
    """The records of all parts, one part after another; nothing is copied."""
    return concatenate_datasets(list(parts))


def ids(records: Dataset) -> list[str]:
    """The id of every record."""
    return records.data.column("id").to_pylist()


def selected(records: Dataset, rows: Sequence[int], fingerprint: str) -> Dataset:
    """The records at these row numbers, in order; a view, nothing is copied."""
    return records.select(rows, new_fingerprint=fingerprint)
