"""`drake info`: what a dataset is, without reading its records."""

import json
from pathlib import Path

import pytest
from build_samples import png
from click.testing import CliRunner
from hub_of_uploads import taking_uploads
from stored_samples import column, rewrite, stored

from drake.cli.dataset import info as command
from drake.data.information import information
from drake.data.manifest import read_manifest
from drake.errors import DrakeError

REPOSITORY = "somebody/their-data"


@pytest.fixture
def folder(tmp_path) -> Path:
    return stored(
        tmp_path / "d",
        lambda split, record: (
            record._replace(images=record.images * 3, prompt="<image><image>" + record.prompt)
            if record.task == "Pets-1"
            else record
        ),
    )


def test_it_counts_records_and_pictures_and_names_clients_and_licences(folder):
    found = information(folder)
    assert (found.name, found.source, found.licence) == ("Samples", "samples", "cc-by-4.0")
    assert found.fingerprint == read_manifest(folder).fingerprint
    assert found.bytes == sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    assert [(task.task, task.client, task.train, task.test, task.pictures) for task in found.tasks] == [
        ("Cars-0", 1, 20, 10, 30),
        ("Maps-0", None, 0, 10, 10),
        ("Pets-0", 0, 20, 10, 30),
        ("Pets-1", 0, 20, 10, 90),
        ("public", None, 3, 0, 3),
    ]
    assert {task.commercial for task in found.tasks} == {"allowed"}
    assert found.open_with[0] == f"drake.load({str(folder)!r})"


def test_the_bytes_of_pictures_are_nearly_those_of_the_encoded_pictures(folder):
    pets = next(task for task in information(folder).tasks if task.task == "Pets-1")
    sizes = 90 * len(png(0))
    assert sizes <= pets.picture_bytes < sizes * 1.2


def test_records_without_pictures_count_none(tmp_path):
    folder = stored(tmp_path / "t", lambda split, record: record._replace(images=(), prompt=record.prompt[7:]))
    assert {task.pictures for task in information(folder).tasks} == {0}


def test_a_dataset_without_metadata_has_an_unknown_licence(folder):
    (folder / "croissant.json").unlink()
    found = information(folder)
    assert (found.licence, found.tasks[0].commercial) == ("unknown", "unknown")


def test_of_a_repository_the_description_alone_is_downloaded(folder, tmp_path, monkeypatch):
    with taking_uploads(folder, monkeypatch, REPOSITORY) as hub:
        found = information(REPOSITORY)
    assert sorted(set(hub.downloads)) == ["README.md", "croissant.json", "manifest.json"]
    assert found.fingerprint == read_manifest(folder).fingerprint
    assert (found.licence, found.tasks[0].pictures) == ("cc-by-4.0", None)
    assert found.open_with[1] == f"datasets.load_dataset('{REPOSITORY}', 'Cars-0')"


def test_a_hostile_file_is_one_sentence_that_names_verify(folder):
    rewrite(
        folder,
        "data/Pets-0/train-00000.parquet",
        lambda table: column(table, "images", lambda rows: [rows[0] * 2000] * len(rows)),
    )
    with pytest.raises(DrakeError, match=r"40,000 values of images.*drake verify"):
        information(folder)
    (folder / "data/Pets-0/train-00000.parquet").write_bytes(b"")
    with pytest.raises(DrakeError, match="0 bytes where the manifest says"):
        information(folder)


def test_the_command_prints_the_same_as_a_table_and_as_json(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    printed = CliRunner().invoke(command, [str(folder)], catch_exceptions=False).output
    assert "Pets-1" in printed
    assert "unseen" in printed
    assert f"drake eval --method fedit --data {folder}" in printed
    found = json.loads(CliRunner().invoke(command, [str(folder), "--json"]).stdout)
    assert found["tasks"][3]["pictures"] == 90
    assert found["clients"] == [["Pets-0", "Pets-1"], ["Cars-0"]]
    assert found["fingerprint"] == information(folder).fingerprint
