"""The columns of the Parquet files, and rows -> Arrow tables. `drake.data.parquet_files` and its callers use this.

The schemas carry what `datasets` reads of a column (that pictures are to be decoded) in its own notation, so that
`datasets.load_dataset` gives the same features as `datasets.Features` would. Neither `datasets` nor pandas is imported
here: they take longer to import than a small dataset takes to build. `pyarrow.array` imports pandas where it is
installed, so arrays are made of their buffers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from drake.data.record import Record

_TEXT = {"dtype": "string", "_type": "Value"}
_NUMBER = {"dtype": "int32", "_type": "Value"}
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _schema(columns: dict[str, tuple[pa.DataType, dict[str, Any]]]) -> pa.Schema:
    """Columns as (Arrow type, feature in the notation of `datasets`)."""
    features = {name: feature for name, (_, feature) in columns.items()}
    fields = [(name, kind) for name, (kind, _) in columns.items()]
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


def _records(picture: dict[str, Any]) -> pa.Schema:
    text = (pa.string(), _TEXT)
    return _schema(
        {
            "id": text,
            "task": text,
            "source": text,
            "category": text,
            "images": (pa.list_(_PICTURE), {"feature": picture, "_type": "List"}),
            "prompt": text,
            "choices": (pa.list_(pa.string()), {"feature": _TEXT, "_type": "List"}),
            "answer": text,
            "metric": text,
        }
    )


RECORD_COLUMNS = _records({"_type": "Image"})
"""The columns of a record file. `datasets` decodes the pictures."""
UNDECODED_COLUMNS = _records({"decode": False, "_type": "Image"})
"""The same with pictures that `datasets` leaves encoded."""
SCHEDULE_COLUMNS = _schema(
    {name: (pa.int32(), _NUMBER) for name in ("client", "round", "position")}
    | {name: (pa.string(), _TEXT) for name in ("task", "id")}
)
"""The columns of a schedule's file."""


class Scratch:
    """Memory for the pictures of one table after another. New memory for each costs more than copying into it."""

    def __init__(self) -> None:
        self._memory = bytearray()

    def joined(self, pieces: Sequence[bytes]) -> pa.Buffer:
        """The pieces one after another, in memory that the next call uses again."""
        size, at = sum(map(len, pieces)), 0
        if size > len(self._memory):
            self._memory = bytearray(size + size // 8)
        view = memoryview(self._memory)
        for piece in pieces:
            view[at : at + len(piece)] = piece
            at += len(piece)
        return pa.py_buffer(view[:size])


def records_table(rows: Sequence[Record], scratch: Scratch | None = None) -> pa.Table:
    """Records as a table with the columns of `RECORD_COLUMNS`; every picture is copied once.

    scratch: for the pictures; the table is valid until it is used for another.
    """
    columns: dict[str, tuple[Any, ...]] = dict(zip(Record._fields, zip(*rows, strict=True), strict=True))
    columns["images"] = (_pictures(columns["images"], scratch or Scratch()),)
    columns["choices"] = (_lists(columns["choices"], _texts(chain.from_iterable(columns["choices"]))),)
    arrays = [
        columns[name][0] if name in ("images", "choices") else _texts(columns[name]) for name in RECORD_COLUMNS.names
    ]
    return pa.Table.from_arrays(arrays, schema=RECORD_COLUMNS)


def schedule_table(rows: Sequence[tuple[int, int, int, str, str]]) -> pa.Table:
    """Rows (client, round, position, task, id) as a table with the columns of `SCHEDULE_COLUMNS`."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEDULE_COLUMNS.names)
    arrays = [*map(_numbers, columns[:3]), *map(_texts, columns[3:])]
    return pa.Table.from_arrays(arrays, schema=SCHEDULE_COLUMNS)


def _pictures(rows: Sequence[Sequence[bytes]], scratch: Scratch) -> pa.Array:
    pictures = list(chain.from_iterable(rows))
    arrays = [_joined(pa.binary(), pictures, scratch.joined(pictures)), pa.nulls(len(pictures), pa.string())]
    return _lists(rows, pa.StructArray.from_arrays(arrays, fields=list(_PICTURE)))


def _lists(rows: Sequence[Sequence[object]], values: pa.Array) -> pa.Array:
    """Lists of the rows' lengths, whose elements are `values` one after another."""
    return pa.ListArray.from_arrays(_numbers(_offsets(rows)), values)


def _texts(values: Iterable[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    return _joined(pa.string(), encoded, pa.py_buffer(b"".join(encoded)))


def _joined(kind: pa.DataType, values: Sequence[bytes], joined: pa.Buffer) -> pa.Array:
    """An array of texts or bytes; together they have less than 2 GiB, as a row group has."""
    buffers = [None, pa.py_buffer(_offsets(values)), joined]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _offsets(values: Sequence[bytes] | Sequence[Sequence[object]]) -> np.ndarray:
    return np.cumsum([0, *map(len, values)]).astype(np.int32)


def _numbers(values: Sequence[int] | np.ndarray) -> pa.Array:
    """An array of 32-bit integers."""
    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(np.asarray(values, np.int32))])
