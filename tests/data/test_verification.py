"""What `drake verify` finds in the records, pictures and schedules of a built dataset, and what it calls broken."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from build_samples import png
from click.testing import CliRunner
from PIL import Image
from stored_samples import PETS, at, broken, column, findings, rewrite, sample, stored

from drake.cli.dataset import verify as command
from drake.data.manifest import MANIFEST, read_manifest
from drake.data.verification import verify
from drake.data.verification.lookalikes import thumbnail
from drake.errors import DrakeError


@pytest.fixture
def folder(tmp_path) -> Path:
    return stored(tmp_path / "d")


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
