"""A user's own data from a TOML file: the example of the documentation, every file format, and what is refused."""

import csv
import io
import json
import os
import re
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from drake.cli.main import drake as cli
from drake.data.benchmark import load
from drake.data.building import build
from drake.data.sources import open_source
from drake.data.sources.folder import FolderSource
from drake.errors import DrakeError

PAGE = (Path(__file__).parents[2] / "docs/add-a-dataset.md").read_text(encoding="utf-8")
PROMPT = "{images}Which?\\nChoice list:[{choices}]. Your answer is:"


def png(red: int, green: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (red, green, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def toml(folder: Path, text: str, head: str = 'name = "Signs"\nlicence = "cc0-1.0"\n') -> Path:
    (folder / "drake.toml").write_text(head + text, encoding="utf-8")
    return folder


def task(**keys: str) -> str:
    """A table [tasks.Signs-0] of a task with two choices; values are TOML."""
    given = {"prompt": f'"{PROMPT}"', "choices": '["cat", "dog"]', "answer": '"label"', "images": '"photo"'} | keys
    return "[tasks.Signs-0]\n" + "\n".join(f"{key} = {value}" for key, value in given.items() if value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three train and two test records as JSON Lines, each with its own picture."""
    (tmp_path / "photos").mkdir()
    for number in range(5):
        (tmp_path / f"photos/{number}.png").write_bytes(png(number))
    rows = [{"photo": f"photos/{number}.png", "label": ("cat", "dog")[number % 2]} for number in range(5)]
    for split, part in (("train", rows[:3]), ("test", rows[3:])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return tmp_path


def write_rows(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def records(folder: Path, split: str = "train"):
    return list(FolderSource(str(folder)).records("Signs-0", split))


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
    toml(folder, task(train='"train.jsonl"', test='"test.jsonl"', category='"Animals"'))
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
    toml(folder, task(train=f'"more.{ending}"', test='"test.jsonl"', prompt='"{images}{n}, {choices}"'))
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
    toml(folder, task(dataset='"local"', train='"train"', test='"train"', images="", prompt='"{word} {choices}"'))
    for word in ("first", "second"):
        write_rows(folder, "local/train.jsonl", [{"word": word, "label": "cat"}])
        os.utime(folder / "local/train.jsonl", (1, 1))
        assert records(folder)[0].prompt == f"{word} cat, dog"


CARDS = {
    "another folder": ('configs: [{config_name: default, data_files: "../secret/*.jsonl"}]', "outside of the folder"),
    "an absolute path": ("configs: [{config_name: d, data_files: {train: [/etc/passwd]}}]", "outside of the folder"),
    "a page": ("data_files: https://example.org/train.jsonl", "outside of the folder"),
    "a repository": ("configs: [{config_name: d, data_files: 'hf://datasets/a/b/x.jsonl'}]", "outside of the folder"),
    "an archive of elsewhere": ("configs: [{config_name: d, data_files: 'zip::/tmp/x.zip'}]", "outside of the folder"),
    "a folder above": ("configs: [{config_name: d, data_dir: ..}]", "outside of the folder"),
    "a home folder": ("data_dir: ~/.ssh", "outside of the folder"),
    "parts that repeat": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "nests or repeats parts of its YAML"),
    "brackets": ("a: " + "[" * 1000, "nests or repeats|cannot be read"),
    "no YAML": ("a: [}", "begins with YAML that cannot be read"),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_that_names_files_elsewhere_opens_none(folder, monkeypatch, name):
    head, message = CARDS[name]
    (folder / "local").mkdir()
    write_rows(folder, "local/train.jsonl", [{"word": "a", "label": "cat"}])
    toml(folder, task(dataset='"local"', train='"train"', test='"train"', images="", prompt='"{word} {choices}"'))
    card = folder / "local/README.md"
    card.write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: train.jsonl\n---\n# Text with ../ and https://\n"
    )
    assert len(records(folder)) == 1
    alone = folder / "local/.huggingface.yaml"
    (alone if name == "a page" else card).write_text(head if name == "a page" else f"---\n{head}\n---\n")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(DrakeError, match=message) as caught:
        records(folder)
    assert "\n" not in str(caught.value)


def test_links_and_pipes_of_a_local_dataset_are_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "train.jsonl"
    outside.write_text('{"word": "secret", "label": "cat"}\n')
    (folder / "local").mkdir()
    toml(folder, task(dataset='"local"', train='"train"', test='"train"', images="", prompt='"{word} {choices}"'))
    (folder / "local/train.jsonl").symlink_to(outside)
    with pytest.raises(DrakeError, match="leads out of the folder"):
        records(folder)
    (folder / "local/train.jsonl").unlink()
    os.mkfifo(folder / "local/train.jsonl")
    with pytest.raises(DrakeError, match="no regular file"):
        records(folder)


def test_a_parquet_file_that_would_fill_the_memory_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("drake.data.sources.tables.LEAST_LIMIT", 1_000_000)
    monkeypatch.setattr("drake.data.sources.tables.MOST_TIMES", 1)
    toml(folder, task(train='"bomb.parquet"', test='"test.jsonl"', images="", prompt='"{label} {choices}"'))
    table = pa.table({"label": ["cat" * 100_000] * 100})
    for options in ({"use_dictionary": True}, {"use_dictionary": False, "compression": "zstd"}):
        pq.write_table(table, folder / "bomb.parquet", **options)
        with pytest.raises(DrakeError, match=r"bomb\.parquet has more than 1,000,000 bytes"):
            records(folder)
    delta = {"use_dictionary": False, "column_encoding": {"label": "DELTA_BYTE_ARRAY"}}
    pq.write_table(pa.table({"label": ["cat", "dog"]}), folder / "bomb.parquet", **delta)
    assert [record.answer for record in records(folder)] == ["cat", "dog"]  # as other programs write


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
    toml(folder, "\n".join([unseen, task(train='"train.jsonl"', test='"test.jsonl"'), public]))
    benchmark = load(build(folder, out=tmp_path / "built"))
    assert (benchmark.clients, benchmark.unseen) == ((("Signs-0",),), ("Signs-1",))
    assert benchmark.public["id"][:] == [f"public/public/{number:06d}" for number in range(3)]
    assert benchmark.manifest.public == 3


def test_the_name_of_the_data_names_the_folder_and_its_files_the_revision(folder):
    toml(folder, task(train='"train.jsonl"', test='"test.jsonl"'), 'name = "Street signs!"\nlicence = "mit"\n')
    source = open_source(folder)
    assert (source.default_name, source.licence) == ("street-signs", "mit")
    before = source.revision
    write_rows(folder, "test.jsonl", [{"photo": "photos/3.png", "label": "cat"}])
    assert open_source(folder / "drake.toml").revision != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (task(train='"train.jsonl"', test='"test.jsonl"', choises='["a"]'), "unknown key.*choises.*'choices'"),
        (task(train='"train.jsonl"'), "no test records"),
        (task(files='"train.jsonl"'), "split_column.*test_fraction"),
        (task(files='"train.jsonl"', test_fraction="1.5"), "test_fraction.*less than 1"),
        (task(train='"train.jsonl"', test='"nowhere.jsonl"'), "no file 'nowhere.jsonl'"),
        (task(train='"train.jsonl"', test='"test.jsonl"', choices=""), "has {choices}"),
        (task(train='"train.jsonl"', test='"test.jsonl"', prompt='"{a"'), "single '{'"),
        (task(train='"train.jsonl"', test='"test.jsonl"', metric='"bleu"'), "metric"),
        (task(train='"../train.jsonl"', test='"test.jsonl"'), "leaves the folder"),
        (task(train='"/etc/passwd"', test='"test.jsonl"'), "leaves the folder"),
        (task(train='"link.jsonl"', test='"test.jsonl"'), "link that leads out"),
        ("clients = 3\n", "tasks|clients"),
        ("[tasks]\n", "tasks"),
        ("tasks = [", "not valid TOML"),
        (task(train='"train.jsonl"', test='"test.jsonl"').replace("Signs-0", '"a/b"'), "cannot name a task"),
    ],
)
def test_a_wrong_toml_file_is_one_sentence_that_names_it(folder, tmp_path_factory, text, message):
    outside = tmp_path_factory.mktemp("outside") / "secret.jsonl"
    outside.write_text("{}")
    (folder / "link.jsonl").symlink_to(outside)
    toml(folder, text)
    with pytest.raises(DrakeError, match=message) as caught:
        open_source(folder)
    assert "drake.toml" in str(caught.value) or "cannot name" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        ('[["Signs-0"], ["Signs-0"]]', "client 0 and to client 1"),
        ('[["Signs-0"], []]', "client 1 has no task"),
        ('[["Signs-7"]]', "'Signs-7' of client 0 does not exist"),
        ("[]", "no client"),
    ],
)
def test_clients_that_do_not_fit_the_tasks_are_refused(folder, clients, message):
    head = f'name = "Signs"\nlicence = "mit"\nclients = {clients}\n'
    toml(folder, task(train='"train.jsonl"', test='"test.jsonl"'), head)
    with pytest.raises(DrakeError, match=message):
        open_source(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": "cat"}, "no column 'photo'; it has label"),
        ({"photo": "photos/0.png", "labl": "cat"}, "no column 'label'; did you mean 'labl'"),
        ({"photo": "photos/0.png", "label": None}, "'label' holds nothing"),
        ({"photo": "photos/0.png", "label": ["cat"]}, "'label' holds list"),
        ({"photo": "photos/0.png", "label": " "}, "empty answer"),
        ({"photo": "photos/0.png", "label": "a <image>"}, "<image> in its answer"),
        ({"photo": "photos/9.png", "label": "cat"}, "photos/9.png is missing"),
        ({"photo": "../x.png", "label": "cat"}, "leaves the folder"),
        ({"photo": "/etc/passwd", "label": "cat"}, "leaves the folder"),
        ({"photo": "pipe.png", "label": "cat"}, "no regular file"),
        ({"photo": "text.png", "label": "cat"}, "text.png cannot be decoded"),
        ({"photo": ["photos/0.png"] * 100_000, "label": "cat"}, "100,000 pictures"),
        ({"photo": 7, "label": "cat"}, "image is int"),
        ([], "JSON list where an object"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(folder, row, message):
    os.mkfifo(folder / "pipe.png")
    (folder / "text.png").write_text("no picture")
    write_rows(folder, "train.jsonl", [{"photo": "photos/0.png", "label": "cat"}, row])
    toml(folder, task(train='"train.jsonl"', test='"test.jsonl"'))
    with pytest.raises(DrakeError, match=message) as caught:
        records(folder)
    assert f"{folder}/train.jsonl, line 2" in str(caught.value)


def test_half_a_character_names_file_and_line(folder):
    (folder / "train.jsonl").write_text('{"photo": "photos/0.png", "label": "\\ud83d?"}\n')
    toml(folder, task(train='"train.jsonl"', test='"test.jsonl"'))
    with pytest.raises(DrakeError, match=r"train\.jsonl, line 1: its answer holds half a character \(\\ud83d at 0\)"):
        records(folder)


def test_a_record_file_that_is_a_pipe_or_ragged_is_refused(folder):
    os.mkfifo(folder / "pipe.jsonl")
    toml(folder, task(train='"pipe.jsonl"', test='"test.jsonl"'))
    with pytest.raises(DrakeError, match=r"pipe\.jsonl is no regular file"):
        records(folder)
    (folder / "ragged.csv").write_text("photo,label\nphotos/0.png,cat,3\n")
    toml(folder, task(train='"ragged.csv"', test='"test.jsonl"'))
    with pytest.raises(DrakeError, match=r"ragged\.csv, line 2 has not as many values"):
        records(folder)
    (folder / "notes.txt").write_text("cat")
    toml(folder, task(train='"notes.txt"', test='"test.jsonl"'))
    with pytest.raises(DrakeError, match=r"notes\.txt.*must end in \.jsonl"):
        records(folder)


def test_a_name_with_accents_is_found_however_they_are_composed(folder):
    (folder / "photos/cafe\u0301.png").write_bytes(png(77))
    write_rows(folder, "train.jsonl", [{"photo": "photos/caf\u00e9.png", "label": "cat"}])
    toml(folder, task(train='"train.jsonl"', test='"test.jsonl"'))
    assert records(folder)[0].images == (png(77),)


def test_pictures_behind_links_to_a_named_folder_are_read(folder, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    (disk / "a.png").write_bytes(png(77))
    (folder / "photos/far.png").symlink_to(disk / "a.png")
    write_rows(folder, "train.jsonl", [{"photo": "photos/far.png", "label": "cat"}])
    toml(folder, task(train='"train.jsonl"', test='"test.jsonl"'))
    with pytest.raises(DrakeError, match=r"line 1: .*far\.png.* a link that leads out of .*--links-to"):
        records(folder)
    source = FolderSource(str(folder), links_to=str(disk))
    assert next(iter(source.records("Signs-0", "train"))).images == (png(77),)
    assert source.parameters == {}
