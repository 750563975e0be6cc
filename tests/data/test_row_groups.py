"""Large splits are read a row group at a time."""

import time
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drake.data import benchmark as module
from drake.data.benchmark import load
from drake.data.columns import RECORD_COLUMNS
from drake.data.manifest import FileEntry, Manifest, fingerprint, legacy_fingerprint, read_manifest, sha256
from drake.data.row_groups import ParquetRows
from drake.errors import DrakeError

ROWS = 1_000_000


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """A dataset whose one task has a million train records of text alone, in row groups as the builder writes them."""
    folder = tmp_path_factory.mktemp("million")
    written = {}
    for split, rows in (("train", ROWS), ("test", 10)):
        path = folder / f"data/Texts-0/{split}-00000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        same = {"task": "Texts-0", "source": "Texts", "category": "", "metric": "token-F1", "answer": "yes"}
        columns = {name: pa.repeat(value, rows).dictionary_encode().cast(pa.string()) for name, value in same.items()}
        columns["id"] = pa.array([f"Texts-0/{split}/{number:06d}" for number in range(rows)])
        columns["prompt"] = pa.array([f"What is {number}?" for number in range(rows)])
        empty = pa.array([0] * (rows + 1), pa.int32())
        schema = RECORD_COLUMNS
        for name in ("images", "choices"):
            kind = schema.field(name).type
            columns[name] = pa.ListArray.from_arrays(empty, pa.array([], kind.value_type)).cast(kind)
        table = pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)
        pq.write_table(table, path, row_group_size=50_000, compression="zstd")
        written[f"data/Texts-0/{split}-00000.parquet"] = FileEntry(
            sha256=sha256(path), bytes=path.stat().st_size, rows=rows
        )
    manifest = Manifest.model_validate(
        {
            "name": "Texts", "source": "test", "revision": "1", "seed": 0, "parameters": {}, "dealt": "test",
            "fingerprint": fingerprint(written.items(), [["Texts-0"]]),
            "legacy_fingerprint": legacy_fingerprint(written.items()),
            "clients": (("Texts-0",),), "unseen": (), "public": 0, "schedules": {"dynamic": {
                "split": "dynamic", "rounds_per_task": 1.0, "rounds": 1}},
            "tasks": {"Texts-0": {"source": "Texts", "category": "", "metric": "token-F1", "train": ROWS, "test": 10}},
            "files": {**{k: v.model_dump() for k, v in written.items()}, **schedule(folder)},
        }
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def schedule(folder):
    path = folder / "schedules/dynamic.parquet"
    path.parent.mkdir()
    names = {"client": pa.int32(), "round": pa.int32(), "position": pa.int32(), "task": pa.string(), "id": pa.string()}
    pq.write_table(pa.schema(list(names.items())).empty_table(), path)
    return {"schedules/dynamic.parquet": {"sha256": sha256(path), "bytes": path.stat().st_size, "rows": 0}}


def test_the_first_record_of_a_million_comes_at_once_and_memory_stays_flat(million, tmp_path, monkeypatch):
    """Time of this process, so that a busy machine changes nothing; the bound is that of the wall clock of an idle
    one."""
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    before = pa.total_allocated_bytes()
    start = time.process_time()
    rows = load(million, check="sizes").rows("Texts-0", "train")
    assert rows[0]["prompt"] == "What is 0?"
    assert time.process_time() - start < 1
    assert len(rows) == ROWS
    for number in (999_999, 49_999, 50_000, 123_456):
        assert (rows[number]["id"], rows[number]["prompt"]) == (f"Texts-0/train/{number:06d}", f"What is {number}?")
        assert (rows[number]["images"], rows[number]["choices"]) == ([], [])
    assert pa.total_allocated_bytes() - before < 50_000_000
    assert len(list(tmp_path.glob("rows/*.arrow"))) == 4  # of 20 row groups
    with pytest.raises(IndexError):
        rows[ROWS]


def test_rows_of_a_large_split_are_those_of_a_small_one(micro_data, tmp_path, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    whole = load(micro_data)
    task = next(iter(whole.tasks))
    assert whole.rows(task, "train") is whole.records(task, "train")
    monkeypatch.setattr(module, "MOST_ROWS_IN_MEMORY", 3)
    lazy = load(micro_data).rows(task, "train")
    assert isinstance(lazy, ParquetRows)
    assert list(lazy) == list(whole.records(task, "train"))
    assert lazy["answer"] == list(whole.records(task, "train")["answer"])
    two = ["id", "choices"]
    assert lazy.select_columns(two) == list(whole.records(task, "train").select_columns(two))
    assert list(load(micro_data).public_rows) == list(whole.public)


def test_without_room_for_copies_rows_are_read_from_the_files(micro_data, tmp_path):
    """A file stands where the folder of copies should be."""
    (tmp_path / "cache").write_text("")
    manifest = read_manifest(load(micro_data).folder)
    task = next(iter(manifest.tasks))
    name = f"data/{task}/train-00000.parquet"
    path = load(micro_data).folder / name
    rows = ParquetRows([path, path], [manifest.files[name].sha256] * 2, tmp_path / "cache" / "rows")
    ids = [row["id"] for row in rows]
    assert len(ids) == 24
    assert ids[:12] == ids[12:]
    assert all(first < second for first, second in pairwise(ids[:12]))


def test_a_damaged_row_group_is_one_sentence(micro_data, tmp_path):
    path = load(micro_data).folder / f"data/{next(iter(load(micro_data).tasks))}/train-00000.parquet"
    content = bytearray(path.read_bytes())
    content[4:2000] = b"x" * 1996
    (tmp_path / "bad.parquet").write_bytes(content)
    with pytest.raises(DrakeError, match=r"bad\.parquet cannot be read as Parquet"):
        ParquetRows([tmp_path / "bad.parquet"], ["x"], tmp_path)[0]
