"""A user's own data from a TOML file: the example of the documentation and every file format."""

import csv
import json
import os
import re
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from folder_samples import of_local_dataset, of_two_files, png, records, signs_folder, task, toml, write_rows

from drake.cli.main import drake as cli
from drake.data.benchmark import load
from drake.data.building import build
from drake.data.sources import open_source
from drake.data.sources.folder import FolderSource

PAGE = (Path(__file__).parents[2] / "docs/add-a-dataset.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return signs_folder(tmp_path)


class TestTheExampleOfTheDocumentation:
    @pytest.fixture
    def signs(self, tmp_path: Path) -> Path:
        folder = tmp_path / "signs"
        (folder / "photos").mkdir(parents=True)
        (folder / "drake.toml").write_text(blocks("toml")[0])
        for number in range(40):
            (folder / f"photos/{number}.png").write_bytes(png(number))
        shape, columns = json.loads(blocks("json")[0]), blocks("csv")[0].splitlines()[0].split(",")
        rows = [
            {
                **shape,
                "photo": f"photos/{number}.png",
                "shape": shape["options"][number % 2],
                "place": f"place {number}",
            }
            for number in range(20)
        ]
        write_rows(folder, "shape.jsonl", rows)
        with (folder / "colour.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for number in range(20, 40):
                values = {"photo": f"photos/{number}.png", "colour": ("red", "blue")[number % 2]}
                writer.writerow([(values | {"split": "test" if number >= 34 else "train"})[name] for name in columns])
        return folder

    def test_it_is_sound_and_is_built_loaded_trained_and_scored(self, signs, tmp_path, micro_backbones):
        checked = CliRunner().invoke(cli, ["check-source", str(signs)], catch_exceptions=False)
        assert checked.exit_code == 0, checked.output
        out = build(str(signs), out=tmp_path / "built")
        benchmark = load(out)
        assert (benchmark.name, benchmark.source) == ("Street signs", "folder")
        assert benchmark.clients == (("Shape-0",), ("Colour-0",))
        sizes = {name: (entry.source, entry.train, entry.test) for name, entry in benchmark.tasks.items()}
        assert sizes == {"Colour-0": ("Colour", 14, 6), "Shape-0": ("Shape", 15, 5)}
        row = benchmark.records("Shape-0", "train")[0]
        (place,) = [number for number in range(20) if row["images"][0]["bytes"] == png(number)]
        assert row["prompt"] == (
            f"<image>\nWhich shape is the sign of place {place}?\nChoice list:[circle, square]. Your answer is:"
        )
        assert row["choices"] == ["circle", "square"]
        command = ["eval", "--method", "fedit", "--preset", "quick", "--data", str(out), "--out", str(tmp_path / "run")]
        small = ["--models", micro_backbones["llama-4"], "--rounds", "2", "--steps", "1", "--eval-records", "2"]
        run = CliRunner().invoke(cli, [*command, *small, "--engine", "serial"], catch_exceptions=False)
        assert run.exit_code == 0, run.output
        results = json.loads((tmp_path / "run/results.json").read_text())
        assert results["data"]["fingerprint"] == benchmark.fingerprint
        assert results["status"] == "complete"

    def test_a_class_in_a_module_of_ones_own_is_a_source(self, tmp_path, monkeypatch):
        (tmp_path / "my_module.py").write_text(blocks("python")[0])
        monkeypatch.syspath_prepend(tmp_path)
        benchmark = load(build("my_module:Sums", out=tmp_path / "built"))
        assert (benchmark.name, benchmark.source) == ("Sums", "sums")
        assert [len(benchmark.records("Sums-0", split)) for split in ("train", "test")] == [40, 10]


def test_a_row_becomes_a_record_with_the_bytes_of_its_picture(folder):
    toml(folder, of_two_files(category='"Animals"'))
    second = records(folder)[1]
    assert second.id == "Signs-0/train/000001"
    assert (second.source, second.category, second.metric) == ("Signs", "Animals", "accuracy")
    assert second.images == (png(1),)
    assert second.prompt == "<image>Which?\nChoice list:[cat, dog]. Your answer is:"
    assert (second.choices, second.answer) == (("cat", "dog"), "dog")
    assert [record.answer for record in records(folder, "test")] == ["dog", "cat"]


@pytest.mark.parametrize("ending", ["json", "csv", "parquet", "jsonl"])
def test_every_format_gives_the_same_records(folder, ending):
    rows = [{"photo": "photos/3.png", "label": "cat", "n": "007"}, {"photo": "photos/4.png", "label": "dog", "n": "1"}]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "more.parquet")
    elif ending == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        (folder / "more.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    else:
        (folder / f"more.{ending}").write_text(
            json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows)), encoding="utf-8"
        )
    toml(folder, of_two_files(train=f'"more.{ending}"', prompt='"{images}{n}, {choices}"'))
    found = records(folder)
    assert [record.prompt for record in found] == ["<image>007, cat, dog", "<image>1, cat, dog"]
    assert [record.images for record in found] == [(png(3),), (png(4),)]


def test_a_hugging_face_dataset_is_read_with_its_labels_and_pictures(folder):
    features = datasets.Features(
        {"photo": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), "when": datasets.Value("int32")}
    )
    rows = {
        "photo": [{"bytes": png(number), "path": None} for number in range(8)],
        "label": [number % 2 for number in range(8)],
        "when": list(range(8)),
    }
    stored = datasets.Dataset.from_dict(rows, features=features)
    (folder / "local").mkdir()
    stored.to_parquet(folder / "local/train-00000.parquet")
    toml(folder, task(dataset='"local"', test_fraction="0.25", prompt='"{images}{when}{choices}"'))
    train, test = records(folder), records(folder, "test")
    assert (len(train), len(test)) == (6, 2)
    numbers = {int(record.prompt.removeprefix("<image>").removesuffix("cat, dog")): record for record in train + test}
    assert sorted(numbers) == list(range(8))
    assert all(record.images == (png(number),) for number, record in numbers.items())
    assert all(record.answer == ("cat", "dog")[number % 2] for number, record in numbers.items())


def test_a_local_dataset_that_was_replaced_is_not_read_from_a_cache(folder):
    (folder / "local").mkdir()
    toml(folder, of_local_dataset())
    for word in ("first", "second"):
        write_rows(folder, "local/train.jsonl", [{"word": word, "label": "cat"}])
        os.utime(folder / "local/train.jsonl", (1, 1))
        assert records(folder)[0].prompt == f"{word} cat, dog"


def test_the_seed_draws_the_test_records_and_keeps_every_row(folder):
    write_rows(folder, "all.jsonl", [{"label": "cat", "n": number} for number in range(20)])
    toml(folder, task(files='"all.jsonl"', test_fraction="0.3", images="", prompt='"{n} {choices}"'))

    def split(seed: int) -> tuple[list[int], list[int]]:
        source = FolderSource(str(folder), seed=seed)
        train, test = (
            [int(record.prompt.split()[0]) for record in source.records("Signs-0", part)] for part in ("train", "test")
        )
        return train, test

    train, test = split(0)
    assert (len(train), len(test)) == (14, 6)
    assert sorted(train + test) == list(range(20))
    assert split(0) == (train, test)
    assert split(1) != (train, test)


def test_lists_separators_templates_and_bytes_in_columns(folder):
    row = {"photos": ["photos/1.png", "photos/2.png"], "options": "a; b ;c", "kind": "b", "x": 3, "f": 1.5}
    write_rows(folder, "train.jsonl", [row])
    keys = {"images": '["photos"]', "choices": '"options"', "separator": '";"', "answer": '"{kind}"'}
    toml(folder, task(train='"train.jsonl"', test='"train.jsonl"', prompt='"{images}{{x}} = {x}, {f}"', **keys))
    (found,) = records(folder)
    assert found.images == (png(1), png(2))
    assert found.prompt == "<image><image>{x} = 3, 1.5"
    assert (found.choices, found.answer) == (("a", "b", "c"), "b")


def test_public_records_and_unseen_tasks_belong_to_no_client(folder, tmp_path):
    unseen = task(test='"test.jsonl"').replace("Signs-0", "Signs-1")
    public = task(files='"train.jsonl"').replace("tasks.Signs-0", "public")
    toml(folder, "\n".join([unseen, of_two_files(), public]))
    benchmark = load(build(folder, out=tmp_path / "built"))
    assert (benchmark.clients, benchmark.unseen) == ((("Signs-0",),), ("Signs-1",))
    assert benchmark.public["id"][:] == [f"public/public/{number:06d}" for number in range(3)]
    assert benchmark.manifest.public == 3


def test_the_name_of_the_data_names_the_folder_and_its_files_the_revision(folder):
    toml(folder, of_two_files(), 'name = "Street signs!"\nlicence = "mit"\n')
    source = open_source(folder)
    assert (source.default_name, source.licence) == ("street-signs", "mit")
    before = source.revision
    write_rows(folder, "test.jsonl", [{"photo": "photos/3.png", "label": "cat"}])
    assert open_source(folder / "drake.toml").revision != before
