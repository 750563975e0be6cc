"""What `drake verify` finds in the files of a built dataset, and what hostile ones cannot do."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from stored_samples import PETS, TEST_PETS, TRAIN, agree, at, broken, column, findings, rewrite, stored

from drake.cli.dataset import limited_memory
from drake.data.manifest import MANIFEST, read_manifest
from drake.data.verification import verify
from drake.errors import DrakeError


@pytest.fixture
def folder(tmp_path) -> Path:
    return stored(tmp_path / "d")


def test_changed_and_missing_files_are_all_named(folder):
    changed = folder / "data/Cars-0/test-00000.parquet"
    content = bytearray(changed.read_bytes())
    content[100] ^= 1
    changed.write_bytes(content)
    (folder / PETS).unlink()
    report = verify(folder)
    first = report.findings[0]
    assert (first.what, first.count, first.broken) == (
        "files that differ from the manifest",
        2,
        True,
    )
    quick = verify(folder, quick=True)
    assert quick.findings[0].count == 1
    assert "Pets-0/train-00000.parquet is missing" in quick.findings[0].example


def test_files_that_load_dataset_would_read_although_no_manifest_lists_them_are_broken(folder, tmp_path):
    (folder / "data/Pets-0/train-00001.parquet").write_bytes((folder / PETS).read_bytes())
    (folder / "data/notes.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (folder / "data/Birds-0").symlink_to(tmp_path / "elsewhere")
    found = {(finding.what, finding.broken) for finding in verify(folder).findings}
    assert found == {
        ("files that the manifest does not list", True),
        ("files that the manifest does not list", False),
        ("folders that are links", True),
    }


def test_a_file_that_is_a_pipe_or_a_link_out_of_the_folder_is_broken_and_not_read(folder, tmp_path):
    (folder / PETS).unlink()
    os.mkfifo(folder / PETS)
    (folder / TEST_PETS).rename(tmp_path / "outside.parquet")
    (folder / TEST_PETS).symlink_to(tmp_path / "outside.parquet")
    found = findings(folder)["files that differ from the manifest"]
    assert (found.count, found.broken) == (2, True)


def test_the_card_of_another_build_is_a_note(folder, tmp_path):
    other = stored(tmp_path / "other", lambda split, record: record._replace(category="another"))
    (folder / "README.md").write_bytes((other / "README.md").read_bytes())
    found = findings(folder)
    assert list(found) == ["a card of another build"]
    assert not found["a card of another build"].broken


def test_a_manifest_that_contradicts_itself_is_a_finding(folder):
    text = (folder / MANIFEST).read_text().replace('"train": 20', '"train": 21', 1)
    (folder / MANIFEST).write_text(text)
    assert broken(folder) == {"the manifest cannot be used"}


@pytest.mark.parametrize("wrong", ["nothing", "empty", "file"])
def test_what_is_no_dataset_is_one_sentence(tmp_path, wrong):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DrakeError, match=r"no folder|no built dataset"):
        verify(tmp_path / wrong)


def claimed(folder: Path, name: str, rows: int) -> None:
    """Let the manifest claim a number of rows for a train file, consistently."""
    agree(folder, name)
    manifest = read_manifest(folder)
    task = name.split("/")[1]
    files = manifest.files | {name: manifest.files[name].model_copy(update={"rows": rows})}
    tasks = manifest.tasks | {task: manifest.tasks[task].model_copy(update={"train": rows})}
    (folder / MANIFEST).write_text(manifest.model_copy(update={"files": files, "tasks": tasks}).model_dump_json())


def test_a_file_with_other_rows_than_the_manifest_says_is_not_read(folder):
    claimed(folder, PETS, 19)
    found = findings(folder)["files that cannot be read"]
    assert "has 20 rows where the manifest says 19" in found.example
    assert found.broken


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda table: table.drop_columns(["answer"]), {}, "no column 'answer'"),
        (lambda table: table.append_column("answer", table["answer"]), {}, "or several"),
        (
            lambda table: table.set_column(0, "id", pa.array(range(TRAIN))),
            {},
            "the column 'id' with the type int64",
        ),
        (
            lambda table: column(table, "images", lambda rows: [rows[0] * 2000] * TRAIN),
            {},
            "40,000 values of images in 20 rows",
        ),
        (
            lambda table: column(table, "images", lambda rows: [rows[0]] * TRAIN),
            {"use_dictionary": True},
            "refers to the same (images|choices) from several rows",
        ),
        (
            lambda table: column(table, "prompt", lambda _: ["<image>" + "a" * 4_000_000] * TRAIN),
            {"use_dictionary": ["prompt"]},
            "a text of 4,000,007 bytes in its column 'prompt'",
        ),
    ],
)
def test_a_record_file_of_another_shape_is_one_finding(folder, change, options, message):
    rewrite(folder, PETS, change, **options)
    found = findings(folder)["files that cannot be read"]
    assert found.broken
    assert re.search(message, found.example)


def test_a_file_that_would_fill_the_memory_is_refused_by_its_footer(folder, monkeypatch):
    monkeypatch.setattr("drake.data.verification.reading.MOST_ROW_GROUP", 1 << 20)
    rewrite(
        folder, PETS, lambda table: column(table, "category", lambda _: ["a" * 100_000] * TRAIN), compression="zstd"
    )
    assert (folder / PETS).stat().st_size < 100_000
    example = findings(folder)["files that cannot be read"].example
    assert "would take 0.0 GB of memory at once" in example


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1", b"\0" * 200])
def test_what_is_no_parquet_is_one_finding(folder, content):
    (folder / PETS).write_bytes(content)
    manifest = read_manifest(folder)
    text = (folder / MANIFEST).read_text()
    entry = manifest.files[PETS]
    text = text.replace(entry.sha256, hashlib.sha256(content).hexdigest()).replace(
        f'"bytes": {entry.bytes}', f'"bytes": {len(content)}', 1
    )
    (folder / MANIFEST).write_text(text)
    assert broken(folder)


FUZZ = """
import random, sys
from pathlib import Path
from drake.data.manifest import read_manifest
from drake.data.verification.reading import record_rows, picture_counts, schedule_batches
from drake.errors import DrakeError
path, out = Path(sys.argv[1]), Path(sys.argv[2])
content, rng, refused = path.read_bytes(), random.Random(0), 0
for number in range(150):
    changed = bytearray(content)
    start = len(content) * 2 // 3 if number % 2 else 0
    for _ in range(rng.randrange(1, 6)):
        changed[rng.randrange(start, len(content) - 8)] = rng.randrange(256)
    out.write_bytes(changed)
    for read in (lambda: list(record_rows(out, 20, lambda share: None)), lambda: picture_counts(out, 20)):
        try:
            read()
        except DrakeError:
            refused += 1
print(refused)
"""


def test_flipped_bytes_never_end_in_anything_but_a_sentence(folder, tmp_path):
    """In a process of its own: a crash of the reader would end this one."""
    command = [sys.executable, "-c", FUZZ, str(folder / PETS), str(tmp_path / "fuzzed.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 20


def test_an_example_of_a_very_long_text_is_cut(folder):
    rewrite(folder, PETS, lambda table: column(table, "id", at(0, "i" * 500_000)))
    rewrite(folder, PETS, lambda table: column(table, "answer", at(0, "Perhaps")))
    assert len(findings(folder)["gold answer is none of the choices"].example) == 600


def test_a_command_takes_a_bounded_amount_of_memory():
    with limited_memory(256 << 20):
        with pytest.raises(MemoryError):
            bytearray(2 << 30)
        assert len(bytearray(1 << 20)) == 1 << 20
    assert len(bytearray(512 << 20)) == 512 << 20
