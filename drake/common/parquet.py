"""Parquet files from outside: sizes are known and checked before any column is decoded.

A footer alone is no protection: it may claim less than the pages hold, a dictionary page may hold one long text that
millions of rows name, and a run length of some bytes may stand for a billion values. So `check_pages` reads the header
of every page (Thrift's compact protocol, which Parquet uses) and adds up what decoding will give, and `read_table`
keeps texts as dictionaries until it has added up their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from drake.common.outside import read_bytes, shown
from drake.errors import DrakeError

COMPUTE: Any = pc  # its functions are made when it is imported, so its annotations lack them
ENCODINGS = {0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 4: "BIT_PACKED", 8: "RLE_DICTIONARY"}
"""Number in a page header -> encoding, of those that drake writes. Others may make much of little (DELTA_BYTE_ARRAY
repeats prefixes) and are refused."""
MOST_COLUMNS = 1000
EMPTY = 64
"""Most bytes of a column without values: the header of an empty dictionary."""
ROWS_PER_BATCH = 4096
MOST_THRIFT = 1 << 24
"""Bytes of a text and entries of a list in a footer."""


@dataclass(frozen=True)
class Limits:
    """What a file may hold. file: bytes on disk. rows: of the table. bytes: of all pages uncompressed, and of all texts
    of the decoded table. values: of one column, which for lists is more than its rows. text: bytes of one text."""

    file: int = 256 << 20
    rows: int = 2_000_000
    bytes: int = 1 << 30
    values: int = 50_000_000
    text: int = 1 << 30


def read_table(path: Path, schema: pa.Schema, limits: Limits, again: str) -> pa.Table:
    """The table in a file of exactly this schema (metadata aside).

    again: what to do about a bad file, such as "restore it". Raises DrakeError for a file that is no regular file, no
    Parquet, of another schema, larger than the limits, or damaged.
    """
    what = shown(path)
    content = pa.py_buffer(read_bytes(path, limits.file))
    try:
        footer = _footer(content)
        if not footer.schema.to_arrow_schema().equals(schema, check_metadata=False):
            raise DrakeError(f"{what} does not have the columns that it should; {again}.")
        check_pages(content, footer, limits, what, again)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        with pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts, **_thrift()) as file:
            table = file.read(use_threads=False)
        _check_texts(table, texts, limits, what, again)
        table = table.cast(schema)
        table.validate(full=True)  # texts are UTF-8, offsets are in order
    except (pa.ArrowException, OSError, ValueError, OverflowError, NotImplementedError) as error:
        raise DrakeError(f"{what} is no Parquet file or damaged ({_first_line(error)}); {again}.") from error
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise DrakeError(f"{what} has rows without {field.name}; {again}.")
    return table


def _first_line(error: Exception) -> str:
    return shown(str(error).split("\n")[0]).rstrip(".")


def _thrift() -> dict[str, Any]:
    return {"thrift_string_size_limit": MOST_THRIFT, "thrift_container_size_limit": MOST_THRIFT}


def _footer(content: pa.Buffer) -> pq.FileMetaData:
    with pq.ParquetFile(pa.BufferReader(content), **_thrift()) as file:
        return file.metadata


def check_file(path: Path, limits: Limits, again: str, *, any_encoding: bool = False) -> int:
    """The number of rows of a file of any columns that is too large to be read whole, once it is certain that its
    columns stay within the limits when they are decoded; raises what `read_table` raises. Pages are not decompressed,
    except for columns in which many rows name a long text.

    any_encoding: whether pages may be encoded as other programs do.
    """
    what = shown(path)
    try:
        with pa.memory_map(str(path)) as source:
            content = source.read_buffer()
            footer = _footer(content)
            pages = check_pages(content, footer, limits, what, again, any_encoding=any_encoding)
            _check_repeats(content, footer, pages, limits, what, again)
            return footer.num_rows
    except (pa.ArrowException, OSError, ValueError, OverflowError, NotImplementedError) as error:
        raise DrakeError(f"{what} is no Parquet file or damaged ({_first_line(error)}); {again}.") from error


def _check_repeats(
    content: pa.Buffer, footer: pq.FileMetaData, dictionaries: Dictionaries, limits: Limits, what: str, again: str
) -> None:
    """Raise DrakeError where a column that names texts of a dictionary is longer than the limit when each is written
    out as often as it is named. Only columns that could be are read."""
    total = 0
    for (group, number), size in dictionaries.items():
        column = footer.row_group(group).column(number)
        if column.physical_type != "BYTE_ARRAY" or size * column.num_values <= limits.bytes - total:
            total += size if column.physical_type != "BYTE_ARRAY" else size * column.num_values
            continue
        name = column.path_in_schema
        with pq.ParquetFile(pa.BufferReader(content), read_dictionary=[name], **_thrift()) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH, row_groups=[group], columns=[name], use_threads=False):
                total += _written_out(batch.column(0))
                if total > limits.bytes:
                    raise DrakeError(f"{what} has more than {limits.bytes:,} bytes in the column {name}; {again}.")


def _written_out(values: Any) -> int:
    """The bytes of all texts in an array of dictionaries, which may lie in lists and structs."""
    while not isinstance(values, pa.DictionaryArray):
        if isinstance(values, pa.StructArray):
            (values,) = values.flatten()
        elif isinstance(values, pa.ListArray | pa.LargeListArray):
            values = values.flatten()
        else:  # decoded within the size of its pages
            return int(values.nbytes)
    lengths = COMPUTE.binary_length(values.dictionary).cast(pa.int64())
    return int(COMPUTE.sum(lengths.take(values.indices)).as_py() or 0)


Dictionaries = dict[tuple[int, int], int]
"""(row group, column) -> bytes of its dictionary pages, of the columns that have some."""


def check_pages(
    content: pa.Buffer, footer: pq.FileMetaData, limits: Limits, what: str, again: str, *, any_encoding: bool = False
) -> Dictionaries:
    """The dictionary pages of the columns. Raises DrakeError where footer or page headers exceed the limits, contradict
    each other or, unless `any_encoding` may be, name an encoding that drake does not write. No column is decoded."""
    dictionaries: Dictionaries = {}

    def refuse(why: str) -> DrakeError:
        return DrakeError(f"{what} {why}; {again}.")

    if footer.num_rows > limits.rows:
        raise refuse(f"has {footer.num_rows:,} rows, more than {limits.rows:,}")
    if footer.num_columns > MOST_COLUMNS:
        raise refuse(f"has {footer.num_columns:,} columns")
    size, values = 0, [0] * footer.num_columns
    if (
        footer.num_row_groups > limits.rows + 1
        or sum(footer.row_group(group).num_rows for group in range(footer.num_row_groups)) != footer.num_rows
    ):
        raise refuse("contradicts itself: its row groups have other rows than the whole")
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            if column.num_values == 0 and column.total_compressed_size <= EMPTY:  # of a table without rows
                continue
            start = column.data_page_offset
            if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
                start = column.dictionary_page_offset
            end = start + column.total_compressed_size
            if not 0 < start <= end <= content.size:
                raise refuse("names pages outside of the file")
            while start < end:
                page = _page_header(content, start, end)
                if page.is_dictionary:
                    key = (group, number)
                    dictionaries[key] = dictionaries.get(key, 0) + page.uncompressed
                if not any_encoding and page.encoding not in ENCODINGS:
                    raise refuse(f"has a page of encoding {page.encoding}, which drake does not write")
                size, values[number] = size + page.uncompressed, values[number] + page.values
                if size > limits.bytes:
                    raise refuse(f"has more than {limits.bytes:,} bytes uncompressed")
                if values[number] > limits.values:
                    raise refuse(f"has more than {limits.values:,} values in the column {column.path_in_schema}")
                start = page.next
    return dictionaries


class _Page(NamedTuple):
    """values: 0 for a dictionary. next: where the page ends."""

    uncompressed: int
    values: int
    encoding: int
    next: int
    is_dictionary: bool


def _page_header(content: pa.Buffer, start: int, end: int) -> _Page:
    thrift = _Thrift(memoryview(content).cast("B")[start:end])
    header = thrift.struct()
    data = header.get(5) or header.get(8)  # DataPageHeader or DataPageHeaderV2
    number = {1: 1, 2: 2} if 5 in header else {1: 1, 2: 4}  # num_values, encoding
    uncompressed, compressed = header.get(2), header.get(3)
    if not isinstance(uncompressed, int) or not isinstance(compressed, int) or min(uncompressed, compressed) < 0:
        raise ValueError("a page without its size")
    following = start + thrift.at + compressed
    if following > end:
        raise ValueError("a page that is longer than its column")
    if not isinstance(data, dict):  # a dictionary or an index
        dictionary = header.get(7)
        encoding = dictionary.get(2, 0) if isinstance(dictionary, dict) else 0
        return _Page(uncompressed, 0, int(encoding), following, is_dictionary=7 in header)
    values, encoding = data.get(number[1]), data.get(number[2])
    if not isinstance(values, int) or not isinstance(encoding, int) or values < 0:
        raise ValueError("a page without its number of values")
    return _Page(uncompressed, values, encoding, following, is_dictionary=False)


class _Thrift:
    """Reads a struct of Thrift's compact protocol; ValueError for what is none. Texts are skipped."""

    def __init__(self, content: memoryview) -> None:
        self._content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Number of a field -> its value: int, dict for a struct, None for what nobody asks for."""
        if depth > 8:
            raise ValueError("a page header that is nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            delta, kind = kind >> 4, kind & 15
            number = number + delta if delta else self._zigzag()
            found[number] = self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # true, false
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._varint())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            if count > len(self._content):
                raise ValueError("a list that is longer than its page")
            return [self._element(head & 15, depth) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"a field of kind {kind}")

    def _element(self, kind: int, depth: int) -> Any:
        return self._byte() if kind in (1, 2) else self._value(kind, depth + 1)

    def _byte(self) -> int:
        if self.at >= len(self._content):
            raise ValueError("a page header that is cut off")
        self.at += 1
        return self._content[self.at - 1]

    def _skip(self, count: int) -> None:
        if count > len(self._content) - self.at:
            raise ValueError("a page header that is cut off")
        self.at += count

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number that is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _check_texts(table: pa.Table, names: list[str], limits: Limits, what: str, again: str) -> None:
    """Raise DrakeError where the texts, each written out as often as it is named, are longer than the limit."""
    total = 0
    for name in names:
        for chunk in table[name].chunks:
            lengths = COMPUTE.binary_length(chunk.dictionary).cast(pa.int64())
            written = lengths.take(chunk.indices)
            total += COMPUTE.sum(written).as_py() or 0
            longest = COMPUTE.max(written).as_py() or 0
            if longest > limits.text:
                raise DrakeError(f"{what} has a text of {longest:,} bytes, more than {limits.text:,}; {again}.")
            if total > limits.bytes:
                raise DrakeError(f"{what} has more than {limits.bytes:,} bytes of text; {again}.")
