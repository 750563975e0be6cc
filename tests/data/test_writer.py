"""What the writer puts on disk: the same bytes each time, whole or not at all, and never over something else."""

import hashlib
import json
import subprocess
import sys

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from build_samples import record

from drake.data import parquet_files, writer
from drake.data.columns import RECORD_COLUMNS, SCHEDULE_COLUMNS, UNDECODED_COLUMNS, Scratch, records_table
from drake.data.manifest import read_manifest
from drake.data.writer import Provenance, Schedules, write_dataset
from drake.errors import DrakeError

TASKS = ("Pets-0", "Pets-1")
PROVENANCE = Provenance("Pets", "mini", "r1", 5, {"train": 12}, "apache-2.0")
SCHEDULES = Schedules([("Pets-0",), ("Pets-1",)], [("dynamic", None), ("dirichlet", 0.5)], 3)


def records(train=12, test=4, public=3):
    sizes = {"train": train, "test": test}
    for task in TASKS:
        for split, size in sizes.items():
            yield from ((split, record(task, split, number)) for number in range(size))
    for number in range(public):
        yield (
            "public",
            record("public", "public", number, images=1)._replace(id=f"public/Pets/{number:06d}", source="Pets"),
        )


def write(folder, pairs=None, **options):
    options = {"schedules": SCHEDULES, "provenance": PROVENANCE} | options
    return write_dataset(folder, records() if pairs is None else pairs, **options)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_what_the_manifest_says(tmp_path):
    manifest = write(tmp_path / "d")
    assert manifest == read_manifest(tmp_path / "d")
    files = contents(tmp_path / "d")
    assert set(files) == {*manifest.files, "README.md", "croissant.json", "manifest.json"}
    assert set(manifest.files) == {
        *(f"data/{task}/{split}-00000.parquet" for task in TASKS for split in ("train", "test")),
        "data/public/public-00000.parquet",
        "schedules/dynamic.parquet",
        "schedules/dirichlet-0.5.parquet",
    }
    for name, entry in manifest.files.items():
        assert entry.sha256 == hashlib.sha256(files[name]).hexdigest()
        assert entry.bytes == len(files[name])
        assert entry.rows == pq.read_metadata(tmp_path / "d" / name).num_rows
    hashes = sorted(e.sha256 for name, e in manifest.files.items() if name.startswith("data/"))
    assert manifest.legacy_fingerprint == hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    assert manifest.tasks["Pets-1"].model_dump() == {
        "source": "Pets",
        "category": "Visual Relation",
        "metric": "accuracy",
        "train": 12,
        "test": 4,
        "gold_fails": {},
    }
    assert (manifest.public, manifest.clients, manifest.unseen) == (3, (("Pets-0",), ("Pets-1",)), ())
    assert manifest.schedules["dirichlet-0.5"].model_dump() == {
        "split": "dirichlet",
        "alpha": 0.5,
        "rounds_per_task": 3.0,
        "rounds": 3,
    }


def test_the_same_records_give_the_same_bytes(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    write(tmp_path / "other", provenance=PROVENANCE._replace(seed=6))
    assert (
        contents(tmp_path / "other")["schedules/dynamic.parquet"]
        != (contents(tmp_path / "one")["schedules/dynamic.parquet"])
    )


def test_interleaved_tasks_are_sorted_out(tmp_path):
    mixed = sorted(records(), key=lambda pair: pair[1].id[-6:])  # each task keeps its own order
    assert write(tmp_path / "mixed", mixed) == write(tmp_path / "sorted")


def test_load_dataset_opens_every_config_with_typed_pictures(tmp_path):
    write(tmp_path / "d")
    configs = datasets.get_dataset_config_names(str(tmp_path / "d"))
    assert configs == ["default", "public", *TASKS, "dynamic", "dirichlet-0.5"]

    def load(config):
        return datasets.load_dataset(str(tmp_path / "d"), config, cache_dir=str(tmp_path / "cache"))

    one = load("Pets-1")
    assert {split: len(rows) for split, rows in one.items()} == {"train": 12, "test": 4}
    assert one["train"].features["images"] == datasets.List(datasets.Image())
    row, expected = one["train"][3], record("Pets-1", "train", 3)
    assert {name: row[name] for name in ("id", "task", "prompt", "answer", "metric")} == {
        name: getattr(expected, name) for name in ("id", "task", "prompt", "answer", "metric")
    }
    assert row["choices"] == list(expected.choices)
    assert [image.getpixel((0, 0)) for image in row["images"]] == [(21, 0, 77), (22, 0, 77)]
    assert {split: len(rows) for split, rows in load("default").items()} == {"train": 24, "test": 8, "public": 3}
    rows = load("dynamic")["train"].to_list()
    assert len({row["id"] for row in rows}) == len(rows) == 24
    assert rows[:4] == [
        {"client": 0, "round": 0, "position": place, "task": "Pets-0", "id": rows[place]["id"]} for place in range(4)
    ]


def test_pictures_are_stored_byte_for_byte(tmp_path):
    write(tmp_path / "d")
    stored = pq.read_table(tmp_path / "d" / "data/Pets-0/train-00000.parquet")["images"].to_pylist()
    assert [tuple(image["bytes"] for image in images) for images in stored] == [
        record("Pets-0", "train", number).images for number in range(12)
    ]


def test_a_full_buffer_and_a_full_shard_change_files_but_not_rows(tmp_path, monkeypatch):
    write(tmp_path / "whole")
    monkeypatch.setattr(writer, "MOST_BUFFERED", 3000)
    monkeypatch.setattr(parquet_files, "SHARD", 7000)
    manifest = write(tmp_path / "parts")
    shards = [name for name in manifest.files if name.startswith("data/Pets-0/train-")]
    assert len(shards) > 1

    def rows(folder):
        loaded = datasets.load_dataset(str(folder), "Pets-0", cache_dir=str(tmp_path / "cache"))
        return loaded["train"].cast_column("images", datasets.List(datasets.Image(decode=False))).to_list()

    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_the_card_and_the_metadata_name_every_file(tmp_path):
    manifest = write(tmp_path / "d")
    header = yaml.safe_load((tmp_path / "d" / "README.md").read_text().split("---\n")[1])
    assert header["license"] == "apache-2.0"
    patterns = [data["path"] for config in header["configs"] for data in config["data_files"]]
    matched = {
        path.relative_to(tmp_path / "d").as_posix() for pattern in patterns for path in (tmp_path / "d").glob(pattern)
    }
    assert matched == set(manifest.files)
    croissant = json.loads((tmp_path / "d" / "croissant.json").read_text())
    assert croissant["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    objects = {part["@id"]: part for part in croissant["distribution"] if part["@type"] == "cr:FileObject"}
    assert {name: part["sha256"] for name, part in objects.items()} == {
        name: entry.sha256 for name, entry in manifest.files.items()
    }
    distributed = {part["@id"] for part in croissant["distribution"]}
    for record_set in croissant["recordSet"]:
        for field in record_set["field"]:
            source = field["source"]
            assert (source.get("fileSet") or source["fileObject"])["@id"] in distributed
    columns = [field["source"]["extract"]["column"] for field in croissant["recordSet"][0]["field"]]
    assert columns == RECORD_COLUMNS.names


def test_a_target_in_use_is_not_touched(tmp_path):
    write(tmp_path / "d")
    before = contents(tmp_path / "d")
    with pytest.raises(DrakeError, match=r"not empty.*--overwrite"):
        write(tmp_path / "d", records(train=5))
    assert contents(tmp_path / "d") == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("all I have")
    with pytest.raises(DrakeError, match="no built dataset"):
        write(tmp_path / "thesis", overwrite=True)
    assert contents(tmp_path / "thesis") == {"chapter.tex": b"all I have"}
    with pytest.raises(DrakeError, match="is a file"):
        write(tmp_path / "thesis" / "chapter.tex", overwrite=True)


def test_overwrite_replaces_a_dataset_and_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "d").mkdir()
    write(tmp_path / "d", records(train=5))
    manifest = write(tmp_path / "d", overwrite=True)
    assert manifest.tasks["Pets-0"].train == 12
    assert read_manifest(tmp_path / "d") == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_failure_leaves_nothing_and_keeps_what_was_there(tmp_path):
    def broken():
        yield from records()
        raise OSError("the disk is gone")

    with pytest.raises(DrakeError, match=r"d cannot be written \(the disk is gone\)"):
        write(tmp_path / "d", broken())
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "d")
    before = contents(tmp_path / "d")
    with pytest.raises(DrakeError, match="the disk is gone"):
        write(tmp_path / "d", broken(), overwrite=True)
    assert contents(tmp_path / "d") == before
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_dataset_that_appears_meanwhile_stays(tmp_path):
    def slow():
        yield from records()
        write(tmp_path / "d", records(train=5))

    with pytest.raises(DrakeError, match="appeared while it was being built; choose another --out"):
        write(tmp_path / "d", slow())
    assert read_manifest(tmp_path / "d").tasks["Pets-0"].train == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "Pets-0/train/000000"}, "called 'Pets-0/train/000000'"),
        ({"prompt": "<image> and no more"}, "2 images and 1 <image>"),
        ({"task": "../Pets"}, "cannot name a task"),
        ({"task": "public"}, "split called 'train'"),
    ],
)
def test_inconsistent_records_are_refused(tmp_path, change, message):
    pairs = [("train", record("Pets-0", "train", 0)), ("train", record("Pets-0", "train", 1)._replace(**change))]
    with pytest.raises(DrakeError, match=message):
        write(tmp_path / "d", pairs)
    assert list(tmp_path.iterdir()) == []


def test_clients_need_train_and_test_records(tmp_path):
    with pytest.raises(DrakeError, match="'Pets-0' of a client needs"):
        write(tmp_path / "d", records(test=0))
    with pytest.raises(DrakeError, match="'Pets-9' of a client needs"):
        write(tmp_path / "d", schedules=SCHEDULES._replace(clients=[("Pets-9",)]))
    with pytest.raises(DrakeError, match="nothing to write"):
        write(tmp_path / "d", [])


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        ([("Pets-0",), ("Pets-0",)], "'Pets-0' belongs to client 0 and to client 1"),
        ([("Pets-0",), ()], "client 1 has no task"),
        ([], "there is no client"),
    ],
)
def test_clients_have_tasks_of_their_own(tmp_path, clients, message):
    with pytest.raises(DrakeError, match=message):
        write(tmp_path / "d", schedules=SCHEDULES._replace(clients=clients))
    assert list(tmp_path.iterdir()) == []


def test_a_task_has_one_metric(tmp_path):
    pairs = list(records())
    pairs[3] = ("train", pairs[3][1]._replace(metric="token-F1"))
    with pytest.raises(DrakeError, match="'Pets-0/train/000003' has the metric 'token-F1', others of its task"):
        write(tmp_path / "d", pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": ""}, "has an empty answer"),
        ({"answer": "here: <image>"}, "<image> in its answer"),
        ({"choices": ("Yes", "<image>")}, "<image> in a choice"),
        ({"answer": "\ud83d?"}, r"its answer holds half a character \(.ud83d at 0\)"),
        ({"prompt": "<image>" * 300, "images": (b"",) * 300}, "has 300 pictures; a record may have 256"),
        ({"prompt": "a" * 1_000_001, "images": ()}, "its prompt has 1,000,001 characters"),
        ({"metric": "bleu"}, "has the metric 'bleu'"),
        ({"answer": None}, "its answer is NoneType, not a text"),
    ],
)
def test_records_that_would_break_a_run_are_refused(tmp_path, change, message):
    pairs = [("train", record("Pets-0", "train", 1)._replace(**change))]
    with pytest.raises(DrakeError, match=message) as caught:
        write(tmp_path / "d", pairs)
    assert "record 'Pets-0/train/000001' of task 'Pets-0'" in str(caught.value)


def test_the_columns_are_those_that_datasets_makes_of_their_features():
    texts = {
        name: datasets.Value("string") for name in ("id", "task", "source", "category", "prompt", "answer", "metric")
    }
    order = ("id", "task", "source", "category", "images", "prompt", "choices", "answer", "metric")
    for columns, decode in ((RECORD_COLUMNS, True), (UNDECODED_COLUMNS, False)):
        lists = {
            "images": datasets.List(datasets.Image(decode=decode)),
            "choices": datasets.List(datasets.Value("string")),
        }
        features = datasets.Features({name: (texts | lists)[name] for name in order})
        assert columns.equals(features.arrow_schema, check_metadata=True)
        assert datasets.Features.from_arrow_schema(columns) == features
    rows = {name: datasets.Value("int32") for name in ("client", "round", "position")}
    rows |= {name: datasets.Value("string") for name in ("task", "id")}
    assert SCHEDULE_COLUMNS.equals(datasets.Features(rows).arrow_schema, check_metadata=True)


def test_records_become_a_table_and_memory_is_used_again():
    rows = [
        record("Pets-0", "train", 0)._replace(
            images=(b"one", b""), choices=("ja", "nein, é"), prompt="<image><image>ü"
        ),
        record("Pets-0", "train", 1)._replace(images=(), choices=()),
        record("Pets-0", "train", 2)._replace(images=(b"x" * 100_000,)),
    ]
    scratch = Scratch()
    for some in (rows, rows[:2], [*rows, *rows]):
        found = records_table(some, scratch).to_pylist()
        assert [tuple(picture["bytes"] for picture in row["images"]) for row in found] == [row.images for row in some]
        assert [(row["prompt"], tuple(row["choices"]), row["id"]) for row in found] == [
            (row.prompt, row.choices, row.id) for row in some
        ]


def test_building_a_release_imports_neither_datasets_nor_pandas(tmp_path, release):
    code = (
        "import sys; from drake.data.building import build; build(sys.argv[1], out=sys.argv[2]); "
        "print([name for name in ('datasets', 'pandas', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(release.folder), str(tmp_path / "d")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=120).stdout == "[]\n"
