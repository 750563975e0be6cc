"""The command line: help that helps, and one clear sentence with exit code 2 for whatever is wrong."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from command_line import EVAL, complaint, drake

from drake import cli
from drake.federation import registry

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


def test_help_lists_every_command_once_in_its_section_and_in_full():
    lines = drake("--help").stdout.splitlines()
    below = lines[lines.index("Data:") :]
    listed = [line.split()[0] for line in below if line.startswith("  ")]
    assert sorted(listed) == cli.drake.list_commands(click.Context(cli.drake))
    assert [line for line in lines if line.endswith(":")] == [
        "Options:", "Data:", "Runs:", "Results:", "Submissions:", "Methods and models:"
    ]  # fmt: skip
    assert max(map(len, below)) <= 80
    assert not [line for line in below if line.endswith("...")]


@pytest.mark.parametrize("typed", TREE)
def test_every_command_has_help_with_an_example(typed):
    lines = [line.strip() for line in TREE[typed].get_help(click.Context(TREE[typed], info_name=typed)).splitlines()]
    assert any(line.startswith(f"{typed} ") or line == typed for line in lines), lines


def test_a_misspelt_command_is_answered_with_the_nearest_one():
    assert complaint(drake("evla")) == "unknown command 'evla'; did you mean 'eval'?"


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


@pytest.mark.parametrize(("package", "title"), [("wandb", "Weights & Biases"), ("trackio", "Trackio")])
def test_a_tracker_that_is_not_installed_is_one_sentence(monkeypatch, package, title):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    said = complaint(drake(*EVAL, f"--{package}"))
    assert said == f"{title} is not installed; pip install 'drake-bench[{package}]'."
