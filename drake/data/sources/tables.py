"""Rows of a user's files: JSON Lines, JSON, CSV, Parquet, or a Hugging Face dataset. The source `folder` calls this.

A row is a dict by column name. Errors name the file and the line (CSV and JSON Lines, from 1) or the row (from 0).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from drake.data.sources.files import MOST_PICTURE_BYTES, MOST_RECORD_BYTES, check_regular, read_regular
from drake.data.sources.local_dataset import check_local_dataset
from drake.errors import DrakeError

MOST_JSON_BYTES = 1 << 30
"""Upper limit for a JSON file, which is read whole; JSON Lines, CSV and Parquet may be larger."""
MOST_LINE = 64 << 20
"""Upper limit for one line of JSON Lines, in bytes."""
MOST_ROWS = 1 << 31
LEAST_LIMIT = 1 << 30
MOST_TIMES = 100
"""The decoded columns of a Parquet file may have `LEAST_LIMIT` bytes, or this many times the bytes of the file."""
ROWS_PER_BATCH = 64


class Row(NamedTuple):
    """where: file and row, for errors. values: by column name. from_dataset: whether `datasets` read it."""

    where: str
    values: dict[str, Any]
    from_dataset: bool = False


def file_rows(path: Path) -> Iterator[Row]:
    """The rows of one file; the end of its name decides how it is read."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DrakeError(f"{path} cannot be read as records; its name must end in {', '.join(READERS)}.")
    if not path.exists():
        raise DrakeError(f"there is no file {path}; put it there, or correct its path in the TOML file.")
    check_regular(path, MOST_RECORD_BYTES)
    return reader(path)


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_LINE + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > MOST_LINE:
                raise DrakeError(f"{where} is longer than {MOST_LINE >> 20} MiB.")
            if line.strip():
                yield Row(where, _object(where, _parsed(where, line)))


def _json(path: Path) -> Iterator[Row]:
    rows = _parsed(str(path), read_regular(path, MOST_JSON_BYTES))
    if not isinstance(rows, list):
        raise DrakeError(f"{path} holds a JSON {type(rows).__name__} where a list of objects belongs.")
    for index, row in enumerate(rows):
        where = f"{path}, record {index} (counted from 0)"
        yield Row(where, _object(where, row))


def _parsed(where: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DrakeError(f"{where} is not valid JSON ({error}).") from error


def _object(where: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DrakeError(f"{where} is a JSON {type(row).__name__} where an object belongs.")
    return row


def _csv(path: Path) -> Iterator[Row]:
    """Rows of a CSV file whose first line names the columns; every value is a text, so "007" stays "007"."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for values in reader:
                where = f"{path}, line {reader.line_num}"
                if None in values or None in values.values():
                    raise DrakeError(
                        f"{where} has not as many values as the first line has names ({len(reader.fieldnames or [])}); "
                        "quote values that hold commas."
                    )
                yield Row(where, values)
    except UnicodeDecodeError as error:
        raise DrakeError(f"{path} is not UTF-8 ({error}); save it as UTF-8.") from error
    except csv.Error as error:
        raise DrakeError(f"{path} is not valid CSV ({error}).") from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from drake.common.parquet import Limits, check_file

    size = path.stat().st_size
    limits = Limits(rows=MOST_ROWS, bytes=max(LEAST_LIMIT, MOST_TIMES * size), values=MOST_ROWS)
    check_file(path, limits, "split it, or write it without repeating so much", any_encoding=True)
    try:
        with pq.ParquetFile(path) as file:
            index = 0
            for batch in file.iter_batches(ROWS_PER_BATCH, use_threads=False):
                for values in batch.to_pylist():
                    yield Row(f"{path}, row {index} (counted from 0)", values)
                    index += 1
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DrakeError(f"{path} cannot be read as Parquet ({error}).") from error


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""End of a file's name -> its reader."""


def hub_rows(path: str, config: str | None, split: str, revision: str | None) -> Iterator[Row]:
    """The rows of a split of a Hugging Face dataset: an id on the Hub, or a local folder. No code of it is run.

    Labels (ClassLabel) come as their names, pictures as encoded bytes, or as paths where the dataset is a local folder.
    """
    import datasets

    if local := Path(path).is_dir():
        check_local_dataset(Path(path))
    try:
        # A local folder is streamed: the cache of `datasets` could return the rows of another folder of the same name.
        loaded: Any = datasets.load_dataset(path, config, split=split, revision=revision, streaming=local)
        if loaded.features is None:
            loaded = loaded._resolve_features()
    except Exception as error:  # errors of many kinds: no network, no such dataset, config, split or format
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DrakeError(f"the Hugging Face dataset {path!r} ({split}) cannot be opened: {reason}.") from error
    features: dict[str, Any] = loaded.features
    labels = {name: feature for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)}
    pictures: list[str] = []
    for column, feature in features.items():
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(column, datasets.Image(decode=False))
            pictures.append(column)
        elif isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.Image):
            loaded = loaded.cast_column(column, datasets.List(datasets.Image(decode=False)))
            pictures.append(column)
    for index, values in enumerate(loaded):
        row, where = dict(values), f"{path} ({split}), row {index} (counted from 0)"
        for column, feature in labels.items():
            if row[column] is not None and row[column] >= 0:
                row[column] = feature.int2str(row[column])
        if not local:
            for column in pictures:
                row[column] = _downloaded(where, row[column])
        yield Row(where, row, from_dataset=True)


def _downloaded(where: str, image: Any) -> Any:
    """A picture of a Hub dataset as bytes. One that is given by its path is read only from the folders of downloads."""
    if isinstance(image, list):
        return [_downloaded(where, one) for one in image]
    if not isinstance(image, dict) or image.get("bytes") is not None or image.get("path") is None:
        return image
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    path = Path(image["path"]).resolve()
    caches = (Path(HF_HUB_CACHE), Path(HF_DATASETS_CACHE))
    if not any(path.is_relative_to(cache.resolve()) for cache in caches):
        raise DrakeError(f"{where}: its image {image['path']!r} is no file that was downloaded with the dataset.")
    return read_regular(path, MOST_PICTURE_BYTES)
