"""`drake` as tests run it, and the sentence of a command that failed."""

import os
import subprocess
import sys
from pathlib import Path

import drake_leaderboard
from forked import OFFLINE, run_drake

DRAKE = str(Path(sys.executable).with_name("drake"))


def drake(*arguments: str) -> subprocess.CompletedProcess:
    return run_drake(arguments)


def installed_drake(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess:
    """The script that the package installs, in a new interpreter; folder: its working directory."""
    return subprocess.run(
        [DRAKE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
        env=os.environ | OFFLINE,
    )


def complaint(result: subprocess.CompletedProcess) -> str:
    """The error sentence of a failed command; asserts that it prints nothing else."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: "), result.stderr
    return lines[-1].removeprefix("Error: ")


BOARD = ("leaderboard", str(Path(drake_leaderboard.__file__).parent / "submissions" / "mini-sft"))
"""Of one submission, which is read faster than all."""
EVAL = ("eval", "--method", "sft", "--preset", "quick")
