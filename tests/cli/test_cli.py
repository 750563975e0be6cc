"""The command line: help that helps, and one clear sentence with exit code 2 for whatever is wrong."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from forked import OFFLINE, run_drake
from PIL import Image

from drake import cli
from drake.federation import registry

DRAKE = str(Path(sys.executable).with_name("drake"))


def drake(*arguments: str) -> subprocess.CompletedProcess:
    return run_drake(arguments)


def installed_drake(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """The script that the package installs, in a new interpreter; folder: its working directory."""
    return subprocess.run(
        [DRAKE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
        env=os.environ | OFFLINE | environment,
    )


def complaint(result: subprocess.CompletedProcess) -> str:
    """The error sentence of a failed command; asserts that it prints nothing else."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: "), result.stderr
    return lines[-1].removeprefix("Error: ")


HEAVY = ("torch", "transformers", "datasets", "numpy", "pandas", "pyarrow", "pydantic", "rich", "PIL", "ray")
"""Packages whose import would make every command start slowly."""


@pytest.mark.parametrize("what", ["import drake", "drake --help", "drake eval --help"])
def test_nothing_heavy_is_imported_for(what):
    run = f"from drake.cli import main; sys.argv = {what.split()!r}; main()"
    code = f"""
import sys
try:
    {run if what != "import drake" else what}
finally:
    print(sorted({set(HEAVY)!r} & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    if what == "drake --help":
        assert "leaderboard" in result.stdout


def commands(command: click.Command, name: str = "drake") -> Iterator[tuple[str, click.Command]]:
    """(what a user types, command) of `command` and all below it."""
    yield name, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for below in command.list_commands(ctx):
            yield from commands(command.get_command(ctx, below), f"{name} {below}")


TREE = dict(commands(cli.drake))


def test_the_tree_of_commands_is_walked_to_its_leaves():
    assert {"drake", "drake eval", "drake submit", "drake backbones", "drake backbones train"} <= TREE.keys()


@pytest.mark.parametrize("typed", TREE)
def test_every_command_has_help_with_an_example(typed):
    lines = [line.strip() for line in TREE[typed].get_help(click.Context(TREE[typed], info_name=typed)).splitlines()]
    assert any(line.startswith(f"{typed} ") or line == typed for line in lines), lines


def test_methods_are_listed_with_what_they_send():
    result = drake("methods")
    assert "fedmosaic" in result.stdout
    assert "sanitised gradient" in result.stdout
    columns = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    rows = {row[0]: row for row in columns if row[0]}
    assert set(registry.names()) == set(rows)
    assert {"fedmosaic", "sft", "ditto", "feddat", "perada", "fedit", "fedsim", "feddpa", "takfl", "fedmkt"} <= set(
        rows
    )
    assert rows["ditto"][2:4] == ["2.00", "yes"]
    assert rows["feddat"][5].startswith("FedDAT, Chen")


EVAL = ("eval", "--method", "sft", "--preset", "quick")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("eval", "--method", "fedmosiac"), "unknown method 'fedmosiac'; did you mean 'fedmosaic'?"),
        (("eval", "--method", "sft", "--preset", "papper"), "unknown preset 'papper'; did you mean 'paper'?"),
        ((*EVAL, "--models", "llama1c"), "unknown model 'llama1c'; did you mean 'llama1b'?"),
        ((*EVAL, "--rounds", "0"), "--rounds is 0; it must be more than zero."),
        ((*EVAL, "--seeds", "-1"), "seed -1 is negative; seeds are whole numbers from zero."),
        ((*EVAL, "--seeds", "0,5-3"), "--seeds '0,5-3' is no list of numbers; write 0,1,2 or 0-2."),
        ((*EVAL, "--seeds", "one"), "--seeds 'one' is no list of numbers; write 0,1,2 or 0-2."),
        ((*EVAL, "--device", "cuda:99"), "device 'cuda:99' is not there"),
        ((*EVAL, "--set", "sft.temperature=3"), "--set sft.temperature: unknown option 'temperature'"),
        (
            ("eval", "--method", "fedmosaic", "--set", "fedmosaic.kept=all"),
            "--set fedmosaic.kept is 'all'; it must be a number.",
        ),
        (
            ("eval", "--method", "fedmosaic", "--set", "gate=inptu"),
            "unknown value of --set gate 'inptu'; did you mean 'input'",
        ),
        ((*EVAL, "--set", "align=false"), "'align'; known: none: this method has no options."),
        ((*EVAL, "--no-align"), "No such option"),
        ((*EVAL, "--dropout", "0.1"), "--dropout is called --client-dropout now"),
        ((*EVAL, "--client-dropout", "1"), "--client-dropout is 1.0; it must be at least 0 and below 1."),
        ((*EVAL, "--set", "training.rnak=3"), "did you mean 'training.rank'?"),
        (("eval", "--preset", "quick"), "no method is named; add --method, such as --method sft."),
        ((*EVAL, "--config", "no.toml"), "no.toml is no file; restore it"),
        ((*EVAL, "--callback", "no_such_module:Class"), "callback 'no_such_module:Class' cannot be imported"),
        ((*EVAL, "--callback", "Class"), "callback 'Class' is not of the form module:Class."),
        ((*EVAL, "--callback", "pathlib:Path"), "callback 'pathlib:Path' is no subclass of drake.federation.callbacks"),
        (
            ("eval", "--resume", "some-run", "--tensorboard"),
            "takes all settings from the run; leave --tensorboard out.",
        ),
        (("align", "--models", "tiny-llama-s"), "aligning needs two backbones or more"),
        (("align", "--rank", "0"), "--rank is 0; it must be more than zero."),
        (("cka", "--models", "tiny-llama-s"), "names 1 backbones; name two."),
        (("cka", "--models", "tiny-llama-s,tiny-llama-x"), "unknown model 'tiny-llama-x'; did you mean"),
        ((*EVAL, "--data", "no/such/folder"), "no/such/folder"),
        (("leaderboard", "no-such-run"), "no-such-run"),
        (("submit", "no-such-run"), "no-such-run"),
        (("build", "--source", "no-such-folder", "--out", "x"), "no-such-folder"),
        (("build", "--seed", "-1"), "--seed is -1; it must be zero or more."),
        (("build", "--source", "release:a-release", "--train", "5"), "option of the source 'release' 'train'"),
        (("build", "--source", "relase:a-release"), "unknown source 'relase'; did you mean 'release'?"),
        (("transfer", "--out", "x", "--seed", "-1"), "--seed is -1; it must be zero or more."),
        (("transfer", "--out", "x", "--threads", "0"), "--threads is 0; it must be more than zero."),
        (("transfer", "--out", "x", "--eval-records", "-1"), "--eval-records is -1; it must be zero or more."),
        (("transfer", "--out", "x", "--model", "tiny-lama-s"), "unknown model 'tiny-lama-s'; did you mean"),
        (("backbones", "train", "tiny-llama-s", "--seed", "-1"), "--seed is -1; it must be zero or more."),
        ((*EVAL, "--threads", "0"), "--threads is 0; it must be more than 0 and at most 1024."),
        (("export", "no-such-run", "--client", "0", "--out", "x"), "no-such-run holds no run of `drake eval`"),
        (("comm", "--models", "llama1c"), "unknown model 'llama1c'; did you mean 'llama1b'?"),
        (("comm", "--methods", "fedmosiac"), "unknown method 'fedmosiac'; did you mean 'fedmosaic'?"),
        (("comm", "--rank", "0"), "--rank is 0; it must be more than zero."),
        (("comm", "--dtype", "float8"), "unknown value of --dtype 'float8'; did you mean 'float32'?"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(arguments, sentence):
    assert sentence in complaint(drake(*arguments))


@pytest.mark.parametrize(
    "wrong", ["--method=fedmosiac", "--method=sft --models=llama1c", "--method=sft --preset=papper"]
)
def test_wrong_names_do_not_wait_for_torch(wrong):
    code = f"""
import sys
from drake import cli
sys.argv = ["drake", "eval", *{wrong!r}.split()]
try:
    cli.main()
finally:
    print(sorted({{"torch", "transformers"}} & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "did you mean" in complaint(result)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("eval --method sft", "Stopped. The same command continues where it stopped."),
        ("transfer --out x", "Stopped. The same command continues where it stopped."),
        ("build", "Stopped."),
        ("backbones train tiny-llama-s", "Stopped."),
    ],
)
def test_a_stopped_command_promises_no_more_than_it_keeps(monkeypatch, capsys, typed, said):
    def stopped(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TREE[f"drake {typed.split(' --')[0].removesuffix(' tiny-llama-s')}"], "callback", stopped)
    monkeypatch.setattr(sys, "argv", ["drake", *typed.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == said


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


@pytest.mark.parametrize(("package", "title"), [("wandb", "Weights & Biases"), ("trackio", "Trackio")])
def test_a_tracker_that_is_not_installed_is_one_sentence(monkeypatch, package, title):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    said = complaint(drake(*EVAL, f"--{package}"))
    assert said == f"{title} is not installed; pip install 'drake-bench[{package}]'."


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
    result = installed_drake(
        *EVAL, *small, "--eval-records", "1", "--out", "run", "--callback", "my_callbacks:Losses", folder=tmp_path
    )
    assert result.returncode == 0, result.stderr
    told = [line.split() for line in (tmp_path / "losses.txt").read_text().splitlines()]
    losses = json.loads((tmp_path / "run/results.json").read_text())["runs"][0]["train_loss"][0]
    assert sorted((int(client), float(loss)) for _, client, loss in told) == list(enumerate(losses))


def test_hub_model_without_network_or_cache(tmp_path, micro_data):
    result = installed_drake(
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
    run, features = str(tmp_path / "run"), tmp_path / "features"
    result = installed_drake(*EVAL, *small, "--eval-records", "2", "--out", run, "--feature-cache", str(features))
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

    rerun = drake(*EVAL, *small, "--eval-records", "2", "--out", run, "--seeds", "4")
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
        *EVAL, "--data", data, "--models", micro_backbones["llama-4"], "--rounds", "2", "--steps", "2",
        "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run/results.json").read_text())
    assert found["data"]["source"] == "release"
    assert found["status"] == "complete"
