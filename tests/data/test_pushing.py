"""`drake push`: what is checked, what is uploaded, and what comes back from the repository."""

import json
from pathlib import Path

import mlcroissant
import pytest
import yaml
from click.testing import CliRunner
from hub_of_uploads import Uploads, taking_uploads
from stored_samples import column, rewrite, stored

from drake.cli.dataset import push as command
from drake.data.benchmark import load
from drake.data.croissant import RESPONSIBLE_AI, check_croissant, croissant
from drake.data.information import information
from drake.data.manifest import read_manifest
from drake.data.pushing import push
from drake.errors import DrakeError

REPOSITORY = "somebody/their-data"


@pytest.fixture
def folder(tmp_path) -> Path:
    return stored(tmp_path / "d")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with taking_uploads(tmp_path / "repository", monkeypatch, REPOSITORY) as found:
        yield found


def test_what_is_pushed_opens_as_the_same_dataset(folder, hub: Uploads):
    (folder / "notes.txt").write_text("my password")
    (folder / "data" / ".secret").write_text("mine")
    address = push(folder, REPOSITORY)
    assert address == f"{hub.url}/datasets/{REPOSITORY}/commit/{hub.commit}"
    manifest = read_manifest(folder)
    assert set(hub.files) == {*manifest.files, "README.md", "croissant.json", "manifest.json"}
    assert hub.private is True
    assert len(hub.commits) == 1
    opened = load(REPOSITORY)
    assert opened.fingerprint == manifest.fingerprint
    assert opened.records("Pets-0", "test")["id"] == load(folder).records("Pets-0", "test")["id"]
    assert information(REPOSITORY).licence == "cc-by-4.0"


def test_the_card_names_the_repository_and_the_metadata_are_croissant_1_1(folder, hub: Uploads, tmp_path):
    push(folder, REPOSITORY, private=False)
    assert hub.private is False
    card = hub.files["README.md"].decode()
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    assert {config["config_name"] for config in header["configs"]} >= {"default", "Pets-0", "dynamic"}
    assert f'drake.load("{REPOSITORY}")' in card
    assert "path/to/this/folder" not in card
    stored_text = hub.files["croissant.json"].decode()
    metadata = mlcroissant.Dataset(jsonld=json.loads(stored_text)).metadata
    assert metadata.ctx.is_v1_1()
    assert metadata.url == f"https://huggingface.co/datasets/{REPOSITORY}"
    assert metadata.date_published is not None
    assert metadata.data_collection == "Made by hand."
    assert metadata.personal_sensitive_information == ["Not stated by the source."]
    assert {name for name in json.loads(stored_text) if name.startswith("rai:")} == {f"rai:{n}" for n in RESPONSIBLE_AI}
    files = {entry.id: entry.sha256 for entry in metadata.file_objects}
    assert files == {name: entry.sha256 for name, entry in read_manifest(folder).files.items()}


def test_mlcroissant_reads_the_rows_of_a_schedule(folder):
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    first = next(iter(dataset.records("dynamic")))
    assert (first["dynamic/client"], first["dynamic/round"], first["dynamic/task"]) == (0, 0, b"Pets-0")


def test_a_second_push_sends_what_is_new_and_deletes_what_went(folder, hub: Uploads, tmp_path):
    push(folder, REPOSITORY)
    sent = list(hub.uploaded)
    other = stored(
        tmp_path / "other",
        lambda split, record: record._replace(category="new") if record.task == "Cars-0" else record,
    )
    (hub.folder / "data/Old-0").mkdir()
    (hub.folder / "data/Old-0/train-00000.parquet").write_bytes(b"of an earlier dataset")
    (hub.folder / "notes.md").write_text("written on the Hub")
    push(other, REPOSITORY)
    assert len(hub.uploaded) - len(sent) == 2  # train and test of Cars-0
    assert "data/Old-0/train-00000.parquet" not in hub.files
    assert hub.files["notes.md"] == b"written on the Hub"
    assert load(REPOSITORY).fingerprint == read_manifest(other).fingerprint


def test_a_stopped_push_goes_on_and_commits_nothing_before(folder, hub: Uploads):
    hub.refuse = 400
    with pytest.raises(DrakeError, match=rf"was not uploaded to {REPOSITORY}"):
        push(folder, REPOSITORY)
    assert hub.files == {}
    sent, hub.refuse = list(hub.uploaded), None
    push(folder, REPOSITORY)
    assert hub.uploaded == sent
    assert load(REPOSITORY).fingerprint == read_manifest(folder).fingerprint


def test_a_repository_with_something_else_is_left_alone(folder, hub: Uploads):
    (hub.folder / "train.csv").write_text("a,b")
    with pytest.raises(DrakeError, match=r"holds something else \(train.csv\)"):
        push(folder, REPOSITORY)
    assert hub.files == {"train.csv": b"a,b"}


def test_a_dataset_that_is_not_sound_is_not_sent(folder, hub: Uploads):
    rewrite(
        folder, "data/Pets-0/train-00000.parquet", lambda t: column(t, "answer", lambda rows: ["Perhaps", *rows[1:]])
    )
    with pytest.raises(DrakeError, match="is not sound, so it is not uploaded"):
        push(folder, REPOSITORY)
    assert (hub.private, hub.uploaded) == (None, [])


def test_without_access_it_is_one_sentence(folder, hub: Uploads, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(DrakeError, match=r"`hf auth login` or HF_TOKEN gives access to it: .*401"):
        push(folder, REPOSITORY)
    with pytest.raises(DrakeError, match="names no repository"):
        push(folder, "their-data")


def test_metadata_of_an_older_version_are_made_new_and_keep_the_licences(folder, hub: Uploads):
    (folder / "croissant.json").write_text(json.dumps({"license": "cc-by-nc-4.0", "rai:dataBiases": "Some."}))
    push(folder, REPOSITORY)
    found = json.loads(hub.files["croissant.json"])
    assert found["license"] == ["cc-by-nc-4.0"]
    assert found["rai:dataBiases"] == "Some."
    assert found["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["recordSet"][0]["field"][0].update(source={"fileSet": {"@id": "nowhere"}}),
        lambda found: found["distribution"][0].pop("encodingFormat"),
        lambda found: found["recordSet"][0]["field"][0].update(dataType="sc:Nonsense"),
        lambda found: found.pop("@type"),
    ],
)
def test_metadata_that_mlcroissant_refuses_are_one_sentence(folder, change):
    found = json.loads(croissant(read_manifest(folder), "mit"))
    check_croissant(json.dumps(found))
    change(found)
    with pytest.raises(DrakeError, match=r"croissant.json is not valid Croissant: \S"):
        check_croissant(json.dumps(found))


def test_the_command_counts_bytes_and_prints_the_address(folder, hub: Uploads):
    done = CliRunner().invoke(command, [str(folder), REPOSITORY, "--message", "First"], catch_exceptions=False)
    assert done.exit_code == 0
    assert hub.commits[0][0]["value"]["summary"] == "First"
    assert done.stdout.splitlines() == [
        f"{hub.url}/datasets/{REPOSITORY}/commit/{hub.commit}",
        f"open it with drake.load('{REPOSITORY}')",
    ]
