"""Public records of another source than the dataset of a run: `drake eval --public`, `drake build --public`.

A run draws a sample of them once and keeps it as Parquet below `cache_folder()`, under a name that is a hash of the
source's revision and of the sample's size.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from drake.common.files import cache_folder, read_json_object
from drake.common.seeds import python_random
from drake.data.benchmark import load
from drake.data.licences import stored_licences
from drake.data.manifest import MANIFEST, sha256
from drake.data.oracle import check_record
from drake.data.parquet_files import Shards, sound_rows
from drake.data.pictures import image_bytes
from drake.data.publishing import publish, temporary_sibling
from drake.data.record import PUBLIC, Record
from drake.data.row_groups import ParquetRows, Rows
from drake.data.sources import open_source
from drake.data.sources.base import Source, reservoir
from drake.errors import DrakeError

SAMPLE_SEED = 0
"""Of every sample: runs with different seeds learn from the same public records."""
VERSION = 1
"""Of the form of a stored sample."""
MOST_BUFFERED = 64 << 20
"""Bytes of records in memory while a sample is stored."""
ABOUT = "pool.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PublicPool(NamedTuple):
    """rows: the records. digest: a hash, in hexadecimal, over all of them, texts and pictures."""

    rows: Rows
    digest: str


def open_public(spec: str) -> Source | None:
    """The source that `--public` names, cheaply and without reading a record; None for a built dataset."""
    return None if is_dataset(spec) else open_source(spec)


def is_dataset(spec: str) -> bool:
    """Whether `spec` is the folder of a built dataset."""
    return (Path(spec).expanduser() / MANIFEST).is_file()


def public_licence(spec: str) -> str:
    """The licence of a source or a built dataset."""
    source = open_public(spec)
    return stored_licences(Path(spec).expanduser()).whole if source is None else source.licence


def public_pool(spec: str, most: int) -> PublicPool:
    """The public records of a source or a built dataset: at most so many of a source's, 0 for all. DrakeError where
    there are none, and for the first that cannot be used."""
    source = open_public(spec)
    if source is None:
        found = load(Path(spec).expanduser())
        if not found.manifest.public:
            raise DrakeError(f"--public names the dataset {spec}, which has no public records; name another source.")
        return PublicPool(found.public_rows, found.fingerprint)
    key = json.dumps([VERSION, source.kind, source.revision, source.parameters, most, SAMPLE_SEED])
    folder = cache_folder() / f"public-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not (folder / ABOUT).exists():
        try:
            _store(spec, most, folder)
        except DrakeError:
            if not (folder / ABOUT).exists():  # otherwise another process has stored the same one meanwhile
                raise
    return _stored(folder)


def _stored(folder: Path) -> PublicPool:
    """The sample in a folder of the cache. DrakeError where it is not what was stored there: other files or rows, and
    pages that would fill the memory, as in any other file of records."""
    again = f"delete {folder}, and the next run makes it again"
    about, paths = read_json_object(folder / ABOUT), sorted((folder / PUBLIC).glob("*.parquet"))
    files, digest, records = (about.get(key) for key in ("files", "digest", "records"))
    if (
        not isinstance(files, list)
        or not all(isinstance(file, str) and _SHA256.fullmatch(file) for file in files)
        or len(files) != len(paths)
        or not isinstance(digest, str)
        or type(records) is not int
    ):
        raise DrakeError(f"{folder / ABOUT} does not describe the files beside it; {again}.")
    if sum(sound_rows(path, records, again) for path in paths) != records:
        raise DrakeError(f"{folder} has other rows than {ABOUT} says; {again}.")
    return PublicPool(ParquetRows(paths, cast("list[str]", files), cache_folder() / "rows"), digest)


def drawn(spec: str, most: int) -> Iterator[Record]:
    """The public records of a source or a built dataset: a sample of `most`, 0 for all. A source without a public split
    gives its train records, whatever task they are of."""
    source, rng = open_public(spec), python_random(SAMPLE_SEED, "public sample")
    if source is None:
        rows = public_pool(spec, 0).rows
        found = (Record(**row | {"images": tuple(image_bytes(row)), "choices": tuple(row["choices"])}) for row in rows)
    elif source.has_public:
        return source.public_sample(most, rng) if most else source.public_records()
    else:
        found = _train_as_public(source)
    return iter(reservoir(found, most, rng)) if most else found


def _train_as_public(source: Source) -> Iterator[Record]:
    for task, splits in source.tasks().items():
        if "train" in splits:
            for number, record in enumerate(source.records(task, "train")):
                yield record._replace(id=f"{PUBLIC}/{task}/{number:06d}", task=PUBLIC, category=PUBLIC)


def _store(spec: str, most: int, folder: Path) -> None:
    digest, count, buffered = hashlib.sha256(), 0, 0
    with temporary_sibling(folder) as temporary:
        shards = Shards(temporary / PUBLIC, PUBLIC)
        for record in drawn(spec, most):
            check_record(PUBLIC, record)
            pictures = [hashlib.sha256(picture).hexdigest() for picture in record.images]
            digest.update(json.dumps([*record[:4], pictures, *record[5:]]).encode())
            buffered, count = buffered + shards.add(record), count + 1
            if buffered >= MOST_BUFFERED:
                shards.flush()
                buffered = 0
        shards.close()
        if not count:
            raise DrakeError(f"--public names {spec}, which has no record to learn from; name another source.")
        files = [sha256(path) for path in sorted((temporary / PUBLIC).glob("*.parquet"))]
        (temporary / ABOUT).write_text(json.dumps({"digest": digest.hexdigest(), "files": files, "records": count}))
        publish(temporary, folder, overwrite=False)
