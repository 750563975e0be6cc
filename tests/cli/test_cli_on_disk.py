"""The command line on data and run folders: what is wrong there is one sentence, and what a user does works."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import BOARD, EVAL, complaint, drake, installed_drake
from in_process import drake as error_of
from PIL import Image


def tiny_release(folder: Path) -> Path:
    """The official layout with one task of two train records and one test record; returns the train file."""
    dataset = folder / "dataset" / "Pets"
    (dataset / "images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (6, 6), (80 * number, 9, 9)).save(dataset / "images" / f"{number}.png")
    row = {"id": "0", "image": "dataset/Pets/images/0.png"}
    talk = [("human", "<image>\nWho?\nChoice list:[cat, dog]. Your answer is:"), ("gpt", "cat")]
    row["conversations"] = [{"from": who, "value": text} for who, text in talk]
    for split, numbers in (("train", (0, 1)), ("test", (2,))):
        (dataset / split).mkdir()
        rows = [row | {"image": f"dataset/Pets/images/{number}.png"} for number in numbers]
        (dataset / split / "dataset-0.json").write_text(json.dumps(rows))
    return dataset / "train" / "dataset-0.json"


def no_picture(train: Path) -> None:
    (train.parents[1] / "images" / "1.png").unlink()


def another_mark(train: Path) -> None:
    rows = json.loads(train.read_text())
    rows[1]["conversations"][0]["value"] = "<image>" + rows[1]["conversations"][0]["value"]
    train.write_text(json.dumps(rows))


def half_a_picture(train: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "PNG")
    (train.parents[1] / "images" / "1.png").write_bytes(buffer.getvalue()[:2000])


def no_list(train: Path) -> None:
    train.write_text('{"0": []}')


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_picture, "{train}, record 1 (counted from 0): its image dataset/Pets/images/1.png is missing"),
        (another_mark, "{train}, record 1 (counted from 0): the prompt has 2 <image> for 1 images."),
        (half_a_picture, "{train}, record 1 (counted from 0): its image dataset/Pets/images/1.png cannot be decoded"),
        (no_list, "{train} holds a JSON dict where a list of records belongs."),
    ],
)
def test_a_wrong_release_is_one_sentence_and_leaves_nothing(tmp_path, spoil, sentence):
    train = tiny_release(tmp_path / "release")
    spoil(train)
    said = complaint(drake("build", "--source", str(tmp_path / "release"), "--out", str(tmp_path / "out")))
    assert sentence.format(train=train) in said
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_right_release_is_built(tmp_path):
    tiny_release(tmp_path / "release")
    result = drake("build", "--source", str(tmp_path / "release"), "--out", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/manifest.json").is_file()


CALLBACK = """
from drake.federation.callbacks import Callback

class Losses(Callback):
    def client_trained(self, client):
        with open("losses.txt", "a") as file:
            print(client.round.number, client.client.id, client.loss, file=file)
"""


def test_a_callback_in_the_working_directory_is_told_about_every_client(tmp_path, micro_data, micro_backbones):
    (tmp_path / "my_callbacks.py").write_text(CALLBACK)
    small = ("--models", micro_backbones["llama-4"], "--data", micro_data, "--rounds", "1", "--steps", "1")
    small += ("--clients", "3")
    small += ("--eval-records", "1", "--set", "evaluation.max_new_tokens=1")
    result = installed_drake(*EVAL, *small, "--out", "run", "--callback", "my_callbacks:Losses", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    told = [line.split() for line in (tmp_path / "losses.txt").read_text().splitlines()]
    losses = json.loads((tmp_path / "run/results.json").read_text())["runs"][0]["train_loss"][0]
    assert sorted((int(client), float(loss)) for _, client, loss in told) == list(enumerate(losses))


def test_hub_model_without_network_or_cache(tmp_path, micro_data, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = error_of(*EVAL, "--models", "llama1b", "--data", micro_data, "--out", tmp_path / "run")
    assert said.startswith("thkim0305/llama3.2_1B_vl is not in the local cache and the hub cannot be reached (")


def test_folder_that_is_no_built_dataset(tmp_path):
    (tmp_path / "notes.txt").write_text("not a dataset")
    assert str(tmp_path) in complaint(drake(*EVAL, "--data", str(tmp_path)))


def test_dataset_whose_manifest_does_not_match_its_files(tmp_path, micro_data):
    broken = tmp_path / "broken"
    shutil.copytree(micro_data, broken)
    victim = sorted(broken.glob("data/NLVR2-0/*.parquet"))[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    assert victim.name in complaint(drake(*EVAL, "--data", str(broken)))


def test_run_folder_that_cannot_be_written(tmp_path, micro_data, micro_backbones):
    blocked = tmp_path / "file"
    blocked.write_text("")
    models = micro_backbones["llama-4"]
    result = drake(*EVAL, "--data", micro_data, "--models", models, "--out", str(blocked / "run"))
    assert "cannot be written" in complaint(result)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: the permission was NOT checked")
def test_run_folder_without_write_permission(tmp_path, micro_data, micro_backbones):
    tmp_path.chmod(0o500)
    models = micro_backbones["llama-4"]
    result = drake(*EVAL, "--data", micro_data, "--models", models, "--out", str(tmp_path / "run"))
    assert "cannot be written (Permission denied)" in complaint(result)


WRITERS = {
    "build": ("build", "--train", "1", "--test", "1", "--public-per-world", "0", "--out"),
    "leaderboard": (*BOARD, "--format", "csv", "--out"),
    "submit": ("submit", "some-run", "--out"),
    "backbones train": ("backbones", "train", "tiny-llama-s", "--out"),
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_file_where_a_folder_is_needed(tmp_path, command):
    (tmp_path / "file").write_text("years of work")
    said = complaint(drake(*WRITERS[command], str(tmp_path / "file" / "new")))
    assert f"{tmp_path / 'file'}" in said
    assert "cannot be written" in said
    assert (tmp_path / "file").read_text() == "years of work"


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: the permission was NOT checked")
def test_a_folder_without_write_permission(tmp_path, command):
    tmp_path.chmod(0o500)
    said = complaint(drake(*WRITERS[command], str(tmp_path / "new")))
    assert said.startswith(str(tmp_path))
    assert "cannot be written (Permission denied)" in said


def test_from_data_to_submission_and_leaderboard(tmp_path, micro_data, micro_backbones):
    """What a user does, on one micro backbone."""
    small = ("--models", micro_backbones["llama-4"], "--data", micro_data, "--rounds", "1", "--steps", "1")
    small += ("--clients", "3", "--eval-records", "2", "--set", "evaluation.max_new_tokens=2")
    run, features = str(tmp_path / "run"), tmp_path / "features"
    result = installed_drake(*EVAL, *small, "--out", run, "--feature-cache", str(features))
    assert result.returncode == 0, result.stderr
    assert list(features.glob("*/*.safetensors"))
    assert "Self A_last" in result.stdout
    assert "name the dataset yourself, with --data." in complaint(drake("submit", run, "--out", str(tmp_path / "x")))
    submitted = drake("submit", run, "--out", str(tmp_path / "submission"), "--data", micro_data)
    assert submitted.returncode == 0, submitted.stderr
    board = drake("leaderboard", run, "--format", "csv", "--no-published")
    assert board.returncode == 0, board.stderr
    header, row = board.stdout.strip().splitlines()[-2:]
    assert "sft" in row.lower()
    assert header.count(",") == row.count(",") or '"' in row

    resumed = drake("eval", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == result.stdout
    assert "leave --seeds out" in complaint(drake("eval", "--resume", run, "--seeds", "4"))

    rerun = drake(*EVAL, *small, "--out", run, "--seeds", "4")
    assert "already holds another run" in complaint(rerun)

    same = drake("eval", "--config", f"{run}/config.toml", "--out", str(tmp_path / "same"))
    assert same.returncode == 0, same.stderr
    assert drake("diff", run, str(tmp_path / "same")).returncode == 0

    forged = json.loads((tmp_path / "run/results.json").read_text())
    forged["runs"][0]["scores"]["official"][0][0][0] = 1.0
    (tmp_path / "run/results.json").write_text(json.dumps(forged))
    assert "the answers give" in complaint(
        drake("submit", run, "--out", str(tmp_path / "forged"), "--data", micro_data)
    )
    assert not (tmp_path / "forged").exists()


def test_official_release_layout_runs_with_a_local_checkpoint_folder(tmp_path, release_layout, micro_backbones):
    data = str(tmp_path / "data")
    built = drake("build", "--source", str(release_layout), "--out", data)
    assert built.returncode == 0, built.stderr
    result = drake(
        *EVAL, "--data", data, "--models", micro_backbones["llama-4"], "--rounds", "2", "--steps", "1",
        "--eval-records", "1", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run/results.json").read_text())
    assert found["data"]["source"] == "release"
    assert found["status"] == "complete"
