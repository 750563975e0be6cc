"""Pictures in cells of Parquet files, as the Hugging Face Hub stores data sets of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from drake.data.sources.files import check_regular
from drake.data.sources.raw.dataset import Cell
from drake.data.sources.tables import Row
from drake.errors import DrakeError

MOST_BYTES = 64 << 30
"""Upper limit for a Parquet file, of which one column of one row group is in memory."""


class Cells:
    """Reads cells of the files below a folder. The columns of one row group are in memory, so cells should be asked for
    in the order of the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends: dict[str, list[int]] = {}
        self._at: tuple[str, int] | None = None
        self._columns: dict[str, Any] = {}

    def read(self, where: str, cell: Cell) -> bytes:
        """The bytes of a picture. where: file and row, for errors."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._folder / cell.file
        try:
            if cell.file not in self._ends:
                found: Any = pq.read_metadata(path)
                sizes = [found.row_group(group).num_rows for group in range(found.num_row_groups)]
                self._ends[cell.file] = list(accumulate(sizes))
            ends = self._ends[cell.file]
            group = next(number for number, end in enumerate(ends) if cell.row < end)
            if self._at != (cell.file, group):
                self._at, self._columns = (cell.file, group), {}
            if cell.column not in self._columns:
                with pq.ParquetFile(path) as file:
                    self._columns[cell.column] = file.read_row_group(group, columns=[cell.column])[cell.column]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, StopIteration, KeyError) as error:
            raise DrakeError(f"{where} cannot be read as Parquet ({error}); fetch it again.") from error
        picture = self._columns[cell.column][cell.row - (ends[group - 1] if group else 0)].as_py()
        encoded = picture.get("bytes") if isinstance(picture, dict) else picture
        if not isinstance(encoded, bytes):
            raise DrakeError(f"{where}: its {cell.column!r} holds no bytes of a picture; fetch the file again.")
        return encoded


def text_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a Parquet file with these columns alone, so that no picture is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_regular(path, MOST_BYTES)
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in columns if name not in names]:
                raise DrakeError(f"{path} has no column {missing[0]!r}; it has {', '.join(names)}.")
            rows: list[dict[str, Any]] = file.read(columns=list(columns)).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DrakeError(f"{path} cannot be read as Parquet ({error}); fetch it again.") from error
    for number, values in enumerate(rows):
        yield Row(f"{path}, row {number} (counted from 0)", values)
