"""What `drake verify` finds in a built dataset, what it calls broken, and what hostile files cannot do."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from build_samples import png
from click.testing import CliRunner
from PIL import Image
from stored_samples import TRAIN, agree, at, column, rewrite, sample, stored

from drake.cli.dataset import limited_memory
from drake.cli.dataset import verify as command
from drake.data.checks import Finding
from drake.data.manifest import MANIFEST, read_manifest
from drake.data.verification import verify
from drake.data.verification.lookalikes import thumbnail
from drake.errors import DrakeError

PETS, TEST_PETS = "data/Pets-0/train-00000.parquet", "data/Pets-0/test-00000.parquet"


@pytest.fixture
def folder(tmp_path) -> Path:
    return stored(tmp_path / "d")


def findings(folder: Path, **options) -> dict[str, Finding]:
    report = verify(folder, **options)
    found = [*report.findings, *(finding for task in report.tasks for finding in task.findings)]
    assert report.broken == any(finding.broken for finding in found)
    return {finding.what: finding for finding in found}


def broken(folder: Path, **options) -> set[str]:
    return {what for what, finding in findings(folder, **options).items() if finding.broken}


def test_a_sound_dataset_has_no_findings(folder):
    report = verify(folder)
    assert (report.broken, report.findings) == (False, [])
    assert [finding for task in report.tasks for finding in task.findings] == []
    assert [(task.task, task.metric, task.train, task.test) for task in report.tasks] == [
        ("Cars-0", "accuracy", 20, 10),
        ("Maps-0", "accuracy", 0, 10),
        ("Pets-0", "accuracy", 20, 10),
        ("Pets-1", "accuracy", 20, 10),
        ("public", "", 3, 0),
    ]
    assert report.tasks[0].majority == 0.5
    assert report.fingerprint == read_manifest(folder).fingerprint


def test_the_mini_suite_is_sound(micro_data):
    report = verify(micro_data)
    assert not report.broken
    assert {task.task for task in report.tasks} == {*read_manifest(Path(micro_data)).tasks, "public"}


# ---------------------------------------------------------------------------------------------------------------------
# Files


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


# ---------------------------------------------------------------------------------------------------------------------
# Records


def test_a_picture_that_cannot_be_decoded_is_found_and_quickly_one_that_was_cut_off(folder):
    damaged = bytearray(png(5, 40))
    damaged[50] ^= 255  # in the pixels: header and end are those of a whole picture
    picture = {"bytes": bytes(damaged), "path": None}
    rewrite(folder, PETS, lambda table: column(table, "images", at(3, [picture])))
    found = findings(folder)["pictures that cannot be decoded"]
    assert (found.count, found.broken) == (1, True)
    assert found.example.startswith("train row 3, picture 0: the picture is a PNG that is cut off or damaged")
    assert broken(folder, quick=True) == set()
    cut = {"bytes": png(5, 40)[:60], "path": None}
    rewrite(folder, PETS, lambda table: column(table, "images", at(3, [cut])))
    assert broken(folder, quick=True) == {"pictures that cannot be decoded"}


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("prompt", "Which? Choice list:[Yes, No]. Your answer is:", "marks and pictures differ in number"),
        ("prompt", "<image><image> Choice list:[Yes, No]. Your answer is:", "marks and pictures differ in number"),
        ("answer", "<image>", "unusable records"),
        ("answer", " ", "unusable records"),
        ("answer", "Perhaps", "gold answer is none of the choices"),
        ("choices", [], "no choices"),
        ("choices", ["Yes", "<image>"], "unusable records"),
        ("id", "Pets-0/train/000004", "ids used twice"),
        ("task", "Cars-0", "records of another task"),
        ("metric", "token-F1", "records of another metric"),
        ("metric", "bleu", "unusable records"),
        ("prompt", None, "rows that are no records"),
        ("images", [{"bytes": None, "path": "/etc/passwd"}], "rows that are no records"),
        ("images", [None], "rows that are no records"),
        ("choices", ["Yes", None], "rows that are no records"),
    ],
)
def test_a_faulty_record_is_found_although_the_hashes_agree(folder, name, value, what):
    rewrite(folder, PETS, lambda table: column(table, name, at(3, value)))
    found = findings(folder)
    assert (found[what].count, found[what].broken) == (1, True)
    assert not any("schedule" in other or "arrivals" in other for other in found if name != "id")


def test_records_that_are_repeated_are_found_by_prompt_and_pictures(tmp_path):
    copied = {("test", 3): sample("Pets-0", "train", 7), ("train", 5): sample("Pets-0", "train", 4)}
    copied["public", 1] = sample("Pets-0", "test", 2)

    def change(split, record):
        number = int(record.id.rpartition("/")[2])
        found = copied.get((split, number)) if record.task in ("Pets-0", "public") else None
        return record._replace(prompt=found.prompt, images=found.images) if found else record

    found = findings(stored(tmp_path / "d", change))
    assert {what: (finding.example, finding.broken) for what, finding in found.items()} == {
        "test records that repeat train ones": ("Pets-0 test row 3 repeats Pets-0 train row 7", True),
        "repeated within train with another answer": ("Pets-0 train row 5 repeats Pets-0 train row 4", False),
        "public records that repeat test ones": ("public row 1 repeats Pets-0 test row 2", True),
        "test pictures that look like train ones, same prompt": ("test row 3 looks like train row 7", False),
    }


def test_the_same_prompt_with_another_picture_repeats_nothing(tmp_path):
    folder = stored(tmp_path / "d", lambda split, record: record._replace(prompt="<image> Choice list:[Yes, No]."))
    assert not [what for what in findings(folder) if "repeat" in what]


def photograph(seed: int, shift: int = 0) -> Image.Image:
    """Coarse noise, as unlike other seeds as photographs are; `shift` moves it to the right."""
    grid = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    large = Image.fromarray(grid).resize((120, 120), Image.Resampling.BICUBIC)
    return Image.fromarray(np.roll(np.asarray(large), shift, axis=1))


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("again", "alike"),
    [
        (lambda: encoded(photograph(1), "JPEG", quality=60), True),
        (lambda: encoded(photograph(1).resize((64, 64)), "WEBP"), True),
        (lambda: encoded(photograph(1), "BMP"), True),
        (lambda: encoded(photograph(1, shift=10), "PNG"), False),
        (lambda: encoded(photograph(2), "PNG"), False),
        (lambda: encoded(photograph(1).rotate(180), "PNG"), False),
    ],
)
def test_a_train_picture_that_was_saved_again_is_recognised_in_test(tmp_path, again, alike):
    def change(split, record):
        if not record.id.startswith("Pets-0/") or not record.id.endswith("000002"):
            return record
        return record._replace(
            prompt="<image> The same? Choice list:[Yes, No].",
            images=(encoded(photograph(1), "PNG") if split == "train" else again(),),
        )

    found = findings(stored(tmp_path / "d", change))
    assert list(found) == (["test pictures that look like train ones, same prompt"] if alike else [])


def test_a_thumbnail_holds_the_means_of_parts():
    image = Image.new("RGB", (16, 16), (10, 20, 30))
    image.paste((110, 20, 30), (0, 0, 1, 2))  # half of the first part
    assert thumbnail(image)[:6].tolist() == [60, 20, 30, 10, 20, 30]


def test_an_answer_or_a_place_that_prevails_is_a_note(tmp_path):
    folder = stored(tmp_path / "yes", lambda split, record: record._replace(answer="Yes"))
    found = findings(folder)["one answer prevails"]
    assert (found.example, found.broken) == ("100% are 'Yes'", False)

    def first(split, record):
        choices = (record.id, "other")
        return record._replace(prompt="<image> " + record.id, choices=choices, answer=record.id)

    found = findings(stored(tmp_path / "first", first))
    assert (
        found["the gold answer stands at one place of the choices"].example == "it is choice 1 in 100% of the records"
    )
    assert "one answer prevails" not in found


def test_the_manifests_count_of_gold_answers_that_fail_is_compared(folder):
    manifest = read_manifest(folder)
    entry = manifest.tasks["Pets-0"].model_copy(update={"gold_fails": {"official": 2}})
    text = manifest.model_copy(update={"tasks": manifest.tasks | {"Pets-0": entry}}).model_dump_json()
    (folder / MANIFEST).write_text(text)
    found = findings(folder)["other gold answers fail than the manifest says"]
    assert found.example == "none instead of {'official': 2}"


# ---------------------------------------------------------------------------------------------------------------------
# Schedules


@pytest.mark.parametrize(
    ("schedule", "name", "value", "what"),
    [
        ("dynamic", "client", 2, "arrivals at clients that there are not"),
        ("dynamic", "client", -1, "arrivals at clients that there are not"),
        ("static", "round", 10, "arrivals in rounds that there are not"),
        ("dynamic", "task", "Maps-0", "arrivals of tasks that no client has"),
        ("dynamic", "task", "Cars-0", "arrivals of another client's task"),
        ("static", "id", "Pets-0/train/000020", "arrivals of records that there are not"),
        ("static", "id", "Pets-0/test/000001", "arrivals of records that there are not"),
        ("dynamic", "position", 7, "places in a round that are not 0, 1, 2, ..."),
        ("dirichlet-across-0.5", "id", "Pets-0/train/000099", "arrivals of records that there are not"),
    ],
)
def test_a_schedule_that_does_not_fit_is_broken(folder, schedule, name, value, what):
    rewrite(folder, f"schedules/{schedule}.parquet", lambda table: column(table, name, at(0, value)))
    assert what in broken(folder)


def test_records_arrive_once_and_tasks_in_order(folder):
    def swapped(table: pa.Table) -> pa.Table:
        ids, tasks = table["id"].to_pylist(), table["task"].to_pylist()
        other = tasks.index("Pets-1")
        assert tasks[0] == "Pets-0"
        ids[0], ids[other], tasks[0], tasks[other] = ids[other], ids[0], tasks[other], tasks[0]
        return column(column(table, "id", lambda _: ids), "task", lambda _: tasks)

    rewrite(folder, "schedules/dynamic.parquet", swapped)
    assert broken(folder) == {"tasks that come back after the next one began"}
    rewrite(folder, "schedules/dynamic.parquet", lambda table: table.slice(0, len(table) - 1))
    assert "train records that never arrive" in broken(folder)


def test_a_record_that_arrives_twice_is_found(folder):
    def repeated(table: pa.Table) -> pa.Table:
        second = {name: table[name][1].as_py() for name in ("id", "task")}
        return column(column(table, "id", at(0, second["id"])), "task", at(0, second["task"]))

    rewrite(folder, "schedules/static.parquet", repeated)
    assert broken(folder) == {"records that arrive twice"}


def test_a_schedule_of_more_rows_than_records_is_not_read(folder):
    rewrite(folder, "schedules/static.parquet", lambda table: pa.concat_tables([table] * 2))
    assert broken(folder) == {"more arrivals than train records"}


# ---------------------------------------------------------------------------------------------------------------------
# Hostile files


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


# ---------------------------------------------------------------------------------------------------------------------
# The command


def test_the_command_prints_tables_and_exits_with_0_1_or_2(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    sound = CliRunner().invoke(command, [str(folder)])
    assert (sound.exit_code, "is sound." in sound.output) == (0, True)
    rewrite(folder, PETS, lambda table: column(table, "answer", at(0, "[red]Perhaps\x1b[31m")))
    wrong = CliRunner().invoke(command, [str(folder)])
    assert wrong.exit_code == 1
    assert "gold answer is none of the choices" in wrong.output
    assert "[red]Perhaps" in wrong.output
    assert "\x1b" not in wrong.output
    assert "is not sound" in wrong.output
    with pytest.raises(DrakeError):  # `drake` makes exit code 2 of it
        CliRunner().invoke(command, [str(folder / "nothing")], catch_exceptions=False)


def test_the_report_as_json_names_every_finding(folder):
    rewrite(folder, PETS, lambda table: column(table, "answer", at(0, "Perhaps")))
    done = CliRunner().invoke(command, [str(folder), "--quick", "--json"])
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (report["sound"], report["quick"], report["name"]) == (False, True, "Samples")
    (found,) = [finding for finding in report["findings"] if finding["broken"]]
    assert (found["where"], found["what"], found["count"]) == ("Pets-0", "gold answer is none of the choices", 1)
    assert report["tasks"]["Cars-0"] == {"metric": "accuracy", "train": 20, "test": 10, "majority": 0.5}


def test_progress_is_counted_in_bytes_up_to_all(folder):
    calls = []
    verify(folder, progress=lambda *call: calls.append(call))
    done, total, _ = calls[-1]
    sizes = {name: entry.bytes for name, entry in read_manifest(folder).files.items()}
    assert total == sum(sizes.values()) + sum(size for name, size in sizes.items() if name.startswith("data/"))
    assert done == pytest.approx(total)
    assert [call[0] for call in calls] == sorted(call[0] for call in calls)
