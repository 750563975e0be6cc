"""The command line: help that helps, and one clear sentence with exit code 2 for whatever is wrong."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRAKE = str(Path(sys.executable).with_name("drake"))


def drake(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [DRAKE, *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"} | environment,
    )


def complaint(result: subprocess.CompletedProcess) -> str:
    """The sentence a failed command says; asserts that it is the only thing it says."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: "), result.stderr
    return lines[-1].removeprefix("Error: ")


def test_help_is_instant():
    drake("--help")  # compile
    started = time.perf_counter()
    result = drake("--help")
    assert result.returncode == 0
    assert "leaderboard" in result.stdout
    assert time.perf_counter() - started < 0.6  # 0.15 s on an idle machine; imports of torch alone take longer


@pytest.mark.parametrize("command", ["build", "eval", "leaderboard", "submit", "methods", "backbones list"])
def test_every_command_has_help_with_an_example(command):
    result = drake(*command.split(), "--help")
    assert result.returncode == 0
    assert f"drake {command}" in result.stdout.split("Options:")[0].split("\n", 1)[1]


def test_methods_are_listed_with_what_they_send():
    result = drake("methods")
    assert "fedmosaic" in result.stdout
    assert "sanitised gradient" in result.stdout


EVAL = ("eval", "--method", "sft", "--preset", "quick")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("eval", "--method", "fedmosiac"), "unknown method 'fedmosiac'; did you mean 'fedmosaic'?"),
        (("eval", "--method", "sft", "--preset", "papper"), "unknown preset 'papper'; did you mean 'paper'?"),
        ((*EVAL, "--models", "llama1c"), "unknown model 'llama1c'; did you mean 'llama1b'?"),
        ((*EVAL, "--rounds", "0"), "--rounds is 0; it must be more than zero."),
        ((*EVAL, "--seeds", "-1"), "seed -1 is negative; seeds are whole numbers from zero."),
        ((*EVAL, "--seeds", "one"), "--seeds 'one' is no list of numbers; write 0,1,2 or 0-2."),
        ((*EVAL, "--device", "cuda:99"), "device 'cuda:99' is not there"),
        ((*EVAL, "--set", "sft.temperature=3"), "unknown option 'temperature'"),
        (("eval", "--method", "fedmosaic", "--set", "fedmosaic.kept=all"), "option kept='all': a value of type float"),
        ((*EVAL, "--data", "no/such/folder"), "no/such/folder"),
        (("leaderboard", "no-such-run"), "no-such-run"),
        (("submit", "no-such-run"), "no-such-run"),
        (("build", "--source", "no-such-folder", "--out", "x"), "no-such-folder"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(arguments, sentence):
    assert sentence in complaint(drake(*arguments))


def test_hub_model_without_network_or_cache(tmp_path, micro_data):
    result = drake(
        *EVAL, "--models", "llama1b", "--data", micro_data, "--out", str(tmp_path / "run"), HF_HOME=str(tmp_path)
    )
    assert "thkim0305/llama3.2_1B_vl is not in the local cache" in complaint(result)


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
    "leaderboard": ("leaderboard", "--format", "csv", "--out"),
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
    run = str(tmp_path / "run")
    result = drake(*EVAL, *small, "--eval-records", "2", "--out", run)
    assert result.returncode == 0, result.stderr
    assert "Self A_last" in result.stdout
    submitted = drake("submit", run, "--out", str(tmp_path / "submission"))
    assert submitted.returncode == 0, submitted.stderr
    board = drake("leaderboard", run, "--format", "csv", "--no-published")
    assert board.returncode == 0, board.stderr
    header, row = board.stdout.strip().splitlines()[-2:]
    assert "sft" in row.lower()
    assert header.count(",") == row.count(",") or '"' in row

    rerun = drake(*EVAL, *small, "--eval-records", "2", "--out", run, "--seeds", "4")
    assert "already holds another run" in complaint(rerun)

    forged = json.loads((tmp_path / "run/results.json").read_text())
    forged["runs"][0]["scores"]["official"][0][0][0] = 1.0
    (tmp_path / "run/results.json").write_text(json.dumps(forged))
    assert drake("submit", run, "--out", str(tmp_path / "forged")).returncode == 2
    assert not (tmp_path / "forged").exists()


@pytest.mark.shared
def test_official_release_layout_runs_with_a_local_checkpoint_folder(tmp_path, shared, micro_backbones):
    data = str(tmp_path / "data")
    built = drake("build", "--source", str(shared / "fixtures/release_layout"), "--out", data)
    assert built.returncode == 0, built.stderr
    result = drake(
        *EVAL, "--data", data, "--models", micro_backbones["llama-4"], "--rounds", "2", "--steps", "2",
        "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run/results.json").read_text())
    assert found["data"]["source"] == "release"
    assert found["status"] == "complete"
