"""Standard output on terminals with few characters, full devices and closed pipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import BOARD
from forked import run_drake

COMMAND = [str(Path(sys.executable).parent / "drake")]


def run(*arguments: str, stdout=subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C"},
    ],
    ids=["PYTHONIOENCODING", "LC_ALL without UTF-8", "LC_ALL"],
)
def test_a_leaderboard_is_shown_on_a_terminal_without_its_characters(environment):
    result = run(*BOARD, COLUMNS="200", **environment)
    assert result.returncode == 0, result.stderr
    assert b"preset mini" in result.stdout
    if "PYTHONIOENCODING" in environment:
        assert b"DRAKE mini, dynamic, " in result.stdout
        assert b" +- " in result.stdout
        result.stdout.decode("ascii")


def test_characters_have_lookalikes(monkeypatch):
    import io

    from drake.cli.streams import never_fail_on_characters

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    never_fail_on_characters()
    stream.write("Self 61.2 ± 0.4 · näive …")
    stream.flush()
    assert stream.buffer.getvalue() == b"Self 61.2 +- 0.4 - n?ive ..."


@pytest.mark.parametrize("arguments", [BOARD, [*BOARD, "--format", "csv"], ["methods"], ["--help"]])
def test_output_to_a_full_device_is_one_sentence(arguments):
    result = run_drake(arguments, stdout=Path("/dev/full"))
    assert result.returncode == 2
    assert result.stderr == "Error: the output cannot be written (No space left on device); send it elsewhere.\n"


def test_the_installed_script_says_so_too():
    with open("/dev/full", "wb") as full:
        result = run("--help", stdout=full)
    assert (result.returncode, result.stderr.count(b"\n")) == (2, 1)
    assert b"(No space left on device); send it elsewhere." in result.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    result = run(*BOARD, stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, b"")


def test_other_errors_of_files_are_not_taken_for_the_output():
    import errno

    from drake.cli.streams import is_of_output

    assert is_of_output(OSError(errno.ENOSPC, "No space left on device"))
    assert not is_of_output(OSError(errno.ENOSPC, "No space left on device", "runs/results.json"))
    assert not is_of_output(FileNotFoundError(errno.ENOENT, "No such file or directory"))
