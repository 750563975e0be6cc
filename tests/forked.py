"""Runs `drake`, or lines of Python, in a process of its own that has torch and transformers imported already.

A command spends most of a short test importing them. Here one server per pytest process imports them once and forks for
every command, which is otherwise like one typed in a shell: its own process, arguments, environment, output and exit
code.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import mock

IMPORTED = [
    "datasets", "pandas", "peft", "torch", "transformers.models.llava.modeling_llava",
    "drake.cli", "drake.results.plots", "drake.runs.run",
]  # fmt: skip
OFFLINE = {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"}

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(IMPORTED)


def run_drake(
    arguments: Sequence[str], timeout: float = 250, stdout: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What `drake ARGUMENTS` says and ends with; raises subprocess.TimeoutExpired after `timeout` seconds.

    stdout: a file or device that takes what is printed, in place of the `stdout` of what is returned.
    """
    return _forked(_drake, ["drake", *arguments], timeout, stdout)


def run_python(code: str, timeout: float = 250) -> subprocess.CompletedProcess[str]:
    """What `python -c CODE` says and ends with, where `IMPORTED` is imported already; raises as `run_drake`."""
    return _forked(_python, ["-c", code], timeout)


def _forked(
    work: Callable[[], None], typed: list[str], timeout: float, stdout: Path | None = None
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        said, err = Path(folder) / "out", Path(folder) / "err"
        out = said if stdout is None else stdout
        said.touch()
        process = _server.Process(target=_begin, args=(work, typed, os.getcwd(), os.environ | OFFLINE, out, err))
        with mock.patch.dict(os.environ, OFFLINE):  # the server starts with the first command, and reads it on import
            process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(typed, timeout, said.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(typed, process.exitcode, said.read_text(), err.read_text())


def _begin(
    work: Callable[[], None], typed: list[str], folder: str, environment: Mapping[str, str], out: Path, err: Path
) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = typed
    work()


def _drake() -> None:
    from drake.cli import main

    sys.exit(main())


def _python() -> None:
    exec(compile(sys.argv[1], "<string>", "exec"), {"__name__": "__main__"})
