"""A dataset that was changed, cut, or made to harm is refused in one sentence."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_samples import replace

import drake.data.benchmark
from drake.data.benchmark import load
from drake.data.manifest import FileEntry, fingerprint, legacy_fingerprint, sha256
from drake.errors import DrakeError


def change_manifest(folder: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    replace(folder / "manifest.json", json.dumps(manifest).encode())


def test_a_file_that_is_missing_or_of_another_size_is_refused(copy):
    path = copy / "data/VSR-0/train-00000.parquet"
    content = path.read_bytes()
    replace(path, content[:-1])
    for check in ("sizes", "sha256"):
        with pytest.raises(DrakeError, match=r"VSR-0/train-00000.parquet has \d+ bytes"):
            load(copy, check=check)
    path.unlink()
    with pytest.raises(DrakeError, match=r"data/VSR-0/train-00000.parquet is missing"):
        load(copy, check="sizes")


def test_a_flipped_bit_is_found_unless_only_sizes_are_checked(copy):
    path = copy / "schedules/dynamic.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    replace(path, bytes(content))
    assert load(copy, check="sizes").rounds == 20
    with pytest.raises(DrakeError, match=r"dynamic.parquet is not the file its manifest describes"):
        load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema_version=3), "schema_version"),
        (lambda m: m.update(fingerprint="0" * 64), "contradicts itself"),
        (lambda m: m["files"].update({"../secret": {"sha256": "", "bytes": 1, "rows": 1}}), "inside the dataset"),
        (lambda m: m.pop("clients"), "clients"),
        (
            lambda m: m["schedules"].update({"../../other": m["schedules"].pop("dynamic")}),
            "not the name of a task",
        ),
        (lambda m: m["schedules"].update(other=m["schedules"].pop("dynamic")), "the schedule other has no file"),
        # these would hang or break a run
        (lambda m: m["schedules"]["static"].update(rounds=10**10), "rounds"),
        (lambda m: m["schedules"]["static"].update(rounds_per_task=float("nan")), "NaN is no JSON"),
        (lambda m: m["schedules"].update({"../../x": m["schedules"]["static"]}), "schedules"),
        (lambda m: m["schedules"].update(other=m["schedules"]["static"]), "the schedule other has no file"),
        (lambda m: m["clients"].append([]), "client 10 has no task"),
        (lambda m: m["clients"][0].append("VSR-0"), "'VSR-0' belongs to client 0 and to client 1"),
        (lambda m: m["clients"][0].append("Pets-0"), "'Pets-0' of client 0 does not exist"),
        (lambda m: m.update(clients=[]), "no client"),
        (lambda m: m["tasks"]["VSR-0"].update(train=13), "VSR-0.*has 13 records, its files 12"),
        (lambda m: m["tasks"]["VSR-0"].update(train=True), "train"),
        (lambda m: m["tasks"]["VSR-0"].update(train=-1), "train"),
        (lambda m: m["tasks"]["VSR-0"].update(metric="bleu"), "metric"),
        (lambda m: m.update(seed="0"), "seed"),
        (lambda m: m["files"]["schedules/static.parquet"].update(sha256="x"), "sha256"),
    ],
)
def test_a_manifest_that_cannot_be_believed_is_refused(copy, change, message):
    change_manifest(copy, change)
    with pytest.raises(DrakeError, match=message) as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def schema_1(manifest: dict) -> None:
    """Turn a manifest into that of an older version."""
    manifest.update(schema_version=1, fingerprint=manifest.pop("legacy_fingerprint"))
    for task in manifest["tasks"].values():
        del task["gold_fails"]


def test_a_dataset_of_an_older_version_opens_with_the_fingerprint_of_today(stored, copy):
    change_manifest(copy, schema_1)
    assert load(copy).fingerprint == load(stored).fingerprint
    change_manifest(copy, lambda manifest: manifest.update(fingerprint="0" * 64))
    with pytest.raises(DrakeError, match="contradicts itself"):
        load(copy)


def test_the_fingerprint_covers_names_and_clients(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    files = {name: FileEntry.model_validate(entry) for name, entry in manifest["files"].items()}
    before = fingerprint(files.items(), manifest["clients"])
    assert before == manifest["fingerprint"]
    exchanged = dict(files)
    train, test = "data/VSR-0/train-00000.parquet", "data/VSR-0/test-00000.parquet"
    exchanged[train], exchanged[test] = files[test], files[train]
    assert fingerprint(exchanged.items(), manifest["clients"]) != before
    assert fingerprint(files.items(), manifest["clients"][::-1]) != before
    schedule = {**files, "schedules/static.parquet": files[train]}
    assert fingerprint(schedule.items(), manifest["clients"]) == before


def test_a_manifest_that_is_a_pipe_or_enormous_or_deep_is_refused(copy, monkeypatch):
    text = (copy / "manifest.json").read_bytes()
    for content, message in (
        (b"[" * 200_000, "200000 deep"),
        (b"[]", "not a manifest"),
        (b"\xff\xfe", "is no text"),
        (text.replace(b"{", b'{"seed": 1, ', 1), "the key 'seed' stands twice"),
        (text.replace(b"{", b'{"name": "\\ud83d", ', 1).replace(b'"name"', b'"x"', 1), "surrogate"),
    ):
        replace(copy / "manifest.json", content)
        with pytest.raises(DrakeError, match=message):
            load(copy)
    monkeypatch.setattr("drake.data.manifest.MOST_BYTES", 1000)
    with pytest.raises(DrakeError, match="more than 1,000"):
        load(copy)
    (copy / "manifest.json").unlink()
    os.mkfifo(copy / "manifest.json")
    with pytest.raises(DrakeError, match="no regular file"):
        load(copy)


def test_a_file_behind_a_link_out_of_the_dataset_is_refused(copy, tmp_path):
    for name in ("data/VSR-0/test-00000.parquet", "schedules/dynamic.parquet"):
        outside = tmp_path / "outside.parquet"
        (copy / name).rename(outside)
        (copy / name).symlink_to(outside)
        with pytest.raises(DrakeError, match="is a link to a file outside the dataset"):
            load(copy)
        (copy / name).unlink()
        outside.rename(copy / name)
    load(copy)


def rewritten(folder: Path, name: str, change, **options) -> None:
    """Change a Parquet file and let the manifest agree with it."""
    table = change(pq.read_table(folder / name))
    (folder / name).unlink()
    pq.write_table(table, folder / name, **options)

    def agree(manifest: dict) -> None:
        manifest["files"][name].update(sha256=sha256(folder / name), bytes=(folder / name).stat().st_size)
        entries = [(path, FileEntry.model_validate(entry)) for path, entry in manifest["files"].items()]
        manifest["fingerprint"] = fingerprint(entries, manifest["clients"])
        manifest["legacy_fingerprint"] = legacy_fingerprint(entries)

    change_manifest(folder, agree)


def replaced(table: pa.Table, column: str, values: list) -> pa.Table:
    place = table.column_names.index(column)
    return table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["answer"]), "no column 'answer'"),
        (lambda table: replaced(table, "answer", [None, *table["answer"].to_pylist()[1:]]), "rows without 'answer'"),
        (lambda table: table.set_column(5, "prompt", pa.array(range(len(table)))), None),
        (lambda table: table.set_column(4, "images", pa.array(range(len(table)))), "columns of other types"),
        (lambda table: table.slice(1), "has 3 rows where the manifest says 4"),
    ],
)
@pytest.mark.parametrize("most_in_memory", [0, 1 << 30])
def test_record_files_of_another_shape_are_one_sentence(copy, tmp_path, monkeypatch, change, message, most_in_memory):
    monkeypatch.setattr(drake.data.benchmark, "MOST_IN_MEMORY", most_in_memory)
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    rewritten(copy, "data/VSR-0/test-00000.parquet", change)
    if message is None:  # numbers are read as text
        assert load(copy).records("VSR-0", "test")["prompt"][:] == ["0", "1", "2", "3"]
        return
    with pytest.raises(DrakeError, match=message):
        load(copy).records("VSR-0", "test")


def repeated(table: pa.Table, column: str, value: object) -> pa.Table:
    return replaced(table, column, [value] * len(table))


BOMBS = {
    "a text that every row names": (
        lambda table: repeated(table, "prompt", "<image>" + "a" * 300_000),
        {"use_dictionary": ["prompt"]},
        "more than 1,000,000 bytes in the column prompt",
    ),
    "texts that zstd makes small": (
        lambda table: repeated(table, "category", "a" * 2_000_000),
        {"use_dictionary": False, "compression": "zstd"},
        "more than 1,000,000 bytes uncompressed",
    ),
    "a choice of megabytes ten thousand times": (
        lambda table: repeated(table, "choices", ["a" * 100_000] * 900),
        {"use_dictionary": ["choices.list.element"]},
        "more than 1,000,000 bytes in the column choices.list.element",
    ),
    "a picture a hundred thousand times": (
        lambda table: repeated(table, "images", table["images"][0].as_py() * 25_000),
        {"use_dictionary": ["images.list.element.bytes"]},
        "more than 4,000 values in the column images.list.element",
    ),
    "a picture in every row": (
        lambda table: repeated(table, "images", [{"bytes": b"x" * 300_000, "path": None}] * 100),
        {"use_dictionary": ["images.list.element.bytes"]},
        "more than 1,000,000 bytes in the column images.list.element.bytes",
    ),
    "an encoding that repeats beginnings": (
        lambda table: repeated(table, "answer", "a" * 1_000),
        {"use_dictionary": False, "column_encoding": {"answer": "DELTA_BYTE_ARRAY"}},
        "a page of encoding 7, which drake does not write",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("most_in_memory", [0, 1 << 30])
def test_a_file_that_would_fill_the_memory_is_not_decoded(copy, tmp_path, monkeypatch, name, most_in_memory):
    change, options, message = BOMBS[name]
    monkeypatch.setattr(drake.data.benchmark, "MOST_IN_MEMORY", most_in_memory)
    monkeypatch.setattr("drake.data.parquet_files.LEAST_LIMIT", 1_000_000)
    monkeypatch.setattr("drake.data.parquet_files.MOST_TIMES", 1)
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    rewritten(copy, "data/VSR-0/test-00000.parquet", change, **options)
    opened = load(copy)
    for read in (opened.records, opened.rows):
        with pytest.raises(DrakeError, match=message):
            read("VSR-0", "test")


def test_a_schedule_that_would_fill_the_memory_is_not_decoded(copy, monkeypatch):
    monkeypatch.setattr("drake.data.parquet_files.LEAST_LIMIT", 1_000_000)
    monkeypatch.setattr("drake.data.parquet_files.MOST_TIMES", 1)
    rewritten(copy, "schedules/dynamic.parquet", lambda table: repeated(table, "id", "a" * 100_000))
    with pytest.raises(DrakeError, match="more than 1,000,000 bytes in the column id"):
        _ = load(copy).client(0).arrivals


@pytest.mark.parametrize(
    ("column", "value"), [("round", 10**6), ("round", -1), ("id", "VSR-0/test/000000"), ("id", None)]
)
def test_a_schedule_that_names_what_is_not_there_is_one_sentence(copy, column, value):
    def change(table: pa.Table) -> pa.Table:
        return replaced(table, column, [value, *table[column].to_pylist()[1:]])

    rewritten(copy, "schedules/dynamic.parquet", change)
    with pytest.raises(DrakeError, match="build the dataset again"):
        _ = load(copy).client(0).arrivals
