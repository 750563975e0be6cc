"""The rows of a Parquet file from an untrusted place, one at a time and in bounded memory.

A few kilobytes of Parquet can stand for terabytes: a page of zeros, one long text that a million rows refer to, a list
of a billion nulls. So the footer is read first, and a file is refused by what it announces. Long texts are read as
dictionaries, which are as large as they are stored, and their lengths are checked before a row is made of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from drake.data.columns import RECORD_COLUMNS, SCHEDULE_COLUMNS
from drake.data.oracle import MOST_CHARACTERS, MOST_PICTURES
from drake.data.parquet_files import ROWS_PER_BATCH
from drake.errors import DrakeError

MOST_FOOTER = 64 << 20
"""Upper limit for the size of a footer; that of a file with a million records has some hundred kilobytes."""
MOST_ROW_GROUP = 1 << 30
"""Upper limit for the decompressed size of a row group; `drake build` writes groups of 64 MiB and one record."""
MOST_CHOICES = 1000
"""Upper limit for the choices of a record, on average over a row group."""
SCHEDULE_ROWS_PER_BATCH = 1 << 16

TEXTS = [field.name for field in RECORD_COLUMNS if pa.types.is_string(field.type)]
CheckColumns = Callable[[Path, pa.Schema], None]
NESTED = {"images": MOST_PICTURES, "choices": MOST_CHOICES}


def record_rows(path: Path, rows: int, moved: Callable[[float], None]) -> Iterator[dict[str, Any]]:
    """The rows of a file of records. rows: their number according to the manifest. moved: is called with the fraction
    of the file that was read since the last call.

    Raises DrakeError for a file of other columns or another number of rows, and for one that is too large when it is
    decompressed.
    """
    with _opened(path, rows, _check_record_columns, TEXTS) as file:
        for batch in file.iter_batches(ROWS_PER_BATCH):
            for name in TEXTS:
                _check_lengths(path, name, batch.column(name))
            for number in range(batch.num_rows):
                yield batch.slice(number, 1).to_pylist()[0]
            moved(batch.num_rows / max(rows, 1))


def picture_counts(path: Path, rows: int) -> tuple[int, int]:
    """The number of pictures in a file of records, and their bytes, with four more for each; no picture is read.

    Raises what `record_rows` raises.
    """
    with _opened(path, rows, _check_record_columns, []) as file:
        count = stored = 0
        for group in range(file.metadata.num_row_groups):
            for column in _columns(file.metadata.row_group(group)):
                if column.path_in_schema == "images.list.element.bytes":
                    stored += column.total_uncompressed_size
        # The paths beside the pictures are all null, so this column holds little but the lengths of the lists.
        for batch in file.iter_batches(SCHEDULE_ROWS_PER_BATCH, columns=["images.list.element.path"]):
            count += pc.call_function("sum", [batch.column(0).value_lengths()]).as_py() or 0
        return count, stored


def schedule_batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a schedule's file; raises what `record_rows` raises."""
    with _opened(path, rows, _check_schedule_columns, ["task", "id"]) as file:
        for batch in file.iter_batches(SCHEDULE_ROWS_PER_BATCH, columns=SCHEDULE_COLUMNS.names):
            for name in ("task", "id"):
                _check_lengths(path, name, batch.column(name), 1000)
            if any(column.null_count for column in batch.columns):
                raise DrakeError(f"{path} has incomplete rows.")
            yield batch


@contextmanager
def _opened(path: Path, rows: int, check_columns: CheckColumns, dictionaries: list[str]) -> Iterator[Any]:
    """A file whose footer was checked; errors of pyarrow in the block become DrakeErrors.

    dictionaries: the columns to read as dictionaries.
    """
    try:
        _check_footer_size(path)
        with pq.ParquetFile(path) as file:
            _check_footer(path, file.metadata, rows)
            check_columns(path, file.schema_arrow)
        with pq.ParquetFile(path, read_dictionary=dictionaries) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> DrakeError:
    reason = str(error).strip().split("\n")[0][:300].rstrip(".") or type(error).__name__
    return DrakeError(f"{path} cannot be read as Parquet ({reason}).")


def _check_footer_size(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        end = file.read(8)
    if size < 12 or end[4:] != b"PAR1":
        raise ValueError("it does not end as Parquet does")
    (length,) = struct.unpack("<I", end[:4])
    if length > min(size - 8, MOST_FOOTER):
        raise ValueError(f"its footer is said to have {length:,} bytes")


def _check_footer(path: Path, footer: Any, rows: int) -> None:
    if footer.num_rows != rows:
        raise DrakeError(f"{path} has {footer.num_rows:,} rows where the manifest says {rows:,}.")
    if sum(footer.row_group(group).num_rows for group in range(footer.num_row_groups)) != rows:
        raise DrakeError(f"{path} contradicts itself: its row groups do not have {rows:,} rows together.")
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        size = 0
        for column in _columns(group):
            size += max(column.total_uncompressed_size, 0)
            name = column.path_in_schema.split(".")[0]
            values = max(group.num_rows, 1) * NESTED.get(name, 1)
            if column.num_values > values:
                raise DrakeError(f"{path} has {column.num_values:,} values of {name} in {group.num_rows:,} rows.")
            if name in NESTED and column.has_dictionary_page:
                raise DrakeError(f"{path} refers to the same {name} from several rows, as no dataset does.")
        if size > MOST_ROW_GROUP:
            raise DrakeError(
                f"{path} would take {size / 1e9:.1f} GB of memory at once when it is decompressed "
                f"({path.stat().st_size:,} bytes on disk)."
            )


def _columns(group: Any) -> Iterator[Any]:
    return (group.column(number) for number in range(group.num_columns))


def _check_record_columns(path: Path, schema: pa.Schema) -> None:
    for name in RECORD_COLUMNS.names:
        if name not in schema.names or schema.names.count(name) > 1:
            raise DrakeError(f"{path} has no column {name!r}, or several.")
        kind = schema.field(name).type
        if not (_is_text(kind) if name in TEXTS else _is_list(kind, _is_picture if name == "images" else _is_text)):
            raise DrakeError(f"{path} has the column {name!r} with the type {str(kind)[:200]}.")


def _check_schedule_columns(path: Path, schema: pa.Schema) -> None:
    for name, expected in zip(SCHEDULE_COLUMNS.names, SCHEDULE_COLUMNS.types, strict=True):
        if name not in schema.names or schema.names.count(name) > 1:
            raise DrakeError(f"{path} has no column {name!r}, or several.")
        kind = schema.field(name).type
        if not (_is_text(kind) if pa.types.is_string(expected) else pa.types.is_integer(kind)):
            raise DrakeError(f"{path} has the column {name!r} with the type {str(kind)[:200]}.")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_list(kind: pa.DataType, of: Callable[[pa.DataType], bool]) -> bool:
    return pa.types.is_list(kind) and of(kind.value_type)


def _is_picture(kind: pa.DataType) -> bool:
    return (
        pa.types.is_struct(kind)
        and {field.name for field in kind} == {"bytes", "path"}
        and pa.types.is_binary(kind.field("bytes").type)
        and pa.types.is_string(kind.field("path").type)
    )


def _check_lengths(path: Path, name: str, column: pa.Array, most: int = MOST_CHARACTERS) -> None:
    values = column.dictionary if isinstance(column, pa.DictionaryArray) else column
    longest = pc.call_function("max", [pc.call_function("binary_length", [values])]).as_py() or 0
    if longest > 4 * most:  # bytes of UTF-8
        raise DrakeError(f"{path} has a text of {longest:,} bytes in its column {name!r}.")
