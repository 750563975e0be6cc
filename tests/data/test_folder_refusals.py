"""A user's own data from a TOML file: what is wrong, or leads elsewhere, is one sentence that names it."""

import os
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folder_samples import of_local_dataset, of_two_files, png, records, signs_folder, task, toml, write_rows

from drake.data.sources import open_source
from drake.data.sources.folder import FolderSource
from drake.errors import DrakeError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return signs_folder(tmp_path)


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
    toml(folder, of_local_dataset())
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
    toml(folder, of_local_dataset())
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
    toml(folder, of_two_files(train='"bomb.parquet"', images="", prompt='"{label} {choices}"'))
    table = pa.table({"label": ["cat" * 100_000] * 100})
    for options in ({"use_dictionary": True}, {"use_dictionary": False, "compression": "zstd"}):
        pq.write_table(table, folder / "bomb.parquet", **options)
        with pytest.raises(DrakeError, match=r"bomb\.parquet has more than 1,000,000 bytes"):
            records(folder)
    delta = {"use_dictionary": False, "column_encoding": {"label": "DELTA_BYTE_ARRAY"}}
    pq.write_table(pa.table({"label": ["cat", "dog"]}), folder / "bomb.parquet", **delta)
    assert [record.answer for record in records(folder)] == ["cat", "dog"]  # as other programs write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (of_two_files(choises='["a"]'), "unknown key.*choises.*'choices'"),
        (task(train='"train.jsonl"'), "no test records"),
        (task(files='"train.jsonl"'), "split_column.*test_fraction"),
        (task(files='"train.jsonl"', test_fraction="1.5"), "test_fraction.*less than 1"),
        (task(train='"train.jsonl"', test='"nowhere.jsonl"'), "no file 'nowhere.jsonl'"),
        (of_two_files(choices=""), "has {choices}"),
        (of_two_files(prompt='"{a"'), "single '{'"),
        (of_two_files(metric='"bleu"'), "metric"),
        (of_two_files(train='"../train.jsonl"'), "leaves the folder"),
        (of_two_files(train='"/etc/passwd"'), "leaves the folder"),
        (of_two_files(train='"link.jsonl"'), "link that leads out"),
        ("clients = 3\n", "tasks|clients"),
        ("[tasks]\n", "tasks"),
        ("tasks = [", "not valid TOML"),
        (of_two_files().replace("Signs-0", '"a/b"'), "cannot name a task"),
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
    toml(folder, of_two_files(), head)
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
    toml(folder, of_two_files())
    with pytest.raises(DrakeError, match=message) as caught:
        records(folder)
    assert f"{folder}/train.jsonl, line 2" in str(caught.value)


def test_half_a_character_names_file_and_line(folder):
    (folder / "train.jsonl").write_text('{"photo": "photos/0.png", "label": "\\ud83d?"}\n')
    toml(folder, of_two_files())
    with pytest.raises(DrakeError, match=r"train\.jsonl, line 1: its answer holds half a character \(\\ud83d at 0\)"):
        records(folder)


def test_a_record_file_that_is_a_pipe_or_ragged_is_refused(folder):
    os.mkfifo(folder / "pipe.jsonl")
    toml(folder, of_two_files(train='"pipe.jsonl"'))
    with pytest.raises(DrakeError, match=r"pipe\.jsonl is no regular file"):
        records(folder)
    (folder / "ragged.csv").write_text("photo,label\nphotos/0.png,cat,3\n")
    toml(folder, of_two_files(train='"ragged.csv"'))
    with pytest.raises(DrakeError, match=r"ragged\.csv, line 2 has not as many values"):
        records(folder)
    (folder / "notes.txt").write_text("cat")
    toml(folder, of_two_files(train='"notes.txt"'))
    with pytest.raises(DrakeError, match=r"notes\.txt.*must end in \.jsonl"):
        records(folder)


def test_a_name_with_accents_is_found_however_they_are_composed(folder):
    (folder / "photos/cafe\u0301.png").write_bytes(png(77))
    write_rows(folder, "train.jsonl", [{"photo": "photos/caf\u00e9.png", "label": "cat"}])
    toml(folder, of_two_files())
    assert records(folder)[0].images == (png(77),)


def test_pictures_behind_links_to_a_named_folder_are_read(folder, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    (disk / "a.png").write_bytes(png(77))
    (folder / "photos/far.png").symlink_to(disk / "a.png")
    write_rows(folder, "train.jsonl", [{"photo": "photos/far.png", "label": "cat"}])
    toml(folder, of_two_files())
    with pytest.raises(DrakeError, match=r"line 1: .*far\.png.* a link that leads out of .*--links-to"):
        records(folder)
    source = FolderSource(str(folder), links_to=str(disk))
    assert next(iter(source.records("Signs-0", "train"))).images == (png(77),)
    assert source.parameters == {}
